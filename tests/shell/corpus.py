"""The shell corpus as data: its cases, its fixtures, and what a tree of files holds."""

import base64
import hashlib
import json
import os
import re
import stat
from pathlib import Path

ROOT = Path(__file__).resolve().parent
# The world of every case, here and in a sandbox.
WORKSPACE = "/workspace"
ENVIRONMENT = {
    "HOME": WORKSPACE,
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "TMPDIR": "/tmp",
}
# Every file of a fixture has this time, so that no case sees when it was laid out.
FIXTURE_TIME = 1_700_000_000
STDOUT_MAX = 64 * 1024
DIRECTIVE = re.compile(r"# (files|prelude): (\S+)\n")


class Case:
    """A script, what it runs in, and its name."""

    def __init__(self, category, name):
        self.category, self.name, self.id = category, name, f"{category}/{name}"
        self.fixture, self.script = None, None


def categories():
    return sorted(path.stem for path in (ROOT / "cases").glob("*.txt"))


def cases(category):
    """Reads the cases of a category; everything before the first `### name` is about the file."""
    found = {}
    for block in (ROOT / "cases" / f"{category}.txt").read_text().split("\n### ")[1:]:
        name, _, script = block.partition("\n")
        case = Case(category, name.strip())
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", case.name) or case.name in found:
            raise SystemExit(f"{case.id}: a bad name, or one that is there twice")
        prelude = ""
        while directive := DIRECTIVE.match(script):
            if directive[1] == "files":
                case.fixture = directive[2]
            else:
                prelude = (ROOT / "preludes" / f"{directive[2]}.sh").read_text()
            script = script[directive.end() :]
        case.script = prelude + script.rstrip("\n") + "\n"
        found[case.name] = case
    return list(found.values())


def expected(category):
    path = ROOT / "expected" / f"{category}.json"
    return json.loads(path.read_text())["cases"] if path.exists() else {}


def fixture(name):
    """Returns the files of a fixture: relative path to content and whether it is executable."""
    if name is None:
        return {}
    root = ROOT / "fixtures" / name
    if not root.is_dir():
        raise SystemExit(f"there is no fixture {name}")
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): (path.read_bytes(), bool(path.stat().st_mode & 0o100)) for path in files}


def file_facts(content, executable):
    return {"type": "file", "exec": executable, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def fixture_facts(files):
    """Returns what a tree holds in which only the fixture was laid out."""
    facts = {path: file_facts(*file) for path, file in files.items()}
    for path in files:
        facts.update({str(parent): {"type": "dir"} for parent in Path(path).parents if str(parent) != "."})
    return facts


def internal(path):
    """Whether a path is the business of git or of Python alone."""
    parts = path.split("/")
    return ".git" in parts or "__pycache__" in parts or (parts[0].endswith(".git") and len(parts) > 1)


def tree_facts(root):
    """Returns what a directory holds, by relative path."""
    facts = {}
    for folder, directories, names in os.walk(root):
        for name in directories + names:
            full = os.path.join(folder, name)
            path = os.path.relpath(full, root)
            mode = os.lstat(full).st_mode
            if stat.S_ISLNK(mode):
                facts[path] = {"type": "link", "target": os.readlink(full)}
            elif stat.S_ISDIR(mode):
                facts[path] = {"type": "dir"}
            elif stat.S_ISREG(mode):
                facts[path] = file_facts(Path(full).read_bytes(), bool(mode & 0o100))
            else:
                facts[path] = {"type": "other"}
    return {path: fact for path, fact in facts.items() if not internal(path)}


def difference(before, after):
    """Returns what a case made or changed, and what it removed."""
    made = {path: after[path] for path in sorted(after) if before.get(path) != after[path]}
    return made, sorted(path for path in before if path not in after)


def output(data):
    """Returns standard output as it is kept: text when it is UTF-8, else base64; cut when it is long."""
    data = data[:STDOUT_MAX]
    try:
        return {"stdout": data.decode()}
    except UnicodeDecodeError:
        return {"stdout_base64": base64.b64encode(data).decode()}


def stderr_class(data):
    return "some" if data else "none"
