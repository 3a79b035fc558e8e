"""HTTP/1.1 as RFC 9110 and 9112 write it, read strictly and by nothing that the proxy shares: the judge of both sides.

Whatever two readers could understand in two ways is a Fault here, so that bytes that pass this reader mean one thing.
"""

import re

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/1\.[01]")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9]) ([\t -~\x80-\xff]*)")
VALUE = re.compile(rb"[\t -~\x80-\xff]*")


class Fault(Exception):
    """Bytes that are no message."""


class Head:
    """Start line and fields; names in lower case, in order."""

    def __init__(self, start, fields):
        self.start, self.fields = start, fields

    def all(self, name):
        return [value for key, value in self.fields if key == name]

    def tokens(self, name):
        return [word.strip().lower() for value in self.all(name) for word in value.split(b",")]


def read_fields(lines):
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.fullmatch(name) or not VALUE.fullmatch(value):
            raise Fault(f"no field: {line[:80]!r}")
        fields.append((name.lower(), value.strip(b" \t")))
    return fields


def read_head(data, pattern):
    """@return (Head, the match of its start line, bytes used), or None while its end has not come."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    lines = bytes(data[:end]).split(b"\r\n")
    match = pattern.fullmatch(lines[0])
    if not match:
        raise Fault(f"no start line: {lines[0][:80]!r}")
    return Head(lines[0], read_fields(lines[1:])), match, end + 4


def framing_of(head):
    """("chunked", 0), ("length", n) or (None, 0)."""
    lengths, codings = head.all(b"content-length"), head.all(b"transfer-encoding")
    if len(lengths) > 1 or len(codings) > 1 or (lengths and codings):
        raise Fault(f"framing in doubt: {lengths} {codings}")
    if codings:
        if codings[0].lower() != b"chunked":
            raise Fault(f"coding {codings[0]!r}")
        return "chunked", 0
    if lengths:
        if not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
            raise Fault(f"length {lengths[0]!r}")
        return "length", int(lengths[0])
    return None, 0


def read_chunked(data):
    """@return (body, trailers, bytes used) or None while it goes on."""
    body, at = b"", 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        line = bytes(data[at:end])
        if not re.fullmatch(rb"[0-9a-fA-F]{1,16}", line):
            raise Fault(f"chunk line {line[:80]!r}")
        size, at = int(line, 16), end + 2
        if size == 0:
            break
        if len(data) < at + size + 2:
            return None
        if data[at + size:at + size + 2] != b"\r\n":
            raise Fault("chunk without its end")
        body += bytes(data[at:at + size])
        at += size + 2
    lines = []
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        line, at = bytes(data[at:end]), end + 2
        if not line:
            return body, read_fields(lines), at
        lines.append(line)


class Message:
    def __init__(self, head, match, body, trailers, complete=True):
        self.head, self.match, self.body, self.trailers, self.complete = head, match, body, trailers, complete


def read_body(data, head):
    """@return (body, trailers, bytes used) or None."""
    kind, length = framing_of(head)
    if kind == "chunked":
        return read_chunked(data)
    if len(data) < length:
        return None
    return bytes(data[:length]), [], length


def read_request(data):
    """@return (Message, bytes used) or None while it is not whole. Fault: it never will be."""
    found = read_head(data, REQUEST_LINE)
    if not found:
        return None
    head, match, used = found
    if match[0].endswith(b"1.1") and len(head.all(b"host")) != 1:
        raise Fault("not one Host")
    rest = read_body(data[used:], head)
    return rest and (Message(head, match, rest[0], rest[1]), used + rest[2])


def read_response(data, to_head, ended):
    """The next response, interim ones too. `ended`: the connection is over. @return as read_request."""
    found = read_head(data, STATUS_LINE)
    if not found:
        return None
    head, match, used = found
    status = int(match[2])
    if to_head or status < 200 or status in (204, 304):
        if status < 200 or status == 204:
            if head.all(b"content-length") or head.all(b"transfer-encoding"):
                raise Fault(f"{status} with framing")
        return Message(head, match, b"", []), used
    kind, _ = framing_of(head)
    if kind is None:
        if not ended:
            return None
        return Message(head, match, bytes(data[used:]), []), len(data)
    rest = read_body(data[used:], head)
    if rest:
        return Message(head, match, rest[0], rest[1]), used + rest[2]
    return (Message(head, match, bytes(data[used:]), [], False), len(data)) if ended else None
