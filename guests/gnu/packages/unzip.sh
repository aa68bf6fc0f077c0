# Info-ZIP's unzip, with zipinfo and with Debian's repairs.
version=6.0 licence=Info-ZIP
tarball=unzip_6.0.orig.tar.gz
sha256=036d96991646d0449ed0aa952e4fbe21b476ce994abc276e49d30e686708bd37
names() { echo "unzip: unzip zipinfo"; }
build() {
  debian unzip_6.0-28.debian.tar.xz e51364116c84739c591728ecc841113a914fa11358fd10ff0d6813524d811bb9
  bzlib
  cd "$work/unzip"
  defines="-DUNIX -I. -I$work/bzip2 -DUSE_BZIP2 -DLARGE_FILE_SUPPORT -DUNICODE_SUPPORT -DUNICODE_WCHAR -DUTF8_MAYBE_NATIVE -DHAVE_DIRENT_H
    -DHAVE_TERMIOS_H -DNO_LCHMOD -DDATE_FORMAT=DF_YMD -D_FILE_OFFSET_BITS=64 -Wno-deprecated-non-prototype" \
    linked unzip.wasm unzip.c crc32.c crypt.c envargs.c explode.c extract.c fileio.c globals.c inflate.c list.c match.c process.c ttyio.c \
    ubz2err.c unreduce.c unshrink.c zipinfo.c unix/unix.c "$work/bzip2/libbz2.a"
}
publish() { program "$work/unzip/unzip.wasm" unzip; }
