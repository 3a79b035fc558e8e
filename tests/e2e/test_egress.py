"""Egress: what the service sends to its broker leaves only under the lease, by requests, CONNECT tunnels and TCP; a trader and
an agent that wake from a pause after another was promoted reach the exchange with nothing of their old epoch; an order in the
trader's hands gets there though its agent is being stopped."""

import http.server
import json
import signal
import socket
import socketserver
import ssl
import sys
import threading
import unittest
from pathlib import Path

from harness import STEADY_CHECK, STEADY_RAFT, RealProcesses, as_environment, bytes_waiting, free_ports, get_json, patience, raw_exchange, request, wait_until, whole_lines
from cluster import Process

FILES = Path(__file__).parent / "tls"
HERE = Path(__file__).parent


class Exchange:
    """Remembers which epoch each order was sent under, in the order of arrival. One door takes requests over TLS, one takes lines."""

    def __init__(self):
        self.lock, self.seen, self.heads = threading.Lock(), [], []
        outer = self

        class Orders(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_arguments):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with outer.lock:
                    outer.heads.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
                outer.note("url", int(self.headers.get("X-Epoch", 0)))
                if body.startswith(b"{"):
                    outer.note("url-body", int(json.loads(body)["epoch"]))
                answer = b'{"code":"accepted"}'
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_DELETE = do_POST

        class Lines(socketserver.StreamRequestHandler):
            def handle(self):
                try:
                    for line in self.rfile:
                        words = line.split()
                        if len(words) == 4:
                            outer.note(words[0].decode(), int(words[1]))
                except OSError:
                    pass  # cut, as it should be

        class Https(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_arguments):
                pass

        class Tcp(socketserver.ThreadingTCPServer):
            daemon_threads, allow_reuse_address = True, True

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(FILES / "site.pem", FILES / "site.key")
        self.https, self.lines = Https(("127.0.0.1", 0), Orders), Tcp(("127.0.0.1", 0), Lines)
        self.https.socket = context.wrap_socket(self.https.socket, server_side=True, do_handshake_on_connect=False)
        self.https_port, self.lines_port = self.https.server_address[1], self.lines.server_address[1]
        for server in (self.https, self.lines):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def note(self, mode, epoch):
        with self.lock:
            self.seen.append((mode, epoch))

    def count(self, mode, epoch):
        with self.lock:
            return sum(1 for one in self.seen if one == (mode, epoch))

    def old_ones(self):
        """Whatever came under an epoch after a newer one had been seen, by any way."""
        highest, old = 0, []
        with self.lock:
            for mode, epoch in self.seen:
                if epoch < highest:
                    old.append((mode, epoch, highest))
                highest = max(highest, epoch)
        return old

    def close(self):
        for server in (self.https, self.lines):
            server.shutdown()
            server.server_close()


class EgressTest(RealProcesses):
    def start_lone_trader(self):
        """An exchange, and a trader that reaches it through the three ways of one agent. @return the trader's port"""
        self.market = self.exchange()
        service, self.url, self.connect, self.tcp = free_ports(4)
        self.loose.append(Process("trader", [sys.executable, "-B", HERE / "egress_trader.py", "--port", service, "--url", self.url, "--connect", self.connect,
                                             "--tcp", self.tcp, "--role", "/nonexistent", "--log", "/dev/null", "--target", "x"], self.folder / "trader.out"))
        return service

    def exchange(self):
        made = Exchange()
        self.addCleanup(made.close)
        return made

    def entries(self, exchange, url, connect, tcp, more=""):
        return f"""
[[egress]]
name = "broker"
url = "https://localhost:{exchange.https_port}/v2"
listen = "127.0.0.1:{url}"
epoch_header = "X-Epoch"
tls = {{ ca = "{FILES}/ca.pem", server_name = "site.example" }}
{more}
[[egress]]
name = "tunnel"
connect = ["localhost:{exchange.lines_port}"]
listen = "127.0.0.1:{connect}"
[[egress]]
name = "fix"
to = "127.0.0.1:{exchange.lines_port}"
listen = "127.0.0.1:{tcp}"
"""


