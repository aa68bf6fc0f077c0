# As deep as C goes: objects whose comparison, printing and destruction recurse.
import sys
sys.setrecursionlimit(1 << 30)
x = []
for _ in range(300_000):
    x = [x]
try:
    repr(x)
except (RecursionError, MemoryError):
    pass
try:
    x == [x]
except (RecursionError, MemoryError):
    pass
del x
print('survived')
