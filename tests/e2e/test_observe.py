"""What an agent tells about requests: access log, request ids, traces, why, tap, routes, upstreams."""

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import unittest

from harness import RealProcesses, answer_of, binary, get_json, metric, patience, request, wait_until, whole_lines

ROUTES = """
[[route]]
name = "quiet"
path = "/quiet"
pool = "all"
access_log = false
[[route]]
name = "closed"
path = "/closed"
pool = "all"
allow = ["10.0.0.0/8"]
[[route]]
name = "orders"
methods = ["POST"]
pool = "primary"
[[route]]
name = "reads"
pool = "all"
"""
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Observed(RealProcesses):
    settings = ""

    def setUp(self):
        super().setUp()
        self.log = self.folder / "access.log"
        self.start_behind(f"[proxy]\nthreads = 2\n{self.settings.format(log=self.log)}\n{ROUTES}", first="/first")
        self.wait_status(self.proxy, "/first", 200)

    def call(self, method, path, headers=None, body=None):
        return answer_of(self.proxy, method, path, headers, body)

    def lines(self, file=None):
        return [json.loads(line) for line in whole_lines(file or self.log)]

    def line_of(self, request_id):
        found = []

        def look():
            found[:] = [line for line in self.lines() if line["request_id"] == request_id]
            return found
        wait_until(look, 10, f"a line for {request_id}")
        return found[0]


