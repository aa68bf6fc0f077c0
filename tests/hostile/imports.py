# Modules that import one another as they are made, for ever.
import sys, os
os.chdir('/tmp')
sys.path.insert(0, '/tmp')
n = 0
while True:
    open(f'm{n}.py', 'w').write(f'import sys\nsys.modules.pop("m{n}", None)\n' + 'x = [0] * 100_000\n')
    __import__(f'm{n}')
    n += 1
