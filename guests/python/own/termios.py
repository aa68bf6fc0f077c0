"""Terminals: there are none, so every function says that a descriptor is not one."""

import errno as _errno

VMIN, VTIME, VINTR, VQUIT, VERASE, VKILL, VEOF, VSTART, VSTOP, VSUSP, VEOL = 6, 5, 0, 1, 2, 3, 4, 8, 9, 10, 11
TCSANOW, TCSADRAIN, TCSAFLUSH = 0, 1, 2
TCIFLUSH, TCOFLUSH, TCIOFLUSH = 0, 1, 2
IGNBRK, BRKINT, PARMRK, INPCK, ISTRIP, INLCR, IGNCR, ICRNL, IXON, IXANY, IXOFF = 1, 2, 8, 16, 32, 64, 128, 256, 1024, 2048, 4096
OPOST, ONLCR = 1, 4
CSIZE, CS8, CREAD, PARENB, HUPCL, CLOCAL = 48, 48, 128, 256, 1024, 2048
ISIG, ICANON, ECHO, ECHOE, ECHOK, ECHONL, NOFLSH, TOSTOP, IEXTEN = 1, 2, 8, 16, 32, 64, 128, 256, 32768
TIOCGWINSZ, TIOCSWINSZ, FIONREAD = 21523, 21524, 21531


class error(Exception):
    pass


def _refused(fd, *words):
    raise error(_errno.ENOTTY, "Inappropriate ioctl for device")


tcgetattr = tcsetattr = tcsendbreak = tcdrain = tcflush = tcflow = tcgetwinsize = tcsetwinsize = _refused
