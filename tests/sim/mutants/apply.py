#!/usr/bin/env python3
"""Applies one mutant to a copy of the source.

A mutant is a text file: header lines `key: value`, then one or more blocks

    --- find
    text that stands exactly once in the file
    --- replace
    what the mutant says instead
    --- end

Keys: file (the source that is changed, from the repository root), rule (what the simulator must notice, for people)
and, for a header, rebuild (the sources that use what is changed, by spaces). With --list the file and those sources are
printed for CMake. Otherwise the changed copy is written to OUT/<file>. If the text to be
found is no longer there exactly once, the unchanged copy is written and OUT/stale says so: the build goes on, and the
test that runs the mutants fails with that message.
"""
import pathlib
import sys


def parse(path):
    keys, blocks, mode, text = {}, [], None, []
    for line in path.read_text().splitlines():
        if line.startswith("--- "):
            if mode == "find":
                blocks.append(["\n".join(text), ""])
            elif mode == "replace":
                blocks[-1][1] = "\n".join(text)
            mode, text = line[4:].strip(), []
        elif mode in ("find", "replace"):
            text.append(line)
        elif ":" in line and not line.startswith("#"):
            key, value = line.split(":", 1)
            keys[key.strip()] = value.strip()
    return keys, blocks


def mutate(source, blocks):
    """The changed text, and why it could not be changed (empty if it could)."""
    changed = source
    for find, replace in blocks:
        count = changed.count(find)
        if count != 1:
            return source, f"found {count} times instead of once:\n{find}\n"
        changed = changed.replace(find, replace)
    return changed, "" if blocks else "no block to replace\n"


def main(argv):
    if argv[1] == "--list":
        keys, _ = parse(pathlib.Path(argv[2]))
        print(";".join([keys["file"], *keys.get("rebuild", "").split()]), end="")
        return 0
    root, mutant, out = (pathlib.Path(arg) for arg in argv[1:4])
    keys, blocks = parse(mutant)
    changed, stale = mutate((root / keys["file"]).read_text(), blocks)
    target = out / keys["file"]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(changed)
    (out / "stale").write_text(stale)
    (out / "rule").write_text(keys["rule"] + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
