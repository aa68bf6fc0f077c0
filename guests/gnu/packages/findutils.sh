# GNU findutils: find and xargs.
version=4.9.0 licence=GPL-3.0-or-later
tarball=findutils_4.9.0.orig.tar.xz
sha256=a2bfb8c09d436770edc59f50fa483e785b161a3b7b9d547573cb08065fd462fe
names() { echo "find: find"; echo "xargs: xargs"; }
build() {
  configured --disable-nls --without-selinux --disable-threads
  built -C gl/lib
  built -C lib
  built -C find find
  built -C xargs xargs
}
publish() { program find/find find; program xargs/xargs xargs; }
