# Speaks nonsense to the channel through which programs are started.
import os, random
fd = os.open('/dev/processes', os.O_RDWR)
random.seed(1)
words = [b'start', b'wait', b'kill', b'duplicate', b'pipe', b'exec', b'close', b'0', b'-1', b'1', b'77', b'4294967296', b'/', b'', b'\xff']
while True:
    try:
        os.write(fd, b'\0'.join(random.choices(words, k=random.randrange(9))) + bytes(random.randrange(3)))
    except OSError:
        pass
    try:
        os.read(fd, 100)
    except OSError:
        pass
