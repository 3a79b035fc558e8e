"""TCP routes chosen by the name that a TLS client says, with TLS passed through to services that end it themselves."""

import json
import socket
import socketserver
import ssl
import threading
import unittest
from pathlib import Path

from harness import STEADY_CHECK, RealProcesses, free_ports, patience, request, wait_until, whole_lines

FILES = Path(__file__).parent / "tls"


class Service:
    """Ends TLS, says its name, gives back what it gets."""

    def __init__(self, name, certificate):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(FILES / f"{certificate}.pem", FILES / f"{certificate}.key")

        class Echo(socketserver.BaseRequestHandler):
            def handle(self):
                try:
                    with context.wrap_socket(self.request, server_side=True) as secure:
                        secure.sendall(name.encode() + b"\n")
                        while data := secure.recv(65536):
                            secure.sendall(data)
                except OSError:
                    pass  # the client has had enough

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads, allow_reuse_address = True, True

        self.server = Server(("127.0.0.1", 0), Echo)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class TcpNames(RealProcesses):
    def service(self, name, certificate="site"):
        made = Service(name, certificate)
        self.addCleanup(made.close)
        return made

    def start(self, listen):
        instance = self.make_instance()
        self.entry, self.http = (f"127.0.0.1:{port}" for port in free_ports(2))
        ports, config = self.single_config("n1", f"""
[service]
address = "{instance.address}"
[service.health]
every = "100ms"
timeout = "100ms"
{STEADY_CHECK}
[access_log]
to = "file"
file = "{self.folder}/access.log"
[proxy]
head_timeout = "12s"
[[listen]]
address = "{self.http}"
[[listen]]
address = "{self.entry}"
{listen}""")
        self.start_agent("n1", config=config)
        self.api = f"127.0.0.1:{ports['api']}"
        self.wait_status(self.api, "/outrigger/v1/health/ready", 200)
        wait_until(lambda: request(self.http, "GET", "/x")[0] == 200, 10, "an endpoint")

    def socket(self):
        host, port = self.entry.rsplit(":", 1)
        made = socket.create_connection((host, int(port)), timeout=20 * patience())
        self.addCleanup(made.close)
        return made

    def connect(self, name, trust=False):
        context = ssl.create_default_context(cafile=FILES / "ca.pem") if trust else ssl._create_unverified_context()
        return context.wrap_socket(self.socket(), server_hostname=name)

    def answer(self, name):
        """@return who answers, or None for a connection that is broken off."""
        try:
            with self.connect(name) as secure:
                return secure.makefile("rb").readline().decode().strip()
        except (ConnectionError, ssl.SSLError):
            return None

    def hellos(self, result):
        start = f'outrigger_tcp_client_hellos_total{{result="{result}"}}'
        return sum(int(float(line.split()[-1])) for line in request(self.api, "GET", "/metrics")[2].decode().splitlines() if line.startswith(start))

    def tcp_lines(self):
        lines = [json.loads(line) for line in whole_lines(self.folder / "access.log")]
        return [line for line in lines if line["method"] == "TCP"]

    def routes(self, *entries):
        return "".join(f'[[listen.sni]]\nname = "{name}"\nserver_names = {json.dumps(names)}\npool = "all"\nto = "{service.address}"\n'
                       for name, names, service in entries)

    def test_the_name_leads_to_the_service_that_has_its_certificate(self):
        one, two = self.service("one"), self.service("two", "wild")
        self.start(self.routes(("one", ["site.example"], one), ("two", ["*.site.example"], two)))
        # Checked against the service's own certificate.
        with self.connect("site.example", trust=True) as secure, secure.makefile("rwb") as stream:
            self.assertEqual(stream.readline(), b"one\n")
            for size in (1, 100_000):
                stream.write(b"x" * size)
                stream.flush()
                self.assertEqual(stream.read(size), b"x" * size)
        self.assertEqual(self.answer("SITE.example"), "one")
        self.assertEqual(self.answer("a.site.example"), "two")
        self.assertEqual(self.hellos("named"), 3)
        tcp = wait_until(lambda: self.tcp_lines()[2:] and self.tcp_lines(), 10, "three lines")
        self.assertEqual({(line["host"], line["route"], line["endpoint"]) for line in tcp},
                         {("site.example", "one", one.address), ("a.site.example", "two", two.address)})
        self.assertTrue(all(line["outcome"] == "tunnelled" and line["bytes_in"] > 100 and line["bytes_out"] > 100 for line in tcp), tcp)

    def test_what_names_nobody_is_refused_and_counted(self):
        self.start(self.routes(("one", ["site.example"], self.service("one"))))
        self.assertIsNone(self.answer("other.example"))
        self.assertIsNone(self.answer(None))
        self.assertEqual(self.hellos("unknown"), 2)
        plain = self.socket()
        plain.sendall(b"GET / HTTP/1.1\r\nHost: site.example\r\n\r\n")
        with self.assertRaises(ConnectionResetError):
            plain.recv(1)
        self.assertEqual(self.hellos("malformed"), 1)
        silent = self.socket()
        silent.sendall(b"\x16\x03\x01")
        with self.assertRaises(ConnectionResetError):
            silent.recv(1)  # within head_timeout
        self.assertEqual(self.hellos("timed_out"), 1)
        self.socket().close()
        wait_until(lambda: self.hellos("closed") == 1, 10, "the one who went")
        self.assertEqual(self.answer("site.example"), "one")

    def test_a_route_for_all_others_and_a_hello_in_pieces(self):
        rest = self.service("rest")
        self.start(f'tcp = {{ name = "rest", pool = "all", to = "{rest.address}" }}\n' + self.routes(("one", ["site.example"], self.service("one"))))
        self.assertEqual(self.answer("other.example"), "rest")
        self.assertEqual(self.answer(None), "rest")
        self.assertEqual(self.hellos("fallback"), 2)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secure = ssl._create_unverified_context().wrap_bio(incoming, outgoing, server_hostname="site.example")
        with self.assertRaises(ssl.SSLWantReadError):
            secure.do_handshake()
        connection = self.socket()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in outgoing.read():
            connection.sendall(bytes([byte]))
        done = False
        while not done:
            incoming.write(connection.recv(65536) or self.fail("closed within the handshake"))
            try:
                secure.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
        connection.sendall(outgoing.read())
        said = b""
        while not said.endswith(b"\n"):
            try:
                said += secure.read(100)
            except ssl.SSLWantReadError:
                incoming.write(connection.recv(65536) or self.fail("closed before the name"))
        self.assertEqual(said, b"one\n")


if __name__ == "__main__":
    unittest.main()
