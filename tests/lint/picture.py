"""Who may include whom: the picture of the house. Arrows point down, never up or sideways."""

import re

from tree import line_of, without_comments

# room -> rooms of ours that its files may include besides itself
ROOMS = {
    "gossip": set(),
    "proxy/http1": set(),
    "proxy/http2": {"proxy/http1"},
    "proxy": {"proxy/http1", "proxy/http2"},
    "store/raft": set(),
    "store/kv": set(),
    "store/disk": {"store/raft", "store/kv"},
    "store": {"store/disk", "store/raft", "store/kv"},
    "agent/io": set(),
    "agent/dns": set(),
    "agent/primary": set(),
    "agent/config": set(),
    "agent/drivers": {"gossip", "proxy", "proxy/http1", "store", "store/disk", "store/raft", "store/kv", "agent/io",
                      "agent/dns"},
    "agent/api": {"agent/primary", "agent/drivers", "agent/io", "proxy/http1", "proxy", "gossip", "store", "store/raft",
                  "store/kv"},
    "agent/agent": {"agent/api", "agent/primary", "agent/config", "agent/drivers", "agent/io", "gossip", "proxy",
                    "proxy/http1", "store", "store/disk", "store/raft", "store/kv", "agent/dns"},
    "agent/cli": {"agent/config", "agent/io", "proxy/http1"},
    "agent/web": set(),
    "agent/main": {"agent/agent", "agent/cli", "agent/config", "agent/io"},
}
# The words of a whole library, its closed error type, are known to its subfolders too. Such a file includes nothing of
# ours, so no circle can come of it.
VOCABULARY = ("proxy/error.h", "proxy/stream.h", "store/error.h", "gossip/error.h")
FOREIGN = (
    (r"llhttp\.h", ("proxy/http1/codec",), "llhttp"),
    (r"nghttp2/", ("proxy/http2/session",), "nghttp2"),
    (r"rocksdb/", ("store/disk/",), "RocksDB"),
    (r"zlib\.h", ("agent/io/",), "zlib"),
    (r"uv\.h|uv/", ("agent/io/",), "libuv"),
    (r"mbedtls/|psa/", ("agent/io/",), "mbedTLS"),
    (r"openssl/", ("agent/io/tls_openssl",), "OpenSSL"),
    (r"toml\+\+/|toml\.hpp", ("agent/config",), "toml++"),
    (r"CLI/", ("agent/cli/", "agent/main"), "CLI11"),
    (r"prometheus/", ("agent/api/",), "prometheus-cpp"),
    (r"spdlog/|fmt/", ("agent/",), "spdlog"),
    (r"nlohmann/", ("agent/",), "nlohmann-json"),
    (r"curl/", ("agent/drivers/",), "libcurl"),
    (r"msgpack", ("gossip/", "store/"), "msgpack"),
)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?P<open>["<])(?P<name>[^">\n]+)[">]', re.M)
OURS = ("gossip/", "proxy/", "store/", "agent/")


def room_of(path):
    """The room of a source file; None for tests and everything else."""
    if not path.startswith(OURS):
        return None
    parts = path.split("/")
    if parts[0] == "agent" and len(parts) == 2:
        stem = parts[1].split(".")[0]
        if stem in ("main", "primary") or stem.split("_")[0] == "config":
            return "agent/" + stem.split("_")[0]
        return "agent/agent"  # the wiring, in as many files as it needs
    for depth in (2, 1):
        name = "/".join(parts[:depth])
        if len(parts) > depth and name in ROOMS:
            return name
    return "/".join(parts[:-1])


def includes(text):
    """(name, is_ours_style, line) of every include directive that is not in a comment."""
    plain = without_comments(text)
    for match in _INCLUDE.finditer(plain):
        yield match.group("name"), match.group("open") == '"', line_of(plain, match.start())


def check_picture(tree):
    """Includes that point up or sideways, or are not written from the root."""
    problems = []
    for path in tree.cpp(*OURS):
        room = room_of(path)
        if room not in ROOMS:
            problems.append(f"{path}: the room '{room}' is not in the picture")
            continue
        for name, quoted, line in includes(tree.text(path)):
            if not quoted:
                continue
            if "/" not in name or name not in tree.paths:
                problems.append(f"{path}:{line}: \"{name}\" is not a path from the root to a file of ours")
                continue
            target = room_of(name)
            if name in VOCABULARY and room.split("/")[0] == name.split("/")[0]:
                continue
            if target != room and target not in ROOMS[room]:
                problems.append(f"{path}:{line}: {room} must not include {name} ({target or 'not a room'})")
    return problems


def check_vocabulary(tree):
    """A word list that included rooms would let them in by the back door."""
    return [f"{path}:{line}: a file of words must not include {name}" for path in VOCABULARY if path in tree.paths
            for name, quoted, line in includes(tree.text(path)) if quoted and name not in VOCABULARY]


def check_foreign(tree):
    """Libraries that only one room may know."""
    problems = []
    for path in tree.cpp(*OURS):
        for name, quoted, line in includes(tree.text(path)):
            if quoted:
                continue
            for pattern, allowed, library in FOREIGN:
                if re.match(pattern, name) and not path.startswith(allowed):
                    problems.append(f"{path}:{line}: only {', '.join(allowed)} may include {library}, not <{name}>")
    return problems
