"""The users of /etc/passwd."""

from collections import namedtuple as _namedtuple

struct_passwd = _namedtuple("struct_passwd", "pw_name pw_passwd pw_uid pw_gid pw_gecos pw_dir pw_shell")


def getpwall():
    users = []
    with open("/etc/passwd") as file:
        for line in file:
            words = line.rstrip("\n").split(":")
            if len(words) == 7:
                users.append(struct_passwd(*words[:2], int(words[2]), int(words[3]), *words[4:]))
    return users


def getpwnam(name, /):
    for user in getpwall():
        if user.pw_name == name:
            return user
    raise KeyError(f"getpwnam(): name not found: {name!r}")


def getpwuid(uid, /):
    for user in getpwall():
        if user.pw_uid == uid:
            return user
    raise KeyError(f"getpwuid(): uid not found: {uid}")
