# tree.
version=2.1.0 licence=GPL-2.0-or-later
tarball=tree_2.1.0.orig.tar.gz
sha256=0160c535bff2b0dc6a830b9944e981e3427380f63e748da96ced7071faebabf6
names() { echo "tree: tree"; }
build() {
  defines="-DLINUX -D_FILE_OFFSET_BITS=64" linked tree.wasm tree.c list.c hash.c color.c file.c filter.c info.c unix.c xml.c json.c html.c
}
publish() { program tree.wasm tree; }
