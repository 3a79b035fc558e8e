"""Lengths, comments, names, words, paths: what a reader meets first."""

import ast
import re
from pathlib import Path

from picture import includes, room_of
from tree import code_only, line_of

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
PUBLIC_HEADER_COMMENT_PERCENT_MIN = 15
PRIVATE_HEADER_COMMENT_PERCENT_MIN = 5  # what only its own room includes may rely on its neighbours
TOP_LEVEL = {"CMakeLists.txt", "CMakePresets.json", "README.md", "LICENSE", "agent", "gossip", "proxy", "store",
             "deploy", "tests"}
CORES = ("gossip/", "proxy/", "store/raft/", "store/kv/", "agent/primary.", "agent/permit.", "agent/dns/")
# Written in halves so that this file does not find itself.
UNFINISHED = ["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK", "not imple" + "mented", "unimple" + "mented",
              "place" + "holder", "dum" + "my", "for " + "now"]
BAD_NAMES = ["com" + "mon", "ut" + "ils?", "help" + "ers?", "mana" + "gers?", "mi" + "sc"]
MACHINE = ["/wo" + "rk/", "/fa" + "rm/", "/ro" + "ot/", "deb\\.deb" + "ian\\.org", "registry\\.npm" + "js"]
_CORE_SINS = re.compile(
    r"::now\s*\(|\bsleep_(?:for|until)\b|\bu?sleep\s*\(|\bstd::j?thread\b|\bstd::(?:recursive_)?mutex\b|\bgetenv\b"
    r"|\bspdlog\b|\brandom_device\b|\bmt19937|\bstd::(?:cout|cerr|clog)\b|\bf?printf\s*\(|\bclock_gettime\b"
    r"|\bgettimeofday\b|\bstd::time\s*\(|#\s*include\s*<(?:uv\.h|thread|mutex|iostream|random|future|condition_variable)>")
_TEST_SLEEPS = re.compile(r"\bsleep_(?:for|until)\b|\bu?sleep\s*\(|\bnanosleep\b")


def function_lengths(text):
    """(name, first line, lines) of every function body in C++ code: a `{` that follows a parameter list while only
    namespaces, classes and the like are open around it. Lambdas count as part of the function around them."""
    code = code_only(text)
    code = re.sub(r"^[ \t]*#(?:[^\\\n]|\\.|\\\n)*", lambda m: re.sub(r"[^\n]", " ", m.group(0)), code, flags=re.M)
    found, open_braces, head_start, depth_of_parens = [], [], 0, 0
    for at, letter in enumerate(code):
        if letter in "()":
            depth_of_parens += 1 if letter == "(" else -1
        elif letter in ";}" and depth_of_parens == 0 and not any(kind == "body" for kind, _, _ in open_braces):
            if letter == ";":
                head_start = at + 1
        if letter == "{":
            head = code[head_start:at]
            inside = any(kind != "scope" for kind, _, _ in open_braces)
            kind = "inner" if inside else brace_kind(head)
            open_braces.append((kind, head.strip(), head_start + len(head) - len(head.lstrip())))
            if kind == "scope":
                head_start = at + 1
        elif letter == "}" and open_braces:
            kind, head, start = open_braces.pop()
            if kind == "body":
                first, last = line_of(code, start), line_of(code, at)
                found.append((function_name(head), first, last - first + 1))
            if kind != "inner" and kind != "value":
                head_start = at + 1
    return found


def brace_kind(head):
    """What a brace opens at namespace or class level: a scope, a function body, or a value."""
    plain = head.strip()
    if re.match(r"(?:inline\s+)?namespace\b|extern\b", plain):
        return "scope"
    if re.search(r"(?:^|[\s>])(?:class|struct|union|enum)\b", plain) and not re.search(r"\)\s*(?:const|noexcept|override|final|->.*)?\s*$", plain):
        return "scope"
    if re.search(r"=\s*$|\breturn$", plain) or "(" not in plain:
        return "value"
    # A member initialiser `: name_{...}` is a value; the body's brace comes after the last initialiser.
    if re.search(r"\)\s*(?:noexcept\s*)?:(?!:)(?:[^;]*[,:])?\s*[\w:<>]+$", plain):
        return "value"
    return "body"


def function_name(head):
    before = re.split(r"\(", head, maxsplit=1)[0].split()
    name = before[-1] if before else "?"
    rest = re.match(r"[^(]*\(([\w, :]+)\)", head)
    return f"{name}({rest.group(1)})" if name in ("TEST", "TEST_F", "TEST_P") and rest else name


