"""What happens before and around requests: the PROXY protocol, instances on unix sockets, more connections than there are
descriptors, thousands of idle ones."""

import http.server
import json
import os
import resource
import socket
import socketserver
import struct
import threading
import time
import unittest
from pathlib import Path

from harness import STEADY_CHECK, RealProcesses, free_ports, patience, request, sanitized, wait_until

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x82f63b78 if crc & 1 else crc >> 1
    return crc ^ 0xffffffff


def version_2(source, checksum=None, command=0x21):
    addresses = socket.inet_aton(source) + socket.inet_aton("10.0.0.1") + struct.pack(">HH", 4711, 443)
    body = addresses + b"\x03\0\x04" + bytes(4)
    header = SIGNATURE + bytes([command, 0x11]) + struct.pack(">H", len(body)) + body
    return header[:-4] + struct.pack(">I", crc32c(header) if checksum is None else checksum)


def exchange(entry, data, seconds=10):
    """@return what came back until the other side closed, b"" also for a reset"""
    host, port = entry.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=seconds * patience()) as connection:
        received = b""
        try:
            connection.sendall(data)
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionError:
            pass
        return received


GET = b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


class Connections(RealProcesses):
    def start_with(self, instance_address, listen="", service="", extra="", wrap=(), environment=None):
        """@return (process, API, entry) of a lone agent that is ready."""
        entry = f"127.0.0.1:{free_ports(1)[0]}"
        ports, config = self.single_config("n1", f"""
[service]
address = "{instance_address}"
{service}
[service.health]
every = "100ms"
timeout = "100ms"
{STEADY_CHECK}
[[listen]]
address = "{entry}"
{listen}
{extra}""")
        process = self.start_agent("n1", config=config, wrap=wrap, environment=environment)
        api = f"127.0.0.1:{ports['api']}"
        self.wait_status(api, "/outrigger/v1/health/ready", 200)
        return process, api, entry

    def metric(self, api, start):
        text = request(api, "GET", "/metrics")[2].decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(start))

    # --- PROXY protocol ----------------------------------------------------------------------------------------------
    def test_a_balancer_says_for_whom_it_connects(self):
        instance = self.make_instance()
        _, api, entry = self.start_with(instance.address, 'proxy_protocol = { from = ["127.0.0.0/8"], timeout = "4s" }')
        for header in (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n", version_2("192.0.2.8")):
            self.assertIn(b" 200 ", exchange(entry, header + GET).split(b"\r\n")[0])
        self.assertIn(b" 200 ", exchange(entry, b"PROXY UNKNOWN\r\n" + GET).split(b"\r\n")[0])
        self.assertEqual([seen["headers"]["x-forwarded-for"] for seen in instance.requests()], ["192.0.2.7", "192.0.2.8", "127.0.0.1"])
        for broken in (b"", b"PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n", version_2("192.0.2.8", checksum=7)):
            self.assertEqual(exchange(entry, broken + GET), b"", "closed without a word")
        self.assertEqual(len(instance.requests()), 3, "nothing of it reached the instance")
        begun = time.monotonic()
        self.assertEqual(exchange(entry, b"PROXY TCP4 192.0.2.7"), b"")
        self.assertGreater(time.monotonic() - begun, 3.9)
        counts = {result: self.metric(api, f'outrigger_proxy_protocol_headers_total{{result="{result}"')
                  for result in ("told", "local", "malformed", "timed_out")}
        self.assertEqual(counts, {"told": 2, "local": 1, "malformed": 3, "timed_out": 1})

    def test_whoever_is_not_named_is_not_believed(self):
        instance = self.make_instance()
        _, _, entry = self.start_with(instance.address, 'proxy_protocol = { from = ["10.0.0.0/8"] }')
        self.assertIn(b" 400 ", exchange(entry, b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n" + GET).split(b"\r\n")[0])
        self.assertEqual(instance.requests(), [])
        self.assertIn(b" 200 ", exchange(entry, GET).split(b"\r\n")[0], "without a header it is an ordinary client")

    def test_an_instance_that_wants_a_header_gets_one_on_checks_too(self):
        began = []

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                header = self.rfile.readline()
                began.append(header)
                while line := self.rfile.readline():
                    while self.rfile.readline() not in (b"\r\n", b""):
                        pass
                    body = json.dumps({"asked": line.decode()}).encode()
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads, allow_reuse_address = True, True

        server = Server(("127.0.0.1", 0), Handler)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        _, _, entry = self.start_with(f"127.0.0.1:{server.server_address[1]}", service='proxy_protocol = "v1"')
        self.assertIn(b"GET /x", exchange(entry, GET))
        self.assertEqual(set(began), {b"PROXY UNKNOWN\r\n"})

    # --- unix sockets ------------------------------------------------------------------------------------------------
    def test_an_instance_on_a_unix_socket_is_checked_and_served(self):
        path = self.folder / "app.sock"
        seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def address_string(self):
                return "unix"

            def log_message(self, *_arguments):
                pass

            def do_GET(self):
                if self.headers.get("Upgrade") == "websocket":
                    self.send_response(101)
                    self.send_header("Upgrade", "websocket")
                    self.send_header("Connection", "Upgrade")
                    self.end_headers()
                    self.wfile.write(b"ws:" + self.rfile.read(4))
                    self.close_connection = True
                    return
                seen.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            do_POST = do_GET

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

            def process_request(self, connection, address):
                connections.append(connection)
                super().process_request(connection, address)

        connections = []
        server = Server(str(path), Handler)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        _, api, entry = self.start_with(f"unix:{path}")
        self.assertEqual(request(entry, "GET", "/over-unix")[0], 200)
        wait_until(lambda: request(entry, "POST", "/orders", timeout=10)[0] == 200, 15, "an order over the unix socket")
        self.assertIn("/health", seen)
        upgrade = b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nping"
        answer = exchange(entry, upgrade)
        self.assertIn(b" 101 ", answer.split(b"\r\n")[0])
        self.assertTrue(answer.endswith(b"ws:ping"))
        path.unlink()
        server.shutdown()
        server.server_close()
        for connection in connections:  # a program that is gone answers on kept ones neither
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other side was faster
        wait_until(lambda: request(api, "GET", "/outrigger/v1/health/ready")[0] == 503, 10, "the check noticing that it is gone")

    # --- TCP routes --------------------------------------------------------------------------------------------------
    def test_bytes_go_to_the_primary_from_any_agent_and_are_cut_when_it_moves(self):
        services = []

        class Echo(socketserver.StreamRequestHandler):
            def handle(self):
                header = self.rfile.readline()
                self.server.headers.append(header)
                self.wfile.write(f"{self.server.name}\n".encode())
                try:
                    while line := self.rfile.readline():
                        self.wfile.write(line)
                    self.wfile.write(b"goodbye\n")
                except ConnectionError:
                    pass  # cut: what the test is about

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads, allow_reuse_address = True, True

        made = self.make_cluster(3)
        for node in made.nodes:
            server = Server(("127.0.0.1", 0), Echo)
            server.name, server.headers = node.name, []
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            self.addCleanup(server.server_close)
            self.addCleanup(server.shutdown)
            services.append(server)
            node.tcp = f"127.0.0.1:{free_ports(1)[0]}"
            node.config_file()
            (node.folder / "conf.d" / "tcp.toml").write_text(
                f'[[listen]]\naddress = "{node.tcp}"\ntcp = {{ name = "feed", to = "127.0.0.1:{server.server_address[1]}", proxy_protocol = "v1" }}\n')
        made.start()
        self.wait_ready(made)
        holder, epoch = made.wait_agreed(30 * patience())
        talks = []
        for node in made.nodes:
            host, port = node.tcp.rsplit(":", 1)
            connection = socket.create_connection((host, int(port)), timeout=20 * patience())
            self.addCleanup(connection.close)
            stream = connection.makefile("rwb")
            self.assertEqual(stream.readline().decode().strip(), holder, f"through {node.name}")
            stream.write(b"hello\n")
            stream.flush()
            self.assertEqual(stream.readline(), b"hello\n")
            talks.append((connection, stream))
        server = services[[node.name for node in made.nodes].index(holder)]
        self.assertEqual(len(server.headers), 3)
        for (connection, _), header in zip(talks, server.headers):
            source, port = connection.getsockname()
            self.assertIn(f"PROXY TCP4 {source} 127.0.0.1 {port} ".encode(), header)
        talks[0][0].shutdown(socket.SHUT_WR)
        self.assertEqual(talks[0][1].readline(), b"goodbye\n", "one direction has ended, the other goes on")
        code, _, said = self.run_cli("switchover", api=made.node(holder).api)
        self.assertEqual(code, 0, said)
        for _, stream in talks[1:]:
            try:
                self.assertEqual(stream.readline(), b"", "cut")
            except ConnectionResetError:
                pass
        other, _ = made.wait_agreed(30 * patience(), after_epoch=epoch)
        self.assertNotEqual(other, holder)
        def who_answers():
            host, port = made.nodes[0].tcp.rsplit(":", 1)
            with socket.create_connection((host, int(port)), timeout=20 * patience()) as connection:
                try:
                    return connection.makefile("rb").readline().decode().strip()
                except ConnectionResetError:
                    return None  # its proxy has not heard of the new one yet
        self.assertEqual(wait_until(who_answers, 10, "somebody behind the TCP entry"), other)

    # --- descriptors -------------------------------------------------------------------------------------------------
    def cpu_seconds(self, process):
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_without_descriptors_clients_wait_nothing_spins_and_it_recovers(self):
        if sanitized():
            self.skipTest("UBSan opens a pipe to look whether memory can be read; without descriptors it takes every object for a broken one")
        instance = self.make_instance()
        process, api, entry = self.start_with(instance.address, extra="[proxy]\nthreads = 1\n", wrap=("prlimit", "--nofile=160:160"))
        host, port = entry.rsplit(":", 1)
        held = []
        for _ in range(250):  # the kernel's queue takes those that the agent cannot
            held.append(socket.create_connection((host, int(port)), timeout=30))
        self.addCleanup(lambda: [one.close() for one in held])
        time.sleep(0.5)
        before = self.cpu_seconds(process)
        time.sleep(2)
        self.assertLess(self.cpu_seconds(process) - before, 0.5, "accepting pauses instead of failing again and again")
        self.assert_no_crash(process)
        held[0].sendall(GET)
        self.assertTrue(held[0].recv(100).startswith(b"HTTP/1.1 "), "who was let in is answered, be it by a 503 when nothing can be opened")
        for one in held[1:]:
            one.close()
        wait_until(lambda: b" 200 " in exchange(entry, GET).split(b"\r\n")[0], 10, "serving again")
        self.assertEqual(request(api, "GET", "/outrigger/v1/health/live")[0], 200)

    def test_ten_thousand_idle_connections_cost_little_and_hinder_nobody(self):
        count = 10_000
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < count + 2000:
            self.skipTest(f"this user may open {hard} files; it needs {count + 2000}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + 2000 if hard == resource.RLIM_INFINITY else hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        instance = self.make_instance()
        process, api, entry = self.start_with(instance.address, extra=f"[proxy]\nconnections_max = {count + 100}\nthreads = 1\n")
        rss = lambda: int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * resource.getpagesize()  # noqa: E731
        before = rss()
        host, port = entry.rsplit(":", 1)
        held = []
        self.addCleanup(lambda: [one.close() for one in held])
        for number in range(count):
            # One source address has only some 28,000 ports to one destination; several are kinder to the machine.
            held.append(socket.create_connection((host, int(port)), timeout=30, source_address=(f"127.0.1.{1 + number % 8}", 0)))
        wait_until(lambda: self.metric(api, "outrigger_proxy_open_connections") >= count, 20, "all of them accepted")
        per_connection = (rss() - before) / count
        if not sanitized():
            self.assertLess(per_connection, 4096, f"{per_connection:.0f} bytes each")
        self.assertIn(b" 200 ", exchange(entry, GET).split(b"\r\n")[0])
        self.assert_no_crash(process)


if __name__ == "__main__":
    unittest.main()
