"""The files under check and their text, with comments and literals told apart from code."""

import functools
import re
import subprocess
from pathlib import Path

CPP = (".cc", ".h")
TEXT = CPP + (".py", ".sh", ".md", ".txt", ".toml", ".cmake", ".json", ".service", ".yml", "")


class Tree:
    """All files of a source tree, by path relative to its root. Build output and caches are left out."""

    def __init__(self, root):
        self.root = Path(root)
        self.texts = {}
        self.paths = sorted(p for p in self._listed() if (self.root / p).is_file())

    def _listed(self):
        """What git tracks or would track; without git, what is there."""
        git = subprocess.run(["git", "-C", str(self.root), "ls-files", "-co", "--exclude-standard", "-z"],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        own = (self.root / ".git").exists()
        if own and git.returncode == 0:
            return {name for name in git.stdout.decode().split("\0") if name}
        names = (str(p.relative_to(self.root)) for p in self.root.rglob("*"))
        return {n for n in names if not n.startswith(("build/", ".git/")) and "__pycache__" not in n}

    def text(self, path):
        if path not in self.texts:
            self.texts[path] = self._read(path)
        return self.texts[path]

    def _read(self, path):
        return (self.root / path).read_text(encoding="utf-8", errors="replace")

    def cpp(self, *folders):
        """C++ files, all or below the given folders."""
        return [p for p in self.paths if p.endswith(CPP) and (not folders or p.startswith(folders))]

    def readable(self):
        """Files that people read: code, scripts, documents, settings."""
        return [p for p in self.paths if Path(p).suffix in TEXT and b"\0" not in (self.root / p).read_bytes()[:4096]]


_TOKENS = re.compile(
    r'(?P<line>//(?:[^\\\n]|\\.|\\\n)*)|(?P<block>/\*.*?\*/)|R"(?P<mark>[^()\\\s]{0,16})\((?P<raw>.*?)\)(?P=mark)"'
    r'|(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<char>(?<![0-9A-Za-z_])\'(?:[^\'\\\n]|\\.)+\')', re.S)


def _blank(text):
    return re.sub(r"[^\n]", " ", text)


@functools.lru_cache(maxsize=2000)
def code_only(text):
    """C++ with comments and the inside of literals replaced by blanks; line numbers stay the same."""
    def replace(match):
        found = match.group(0)
        if match.group("line") is not None or match.group("block") is not None:
            return _blank(found)
        return '"' + _blank(found[1:-1]) + '"'
    return _TOKENS.sub(replace, text)


@functools.lru_cache(maxsize=2000)
def without_comments(text):
    """C++ with comments blanked and literals kept, for include lines."""
    def replace(match):
        found = match.group(0)
        return _blank(found) if match.group("line") is not None or match.group("block") is not None else found
    return _TOKENS.sub(replace, text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1
