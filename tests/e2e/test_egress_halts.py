"""Orders to stop at the egress: one broker stops at once and the others go on; what is open is left or reset as the halt says; an old
process that has handed its sockets over hears of them, too."""

import json
import socket
import time

import test_egress
import test_take_over
from cluster import Process
from harness import STEADY_CHECK, RealProcesses, binary, free_ports, get_json, patience, raw_exchange, request, wait_until


def reset_within(connection, seconds):
    """True when the other side resets the connection in time; whatever it says before is read."""
    connection.settimeout(seconds)
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return False


class HaltedEgress(test_egress.EgressTest):
    def start(self):
        service = self.start_lone_trader()
        ports, self.config = self.single_config("n1", f"""
[service]
address = "127.0.0.1:{service}"
lease = "10s"
margin = "1s"
[service.health]
every = "100ms"
timeout = "90ms"
{STEADY_CHECK}
[proxy]
threads = 1
[halt]
account_header = "X-Account"
""" + self.entries(self.market, self.url, self.connect, self.tcp))
        self.api = f"127.0.0.1:{ports['api']}"
        self.agent = self.start_agent("n1", config=self.config)
        self.wait_open()

    def wait_open(self):
        wait_until(lambda: (get_json(self.api, "/outrigger/v1/egress") or {}).get("permit") == "open", 20 * patience(), "the role")

    def order(self, method="POST", headers=None):
        status, _, body = request(f"127.0.0.1:{self.url}", method, "/egress/broker/orders", b"x", headers or {}, timeout=10 * patience())[:3]
        return status, body

    def tunnel(self):
        """@return an open tunnel to the exchange."""
        made = socket.create_connection(("127.0.0.1", self.connect), timeout=10 * patience())
        self.addCleanup(made.close)
        made.sendall(f"CONNECT localhost:{self.market.lines_port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.assertTrue(made.recv(200).startswith(b"HTTP/1.1 200 "))
        return made

    def refused_tunnel(self):
        """@return the answer to a tunnel that is refused with 503, else None"""
        answer, _ = raw_exchange(f"127.0.0.1:{self.connect}", f"CONNECT localhost:{self.market.lines_port} HTTP/1.1\r\n\r\n".encode())
        return answer if answer.startswith(b"HTTP/1.1 503 ") else None

    def line(self):
        made = socket.create_connection(("127.0.0.1", self.tcp), timeout=10 * patience())
        self.addCleanup(made.close)
        return made

    def refused_line(self):
        """@return True when a new TCP connection is reset, be it before connect() has told us of it. One that the worker took before it heard
        of the halt is left open."""
        try:
            return reset_within(self.line(), 10)
        except ConnectionResetError:
            return True

    def wait_order(self, status, method="POST", headers=None):
        """Workers are told of a halt or its end beside whoever asked for it. @return the first answer with this status"""
        def answer():
            got = self.order(method, headers)
            return got if got[0] == status else None
        return wait_until(answer, 10 * patience(), f"{status} for a {method}")

    def arrives(self, connection, mode, number):
        connection.sendall(f"{mode} {number} 2 3\n".encode())
        wait_until(lambda: self.market.count(mode, number) == 1, 10 * patience(), f"{mode} {number} at the exchange")

    def halt(self, scope, *more, reason="prices look wrong"):
        code, out, err = self.run_cli("halt", "--scope", scope, "--reason", reason, "--as", "ada", *more, api=self.api)
        self.assertEqual(code, 0, err)

    def resume(self):
        code, _, err = self.run_cli("resume", "--all", "--as", "grace", api=self.api)
        self.assertEqual(code, 0, err)
        wait_until(lambda: not get_json(self.api, "/outrigger/v1/halts")["halts"], 10 * patience(), "nothing halted")
        self.wait_order(200)

    def assert_halted(self, status, body):
        self.assertEqual(status, 503, body)
        said = json.loads(body)
        self.assertEqual(said["code"], "halted")
        for word in ("prices look wrong", "ada", "broker:"):
            self.assertIn(word, said["message"] if "message" in said else body.decode())

    def metric(self, line):
        text = request(self.api, "GET", "/outrigger/v1/metrics")[2].decode()
        return next((float(row.rsplit(" ", 1)[1]) for row in text.splitlines() if row.startswith(line)), None)

    def test_a_halt_of_one_broker_stops_what_is_new_there_and_nothing_else(self):
        self.start()
        tunnel, line = self.tunnel(), self.line()
        self.arrives(tunnel, "connect", 1)
        self.arrives(line, "tcp", 1)
        self.assertEqual(self.order()[0], 200)
        # Requests: orders stop, reads and cancels pass, a tunnel within HTTP does not begin.
        self.halt("broker:broker")
        self.assert_halted(*self.wait_order(503))
        sent = len(self.market.heads)
        self.assert_halted(*self.order())
        self.assertEqual(len(self.market.heads), sent, "nothing of it was sent")
        self.assertEqual(self.order("GET")[0], 200)
        self.assertEqual(self.order("DELETE")[0], 200, "a cancel")
        answer, _ = raw_exchange(f"127.0.0.1:{self.url}", b"GET /egress/broker/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                                 b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 503 ") and b"halted" in answer, answer)
        self.arrives(self.tunnel(), "connect", 2)
        self.arrives(self.line(), "tcp", 2)
        # CONNECT: no new tunnel, the open one is left, since a cancel may be in it.
        self.halt("broker:tunnel")
        answer = wait_until(self.refused_tunnel, 10 * patience(), "no new tunnel")
        self.assert_halted(503, answer.split(b"\r\n\r\n", 1)[1])
        self.arrives(tunnel, "connect", 3)
        self.arrives(self.line(), "tcp", 3)
        # TCP: bytes have no way to be answered, so the connection is reset.
        self.halt("broker:fix")
        wait_until(self.refused_line, 10 * patience(), "no new line")
        self.arrives(line, "tcp", 4)
        for name, count in (("broker", 3), ("tunnel", 1), ("fix", 1)):
            self.assertEqual(self.metric(f'outrigger_egress_refused_total{{egress="{name}",reason="halted"}}'), count)
        self.resume()
        self.arrives(self.tunnel(), "connect", 5)
        self.arrives(self.line(), "tcp", 5)
        # An account, where the request names one.
        self.halt("account:a7")
        self.assertEqual(json.loads(self.wait_order(503, headers={"X-Account": "a7"})[1])["code"], "halted")
        self.assertEqual(self.order(headers={"X-Account": "a8"})[0], 200)
        self.assertEqual(self.order()[0], 200)

    def test_one_that_stops_cancels_resets_what_is_open_and_all_of_it_outlives_the_agent(self):
        self.start()
        tunnel, line = self.tunnel(), self.line()
        self.arrives(tunnel, "connect", 1)
        self.arrives(line, "tcp", 1)
        self.halt("broker:tunnel", "--block-cancels")
        self.assertTrue(reset_within(tunnel, 20 * patience()))
        self.arrives(line, "tcp", 2)
        self.halt("broker:broker", "--block-cancels")
        self.assert_halted(*self.wait_order(503, "DELETE"))
        self.assertEqual(self.order("GET")[0], 200)
        self.halt("global", "--block-cancels", reason="all of it")
        self.assertTrue(reset_within(line, 20 * patience()))
        self.agent.kill()
        self.agent = self.start_agent("n1", config=self.config)
        wait_until(lambda: self.refused_or_none(), 20 * patience(), "the agent is back and refuses")
        self.wait_open()
        self.assertEqual(self.order()[0], 503)
        self.assertEqual(self.order("DELETE")[0], 503)
        self.assertTrue(self.refused_tunnel())
        self.assertTrue(self.refused_line())
        self.assertEqual(self.market.count("tcp", 3), 0)
        self.resume()
        self.arrives(self.tunnel(), "connect", 4)
        self.arrives(self.line(), "tcp", 4)

    def refused_or_none(self):
        try:
            return self.order()[0] == 503
        except OSError:
            return None


