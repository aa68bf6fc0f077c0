"""The spec cases of just-bash (`src/spec-tests` and `src/comparison-tests` of its package): suites of Oils, the One True Awk,
jq, GNU grep, BusyBox and PythonSed, and what just-bash recorded of bash."""

import json
import re
from pathlib import Path

import corpus
from spec import Spec, numbered

VARIABLE = "SANDGLASS_JUST_BASH_SPECS"
TEMPORARY = "/tmp"
SHELLS = re.compile(r"(?:(OK|N-I|BUG)(?:-\d+)? ([a-z0-9/.-]+) )?(.*)", re.IGNORECASE)
ASSERTION = re.compile(r"(stdout|stderr|status|stdout-json|stderr-json): *(.*)")
BLOCK = re.compile(r"(STDOUT|STDERR): *")


def specs(root):
    """Returns all cases; `root` is the package."""
    root = Path(root) / "src"
    suites = root / "spec-tests"
    found = []
    for path in sorted(suites.glob("bash/cases/*.test.sh")):
        found += oils(path)
    found += awk(suites / "awk/cases")
    for path in sorted(suites.glob("jq/cases/*.test")):
        found += jq(path)
    for path in sorted(suites.glob("grep/cases/gnu-*.tests")):
        found += gnu_grep(path)
    for tool in ("grep", "sed"):
        found += busybox(tool, suites / f"{tool}/cases/busybox-{tool}.tests")
    for path in sorted(suites.glob("sed/cases/*.suite")):
        found += python_sed(path)
    for path in sorted(root.glob("comparison-tests/fixtures/*.json")):
        found += compared(path)
    return numbered(found)


def trimmed(text):
    """Returns output as just-bash compares it: without spaces at line ends, empty lines at the end, and comments."""
    lines = [line.rstrip() for line in text.split("\n") if not line.startswith("#")]
    return "\n".join(lines).rstrip("\n")


def is_bash(shells):
    return any(shell == "bash" or shell.startswith("bash-5") for shell in shells.split("/"))


def oils(path):
    """Reads a file of Oils: `#### name`, the script, and `## ` lines of what is expected, for all shells or for some."""
    blocks = re.split(r"^#### (.*)\n", path.read_text(errors="surrogateescape"), flags=re.MULTILINE)
    for name, block in zip(blocks[1::2], blocks[2::2]):
        script, said, code = [], {}, None
        lines = iter(block.split("\n"))
        line = next(lines, None)
        while line is not None:
            following = True
            if not line.startswith("## "):
                script.append(line)
            elif line.startswith("## code:"):
                code = line[8:].strip()
            else:
                _, shells, assertion = SHELLS.fullmatch(line[3:]).groups()
                if multi := BLOCK.fullmatch(assertion):
                    text, line, following = block_of(lines)
                    said.setdefault((multi[1].lower(), shells), text)
                elif single := ASSERTION.fullmatch(assertion):
                    kind, value = single[1].removesuffix("-json"), single[2]
                    if kind == "status":
                        value = int(value)
                    elif single[1].endswith("-json"):
                        value = json.loads(value)
                    said.setdefault((kind, shells), value)
            if following:
                line = next(lines, None)
        text = code if code is not None else "\n".join(script).strip()
        if not text or not said:
            continue
        spec = Spec("just-bash", "bash", path.name.removesuffix(".test.sh"), name, text)
        spec.cwd = TEMPORARY
        spec.env |= {"HOME": TEMPORARY, "TMP": TEMPORARY, "SH": "bash", "PATH": f"/opt/bin:{spec.env['PATH']}"}
        spec.normalize = trimmed
        for kind, field in (("stdout", "stdout"), ("stderr", "stderr"), ("status", "exit")):
            of_bash = [value for (what, shells), value in said.items() if what == kind and shells and is_bash(shells)]
            of_all = [said[kind, None]] if (kind, None) in said else None
            setattr(spec, field, of_bash or of_all)
        # A status that nobody speaks of is 0.
        spec.exit = spec.exit or [0]
        yield spec


def block_of(lines):
    """Reads the lines of a block; returns them, the line that ended it, and whether that line is done with."""
    content = []
    for line in lines:
        if line in ("## END", "## END:"):
            return "\n".join(content), line, True
        if line.startswith("## ") and (ends := SHELLS.fullmatch(line[3:])):
            if BLOCK.fullmatch(ends[3]) or ASSERTION.fullmatch(ends[3]):
                return "\n".join(content), line, False
        content.append(line)
    return "\n".join(content), None, False


def awk(root):
    """The One True Awk's own tests. A program has to print what awk prints; a script of tests must find nothing bad."""
    files = {path.name: (path.read_bytes(), path.name.startswith("T.")) for path in sorted(root.iterdir()) if path.is_file()}
    # It compares with an `echo` of its own, which does what any other does.
    files["echo"] = (b'#!/bin/sh\nexec /bin/echo "$@"\n', True)
    for name in files:
        if name.startswith("t."):
            script = f"awk -f {name} test.data"
        elif name.startswith("p."):
            script = f"awk -f {name} test.countries test.countries"
        elif name.startswith("T."):
            script = f"awk=awk bash ./{name}"
        else:
            continue
        spec = Spec("just-bash", "awk", "one-true-awk", name, script)
        spec.files = files
        if name.startswith("T."):
            spec.normalize = lambda text: "\n".join(re.findall("^.*BAD.*$", text, re.MULTILINE))
            spec.stdout = [""]
        yield spec


