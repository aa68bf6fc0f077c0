"""Locks and flags of files. Nobody else has a sandbox's files open, so that every lock is granted."""

import errno as _errno
import os as _os

F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW = 0, 1, 2, 3, 4, 5, 6, 7
F_DUPFD_CLOEXEC, FD_CLOEXEC = 1030, 1
F_RDLCK, F_WRLCK, F_UNLCK = 0, 1, 2
LOCK_SH, LOCK_EX, LOCK_NB, LOCK_UN = 1, 2, 4, 8


def _number(fd):
    fd = fd if isinstance(fd, int) else fd.fileno()
    _os.fstat(fd)
    return fd


def flock(fd, operation, /):
    _number(fd)


def lockf(fd, cmd, len=0, start=0, whence=0, /):
    _number(fd)


def fcntl(fd, cmd, arg=0, /):
    fd = _number(fd)
    if cmd in (F_DUPFD, F_DUPFD_CLOEXEC):
        return _os.dup(fd)
    if cmd in (F_SETLK, F_SETLKW, F_GETLK):
        return arg if isinstance(arg, bytes) else 0
    if cmd in (F_GETFD, F_SETFD, F_GETFL, F_SETFL):
        return 0
    raise OSError(_errno.EINVAL, "Invalid argument")


def ioctl(fd, request, arg=0, mutate_flag=True, /):
    _number(fd)
    raise OSError(_errno.ENOTTY, "Inappropriate ioctl for device")
