"""Rows of the deployment guides about traffic that no other file shows: one agent, one instance each, what a person would try."""

import concurrent.futures
import http.client
import json
import os
import signal
import socket
import threading
import time
import unittest

from harness import RealProcesses, get_json, patience, request, wait_until

ROUTES = """
[[route]]
name = "hung"
path = "/hung"
pool = "all"
[route.timeouts]
first_byte = "300ms"
[[route]]
name = "admin"
path = "/admin"
pool = "all"
allow = ["10.0.0.0/8", "192.168.0.0/16"]
[[route]]
name = "quiet"
path = "/health"
pool = "all"
access_log = false
[[route]]
name = "auth"
path = "/api/auth"
pool = "all"
[route.rate]
limit = "5/s"
burst = 10
nodelay = true
[[route]]
name = "limited"
path = "/flask"
pool = "all"
[route.rate]
limit = "100/m"
[[route]]
name = "rest"
pool = "all"
"""


class Guide(RealProcesses):
    def setUp(self):
        super().setUp()
        self.start(self.make_instance())

    def start(self, instance):
        self.log = self.folder / "access.log"
        self.start_behind(f'[proxy]\nthreads = 2\n[access_log]\nto = "file"\nfile = "{self.log}"\n{ROUTES}', instance, first="/first")
        self.config = self.folder / "n1" / "outrigger.toml"

    def ask(self, path, headers=None, method="GET", connection=None):
        """@return (status, fields, body)"""
        own = connection or http.client.HTTPConnection(self.proxy, timeout=10 * patience())
        try:
            own.request(method, path, headers=headers or {})
            answer = own.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            if connection is None:
                own.close()

    def metric(self, name):
        text = request(self.api, "GET", "/metrics")[2].decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


class OneInstance(Guide):
    def test_guide_000_host_real_ip_and_forwarded_for_reach_the_app_and_spoofed_copies_do_not(self):
        self.ask("/echo", {"Host": "shop.example", "X-Forwarded-For": "6.6.6.6", "X-Real-IP": "6.6.6.6", "X-Forwarded-Proto": "https",
                           "X-Outrigger-Node": "forged", "X-Outrigger-Epoch": "99"})
        seen = [one for one in self.instance.requests() if one["path"] == "/echo"][0]["headers"]
        self.assertEqual((seen["host"], seen["x-real-ip"], seen["x-forwarded-for"], seen["x-forwarded-proto"]),
                         ("shop.example", "127.0.0.1", "127.0.0.1", "http"))
        self.assertEqual(seen["x-outrigger-node"], "n1")
        self.assertEqual(len(seen["x-request-id"]), 32)
        self.assertNotIn("6.6.6.6", json.dumps(seen))
        self.assertNotIn("99", seen.get("x-outrigger-epoch", ""))

    def test_guide_000_a_hung_app_is_504_at_first_byte_and_never_60_s(self):
        hung = threading.Event()
        original = self.instance.server.RequestHandlerClass.handle_any

        def handle(handler):
            if handler.path == "/hung":
                hung.wait(60)
            return original(handler)
        for verb in ("do_GET", "do_POST"):
            setattr(self.instance.server.RequestHandlerClass, verb, handle)
        begun = time.monotonic()
        status, _, body = self.ask("/hung", method="POST")
        took = time.monotonic() - begun
        hung.set()
        self.assertEqual((status, json.loads(body)["code"]), (504, "first_byte_timeout"))
        self.assertGreaterEqual(took, 0.29)

    def test_guide_000_health_access_log_off_and_002_admin_from_inside_only(self):
        self.assertEqual(self.ask("/admin/x")[0], 403)
        quiet = self.ask("/health")[1]["x-request-id"]
        loud = self.ask("/x")[1]["x-request-id"]
        wait_until(lambda: self.log.exists() and loud in self.log.read_text(), 10, "the line of the loud one")
        self.assertNotIn(quiet, self.log.read_text())

    def test_guide_000_20_reloads_under_load_0_errors_and_a_bad_file_is_refused(self):
        stop, faults, served = threading.Event(), [], [0]

        def load():
            connection = http.client.HTTPConnection(self.proxy, timeout=10 * patience())
            while not stop.is_set():
                try:
                    if self.ask("/load", connection=connection)[0] != 200:
                        faults.append("status")
                    served[0] += 1
                except (OSError, http.client.HTTPException) as fault:
                    faults.append(repr(fault))
                    connection.close()
            connection.close()
        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        good = self.config.read_text()
        try:
            for number in range(20):
                last = '[[route]]\nname = "rest"'
                self.config.write_text(good.replace(last, f'[[route]]\npath = "/round{number}"\npool = "all"\n{last}'))
                before, asked = self.metric('outrigger_reloads_total{result="applied"}'), served[0]
                os.kill(self.process.pid, signal.SIGHUP)
                wait_until(lambda b=before: self.metric('outrigger_reloads_total{result="applied"}') > b, 10, f"reload {number}")
                wait_until(lambda a=asked: served[0] >= a + 5 or faults, 10, "requests meanwhile")
            self.config.write_text(good + "[[route]]\npath = 7\n")
            os.kill(self.process.pid, signal.SIGHUP)
            wait_until(lambda: self.metric('outrigger_reloads_total{result="refused"}') == 1, 10, "the refusal")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(faults, [])
        self.assertGreaterEqual(served[0], 100)
        self.assertEqual(self.ask("/x")[0], 200)

    def test_guide_003_auth_5_a_second_burst_10_and_004_100_a_minute(self):
        began, count, passed = time.monotonic(), 0, 0
        with concurrent.futures.ThreadPoolExecutor(20) as clients:  # all at once: one after the other may be slower than 5 a second
            while passed == count:
                passed += list(clients.map(lambda _: self.ask("/api/auth/login")[0], range(20))).count(200)
                count += 20
                self.assertLess(count, 1000, "nobody is refused")
        took = time.monotonic() - began
        self.assertGreaterEqual(passed, 11, "the first and a burst of ten")
        self.assertLessEqual(passed, 11 + int(took * 5) + 1, f"within {took:.3f} s")
        self.assertEqual(self.metric('outrigger_ratelimit_rejected_total{zone="auth"}'), count - passed)
        connection = http.client.HTTPConnection(self.proxy, timeout=10 * patience())
        began = time.monotonic()
        self.assertEqual({self.ask("/flask/x", connection=connection)[0] for _ in range(100)}, {200})
        passed = 100
        while (refused := self.ask("/flask/x", connection=connection))[0] == 200:  # where a minute ends meanwhile, the one before fades
            passed += 1
            self.assertLess(passed, 1000, "nobody is refused")
        took = time.monotonic() - began
        connection.close()
        self.assertEqual(refused[0], 429)
        self.assertLessEqual(passed, 100 + int(took * 100 / 60) + 1, f"within {took:.3f} s")
        self.assertGreater(int(refused[1]["retry-after"]), 0)

    def test_guide_003_keepalive_to_the_app_is_reused_for_more_than_95_of_100(self):
        connection = http.client.HTTPConnection(self.proxy, timeout=10 * patience())
        connects, reuses = self.metric("outrigger_proxy_upstream_connects_total"), self.metric("outrigger_proxy_upstream_reuses_total")
        for _ in range(200):
            self.assertEqual(self.ask("/kept", connection=connection)[0], 200)
        connection.close()
        fresh = self.metric("outrigger_proxy_upstream_connects_total") - connects
        kept = self.metric("outrigger_proxy_upstream_reuses_total") - reuses
        self.assertGreater(kept / (kept + fresh), 0.95)

    def test_guide_002_p50_p95_p99_and_rates_match_what_was_sent(self):
        for _ in range(60):
            self.ask("/measured")
        sent = sum(one["path"] not in ("/health",) and not one["path"].startswith(("/admin", "/hung")) for one in self.instance.requests())

        def of_rest():
            return [one for one in get_json(self.api, "/outrigger/v1/routes")["routes"] if one["name"] == "rest"][0]
        wait_until(lambda: of_rest()["counters"]["responses_2xx"] >= sent, 10, "the last one to be counted")
        rest = of_rest()
        self.assertEqual(rest["counters"]["responses_2xx"], sent)
        self.assertLessEqual(rest["latency"]["p50_ms"], rest["latency"]["p95_ms"])
        self.assertLessEqual(rest["latency"]["p95_ms"], rest["latency"]["p99_ms"])
        self.assertEqual(self.metric('outrigger_route_request_seconds_count{route="rest"}'), sent)


