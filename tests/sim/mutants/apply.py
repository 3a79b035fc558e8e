#!/usr/bin/env python3
"""Writes copies of the product's sources in which every mutant is an alternative chosen at run time.

A mutant is a text file, NAME.mut: comment lines, header lines `key: value`, then one or more blocks

    --- find
    text that stands exactly once in the file
    --- replace
    the same text as the product should behave, or as the mutant does if MUTANT is true
    --- end

MUTANT becomes a test of the switch (switch.h), so one executable holds all mutants: `sim_mutated --mutant=NAME`.
Keys: rule (what the simulator must notice, for people), file (the source that the following blocks change, from the
repository root; may be repeated between blocks), focus (what the runs look for, if ordinary ones need too many seeds:
scenario.h), and, for a changed header, rebuild (the sources that use it, by spaces).
A text may lie inside of one line. Texts of different mutants must not overlap.

    apply.py --list MUTANT...             every file that is changed or must be compiled anew, one per line
    apply.py ROOT OUT MUTANT...           writes OUT/<file> for each changed file, and OUT/mutant_list.inc

A mutant whose text is no longer found exactly once is left out, and the list says so: the build goes on, and the test
that runs the mutants fails with that message.
"""
import pathlib
import sys


class Mutant:
    def __init__(self, path):
        self.name, self.rule, self.blocks, self.rebuild, self.stale = path.stem, "", [], [], ""
        self.focus = ""
        mode, file, text = None, None, []
        for line in path.read_text().splitlines():
            if line.startswith("--- "):
                if mode == "find":
                    self.blocks.append([file, "\n".join(text), ""])
                elif mode == "replace":
                    self.blocks[-1][2] = "\n".join(text)
                mode, text = line[4:].strip(), []
                mode = None if mode == "end" else mode
            elif mode in ("find", "replace"):
                text.append(line)
            elif line.startswith("file:"):
                file = line[5:].strip()
            elif line.startswith("rule:"):
                self.rule = line[5:].strip()
            elif line.startswith("focus:"):
                self.focus = line[6:].strip()
            elif line.startswith("rebuild:"):
                self.rebuild += line[8:].split()

    def files(self):
        return [file for file, _, _ in self.blocks]

    def hash(self):
        value = 0xCBF29CE484222325
        for byte in self.name.encode():
            value = (value ^ byte) * 0x100000001B3 % 2**64
        return value

    def replacement(self, text):
        return text.replace("MUTANT", f"::sim_mutant::on({self.hash():#x}ULL)")


def place(mutant, sources, taken):
    """The changes of one mutant as (file, begin, end, text), and why there are none (empty if there are)."""
    changes = []
    if not mutant.blocks or not mutant.rule:
        return [], "no block to replace, or no rule"
    for file, find, replace in mutant.blocks:
        source = sources.get(file)
        if source is None:
            return [], f"no file {file}"
        if source.count(find) != 1:
            return [], f"found {source.count(find)} times instead of once in {file}:\n{find}\n"
        if "MUTANT" not in replace:
            return [], f"nothing in the text for {file} depends on MUTANT"
        begin = source.index(find)
        for other, at, end, owner in taken:
            if other == file and begin < end and at < begin + len(find):
                return [], f"changes the same text of {file} as {owner}"
        changes.append((file, begin, begin + len(find), mutant.replacement(replace)))
    return changes, ""


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def write_if_changed(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def main(argv):
    if argv[1] == "--list":
        mutants = [Mutant(pathlib.Path(path)) for path in argv[2:]]
        print("\n".join(sorted({file for mutant in mutants for file in mutant.files() + mutant.rebuild})))
        return 0
    root, out = pathlib.Path(argv[1]), pathlib.Path(argv[2])
    mutants = [Mutant(pathlib.Path(path)) for path in argv[3:]]
    touched = sorted({file for mutant in mutants for file in mutant.files()})
    sources = {file: (root / file).read_text() for file in touched if (root / file).exists()}
    changes, taken = [], []
    for mutant in mutants:
        placed, mutant.stale = place(mutant, sources, taken)
        changes += placed
        taken += [(file, begin, end, mutant.name) for file, begin, end, _ in placed]
    for file, source in sources.items():
        for _, begin, end, text in sorted((c for c in changes if c[0] == file), key=lambda c: -c[1]):
            source = source[:begin] + text + source[end:]
        head = f'#include "tests/sim/mutants/switch.h"\n#line 1 "{file}"\n'
        if file.endswith(".h"):
            source = source.replace("#pragma once\n", "#pragma once\n" + head.replace("#line 1", "#line 2"), 1)
        else:
            source = head + source
        write_if_changed(out / file, source)
    rows = "".join(f"{{{quoted(m.name)}, {quoted(m.rule)}, {quoted(m.stale)}, {quoted(m.focus)}}},\n" for m in mutants)
    write_if_changed(out / "mutant_list.inc", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