class OneTrader(EgressTest):
    def start(self):
        self.market = self.exchange()
        ports = free_ports(3 * 8)
        self.ports = [dict(zip(("api", "gossip", "mesh", "dns", "service", "url", "connect", "tcp"), ports[8 * i:8 * i + 8])) for i in range(3)]
        seeds = ", ".join(f'"127.0.0.1:{one["gossip"]}"' for one in self.ports)
        self.agents, self.traders = [], []
        for i, mine in enumerate(self.ports):
            log, role = self.folder / f"trader{i}.txt", self.folder / f"role{i}"
            trader = Process(f"trader{i}", [sys.executable, "-B", HERE / "egress_trader.py", "--port", mine["service"], "--url", mine["url"],
                                            "--connect", mine["connect"], "--tcp", mine["tcp"], "--role", role, "--log", log,
                                            "--target", f"localhost:{self.market.lines_port}"], self.folder / f"trader{i}.out")
            self.loose.append(trader)
            self.traders.append(trader)
            config = f"""[node]
name = "n{i}"
data_dir = "{self.folder}/n{i}-data"
[api]
listen = "127.0.0.1:{mine['api']}"
[dns]
listen = "127.0.0.1:{mine['dns']}"
[mesh]
gossip_port = {mine['gossip']}
port = {mine['mesh']}
seeds = [{seeds}]
[raft]
bootstrap_expect = 3
[service]
address = "127.0.0.1:{mine['service']}"
lease = "3s"
margin = "1s"
role_file = "{role}"
[service.health]
every = "200ms"
timeout = "150ms"
{STEADY_CHECK}
[proxy]
threads = 1
""" + self.entries(self.market, mine["url"], mine["connect"], mine["tcp"])
            self.agents.append(self.start_agent(f"n{i}", config=config, environment=as_environment(STEADY_RAFT)))
        wait_until(lambda: self.primary() is not None, 30 * patience(), "a primary")

    def role(self, i):
        return get_json(f"127.0.0.1:{self.ports[i]['api']}", "/outrigger/v1/role")

    def primary(self, without=()):
        for i in range(3):
            role = self.role(i) if i not in without else None
            if role and role["role"] == "primary":
                return i, role["epoch"]
        return None

    def words_of(self, i):
        return [line.split(" ", 2) for line in whole_lines(self.folder / f"trader{i}.txt")]

    def test_a_pair_that_wakes_from_a_pause_reaches_nobody(self):
        self.start()
        first, epoch = wait_until(self.primary, 20 * patience(), "a primary")
        modes = ("url", "url-body", "connect", "tcp")
        for mode in modes:
            wait_until(lambda m=mode: self.market.count(m, epoch) >= 20, 20 * patience(), f"orders by {mode}")
        self.agents[first].send(signal.SIGSTOP)
        # The trader goes on into an agent that hangs: bytes wait in every socket on the way.
        wait_until(lambda: all(bytes_waiting(self.ports[first][door]) for door in ("url", "connect", "tcp")), 20 * patience(), "orders at the hung agent")
        self.traders[first].send(signal.SIGSTOP)
        second, newer = wait_until(lambda: self.primary(without=(first,)), 20 * patience(), "another primary")
        self.assertGreater(newer, epoch)
        for mode in modes:
            wait_until(lambda m=mode: self.market.count(m, newer) >= 20, 20 * patience(), f"orders by {mode} of the new primary")
        said = len(self.words_of(first))
        self.traders[first].send(signal.SIGCONT)
        self.agents[first].send(signal.SIGCONT)

        def cut(mode):
            return any(words[0] == mode and words[1] == str(epoch) and "Error" in words[2] for words in self.words_of(first)[said:])

        wait_until(lambda: cut("connect") and cut("tcp"), 15 * patience(), "the tunnels of the old primary to be cut")
        wait_until(lambda: any(words[0] == "url" for words in self.words_of(first)[said:]), 15 * patience(), "its orders to be answered")
        before = self.market.count("url", newer)
        wait_until(lambda: self.market.count("url", newer) > before + 50, 15 * patience(), "trading to go on")
        self.assertEqual(self.market.old_ones(), [])
        # The first may be the answer to an order that was at the exchange before the pause; it lay in the socket.
        answers = [words[2] for words in self.words_of(first)[said:] if words[0] == "url" and words[1] == str(epoch)][1:]
        self.assertFalse([one for one in answers if one.startswith("200")], answers)
        status = get_json(f"127.0.0.1:{self.ports[first]['api']}", "/outrigger/v1/egress")
        self.assertEqual(status["permit"], "not_primary")
        resets = {entry["name"]: entry["counters"]["resets"] for entry in status["egress"]}
        self.assertGreaterEqual(resets["tunnel"], 1)
        self.assertGreaterEqual(resets["fix"], 1)
        self.assertGreaterEqual(resets["broker"], 1)
        self.assertIsNotNone(self.role(second))


