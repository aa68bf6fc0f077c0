"""What is added to a Python guest when its image is made, once: starting programs, which CPython leaves out on WASI, sessions, and
the command line where the interpreter takes source only.

`os` and `subprocess` get the functions that they have on Linux, as far as they make sense in a sandbox; they ask the host at
`/dev/processes`. There is no fork: a process begins with a program.
"""

import errno
import gc
import os
import posix
import subprocess
import sys

_PROCESSES = "/dev/processes"
# What has this number was never started.
_NOBODY = 2**31 - 1


def _ask(*words):
    """Asks the host, and returns the numbers of its answer."""
    fd = os.open(_PROCESSES, os.O_RDWR)
    try:
        os.write(fd, b"\0".join(word if isinstance(word, bytes) else str(word).encode() for word in words))
        return [int(number) for number in os.read(fd, 64).split()]
    finally:
        os.close(fd)


def _list(words):
    words = [os.fsencode(word) for word in words]
    for word in words:
        if b"\0" in word:
            raise ValueError("embedded null byte")
    return [len(words), *words]


def _start(paths, args, env, cwd, files, leads=False):
    """Starts a program with these descriptors: pairs of its number and ours."""
    variables = [os.fsencode(name) + b"=" + os.fsencode(value) for name, value in env.items()]
    pairs = [number for pair in files for number in pair]
    # The host does not know where this interpreter is: only its C library does.
    here = os.getcwd() if cwd is None else os.path.join(os.getcwd(), os.fsdecode(cwd))
    words = ["start", os.fsencode(here), int(leads), len(files), *pairs, *_list(paths), *_list(args), *variables]
    return _ask(*words)[0]


def _standard():
    """The standard descriptors that are open."""
    files = []
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            continue
        files.append((fd, fd))
    return files


# os: pipes and descriptors


def pipe():
    return tuple(_ask("pipe"))


def pipe2(flags):
    return pipe()


def dup(fd, /):
    return _ask("duplicate", fd, "-")[0]


def dup2(fd, fd2, inheritable=True):
    if fd == fd2:
        os.fstat(fd)
        return fd2
    return _ask("duplicate", fd, fd2)[0]


# os: the ends of processes, in the numbers that C has for them


def waitpid(pid, options, /):
    found = _ask("wait", pid, int(bool(options & WNOHANG)))
    if found == [0]:
        return 0, 0
    child, signaled, value = found
    return child, value if signaled else value << 8


def wait():
    return waitpid(-1, 0)


def wait4(pid, options):
    import types

    usage = types.SimpleNamespace(ru_utime=0.0, ru_stime=0.0, ru_maxrss=0)
    return *waitpid(pid, options), usage


def wait3(options):
    return wait4(-1, options)


def WIFEXITED(status):
    return status & 0x7F == 0


def WEXITSTATUS(status):
    return status >> 8 & 0xFF


def WIFSIGNALED(status):
    return status & 0x7F not in (0, 0x7F)


def WTERMSIG(status):
    return status & 0x7F


def WIFSTOPPED(status):
    return False


def WSTOPSIG(status):
    return 0


def WIFCONTINUED(status):
    return False


def WCOREDUMP(status):
    return False


def waitstatus_to_exitcode(status):
    return -WTERMSIG(status) if WIFSIGNALED(status) else WEXITSTATUS(status)


def kill(pid, signal, /):
    _ask("kill", pid, int(signal))


def killpg(pgid, signal, /):
    if pgid <= 0:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    _ask("kill", -pgid, int(signal))


def getpid():
    return _ask("who")[0]


def getppid():
    return _ask("who")[1]


# os: starting programs


def system(command):
    if isinstance(command, str):
        command = os.fsencode(command)
    pid = _start([b"/bin/sh"], [b"sh", b"-c", command], os.environ, None, _standard())
    return waitpid(pid, 0)[1]


