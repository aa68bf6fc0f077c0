# Writes all over its own memory, if it can: what it breaks is its own.
try:
    import ctypes
    for at in range(0, 1 << 32, 1 << 12):
        ctypes.memset(at, 0xff, 1 << 12)
except (ImportError, AttributeError, OSError) as error:
    raise SystemExit(7)
