# GNU grep, with Perl's regular expressions (pcre2).
version=3.8 licence=GPL-3.0-or-later
tarball=grep_3.8.orig.tar.xz
sha256=498d7cc1b4fb081904d87343febb73475cf771e424fb7e6141aff66013abc382
names() { echo "grep: grep egrep fgrep"; }
build() {
  debian grep_3.8-5.debian.tar.xz c49bb8ab9ed98fd1aa76f8af838ac9abd664e65042c0e40f99983c60ba03fba1 \
    1019724-handle-backslash-warning.patch \
    1029235-grep-bug-backref-in-last-of-multiple-patterns.patch
  pcre2
  # What happens when the stack overflows is known here: it traps.
  sed -i 's|^#if HAVE_STACK_OVERFLOW_RECOVERY|#if 0|' lib/c-stack.c
  configured --disable-nls --disable-threads PCRE_CFLAGS="-I$work/pcre2/include -DPCRE2_STATIC" PCRE_LIBS="$work/pcre2/src/libpcre2-8.a"
  built -C lib
  built -C src grep
}
publish() { program src/grep grep; }