def python_function_lengths(text):
    return [(node.name, node.lineno, node.end_lineno - node.lineno + 1) for node in ast.walk(ast.parse(text))
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def measured_lengths(tree):
    """{(kind, place): lines} of everything that is longer than the house allows."""
    long = {}
    for path in tree.readable():
        suffix = Path(path).suffix
        if suffix not in (".cc", ".h", ".py", ".sh", ".cmake") and not tree.text(path).startswith("#!"):
            continue
        text = tree.text(path)
        lines = text.count("\n") + (not text.endswith("\n"))
        if lines > FILE_LINES_MAX:
            long[("file", path)] = lines
        functions = function_lengths(text) if suffix in (".cc", ".h") else []
        if suffix == ".py" or text.startswith("#!/usr/bin/env python3"):
            functions = python_function_lengths(text)
        for name, first, count in functions:
            if count > FUNCTION_LINES_MAX:
                long[("function", f"{path}:{name}")] = count
    return long


def read_exceptions(text):
    """Lines `file|function LINES PLACE # reason` -> {(kind, place): lines}."""
    listed = {}
    for line in text.splitlines():
        fields = line.split("#")[0].strip().split(maxsplit=2)
        if fields:
            listed[(fields[0], fields[2])] = int(fields[1])
    return listed


def check_lengths(tree, exceptions):
    """Too long and not excepted, excepted and grown, or excepted without need: the list may only shrink."""
    problems = []
    long = measured_lengths(tree)
    for (kind, place), lines in sorted(long.items()):
        limit = exceptions.get((kind, place), FILE_LINES_MAX if kind == "file" else FUNCTION_LINES_MAX)
        if lines > limit:
            problems.append(f"{place}: {kind} of {lines} lines, at most {limit}")
    for kind, place in sorted(set(exceptions) - set(long)):
        problems.append(f"{place}: listed as an exception, which it no longer needs: take it off the list")
    return problems


def check_cores(tree):
    """No clock, sleep, thread, log, environment or random source inside a core."""
    problems = []
    in_core = [p for p in tree.cpp("gossip/", "proxy/", "store/", "agent/") if p.startswith(CORES) or
               re.fullmatch(r"store/[^/]+\.(cc|h)", p)]
    for path in in_core:
        code = code_only(tree.text(path))
        for match in _CORE_SINS.finditer(code):
            problems.append(f"{path}:{line_of(code, match.start())}: '{match.group(0).strip()}' inside a core")
    return problems


def check_test_sleeps(tree):
    problems = []
    for path in tree.cpp("tests/unit/", "tests/script/", "tests/sim/", "tests/support/"):
        code = code_only(tree.text(path))
        for match in _TEST_SLEEPS.finditer(code):
            problems.append(f"{path}:{line_of(code, match.start())}: a test that sleeps")
    return problems


def check_header_comments(tree):
    """Headers that say nothing about units, ranges, ownership and errors."""
    ours = ("gossip/", "proxy/", "store/", "agent/")
    public = {name for path in tree.cpp(*ours) for name, quoted, _ in includes(tree.text(path))
              if quoted and room_of(name) != room_of(path)}
    problems = []
    for path in tree.paths:
        if path.endswith(".h") and path.startswith(ours):
            lines = [line.strip() for line in tree.text(path).splitlines() if line.strip()]
            spoken = sum(1 for line in lines if re.match(r"//|/\*|\*", line) or "///<" in line)
            least = PUBLIC_HEADER_COMMENT_PERCENT_MIN if path in public else PRIVATE_HEADER_COMMENT_PERCENT_MIN
            if len(lines) > 30 and spoken * 100 < least * len(lines):
                problems.append(f"{path}: {spoken * 100 // len(lines)} % comment lines, at least {least}")
    return problems


def check_header_guards(tree):
    return [f"{p}: no #pragma once" for p in tree.paths if p.endswith(".h") and "#pragma once" not in tree.text(p)]


def check_words(tree):
    """Words that unfinished work leaves behind."""
    problems = []
    pattern = re.compile(r"\b(?:" + "|".join(UNFINISHED) + r")\b")
    for path in tree.readable():
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            match = pattern.search(line)
            if match:
                problems.append(f"{path}:{number}: '{match.group(0)}'")
    return problems


def check_names(tree):
    """Files, folders and classes whose names say nothing."""
    problems = []
    alone = re.compile(r"(?:^|_|-)(?:" + "|".join(BAD_NAMES) + r")(?:$|_|-)", re.I)
    for path in tree.paths:
        for part in path.split("/"):
            if alone.search(part.split(".")[0]):
                problems.append(f"{path}: '{part}' says nothing")
                break
    titled = "|".join(word[0].upper() + word[1:] for word in BAD_NAMES)
    declared = re.compile(r"\b(?:class|struct|enum(?:\s+class)?)\s+((?:[A-Z]\w*?)?(?:" + titled + r"))\b")
    for path in tree.cpp():
        code = code_only(tree.text(path))
        for match in declared.finditer(code):
            problems.append(f"{path}:{line_of(code, match.start())}: type '{match.group(1)}' says nothing")
    return problems


def check_machine(tree):
    """Paths and hosts of one machine."""
    problems = []
    pattern = re.compile("|".join(MACHINE))
    for path in tree.readable():
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            if pattern.search(line):
                problems.append(f"{path}:{number}: {pattern.search(line).group(0)}")
    return problems


def check_top_level(tree):
    entries = {path.split("/")[0] for path in tree.paths}
    return [f"{entry}: the layout has no such entry" for entry in sorted(entries)
            if entry not in TOP_LEVEL and not entry.startswith(".")]
