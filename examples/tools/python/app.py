"""A tool in Python: notes in a file of the sandbox. See README.md for how to build it."""

import os

import wit_world
from componentize_py_types import Err
from wit_world import Note

FILE = "/workspace/notes.txt"


class WitWorld(wit_world.WitWorld):
    def add(self, text: str) -> int:
        if not text.strip() or "\n" in text:
            raise Err("a note is one line with something in it")
        with open(FILE, "a", encoding="utf-8") as notes:
            notes.write(text + "\n")
        with open(FILE, encoding="utf-8") as notes:
            return sum(1 for _ in notes)

    def find(self, word: str, limit: int | None) -> list[Note]:
        if not os.path.exists(FILE):
            return []
        with open(FILE, encoding="utf-8") as notes:
            found = [Note(line, text.rstrip("\n")) for line, text in enumerate(notes, 1) if word in text]
        return found if limit is None else found[:limit]
