"""The way back: what a backend may answer, and what a client gets when it answers something else. RFC 9112, sections 4, 5,
6.3, 7, 8; RFC 9110, sections 6.4.1, 8.6, 9.3.2, 15."""

from case import HOST, Case, Script, get, post, refused

GET10 = b"GET /open/x HTTP/1.0\r\n" + HOST + b"\r\n"
END = b"\r\nContent-Length: 2\r\n\r\nok"


def answers(rfc, name, data, status=200, send=None, then="keep", **more):
    return Case(rfc, name, send or get(), status, backend=Script(answers=(data,), then=then), **{"reached": 1, "ends": "open", **more})


def bad(rfc, name, data, send=None, then="close", **more):
    """Not passed on: 502, and the connection to the backend is not used again."""
    return answers(rfc, name, data, 502, send, then, **more)


def cut(rfc, name, data, then="close", **more):
    """The client must see that its body is not whole."""
    return answers(rfc, name, data, (), then=then, ends="cut", **more)


CASES = [
    # --- status line and fields ---
    bad("9112 4", "no HTTP at all", b"hello, world\r\n\r\n"),
    bad("9112 4", "binary rubbish", bytes(range(256))),
    bad("9112 4", "garbage before the status", b"x\r\nHTTP/1.1 200 OK" + END),
    bad("9112 4", "empty line before the status", b"\r\nHTTP/1.1 200 OK" + END),
    bad("9112 4", "blank before the status line", b" HTTP/1.1 200 OK" + END),
    bad("9112 4", "status of two digits", b"HTTP/1.1 20 OK" + END),
    bad("9112 4", "status of four digits", b"HTTP/1.1 2000 OK" + END),
    bad("9112 4", "status of letters", b"HTTP/1.1 2xx OK" + END),
    bad("9110 15", "status 000", b"HTTP/1.1 000 Odd" + END),
    bad("9110 15", "status 600", b"HTTP/1.1 600 Odd" + END),
    bad("9110 15", "status 099", b"HTTP/1.1 099 Odd" + END),
    bad("9112 2.3", "answer in HTTP/2.0", b"HTTP/2.0 200 OK" + END),
    bad("9112 2.3", "answer in HTTP/0.9", b"ok"),
    bad("9112 2.3", "answer in RTSP", b"RTSP/1.0 200 OK" + END),
    bad("9112 2.3", "answer in ICY", b"ICY 200 OK" + END),
    bad("9112 2.2", "status line ended by bare LF", b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok"),
    bad("9112 2.2", "fields ended by bare LF", b"HTTP/1.1 200 OK\r\nContent-Length: 2\nX-A: 1\r\n\r\nok"),
    bad("9112 2.2", "bare CR in a value", b"HTTP/1.1 200 OK\r\nX-A: 1\rX-B: 2" + END),
    bad("9112 2.2", "NUL in a value", b"HTTP/1.1 200 OK\r\nX-A: \0" + END),
    bad("9112 4", "NUL in the reason", b"HTTP/1.1 200 O\0K" + END),
    bad("9112 5.2", "folded value", b"HTTP/1.1 200 OK\r\nX-A: 1\r\n 2" + END, why="502 is one of the two answers that 5.2 offers"),
    bad("9112 5.1", "blank before the colon", b"HTTP/1.1 200 OK\r\nX-A : 1" + END, why="the blank could be removed; nobody should rely on that"),
    bad("9112 5", "line without colon", b"HTTP/1.1 200 OK\r\nnonsense" + END),
    bad("9112 5", "empty name", b"HTTP/1.1 200 OK\r\n: 1" + END),
    bad("9112 5", "head too large", b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 70000 + END),
    bad("9112 5", "head without end", b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 900000),
    bad("9112 5", "too many fields", b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(400)) + END[2:]),
    answers("9112 4", "no reason", b"HTTP/1.1 200 " + END, body=b"ok"),
    answers("9110 15.1", "unknown status of a known class", b"HTTP/1.1 299 Fine" + END, 299, body=b"ok"),
    answers("9112 5", "fields pass as they are", b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-A: caf\xc3\xa9" + END,
            shows=rb"Set-Cookie: a=1\r\n.*Set-Cookie: b=2\r\n.*caf\xc3\xa9"),
    # --- framing ---
    bad("9112 6.3", "two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!"),
    bad("9112 6.3", "two equal lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
    bad("9112 6.3", "list of lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok"),
    bad("9110 8.6", "negative length", b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok"),
    bad("9110 8.6", "signed length", b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok"),
    bad("9110 8.6", "empty length", b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok"),
    bad("9110 8.6", "length beyond 64 bits", b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nok"),
    bad("9112 6.3", "length and chunked", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    bad("9112 6.1", "coding that we do not know", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    bad("9112 6.1", "chunked in HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    answers("9112 7.1", "chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n", body=b"ok", lacks=rb"x=y"),
    answers("9112 7.1.2", "trailers", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a=b\r\n\r\n",
            body=b"ok", lacks=rb"Set-Cookie"),
    answers("9112 7.1", "chunked to HTTP/1.0 ends with the connection", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", send=GET10,
            ends="close", body=b"ok", lacks=rb"Transfer-Encoding"),
    answers("9112 6.3", "body until the end", b"HTTP/1.1 200 OK\r\n\r\nok", then="close", body=b"ok"),
    answers("9112 6.3", "empty body until the end", b"HTTP/1.1 200 OK\r\n\r\n", then="close", body=b""),
    answers("9112 6.3", "body until the end, to HTTP/1.0", b"HTTP/1.1 200 OK\r\n\r\nok", send=GET10, then="close", ends="close", body=b"ok"),
    answers("9112 9.3", "backend in HTTP/1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", then="close", body=b"ok", shows=rb"^HTTP/1\.1 200"),
    answers("9112 9.3", "backend in HTTP/1.0 that stays", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", body=b"ok"),
    answers("9112 6.3", "body until the end in HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nok", then="close", body=b"ok"),
    cut("9112 8", "length not reached", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok"),
    cut("9112 8", "no last chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"),
    cut("9112 8", "cut inside a chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nok"),
    cut("9112 8", "reset inside a body", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok", then="reset"),
    cut("9112 7.1", "bad chunk size", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n\r\n"),
    cut("9112 7.1", "chunk longer than its size", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n0\r\n\r\n"),
    cut("9112 7.1", "chunk size ended by bare LF", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n"),
    cut("9112 7.1", "endless noughts before a size", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 60000 + b"2\r\nok\r\n0\r\n\r\n"),
    cut("9112 7.1.1", "extension too long", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;" + b"a" * 90000 + b"\r\nok\r\n0\r\n\r\n"),
    # --- what is not whole before it has begun ---
    bad("9112 8", "nothing", b"", send=post(), shows=rb"X-Outrigger-Outcome: unknown"),
    bad("9112 8", "half a status line", b"HTTP/1.1 20", send=post()),
    bad("9112 8", "half a head", b"HTTP/1.1 200 OK\r\nContent-Le", send=post()),
    bad("9112 8", "only an interim answer", b"HTTP/1.1 100 Continue\r\n\r\n", send=post()),
    # --- no body by rule ---
    answers("9110 9.3.2", "HEAD with a length", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", send=get(method=b"HEAD"), shows=rb"\r\nContent-Length: 500\r\n"),
    answers("9110 9.3.2", "HEAD without a length", b"HTTP/1.1 200 OK\r\n\r\n", send=get(method=b"HEAD")),
    answers("9110 9.3.2", "HEAD with chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", send=get(method=b"HEAD")),
    answers("9110 9.3.2", "HEAD with a body all the same", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", send=get(method=b"HEAD"), lacks=rb"ok$"),
    answers("9110 15.3.5", "204", b"HTTP/1.1 204 No Content\r\n\r\n", 204),
    answers("9110 15.3.5", "204 with a length", b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", 204, lacks=(rb"Content-Length", rb"ok$")),
    answers("9110 15.3.5", "204 with chunks", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 204,
            lacks=(rb"Transfer-Encoding", rb"ok\r")),
    answers("9110 15.4.5", "304 with the length of what it stands for", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: x\r\n\r\n", 304,
            shows=rb"ETag: x"),
    answers("9110 15.4.5", "304 with a body all the same", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok", 304, lacks=rb"ok$"),
    answers("9110 15.2", "interim answer with a length", b"HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\nHTTP/1.1 200 OK" + END, body=b"ok"),
    # --- too much ---
    answers("9112 9.3", "a second answer behind the first", b"HTTP/1.1 200 OK" + END + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", lacks=rb"evil"),
    answers("9112 9.3", "bytes behind the answer", b"HTTP/1.1 200 OK" + END + b"evil", lacks=rb"evil"),
    Case("9112 9.3", "a second answer, later", get(), 200, reached=1, lacks=rb"evil",
         backend=Script(surplus=b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")),
    # --- our own answers ---
    Case("9110 15.5.5", "404 says why", get(target=b"/closed"), 404, reached=0, ends="open", shows=(rb"Content-Type: application/json", rb'"code":"no_route"')),
    Case("9110 9.3.2", "404 to HEAD has no body", get(target=b"/closed", method=b"HEAD"), 404, reached=0, ends="open", lacks=rb"no_route"),
    refused("9110 15.5.1", "400 says why", get(b"X : 1"), shows=(rb"\r\nConnection: close\r\n", rb'"message":"')),
]