def posix_spawn(path, argv, env, *, file_actions=None, setsid=False, **_):
    files = dict(_standard())
    for action in file_actions or ():
        if action[0] == POSIX_SPAWN_DUP2:
            files[action[2]] = files.get(action[1], action[1])
        elif action[0] == POSIX_SPAWN_CLOSE:
            files.pop(action[1], None)
        else:
            fd = os.open(*action[2:])
            files[action[1]] = fd
    return _start([path], argv, env, None, list(files.items()), setsid)


def posix_spawnp(path, argv, env, **options):
    return posix_spawn(_paths(path, env)[0], argv, env, **options)


def _paths(file, env):
    file = os.fsencode(file)
    if b"/" in file:
        return [file]
    return [os.path.join(os.fsencode(folder), file) for folder in os.get_exec_path(env)]


def spawnve(mode, path, args, env):
    pid = _start([path], args, env, None, _standard())
    return pid if mode == P_NOWAIT else waitstatus_to_exitcode(waitpid(pid, 0)[1])


def spawnv(mode, path, args):
    return spawnve(mode, path, args, os.environ)


def spawnvpe(mode, file, args, env):
    pid = _start(_paths(file, env), args, env, None, _standard())
    return pid if mode == P_NOWAIT else waitstatus_to_exitcode(waitpid(pid, 0)[1])


def spawnvp(mode, file, args):
    return spawnvpe(mode, file, args, os.environ)


def spawnl(mode, file, *args):
    return spawnv(mode, file, args)


def spawnlp(mode, file, *args):
    return spawnvp(mode, file, args)


def spawnle(mode, file, *args):
    return spawnve(mode, file, args[:-1], args[-1])


def spawnlpe(mode, file, *args):
    return spawnvpe(mode, file, args[:-1], args[-1])


def _become(paths, args, env):
    # An interpreter can't make room for another program: it waits for it, and ends as it does.
    code = waitstatus_to_exitcode(waitpid(_start(paths, args, env, None, _standard()), 0)[1])
    os._exit(128 - code if code < 0 else code)


def execve(path, argv, env):
    _become([path], argv, env)


def execv(path, argv, /):
    _become([path], argv, os.environ)


POSIX_SPAWN_OPEN, POSIX_SPAWN_CLOSE, POSIX_SPAWN_DUP2 = 0, 1, 2
P_WAIT, P_NOWAIT, P_NOWAITO = 0, 1, 1
WNOHANG, WUNTRACED, WCONTINUED = 1, 2, 8


def _fork_exec(
    args, paths, close_fds, pass_fds, cwd, env, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite,
    errpipe_read, errpipe_write, restore_signals, start_new_session, process_group, gid, gids, uid, umask, preexec_fn, *_,
):  # fmt: skip
    """`_posixsubprocess.fork_exec`; what fails is told through the pipe, as there."""
    if preexec_fn is not None:
        raise RuntimeError("preexec_fn is not supported within a sandbox: a process begins with its program")
    wanted = [(0, p2cread), (1, c2pwrite), (2, errwrite)]
    open_now = dict(_standard())
    files = [(to, fd if fd != -1 else open_now[to]) for to, fd in wanted if fd != -1 or to in open_now]
    files += [(fd, fd) for fd in pass_fds if fd > 2 and fd != errpipe_write]
    if env is None:
        variables = _environment()
    else:
        variables = dict(variable.split(b"=", 1) for variable in env)
    try:
        if cwd is not None:
            os.listdir(cwd)
    except OSError as error:
        os.write(errpipe_write, b"OSError:%x:noexec" % error.errno)
        return _NOBODY
    leads = start_new_session or process_group == 0
    try:
        return _start(paths, args, variables, cwd, files, leads)
    except OSError as error:
        os.write(errpipe_write, b"OSError:%x:" % error.errno)
        return _NOBODY


_OS = """pipe pipe2 dup dup2 waitpid wait wait3 wait4 WIFEXITED WEXITSTATUS WIFSIGNALED WTERMSIG WIFSTOPPED WSTOPSIG WIFCONTINUED
WCOREDUMP waitstatus_to_exitcode kill killpg getpid getppid system posix_spawn posix_spawnp spawnv spawnve spawnvp spawnvpe spawnl
spawnle spawnlp spawnlpe execv execve POSIX_SPAWN_OPEN POSIX_SPAWN_CLOSE POSIX_SPAWN_DUP2 P_WAIT P_NOWAIT P_NOWAITO WNOHANG
WUNTRACED WCONTINUED""".split()


