# git: one program with all the commands that are written in C, with Debian's repairs.
version=2.39.5 licence=GPL-2.0-only
tarball=git_2.39.5.orig.tar.xz
sha256=c58da92c378df4a986ca33266897a7397e86c22ee266a284d8c2432c39066b59
names() { echo "git: git git-upload-pack git-receive-pack git-upload-archive"; }
# Its own changes come after Debian's.
late_patches=1
build() {
  debian git_2.39.5-0+deb12u3.debian.tar.xz b19cbf9a483a6625d924119ebe99f997acfe83616906d33d2079ca3d7d668d22
  patched git
  zlib
  pcre2
  cd "$work/git"
  cat > config.mak <<EOF
prefix = /usr
gitexecdir = /usr/lib/git-core
template_dir = /usr/share/git-core/templates
sysconfdir = /etc
SHELL_PATH = /bin/sh
CC = $CC
AR = $AR
CFLAGS = $flags -I$work/zlib -I$work/pcre2/include -DPCRE2_STATIC
LDFLAGS = -L$work/zlib -L$work/pcre2/src
NO_PTHREADS = 1
NO_CURL = 1
NO_GETTEXT = 1
NO_PERL = 1
NO_PYTHON = 1
NO_TCLTK = 1
NO_EXPAT = 1
NO_OPENSSL = 1
BLK_SHA1 = 1
DC_SHA1 =
BLK_SHA256 = 1
NO_REGEX = NeedsStartEnd
NO_MMAP = 1
NO_UNIX_SOCKETS =
NO_INSTALL_HARDLINKS = 1
SKIP_DASHED_BUILT_INS = 1
USE_LIBPCRE2 = 1
CSPRNG_METHOD = getrandom
HAVE_SYNC_FILE_RANGE =
EOF
  nice make -s -j"${JOBS:-2}" uname_S=Linux uname_M=wasm32 uname_R=6 uname_V=1 uname_O=GNU/Linux git \
    $scripts
  make -s -C templates SHELL_PATH=/bin/sh PERL_PATH=/usr/bin/perl
}
# What git still has as shell scripts (bisect and submodule are among them) goes to /usr/lib/git-core.
scripts="git-bisect git-filter-branch git-merge-octopus git-merge-one-file git-merge-resolve git-request-pull git-submodule git-sh-i18n git-sh-setup"
publish() {
  program "$work/git/git" git
  mkdir -p "$work/git-files/usr/lib/git-core" "$work/git-files/usr/share/git-core"
  (cd "$work/git" && cp $scripts "$here/own/git-core/"* "$work/git-files/usr/lib/git-core")
  cp -r "$work/git/templates/blt" "$work/git-files/usr/share/git-core/templates"
  files git-files "$work/git-files"
}
