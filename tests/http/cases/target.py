"""Forms of the target and Host: RFC 9112, sections 3.2 and 3.2.1 to 3.2.4; RFC 9110, sections 4.2, 7.2, 9.3.6 to 9.3.8."""

from case import Case, get, refused


def raw(line, *fields):
    return b"".join(part + b"\r\n" for part in (line, *fields)) + b"\r\n"


ABSOLUTE_HOST = b"the target's authority decides; a Host that says something else is two answers to one question"

CASES = [
    Case("9112 3.2.2", "absolute-form", raw(b"GET http://h.test/open/x?q HTTP/1.1", b"Host: h.test"), 200,
         sees=(rb"^GET /open/x\?q HTTP/1\.1\r\n", rb"\r\nHost: h\.test\r\n")),
    Case("9112 3.2.2", "absolute-form with https", raw(b"GET https://h.test/open/x HTTP/1.1", b"Host: h.test"), 200,
         sees=rb"^GET /open/x HTTP"),
    Case("9112 3.2.2", "absolute-form, scheme in capitals", raw(b"GET HTTP://h.test/open/x HTTP/1.1", b"Host: h.test"), 200),
    Case("9112 3.2.2", "absolute-form without path", raw(b"GET http://h.test HTTP/1.1", b"Host: h.test"), 200,
         sees=rb"^GET / HTTP/1\.1\r\n"),
    Case("9112 3.2.2", "absolute-form, query without path", raw(b"GET http://h.test?q=1 HTTP/1.1", b"Host: h.test"), 200,
         sees=rb"^GET /\?q=1 HTTP/1\.1\r\n"),
    refused("9112 3.2.2", "absolute-form against Host", raw(b"GET http://a.test/open/x HTTP/1.1", b"Host: b.test"),
            why="the target would win by 3.2.2; two names for one request are how rules by host are passed by"),
    refused("9112 3.2.2", "absolute-form without Host", raw(b"GET http://h.test/open/x HTTP/1.1")),
    refused("9110 4.2.4", "absolute-form with user name", raw(b"GET http://u@h.test/open/x HTTP/1.1", b"Host: h.test")),
    refused("9112 3.2.2", "absolute-form of another scheme", raw(b"GET ftp://h.test/open/x HTTP/1.1", b"Host: h.test")),
    refused("9112 3.2.2", "absolute-form with one slash", raw(b"GET http:/open/x HTTP/1.1", b"Host: h.test")),
    refused("9110 4.2.1", "absolute-form without authority", raw(b"GET http:///open/x HTTP/1.1", b"Host: h.test")),
    refused("9112 3.2.2", "absolute-form with a bad port", raw(b"GET http://h.test:x/open/x HTTP/1.1", b"Host: h.test:x")),
    refused("9112 3.2.3", "authority-form without CONNECT", raw(b"GET h.test:80 HTTP/1.1", b"Host: h.test:80")),
    refused("9110 9.3.6", "CONNECT", raw(b"CONNECT h.test:443 HTTP/1.1", b"Host: h.test:443"), 405, shows=rb"\r\nAllow: [A-Z, ]*GET",
            why="a reverse proxy opens no tunnels to names that clients choose"),
    refused("9110 9.3.6", "bytes behind a CONNECT are no request",
            raw(b"CONNECT h.test:443 HTTP/1.1", b"Host: h.test:443") + get(), 405),
    refused("9110 9.3.6", "CONNECT with a path", raw(b"CONNECT /open/x HTTP/1.1", b"Host: h.test"), (405,)),
    refused("9112 3.2.4", "asterisk-form without OPTIONS", raw(b"GET * HTTP/1.1", b"Host: h.test")),
    Case("9112 3.2.4", "asterisk-form", raw(b"OPTIONS * HTTP/1.1", b"Host: h.test"), 200, sees=rb"^OPTIONS \* HTTP/1\.1\r\n"),
    Case("9112 3.2.4", "OPTIONS of a bare authority becomes asterisk-form", raw(b"OPTIONS http://h.test HTTP/1.1", b"Host: h.test"),
         200, sees=rb"^OPTIONS \* HTTP/1\.1\r\n"),
    Case("9110 9.3.7", "OPTIONS of a path", raw(b"OPTIONS /open/x HTTP/1.1", b"Host: h.test"), 200),
    Case("9110 9.3.8", "TRACE", get(method=b"TRACE"), 405, ends="open", reached=0, shows=rb"\r\nAllow: [A-Z, ]*GET",
         why="TRACE shows what proxies added, cookies and credentials too"),
    refused("9112 3.2", "no Host", raw(b"GET /open/x HTTP/1.1", b"X: y")),
    refused("9112 3.2", "two Hosts", raw(b"GET /open/x HTTP/1.1", b"Host: a.test", b"Host: b.test")),
    refused("9112 3.2", "the same Host twice", raw(b"GET /open/x HTTP/1.1", b"Host: h.test", b"Host: h.test")),
    refused("9112 3.2", "empty Host", raw(b"GET /open/x HTTP/1.1", b"Host:"), why="an http request has an authority (9110 4.2.1)"),
    refused("9112 3.2", "two names in one Host", raw(b"GET /open/x HTTP/1.1", b"Host: a.test, b.test")),
    refused("9112 3.2", "two names in one Host, without blank", raw(b"GET /open/x HTTP/1.1", b"Host: a.test,b.test")),
    refused("9112 3.2", "path in Host", raw(b"GET /open/x HTTP/1.1", b"Host: h.test/open")),
    refused("9112 3.2", "user name in Host", raw(b"GET /open/x HTTP/1.1", b"Host: u@h.test")),
    refused("9112 3.2", "query in Host", raw(b"GET /open/x HTTP/1.1", b"Host: h.test?x")),
    refused("9112 3.2", "blank in Host", raw(b"GET /open/x HTTP/1.1", b"Host: h test")),
    refused("9112 3.2", "port of letters", raw(b"GET /open/x HTTP/1.1", b"Host: h.test:http")),
    refused("9112 3.2", "port above 65535", raw(b"GET /open/x HTTP/1.1", b"Host: h.test:65536")),
    refused("9112 3.2", "two ports", raw(b"GET /open/x HTTP/1.1", b"Host: h.test:80:81")),
    refused("9112 3.2", "IPv6 literal without its end", raw(b"GET /open/x HTTP/1.1", b"Host: [::1")),
    refused("9112 3.2", "IPv6 literal of other letters", raw(b"GET /open/x HTTP/1.1", b"Host: [::x]")),
    refused("9112 3.2", "only a port", raw(b"GET /open/x HTTP/1.1", b"Host: :80")),
    Case("9112 3.2", "IPv6 literal with port", raw(b"GET /open/x HTTP/1.1", b"Host: [::1]:8080"), 200, sees=rb"\r\nHost: \[::1\]:8080\r\n"),
    Case("9112 3.2", "name with port", raw(b"GET /open/x HTTP/1.1", b"Host: h.test:8080"), 200, sees=rb"\r\nHost: h\.test:8080\r\n"),
    Case("9110 4.2.3", "Host in capitals is the same name", raw(b"GET http://h.test/open/x HTTP/1.1", b"Host: H.TEST"), 200),
    Case("9112 3.2", "HTTP/1.0 without Host", raw(b"GET /open/x HTTP/1.0"), 200, ends="close", sees=rb"\r\nHost: [^\r]+\r\n"),
]
