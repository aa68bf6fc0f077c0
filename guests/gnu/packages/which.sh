# GNU which.
version=2.21 licence=GPL-3.0-or-later
tarball=gnu-which_2.21+dfsg.orig.tar.gz
sha256=0d3cfbda99a560b024006d785c9c4cc5605736948ce63b446776a278d58cbdab
names() { echo "which: which"; }
build() {
  configured
  built -C tilde
  built which
}
publish() { program which which; }
