# Starts programs and never waits for them.
import subprocess
kept = []
while True:
    kept.append(subprocess.Popen(['sleep', '1000']))
