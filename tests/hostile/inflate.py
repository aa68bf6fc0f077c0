# Data that grows a thousand times, layer upon layer.
import zlib
x = zlib.compress(bytes(1 << 24), 9)
y = [zlib.decompress(x)]
while True:
    y.append(zlib.decompress(x))
