# The shell of SQLite. Building it needs tclsh.
version=3.40.1 licence=blessing
tarball=sqlite3_3.40.1.orig.tar.xz
sha256=aaa776260ab4dc976db34aa7891819484c8676b5b2783123ebc6301e2ca5d655
names() { echo "sqlite3: sqlite3"; }
build() {
  debian sqlite3_3.40.1-2+deb12u2.debian.tar.xz 0843bc12e4364076477935ce313a6d0796fd899a989ff18ebb6545540e10e4ca \
    41-fix_a_bug_in_the_NOT_NULL-IS_NULL_optimization.patch \
    42-CVE-2025-6965.patch \
    0001-Fix-a-buffer-overread-in-the-sessions-extension-that.patch \
    0002-Avoid-a-stack-overflow-that-could-be-caused-by-a-rec.patch \
    0003-Fix-a-technically-undefined-signed-integer-overflow-.patch
  # The makefile makes one source of many; some of its tools are compiled for this machine.
  mkdir bld
  cd bld
  printf '%s\n' 'TOP=..' 'BCC=cc -O' 'TCC=false' 'TCLSH_CMD=tclsh' 'NAWK=awk' 'OPTS=' 'EXE=' 'include ../main.mk' > Makefile
  make -s sqlite3.c shell.c
  defines="-DSQLITE_THREADSAFE=0 -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_ENABLE_FTS5 -DSQLITE_ENABLE_FTS3 -DSQLITE_ENABLE_FTS3_PARENTHESIS
    -DSQLITE_ENABLE_FTS4 -DSQLITE_ENABLE_RTREE -DSQLITE_ENABLE_MATH_FUNCTIONS -DSQLITE_ENABLE_DBSTAT_VTAB -DSQLITE_ENABLE_EXPLAIN_COMMENTS
    -DSQLITE_ENABLE_STMTVTAB -DSQLITE_ENABLE_DBPAGE_VTAB -DSQLITE_ENABLE_COLUMN_METADATA -DSQLITE_MAX_MMAP_SIZE=0 -DHAVE_USLEEP=1
    -DHAVE_FDATASYNC=1 -DHAVE_GMTIME_R=1 -DHAVE_LOCALTIME_R=1 -DHAVE_ISNAN=1 -DHAVE_STRERROR_R=0 -DHAVE_MALLOC_USABLE_SIZE=0
    -D_FILE_OFFSET_BITS=64" linked sqlite3.wasm shell.c sqlite3.c
}
publish() { program "$work/sqlite3/bld/sqlite3.wasm" sqlite3; }
