# Writes into a pipe that nobody reads.
import subprocess
child = subprocess.Popen(['sleep', '1000'], stdin=subprocess.PIPE)
while True:
    child.stdin.write(b'x' * 65536)
