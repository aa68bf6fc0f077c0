# Starts threads and processes until it is told that there are none.
import os, threading
refused = 0
for _ in range(1000):
    try:
        threading.Thread(target=print).start()
    except RuntimeError:
        refused += 1
for name in ('fork', 'forkpty', 'posix_spawn'):
    try:
        getattr(os, name)()
    except (AttributeError, OSError, TypeError):
        refused += 1
print(refused)
