# GNU coreutils: one program with all the others in it, which acts by the name it is called.
version=9.1 licence=GPL-3.0-or-later
tarball=coreutils_9.1.orig.tar.xz
sha256=61a1f410d78ba7e7f37a5a4f50e6d1320aca33375484a3255eddf17a38580423
names() { echo "coreutils: $(sed -n 's/^single_binary_progs = //p' "$work/coreutils/Makefile" | sed 's/ginstall/install/; s/_//g')"; }
build() {
  # No gettimers and no inotify: timeout uses setitimer, tail -f looks again.
  configured --enable-single-binary=symlinks --enable-install-program=arch,hostname --enable-no-install-program=stdbuf,uptime,users,who,pinky \
    --disable-nls --without-selinux --disable-acl --disable-xattr --disable-libcap --without-libgmp --without-openssl --disable-threads \
    ac_cv_func_timer_settime=no ac_cv_func_inotify_init=no ac_cv_func_getcwd=yes
  built src/coreutils
}
publish() { program src/coreutils coreutils; }