class AccessLog(Observed):
    settings = """[access_log]
to = "file"
file = "{log}"
[tracing]
enabled = true
"""

    def test_guide_003_log_format_with_rt_uct_uht_urt(self):
        ids = [self.call("GET", f"/x?token=secret-{n}", {"Authorization": "Bearer hush", "Cookie": "s=hush"}).getheader("X-Request-Id")
               for n in range(5)]
        for one in ids:
            line = self.line_of(one)
            self.assertEqual((line["status"], line["route"], line["node"], line["method"], line["path"]), (200, "reads", "n1", "GET", "/x"))
            self.assertLessEqual(line["urt"], line["rt"])
            self.assertLessEqual(line["uct"], line["uht"])
            self.assertLessEqual(line["uht"], line["urt"])
            self.assertEqual(line["endpoint"], self.instance.address)
            self.assertEqual(line["attempts"], 1)
            self.assertRegex(line["ts"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        whole = self.log.read_text()
        self.assertNotIn("hush", whole)
        self.assertNotIn("secret", whole)

    def test_refusals_say_why_and_routes_can_be_left_out(self):
        refused = self.line_of(self.call("GET", "/closed").getheader("X-Request-Id"))
        self.assertEqual((refused["status"], refused["reason"], refused["urt"]), (403, "address_denied", None))
        quiet = self.call("GET", "/quiet").getheader("X-Request-Id")
        self.line_of(self.call("GET", "/after").getheader("X-Request-Id"))
        self.assertNotIn(quiet, self.log.read_text())
        with socket.create_connection(self.proxy.split(":")) as raw:
            raw.sendall(b"GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n")
            self.assertIn(b" 400 ", raw.recv(4096))
        wait_until(lambda: any(line["status"] == 400 for line in self.lines()), 10, "the malformed one")

    def test_nobody_can_forge_a_line(self):
        one = self.call("GET", "/a%0a%22}", {"Host": "h"})
        line = self.line_of(one.getheader("X-Request-Id"))
        self.assertIn("%0a", line["path"])
        forged = self.call("GET", "/x", {"X-Request-Id": "forged"}).getheader("X-Request-Id")
        self.assertNotEqual(forged, "forged")

    def test_a_moved_file_is_made_anew_and_sighup_opens_it(self):
        self.line_of(self.call("GET", "/one").getheader("X-Request-Id"))
        old = self.folder / "access.log.old"
        os.rename(self.log, old)
        self.line_of(self.call("GET", "/two").getheader("X-Request-Id"))
        self.assertNotIn("/two", old.read_text())
        os.rename(self.log, old)
        self.process.send(signal.SIGHUP)
        self.line_of(self.call("GET", "/three").getheader("X-Request-Id"))

    def test_traces_go_on_under_a_span_of_our_own(self):
        self.call("GET", "/traced", {"traceparent": PARENT, "tracestate": "a=1"})
        seen = [one for one in self.instance.requests() if one["path"] == "/traced"][0]["headers"]
        self.assertEqual(seen["traceparent"][:36], PARENT[:36])
        self.assertNotEqual(seen["traceparent"][36:52], PARENT[36:52])
        self.assertEqual(seen["tracestate"], "a=1")
        wait_until(lambda: any(line["path"] == "/traced" for line in self.lines()), 10, "the line")
        line = [line for line in self.lines() if line["path"] == "/traced"][0]
        self.assertEqual(line["trace_id"], PARENT[3:35])
        self.assertEqual(line["parent_span_id"], PARENT[36:52])
        (attempt,) = [one for one in get_json(self.api, f"/outrigger/v1/traces/{line['trace_id']}")["spans"] if one["kind"] == "client"]
        self.assertEqual((attempt["span_id"], attempt["parent_id"]), (seen["traceparent"][36:52], line["span_id"]), "it hears of its attempt")

    def test_every_request_has_its_line_and_the_metrics_agree(self):
        threads = [threading.Thread(target=lambda: [self.call("GET", "/many") for _ in range(50)]) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        wait_until(lambda: sum(line["path"] == "/many" for line in self.lines()) == 200, 10, "200 lines")
        wait_until(lambda: metric(self.api, "outrigger_access_log_lines_total") == len(self.lines()), 10, "all lines to be counted, too")
        metrics = request(self.api, "GET", "/metrics")[2].decode()
        self.assertIn("outrigger_access_log_dropped_total 0", metrics)
        self.assertIn('outrigger_route_request_seconds_bucket{route="reads",le="+Inf"}', metrics)
        self.assertIn("outrigger_upstream_response_seconds_count", metrics)


class Rotation(Observed):
    settings = """[access_log]
to = "file"
file = "{log}"
file_bytes_max = "128KiB"
files_max = 3
"""

    def test_guide_004_rotating_files_are_bounded(self):
        for _ in range(15):
            connection = http.client.HTTPConnection(self.proxy, timeout=10 * patience())
            for _ in range(60):
                connection.request("GET", "/" + "x" * 400)
                connection.getresponse().read()
            connection.close()
        # Nothing is looked at before the last of them is written: between two files there may be one that is not there yet.
        # The agent has had some requests before these.
        wait_until(lambda: 900 < metric(self.api, "outrigger_proxy_requests_total") == metric(self.api, "outrigger_access_log_lines_total"), 10, "all lines")
        self.assertEqual(sorted(one.name for one in self.folder.glob("access.log*")), ["access.log", "access.log.1", "access.log.2"])
        for one in self.folder.glob("access.log*"):
            self.assertLessEqual(one.stat().st_size, 128 << 10)
            self.assertTrue(self.lines(one))


class Questions(Observed):
    """why, tap, routes and upstreams, with everything else as it is by default."""

    settings = 'trails = "256KiB"\n'

    def test_why_tells_the_decisions(self):
        one = self.call("GET", "/x").getheader("X-Request-Id")
        code, out, err = self.run_cli("why", one, api=self.api)
        self.assertEqual(code, 0, err)
        self.assert_says(out, 'route "reads", to all', "candidate", "picked", "attempt 1", "response begins: 200", "answered, status 200")
        code, out, _ = self.run_cli("why", one, "-o", "json", api=self.api)
        told = json.loads(out)
        self.assertEqual(told["request"]["request_id"], one)
        self.assertEqual([step["step"] for step in told["steps"]][0], "route")
        order = self.call("POST", "/orders", body=b"x").getheader("X-Request-Id")
        code, out, err = self.run_cli("why", order, api=self.api)
        self.assert_says(out, "to primary", "lease of epoch", "sent")
        refused = self.call("GET", "/closed").getheader("X-Request-Id")
        code, out, err = self.run_cli("why", refused, api=self.api)
        self.assert_says(out, "403 address_denied")

    def test_why_of_an_unknown_request(self):
        code, out, err = self.run_cli("why", "never-seen", api=self.api)
        self.assertEqual(code, 1)
        self.assert_says(out + err, "never-seen", "recent")

    def test_tap_shows_what_was_asked_for(self):
        child = subprocess.Popen([binary(), "tap", "--status", "4xx", "--count", "2", "-o", "json", "--api", self.api],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(child.kill)
        ended = threading.Event()

        def knock():
            while not ended.is_set():
                self.call("GET", "/closed/seen")
                self.call("GET", "/x")
                ended.wait(0.05)
        knocker = threading.Thread(target=knock)
        knocker.start()
        try:
            out, err = child.communicate(timeout=30 * patience())
        finally:
            ended.set()
            knocker.join()
        self.assertEqual(child.returncode, 0, err)
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([(line["status"], line["path"]) for line in lines], [(403, "/closed/seen")] * 2)

    def test_a_bad_filter_is_refused(self):
        self.assertEqual(request(self.api, "GET", "/outrigger/v1/tap?status=9")[0], 400)
        self.assertEqual(request(self.api, "GET", "/outrigger/v1/tap?slower=soon")[0], 400)

    def test_routes_and_upstreams(self):
        for _ in range(20):
            self.call("GET", "/x")
        self.call("GET", "/closed")
        reads = [one for one in get_json(self.api, "/outrigger/v1/routes")["routes"] if one["name"] == "reads"][0]
        self.assertGreaterEqual(reads["counters"]["responses_2xx"], 20)
        self.assertLessEqual(reads["latency"]["p50_ms"], reads["latency"]["p99_ms"])
        self.assertGreater(reads["latency"]["p50_ms"], 0)
        code, out, err = self.run_cli("routes", api=self.api)
        self.assertEqual(code, 0, err)
        self.assert_says(out, "reads", "P99 MS")
        code, out, err = self.run_cli("upstreams", "--watch", "--count", "2", api=self.api)
        self.assertEqual(code, 0, err)
        self.assertEqual(out.count("ENDPOINT"), 2)
        self.assert_says(out, self.instance.address, "passing", "EWMA", "BREAKER", "checks:")


class Everywhere(RealProcesses):
    def test_one_request_over_two_agents_keeps_its_name_and_tells_where_it_went(self):
        cluster = self.make_cluster(2)
        cluster.extra_environment = {**cluster.extra_environment, "PROXY_TRAILS": "256KiB"}
        cluster.start()
        self.wait_ready(cluster)
        answers = {node.name: self.order(node) for node in cluster.nodes}
        seen = [json.loads(self.run_cli("why", one, "-o", "json", api=node.api)[1]) for node, one in zip(cluster.nodes, answers.values())]
        self.assertTrue(any(isinstance(one, list) or "continues_at" in one for one in seen), seen)

    def order(self, node):
        """@return the id of an order that was entered at `node`, whatever the trader says to it."""
        connection = http.client.HTTPConnection(node.entry, timeout=10 * patience())
        try:
            connection.request("POST", "/orders", b"x")
            answer = connection.getresponse()
            answer.read()
            return answer.getheader("X-Request-Id")
        finally:
            connection.close()


if __name__ == "__main__":
    unittest.main()
