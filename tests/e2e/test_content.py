"""What routes make of heads and bodies, through the real agent: headers, the body limit, files, gzip; over two workers."""

import gzip
import http.client
import os
import socket
import threading
import unittest
import zlib

from harness import RealProcesses, patience, raw_exchange, request, wait_until

ROUTES = """
[[route]]
name = "files"
path = "/static"
static = {{ root = "{root}", cache = "8760h", cache_control = "public, no-transform" }}
[[route]]
name = "app"
path = "/app"
static = {{ root = "{root}", spa = "index.html" }}
response_headers = {{ preset = "security", csp = "default-src 'self'" }}
[[route]]
name = "small"
path = "/small"
pool = "all"
body_max = "1KiB"
[[route]]
name = "packed"
path = "/packed"
pool = "all"
compress = {{ level = 6, min = 1000, types = ["application/json", "text/plain"] }}
[[route]]
name = "quotes"
path = "/quotes"
pool = "all"
timeouts = {{ first_byte = "120s" }}
cache = {{ ttl = "60s", stale_if_error = "1h", wait = "120s" }}
[[route]]
name = "rest"
path = "/"
pool = "all"
request_headers = {{ set = ["X-Client: {{client}} via {{node}} {{scheme}}"], del = ["Cookie"] }}
response_headers = {{ preset = "security", csp = "default-src 'self'", set = ["X-Request-Id: {{request_id}}"] }}
"""
SECURITY = {"x-frame-options": "DENY", "x-content-type-options": "nosniff", "x-xss-protection": "1; mode=block",
            "referrer-policy": "strict-origin-when-cross-origin", "content-security-policy": "default-src 'self'"}


