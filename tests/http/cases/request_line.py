"""Request line and its target: RFC 9112, sections 2.2, 2.3, 3, 3.2."""

from case import HOST, Case, get, refused

LONG = b"a" * 9000


def line(start):
    return start + b"\r\n" + HOST + b"\r\n"


CASES = [
    refused("9112 3", "two blanks after the method", line(b"GET  /open/x HTTP/1.1")),
    refused("9112 3", "two blanks before the version", line(b"GET /open/x  HTTP/1.1")),
    refused("9112 3", "blank behind the version", line(b"GET /open/x HTTP/1.1 ")),
    refused("9112 3", "tab instead of a blank", line(b"GET\t/open/x HTTP/1.1")),
    refused("9112 3", "tab before the version", line(b"GET /open/x\tHTTP/1.1")),
    refused("9112 3", "vertical tab in the line", line(b"GET /open/x\x0bHTTP/1.1")),
    refused("9112 3", "blank before the method", line(b" GET /open/x HTTP/1.1")),
    refused("9112 3", "no method", line(b"/open/x HTTP/1.1")),
    refused("9112 3", "blank in the target", line(b"GET /open/a b HTTP/1.1")),
    refused("9112 3.2", "target without slash", line(b"GET open/x HTTP/1.1")),
    refused("9112 3.2", "fragment in the target", line(b"GET /open/x#y HTTP/1.1")),
    refused("9112 3.2", "NUL in the target", line(b"GET /open/\0x HTTP/1.1")),
    refused("9112 3.2", "DEL in the target", line(b"GET /open/\x7fx HTTP/1.1")),
    refused("9112 3.2", "byte above 127 in the target", line(b"GET /open/\xc3\xa9 HTTP/1.1")),
    refused("9112 3", "target too long", line(b"GET /open/" + LONG + b" HTTP/1.1"), 414),
    refused("9112 2.3", "HTTP/0.9 simple request", b"GET /open/x\r\n\r\n", 505),
    refused("9112 2.3", "HTTP/2.0", line(b"GET /open/x HTTP/2.0"), 505),
    refused("9112 2.3", "HTTP/1.2", line(b"GET /open/x HTTP/1.2"), 505, why="1.2 would have to be read as 1.1; nobody sends it"),
    refused("9112 2.3", "HTTP/0.9 by name", line(b"GET /open/x HTTP/0.9"), 505),
    refused("9112 2.3", "two digits of minor version", line(b"GET /open/x HTTP/1.10")),
    refused("9112 2.3", "lower-case protocol name", line(b"GET /open/x http/1.1")),
    refused("9112 2.3", "RTSP instead of HTTP", line(b"OPTIONS /open/x RTSP/1.0")),
    refused("9112 2.3", "ICE instead of HTTP", line(b"SOURCE /open/x ICE/1.0")),
    refused("9112 2.3", "comma in the version", line(b"GET /open/x HTTP/1,1")),
    refused("9113 3.4", "HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    refused("9112 2.2", "TLS hello in plain text", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    refused("9112 2.2", "request line ended by bare LF", b"GET /open/x HTTP/1.1\n" + HOST + b"\r\n"),
    refused("9112 2.2", "request line ended by bare CR", b"GET /open/x HTTP/1.1\r" + HOST + b"\r\n"),
    refused("9112 2.2", "bare LF before the request", b"\n\n" + get(),
            why="an empty line is CRLF; a client that sends others counts lines in its own way"),
    refused("9112 2.2", "bare CR before the request", b"\r\r\n" + get()),
    Case("9112 2.2", "one empty line before the request", b"\r\n" + get(), 200),
    refused("9110 9.1", "method in lower case", line(b"get /open/x HTTP/1.1"), why="methods are case-sensitive"),
    refused("9110 9.1", "method that is no token", line(b"G@T /open/x HTTP/1.1")),
    Case("9110 9.3.4", "PUT", line(b"PUT /open/x HTTP/1.1"), 200, sees=rb"^PUT /open/x HTTP/1\.1\r\n"),
    Case("9110 9.3.5", "DELETE", line(b"DELETE /open/x HTTP/1.1"), 200, sees=rb"^DELETE /open/x "),
    Case("5789 2", "PATCH", line(b"PATCH /open/x HTTP/1.1"), 200, sees=rb"^PATCH /open/x "),
    Case("9112 3.2.1", "query is passed on as it is", get(target=b"/open/x?a=%2F&b=..//c&d=?"), 200,
         sees=rb"^GET /open/x\?a=%2F&b=\.\.//c&d=\? HTTP/1\.1\r\n"),
    Case("9112 3.2.1", "empty query keeps its mark", get(target=b"/open/x?"), 200, sees=rb"^GET /open/x\? HTTP/1\.1\r\n"),
    Case("9112 3", "head torn into pieces", [b"GE", b"T /open/x HT", b"TP/1.1\r", b"\nHost: h.t", b"est\r\n\r", b"\n"], 200),
]
