"""What one agent has found out about an endpoint, the others know before they fail requests of their own there."""

import threading
import time
import unittest

from harness import Neighbours, metric, patience, wait_until

ROUTES = """
[proxy]
threads = 2
[[route]]
name = "reads"
path = "/reads"
pool = "all"
balance = "round_robin"
retry = false
[[route]]
name = "calls"
path = "/calls"
pool = "all"
balance = "round_robin"
retry = false
timeouts = { first_byte = "FIRST_BYTE" }
breaker = { fail = 3, window = "1h", open = "OPEN", on = ["timeout"] }
[outlier]
consecutive = 3
window = "1h"
eject = "EJECT"
"""


class Trio(Neighbours):
    """Agents a, b and c with an instance each; clients come to a and b. The instance of c fails whoever comes through a."""

    NAMES = "abc"

    def settings_of(self, name):
        """Agents pass on to their peers what is for those peers' instances. The time-out is to be that of the agent where the request came in."""
        return self.SETTINGS.replace("FIRST_BYTE", "60s" if name == "c" else "3s")

    def setUp(self):
        super().setUp()
        self.spoil(self.instances[2])

    def spoil(self, instance):
        self.sick = threading.Event()
        self.gate = threading.Event()
        self.addCleanup(self.gate.set)
        self.sick.set()
        self.reached = []
        handler = instance.server.RequestHandlerClass
        plain = handler.do_GET

        def spoiled(this):
            entry = this.headers.get("X-Entry")
            if entry:
                self.reached.append(entry)
            if entry == "a" and self.sick.is_set():
                if this.path == "/calls":
                    self.gate.wait(30)
                else:
                    this.send_response(503)
                    this.send_header("Content-Length", "0")
                    this.end_headers()
                    return
            plain(this)
        handler.do_GET = spoiled

    def ask(self, entry, path):
        return super().ask(entry, path, {"X-Entry": entry})[0]

    def breaker(self, node, api):
        return self.endpoints(api)[node]["breaker"]

    def fail_three_times(self, path, status):
        failed = 0
        deadline = time.monotonic() + 30 * patience()
        while failed < 3 and time.monotonic() < deadline:
            failed += self.ask("a", path) == status
        self.assertEqual(failed, 3)


class AvoidedForLong(Trio):
    """What is avoided is avoided for longer than any test lasts."""

    SETTINGS = ROUTES.replace("OPEN", "1h").replace("EJECT", "1h")

    def test_guide_000_what_fails_for_one_agent_is_avoided_by_the_other(self):
        self.fail_three_times("/reads", 503)
        wait_until(lambda: self.endpoints(self.apis[0])["c"]["ejected_for_ms"] > 0, 2, "a to leave c out, whichever worker it was")
        wait_until(lambda: self.endpoints(self.apis[1])["c"]["ejected_for_ms"] > 0, 2 * patience(), "b to hear of it")
        self.assertIn("another agent", self.endpoints(self.apis[1])["c"]["reason"])
        self.reached.clear()
        self.assertEqual([self.ask("b", "/reads") for _ in range(9)], [200] * 9)
        self.assertEqual([self.ask("a", "/reads") for _ in range(9)], [200] * 9)
        self.assertEqual(self.reached, [], "neither sends anything there, nor has b failed a request")
        self.assertGreaterEqual(metric(self.apis[1], 'outrigger_health_words_total{what="heard"}'), 1)

    def test_guide_001_a_breaker_opened_on_a_is_open_on_b(self):
        self.fail_three_times("/calls", 504)
        wait_until(lambda: self.breaker("c", self.apis[0]) == "open", 2, "it to open on a")
        wait_until(lambda: self.breaker("c", self.apis[1]) == "open", 2 * patience(), "it to open on b")
        self.assertEqual(self.breaker("a", self.apis[1]), "closed")
        wait_until(lambda: self.reached.count("a") >= 3, 10, "the three at the instance")
        self.reached.clear()
        self.assertEqual([self.ask("b", "/calls") for _ in range(9)], [200] * 9)
        self.assertEqual(self.reached, [], "b has not bothered it")


class AvoidedForAWhile(Trio):
    """What is avoided is tried again soon."""

    SETTINGS = ROUTES.replace("OPEN", "8s").replace("EJECT", "8s")

    def test_guide_000_being_left_out_ends_by_itself(self):
        self.fail_three_times("/reads", 503)
        wait_until(lambda: metric(self.apis[1], 'outrigger_health_words_total{what="heard"}') >= 1, 10 * patience(), "b to hear of it")
        wait_until(lambda: self.endpoints(self.apis[1])["c"]["ejected_for_ms"] == 0, 10 * patience(), "it to end by itself")

        def reached():
            self.assertEqual(self.ask("b", "/reads"), 200)
            return "b" in self.reached
        wait_until(reached, 10 * patience(), "b to ask it again")

    def test_guide_001_a_breaker_closes_everywhere_after_the_probe(self):
        self.fail_three_times("/calls", 504)
        wait_until(lambda: self.breaker("c", self.apis[1]) != "closed", 2 * patience(), "it to open on b")
        self.reached.clear()
        # It is well again; requests at a make the probe, and its result is everybody's.
        self.sick.clear()
        self.gate.set()
        wait_until(lambda: self.ask("a", "/calls") == 200 and self.breaker("c", self.apis[0]) == "closed", 10 * patience(), "the probe on a")
        wait_until(lambda: self.breaker("c", self.apis[1]) == "closed", 2 * patience(), "it to close on b")
        self.assertNotIn("b", self.reached, "b needed no probe of its own")
        self.assertEqual([self.ask("b", "/calls") for _ in range(6)], [200] * 6)
        wait_until(lambda: "b" in self.reached, 10, "b to ask it again")

    def test_guide_001_an_agent_without_requests_leaves_the_probe_to_another(self):
        self.fail_three_times("/calls", 504)
        self.sick.clear()
        self.gate.set()
        wait_until(lambda: self.breaker("c", self.apis[1]) != "closed", 2 * patience(), "it to open on b")
        self.reached.clear()
        wait_until(lambda: self.ask("b", "/calls") == 200 and self.breaker("c", self.apis[1]) == "closed", 10 * patience(), "b to probe")
        wait_until(lambda: self.breaker("c", self.apis[0]) == "closed" or self.ask("a", "/calls") != 200, 10 * patience(), "a to hear of it")
        wait_until(lambda: self.ask("a", "/calls") == 200 and self.breaker("c", self.apis[0]) == "closed", 10 * patience(), "a to take it back")


if __name__ == "__main__":
    unittest.main()
