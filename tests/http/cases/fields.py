"""Field lines: RFC 9112, sections 2.2 and 5; RFC 9110, sections 5.1 to 5.6."""

from case import Case, get, post, refused


def block(data):
    return b"GET /open/x HTTP/1.1\r\nHost: h.test\r\n" + data + b"\r\n\r\n"


CASES = [
    refused("9112 5.1", "blank before the colon", get(b"X-A : 1")),
    refused("9112 5.1", "tab before the colon", get(b"X-A\t: 1")),
    refused("9112 5.1", "blank before the colon of Content-Length", post(b"Content-Length : 5", body=b"hello")),
    refused("9112 5.1", "blank before the colon of Transfer-Encoding", post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n")),
    refused("9112 5.1", "blank before the colon of Host", b"GET /open/x HTTP/1.1\r\nHost : h.test\r\n\r\n"),
    refused("9112 5.2", "folded value", get(b"X-A: 1", b" 2")),
    refused("9112 5.2", "folded value, by tab", get(b"X-A: 1", b"\t2")),
    refused("9112 5.2", "folded Content-Length", post(b"Content-Length:", b" 5", body=b"hello")),
    refused("9112 5.2", "folded Transfer-Encoding", post(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n")),
    refused("9112 2.2", "blank before the first field", b"GET /open/x HTTP/1.1\r\n X-A: 1\r\nHost: h.test\r\n\r\n"),
    refused("9112 5", "empty field name", get(b": 1")),
    refused("9112 5", "line without colon", get(b"nonsense")),
    refused("9110 5.1", "blank in a name", get(b"X A: 1")),
    refused("9110 5.1", "parenthesis in a name", get(b"X(A): 1")),
    refused("9110 5.1", "byte above 127 in a name", get(b"X-\xc3\xa9: 1")),
    refused("9110 5.1", "NUL in a name", get(b"X-\0A: 1")),
    refused("9110 5.5", "NUL in a value", get(b"X-A: a\0b")),
    refused("9110 5.5", "control byte in a value", get(b"X-A: a\x01b")),
    refused("9110 5.5", "DEL in a value", get(b"X-A: a\x7fb")),
    refused("9110 5.5", "vertical tab around a value", get(b"X-A: \x0b1")),
    refused("9112 2.2", "bare CR in a value", get(b"X-A: a\rb")),
    refused("9112 2.2", "bare CR at the end of a value", get(b"X-A: a\r")),
    refused("9112 2.2", "bare CR makes no new field", get(b"X-A: a\rContent-Length: 5")),
    refused("9112 2.2", "field ended by bare LF", block(b"X-A: 1\nX-B: 2")),
    refused("9112 2.2", "bare LF makes no new field", post(b"X-A: 1\nTransfer-Encoding: chunked", body=b"0\r\n\r\n")),
    refused("9112 2.2", "head ended by bare LF", b"GET /open/x HTTP/1.1\r\nHost: h.test\r\n\n"),
    refused("9112 2.2", "head ended by two bare LF", b"GET /open/x HTTP/1.1\nHost: h.test\n\n"),
    refused("9112 2.2", "head ended by CR CR LF", b"GET /open/x HTTP/1.1\r\nHost: h.test\r\n\r\r\n"),
    refused("6585 5", "one field too large", get(b"X-A: " + b"a" * 17000), 431),
    refused("6585 5", "all fields too large", get(*[b"X-%d: " % i + b"a" * 400 for i in range(60)]), 431),
    refused("6585 5", "too many fields", get(*[b"X-%d: 1" % i for i in range(200)]), 431),
    refused("6585 5", "field name too long", get(b"X" * 17000 + b": 1"), 431),
    Case("9112 5", "no blank behind the colon", get(b"X-A:1"), 200, sees=rb"\r\nX-A: ?1\r\n"),
    Case("9112 5.1", "blanks and tabs around a value", get(b"X-A: \t 1 \t"), 200, sees=rb"\r\nX-A: 1[ \t]*\r\n"),
    Case("9110 5.5", "empty value", get(b"X-A:"), 200, sees=rb"\r\nX-A: ?\r\n"),
    Case("9110 5.5", "colons in a value", get(b"X-A: a:b::"), 200, sees=rb"\r\nX-A: a:b::\r\n"),
    Case("9110 5.5", "bytes above 127 in a value", get(b"X-A: caf\xc3\xa9"), 200, sees=rb"\r\nX-A: caf\xc3\xa9\r\n"),
    Case("9110 5.1", "marks in a name", get(b"!#$%&'*+-.^`|~9: 1"), 200, sees=rb"\r\n!#\$%&'\*\+-\.\^`\|~9: 1\r\n"),
    Case("9110 5.3", "order of equal names stays", get(b"X-A: 1", b"X-B: 2", b"X-A: 3"), 200,
         sees=rb"X-A: 1\r\n.*X-A: 3\r\n"),
    Case("9110 5.1", "underscore names pass", get(b"trace_id: 7"), 200, sees=rb"\r\ntrace_id: 7\r\n"),
    Case("9110 17.10", "underscore names that look like ours do not pass",
         get(b"X_Outrigger_Epoch: 99", b"X_Forwarded_For: 9.9.9.9", b"Content_Length: 3", b"Transfer_Encoding: chunked", b"X-Real_IP: 9.9.9.9"),
         200, hides=rb"_(epoch|for|length|encoding|ip):",
         why="CGI and WSGI read '_' and '-' as one: such a name would speak for the proxy, or frame the body anew"),
]
