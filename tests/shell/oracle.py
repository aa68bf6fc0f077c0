"""The real bash of this machine in a world of its own: what it does is what is right. Linux, root.

Each oracle is a process that is the first of its own namespaces: its `/workspace`, `/tmp` and `/home` are empty before each
script, it has no network, and what a script leaves running ends with it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import corpus

USER = 1000
PLACES = [corpus.WORKSPACE, "/tmp", "/home"]
# What the host puts into a sandbox; scripts ask who they are.
ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\nagent:x:1000:1000:agent:/workspace:/bin/bash\n",
    "group": "root:x:0:\nagent:x:1000:\n",
    "hosts": "127.0.0.1\tlocalhost sandbox\n",
}
NAMESPACES = ["--mount", "--uts", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]


class Pipe:
    """A pipe that belongs to the user who writes, so that `/dev/stdout` can be opened; it is read beside the others."""

    def __init__(self, user):
        self.reader, self.writer = os.pipe()
        os.fchown(self.writer, user, user)
        self.data = b""
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        with open(self.reader, "rb") as file:
            self.data = file.read()

    def written(self):
        """Says that the writers are others now."""
        os.close(self.writer)

    def everything(self, seconds):
        self.thread.join(seconds)
        if self.thread.is_alive():
            raise TimeoutError
        return self.data


class Oracle:
    """A real bash that answers one script after the other."""

    def __init__(self, commands):
        """Starts it; `commands` is a directory whose programs it has beside its own."""
        command = ["unshare", *NAMESPACES, sys.executable, "-B", __file__, str(commands)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii")

    def ask(self, world, seconds):
        files = {path: [content.decode("latin-1"), executable] for path, (content, executable) in world["files"].items()}
        print(json.dumps(world | {"files": files, "seconds": seconds}), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def make_world(commands):
    """Makes this process's own places. It must be the first of its namespaces."""
    if os.getpid() != 1:
        raise SystemExit("an oracle runs in namespaces of its own")
    os.makedirs(corpus.WORKSPACE, exist_ok=True)
    # What was installed by hand is nobody's bash.
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/usr/local/bin"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/opt"], check=True)
    shutil.copytree(commands, "/opt/bin")
    for place in PLACES:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", place], check=True)
    for name, text in ETC.items():
        path = Path("/home", name)
        path.write_text(text)
        subprocess.run(["mount", "--bind", path, f"/etc/{name}"], check=True)
        path.unlink()
    subprocess.run(["hostname", "sandbox"], check=True)
    # Whoever started this may ignore it, and then every case would.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def lay_out(world):
    for place in PLACES:
        for path in Path(place).iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    os.makedirs(world["cwd"], exist_ok=True)
    for name, (content, executable) in world["files"].items():
        path = Path(corpus.WORKSPACE, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("latin-1"))
        path.chmod(0o755 if executable else 0o644)
    for path in [Path(corpus.WORKSPACE), *Path(corpus.WORKSPACE).rglob("*"), Path(world["cwd"])]:
        os.utime(path, (corpus.FIXTURE_TIME, corpus.FIXTURE_TIME))
        os.chown(path, USER, USER)
    os.chmod("/tmp", 0o1777)


def answer(world):
    """Returns what bash did with a script."""
    lay_out(world)
    pipes = [Pipe(USER), Pipe(USER)]
    given, stdin = os.pipe() if world["stdin"] else (os.open(os.devnull, os.O_RDONLY), None)
    process = subprocess.Popen(
        ["bash", "-c", world["script"]],
        cwd=world["cwd"],
        env=world["env"],
        stdin=given,
        stdout=pipes[0].writer,
        stderr=pipes[1].writer,
        user=USER,
        group=USER,
        extra_groups=[],
        umask=0o022,
        start_new_session=True,
    )
    os.close(given)
    for pipe in pipes:
        pipe.written()
    if stdin is not None:
        threading.Thread(target=write, args=(stdin, world["stdin"].encode("utf-8", "surrogateescape")), daemon=True).start()
    status = None
    try:
        stdout, stderr = (pipe.everything(world["seconds"]) for pipe in pipes)
        process.wait(world["seconds"])
    except (TimeoutError, subprocess.TimeoutExpired):
        status = "timeout"
    # This is the first process of its namespace: there is nobody else's in it.
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        pass
    if status:
        process.wait()
        for pipe in pipes:
            pipe.thread.join()
        return {"status": status, "exit": 124, "stdout": "", "stderr": ""}
    code = process.returncode
    code = code if code >= 0 else 128 - code
    texts = {"stdout": stdout.decode("utf-8", "surrogateescape"), "stderr": stderr.decode("utf-8", "surrogateescape")}
    return {"status": "error" if code else "ok", "exit": code, **texts}


def write(pipe, data):
    try:
        with open(pipe, "wb") as file:
            file.write(data)
    except BrokenPipeError:
        pass


def main():
    make_world(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
        # What ended without its parent is the first process's to bury.
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass


if __name__ == "__main__":
    main()
