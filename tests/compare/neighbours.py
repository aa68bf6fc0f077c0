#!/usr/bin/env python3
"""Measures what hostile guests do to a neighbour: a short call, alone and beside sixteen of them. Prints a Markdown table.

    cargo build --release
    python3 tests/compare/neighbours.py [--rounds 5]

The guests are those of tests/hostile that are programs (Python, JavaScript, shell), by category, with the limits of that corpus; sixteen clients
start one after the other for as long as the neighbour is timed. Beside them stands what the machine itself does to the neighbour: as many
loops as there are processors, in processes of their own at nice 19, once of arithmetic and once of copying memory. In each round the
neighbour is timed alone, beside them and alone again, since a machine is not as fast at one moment as at the next: `times` is the
median of the rounds' own ratios. Other figures are medians of all calls, and the 95th percentile behind them.
"""

import argparse
import itertools
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from compare import ROOT, row
from sessions import Sessions

TOGETHER = 16
WORK = {"py": ("python", "code"), "js": ("javascript", "code"), "sh": ("shell", "command")}
HONEST = "print(open('/workspace/kept.txt').read() + str(sum(range(1000))))"
LOOPS = {
    "arithmetic": "while True: pass",
    "copying 32 MiB": "a, b = bytearray(32 << 20), bytes(32 << 20)\nwhile True: a[:] = b",
}


def neighbour(server, seconds):
    """Returns the times of the neighbour's calls, in ms."""
    times, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        begin = time.perf_counter()
        assert server.python("neighbour", HONEST)["stdout"] == "kept499500\n"
        times.append((time.perf_counter() - begin) * 1e3)
    return times


def hostile(server, guests):
    """Starts guests one after the other."""
    for name, body in itertools.cycle(guests):
        server("POST", f"/v1/sandboxes/{name}/calls", body)


def clients(server, guests):
    """The clients of hostile guests: processes of low priority, so that it is not they who hold the neighbour up."""
    os.nice(19)
    for number in range(TOGETHER):
        # Each begins with another guest, and none has another's sandbox.
        own = [(f"{number}-{name}", body) for name, body in guests[number % len(guests) :] + guests[: number % len(guests)]]
        threading.Thread(target=hostile, args=(server.beside(), own)).start()


@contextmanager
def guests_beside(server, guests):
    process = multiprocessing.get_context("fork").Process(target=clients, args=(server, guests))
    process.start()
    time.sleep(1)
    yield
    process.kill()
    process.join()
    until = time.time() + 60
    while b"\nsandglass_calls_live 0\n" not in server("GET", "/metrics") and time.time() < until:
        time.sleep(0.1)


@contextmanager
def loops_beside(code):
    loops = [subprocess.Popen(["nice", "-n", "19", sys.executable, "-c", code]) for _ in range(os.cpu_count() or 1)]
    time.sleep(1)
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


def measure(server, what, with_them, rounds):
    alone, beside, ratios = [], [], []
    for _ in range(rounds):
        before = neighbour(server, 0.5)
        with with_them():
            during = neighbour(server, 2)
        after = neighbour(server, 0.5)
        alone += before + after
        beside += during
        ratios.append(statistics.median(during) / statistics.median(before + after))
    middle = [f"{statistics.median(times):.2f} ({statistics.quantiles(times, n=20)[-1]:.1f})" for times in (alone, beside)]
    row(what, *middle, f"{statistics.median(ratios):.2f}", " ".join(f"{ratio:.2f}" for ratio in sorted(ratios)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    corpus = tomllib.loads((ROOT / "tests/hostile/corpus.toml").read_text())
    limits = {**corpus["limits"], "cpu": "2s"}
    categories = {}
    for category, all_of_it in corpus["guests"].items():
        for file, expected in all_of_it.items():
            stem, _, kind = file.rpartition(".")
            if kind in WORK and "refused" not in expected:
                tool, argument = WORK[kind]
                body = {"tool": tool, "arguments": {argument: (ROOT / "tests/hostile" / file).read_text()}}
                categories.setdefault(category, []).append((f"{stem}-{kind}", body))
    directory = tempfile.mkdtemp()
    server = Sessions(directory)
    try:
        server("POST", "/v1/sandboxes", {"name": "neighbour"})
        server.python("neighbour", "open('/workspace/kept.txt', 'w').write('kept')")
        everything = [guest for guests in categories.values() for guest in guests]
        for number in range(TOGETHER):
            for name, _ in everything:
                server("POST", "/v1/sandboxes", {"name": f"{number}-{name}", "policy": {"version": 1, "limits": limits}})
        neighbour(server, 1)
        row("beside", "alone: ms (p95)", "beside: ms (p95)", "times", "of each round")
        row(*["---"] * 5)
        for what, code in LOOPS.items():
            measure(server, f"native processes at nice 19: {what}", lambda code=code: loops_beside(code), rounds)
        for category, guests in [*categories.items(), ("all of them", everything)]:
            what = f"{TOGETHER} guests: {category} ({len(guests)})"
            measure(server, what, lambda guests=guests: guests_beside(server, guests), rounds)
    finally:
        server.stop()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
