"""A case of somebody else's suite: a script, the world it asks for, and what it expects."""

import re

import corpus

NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_.+-]+")


class Spec:
    """A case. What it does not expect it leaves `None`."""

    def __init__(self, suite, category, file, name, script):
        self.suite, self.category = suite, category
        self.id = f"{suite}/{category}/{file}/{NOT_IN_AN_ID.sub('-', name).strip('-')[:80]}"
        self.script = script
        self.files = {}  # relative to `/workspace`: content and whether it is executable
        self.cwd = corpus.WORKSPACE
        self.env = dict(corpus.ENVIRONMENT)
        self.stdin = ""
        # What is acceptable: one of these.
        self.stdout, self.stderr, self.exit = None, None, None
        self.is_error = False  # expects an error, whatever it says
        self.normalize = lambda text: text

    def world(self):
        """Returns what both shells are given."""
        return {"script": self.script, "cwd": self.cwd, "env": self.env, "stdin": self.stdin, "files": self.files}

    def unmet(self, answer):
        """Returns in what an answer is not what the case expects."""
        if answer["status"] not in ("ok", "error"):
            return [answer["status"]]
        if self.is_error:
            return [] if answer["exit"] or answer["stderr"] else ["error"]
        found = []
        for stream in ("stdout", "stderr"):
            accepted = getattr(self, stream)
            if accepted is not None and self.normalize(answer[stream]) not in [self.normalize(text) for text in accepted]:
                found.append(stream)
        if self.exit is not None and answer["exit"] not in self.exit:
            found.append("exit")
        return found


def numbered(specs):
    """Makes ids unique: a name that comes again gets a number."""
    seen = {}
    for spec in specs:
        seen[spec.id] = seen.get(spec.id, 0) + 1
        if seen[spec.id] > 1:
            spec.id += f"~{seen[spec.id]}"
    return specs
