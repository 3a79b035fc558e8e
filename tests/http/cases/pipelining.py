"""Requests one behind the other, and the end of a connection: RFC 9112, sections 9.3 to 9.6."""

from case import HALF, Case, Script, Wait, get, post, refused

ABC = tuple(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%c" % c for c in b"abcdefgh")
CLOSING = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BAD = b"GET /open/bad HTTP/1.1\r\nHost: h.test\r\nX : 1\r\n\r\n"

CASES = [
    Case("9112 9.3.2", "answers in order", b"".join(get(target=b"/open/%d" % i) for i in range(8)), (200,) * 8, backend=Script(answers=ABC),
         shows=rb"\r\n\r\na.*\r\n\r\nb.*\r\n\r\nc.*\r\n\r\nd.*\r\n\r\ne.*\r\n\r\nf.*\r\n\r\ng.*\r\n\r\nh", sees=rb"/open/0 .*/open/1 .*/open/7 "),
    Case("9112 9.3.2", "POST behind GET", get() + post(b"Content-Length: 5", body=b"hello"), (200, 200), bodies=(b"", b"hello")),
    Case("9112 9.3.2", "GET behind POST", post(b"Content-Length: 5", body=b"hello") + get(), (200, 200), bodies=(b"hello", b"")),
    Case("9112 9.3.2", "GET behind chunks", post(b"Transfer-Encoding: chunked", body=b"1\r\nx\r\n0\r\n\r\n") + get(), (200, 200), bodies=(b"x", b"")),
    Case("9112 9.3.2", "HEAD between", get() + get(method=b"HEAD") + get(), (200, 200, 200)),
    Case("9112 9.3.2", "bad second request", get() + BAD, (200, 400), reached=1, ends="close", hides=rb"/open/bad"),
    Case("9112 9.3.2", "nothing behind a bad request", BAD + get(), 400, reached=0),
    Case("9112 9.3.2", "nothing behind a refused body", post(b"Content-Length: 200000") + get(), 413, reached=0),
    Case("9112 9.3.2", "bad third of three", get() + get() + BAD, (200, 200, 400), reached=2, ends="close"),
    Case("9112 9.3.2", "second cut in the middle", [get() + b"GET /open/y HT", Wait(rb"ok"), b"TP/1.1\r\nHost: h.test\r\n\r\n"], (200, 200)),
    Case("9112 9.6", "nothing behind close", get(b"Connection: close") + get(target=b"/open/late"), 200, reached=1, ends="close", hides=rb"late"),
    Case("9112 9.6", "client sends no more, and reads", [get(), HALF], 200, ends="close"),
    Case("9112 9.6", "client sends no more after two", [get() + get(), HALF], (200, 200), ends="close"),
    Case("9112 9.6", "client leaves inside a head", [b"GET /open/x HTTP/1.1\r\nHos", HALF], (), ends="close", reached=0),
    Case("9112 9.3.2", "404 between keeps the connection", get(target=b"/closed") + get(), (404, 200), reached=1, ends="open"),
    Case("9112 9.3.2", "404 with a body between", post(b"Content-Length: 5", body=b"hello", target=b"/closed") + get(), (404, 200), reached=1, ends="open",
         bodies=(b"",)),
    Case("9112 9.3.2", "404 with a body to come", [post(b"Content-Length: 5", target=b"/closed"), Wait(rb" 404 "), b"hello"], 404, reached=0, ends="close"),
    refused("9112 9.3.2", "empty lines between without end", get() + b"\r\n" * 20000, (200, 431), reached=1),
    Case("9112 2.2", "an empty line between", get() + b"\r\n" + get(), (200, 200)),
]
