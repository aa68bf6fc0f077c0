# strings: our own, with the options of GNU's, whose source is all of binutils.
version=1 licence=Apache-2.0
names() { echo "strings: strings"; }
build() { linked strings.wasm "$here/own/strings.c"; }
publish() { program strings.wasm strings; }
