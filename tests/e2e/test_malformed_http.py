"""Malformed and oversized HTTP against the real listener: one clear status, the connection closed, nothing forwarded."""

import json
import re
import unittest

from harness import STEADY_CHECK, RealProcesses, free_ports, get_json, raw_exchange, request, wait_until

HEAD_BYTES_MAX = 16384
BODY_BYTES_MAX = 10000
GOOD = b"GET /good HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def post(*fields, body=b""):
    return b"POST /orders HTTP/1.1\r\nHost: h\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


# name -> (bytes as sent, status)
CASES = {
    "not HTTP at all": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "unknown method": (b"PLACE /orders HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "no version": (b"GET /\r\n\r\n", 505),
    "a future version": (b"GET / HTTP/3.0\r\nHost: h\r\n\r\n", 505),
    "blank in the target": (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "NUL in the target": (b"GET /a\0b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "no Host": (b"GET / HTTP/1.1\r\nX: y\r\n\r\n", 400),
    "two Hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "target and Host disagree": (b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 400),
    "folded field": (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400),
    "blank before the colon": (post(b"Content-Length : 3", body=b"abc"), 400),
    "field without colon": (b"GET / HTTP/1.1\r\nHost: h\r\nnonsense\r\n\r\n", 400),
    "control byte in a value": (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x01b\r\n\r\n", 400),
    "bare CR": (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", 400),
    "head ended by bare LF": (b"GET / HTTP/1.1\r\nHost: h\r\n\n", 400),
    "length and chunked": (post(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "two lengths": (post(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd"), 400),
    "negative length": (post(b"Content-Length: -1"), 400),
    "length in hex": (post(b"Content-Length: 0x3", body=b"abc"), 400),
    "coding we do not know": (post(b"Transfer-Encoding: gzip, chunked"), 501),
    "chunked disguised": (post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), 400),
    "target too long": (b"GET /" + b"a" * 12000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
    "head too large": (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * (HEAD_BYTES_MAX + 1000) + b"\r\n\r\n", 431),
    "body too large": (post(b"Content-Length: %d" % (BODY_BYTES_MAX + 1)), 413),
}
# Their heads are fine, so the instance may have seen the beginning before the rest turned out broken.
BROKEN_LATER = {
    "chunk size of letters": (post(b"Transfer-Encoding: chunked", body=b"xyz\r\n"), 400),
    "chunk longer than it says": (post(b"Transfer-Encoding: chunked", body=b"3\r\nabcdef\r\n0\r\n\r\n"), 400),
    "chunks too large together": (post(b"Transfer-Encoding: chunked",
                                       body=b"%x\r\n" % (BODY_BYTES_MAX + 1) + b"x" * (BODY_BYTES_MAX + 1) + b"\r\n0\r\n\r\n"), 413),
}


class Malformed(RealProcesses):
    def setUp(self):
        super().setUp()
        self.instance = self.make_instance()
        self.entry = f"127.0.0.1:{free_ports(1)[0]}"
        self.process, self.api = self.start_single("n1", f"""
[service]
address = "{self.instance.address}"
[service.health]
every = "100ms"
timeout = "100ms"
rise = 1
{STEADY_CHECK}
[proxy]
threads = 1
header_bytes_max = "{HEAD_BYTES_MAX}B"
body_bytes_max = "{BODY_BYTES_MAX}B"
[[listen]]
address = "{self.entry}"
[[route]]
path = "/"
pool = "all"
""")
        self.wait_status(self.entry, "/good", 200)
        self.instance.seen.clear()

    def assert_refused(self, name, data, status):
        received, closed = raw_exchange(self.entry, data)
        self.assertTrue(closed, f"{name}: the connection stayed open; got {received[:200]!r}")
        answers = re.findall(rb"HTTP/1\.1 (\d{3}) ", received)
        self.assertEqual(answers, [b"%d" % status], f"{name}: {received[:300]!r}")
        head, _, body = received.partition(b"\r\n\r\n")
        self.assertIn(b"connection: close", head.lower(), name)
        problem = json.loads(body)
        self.assertTrue(problem["code"] and problem["message"], f"{name}: {problem}")

    def test_malformed_requests(self):
        for name, (data, status) in CASES.items():
            with self.subTest(name):
                self.assert_refused(name, data, status)
                self.assertEqual(self.instance.requests(), [], f"{name}: something was forwarded")
        self.assert_no_crash(self.process)

    def test_a_good_request_behind_a_bad_one_is_not_served(self):
        for name, (data, status) in CASES.items():
            with self.subTest(name):
                self.assert_refused(name, data + GOOD, status)
        self.assertEqual(self.instance.requests(), [])

    def test_bodies_that_break_later(self):
        for name, (data, status) in BROKEN_LATER.items():
            with self.subTest(name):
                received, closed = raw_exchange(self.entry, data)
                self.assertTrue(closed, name)
                self.assertIn(b"HTTP/1.1 %d " % status, received, name)
                self.assertEqual([n for n in self.instance.requests() if n["body"]], [], f"{name}: a cut body looked whole")
        self.assert_no_crash(self.process)

    def test_silence_is_ended(self):
        received, closed = raw_exchange(self.entry, b"GET / HTTP/1.1\r\nHost: h\r\nX: ", seconds=40)
        self.assertTrue(closed, "half a head may not hold a connection for ever")
        self.assertTrue(received == b"" or b" 408 " in received.split(b"\r\n")[0], received[:100])

    def test_what_is_allowed_gets_through(self):
        body = b"x" * BODY_BYTES_MAX
        status, _, answer = request(self.entry, "POST", "/orders", body)
        self.assertEqual((status, json.loads(answer)["body"]), (200, BODY_BYTES_MAX))
        received, _ = raw_exchange(self.entry, GOOD)
        self.assertIn(b"200 OK", received)
        self.assertEqual([note["path"] for note in self.instance.requests()], ["/orders", "/good"])

    def test_headers_towards_the_instance(self):
        spoofed = {"X-Forwarded-For": "9.9.9.9", "X-Outrigger-Epoch": "99", "X-Outrigger-Role": "primary", "X-Request-Id": "abc-1",
                   "Connection": "X-Drop", "X-Drop": "1"}
        seen = json.loads(request(self.entry, "GET", "/good", headers=spoofed)[2])["headers"]
        self.assertEqual(seen["x-forwarded-for"], "127.0.0.1")
        self.assertNotEqual(seen["x-request-id"], "abc-1")
        self.assertNotIn("x-drop", seen)
        self.assertNotEqual(seen.get("x-outrigger-epoch"), "99")
        made = json.loads(request(self.entry, "GET", "/good")[2])["headers"]
        self.assertTrue(made["x-request-id"])

    def test_malformed_requests_to_the_api(self):
        for name in ("no Host", "length and chunked", "two lengths", "blank before the colon", "head ended by bare LF"):
            with self.subTest(name):
                received, closed = raw_exchange(self.api, CASES[name][0])
                self.assertTrue(closed)
                self.assertIn(b" 400 ", received.split(b"\r\n")[0])
        wait_until(lambda: get_json(self.api, "/outrigger/v1/role"), 5, "the API after all that")


if __name__ == "__main__":
    unittest.main()
