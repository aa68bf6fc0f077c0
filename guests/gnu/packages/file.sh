# file, with its knowledge in the program.
version=5.44 licence=BSD-2-Clause-Darwin
tarball=file_5.44.orig.tar.gz
sha256=3751c7fba8dbc831cb8d7cc8aff21035459b8ce5155ef8b0880a27d028475f3b
names() { echo "file: file"; }
build() {
  # One for this machine compiles the descriptions.
  rm -rf ../file-here
  cp -a . ../file-here
  (
    cd ../file-here
    unset CONFIG_SITE
    sed -i '/#embed/d' src/file.c
    ./configure CC=cc AR=ar RANLIB=ranlib --disable-shared --disable-dependency-tracking --disable-zlib --disable-bzlib --disable-xzlib \
      --disable-zstdlib --disable-lzlib --disable-libseccomp > configure.out
    make -s -C src
    make -s -C magic FILE_COMPILE="$PWD/src/file"
  )
  cp ../file-here/magic/magic.mgc magic.mgc
  configured --disable-shared --disable-zlib --disable-bzlib --disable-xzlib --disable-zstdlib --disable-lzlib --disable-libseccomp \
    ac_cv_func_fork=no ac_cv_func_vfork=no
  built -C src file
}
publish() { program src/file file; }
