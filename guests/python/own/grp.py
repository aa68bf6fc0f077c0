"""The groups of /etc/group."""

from collections import namedtuple as _namedtuple

struct_group = _namedtuple("struct_group", "gr_name gr_passwd gr_gid gr_mem")


def getgrall():
    groups = []
    with open("/etc/group") as file:
        for line in file:
            words = line.rstrip("\n").split(":")
            if len(words) == 4:
                groups.append(struct_group(words[0], words[1], int(words[2]), [name for name in words[3].split(",") if name]))
    return groups


def getgrnam(name):
    for group in getgrall():
        if group.gr_name == name:
            return group
    raise KeyError(f"getgrnam(): name not found: {name!r}")


def getgrgid(id):
    for group in getgrall():
        if group.gr_gid == id:
            return group
    raise KeyError(f"getgrgid(): gid not found: {id}")
