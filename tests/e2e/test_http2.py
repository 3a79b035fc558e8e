"""HTTP/2 from outside: clients that others have written (curl, nghttp2, hyper-h2) over TLS with ALPN and without TLS,
then frames made by hand, and clients that mean harm, with bounds on what they cost."""

import asyncio
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

from harness import STEADY_CHECK, RealProcesses, free_ports, patience, request, sanitized, wait_until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "http"))

import h2_floods as raw  # noqa: E402  (found through the line above)

try:
    import h2.config
    import h2.connection
    import h2.events
except ImportError:
    h2 = None

FILES = Path(__file__).parent / "tls"
BIG = b"x" * 300_000


class Backend:
    """An instance that answers at once, with what it was sent; /slow waits, /held for a word, /big is large, /chunks has a trailer."""

    class Link(asyncio.Protocol):
        def __init__(self, owner):
            self.owner, self.rest, self.never = owner, b"", False

        def connection_made(self, transport):
            self.transport = transport
            self.owner.links.add(transport)

        def connection_lost(self, _reason):
            self.owner.links.discard(self.transport)
            self.owner.lost += self.never

        def data_received(self, data):
            self.rest += data
            while (end := self.rest.find(b"\r\n\r\n")) >= 0:
                head = self.rest[:end].decode("latin-1")
                names = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in head.split("\r\n")[1:]}
                if names.get("transfer-encoding") == "chunked":
                    stop = self.rest.find(b"0\r\n\r\n", end)
                    if stop < 0:
                        return
                    body, self.rest = self.rest[end + 4:stop], self.rest[stop + 5:]
                else:
                    size = int(names.get("content-length", 0))
                    if len(self.rest) < end + 4 + size:
                        return
                    body, self.rest = self.rest[end + 4:end + 4 + size], self.rest[end + 4 + size:]
                self.answer(head, body)

        def answer(self, head, body):
            path = head.split(" ", 2)[1]
            if path == "/health":
                body = b'{"status":"healthy"}'
            else:
                self.owner.seen.append((head, len(body)))
            if path == "/slow":
                asyncio.get_running_loop().call_later(1.0, self.reply, b"late")
            elif path == "/held":
                self.owner.held = self
            elif path == "/never":
                self.never = True
            elif path == "/chunks":
                self.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n")
            else:
                self.reply(BIG if path == "/big" else body or b"ok")

        def reply(self, body):
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def __init__(self):
        self.seen, self.lost, self.held = [], 0, None
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(self.loop.create_server(lambda: Backend.Link(self), "127.0.0.1", 0, backlog=4096))
        self.address = "127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]
        self.links = set()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def close(self):
        def end():
            self.server.close()
            for link in list(self.links):
                link.abort()
            self.loop.call_later(0.05, self.loop.stop)  # what they have to say about it
        self.loop.call_soon_threadsafe(end)
        self.thread.join(5)
        self.loop.close()


def context(alpn=("h2",)):
    made = ssl.create_default_context(cafile=FILES / "ca.pem")
    made.set_alpn_protocols(list(alpn))
    return made


class Hyper:
    """hyper-h2 over one TLS connection."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.link = context().wrap_socket(socket.create_connection((host, int(port)), timeout=10 * patience()), server_hostname="site.example")
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.flush()
        self.events = []

    def flush(self):
        self.link.sendall(self.h2.data_to_send())

    def ask(self, path, method="GET", body=None):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [(":method", method), (":scheme", "https"), (":authority", "site.example"), (":path", path)],
                             end_stream=body is None)
        self.flush()
        while body:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(body))
            if room == 0:
                self.read()
                continue
            self.h2.send_data(stream, body[:room], end_stream=room == len(body))
            body = body[room:]
            self.flush()
        return stream

    def read(self):
        data = self.link.recv(65536)
        for event in self.h2.receive_data(data) if data else [None]:
            self.events.append(event)
            if isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.flush()
        return bool(data)

    def answer(self, stream):
        """@return (fields, body, trailers)."""
        def of(kind):
            return [e for e in self.events if isinstance(e, kind) and e.stream_id == stream]
        while not of(h2.events.StreamEnded):
            if of(h2.events.StreamReset) or not self.read():
                return None
        fields = dict(of(h2.events.ResponseReceived)[0].headers)
        trailers = of(h2.events.TrailersReceived)
        return fields, b"".join(e.data for e in of(h2.events.DataReceived)), dict(trailers[0].headers) if trailers else {}


class Http2(RealProcesses):
    def setUp(self):
        super().setUp()
        self.backend = Backend()
        self.addCleanup(self.backend.close)
        self.secure, self.clear, self.old = (f"127.0.0.1:{port}" for port in free_ports(3))
        for name in ("site.pem", "site.key"):
            shutil.copy(FILES / name, self.folder)
        self.process, self.api = self.start_single("n1", f"""
