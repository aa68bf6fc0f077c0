# Reads a directory of many entries again and again.
import os
for n in range(1500):
    open(f'/tmp/{"x" * 200}{n}', 'w').close()
while True:
    for entry in os.scandir('/tmp'):
        entry.stat()
