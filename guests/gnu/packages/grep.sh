# GNU grep, with Perl's regular expressions (pcre2).
version=3.8 licence=GPL-3.0-or-later
tarball=grep_3.8.orig.tar.xz
sha256=498d7cc1b4fb081904d87343febb73475cf771e424fb7e6141aff66013abc382
names() { echo "grep: grep egrep fgrep"; }
build() {
  pcre2
  configured --disable-nls --disable-threads PCRE_CFLAGS="-I$work/pcre2/src -DPCRE2_STATIC" PCRE_LIBS="$work/pcre2/libpcre2-8.a"
  built -C lib
  built -C src grep
}
# The library, as its notes for builds without configure have it.
pcre2() (
  unpack pcre2_10.42.orig.tar.gz c33b418e3b936ee3153de2c61cc638e7e4fe3156022a5c77d0711bcbb9d64f1f pcre2
  cd "$work/pcre2/src"
  cp pcre2.h.generic pcre2.h
  cp config.h.generic config.h
  cp pcre2_chartables.c.dist pcre2_chartables.c
  objects=()
  for part in auto_possess chartables compile config context convert dfa_match error extuni find_bracket jit_compile maketables match \
    match_data newline ord2utf pattern_info script_run serialize string_utils study substitute substring tables ucd valid_utf xclass; do
    "$CC" -c $flags -DPCRE2_CODE_UNIT_WIDTH=8 -DHAVE_CONFIG_H -DSUPPORT_UNICODE -DSUPPORT_PCRE2_8 -DPCRE2_STATIC -DHAVE_MEMMOVE -I. pcre2_$part.c
    objects+=(pcre2_$part.o)
  done
  rm -f ../libpcre2-8.a
  "$AR" rcsD ../libpcre2-8.a "${objects[@]}"
)
publish() { program src/grep grep; }
