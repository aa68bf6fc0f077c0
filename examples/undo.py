#!/usr/bin/env python3
"""A bad call and the way back, over the REST API, with nothing but Python's standard library.

    sandglass serve                                                  # in another terminal
    export SANDGLASS_TOKEN=$(cat ~/.local/share/sandglass/token)
    python3 examples/undo.py

SANDGLASS_SERVER names another service than http://127.0.0.1:7777.
"""

import hashlib
import io
import json
import os
import tarfile
import urllib.error
import urllib.request
import uuid

SERVER = os.environ.get("SANDGLASS_SERVER", "http://127.0.0.1:7777").rstrip("/")
TOKEN = os.environ.get("SANDGLASS_TOKEN", "")


def request(method, path, body=None):
    """Sends a request and returns the bytes of the answer; a refusal ends the program with its reason."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if method == "POST":
        # The service does a request with this key once, however often it is sent.
        headers["Idempotency-Key"] = str(uuid.uuid4())
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(SERVER + path, data, headers, method=method)) as answer:
            return answer.read()
    except urllib.error.HTTPError as refusal:
        problem = json.loads(refusal.read())
        raise SystemExit(f"{problem['detail']} ({problem['code']})\n{problem.get('hint', '')}")
    except urllib.error.URLError as error:
        raise SystemExit(f"no service answers at {SERVER} ({error.reason}): start one with `sandglass serve`")


def ask(method, path, body=None):
    """As `request`, for answers in JSON."""
    return json.loads(request(method, path, body))


def python(sandbox, code):
    """Runs Python in a sandbox and returns the call."""
    call = ask("POST", f"/v1/sandboxes/{sandbox}/calls", {"tool": "python", "arguments": {"code": code}})
    print(f"    {call['status']} in {call['usage']['wall_ms']:.0f} ms: {call['stdout'].strip() or call['stderr'].strip()}")
    return call


def tree(state):
    """Lists all that a state holds, from its archive: names, kinds, modes, times, link targets and bytes."""
    with tarfile.open(fileobj=io.BytesIO(request("GET", f"/v1/states/{state}/export"))) as archive:
        listing = {}
        for member in archive:
            content = archive.extractfile(member).read() if member.isreg() else b""
            facts = (member.type, member.mode, member.mtime, member.linkname, hashlib.sha256(content).hexdigest())
            listing[member.name] = facts
        return listing


def main():
    print("1. a sandbox")
    sandbox = ask("POST", "/v1/sandboxes", {})["id"]

    print("2. some work in it")
    work = python(sandbox, "\n".join([
        "import os",
        "for number in range(100):",
        "    os.makedirs(f'/workspace/reports/{number % 10}', exist_ok=True)",
        "    with open(f'/workspace/reports/{number % 10}/{number}.txt', 'w') as out:",
        "        out.write(f'report {number}\\n' * number)",
        "os.symlink('reports/1/1.txt', '/workspace/first')",
        "os.chmod('/workspace/reports/1/1.txt', 0o600)",
        "print('100 reports written')",
    ]))
    before = tree(work["after"])

    print("3. an agent cleans up")
    bad = python(sandbox, "import shutil; shutil.rmtree('/workspace'); print('all cleaned up')")

    print("4. the diff")
    diff = ask("GET", f"/v1/sandboxes/{sandbox}/diff?from={bad['before']}&to={bad['after']}")
    print(f"    {diff['summary']['removed']} removed, such as {diff['changes'][-1]['path']}")

    print("5. undo")
    undone = ask("POST", f"/v1/sandboxes/{sandbox}/undo", {})
    print(f"    {undone['changes']['added']} are back")

    print("6. the proof")
    after = tree(ask("GET", f"/v1/sandboxes/{sandbox}")["state"])
    if after != before:
        raise SystemExit("    the trees differ")
    print(f"    {len(after)} entries: names, bytes, modes, times and links are what they were")
    python(sandbox, "print(open('/workspace/first').read().strip())")

    request("DELETE", f"/v1/sandboxes/{sandbox}")


if __name__ == "__main__":
    main()