class Content(RealProcesses):
    def setUp(self):
        super().setUp()
        self.root = self.folder / "www"
        (self.root / "sub").mkdir(parents=True)
        (self.root / "index.html").write_text("<html>app</html>")
        (self.root / "app.js").write_text("let x = 1;\n" * 100)
        (self.root / "big.bin").write_bytes(bytes(i % 251 for i in range(1_000_000)))
        (self.folder / "secret.txt").write_text("secret")
        (self.root / "out").symlink_to(self.folder / "secret.txt")
        (self.root / "in").symlink_to("app.js")
        (self.root / ".env").write_text("secret")
        os.mkfifo(self.root / "pipe")
        self.start_behind(f"[proxy]\nthreads = 2\n{ROUTES.format(root=self.root)}", every="1s")

    def ask(self, path, method="GET", body=None, **headers):
        host, port = self.proxy.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=120 * patience())
        try:
            connection.request(method, path, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def serve(self, path, handler):
        """The instance answers GET `path` by `handler(this)`."""
        cls = self.instance.server.RequestHandlerClass
        plain = cls.do_GET
        cls.do_GET = lambda this: handler(this) if this.path == path else plain(this)

    # --- headers
    def test_headers_are_set_and_deleted(self):
        _, fields, body = self.ask("/x", Cookie="s=1", X_Client="liar")
        seen = self.instance.requests()[-1]["headers"]
        self.assertEqual(seen["x-client"], "127.0.0.1 via n1 http")
        self.assertNotIn("cookie", seen)
        self.assertEqual(fields["x-request-id"], seen["x-request-id"])

    def test_guide_000_and_003_security_headers_on_200_404_and_502(self):
        def status(code):
            def answer(this):
                this.send_response(code)
                this.send_header("Content-Length", "0")
                this.end_headers()
            return answer
        self.serve("/missing", status(404))
        self.serve("/broken", lambda this: this.wfile.write(b"nonsense\r\n\r\n"))
        for path, wanted in (("/x", 200), ("/missing", 404), ("/broken", 502), ("/app/deep/link", 200)):
            code, fields, _ = self.ask(path)
            self.assertEqual(code, wanted, path)
            self.assertEqual({k: fields.get(k) for k in SECURITY}, SECURITY, path)

    # --- body limit
    def test_guide_003_client_max_body_size_50M(self):
        head = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
        answer, closed = raw_exchange(self.proxy, head % (51 << 20))
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer[:100])
        self.assertTrue(closed, "what follows is not read")
        self.assertEqual(self.ask("/x", "POST", body=b"x" * (1 << 20))[0], 200)

    def test_body_limit_of_a_route_by_length_and_by_chunks(self):
        self.assertEqual(self.ask("/small", "PUT", body=b"x" * 1024)[0], 200)
        self.assertEqual(self.ask("/small", "PUT", body=b"x" * 1025)[0], 413)
        chunks = b"PUT /small HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + b"200\r\n" + b"x" * 512 + b"\r\n"
        answer, _ = raw_exchange(self.proxy, chunks + b"200\r\n" + b"x" * 512 + b"\r\n1\r\nx\r\n0\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer[:100])

    # --- files
    def test_guide_003_static_expires_1y_and_spa(self):
        code, fields, body = self.ask("/static/app.js")
        self.assertEqual((code, body), (200, (self.root / "app.js").read_bytes()))
        self.assertEqual(fields["cache-control"], "public, no-transform, max-age=31536000")
        self.assertEqual(fields["content-type"], "text/javascript; charset=utf-8")
        code, again, body = self.ask("/static/app.js", If_None_Match=fields["etag"])
        self.assertEqual((code, body), (304, b""))
        self.assertEqual(self.ask("/static/app.js", If_Modified_Since=fields["last-modified"])[0], 304)
        code, fields, body = self.ask("/app/positions/7")
        self.assertEqual((code, body, fields["cache-control"]), (200, b"<html>app</html>", "no-cache"))
        self.assertEqual(self.ask("/static/positions/7")[0], 404)

    def test_nothing_but_files_of_the_folder(self):
        for path in ("/static/out", "/static/.env", "/static/%2e%2e/secret.txt", "/static/..%2fsecret.txt", "/static/pipe", "/static/sub/",
                     "/static/app.js/", "/static/%2e%2e%2f%2e%2e%2fetc/passwd", "/static/x%00"):
            code, fields, body = self.ask(path)
            if code == 200:  # a path that leads out of the route belongs to another one, which asks the instance
                self.assertIn("x-request-id", fields, path)
            else:
                self.assertIn(code, (400, 404), path)
            self.assertNotEqual(body, b"secret", path)
        self.assertEqual(self.ask("/static/in")[0], 200, "a link that stays beneath the root is followed")
        self.assertEqual(self.ask("/static/app.js", "POST", body=b"x")[0], 405)
        self.assertEqual(self.ask("/static/sub")[1]["location"], "/static/sub/")

    def test_large_files_ranges_and_head(self):
        whole = (self.root / "big.bin").read_bytes()
        code, fields, body = self.ask("/static/big.bin")
        self.assertEqual((code, body == whole), (200, True))
        code, fields, body = self.ask("/static/big.bin", Range="bytes=999000-")
        self.assertEqual((code, fields["content-range"], body == whole[999000:]), (206, "bytes 999000-999999/1000000", True))
        code, fields, body = self.ask("/static/big.bin", "HEAD")
        self.assertEqual((code, fields["content-length"], body), (200, "1000000", b""))
        self.assertEqual(self.ask("/static/big.bin", Range="bytes=1000000-")[0], 416)

    def test_precompressed(self):
        packed = gzip.compress((self.root / "app.js").read_bytes())
        (self.root / "app.js.gz").write_bytes(packed)
        _, fields, body = self.ask("/static/app.js", Accept_Encoding="gzip")
        self.assertEqual((fields["content-encoding"], body), ("gzip", packed))
        self.assertNotIn("content-encoding", self.ask("/static/app.js")[1])

    def test_a_file_that_is_cut_while_it_is_sent_is_not_taken_for_whole(self):
        path = self.root / "huge.bin"
        with open(path, "wb") as file:
            file.truncate(256 << 20)
        host, port = self.proxy.split(":")
        with socket.create_connection((host, int(port)), timeout=30 * patience()) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            connection.sendall(b"GET /static/huge.bin HTTP/1.1\r\nHost: h\r\n\r\n")
            received = len(connection.recv(65536))
            os.truncate(path, 1 << 20)
            with self.assertRaises(ConnectionResetError):
                while piece := connection.recv(1 << 20):
                    received += len(piece)
            self.assertLess(received, 256 << 20)
        self.assertEqual(self.ask("/static/app.js")[0], 200)

    # --- gzip
    def test_guide_003_gzip_999_plain_1001_packed(self):
        def page(count):
            def answer(this):
                this.send_response(200)
                this.send_header("Content-Type", "text/plain")
                this.send_header("Content-Length", str(count))
                this.end_headers()
                this.wfile.write(b"x" * count)
            return answer
        self.serve("/packed/999", page(999))
        self.serve("/packed/1001", page(1001))
        _, fields, body = self.ask("/packed/999", Accept_Encoding="gzip")
        self.assertEqual((fields.get("content-encoding"), len(body)), (None, 999))
        _, fields, body = self.ask("/packed/1001", Accept_Encoding="gzip")
        self.assertEqual((fields["content-encoding"], gzip.decompress(body)), ("gzip", b"x" * 1001))
        self.assertEqual(fields["vary"], "Accept-Encoding")
        self.assertEqual(len(self.ask("/packed/1001")[2]), 1001)
        wait_until(lambda: self.metric('outrigger_compressed_total{route="packed"}') == 1, 5, "the counter")

    def test_guide_003_events_and_websockets_are_never_compressed(self):
        gate = threading.Event()
        self.addCleanup(gate.set)

        def events(this):
            this.send_response(200)
            this.send_header("Content-Type", "text/event-stream")
            this.end_headers()
            this.wfile.write(b"data: 1\n\n")
            this.wfile.flush()
            gate.wait(100)
            this.close_connection = True
        self.serve("/packed/events", events)
        host, port = self.proxy.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60 * patience())
        self.addCleanup(connection.close)
        connection.request("GET", "/packed/events", headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        self.assertIsNone(answer.getheader("Content-Encoding"))
        self.assertEqual(answer.read(9), b"data: 1\n\n", "an event leaves at once")

    def test_a_slow_body_is_flushed_while_it_is_packed(self):
        gate = threading.Event()
        self.addCleanup(gate.set)

        def slow(this):
            this.send_response(200)
            this.send_header("Content-Type", "text/plain")
            this.send_header("Transfer-Encoding", "chunked")
            this.end_headers()
            this.wfile.write(b"5\r\nfirst\r\n")
            this.wfile.flush()
            gate.wait(100)
            this.wfile.write(b"6\r\nsecond\r\n0\r\n\r\n")
        self.serve("/packed/slow", slow)
        host, port = self.proxy.split(":")
        unpacker = zlib.decompressobj(31)
        connection = http.client.HTTPConnection(host, int(port), timeout=60 * patience())
        self.addCleanup(connection.close)
        connection.request("GET", "/packed/slow", headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        got = b""
        while len(got) < len(b"first"):
            got += unpacker.decompress(answer.read1(1000) or self.fail(f"ended behind {got}"))
        self.assertEqual(got, b"first", "before the rest is there")
        gate.set()
        self.assertEqual(unpacker.decompress(answer.read()), b"second")

    # --- cache
    def test_guide_004_market_data_60s_100_gets_one_upstream_hit(self):
        inside, gate, count = threading.Event(), threading.Event(), []

        def quote(this):
            count.append(1)
            inside.set()
            gate.wait(100)
            this.reply(200, {"price": len(count)})
        self.serve("/quotes/X", quote)
        answers, threads = [], [threading.Thread(target=lambda: answers.append(self.ask("/quotes/X"))) for _ in range(100)]
        self.addCleanup(gate.set)
        for thread in threads:
            thread.start()
        self.assertTrue(inside.wait(30 * patience()))
        collapsed = 'outrigger_cache_requests_total{result="collapsed"}'
        wait_until(lambda: self.metric(collapsed) == 99, 15, "all of them waiting, whatever worker they met")
        gate.set()
        for thread in threads:
            thread.join(60 * patience())
        self.assertEqual([(status, body) for status, _, body in answers], [(200, b'{"price": 1}')] * 100)
        self.assertEqual(len(count), 1)
        _, fields, _ = self.ask("/quotes/X")
        self.assertRegex(fields["cache-status"], r"^outrigger; hit; ttl=\d+$")
        self.assertLess(int(fields["age"]), 60)
        self.assertEqual(self.ask("/quotes/X", Cookie="s=1")[2], b'{"price": 2}', "a cookie passes by")
        code, out, err = self.run_cli("cache", "purge", "--route", "quotes", "--prefix", "/quotes/", "-o", "json", api=self.api)
        self.assertEqual(code, 0, out + err)
        self.assertIn('"purged": 1', out)
        self.assertEqual(self.ask("/quotes/X")[2], b'{"price": 3}')
        self.assertEqual(self.run_cli("cache", "purge", "--route", "rest", api=self.api)[0], 1)

    def metric(self, line):
        for found in request(self.api, "GET", "/metrics")[2].decode().splitlines():
            if found.startswith(line + " "):
                return float(found.rsplit(" ", 1)[1])
        return None


class Refused(RealProcesses):
    def test_validate_names_the_key_and_the_fix(self):
        cases = {
            'request_headers = { set = ["Content-Length: 1"] }': ("route[0].request_headers.set", "frames"),
            'request_headers = { set = ["X-A: {cleint}"] }': ("route[0].request_headers.set", "{client}"),
            'response_headers = { set = ["X-A: a\\r\\nX-B: b"] }': ("route[0].response_headers.set", "line end"),
            'response_headers = { del = ["Connection"] }': ("route[0].response_headers.del", "hop"),
            'response_headers = { set = ["A: 1", "a: 2"] }': ("route[0].response_headers.set", "twice"),
            'response_headers = { csp = "x" }': ("route[0].response_headers.csp", "preset"),
            'body_max = "5 MB"': ("route[0].body_max", "MiB"),
            'static = { root = "/nonexistent/www" }': ("route[0].static.root", "no folder"),
            'static = { root = "/" }': ("route[0].pool", "remove pool"),
            'static = { root = "/", spa = "../x" }': ("route[0].static.spa", "beneath root"),
            "static = { }": ("route[0].static.root", "add root"),
            'compress = { types = ["text/event-stream"] }': ("route[0].compress.types", "never"),
            "compress = { level = 10 }": ("route[0].compress.level", "9"),
            'cache = { ttl = "1 year" }': ("route[0].cache.ttl", "units"),
            'cache = { wait = "10m" }': ("route[0].cache.wait", "300s"),
        }
        for line, words in cases.items():
            with self.subTest(line):
                self.assert_refused(f'[[route]]\npath = "/"\npool = "all"\n{line}\n', *words)


if __name__ == "__main__":
    unittest.main()
