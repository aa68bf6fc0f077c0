# GNU make.
version=4.3 licence=GPL-3.0-or-later
tarball=make-dfsg_4.3.orig.tar.gz
sha256=be4c17542578824e745f83bcd2a9ba264206187247cb6a5f5df99b0a9d1f9047
names() { echo "make: make gmake"; }
build() {
  # Debian's source has no configure; here is what it would find.
  for name in ALLOCA ALLOCA_H ATEXIT CLOCK_GETTIME DIRENT_H DUP DUP2 FCNTL_H FDOPEN GETCWD GETGROUPS GETRLIMIT GETTIMEOFDAY INTTYPES_H ISATTY \
    LIMITS_H LOCALE_H LONG_LONG_INT LSTAT MEMORY_H MEMRCHR MKSTEMP MKTEMP PIPE POSIX_SPAWN POSIX_SPAWNATTR_SETSIGMASK PSELECT READLINK REALPATH \
    SA_RESTART SETEGID SETEUID SETLINEBUF SETREGID SETREUID SETRLIMIT SETVBUF SIGACTION SPAWN_H STDINT_H STDLIB_H STPCPY STRCASECMP STRCOLL \
    STRDUP STRINGS_H STRING_H STRNCASECMP STRNDUP STRSIGNAL STRUCT_DIRENT_D_TYPE SYMLINK SYS_FILE_H SYS_PARAM_H SYS_RESOURCE_H SYS_SELECT_H \
    SYS_STAT_H SYS_TIME_H SYS_TYPES_H SYS_WAIT_H TTYNAME UINTMAX_T UMASK UNISTD_H UNSIGNED_LONG_LONG_INT WAIT3 WAITPID WCHAR_H; do
    printf '#define HAVE_%s 1\n' "$name"
  done > src/config.h
  cat >> src/config.h <<'EOF'
#define STDC_HEADERS 1
#define TIME_WITH_SYS_TIME 1
#define RETSIGTYPE void
#define USE_POSIX_SPAWN 1
#define MAKE_JOBSERVER 1
#define MAKE_SYMLINKS 1
#define MAKE_HOST "wasm32-unknown-linux-musl"
#define FILE_TIMESTAMP_HI_RES 1
#define ST_MTIM_NSEC st_mtim.tv_nsec
#define PATH_SEPARATOR_CHAR ':'
#define SCCS_GET "get"
#define PACKAGE "make"
#define PACKAGE_NAME "GNU make"
#define PACKAGE_STRING "GNU make 4.3"
#define PACKAGE_TARNAME "make"
#define PACKAGE_VERSION "4.3"
#define PACKAGE_URL "https://www.gnu.org/software/make/"
#define PACKAGE_BUGREPORT "bug-make@gnu.org"
#define VERSION "4.3"
#define _GNU_SOURCE 1
#define HAVE_DECL_BSD_SIGNAL 1
#define _GL_INLINE_HEADER_BEGIN
#define _GL_INLINE_HEADER_END
#define _GL_INLINE static inline
#define _GL_ATTRIBUTE_PURE
#define _GL_ATTRIBUTE_CONST
#define _GL_ATTRIBUTE_MALLOC
#define xalloc_die abort
EOF
  cp src/config.h lib/config.h
  cp lib/glob.in.h lib/glob.h
  cp lib/fnmatch.in.h lib/fnmatch.h
  defines='-Wno-error=incompatible-pointer-types -DHAVE_CONFIG_H -Isrc -Ilib -DLIBDIR="/usr/lib" -DINCLUDEDIR="/usr/include" -DLOCALEDIR="/usr/share/locale"' \
    linked make.wasm src/{ar,arscan,commands,default,dir,expand,file,function,getopt,getopt1,guile,hash,implicit,job,load,loadapi,main,misc}.c \
    src/{output,read,remake,rule,signame,strcache,variable,version,vpath,posixos,remote-stub}.c lib/{fnmatch,glob,concat-filename,xconcat-filename,findprog-in}.c
}
publish() { program make.wasm make; }