def _install():
    for name in _OS:
        setattr(os, name, globals()[name])
        setattr(posix, name, globals()[name])
        if name not in os.__all__:
            os.__all__.append(name)
    subprocess._can_fork_exec = True
    subprocess._fork_exec = _fork_exec
    subprocess._waitpid = waitpid
    subprocess._waitstatus_to_exitcode = waitstatus_to_exitcode

    # A class that methods know as a default: what is in it changes, not which it is.
    for name in ("waitpid", "waitstatus_to_exitcode", "WIFSTOPPED", "WSTOPSIG"):
        setattr(subprocess._del_safe, name, staticmethod(globals()[name]))
    subprocess._del_safe.WNOHANG, subprocess._del_safe.ECHILD = WNOHANG, errno.ECHILD
    if not hasattr(subprocess, "_PopenSelector"):
        import selectors

        subprocess.selectors = selectors
        subprocess._PopenSelector = selectors.PollSelector
    sys.executable = sys._base_executable = "/usr/bin/python3"


def _environment():
    """The environment, in bytes: `os.environ` decodes each of its variables, and `os.environb` is not always of the same ones."""
    return dict(os.environ._data)


def _set_environment(wanted):
    """Makes `os.environ` this, and changes no more of it than differs."""
    there = _environment()
    if there == wanted:
        return
    for name in there:
        if name not in wanted:
            del os.environ[os.fsdecode(name)]
    for name, value in wanted.items():
        if there.get(name) != value:
            os.environ[os.fsdecode(name)] = os.fsdecode(value)


def _open_stdin():
    """Begins standard input anew: what an earlier turn was given and did not read is not for this one."""
    import io

    try:
        raw = io.FileIO(0, closefd=False)
    except OSError:
        sys.stdin = None
        return
    raw.name = "<stdin>"
    sys.stdin = io.TextIOWrapper(io.BufferedReader(raw), encoding="utf-8", errors="surrogateescape")


class _Session:
    """A session: one `__main__` that lasts from turn to turn, and what a turn may leave of the process."""

    def __init__(self):
        import types

        self.main = types.ModuleType("__main__")
        self.main.__builtins__ = __builtins__
        self.turns = 0
        self.life = None
        self.environ = self.given = None
        self.cwd = None

    def begin(self, life):
        import atexit

        self.turns += 1
        # What runs at exit runs when the session ends, and it only rests.
        atexit._run_exitfuncs = lambda: None
        driver = sys.modules.get("_bashkit_boot")
        if driver is not None:
            driver._release_main = lambda: None
        sys.path[:] = ["", *(path for path in sys.path if path != "")]
        sys.argv = [""]
        if self.turns > 1:
            _open_stdin()
        given = _environment()
        if self.environ is not None:
            changed = {name: value for name, value in given.items() if self.given.get(name) != value}
            _set_environment({**self.environ, **changed})
        # The call's own directory goes before the one that the turn before went to.
        if self.cwd is not None and self.given.get(b"PWD") == given.get(b"PWD"):
            try:
                os.chdir(self.cwd)
            except OSError:
                pass
        self.given = given
        if self.life != life:
            self.reseed()
        self.life = life

    def reseed(self):
        """Clones of this memory must not draw the same numbers, nor whoever goes back to it."""
        if "random" in sys.modules and self.life is not None:
            sys.modules["random"].seed()
        if "tempfile" in sys.modules:
            sys.modules["tempfile"]._name_sequence = None
        if "uuid" in sys.modules:
            sys.modules["uuid"]._node = sys.modules["uuid"]._last_timestamp = None
        numpy = sys.modules.get("numpy.random")
        if numpy is not None:
            numpy.seed()

    def end(self):
        self.environ = _environment()
        try:
            self.cwd = os.getcwd()
        except OSError:
            self.cwd = None

    def run(self, source):
        """Runs code; the value of an expression at its end is what the turn gives."""
        import ast
        import linecache

        name = f"<turn {self.turns}>"
        lines = source.splitlines(True)
        linecache.cache[name] = (len(source), None, lines, name)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        tree = compile(source, name, "exec", flags | ast.PyCF_ONLY_AST)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        names = self.main.__dict__
        if tree.body:
            self.evaluate(compile(tree, name, "exec", flags), names)
        if last is None:
            return None
        return self.evaluate(compile(ast.Expression(last.value), name, "eval", flags), names)

    def evaluate(self, code, names):
        value = eval(code, names)
        if code.co_flags & 0x80:  # CO_COROUTINE: it awaits at the top level.
            import asyncio

            value = asyncio.run(value)
        return value


