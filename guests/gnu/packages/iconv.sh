# iconv: our own, over the C library's; glibc's comes with all of glibc.
version=1 licence=Apache-2.0
names() { echo "iconv: iconv"; }
build() { defines=-D_GNU_SOURCE linked iconv.wasm "$here/own/iconv.c"; }
publish() { program iconv.wasm iconv; }
