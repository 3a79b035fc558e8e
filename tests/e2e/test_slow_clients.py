"""Slowloris in three places (head, body, reading) against a real agent with short limits: the slow ones are told or cut
off, the steady ones are not, and everybody else is served meanwhile."""

import re
import select
import socket
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "http"))

import proxies  # noqa: E402  (found through the line above)
from case import Script, get, post  # noqa: E402
from proxies import request, wait_until  # noqa: E402

LIMITS = """head_timeout = "1s"
client_rate_min = "200B"
client_rate_window = "3s"
"""
STEADY_SECONDS = 7.0  # of a client that is not quick: more than two windows, and each could do with a small part of it, late as it may come
ENOUGH_SECONDS = 9  # less than agents wait without these limits: 10 s for a head, 20 s for a body
LONG = 64 << 20  # more than all buffers on the way hold


class SlowClients(proxies.AgentBeforeBackend):
    proxy = LIMITS

    def connect(self, receive_buffer=None):
        link = socket.socket()
        self.addCleanup(link.close)
        if receive_buffer:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        link.connect(self.agent.addresses["plain"])
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link

    def trickle(self, link, piece, every, seconds):
        """Sends `piece` again and again. @return (what came back, True when the other side ended it, seconds it took)."""
        begun, got = time.monotonic(), b""
        while time.monotonic() - begun < seconds:
            try:
                link.sendall(piece)
                if select.select([link], [], [], every)[0]:
                    data = link.recv(65536)
                    got += data
                    if not data:
                        return got, True, time.monotonic() - begun
            except OSError:
                return got, True, time.monotonic() - begun
        try:  # what has come while this process stood still
            return got + link.recv(65536, socket.MSG_DONTWAIT), True, seconds
        except BlockingIOError:
            return got, False, seconds
        except OSError:
            return got, True, seconds

    def counter(self, name):
        text = request(self.agent.api, "GET", "/metrics")[2].decode()
        return float(re.search(rf"^outrigger_{name} (\S+)$", text, re.M)[1])

    def assert_others_are_served(self):
        status, _, body = request("127.0.0.1:%d" % self.agent.ports["plain"], "GET", "/open/probe/7")
        self.assertEqual((status, body), (200, b"/open/probe/7"))

    def test_a_head_byte_by_byte_is_408(self):
        link = self.connect()
        link.sendall(b"GET /open/x HTTP/1.1\r\nHost: h\r\nX-A: ")
        got, ended, _ = self.trickle(link, b"a", 0.1, ENOUGH_SECONDS)
        self.assertTrue(ended)
        self.assertTrue(got.startswith(b"HTTP/1.1 408 "), got[:200])
        self.assert_others_are_served()

    def test_a_body_byte_by_byte_is_408(self):
        before = self.counter("proxy_slow_bodies_total")
        self.backend.begin(Script())
        link = self.connect()
        link.sendall(post(b"Content-Length: 50000", body=b"x"))
        got, ended, _ = self.trickle(link, b"x", 0.1, ENOUGH_SECONDS)
        self.assertTrue(ended)
        self.assertTrue(got.startswith(b"HTTP/1.1 408 "), got[:200])
        self.assertIn(b"body_too_slow", got)
        self.assertEqual(sum(len(seen.requests) for seen in self.backend.seen), 0, "a cut body looked whole")
        self.assertEqual(self.counter("proxy_slow_bodies_total"), before + 1)

    def test_chunks_byte_by_byte_are_408(self):
        link = self.connect()
        link.sendall(post(b"Transfer-Encoding: chunked"))
        got, ended, _ = self.trickle(link, b"1\r\nx\r\n", 0.1, ENOUGH_SECONDS)
        self.assertTrue(ended)
        self.assertTrue(got.startswith(b"HTTP/1.1 408 "), got[:200])

    def test_a_steady_body_takes_as_long_as_it_takes(self):
        self.backend.begin(Script())
        link = self.connect()
        link.sendall(post(b"Content-Length: 50000"))
        got, ended, _ = self.trickle(link, b"x" * 500, 0.1, STEADY_SECONDS)
        self.assertFalse(ended and not got, "cut off")
        if not got:
            link.settimeout(30)
            link.sendall(b"x" * 50000)
            got = link.recv(65536)
        self.assertTrue(got.startswith(b"HTTP/1.1 200 "), got[:200])

    def test_a_reader_that_does_not_read_is_cut_off(self):
        before = self.counter("proxy_slow_readers_total")
        self.backend.begin(Script(answers=(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LONG + bytes(LONG),)))
        link = self.connect(receive_buffer=4096)
        link.sendall(get())
        self.assert_others_are_served()
        wait_until(lambda: self.counter("proxy_slow_readers_total") == before + 1, 10, "the slow reader counted")
        link.settimeout(30)
        got = 0
        try:
            while data := link.recv(1 << 20):
                got += len(data)
        except ConnectionResetError:
            pass
        self.assertLess(got, LONG)
        self.assert_others_are_served()

    def test_a_steady_reader_gets_everything(self):
        size = 24 << 20
        self.backend.begin(Script(answers=(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size),)))
        link = self.connect(receive_buffer=65536)
        link.sendall(get())
        link.settimeout(30)
        idle = self.connect()
        got = 0
        while got < size:
            data = link.recv(1 << 20)
            self.assertTrue(data, f"ended after {got} bytes")
            got += len(data)
            if got < 4 << 20:
                select.select([idle], [], [], 0.05)  # for more than a window it takes little at a time
        self.assertGreaterEqual(got, size)


if __name__ == "__main__":
    unittest.main()
