"""Chunked bodies of requests and their trailers: RFC 9112, sections 7.1 to 7.1.3; RFC 9110, section 6.5."""

from case import Case, chunked, get, refused

HELLO = b"5\r\nhello\r\n"
LAST = b"0\r\n\r\n"


def trailer(*lines):
    return chunked(HELLO + b"0\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n", b"Trailer: X-Sum")


CASES = [
    Case("9112 7.1", "several chunks", chunked(HELLO + b"6\r\n world\r\n" + LAST), 200, bodies=(b"hello world",)),
    Case("9112 7.1", "size in capitals", chunked(b"A\r\n0123456789\r\n" + LAST), 200, bodies=(b"0123456789",)),
    Case("9112 7.1", "size with leading noughts", chunked(b"0005\r\nhello\r\n000\r\n\r\n"), 200, bodies=(b"hello",)),
    Case("9112 7.1", "no chunk but the last", chunked(LAST), 200, bodies=(b"",)),
    Case("9112 7.1", "next request right behind", chunked(HELLO + LAST) + get(), (200, 200), bodies=(b"hello", b"")),
    Case("9112 7.1", "torn everywhere", [chunked(b"")] + [b"%c" % c for c in HELLO + LAST], 200, bodies=(b"hello",)),
    refused("9112 7.1", "size of letters", chunked(b"xyz\r\nhello\r\n" + LAST)),
    refused("9112 7.1", "no size", chunked(b"\r\nhello\r\n" + LAST)),
    refused("9112 7.1", "negative size", chunked(b"-5\r\nhello\r\n" + LAST)),
    refused("9112 7.1", "signed size", chunked(b"+5\r\nhello\r\n" + LAST)),
    refused("9112 7.1", "size with 0x", chunked(b"0x5\r\nhello\r\n" + LAST)),
    refused("9112 7.1", "size with an underscore", chunked(b"0_5\r\nhello\r\n" + LAST)),
    refused("9112 7.1", "blank before the size", chunked(b" 5\r\nhello\r\n" + LAST)),
    refused("9112 7.1", "blank behind the size", chunked(b"5 \r\nhello\r\n" + LAST)),
    refused("9112 7.1", "tab behind the size", chunked(b"5\t\r\nhello\r\n" + LAST)),
    refused("9112 7.1", "NUL behind the size", chunked(b"5\0\r\nhello\r\n" + LAST)),
    refused("9112 7.1", "size of 64 bits and more", chunked(b"10000000000000005\r\nhello\r\n" + LAST)),
    refused("9112 7.1", "size that wraps to 5", chunked(b"fffffffffffffffffffffffff5\r\nhello\r\n" + LAST)),
    refused("9112 7.1", "endless noughts", chunked(b"0" * 60000 + b"5\r\nhello\r\n" + LAST), partial=True),
    refused("9112 7.1", "chunk longer than its size", chunked(b"3\r\nhello\r\n" + LAST)),
    refused("9112 7.1", "chunk shorter than its size", chunked(b"7\r\nhello\r\n" + LAST)),
    refused("9112 7.1", "chunk ended by bare LF", chunked(b"5\r\nhello\n" + LAST)),
    refused("9112 7.1", "chunk ended by bare CR", chunked(b"5\r\nhello\r" + LAST)),
    refused("9112 7.1", "chunk without an end", chunked(b"5\r\nhello" + LAST)),
    refused("9112 7.1", "size ended by bare LF", chunked(b"5\nhello\r\n" + LAST)),
    refused("9112 7.1", "size ended by bare CR", chunked(b"5\rhello\r\n" + LAST)),
    refused("9112 7.1", "last chunk ended by bare LF", chunked(HELLO + b"0\n\r\n")),
    refused("9112 7.1", "body ended by bare LF", chunked(HELLO + b"0\r\n\n")),
    refused("9112 7.1", "two bytes that are no line end", chunked(b"5\r\nhelloXX0\r\n\r\n")),
    refused("9110 15.5.14", "chunks too large together", chunked(b"186a1\r\n" + b"x" * 100001 + b"\r\n" + LAST), 413, partial=True),
    Case("9112 7.1.1", "extension", chunked(b'5;a=b;c="d e"\r\nhello\r\n' + LAST), 200, bodies=(b"hello",), hides=rb"a=b"),
    Case("9112 7.1.1", "extension of the last chunk", chunked(HELLO + b"0;a\r\n\r\n"), 200, bodies=(b"hello",)),
    refused("9112 7.1.1", "bare LF in an extension", chunked(b"5;a\nhello\r\n" + LAST)),
    refused("9112 7.1.1", "bare LF in a quoted extension", chunked(b'5;a="\n"\r\nhello\r\n' + LAST)),
    refused("9112 7.1.1", "bare CR in an extension", chunked(b"5;a\rb\r\nhello\r\n" + LAST)),
    refused("9112 7.1.1", "NUL in an extension", chunked(b"5;a\0b\r\nhello\r\n" + LAST)),
    refused("9112 7.1.1", "extension without semicolon", chunked(b"5 a=b\r\nhello\r\n" + LAST)),
    refused("9112 7.1.1", "extension too long", chunked(b"5;" + b"a" * 9000 + b"\r\nhello\r\n" + LAST), partial=True),
    refused("9112 7.1.1", "extensions too long together", chunked(b"".join(b"1;" + b"a" * 100 + b"\r\nx\r\n" for _ in range(200)) + LAST), partial=True),
    Case("9112 7.1.2", "trailer that may pass", trailer(b"X-Sum: 1"), 200, bodies=(b"hello",), sees=rb"0\r\nX-Sum: 1\r\n\r\n"),
    refused("9110 6.5.1", "trailer with a length", trailer(b"Content-Length: 99", b"X-Sum: 1"), why="it could also be left out"),
    refused("9110 6.5.1", "trailer with a coding", trailer(b"Transfer-Encoding: x", b"X-Sum: 1"), why="it could also be left out"),
    Case("9110 6.5.1", "trailer that routes", trailer(b"Host: other.test", b"X-Sum: 1"), 200, hides=rb"other\.test"),
    Case("9110 6.5.1", "trailer that authenticates", trailer(b"Authorization: x", b"Cookie: a=b"), 200, hides=(rb"Authorization", rb"Cookie")),
    Case("9110 6.5.1", "trailer of our own names", trailer(b"X-Outrigger-Epoch: 99", b"X-Forwarded-For: 9.9.9.9"), 200,
         hides=(rb"Epoch: 99", rb"9\.9\.9\.9")),
    Case("9110 6.5.1", "trailer of a name with underscore", trailer(b"X_Forwarded_For: 9.9.9.9"), 200, hides=rb"9\.9\.9\.9"),
    Case("9110 6.5.1", "trailer that the Connection field names", chunked(HELLO + b"0\r\nX-Sum: 1\r\n\r\n", b"Connection: X-Sum"), 200,
         hides=rb"X-Sum"),
    refused("9112 7.1.2", "trailer with a blank before the colon", trailer(b"X-Sum : 1")),
    refused("9112 7.1.2", "folded trailer", trailer(b"X-Sum: 1", b" 2")),
    refused("9112 7.1.2", "trailer with a NUL", trailer(b"X-Sum: \0")),
    refused("9112 7.1.2", "trailer with DEL", trailer(b"X-Sum: \x7f")),
    refused("9112 7.1.2", "trailer without colon", trailer(b"nonsense")),
    refused("9112 7.1.2", "trailer ended by bare LF", chunked(HELLO + b"0\r\nX-Sum: 1\n\r\n")),
    refused("6585 5", "trailers too large", trailer(b"X-Sum: " + b"a" * 17000), 431, partial=True),
    refused("6585 5", "too many trailers", trailer(*[b"X-%d: 1" % i for i in range(200)]), 431),
]
