# GNU sed.
version=4.9 licence=GPL-3.0-or-later
tarball=sed_4.9.orig.tar.xz
sha256=6e226b732e1cd739464ad6862bd1a1aba42d7982922da7a53519631d24975181
names() { echo "sed: sed"; }
build() {
  configured --disable-nls --disable-acl --without-selinux --disable-threads
  built sed/sed
}
publish() { program sed/sed sed; }
