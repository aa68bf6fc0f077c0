#!/usr/bin/env python3
"""Measures many sessions in little memory, and turns per second. Prints Markdown tables.

    cargo build --release
    python3 -m venv .venv && .venv/bin/pip install pydantic-monty         # optional: an absent peer is named and left out
    .venv/bin/python tests/compare/resting.py [--sandboxes 10000] [--quick]

Everything of ours goes over REST against the real binary in a directory of its own, and is on the disk when it is answered. Sessions are of
the built-in Python. Memory is what the kernel says of the service's process (PSS: pages shared by mappings are counted once).
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from compare import milliseconds, row
from sessions import Sessions

START = "import json, re, random; data = {n: str(n) for n in range(2_000)}"


class Resting(Sessions):
    """A service of whose sessions some rest in memory."""

    def awake(self):
        text = self("GET", "/metrics").decode()
        line = next(line for line in text.splitlines() if line.startswith("sandglass_sessions_awake "))
        return int(line.split()[1])


def many(server, count):
    server("POST", "/v1/sandboxes", {"name": "warm"})
    server.turn("warm", START)
    before = server.memory_mib()[1]
    begin = time.perf_counter()
    made = []
    while len(made) < count:
        share = min(1000, count - len(made))
        made += server("POST", "/v1/sandboxes/warm/fork", {"count": share})["sandboxes"]
    forked = time.perf_counter() - begin
    begin = time.perf_counter()
    for number, sandbox in enumerate(made):
        server.turn(sandbox["id"], f"data[{number}] = mine = {number}")
    called = time.perf_counter() - begin
    after, awake = server.memory_mib()[1], server.awake()
    chosen = random.Random(1).sample(range(count), min(200, count))
    wrong = []

    def ask(index):
        number = chosen[index]
        if server.turn(made[number]["id"], "mine, data[mine]")["result"] != f"({number}, {number})":
            wrong.append(number)

    middle, high, _ = milliseconds(ask, len(chosen))
    if wrong:
        raise SystemExit(f"sessions that are not what they were: {wrong}")
    row("sandboxes with a session", "fork each, ms", "first call each, ms", "memory before, after, MiB", "awake", "a call anywhere, ms", "p95")
    row(*["---"] * 7)
    row(f"{count:,}", f"{forked * 1e3 / count:.3f}", f"{called * 1e3 / count:.2f}", f"{before:.0f}, {after:.0f}", f"{awake:,}", f"{middle:.2f}", f"{high:.2f}")
    return made


def rates(server, seconds):
    print()
    row("sandboxes at once", "turns a second", "median ms", "p95 ms")
    row(*["---"] * 4)
    for count in (1, 8, 64):
        boxes = server("POST", "/v1/sandboxes/warm/fork", {"count": count})["sandboxes"] if count > 1 else [server("POST", "/v1/sandboxes/warm/fork", {})]
        over = time.perf_counter() + seconds
        times, lock = [], threading.Lock()

        def work(sandbox, own):
            mine, number = [], 0
            while time.perf_counter() < over:
                begin = time.perf_counter()
                own.turn(sandbox["id"], f"data[{number}] = {number}")
                mine.append((time.perf_counter() - begin) * 1e3)
                number += 1
            with lock:
                times.extend(mine)

        threads = [threading.Thread(target=work, args=(sandbox, server.beside())) for sandbox in boxes]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - begin
        times.sort()
        row(count, f"{len(times) / took:.0f}", f"{times[len(times) // 2]:.2f}", f"{times[int(len(times) * 0.95)]:.2f}")


def peers(count):
    print()
    row("others, one session", "ms", "what it keeps")
    row(*["---"] * 3)
    try:
        import pydantic_monty

        with pydantic_monty.Monty() as monty, monty.checkout() as session:
            session.feed_run("data = {n: str(n) for n in range(2000)}")
            middle, _, _ = milliseconds(lambda i: session.feed_run(f"data[{i}] = {i}\nlen(data)"), count)
            row("pydantic-monty: `data[i] = i`, a process of its own", f"{middle:.3f}", "nothing; a subset of Python")
            middle, _, _ = milliseconds(lambda i: (session.feed_run(f"data[{i}] = {i}\nlen(data)"), session.dump()), count)
            row("pydantic-monty: the same, and its dump", f"{middle:.3f}", "the interpreter's state, as bytes of the caller's")
    except Exception as error:  # noqa: BLE001
        print(f"skipped: pydantic-monty: {error}", file=sys.stderr)
    code = "import pickle\ntry: data = pickle.load(open('s.pkl', 'rb'))\nexcept FileNotFoundError: data = {n: str(n) for n in range(2000)}\ndata[len(data)] = 1\npickle.dump(data, open('s.pkl', 'wb'))"
    folder = tempfile.mkdtemp()
    middle, high, _ = milliseconds(lambda i: subprocess.run([sys.executable, "-c", code], cwd=folder, check=True), 30)
    row("CPython of this machine, started anew, pickle in and out", f"{middle:.1f}", "what pickle can, not synced")
    shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sandboxes", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    options = parser.parse_args()
    part = 10 if options.quick else 1
    directory = tempfile.mkdtemp()
    server = Resting(directory)
    try:
        many(server, options.sandboxes // part)
        rates(server, 10 / part)
        peers(300 // part)
    finally:
        server.stop()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