class UnixSocket:
    """An instance on a unix socket that speaks HTTP and agrees to WebSockets, which it echoes."""

    def __init__(self, path):
        self.address = f"unix:{path}"
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            data = b""
            while True:
                while b"\r\n\r\n" not in data:
                    more = connection.recv(65536)
                    if not more:
                        return
                    data += more
                head, data = data.split(b"\r\n\r\n", 1)
                if b"pgrade: websocket" not in head:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix")
                    continue
                connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                                   b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
                while more := connection.recv(65536):
                    connection.sendall(more)
                return

    def close(self):
        self.server.close()


class OverUnixSocket(Guide):
    def make_instance(self):
        instance = UnixSocket(self.folder / "app.sock")
        self.addCleanup(instance.close)
        return instance

    def test_guide_004_a_unix_socket_serves_http_and_websockets(self):
        self.assertEqual(self.ask("/x")[2], b"unix")
        with socket.create_connection(self.proxy.split(":"), timeout=10 * patience()) as client:
            client.sendall(b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
            got = b""
            while b"\r\n\r\n" not in got:
                got += client.recv(4096) or self.fail(f"closed behind {got}")
            self.assertTrue(got.startswith(b"HTTP/1.1 101 "), got)
            frame = b"\x81\x85\x01\x02\x03\x04" + bytes(a ^ b for a, b in zip(b"hello", b"\x01\x02\x03\x04\x01"))
            client.sendall(frame)
            echoed = got.split(b"\r\n\r\n", 1)[1]
            while len(echoed) < len(frame):
                echoed += client.recv(4096) or self.fail(f"closed behind {echoed}")
            self.assertEqual(echoed, frame)
        wait_until(lambda: self.log.exists() and self.instance.address in self.log.read_text(), 10, "its name in the log")


if __name__ == "__main__":
    unittest.main()