class Modes(EgressTest):
    def start(self, more="", prepare=None):
        service = self.start_lone_trader()
        _, self.api = self.start_single("n1", f"""
[service]
address = "127.0.0.1:{service}"
lease = "10s"
margin = "1s"
[service.health]
every = "100ms"
timeout = "90ms"
{STEADY_CHECK}
[access_log]
to = "file"
file = "{self.folder}/access.log"
[proxy]
threads = 1
trails = "64KiB"
""" + self.entries(self.market, self.url, self.connect, self.tcp, more))
        if prepare:
            prepare()
        wait_until(lambda: self.status()["permit"] == "open", 15 * patience(), "the role")

    def status(self):
        return get_json(self.api, "/outrigger/v1/egress")

    def order(self, headers=None, method="POST", path="/orders"):
        status, _, body = request(f"127.0.0.1:{self.url}", method, f"/egress/broker{path}", b"x", headers or {})[:3]
        return status, body

    def test_requests_carry_what_the_service_does_not_hold(self):
        secret = "token-of-the-broker"
        self.start(more='inject = ["Authorization: Bearer kv:secret/broker/token"]')
        status, body = self.order()
        self.assertEqual(status, 503)
        self.assertIn(b"no_credential", body)
        self.assertEqual(self.status()["egress"][0]["fault"], "a credential of inject is not there")
        self.assertEqual(request(self.api, "PUT", "/v1/kv/secret/broker/token", secret.encode())[0], 200)
        wait_until(lambda: self.order(headers={"Authorization": "mine", "X-Mine": "1"})[0] == 200, 10, "an order with the credential")
        head = self.market.heads[-1]
        epoch = self.status()["epoch"]
        self.assertEqual((head["path"], head["authorization"], head["x-mine"], head["x-epoch"]), ("/v2/orders", f"Bearer {secret}", "1", str(epoch)))
        self.assertEqual(head["host"], f"localhost:{self.market.https_port}")
        self.assertFalse({name for name in head if name.startswith(("x-forwarded", "x-outrigger", "forwarded", "via"))})
        self.assertEqual(self.order(headers={"X-Outrigger-Epoch": str(epoch)})[0], 200)
        status, body = self.order(headers={"X-Outrigger-Epoch": str(epoch - 1)})
        self.assertEqual(status, 409)
        self.assertIn(b"old_epoch", body)
        # Nowhere is it written down.
        code, out, err = self.run_cli("egress", "-o", "json", api=self.api)
        self.assertEqual(code, 0, err)
        for text in (out, (self.folder / "access.log").read_text(), (self.folder / "n1" / "agent.log").read_text()):
            self.assertNotIn(secret, text)
        code, out, _ = self.run_cli("egress", api=self.api)
        self.assertEqual(code, 0)
        for word in ("header", "kernel", "broker", "permit open"):
            self.assertIn(word, out)

    def test_tunnels_lead_where_they_are_allowed_to(self):
        self.start()
        answer, _ = raw_exchange(f"127.0.0.1:{self.connect}", b"CONNECT localhost:1 HTTP/1.1\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 403 "), answer)
        answer, _ = raw_exchange(f"127.0.0.1:{self.connect}", b"GET http://localhost/ HTTP/1.1\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 405 "), answer)
        with socket.create_connection(("127.0.0.1", self.connect), timeout=20 * patience()) as tunnel:
            # With its first bytes right behind, as clients do that wait for nobody.
            tunnel.sendall(f"CONNECT LOCALHOST:{self.market.lines_port} HTTP/1.1\r\nHost: x\r\n\r\nconnect 1 2 3\n".encode())
            self.assertTrue(tunnel.recv(100).startswith(b"HTTP/1.1 200 "))
            wait_until(lambda: self.market.count("connect", 1) == 1, 10, "the line")
            self.assertEqual(self.status()["egress"][1]["counters"]["open"], 1)
        status, _, text = request(self.api, "GET", "/outrigger/v1/metrics")[:3]
        self.assertEqual(status, 200)
        self.assertIn(b'outrigger_egress_refused_total{egress="tunnel",reason="unreadable"} 2', text)

    def test_giving_the_role_away_cuts_what_is_open(self):
        self.start()
        self.assertEqual(self.order()[0], 200)
        with socket.create_connection(("127.0.0.1", self.tcp), timeout=20 * patience()) as line:
            line.sendall(b"tcp 1 2 3\n")
            wait_until(lambda: self.market.count("tcp", 1) == 1, 10, "the line")
            self.assertEqual(self.run_cli("drain", api=self.api)[0], 0)
            with self.assertRaises(ConnectionResetError):
                while line.recv(100):
                    pass
        status, body = self.order()
        self.assertEqual(status, 503)
        self.assertIn(b"not_primary", body)
        answer, _ = raw_exchange(f"127.0.0.1:{self.connect}", f"CONNECT localhost:{self.market.lines_port} HTTP/1.1\r\n\r\n".encode())
        self.assertTrue(answer.startswith(b"HTTP/1.1 503 ") and b"not_primary" in answer, answer)

    def test_settings_that_cannot_be_are_refused(self):
        service = '[service]\naddress = "127.0.0.1:9001"\n'
        entry = '[[egress]]\nname = "b"\nlisten = "127.0.0.1:9100"\n'
        for text, words in ((service + entry, ("egress[0].url", "does not say where it leads")),
                            (service + entry + 'url = "https://a"\nto = "b:1"\n', ("one egress has one way",)),
                            (service + entry + 'url = "http://api.broker"\n', ("in the clear",)),
                            (service + entry + 'to = "b:1"\nepoch_header = "X-E"\n', ("a tunnel is bytes",)),
                            (service + entry + 'url = "https://a"\ninject = ["Authorization: hunter2"]\n', ("egress[0].inject", "kv:KEY")),
                            (service + entry + 'connect = ["*.broker:443"]\n', ("no host with a port",)),
                            (service + '[[egress]]\nname = "b"\nlisten = "0.0.0.0:9100"\nto = "b:1"\n', ("insecure = true",)),
                            (entry + 'to = "b:1"\n', ("without [service]",)),
                            (service + "[kernel_permit]\n", ("kernel_permit.exec",))):
            said = self.assert_refused(text, *words)
            self.assertNotIn("hunter2", said)