def canonical(text):
    """Returns lines of JSON in one form."""
    lines = []
    for line in filter(None, map(str.strip, text.split("\n"))):
        try:
            lines.append(json.dumps(json.loads(line), ensure_ascii=False))
        except (ValueError, RecursionError):
            lines.append(line)
    return "\n".join(lines)


def jq(path):
    """jq's own tests: a program, an input, and the outputs; or after `%%FAIL` a program that is refused."""
    lines = [None if line.startswith("#") else line for line in path.read_text().split("\n")]
    groups, group = [], []
    for line in [*lines, ""]:
        if line is None or not line.strip():
            if group:
                groups.append(group)
            group = []
        else:
            group.append(line)
    for group in groups:
        is_error = group[0].startswith("%%FAIL")
        program = group[1] if is_error and len(group) > 1 else group[0]
        if not is_error and len(group) < 3:
            continue
        spec = Spec("just-bash", "jq", path.stem, program, f"jq -c {quoted(program)}")
        spec.stdin = "null\n" if is_error else group[1] + "\n"
        spec.is_error, spec.normalize = is_error, canonical
        spec.stdout = None if is_error else ["\n".join(group[2:])]
        yield spec


def quoted(word):
    return "'" + word.replace("'", "'\\''") + "'"


def gnu_grep(path):
    """GNU grep's own tests: `exit code@pattern@text`."""
    extended = any(word in path.name for word in ("ere", "spencer"))
    for line in map(str.strip, path.read_text().split("\n")):
        parts = line.split("@")
        if not line or line.startswith("#") or len(parts) < 3:
            continue
        code, pattern, text = int(parts[0]), parts[1], parts[2]
        command = f"grep {'-E ' if extended else ''}-e {quoted(pattern)}"
        spec = Spec("just-bash", "grep", path.stem, f"{pattern} in {text}", command)
        spec.exit, spec.stdin = [code], "test\n" if code == 2 else text + "\n"
        spec.stdout = [text + "\n" if code == 0 else ""]
        yield spec


WORD = re.compile(r"""\s*((?:"(?:\\.|[^"\\])*"|'[^']*'|[^\s"'\\#]|\\.)+)""", re.DOTALL)
PIECE = re.compile(r""""((?:\\.|[^"\\])*)"|'([^']*)'|\\(.)|([^"'\\]+)""", re.DOTALL)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def unquoted(word):
    """Takes a word's quotes off, as the shell does."""
    text = ""
    for double, single, escaped, plain in PIECE.findall(word):
        text += re.sub(r'\\([$`"\\\n])', lambda match: match[1].strip("\n"), double) + single + escaped + plain
    return text


def echoed(text):
    """Returns what `echo -ne` writes."""

    def character(match):
        code = match[1]
        if code in ESCAPES:
            return ESCAPES[code]
        return chr(int(code[1:] or "0", 16 if code[0] == "x" else 8))

    return re.sub(r"\\([ntrabfv\\]|0[0-7]{0,3}|x[0-9a-fA-F]{1,2})", character, text)


def busybox(tool, path):
    """BusyBox's tests: `testing "description" "commands" "result" "infile" "stdin"`, in the shell's words."""
    content = path.read_text()
    for start in re.finditer(r"^testing(?=\s)", content, re.MULTILINE):
        words, at = [], start.end()
        while len(words) < 5:
            at = re.compile(r"(?:[ \t]|\\\n)*").match(content, at).end()
            word = WORD.match(content, at)
            if content[at : at + 1] == "\n" or not word:
                break
            words.append(unquoted(word[1]))
            at = word.end()
        if len(words) < 5:
            continue
        name, command, result, infile, stdin = words
        spec = Spec("just-bash", tool, path.stem, name, command)
        spec.stdout, spec.stdin = [echoed(result)], echoed(stdin)
        spec.files = {"input": (echoed(infile).encode(), False)} if infile else {}
        yield spec


def python_sed(path):
    """PythonSed's tests: between lines of `---` a description, a script, an input and the output; `???` is an error."""
    parts = [[]]
    for line in path.read_text().split("\n"):
        if line.strip() == "---":
            parts.append([])
        else:
            parts[-1].append(line)
    # A part that is between two cases belongs to neither.
    index = 1
    while index + 3 < len(parts):
        description, script, given, output = ("\n".join(part) for part in parts[index : index + 4])
        index += 5
        if not script.strip() or description.strip().startswith("**"):
            continue
        spec = Spec("just-bash", "sed", path.stem, description, f"sed {quoted(script)}")
        spec.stdin = given + "\n" if given else ""
        spec.is_error = output == "???"
        spec.stdout = None if spec.is_error else [output + "\n" if output else ""]
        yield spec


def compared(path):
    """What just-bash recorded of a bash: a command, its files, and what came."""
    for key, case in json.loads(path.read_text()).items():
        spec = Spec("just-bash", "comparison", path.name.split(".comparison")[0], key, case["command"])
        spec.files = {name: (text.encode(), False) for name, text in case["files"].items()}
        spec.stdout, spec.exit = [case["stdout"]], [case["exitCode"]]
        yield spec
