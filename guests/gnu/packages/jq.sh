# jq, with its regular expressions (oniguruma).
version=1.6 licence=MIT
tarball=jq_1.6.orig.tar.gz
sha256=3ba940b97571c866923f0409678033d33b5a98758dfc174fad8397ed908bc4d9
names() { echo "jq: jq"; }
build() {
  debian jq_1.6-2.1+deb12u2.debian.tar.xz 88498e8c917c09ddee251544b0525051551e6a0552c862625696a3e83469ae66
  oniguruma
  cd "$work/jq/src"
  printf '#define JQ_VERSION "1.6"\n' > version.h
  sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/"/' -e 's/$/\\n"/' builtin.jq > builtin.inc
  # Which functions of libm there are: all that are asked for and that the headers have.
  math=
  for name in $(sed -n 's/^LIBM_D[A-Z]*(\([a-z0-9]*\)).*/\1/p' libm.h | sort -u); do
    if grep -qE "\b$name *\(" "$sysroot/include/math.h"; then math+=" -DHAVE_$(tr a-z A-Z <<< "$name")"; fi
  done
  defines="-I. -I.. -I$work/oniguruma/src $math -DHAVE_LIBONIG=1 -DHAVE_ALLOCA_H -DHAVE_ISATTY -DHAVE_MEMMEM -DHAVE_MKTIME -DHAVE_TIMEGM -DHAVE_GMTIME_R
    -DHAVE_GMTIME -DHAVE_LOCALTIME_R -DHAVE_LOCALTIME -DHAVE_STRPTIME -DHAVE_STRFTIME -DHAVE_GETTIMEOFDAY -DHAVE_SETLOCALE -DHAVE_TM_TM_GMT_OFF
    -DHAVE_PTHREAD_KEY_CREATE -DHAVE_PTHREAD -DIEEE_8087 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64" \
    linked ../jq.wasm main.c jq_test.c builtin.c bytecode.c compile.c execute.c jv.c jv_alloc.c jv_aux.c jv_dtoa.c jv_file.c jv_parse.c jv_print.c \
    jv_unicode.c lexer.c linker.c locfile.c parser.c util.c "$work/oniguruma/src/libonig.a"
}
publish() { program "$work/jq/jq.wasm" jq; }
