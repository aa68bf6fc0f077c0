# Info-ZIP's zip.
version=3.0 licence=Info-ZIP
tarball=zip_3.0.orig.tar.gz
sha256=f0e8bb1f9b7eb0b01285495a2699df3a4b766784c1765a8f1aeedf63c0806369
names() { echo "zip: zip"; }
build() {
  bzlib
  cd "$work/zip"
  defines="-DUNIX -I. -I$work/bzip2 -DBZIP2_SUPPORT -DUIDGID_NOT_16BIT -DLARGE_FILE_SUPPORT -DUNICODE_SUPPORT -DHAVE_DIRENT_H -DHAVE_TERMIOS_H
    -DNO_ASM -D_FILE_OFFSET_BITS=64 -Wno-deprecated-non-prototype" \
    linked zip.wasm zip.c zipfile.c zipup.c fileio.c util.c globals.c crypt.c ttyio.c unix/unix.c crc32.c zbz2err.c deflate.c trees.c \
    "$work/bzip2/libbz2.a"
}
publish() { program "$work/zip/zip.wasm" zip; }
