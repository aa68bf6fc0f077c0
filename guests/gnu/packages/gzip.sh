# GNU gzip.
version=1.12 licence=GPL-3.0-or-later
tarball=gzip_1.12.orig.tar.xz
sha256=ce5e03e519f637e1f814011ace35c4f87b33c0bbabeec35baf5fbd3479e91956
names() { echo "gzip: gzip gunzip zcat"; }
build() {
  # Called zcat or gunzip it does what these do.
  flags+=" -DGNU_STANDARD=0"
  configured --disable-nls --disable-threads
  built -C lib
  built version.c version.h
  built gzip $scripts
}
scripts="zcmp zdiff zegrep zfgrep zforce zgrep zless zmore znew"
publish() {
  program gzip gzip
  commands gzip-files $scripts
}
