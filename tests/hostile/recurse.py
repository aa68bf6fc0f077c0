# As deep as the stack goes, without a limit of the language's own.
import sys
sys.setrecursionlimit(1 << 30)
def f(x):
    return [f(y) for y in [x]]
f(0)
