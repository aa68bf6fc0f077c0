# GNU patch.
version=2.7.6 licence=GPL-3.0-or-later
tarball=patch_2.7.6.orig.tar.xz
sha256=ac610bda97abe0d9f6b7c963255a11dcb196c25e337c61f94e4778d632f1d8fd
names() { echo "patch: patch"; }
# Its own change comes after Debian's.
late_patches=1
build() {
  debian patch_2.7.6-7.debian.tar.xz 7725f30b042d8cf63516e480036e93ca2ff0ce5ad3754db4a4e69d33e96a2624
  patched patch
  configured --disable-nls --disable-xattr
  built -C lib
  built -C src patch
}
publish() { program src/patch patch; }
