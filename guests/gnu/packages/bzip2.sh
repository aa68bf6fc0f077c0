# bzip2, with bunzip2 and bzcat.
version=1.0.8 licence=bzip2-1.0.6
tarball=bzip2_1.0.8.orig.tar.gz
sha256=ab5a03176ee106d3f0fa90e381da478ddae405918153cca248e682cd0c4a2269
names() { echo "bzip2: bzip2 bunzip2 bzcat"; }
build() {
  bzlib
  cd "$work/bzip2"
  defines=-D_FILE_OFFSET_BITS=64 linked bzip2 bzip2.c libbz2.a
}
publish() {
  cd "$work/bzip2"
  program bzip2 bzip2
  cp bzdiff bzcmp
  cp bzmore bzless
  commands bzip2-files bzcmp bzdiff bzgrep bzless bzmore
}
