# GNU bc and dc.
version=1.07.1 licence=GPL-3.0-or-later
tarball=bc_1.07.1.orig.tar.gz
sha256=62adfca89b0a1c0164c2cdca59ca210c1d44c3ffc46daf9931cf4942664cb02a
names() { echo "bc: bc"; echo "dc: dc"; }
build() {
  # bc's own library is compiled by bc: first one for this machine, which makes libmath.h.
  rm -rf ../bc-here
  cp -a . ../bc-here
  (
    cd ../bc-here
    unset CONFIG_SITE
    ./configure CC=cc AR=ar RANLIB=ranlib > configure.out
    touch bc/libmath.h
    make -s -C lib
    make -s -C bc global.o bc.o scan.o execute.o load.o main.o storage.o util.o warranty.o
    cd bc
    printf '{0}' > libmath.h
    rm -f global.o
    make -s global.o
    cc -o fbc main.o bc.o scan.o execute.o load.o storage.o util.o warranty.o global.o ../lib/libbc.a
    # Line by line: a number in it must not be cut.
    { printf '{'; ./fbc -c libmath.b < /dev/null | sed '$d; s/.*/"&",/'; printf '0}\n'; } > libmath.h
  )
  configured --without-readline --without-libedit
  cp ../bc-here/bc/libmath.h bc/libmath.h
  built -C lib
  touch bc/fbc bc/libmath.h
  built -C bc -o libmath.h -o fbc global.o bc.o scan.o execute.o load.o main.o storage.o util.o warranty.o
  "$CC" -o bc/bc.wasm bc/{global,bc,scan,execute,load,main,storage,util,warranty}.o lib/libbc.a
  built -C dc dc
}
publish() { program bc/bc.wasm bc; program dc/dc dc; }
