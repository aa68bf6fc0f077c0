# GNU ed.
version=1.19 licence=GPL-2.0-or-later
tarball=ed_1.19.orig.tar.gz
sha256=8e5c3e7c84972e73957ff396b8318a21795f86547dd1fe4ec4232a9e6e44ca1d
names() { echo "ed: ed red"; }
build() {
  defines='-DPROGVERSION="1.19"' linked ed.wasm buffer.c carg_parser.c global.c io.c main.c main_loop.c regex.c signal.c
}
publish() { program ed.wasm ed; }
