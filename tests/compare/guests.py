#!/usr/bin/env python3
"""Measures every guest's start: compile, load, first call, next calls, and the size of its code. Prints a Markdown table.

    cargo build --release
    python3 tests/compare/guests.py

The service starts twice over a directory of guests of its own: the first time it compiles them, the second time it finds their code and loads
it. A first call is one in a service that has just started, in a sandbox that has just been made; next calls are the median of N.
"""

import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from compare import ROOT, Server, row

CALLS = 20
LOADED = re.compile(r'guest loaded guest="([^"]+)" compile_ms=([0-9.e-]+) load_ms=([0-9.e-]+)')
# What each does: as little as it can.
WORK = {
    "bash": ":", "coreutils": "true; /usr/bin/true", "grep": "grep -c x /dev/null || :", "sed": "sed -n p /dev/null", "gawk": "awk 'BEGIN {}'",
    "find": "find /dev/null", "xargs": "xargs -r true < /dev/null", "patch": "patch --version", "tar": "tar --version", "gzip": "gzip --version",
    "bzip2": "bzip2 --help", "xz": "xz --version", "zip": "zip -v", "unzip": "unzip -v", "jq": "jq -n 1", "sqlite3": "sqlite3 :memory: 'select 1'",
    "git": "git --version", "python": "python3 -c pass", "javascript": "node -e 0",
}


def started(directory, guests, names):
    """Starts the service and waits until it has loaded these guests. Returns it, and what it says of each: compile and load, in ms."""
    log = Path(directory) / "log"
    server = Server(directory, {"SANDGLASS_GUESTS": guests, "NO_COLOR": "1"}, log)
    until = time.time() + 900
    while True:
        found = {name: (float(compile), float(load)) for name, compile, load in LOADED.findall(log.read_text())}
        if names <= found.keys():
            return server, found
        if time.time() > until or server.process.poll() is not None:
            raise SystemExit(f"not loaded: {sorted(names - found.keys())}")
        time.sleep(0.2)


def main():
    lock = tomllib.loads((ROOT / "guests/guests.lock").read_text())["guest"]
    entries = {entry["name"]: entry for entry in lock if entry["package"]["kind"] in ("crate", "repository")}
    guests = tempfile.mkdtemp()
    directories = [tempfile.mkdtemp(), tempfile.mkdtemp()]
    server = None
    try:
        server, compiled = started(directories[0], guests, entries.keys())
        server.stop()
        code = {}
        for label in (Path(guests) / "code").glob("*.json"):
            known = json.loads(label.read_text())
            code[known["module"]] = known["bytes"]
        server, loaded = started(directories[1], guests, entries.keys())
        row("guest", "module: KB", "compile: s", "code: MB", "load: ms", "first call: ms", "next calls: ms")
        row(*["---"] * 7)
        for name, entry in entries.items():
            server("POST", "/v1/sandboxes", {"name": f"of-{name}"})
            times = []
            for _ in range(CALLS + 1):
                command = WORK.get(name) or f"{entry['commands'][0]} --version"
                begin = time.perf_counter()
                call = server("POST", f"/v1/sandboxes/of-{name}/calls", {"tool": "shell", "arguments": {"command": command}})
                times.append((time.perf_counter() - begin) * 1e3)
                if call["status"] not in ("ok", "error"):
                    raise SystemExit(f"{name}: {call}")
            row(
                name, f"{entry['module']['bytes'] / 1e3:,.0f}", f"{compiled[name][0] / 1e3:.2f}",
                f"{code[entry['module']['blake3']] / 1e6:.1f}", f"{loaded[name][1]:.1f}", f"{times[0]:.1f}", f"{statistics.median(times[1:]):.2f}",
            )
        print(f"\nall code: {sum(code.values()) / 1e6:.0f} MB; compiled in {sum(c for c, _ in compiled.values()) / 1e3:.0f} s", file=sys.stderr)
    finally:
        if server:
            server.stop()
        for directory in [guests, *directories]:
            shutil.rmtree(directory)


if __name__ == "__main__":
    main()
