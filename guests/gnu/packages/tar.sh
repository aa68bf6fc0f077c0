# GNU tar.
version=1.34 licence=GPL-3.0-or-later
tarball=tar_1.34+dfsg.orig.tar.xz
sha256=7d57029540cb928394defb3b377b3531237c947e795b51aa8acac0c5ba0e4844
names() { echo "tar: tar"; }
build() {
  debian tar_1.34+dfsg-1.2+deb12u1.debian.tar.xz e7cdc112e6810a0827b6081f6a4115eb630679a5f3d7cceffbc236d6b8d46d69 \
    Fix-boundary-checking-in-base-256-decoder.patch \
    Fix-handling-of-extended-header-prefixes.patch
  configured --disable-nls --disable-acl --without-selinux --without-xattrs --disable-threads
  built -C gnu
  built -C lib
  built -C src tar
}
publish() { program src/tar tar; }
