"""Where a request's body ends: RFC 9112, sections 6.1 to 6.3, 11.2."""

from case import Case, chunked, get, post, refused

INNER = b"GET /open/smuggled HTTP/1.1\r\nHost: h.test\r\n\r\n"
NONE = b"/open/smuggled"


def lengths(*values, body=b"hello"):
    return post(*[b"Content-Length: " + value for value in values], body=body)


def coded(*values, body=b"5\r\nhello\r\n0\r\n\r\n"):
    return post(*[b"Transfer-Encoding: " + value for value in values], body=body)


UNKNOWN = "a coding before chunked would have to be undone to know the body; 501 says so (9112 6.1)"

CASES = [
    refused("9112 6.1", "length and chunked", post(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + INNER)),
    refused("9112 6.1", "chunked and length", post(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=b"0\r\n\r\n" + INNER)),
    refused("9112 6.1", "chunked and a length of nought", post(b"Transfer-Encoding: chunked", b"Content-Length: 0", body=b"0\r\n\r\n")),
    refused("9112 6.3", "two lengths", lengths(b"5", b"6", body=b"hello" + INNER)),
    refused("9112 6.3", "two equal lengths", lengths(b"5", b"5"), why="a recipient may take them for one, or refuse"),
    refused("9112 6.3", "list of lengths", lengths(b"5, 6")),
    refused("9112 6.3", "list of equal lengths", lengths(b"5, 5"), why="as two equal lengths"),
    refused("9110 8.6", "negative length", lengths(b"-1")),
    refused("9110 8.6", "signed length", lengths(b"+5")),
    refused("9110 8.6", "length in hex", lengths(b"0x5")),
    refused("9110 8.6", "empty length", lengths(b"")),
    refused("9110 8.6", "length with a fraction", lengths(b"5.0")),
    refused("9110 8.6", "length with an underscore", lengths(b"1_0")),
    refused("9110 8.6", "length with a blank inside", lengths(b"5 5")),
    refused("9110 8.6", "length with a NUL behind it", lengths(b"5\0")),
    refused("9110 8.6", "length of other digits", lengths("\u0665".encode())),
    refused("9110 8.6", "length beyond 64 bits", lengths(b"18446744073709551621")),
    refused("9110 8.6", "length of 63 bits and one", lengths(b"9223372036854775813")),
    refused("9110 15.5.14", "body too large", lengths(b"100001"), 413),
    Case("9110 8.6", "length with leading noughts", lengths(b"0005"), 200, bodies=(b"hello",), sees=rb"\r\nContent-Length: 0*5\r\n"),
    Case("9112 6.3", "length of nought", lengths(b"0", body=b""), 200, bodies=(b"",)),
    Case("9112 6.3", "request without length has no body", post() + get(target=b"/open/y"), (200, 200), bodies=(b"", b"")),
    Case("9112 6.3", "body of a GET", get(b"Content-Length: 5") + b"hello", 200, bodies=(b"hello",)),
    Case("9112 6.3", "request inside a body is a body", post(b"Content-Length: %d" % len(INNER), body=INNER), 200, bodies=(INNER,)),
    Case("9112 6.3", "request inside a GET's body is a body", get(b"Content-Length: %d" % len(INNER)) + INNER, 200, bodies=(INNER,)),
    refused("9112 6.1", "chunked disguised by a letter", coded(b"xchunked")),
    refused("9112 6.1", "chunked disguised by a vertical tab", coded(b"\x0bchunked")),
    refused("9112 6.1", "chunked in quotes", coded(b'"chunked"')),
    refused("9112 6.1", "chunked with a parameter", coded(b"chunked;q=1")),
    refused("9112 6.1", "chunked twice in one field", coded(b"chunked, chunked")),
    refused("9112 6.1", "chunked twice in two fields", coded(b"chunked", b"chunked")),
    refused("9112 6.3", "chunked is not the last coding", coded(b"chunked, identity")),
    refused("9112 6.3", "another coding in a second field", coded(b"chunked", b"identity")),
    refused("9112 6.1", "gzip before chunked", coded(b"gzip, chunked"), 501, why=UNKNOWN),
    refused("9112 6.1", "identity", coded(b"identity")),
    refused("9112 6.1", "empty coding", coded(b"")),
    refused("9112 6.1", "only commas before chunked", coded(b", chunked")),
    refused("9112 6.1", "coding split over two fields", coded(b"", b"chunked")),
    Case("9112 6.1", "chunked in capitals", coded(b"CHUNKED"), 200, bodies=(b"hello",)),
    refused("9112 6.1", "chunked in HTTP/1.0",
            b"POST /open/x HTTP/1.0\r\nHost: h.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    refused("9112 6.1", "chunked in HTTP/1.0 with keep-alive",
            b"POST /open/x HTTP/1.0\r\nHost: h.test\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INNER),
    refused("9112 6.1", "coding named by Connection",
            post(b"Connection: Transfer-Encoding", b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")),
    Case("9110 7.6.1", "length named by Connection stays",
         post(b"Connection: Content-Length", b"Content-Length: 5", body=b"hello"), 200, bodies=(b"hello",), hides=NONE),
    Case("9112 6", "body torn into single bytes", [post(b"Content-Length: 5")] + [b"%c" % c for c in b"hello"], 200, bodies=(b"hello",)),
    Case("9112 6", "client leaves inside its body", [post(b"Content-Length: 500000"[:-1], body=b"x" * 40000), "half"], (), ends="close", reached=0,
         partial=True),
    Case("9112 6", "client leaves inside a chunk", [chunked(b"ff\r\nhello"), "half"], (), ends="close", reached=0, partial=True),
]