_session = None
# A result is for people to read: what is longer is better written to a file.
_RESULT_CHARACTERS = 65536


def turn():
    """One call of a session: its code, and which life of a sandbox it is, are the arguments."""
    global _session
    _, source, life = sys.argv
    if _session is None:
        _session = _Session()
    driver = sys.modules["__main__"]
    sys.modules["__main__"] = _session.main
    failed = True
    try:
        _session.begin(life)
        value = _session.run(source)
        if value is not None:
            _session.main._ = value
            text = repr(value)
            if len(text) > _RESULT_CHARACTERS:
                text = text[:_RESULT_CHARACTERS] + "..."
            _ask("result", text.replace("\0", "\\x00").encode("utf-8", "backslashreplace"))
        failed = False
    except SystemExit as ended:
        code = ended.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
        _ask("exit", int(code or 0) & 255)
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_globals is globals():
            trace = trace.tb_next
        error = error.with_traceback(trace)
        sys.last_exc = error
        sys.excepthook(type(error), error, trace)
    finally:
        sys.modules["__main__"] = driver
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass
        _session.end()
    if failed:
        raise SystemExit(1)


# The program of a turn of a session.
_TURN = "import _sandglass; _sandglass.turn()"


def _take_turns_at_once():
    """The program of every turn is the same, and known: it need not be compiled each time."""
    driver = sys.modules["_bashkit_boot"]
    run_source = driver._run_source

    def run(source, filename, module):
        turn() if source == _TURN else run_source(source, filename, module)

    # Frames of the driver are left out of what a program shows of its errors.
    run.__code__ = run.__code__.replace(co_filename=run_source.__code__.co_filename)
    driver._run_source = run


def enter(words, variables):
    """What an interpreter runs that takes source and no arguments: the command line and the environment are given here."""
    import linecache

    # It keeps the source of everything that was ever run, this among it.
    linecache._interactive_cache.clear()
    words = [os.fsdecode(word) for word in words]
    _set_environment(dict(variable.split(b"=", 1) for variable in variables))
    try:
        os.chdir(os.environ["PWD"])
    except (KeyError, OSError):
        pass
    if words[1:3] == ["-c", _TURN]:
        sys.argv = ["-c", *words[3:]]
        turn()
    else:
        raise SystemExit(_program(words))


def _program(words):
    """Runs a command line, and returns its status."""
    import _reactor

    program = [word for word in words[1:] if word not in _WITHOUT_EFFECT]
    is_file = bool(program) and not program[0].startswith("-")
    # It looks for modules in its library alone.
    sys.path.insert(0, os.path.dirname(os.path.abspath(program[0])) if is_file else "")
    return _finish(_reactor.run(words, dict(os.environ)))


def _finish(status):
    """Does what the end of an interpreter does for others to see: what is registered runs, what is open is written, objects go.

    The interpreter itself is not taken down: that takes longer than most programs.
    """
    import _io
    import atexit
    import threading
    import types
    import weakref

    for step in (threading._shutdown, atexit._run_exitfuncs):
        try:
            step()
        except BaseException:
            pass
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        vars(sys).pop(name, None)
    # A file in a knot of objects may be closed before what is written to it has come down to it.
    for thing in gc.get_objects():
        if isinstance(thing, _io._IOBase):
            try:
                thing.flush()
            except Exception:
                pass
    thing = None
    left = []
    for name, module in reversed(list(sys.modules.items())):
        if name == "__main__" or name not in _HERE and not (getattr(module, "__file__", None) or "").startswith("/usr/local/lib/"):
            del sys.modules[name]
            if isinstance(module, types.ModuleType):
                left.append(weakref.ref(module))
    module = None
    sys.modules["__main__"] = types.ModuleType("__main__")
    # What a module's functions hold goes together, and finds all that it knows still there.
    gc.collect()
    for module in left:
        if module() is not None:
            vars(module()).clear()
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except Exception:
            status = 120
    return status


