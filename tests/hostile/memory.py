# Takes memory in small pieces, and in one that is larger than all there is.
try:
    bytearray(1 << 40)
except (MemoryError, OverflowError):
    pass
x = []
while True:
    x.append(bytearray(1 << 16))
