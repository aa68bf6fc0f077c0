"""Counts what is in /workspace: files by kind, lines, the largest files, the words used most."""
import collections
import os
import re

files, words, total_lines = [], collections.Counter(), 0
for folder, folders, names in os.walk("/workspace"):
    folders[:] = [name for name in folders if name != ".git"]
    for name in names:
        path = os.path.join(folder, name)
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        size, lines = os.path.getsize(path), 0
        if size < 1_000_000:
            with open(path, "rb") as file:
                content = file.read()
            if b"\0" not in content:
                lines = content.count(b"\n")
                words.update(re.findall(r"[a-z]{6,}", content.decode("utf-8", "replace").lower()))
        kind = os.path.splitext(name)[1] or "(none)"
        files.append((os.path.relpath(path, "/workspace"), kind, size, lines))
        total_lines += lines

print(f"{len(files):,} files, {sum(size for _, _, size, _ in files):,} bytes, {total_lines:,} lines")
try:
    import pandas
except ImportError:
    pandas = None
if pandas and files:
    frame = pandas.DataFrame(files, columns=["path", "kind", "bytes", "lines"])
    kinds = frame.groupby("kind").agg(files=("path", "count"), bytes=("bytes", "sum"), lines=("lines", "sum"))
    print(kinds.sort_values("bytes", ascending=False).head(6).reset_index().to_string(index=False))
    print(f"by pandas {pandas.__version__}")
else:
    kinds = {}
    for _, kind, size, lines in files:
        known = kinds.get(kind, (0, 0, 0))
        kinds[kind] = (known[0] + 1, known[1] + size, known[2] + lines)
    print(f"{'kind':<12}{'files':>8}{'bytes':>14}{'lines':>10}")
    for kind, (count, size, lines) in sorted(kinds.items(), key=lambda item: -item[1][1])[:6]:
        print(f"{kind[:11]:<12}{count:>8,}{size:>14,}{lines:>10,}")
print("largest:", ", ".join(f"{path} ({size:,})" for path, _, size, _ in sorted(files, key=lambda file: -file[2])[:3]))
print("words:  ", ", ".join(f"{word} ({count:,})" for word, count in words.most_common(6)))
