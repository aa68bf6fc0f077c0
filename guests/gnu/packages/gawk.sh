# GNU awk, without what is loaded at run time.
version=5.2.1 licence=GPL-3.0-or-later
tarball=gawk_5.2.1.orig.tar.xz
sha256=2337a0283b180ec1b9c727973a34781c6478b3ae9bcbdcca0a4dc49861d75a65
names() { echo "gawk: gawk awk nawk"; }
build() {
  debian gawk_5.2.1-2.debian.tar.xz ae031782d073e8d1670b4d9ced47b3adecde2f314d824339673d163ba7029f4b \
    0002-Fix-field-assignment-bug.patch
  configured --disable-nls --disable-extensions --disable-mpfr --disable-pma --without-readline
  built -C support
  built gawk
}
publish() { program gawk gawk; }
