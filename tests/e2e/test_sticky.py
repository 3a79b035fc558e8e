"""Sessions through three real agents beside three real instances: one node, whoever is asked; one move when it dies."""

import http.client
import json
import signal
import socket
import time
import unittest

from harness import RealProcesses, get_json, patience, wait_until

ROUTES = """[[route]]
name = "web"
methods = ["GET"]
path = "/positions"
pool = "all"
sticky = { by = "cookie", ttl = "3600s" }
[[route]]
name = "ticks"
methods = ["GET"]
path = "/ws"
pool = "all"
sticky = { by = "cookie", ttl = "3600s", zone = "web" }
[[route]]
name = "keyed"
methods = ["GET"]
path = "/orders"
pool = "all"
sticky = { by = "header:X-Session", ttl = "3600s" }

"""


class Sticky(RealProcesses):
    def setUp(self):
        super().setUp()
        self.made = self.make_cluster()
        text = self.made.config.read_text()
        self.made.config.write_text(text.replace("[[route]]", ROUTES + "[[route]]", 1))
        self.made.start()
        self.wait_ready(self.made)
        for node in self.made.nodes:
            wait_until(lambda n=node: self.passing(n) == 3, 15 * patience(), f"{node.name} sees three instances")

    def passing(self, node):
        upstreams = get_json(node.api, "/outrigger/v1/upstreams")["upstreams"]
        return sum(e["health"] == "passing" for u in upstreams for e in u["endpoints"])

    def ask(self, entry, path="/positions", **headers):
        """@return (name of the node that answered, Set-Cookie) over a connection of its own."""
        host, port = entry.entry.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20 * patience())
        try:
            connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            body = answer.read()
            self.assertEqual(answer.status, 200, body)
            return json.loads(body)["node"], answer.getheader("Set-Cookie")
        finally:
            connection.close()

    def session(self):
        """A new session with our cookie. @return (node, value)"""
        node, cookie = self.ask(self.made.nodes[0])
        self.assertRegex(cookie, r"^outrigger_sticky=[0-9a-f]{32}; Path=/; HttpOnly; SameSite=Lax$")
        return node, cookie.split(";")[0].split("=")[1]

    def through_all(self, value, count):
        return [self.ask(self.made.nodes[i % 3], Cookie=f"outrigger_sticky={value}")[0] for i in range(count)]

    def rows(self):
        return {row["session"]: row["node"] for row in get_json(self.made.nodes[1].api, "/outrigger/v1/sticky?zone=web")["sessions"]}

    def test_guide_002_sessions_stick_to_one_node_through_any_entry_and_move_once(self):
        node, value = self.session()
        self.assertEqual(set(self.through_all(value, 100)), {node})
        others = [self.session() for _ in range(9)]
        for where, other in others:
            self.assertEqual(set(self.through_all(other, 3)), {where})
        wait_until(lambda: len(self.rows()) == 10, 10 * patience(), "ten rows")
        code, out, _ = self.run_cli("sticky", "get", "web", value, api=self.made.nodes[2].api)
        self.assertEqual(code, 0, out)
        self.assertIn(node, out)
        for entry in self.made.nodes:
            wait_until(lambda e=entry: (e.metric("outrigger_sticky_entries") or 0) >= 10, 5 * patience(), "sessions known everywhere")

        dead = self.made.node(node)
        dead.trader.kill()
        moved = [self.ask(self.made.nodes[i % 3], Cookie=f"outrigger_sticky={value}")[0] for i in range(30)]
        self.assertNotIn(node, moved)
        self.assertEqual(len(set(moved)), 1, "it moves once")
        for where, other in others:
            if where != node:
                self.assertEqual(set(self.through_all(other, 3)), {where}, "who is not concerned stays")
        wait_until(lambda: self.run_cli("sticky", "get", "web", value, api=self.made.nodes[0].api)[1].find(moved[0]) >= 0,
                   5 * patience(), "the row of the move")

        dead.start_trader()
        for entry in self.made.nodes:
            wait_until(lambda e=entry: self.passing(e) == 3, 15 * patience(), "the old node is back")
        self.assertEqual(set(self.through_all(value, 30)), {moved[0]}, "and it stays where it moved to")

    def test_guide_004_a_session_outlives_the_entry_node_and_the_node_that_led(self):
        first = {f"alice{i}": self.ask(self.made.nodes[i % 3], "/orders", X_Session=f"alice{i}")[0] for i in range(12)}
        self.assertGreater(len(set(first.values())), 1)
        for name, node in first.items():
            self.assertEqual({self.ask(entry, "/orders", X_Session=name)[0] for entry in self.made.nodes}, {node})
        wait_until(lambda: get_json(self.made.nodes[1].api, "/outrigger/v1/sticky?zone=keyed")["total"] == 12, 10 * patience(), "rows")
        lost = self.made.nodes[0]
        lost.agent.kill()
        lost.trader.kill()
        left = self.made.nodes[1:]
        for entry in left:
            wait_until(lambda e=entry: self.passing(e) == 2, 15 * patience(), "the loss is noticed")
        second = {}
        for name, node in first.items():
            seen = {self.ask(entry, "/orders", X_Session=name)[0] for entry in left + left}
            self.assertEqual(len(seen), 1, f"{name} depends on where it comes in")
            second[name] = seen.pop()
            if node != lost.name:
                self.assertEqual(second[name], node)
        self.assertNotIn(lost.name, second.values())

    def open_ws(self, entry, value):
        """@return (socket, what has come behind the head), or None: refused."""
        host, port = entry.entry.split(":")
        connection = socket.create_connection((host, int(port)), timeout=20 * patience())
        self.addCleanup(connection.close)
        connection.sendall(f"GET /ws/ticks HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                           f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: outrigger_sticky={value}\r\n\r\n".encode())
        got = b""
        while b"\r\n\r\n" not in got:
            piece = connection.recv(65536)
            if not piece:
                return None
            got += piece
        head, rest = got.split(b"\r\n\r\n", 1)
        return (connection, rest) if head.startswith(b"HTTP/1.1 101") else None

    def test_guide_004_a_websocket_of_a_lost_node_is_told_1012_and_resumes_elsewhere(self):
        node, value = self.session()
        self.through_all(value, 6)
        entry = next(n for n in self.made.nodes if n.name != node)
        connection, got = self.open_ws(entry, value)
        while not got:
            got += connection.recv(65536)
        began = time.monotonic()
        self.made.node(node).trader.kill()
        while piece := connection.recv(65536):
            got += piece
        self.assertEqual(got[-17:], b"\x88\x0f\x03\xf4connect again", "close 1012")
        again = None
        while again is None and time.monotonic() - began < 30 * patience():
            again = self.open_ws(entry, value)
        self.assertIsNotNone(again, "resumes")
        self.assertNotEqual(self.ask(entry, Cookie=f"outrigger_sticky={value}")[0], node)

    def test_a_drain_spreads_its_good_byes_and_a_stop_says_them_all(self):
        node, value = self.session()
        connection, got = self.open_ws(self.made.node(node), value)
        self.made.node(node).agent.send(signal.SIGTERM)
        while piece := connection.recv(65536):
            got += piece
        self.assertEqual(got[-17:], b"\x88\x0f\x03\xf4connect again", "close 1012")


class Refused(RealProcesses):
    def test_what_cannot_stick_is_refused_by_name(self):
        for lines, words in {
            'pool = "primary"\nsticky = { by = "ip" }': ("route[0].sticky", "primary"),
            'pool = "all"\nsticky = { by = "path" }': ("route[0].sticky.by", "cookie:"),
            'pool = "all"\nsticky = { ttl = "1h" }': ("route[0].sticky.by", "add by"),
            'pool = "all"\nsticky = { by = "ip", ttl = "10ms" }': ("route[0].sticky.ttl",),
            'pool = "all"\nbalance = "round_robin"\nsticky = { by = "ip" }': ("route[0].balance", "hash"),
            'pool = "all"\nsticky = { by = "ip", tll = "1h" }': ("route[0].sticky.tll", "ttl"),
        }.items():
            with self.subTest(lines):
                self.assert_refused(f'[[route]]\npath = "/"\n{lines}\n', *words)


if __name__ == "__main__":
    unittest.main()
