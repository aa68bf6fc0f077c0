# GNU coreutils: one program with all the others in it, which acts by the name it is called.
version=9.1 licence=GPL-3.0-or-later
tarball=coreutils_9.1.orig.tar.xz
sha256=61a1f410d78ba7e7f37a5a4f50e6d1320aca33375484a3255eddf17a38580423
names() {
  echo "coreutils: [ arch b2sum base32 base64 basename basenc cat chcon chgrp chmod chown chroot cksum comm cp csplit cut date dd df dir dircolors \
    dirname du echo env expand expr factor false fmt fold groups head hostid id install join kill link ln logname ls md5sum \
    mkdir mkfifo mknod mktemp mv nice nl nohup nproc numfmt od paste pathchk pr printenv printf ptx pwd readlink realpath rm rmdir \
    runcon seq sha1sum sha224sum sha256sum sha384sum sha512sum shred shuf sleep sort split stat stty sum sync tac tail tee test \
    timeout touch tr true truncate tsort tty uname unexpand uniq unlink vdir wc whoami yes"
}
build() {
  # No timers and no inotify: timeout uses setitimer, tail -f looks again.
  configured --enable-single-binary=symlinks --enable-install-program=arch,hostname --enable-no-install-program=stdbuf,uptime,users,who,pinky \
    --disable-nls --without-selinux --disable-acl --disable-xattr --disable-libcap --without-libgmp --without-openssl --disable-threads \
    ac_cv_func_timer_settime=no ac_cv_func_inotify_init=no ac_cv_func_getcwd=yes
  built src/coreutils
}
publish() { program src/coreutils coreutils; }
