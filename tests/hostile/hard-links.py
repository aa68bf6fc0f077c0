# Names of one file until there may be no more.
import os
open('/tmp/one', 'w').write('x' * 10_000)
n = 0
while True:
    os.link('/tmp/one', f'/tmp/{n}')
    n += 1
