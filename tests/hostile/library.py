# Changes what is the host's: its library, its devices, its root.
import os, shutil
left = 0
def attempt(what, *arguments):
    global left
    try:
        what(*arguments)
        left += 1
        print('could', what, arguments)
    except OSError:
        pass
for path in ('/usr', '/bin', '/dev', '/usr/lib', '/etc/passwd'):
    attempt(os.rename, path, '/workspace/taken')
    attempt(os.unlink, path + '/null')
    attempt(lambda p: open(p + '/x', 'w').close(), path)
    attempt(os.truncate, path + '/x', 1 << 40)
attempt(os.symlink, '/workspace', '/usr/lib/python3.14/site')
print(left)
