# xz, with what is called unxz, xzcat, lzma, unlzma and lzcat.
version=5.4.1 licence=0BSD
tarball=xz-utils_5.4.1.orig.tar.xz
sha256=5d9827aa1875b21c288f78864bb26d2650b436ea8d2cad364e4921eb6266a5a5
names() { echo "xz: xz unxz xzcat lzma unlzma lzcat"; }
build() {
  debian xz-utils_5.4.1-1+deb12u1.debian.tar.xz 3e162db2b76480c7e157f4c2f6ff9a426fc023f262d4dc3287530b36e2843ebe \
    liblzma-Fix-a-buffer-overflow-in-lzma_index_append.patch \
    xz-Prevent-an-integer-overflow-in-files-and-files0.patch
  configured --disable-nls --disable-threads --disable-shared --enable-static --disable-scripts --disable-lzmadec --disable-lzmainfo \
    --disable-doc --enable-sandbox=no --disable-assembler
  built -C src/liblzma
  built -C src/xz
}
publish() {
  program src/xz/xz xz
  (cd src/scripts && cp xzdiff xzcmp && commands xz-files xzcmp xzdiff xzgrep xzless xzmore)
}
