# GNU sed.
version=4.9 licence=GPL-3.0-or-later
tarball=sed_4.9.orig.tar.xz
sha256=6e226b732e1cd739464ad6862bd1a1aba42d7982922da7a53519631d24975181
names() { echo "sed: sed"; }
build() {
  debian sed_4.9-1+deb12u1.debian.tar.xz 4346634a4c0b3977bf6a6b6d27f187fb203f547dda8267bb8a42d1323487f6f0 \
    sed-i-follow-symlinks-fix-TOCTOU-race-CVE-2026-5958.patch
  configured --disable-nls --disable-acl --without-selinux --disable-threads
  built sed/sed
}
publish() { program sed/sed sed; }
