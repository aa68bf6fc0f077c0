"""A running service, as far as cases need it."""

import base64
import io
import json
import tarfile
import threading
import urllib.error
import urllib.request

import corpus


class Service:
    """A service at an address; files that cases begin with are imported once."""

    def __init__(self, url, token):
        self.url = url.rstrip("/")
        self.token = open(token[1:]).read().strip() if token.startswith("@") else token
        self.states, self.lock = {}, threading.Lock()

    def ask(self, method, path, body=None, kind="application/json"):
        headers = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            headers["Content-Type"] = kind
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=body, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.read()

    def state(self, key, files):
        """Returns the state in which `/workspace` has these files; `key` tells it from others."""
        with self.lock:
            if key not in self.states:
                answer = self.ask("POST", "/v1/states?format=tar", archive(files), "application/x-tar")
                self.states[key] = json.loads(answer)["states"][0]
            return self.states[key]

    def sandbox(self, state=None):
        body = {"from": {"state": state}} if state else {}
        return json.loads(self.ask("POST", "/v1/sandboxes", body))["id"]

    def remove(self, sandbox):
        self.ask("DELETE", f"/v1/sandboxes/{sandbox}")

    def call(self, sandbox, script, timeout, env=corpus.ENVIRONMENT, **more):
        arguments = {"command": script, "env": env, **more}
        body = {"tool": "shell", "arguments": arguments, "timeout_ms": timeout * 1000}
        return json.loads(self.ask("POST", f"/v1/sandboxes/{sandbox}/calls", body))

    def files(self, state):
        """Returns what `/workspace` holds in a state."""
        try:
            packed = self.ask("GET", f"/v1/states/{state}/export?format=tar&path={corpus.WORKSPACE}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return {}
            raise
        return archive_facts(packed)


def exact(call, stream):
    """Returns the bytes that a call wrote to a stream."""
    encoded = call.get(f"{stream}_base64")
    return base64.b64decode(encoded) if encoded else call[stream].encode()


def archive(files):
    """Returns an archive of files: path to content and whether it is executable."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, (content, executable) in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mtime = len(content), corpus.FIXTURE_TIME
            entry.mode = 0o755 if executable else 0o644
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def archive_facts(packed):
    facts, prefix = {}, corpus.WORKSPACE.strip("/")
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        for entry in tar:
            name = entry.name.strip("/").removeprefix("./").removeprefix(prefix).strip("/")
            if not name or corpus.internal(name):
                continue
            if entry.isdir():
                facts[name] = {"type": "dir"}
            elif entry.issym():
                facts[name] = {"type": "link", "target": entry.linkname}
            elif entry.isfile() or entry.islnk():
                facts[name] = corpus.file_facts(tar.extractfile(entry).read(), bool(entry.mode & 0o100))
            else:
                facts[name] = {"type": "other"}
    return facts