[service]
address = "{self.backend.address}"
[service.health]
every = "100ms"
timeout = "100ms"
{STEADY_CHECK}
rise = 1
[proxy]
threads = 1
head_timeout = "4s"
client_rate_min = "2000B"
client_rate_window = "4s"
[[route]]
path = "/"
pool = "all"
timeouts = {{ first_byte = "120s" }}
[[listen]]
address = "{self.secure}"
tls = {{ certificates = [{{ cert = "{self.folder}/site.pem", key = "{self.folder}/site.key" }}] }}
[[listen]]
address = "{self.clear}"
h2c = true
[[listen]]
address = "{self.old}"
""")
        def served():
            try:
                return request(self.old, "GET", "/probe")[0] == 200
            except OSError:
                return False
        wait_until(served, 15, "the listener serves")
        self.backend.seen.clear()

    def hyper(self):
        made = Hyper(self.secure)
        self.addCleanup(made.link.close)
        return made

    def metric(self, name):
        text = request(self.api, "GET", "/metrics")[2].decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("outrigger_" + name))

    def hand(self, wanted, *frames):
        """A connection by hand. @return what came back until all frames that are `wanted` had come, or it ended. A wanted one is a
        whole frame or its kind."""
        with raw.plain(self.clear)() as link:
            link.settimeout(20 * patience())
            link.sendall(raw.HELLO + b"".join(frames))
            data, got = b"", []
            while not all(any(one in (frame, frame[0]) for frame in got) for one in wanted):
                try:
                    more = link.recv(65536)
                except ConnectionError:
                    break
                if not more:
                    break
                data += more
                got = raw.frames_of(data)[0]
            return got

    @unittest.skipUnless(shutil.which("curl"), "needs curl")
    def test_curl(self):
        def curl(*arguments):
            done = subprocess.run(["curl", "-sS", "--max-time", "60", "-w", "\n%{http_version} %{http_code}", *arguments], check=False,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout.rsplit("\n", 1)
        port = self.secure.rsplit(":", 1)[1]
        tls = ("--cacert", FILES / "ca.pem", "--resolve", f"site.example:{port}:127.0.0.1")
        self.assertEqual(curl(*tls, f"https://site.example:{port}/a"), ["ok", "2 200"])
        self.assertEqual(curl(*tls, "--http1.1", f"https://site.example:{port}/a"), ["ok", "1.1 200"])
        upload = self.folder / "upload"
        upload.write_bytes(BIG)
        body, verdict = curl(*tls, "--data-binary", f"@{upload}", f"https://site.example:{port}/up")
        self.assertEqual((len(body), verdict), (len(BIG), "2 200"))
        self.assertEqual(curl("--http2-prior-knowledge", f"http://{self.clear}/b"), ["ok", "2 200"])
        self.assertEqual(curl(f"http://{self.clear}/b"), ["ok", "1.1 200"])
        self.assertEqual(curl("-I", *tls, f"https://site.example:{port}/big")[1], "2 200")
        refused = subprocess.run(["curl", "-sS", "--http2-prior-knowledge", f"http://{self.old}/"], check=False, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertNotEqual(refused.returncode, 0, "no HTTP/2 without TLS where no setting allows it")
        self.assertTrue(any("Via: 2 outrigger" in head for head, _ in self.backend.seen))

    @unittest.skipUnless(shutil.which("h2load"), "needs h2load")
    def test_h2load_64_connections_32_streams(self):
        done = subprocess.run(["h2load", "-n", "6400", "-c", "64", "-m", "32", f"https://{self.secure}/x"], check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120 * patience())
        self.assertIn("6400 done, 6400 succeeded, 0 failed, 0 errored, 0 timeout", done.stdout)
        self.assertIn("Application protocol: h2", done.stdout)
        wait_until(lambda: self.metric("proxy_h2_streams_open") == 0, 10, "no stream to be left open")

    @unittest.skipUnless(h2, "needs python3-h2")
    def test_streams_bodies_and_trailers(self):
        client = self.hyper()
        slow = client.ask("/slow")
        big, up, chunks = client.ask("/big"), client.ask("/echo", "POST", BIG), client.ask("/chunks")
        self.assertEqual(client.answer(chunks)[1:], (b"abc", {"x-sum": "7"}))
        self.assertEqual(client.answer(big)[1], BIG)
        self.assertEqual(client.answer(slow)[1], b"late", "the slow one holds nobody up")
        self.assertEqual(client.answer(up)[0][":status"], "200")
        self.assertTrue(any(head.startswith("POST /echo") and size >= len(BIG) for head, size in self.backend.seen))
        fields = client.answer(client.ask("/%2"))[0]
        self.assertEqual(fields[":status"], "400")
        self.assertNotIn("connection", fields)

    @unittest.skipUnless(h2, "needs python3-h2")
    def test_a_reset_cancels_and_sigterm_lets_streams_finish(self):
        client = self.hyper()
        never = client.ask("/never")  # its instance will not answer
        wait_until(lambda: len(self.backend.seen) == 1, 5, "the request is there")
        before = self.backend.lost
        client.h2.reset_stream(never)
        client.flush()
        wait_until(lambda: self.backend.lost == before + 1, 5, "the instance's connection is broken off")
        self.process.send(signal.SIGHUP)
        while not any(isinstance(e, h2.events.ConnectionTerminated) for e in client.events):
            self.assertTrue(client.read(), "GOAWAY after a reload")
        again = self.hyper()
        held = again.ask("/held")
        wait_until(lambda: self.backend.held, 5, "the request is there")
        self.process.send(signal.SIGTERM)
        while not any(isinstance(e, h2.events.ConnectionTerminated) for e in again.events):
            self.assertTrue(again.read())
        self.backend.loop.call_soon_threadsafe(self.backend.held.reply, b"late")
        # hyper-h2 takes no more frames after a GOAWAY; the answer is read by hand.
        data = b"".join(iter(lambda: again.link.recv(65536), b""))
        self.assertIn(b"late", data, f"stream {held} finished")
        self.assertEqual(self.wait_exit(self.process)[0], 0)

    def test_hostile_frames(self):
        good = raw.frame(raw.HEADERS, 5, 1, raw.head())
        answer = (raw.DATA, 1, 1, b"ok")
        self.assertIn(answer, self.hand([answer], good))
        resets = {
            "upper case": raw.head(more=[(b"X-A", b"b")]),
            "connection field": raw.head(more=[(b"connection", b"x")]),
            "transfer-encoding": raw.head(more=[(b"transfer-encoding", b"chunked")]),
            "pseudo field behind": raw.field(b"a", b"b") + raw.head(),
            "pseudo field twice": raw.head() + raw.field(b":path", b"/y"),
            "line end in a value": raw.head(more=[(b"a", b"b\r\nhost: evil")]),
            "a length without body": raw.head(more=[(b"content-length", b"4")]),
            "no path": raw.field(b":method", b"GET") + raw.field(b":scheme", b"http") + raw.field(b":authority", b"h"),
        }
        for name, block in resets.items():
            with self.subTest(name):
                reset, answer = (raw.RST, 0, 1, b"\0\0\0\1"), (raw.DATA, 1, 3, b"ok")
                got = self.hand([reset, answer], raw.frame(raw.HEADERS, 5, 1, block), raw.frame(raw.HEADERS, 5, 3, raw.head()))
                self.assertIn(reset, got)
                self.assertIn(answer, got, "others are served")
        ends = {
            "data on an idle stream": raw.frame(raw.DATA, 1, 1, b"x"),
            "even stream": raw.frame(raw.HEADERS, 5, 2, raw.head()),
            "broken HPACK": raw.frame(raw.HEADERS, 5, 1, b"\xff" * 9),
            "continuation without head": raw.frame(raw.CONTINUATION, 4, 1, raw.head()),
            "window over its end": raw.frame(raw.WINDOW, 0, 0, b"\x7f\xff\xff\xff"),
        }
        for name, bytes_ in ends.items():
            with self.subTest(name):
                self.assertIn(raw.GOAWAY, [kind for kind, *_ in self.hand([raw.GOAWAY], bytes_)])
        self.assertTrue(all(head.startswith("GET /x ") for head, _ in self.backend.seen), "nothing else was forwarded")

    def test_a_shut_window_and_half_a_head_are_not_waited_for(self):
        got = self.hand([raw.RST], raw.frame(raw.SETTINGS, 0, 0, b"\0\4\0\0\0\0"), raw.frame(raw.HEADERS, 5, 1, raw.head(path=b"/big")))
        self.assertIn((raw.RST, 0, 1, b"\0\0\0\x0b"), got)
        got = self.hand([raw.GOAWAY], raw.frame(raw.HEADERS, 0, 1, raw.head()))
        self.assertEqual([payload[4:8] for kind, _, _, payload in got if kind == raw.GOAWAY], [b"\0\0\0\x0b"])
        self.assertEqual(self.metric("proxy_slow_readers_total"), 1)
        self.assertEqual(self.metric("proxy_h2_head_timeouts_total"), 1)

    def test_floods_are_cheap_and_others_are_served(self):
        for flood in ("rapid_reset", "continuation", "settings", "empty_data", "tiny_windows"):
            with self.subTest(flood):
                cpu, memory = raw.cost_of(self.process.child.pid)
                began = time.monotonic()
                attack = raw.Attack(raw.plain(self.clear), flood, clients=2, seconds=1.0).go()
                while time.monotonic() - began < 1.0:
                    self.assertEqual(request(self.old, "GET", "/probe")[0], 200)
                attack.wait()
                after_cpu, after = raw.cost_of(self.process.child.pid)
                self.assertEqual(set(attack.codes) - {None}, {raw.CALM}, "sent away with ENHANCE_YOUR_CALM")
                if not sanitized():
                    self.assertLess(after - memory, 48, "MiB")
                print(json.dumps({"flood": flood, "connections": attack.connections, "sent_mb": round(attack.bytes / 1e6, 1),
                                  "cpu_s": round(after_cpu - cpu, 2), "rss_growth_mib": round(after - memory, 1)}), file=sys.stderr)
        self.assertGreater(self.metric("proxy_h2_floods_total"), 4)
        self.assert_no_crash(self.process)


if __name__ == "__main__":
    unittest.main()
