"""Expect: 100-continue and interim answers: RFC 9110, sections 10.1.1 and 15.2."""

from case import HOST, Case, Script, Wait, get, post, refused

ASK = (b"Expect: 100-continue", b"Content-Length: 5")
GO = b"HTTP/1.1 100 Continue\r\n\r\n"
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NO = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"

CASES = [
    Case("9110 10.1.1", "backend says go on", [post(*ASK), Wait(rb"100 Continue"), b"hello"], 200, backend=Script(at_head=GO),
         bodies=(b"hello",), sees=rb"\r\nExpect: 100-continue\r\n", shows=rb"^HTTP/1\.1 100 Continue\r\n\r\nHTTP/1\.1 200"),
    Case("9110 10.1.1", "client does not wait", post(*ASK, body=b"hello"), 200, backend=Script(at_head=GO), bodies=(b"hello",)),
    Case("9110 10.1.1", "backend that never says go on", post(*ASK, body=b"hello"), 200, bodies=(b"hello",)),
    Case("9110 10.1.1", "backend refuses", [post(*ASK), Wait(rb"417")], 417, backend=Script(at_head=NO), reached=0, partial=True, ends="close"),
    Case("9110 10.1.1", "backend refuses, the body comes all the same", [post(*ASK), Wait(rb"417"), b"hello" + get()], 417,
         backend=Script(at_head=NO), reached=0, partial=True, ends="close"),
    Case("9110 10.1.1", "backend answers before the body", [post(*ASK), Wait(rb"\r\n\r\nok")], 200, backend=Script(at_head=OK, answers=(b"",)),
         reached=0, partial=True, ends="close"),
    Case("9110 10.1.1", "chunked", [post(b"Expect: 100-continue", b"Transfer-Encoding: chunked"), Wait(rb"100 Continue"), b"5\r\nhello\r\n0\r\n\r\n"], 200,
         backend=Script(at_head=GO), bodies=(b"hello",)),
    Case("9110 10.1.1", "in capitals", [post(b"Expect: 100-CONTINUE", b"Content-Length: 5"), Wait(rb"100 Continue"), b"hello"], 200,
         backend=Script(at_head=GO), bodies=(b"hello",)),
    Case("9110 10.1.1", "without a body", get(b"Expect: 100-continue"), 200, hides=rb"\r\nExpect"),
    Case("9110 10.1.1", "from HTTP/1.0 is ignored", b"POST /open/x HTTP/1.0\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", 200,
         ends="close", hides=rb"\r\nExpect", lacks=rb" 100 ", bodies=(b"hello",)),
    refused("9110 10.1.1", "another expectation", post(b"Expect: 200-ok", b"Content-Length: 5", body=b"hello"), 417),
    refused("9110 10.1.1", "a second expectation behind the first", post(*ASK, b"Expect: 200-ok", body=b"hello"), 417),
    refused("9110 10.1.1", "an unknown expectation in a list", post(b"Expect: 100-continue, x", b"Content-Length: 5", body=b"hello"), 417),
    Case("9110 15.2", "early hints pass", get(), 200, backend=Script(answers=(HINT + OK,)), shows=rb"^HTTP/1\.1 103 .*Link: .*HTTP/1\.1 200"),
    Case("9110 15.2", "several interim answers pass", get(), 200, backend=Script(answers=(GO + HINT + HINT + OK,)), body=b"ok"),
    Case("9110 15.2", "interim answers are not for HTTP/1.0", b"GET /open/x HTTP/1.0\r\n" + HOST + b"\r\n", 200, ends="close",
         backend=Script(answers=(HINT + OK,)), lacks=rb" 103 "),
    refused("9110 15.2", "a flood of interim answers", get(), 502, reached=1, ends="open", backend=Script(answers=(GO * 2000 + OK,), then="close"),
            why="no end of answers that are none; 64 is far above what anybody needs"),
]
