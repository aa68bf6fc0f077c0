"""The same edits kept by the store, by git and by AgentFS: 10 of 10,000 files changed, 50 times, each time kept.

Ours goes over REST and is on the disk when it is answered; git and AgentFS are not synced.
Run: python3 tests/compare/backup.py [SANDGLASS]; `pip install agentfs-sdk` for AgentFS.
"""
import asyncio, http.client, json, os, random, shutil, statistics, subprocess, sys, tempfile, time

FILES, EDITS, TURNS = 10_000, 10, 50
BINARY = sys.argv[1] if len(sys.argv) > 1 else "target/release/sandglass"


def content(turn, number):
    return random.Random(turn * 1_000_003 + number).randbytes(2048)


def tree(directory):
    for number in range(FILES):
        path = os.path.join(directory, f"d{number // 100}")
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, f"f{number}"), "wb") as file:
            file.write(content(0, number))


def picked(turn):
    return random.Random(turn).sample(range(FILES), EDITS)


def size(directory):
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(directory) for name in names)


def report(what, first, times, written):
    changed = EDITS * TURNS * 2048
    median, p95 = statistics.median(times) * 1000, sorted(times)[int(len(times) * 0.95)] * 1000
    print(f"| {what} | {first * 1000:.0f} | {median:.2f} | {p95:.2f} | {written / changed:.1f} |")


def ours(source):
    data = tempfile.mkdtemp()
    command = [BINARY, "serve", "--listen", "127.0.0.1:0", "--json", "--data", data]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    line = json.loads(server.stdout.readline())
    token = open(line["token_file"]).read().strip()
    connection = http.client.HTTPConnection(line["listening"].removeprefix("http://"))
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}

    def ask(method, path, body):
        connection.request(method, path, json.dumps(body), headers)
        answer = connection.getresponse()
        found = json.loads(answer.read())
        assert answer.status < 300, found
        return found

    begun = time.perf_counter()
    ask("POST", "/v1/sandboxes", {"name": "tree", "from": {"directory": source}})
    first = time.perf_counter() - begun
    code = (
        "import random\n"
        "for number in random.Random({turn}).sample(range({files}), {edits}):\n"
        "    data = random.Random({turn} * 1000003 + number).randbytes(2048)\n"
        "    open(f'/workspace/d{{number // 100}}/f{{number}}', 'wb').write(data)\n"
    )

    def written():
        connection.request("GET", "/metrics", headers=headers)
        lines = connection.getresponse().read().decode().splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("sandglass_store_written_bytes")))

    before, times = written(), []
    for turn in range(1, TURNS + 1):
        begun = time.perf_counter()
        arguments = {"code": code.format(turn=turn, files=FILES, edits=EDITS)}
        ask("POST", "/v1/sandboxes/tree/calls", {"tool": "python", "arguments": arguments})
        times.append(time.perf_counter() - begun)
    report("sandglass: a Python call that does the edits, REST, durable", first, times, written() - before)
    server.terminate()
    server.wait()
    shutil.rmtree(data)


def git(source):
    work = tempfile.mkdtemp()
    shutil.rmtree(work)
    shutil.copytree(source, work)
    run = lambda *arguments: subprocess.run(["git", "-C", work, "-c", "user.name=x", "-c", "user.email=x@y", *arguments], check=True, capture_output=True)
    run("init", "-q")
    begun = time.perf_counter()
    run("add", "-A")
    run("commit", "-qm", "first")
    first = time.perf_counter() - begun
    before, times = size(os.path.join(work, ".git")), []
    for turn in range(1, TURNS + 1):
        begun = time.perf_counter()
        for number in picked(turn):
            with open(os.path.join(work, f"d{number // 100}", f"f{number}"), "wb") as file:
                file.write(content(turn, number))
        run("add", "-A")
        run("commit", "-qm", str(turn))
        times.append(time.perf_counter() - begun)
    report("git: edits, add, commit; not synced", first, times, size(os.path.join(work, ".git")) - before)
    shutil.rmtree(work)


async def agentfs():
    try:
        from agentfs_sdk import AgentFS, AgentFSOptions
    except ImportError:
        print("skipped: agentfs-sdk absent")
        return
    directory = tempfile.mkdtemp()
    path = os.path.join(directory, "agent.db")
    agent = await AgentFS.open(AgentFSOptions(path=path))
    begun = time.perf_counter()
    for number in range(FILES):
        await agent.fs.write_file(f"/d{number // 100}/f{number}", content(0, number))
    first = time.perf_counter() - begun
    before, times = size(directory), []
    for turn in range(1, TURNS + 1):
        begun = time.perf_counter()
        for number in picked(turn):
            await agent.fs.write_file(f"/d{number // 100}/f{number}", content(turn, number))
        shutil.copyfile(path, os.path.join(directory, "snapshot.db"))
        times.append(time.perf_counter() - begun)
    report("AgentFS: edits, and a copy of its database as its README says; not synced", first, times, size(directory) - before + (TURNS - 1) * os.path.getsize(path))
    await agent.close()
    shutil.rmtree(directory)


print("| what | first, ms | median ms for 10 edits kept | p95 ms | bytes written per changed byte |")
print("|---|---|---|---|---|")
with tempfile.TemporaryDirectory() as source:
    tree(source)
    ours(source)
    git(source)
asyncio.run(agentfs())
