# Directories within directories until there may be no more.
import os
os.chdir('/tmp')
while True:
    os.mkdir('d')
    os.chdir('d')
