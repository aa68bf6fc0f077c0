# GNU tar.
version=1.34 licence=GPL-3.0-or-later
tarball=tar_1.34+dfsg.orig.tar.xz
sha256=7d57029540cb928394defb3b377b3531237c947e795b51aa8acac0c5ba0e4844
names() { echo "tar: tar"; }
build() {
  configured --disable-nls --disable-acl --without-selinux --without-xattrs --disable-threads
  built -C gnu
  built -C lib
  built -C src tar
}
publish() { program src/tar tar; }
