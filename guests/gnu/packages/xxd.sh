# xxd, of vim.
version=9.0.1378 licence=Vim
tarball=vim_9.0.1378.orig.tar.xz
sha256=6f20c108c0fe5dbcb00a00080b3607feb024a499de2c4d004de9c3bd74516523
names() { echo "xxd: xxd"; }
build() {
  defines=-DUNIX linked xxd.wasm src/xxd/xxd.c
}
publish() { program xxd.wasm xxd; }
