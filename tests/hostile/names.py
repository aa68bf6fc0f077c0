# Names that lie: with line ends, control characters, turned text, bytes that are no text, and as long as they may be.
import os
os.chdir(b'/workspace')
names = [b'a\nb', b'\x1b[2J', '\u202egpj.exe'.encode(), b'\xff\xfe\x80', b'-rf', b' ', b'..x', b'...', b'con', b'a' * 255,
         b'\\', b'"', b"'", b'%2e%2e', b'$(reboot)', b'{}', b'*']
for name in names:
    with open(name, 'wb') as f:
        f.write(name)
for name in os.listdir(b'.'):
    if name != b'kept.txt':
        assert open(name, 'rb').read() == name, name
for bad in (b'a\0b', b'', b'a' * 256, b'/x' * 2500):
    try:
        open(bad, 'wb')
        print('took', bad[:10])
    except (OSError, ValueError):
        pass
print(len(names))