class SlowTrader:
    """Takes an order, thinks until it is told to go on, and only then calls its broker, by a connection of its own."""

    def __init__(self, egress_port):
        self.taken, self.go_on, outer = threading.Event(), threading.Event(), self

        class Orders(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_arguments):
                pass

            def say(self, status, answer=b"ok"):
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def do_GET(self):
                self.say(200)

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.taken.set()
                outer.go_on.wait(20 * patience())
                try:
                    status, _, answer = request(f"127.0.0.1:{egress_port}", "POST", "/egress/broker/orders", body,
                                                {"X-Outrigger-Epoch": self.headers["X-Outrigger-Epoch"]})[:3]
                    self.say(status, answer)
                except OSError as error:
                    self.say(500, repr(error).encode())

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Orders)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()


class PlannedStop(EgressTest):
    def start(self):
        self.market = self.exchange()
        self.entry, self.url, self.connect, self.tcp = free_ports(4)
        self.trader = SlowTrader(self.url)
        self.addCleanup(self.trader.close)
        self.agent, self.api = self.start_single("n1", f"""
[service]
address = "127.0.0.1:{self.trader.port}"
order_wait = "10s"
[service.health]
every = "100ms"
timeout = "90ms"
{STEADY_CHECK}
[[listen]]
address = "127.0.0.1:{self.entry}"
[[route]]
name = "orders"
path = "/"
pool = "primary"
[proxy]
threads = 2
""" + self.entries(self.market, self.url, self.connect, self.tcp))
        wait_until(lambda: get_json(self.api, "/outrigger/v1/egress")["permit"] == "open", 15 * patience(), "the role")

    def is_closed(self, port):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            return True
        return False

    def stop_with_an_order_in_hand(self, stop):
        self.start()
        answers = []
        order = threading.Thread(target=lambda: answers.append(request(f"127.0.0.1:{self.entry}", "POST", "/orders", b"x", timeout=30 * patience())))
        order.start()
        self.addCleanup(order.join)
        self.assertTrue(self.trader.taken.wait(20 * patience()))
        stop()
        wait_until(lambda: self.is_closed(self.entry), 10 * patience(), "the clients' listener to be closed")
        self.trader.go_on.set()
        order.join()
        self.assertEqual((answers[0][0], answers[0][2]), (200, b'{"code":"accepted"}'))
        self.assertEqual(self.market.count("url", 1), 1)
        self.assertEqual(self.wait_exit(self.agent, 20 * patience())[0], 0)
        self.assertTrue(all(self.is_closed(port) for port in (self.url, self.connect, self.tcp)))

    def test_an_order_in_the_traders_hands_reaches_the_broker(self):
        self.stop_with_an_order_in_hand(lambda: self.agent.send(signal.SIGTERM))

    def test_a_leave_waits_for_it_as_well(self):
        leaving = []
        self.addCleanup(lambda: [one.join() for one in leaving])

        def leave():
            leaving.append(threading.Thread(target=self.run_cli, args=("leave",), kwargs={"api": self.api}))
            leaving[0].start()

        self.stop_with_an_order_in_hand(leave)


if __name__ == "__main__":
    unittest.main()
