"""The spec cases of bashkit (`tests/spec_cases` and `tests/fixtures` of its crate)."""

import json
from pathlib import Path

from spec import Spec, numbered

VARIABLE = "SANDGLASS_BASHKIT_SPECS"
HOME = "/home/user"


def specs(root):
    """Returns all cases; `root` is the crate."""
    root = Path(root)
    found = []
    for path in sorted(root.glob("tests/spec_cases/*/*.test.sh")):
        found += cases(path.parent.name, path)
    for path in sorted(root.glob("tests/fixtures/competitor-regressions/*.json")):
        for case in json.loads(path.read_text())["cases"]:
            spec = Spec("bashkit", "regressions", path.stem, case["id"], case["script"])
            expected = case["expected"]
            spec.stdout, spec.exit = [expected["stdout"]], [expected["exit_code"]]
            found.append(spec)
    for spec in found:
        spec.cwd = HOME
        spec.env |= {"HOME": HOME}
    return numbered(found)


def cases(category, path):
    """Reads a file as bashkit's own runner does: `### name`, the script, `### expect`, what comes, `### end`."""
    spec, script, expected, part, is_described = None, [], [], None, False

    def finished():
        spec.script = "\n".join(script)
        spec.stdout = ["".join(line + "\n" for line in expected)]
        return spec

    for line in path.read_text().splitlines():
        directive = line[4:].strip() if line.startswith("### ") else None
        if directive is None:
            if part is script and line.startswith("# ") and not script and not is_described:
                is_described = True
            elif part is not None:
                part.append(line)
        elif directive == "expect":
            part = expected
        elif directive == "end":
            if spec:
                yield finished()
            spec, part = None, None
        elif directive.startswith("exit_code:"):
            # bashkit too reads none after the end of its case.
            if spec:
                spec.exit = [int(directive.removeprefix("exit_code:"))]
        elif directive.split(":")[0] not in ("skip", "bash_diff", "paused_time"):
            if spec:
                yield finished()
            spec = Spec("bashkit", category, path.name.removesuffix(".test.sh"), directive, "")
            script, expected, is_described = [], [], False
            part = script
    if spec:
        yield finished()
