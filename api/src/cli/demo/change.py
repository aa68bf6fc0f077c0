"""Writes what an agent was asked for: a list of all files, and a line in the README that says so."""
import os

paths = []
for folder, folders, names in os.walk("/workspace"):
    folders[:] = sorted(name for name in folders if name != ".git")
    paths += [os.path.relpath(os.path.join(folder, name), "/workspace") for name in sorted(names)]
with open("/workspace/FILES.md", "w") as out:
    out.write("# Files\n\n" + "".join(f"- {path!r}\n" for path in paths))
readme = next((name for name in ("README.md", "README.txt", "README") if os.path.isfile(f"/workspace/{name}")), None)
if readme:
    with open(f"/workspace/{readme}", "a") as out:
        out.write("\nAll files are listed in FILES.md.\n")
print(f"FILES.md lists {len(paths):,} files" + (f"; {readme} says so" if readme else ""))
