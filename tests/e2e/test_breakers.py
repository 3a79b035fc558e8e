"""A circuit breaker through the real agent: three time-outs, then nobody is bothered, then one probe."""

import http.client
import threading
import time
import unittest

from harness import RealProcesses, patience, request, wait_until

FIRST_BYTE_SECONDS = 0.5
ROUTES = f"""
[[route]]
name = "calls"
path = "/calls"
pool = "all"
retry = false
timeouts = {{ first_byte = "{FIRST_BYTE_SECONDS}s" }}
breaker = {{ fail = 3, window = "1h", open = "OPEN", on = ["connect", "timeout"] }}
[[route]]
path = "/"
pool = "all"
[outlier]
consecutive = 0
"""


class Breakers(RealProcesses):
    def start(self, open_for):
        self.start_behind(f"[proxy]\nthreads = 2\n{ROUTES}".replace("OPEN", open_for), every="500ms")
        self.gate = threading.Event()
        self.addCleanup(self.gate.set)
        handler = self.instance.server.RequestHandlerClass
        plain = handler.do_GET
        self.reached = []

        def held(this):
            if this.path == "/calls":
                self.reached.append(this)
                self.gate.wait(120)
            plain(this)
        handler.do_GET = held

    def ask(self):
        """@return (status, body, seconds)"""
        host, port = self.proxy.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10 * patience())
        began = time.monotonic()
        try:
            connection.request("GET", "/calls")
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), time.monotonic() - began
        finally:
            connection.close()

    def metric(self, name):
        for line in request(self.api, "GET", "/metrics")[2].decode().splitlines():
            if line.startswith(name):
                return float(line.rsplit(" ", 1)[1])
        return None

    def test_guide_001_three_timeouts_then_nothing(self):
        self.start("1h")
        self.assertEqual([self.ask()[0] for _ in range(3)], [504] * 3)
        wait_until(lambda: len(self.reached) == 3, 10, "the three at the instance")
        answers = [self.ask() for _ in range(8)]
        self.assertEqual([status for status, _, _ in answers], [503] * 8, "at both workers")
        self.assertIn("breaker_open", answers[0][1])
        self.assertLess(min(seconds for _, _, seconds in answers), FIRST_BYTE_SECONDS, "nobody is waited for")
        self.assertEqual(len(self.reached), 3, "the instance has seen none of them")
        self.assertEqual(self.metric('outrigger_breaker_state{route="calls"'), 1)
        self.assertEqual(self.metric('outrigger_breaker_opened_total{route="calls"'), 1)
        self.assertEqual(self.metric('outrigger_route_refused_total{route="calls",reason="breaker"}'), 8)

    def test_guide_001_after_a_while_one_probe_at_a_time(self):
        self.start("1500ms")
        self.assertEqual([self.ask()[0] for _ in range(3)], [504] * 3)
        self.gate.set()
        answers = []

        def closed():
            answers.append(self.ask()[0])
            return answers[-1] == 200
        wait_until(closed, 10, "the probe to close it")
        probes = len(answers) - answers.count(503)  # one, unless the machine stood still for longer than its first byte may take
        wait_until(lambda: len(self.reached) == 3 + probes, 10, "each probe at the instance, and nothing else")
        self.assertNotIn(503, [self.ask()[0] for _ in range(4)], "it is closed, whether or not the instance is in time")
        self.assertEqual(self.metric('outrigger_breaker_state{route="calls"'), 0)


class Refused(RealProcesses):
    def test_validate_names_the_key_and_the_fix(self):
        cases = {
            'balance = "ring-hash"': ("route[0].balance", "ring_hash"),
            'hash = "header:X"': ("route[0].hash", "ring_hash"),
            'balance = "ring_hash"\nhash_load = 50': ("route[0].hash_load", "125"),
            'queue = { timeout = "1s" }': ("route[0].queue", "max_conns"),
            'breaker = { on = ["slow"] }': ("route[0].breaker.on", "timeout"),
            "breaker = { fial = 3 }": ("route[0].breaker.fial", "fail"),
        }
        for lines, words in cases.items():
            with self.subTest(lines):
                self.assert_refused(f'[[route]]\npath = "/"\npool = "all"\n{lines}\n', *words)


if __name__ == "__main__":
    unittest.main()