class HandedOver(RealProcesses):
    def test_a_process_that_has_handed_its_sockets_over_hears_of_halts(self):
        instance = test_take_over.SlowInstance()
        self.addCleanup(instance.let_go.set)
        entry, line = (f"127.0.0.1:{port}" for port in free_ports(2))
        market = test_egress.Exchange()
        self.addCleanup(market.close)
        ports, config = self.single_config("n1", f"""
[proxy]
threads = 1
head_timeout = "100s"
[service]
address = "{instance.address}"
lease = "10s"
margin = "1s"
[service.health]
every = "100ms"
timeout = "90ms"
{STEADY_CHECK}
[[listen]]
address = "{entry}"
[[listen]]
address = "{line}"
tcp = {{ name = "fix", to = "127.0.0.1:{market.lines_port}", pool = "all" }}
[[upstream]]
name = "desk"
endpoints = [{{ address = "{instance.address}" }}]
[[route]]
path = "/"
pool = "desk"
timeouts = {{ first_byte = "60s" }}
""")
        old = self.start_agent("n1", config=config)
        api = f"127.0.0.1:{ports['api']}"
        self.wait_status(api, "/outrigger/v1/health/ready", 200)
        wait_until(lambda: (get_json(api, "/outrigger/v1/role") or {}).get("serving"), 15 * patience(), "a primary")
        kept, other, stream = (socket.create_connection(tuple(address.split(":")), timeout=10 * patience()) for address in (entry, entry, line))
        for one in (kept, other, stream):
            self.addCleanup(one.close)
        post = b"POST /orders HTTP/1.1\r\nHost: x\r\nX-Outrigger-Epoch: 1\r\nContent-Length: 1\r\n\r\nx"

        def ask(connection, data=post):
            connection.sendall(data)
            got = b""
            while not got.endswith((b"taken", b"}", b"}\n")) and (more := connection.recv(8192)):
                got += more
            return got

        for one in (kept, other):
            self.assertTrue(ask(one).startswith(b"HTTP/1.1 200 "))
        kept.sendall(post[:10])  # within a head: what is idle is closed five seconds after the hand-over
        stream.sendall(b"tcp 1 2 3\n")
        wait_until(lambda: market.count("tcp", 1) == 1, 10 * patience(), "the line at the exchange")
        fresh = Process("n1 successor", [binary(), "agent", "--config", self.folder / "n1" / "outrigger.toml", "--take-over"], self.folder / "successor.log")
        self.loose.append(fresh)
        wait_until(lambda: '"taken_over"' in fresh.log.read_text(errors="replace"), 20 * patience(), "the successor serves")
        self.assertTrue(old.alive(), "it has clients")
        answer = ask(other)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
        code, _, err = self.run_cli("halt", "--scope", "global", "--reason", "prices look wrong", "--as", "ada", "--block-cancels", api=api)
        self.assertEqual(code, 0, err)
        began = time.monotonic()
        self.assertTrue(reset_within(stream, 20 * patience()), "what is open in the old process is reset")
        self.assertTrue(old.alive(), "it has a client")
        answer = ask(kept, post[10:])
        self.assertTrue(answer.startswith(b"HTTP/1.1 503 ") and b"prices look wrong" in answer, answer)
        print(f"\nthe old process stopped {1000 * (time.monotonic() - began):.0f} ms after the halt was answered")
        self.assertIn(old.child.poll(), (None, 0), "it ends when its last client has its answer")
        self.assert_no_crash(fresh)


if __name__ == "__main__":
    import unittest

    unittest.main()
