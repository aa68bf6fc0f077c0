# Symbolic links that go round, chains that are too long, ways out, and a directory in itself.
import errno, os
os.chdir('/workspace')
def fails(what, *arguments):
    try:
        what(*arguments)
    except OSError as error:
        return error.errno in (errno.ELOOP, errno.EINVAL, errno.ENOENT, errno.EXDEV, errno.EPERM, errno.EROFS, errno.EACCES)
    return False
os.symlink('round', 'round')
os.symlink('ping', 'pong'); os.symlink('pong', 'ping')
os.mkdir('in'); os.symlink('.', 'in/in')
open('c0', 'w').close()
for n in range(60):
    os.symlink(f'c{n}', f'c{n + 1}')
os.symlink('../../../../../../../../etc/passwd', 'out')
os.symlink('/proc/self/environ', 'proc')
os.makedirs('d/e/f')
print(fails(open, 'round'), fails(open, 'ping'), fails(open, 'c60'), open('c20').read() == '')
print(fails(open, 'out'), fails(open, 'proc'))
print(fails(os.rename, 'd', 'd/e/f/d'), fails(os.rename, '/workspace', '/workspace/d/x'), fails(os.rmdir, '/'))
print(fails(os.stat, 'in/' * 41 + 'in'), os.path.exists('in/' * 30 + 'in'))
