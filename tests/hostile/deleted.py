# Files that are deleted and kept open: they count while they are there.
import os
kept = []
while True:
    f = open('/tmp/gone', 'wb')
    os.remove('/tmp/gone')
    f.write(bytes(1 << 20))
    f.flush()
    kept.append(f)
