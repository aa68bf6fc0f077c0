# Small text tools of util-linux: one program that acts by the name it is called.
version=2.38.1 licence="GPL-2.0-or-later AND BSD-3-Clause AND BSD-4-Clause-UC"
tarball=util-linux_2.38.1.orig.tar.xz
sha256=60492a19b44e6cf9a3ddff68325b333b8b52b6c59ce3ebd6a0ecaa4c5117e84f
names() { echo "util-linux: rev column hexdump hd look getopt cal col colrm more"; }
build() {
  flags+=" -D_GNU_SOURCE"
  configured --disable-all-programs --disable-nls --disable-shared --enable-static --without-ncurses --without-ncursesw --without-tinfo \
    --without-python --without-systemd --without-udev --without-selinux --without-readline --without-cap-ng --without-libmagic \
    --disable-asciidoc --disable-libuuid --enable-libsmartcols --disable-libblkid --disable-libmount --disable-libfdisk ac_cv_header_linux_version_h=yes
  # Only devices are asked about by kernel version.
  mkdir include/linux
  echo '#define LINUX_VERSION_CODE 393472' > include/linux/version.h
  built libcommon.la libtcolors.la libsmartcols.la
  # Each has a main of its own.
  local one objects=()
  part() {
    local name=$1
    shift
    for one in "$@"; do
      "$CC" -c $flags -include config.h -I. -Iinclude -Ilibsmartcols/src -I"$here/terminal" -DLOCALEDIR='"/usr/share/locale"' -DHAVE_TERM_H \
        -Dmain="main_$name" "$one" -o "${one%.c}.o"
      objects+=("${one%.c}.o")
    done
  }
  part rev text-utils/rev.c
  part column text-utils/column.c
  part hexdump text-utils/hexdump.c text-utils/hexdump-conv.c text-utils/hexdump-display.c text-utils/hexdump-parse.c
  part look misc-utils/look.c
  part getopt misc-utils/getopt.c
  part cal misc-utils/cal.c
  part col text-utils/col.c
  part colrm text-utils/colrm.c
  part more text-utils/more.c
  cat > all.c <<'EOF'
#include <stdio.h>
#include <string.h>

#define PROGRAMS X(rev) X(column) X(hexdump) X(look) X(getopt) X(cal) X(col) X(colrm) X(more)
#define X(name) int main_##name(int, char **);
PROGRAMS
#undef X

int main(int count, char **words)
{
	const char *name = count && strrchr(words[0], '/') ? strrchr(words[0], '/') + 1 : count ? words[0] : "";
	if (!strcmp(name, "hd"))
		name = "hexdump";
#define X(program) if (!strcmp(name, #program)) return main_##program(count, words);
	PROGRAMS
	fprintf(stderr, "%s: no such program here\n", name);
	return 127;
}
EOF
  linked util-linux.wasm all.c "${objects[@]}" "$here/terminal/term.c" .libs/libsmartcols.a .libs/libtcolors.a .libs/libcommon.a
}
publish() { program util-linux.wasm util-linux; }
