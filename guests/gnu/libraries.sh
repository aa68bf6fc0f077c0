# The libraries that programs here are built with, each compiled by itself: archive NAME SOURCE... in the current directory makes libNAME.a.

archive() {
  local name=$1 objects=() source
  shift
  for source in "$@"; do
    "$CC" -c $flags ${library_flags:-} -I. "$source" -o "${source%.c}.o"
    objects+=("${source%.c}.o")
  done
  rm -f "lib$name.a"
  "$AR" rcsD "lib$name.a" "${objects[@]}"
}

# Perl's regular expressions, as the library's notes for builds without configure have it.
pcre2() (
  unpack pcre2_10.42.orig.tar.gz c33b418e3b936ee3153de2c61cc638e7e4fe3156022a5c77d0711bcbb9d64f1f pcre2
  cd "$work/pcre2/src"
  mkdir ../include
  cp pcre2.h.generic pcre2.h
  cp pcre2.h ../include
  cp config.h.generic config.h
  cp pcre2_chartables.c.dist pcre2_chartables.c
  library_flags='-DPCRE2_CODE_UNIT_WIDTH=8 -DHAVE_CONFIG_H -DSUPPORT_UNICODE -DSUPPORT_PCRE2_8 -DPCRE2_STATIC -DHAVE_MEMMOVE'
  archive pcre2-8 pcre2_{auto_possess,chartables,compile,config,context,convert,dfa_match,error,extuni,find_bracket,jit_compile,maketables}.c \
    pcre2_{match,match_data,newline,ord2utf,pattern_info,script_run,serialize,string_utils,study,substitute,substring,tables,ucd}.c \
    pcre2_{valid_utf,xclass}.c
)

zlib() (
  unpack zlib_1.2.13.dfsg.orig.tar.bz2 71feb7947e3c00ef125f83b79a4e529bde31171e5babe48b391f06758d1ab0a1 zlib
  cd "$work/zlib"
  library_flags='-DHAVE_UNISTD_H -DHAVE_STDARG_H -D_LARGEFILE64_SOURCE=0'
  archive z adler32.c compress.c crc32.c deflate.c gz{close,lib,read,write}.c infback.c inffast.c inflate.c inftrees.c trees.c uncompr.c zutil.c
)

bzlib() (
  unpack bzip2_1.0.8.orig.tar.gz ab5a03176ee106d3f0fa90e381da478ddae405918153cca248e682cd0c4a2269 bzip2
  cd "$work/bzip2"
  library_flags=-D_FILE_OFFSET_BITS=64
  archive bz2 blocksort.c huffman.c crctable.c randtable.c compress.c decompress.c bzlib.c
)

# Of the encodings only the two that jq asks for.
oniguruma() (
  unpack libonig_6.9.8.orig.tar.gz 26372720bab6733c869a9eb69377f73971138dc5e3eff4a81f5ba8aea5435fb2 oniguruma
  cd "$work/oniguruma/src"
  cat > config.h <<'EOF'
#define HAVE_ALLOCA_H 1
#define HAVE_ALLOCA 1
#define HAVE_STDINT_H 1
#define HAVE_INTTYPES_H 1
#define HAVE_SYS_TIME_H 1
#define HAVE_SYS_TIMES_H 1
#define HAVE_SYS_TYPES_H 1
#define HAVE_UNISTD_H 1
#define SIZEOF_INT 4
#define SIZEOF_LONG 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_VOIDP 4
#define STDC_HEADERS 1
#define PACKAGE "onig"
#define PACKAGE_VERSION "6.9.8"
EOF
  library_flags=-DHAVE_CONFIG_H
  archive onig reg{parse,comp,exec,enc,error,ext,syntax,trav,version}.c st.c onig_init.c unicode.c unicode_unfold_key.c unicode_fold{1,2,3}_key.c \
    ascii.c utf8.c
)
