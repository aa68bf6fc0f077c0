# less. There is no terminal, so it is cat with less's options.
version=590 licence=GPL-3.0-or-later
tarball=less_590.orig.tar.gz
sha256=6aadf54be8bf57d0e2999a3c5d67b1de63808bb90deb8f77b028eafae3a08e10
names() { echo "less: less"; }
build() {
  debian less_590-2.1~deb12u2.debian.tar.xz 4a54c48a25cabb5408af6d7bc174cad96614e540b47d2b8962b3e13819fd9b30
  "$CC" -c $flags "$here/terminal/term.c" -o term.o
  rm -f libtermcap.a
  "$AR" rcsD libtermcap.a term.o
  flags+=" -I$here/terminal"
  configured --with-regex=posix LDFLAGS="-L$PWD" ac_cv_lib_tinfo_tgoto=no ac_cv_lib_tinfow_tgoto=no
  built less
}
publish() { program less less; }