_WITHOUT_EFFECT = ("-u", "-B", "-E", "-s", "-S", "-O", "-OO", "-q", "-v")


class _PythonPath:
    """Puts the directories of PYTHONPATH on the path, which this interpreter does not, when something is imported first."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        sys.meta_path.remove(_PythonPath)
        words = os.environ.get("PYTHONPATH", "")
        # After the program's own directory.
        sys.path[1:1] = [os.path.abspath(word) for word in words.split(":") if word]
        return None


def _seed_when_used():
    """Has the random numbers of each program be its own, from their first use on.

    Every program begins with the same memory, and drawing a seed is not for free. What `from random import random, seed` gave
    has to go on being of one generator, also after the first use.
    """
    import random

    plain = random.Random

    class Random(plain):
        def _begin(self):
            if self.__class__ is not plain:
                # From now on these are the functions of C, for whoever asks the module for them.
                self.__class__ = plain
                for name in names:
                    setattr(random, name, getattr(self, name))
                plain.seed(self)

    def late(name):
        function = getattr(plain, name)

        def call(self, *words, **named):
            Random._begin(self)
            return function(self, *words, **named)

        call.__name__, call.__doc__ = name, function.__doc__
        return call

    names = ("random", "getrandbits", "getstate", "seed", "setstate")
    for name in names:
        setattr(Random, name, late(name))
    random._inst = inst = plain()
    inst.__class__ = Random
    for name, value in list(vars(random).items()):
        if isinstance(getattr(value, "__self__", None), plain):
            setattr(random, name, getattr(inst, name))


def _who_and_where():
    """There is one user here, and files are its: what `stat` says of them. Permissions keep nobody from anything."""
    import socket

    for name in ("getuid", "geteuid", "getgid", "getegid"):
        if not hasattr(os, name):
            for module in (os, posix):
                setattr(module, name, lambda: 0)
    if not hasattr(os, "getgroups"):
        os.getgroups = lambda: [0]
    if not hasattr(socket, "gethostname"):
        socket.gethostname = lambda: "sandbox"


def _loops_without_sockets():
    """A loop of asyncio wakes itself through a pair of sockets. There are none here, nor anybody who would wake it."""
    from asyncio import selector_events

    loop = selector_events.BaseSelectorEventLoop
    for name in ("_make_self_pipe", "_close_self_pipe", "_write_to_self"):
        setattr(loop, name, lambda self: None)


def _leave_plainly():
    """Has `exit` and `quit` be what they are in a program: an interpreter that takes source has made them its own."""
    import _sitebuiltins
    import builtins

    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))


_install()
_seed_when_used()
_who_and_where()
_loops_without_sockets()
if "_reactor" in sys.modules:
    _leave_plainly()
if "_bashkit_boot" in sys.modules:
    _take_turns_at_once()
sys.meta_path.insert(0, _PythonPath)
# What the archive has in part only is whole in the directory.
if "/usr/local/lib/python3.14" in sys.path:
    sys.path.remove("/usr/local/lib/python3.14")
    sys.path.insert(sys.path.index("/usr/local/lib/python314.zip"), "/usr/local/lib/python3.14")
    # It was not there when the interpreter began.
    sys.path_importer_cache.pop("/usr/local/lib/python3.14", None)
# The image is made by a program on the command line, which has put its directory first.
if sys.path[:1] == [""]:
    del sys.path[0]
_HERE = frozenset(sys.modules)
# What is here stays: no collection need look at it again.
gc.collect()
gc.freeze()
