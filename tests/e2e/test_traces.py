"""Spans of requests and attempts at a collector: OTLP over HTTP, JSON."""

import gzip
import http.server
import json
import pathlib
import ssl
import threading
import unittest

from harness import RealProcesses, answer_of, request, wait_until

SERVER, CLIENT = 2, 3
FILES = pathlib.Path(__file__).parent / "tls"
SITE = "site.example"
PARENT_TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT_SPAN = "b7ad6b7169203331"


class Collector:
    """Takes what comes to /v1/traces. `statuses` are given first, with `retry_after`; then 200."""

    def __init__(self, context=None):
        self.spans, self.fields, self.statuses, self.retry_after = [], [], [], None
        self.lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_arguments):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.fields.append((self.path, dict(self.headers)))
                status = outer.statuses.pop(0) if outer.statuses else 200
                if status == 200:
                    outer.take(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
                answer = b"{}"
                self.send_response(status)
                if status != 200 and outer.retry_after is not None:
                    self.send_header("Retry-After", outer.retry_after)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, body):
        for resource in json.loads(body)["resourceSpans"]:
            who = {one["key"]: one["value"]["stringValue"] for one in resource["resource"]["attributes"]}
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    span["who"] = who
                    span["attributes"] = {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}
                    with self.lock:
                        self.spans.append(span)

    def of_request(self, request_id, count):
        """@return the spans of the trace to which that request belongs, once there are `count`."""
        found = []

        def look():
            with self.lock:
                named = [one["traceId"] for one in self.spans if one["attributes"].get("outrigger.request_id") == request_id]
                found[:] = [one for one in self.spans if named and one["traceId"] == named[0]]
            return len(found) >= count
        wait_until(look, 15, f"{count} spans of {request_id}")
        return found

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Traced(RealProcesses):
    endpoint = None

    def setUp(self):
        super().setUp()
        self.collector = Collector()
        self.addCleanup(self.collector.close)

    def start(self, tracing="", extra=""):
        self.start_behind(first="/first", extra=f"""[tracing]
enabled = true
endpoint = "{self.endpoint or 'http://' + self.collector.address}"
batch_wait = "50ms"
{tracing}
[[route]]
name = "reads"
path = "/x"
pool = "all"
[[route]]
name = "rest"
pool = "all"
{extra}""")

    def call(self, method, path, headers=None, at=None, body=None):
        return answer_of(at or self.proxy, method, path, headers, body)

    def metric(self, name):
        text = request(self.api, "GET", "/metrics")[2]
        text = text.decode() if isinstance(text, bytes) else text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


class OneAgent(Traced):
    def test_a_request_and_its_attempt_are_one_trace_with_the_callers(self):
        self.start('service_name = "shop"')
        answer = self.call("GET", "/x/7?token=hush", {"traceparent": f"00-{PARENT_TRACE}-{PARENT_SPAN}-01"})
        server, client = sorted(self.collector.of_request(answer.getheader("X-Request-Id"), 2), key=lambda one: one["kind"])
        self.assertEqual((server["kind"], client["kind"]), (SERVER, CLIENT))
        self.assertEqual((server["traceId"], server["parentSpanId"]), (PARENT_TRACE, PARENT_SPAN))
        self.assertEqual((client["traceId"], client["parentSpanId"]), (PARENT_TRACE, server["spanId"]))
        self.assertEqual((server["name"], client["name"]), ("GET /x", "GET"))
        self.assertLessEqual(int(server["startTimeUnixNano"]), int(client["startTimeUnixNano"]))
        self.assertLessEqual(int(client["endTimeUnixNano"]), int(server["endTimeUnixNano"]))
        self.assertEqual(server["who"]["service.name"], "shop")
        self.assertEqual(server["who"]["service.instance.id"], "n1")
        self.assertEqual(server["attributes"]["http.response.status_code"], "200")
        self.assertEqual(server["attributes"]["url.path"], "/x/7")
        self.assertEqual(client["attributes"]["url.full"], f"http://{self.instance.address}/x/7")
        self.assertNotIn("hush", json.dumps(self.collector.spans))
        path, fields = self.collector.fields[0]
        self.assertEqual((path, fields["Content-Type"]), ("/v1/traces", "application/json"))
        wait_until(lambda: self.metric("outrigger_spans_exported_total") >= 2, 10, "the count")

    def test_who_is_not_sampled_is_not_told(self):
        self.start("sample_every = 0\ngzip = true\nheaders = [\"X-Scope: desk\"]")
        quiet = self.call("GET", "/x", {"traceparent": f"00-{PARENT_TRACE}-{PARENT_SPAN}-00"}).getheader("X-Request-Id")
        own = self.call("GET", "/x").getheader("X-Request-Id")
        loud = self.call("GET", "/x", {"traceparent": f"00-{'1' * 32}-{PARENT_SPAN}-01"}).getheader("X-Request-Id")
        self.collector.of_request(loud, 2)
        told = {one["attributes"].get("outrigger.request_id") for one in self.collector.spans}
        self.assertFalse({quiet, own} & told)
        self.assertEqual(self.collector.fields[0][1]["Content-Encoding"], "gzip")
        self.assertEqual(self.collector.fields[0][1]["X-Scope"], "desk")

    def test_a_busy_collector_is_asked_again_when_it_said(self):
        self.collector.statuses = [429, 503]
        self.collector.retry_after = "1"
        self.start()
        answer = self.call("GET", "/x")
        self.collector.of_request(answer.getheader("X-Request-Id"), 2)
        self.assertGreaterEqual(len(self.collector.fields), 3)
        self.assertEqual(self.metric("outrigger_spans_dropped_total"), 0)

    def test_a_collector_that_is_away_costs_requests_nothing_and_is_counted(self):
        self.collector.close()
        self.start('queue = "64KiB"')
        for _ in range(300):
            self.assertEqual(self.call("GET", "/x").status, 200)
        wait_until(lambda: self.metric('outrigger_spans_dropped_total{reason="queue_full"}') > 0, 15, "spans without room")
        log = self.folder / "n1" / "agent.log"
        wait_until(lambda: "spans_not_exported" in log.read_text(), 15, "the refused connection to be told")

    def test_over_tls_the_collector_is_verified(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(FILES / "site.pem", FILES / "site.key")
        collector = Collector(context)
        self.addCleanup(collector.close)
        self.collector, self.endpoint = collector, f"https://{collector.address}"
        self.start(f'tls = {{ ca = "{FILES}/ca.pem", server_name = "SITE" }}'.replace("SITE", SITE))
        answer = self.call("GET", "/x")
        self.assertEqual(len(self.collector.of_request(answer.getheader("X-Request-Id"), 2)), 2)

    def test_settings_that_cannot_be_are_refused_with_the_fix(self):
        self.assert_refused('[tracing]\nenabled = true\nendpoint = "collector:4318"\n', "tracing.endpoint", "http://")
        self.assert_refused('[tracing]\nendpoint = "http://c"\n', "tracing.endpoint", "enabled = true")


class TwoAgents(Traced):
    def test_guide_001_one_order_across_two_nodes_is_one_trace(self):
        cluster = self.make_cluster(2)
        cluster.extra_environment = {**cluster.extra_environment, "TRACING_ENABLED": "true", "TRACING_BATCH_WAIT": "50ms",
                                     "TRACING_ENDPOINT": f"http://{self.collector.address}/v1/traces"}
        cluster.start()
        self.wait_ready(cluster)
        for node in cluster.nodes:
            self.call("POST", "/orders", at=node.entry, body=b"x")

        def across():
            with self.collector.lock:
                traces = {}
                for one in self.collector.spans:
                    traces.setdefault(one["traceId"], []).append(one)
            return [spans for spans in traces.values() if {one["who"]["service.instance.id"] for one in spans} == {node.name for node in cluster.nodes}
                    and len(spans) >= 4 and sum("parentSpanId" not in one for one in spans) == 1
                    and {one["parentSpanId"] for one in spans if "parentSpanId" in one} <= {one["spanId"] for one in spans}]
        spans = wait_until(across, 20, "a whole trace over both agents")[0]
        by_id = {one["spanId"]: one for one in spans}
        self.assertEqual(len(by_id), len(spans))
        roots = [one for one in spans if "parentSpanId" not in one]
        self.assertEqual(len(roots), 1, spans)
        entry = roots[0]["who"]["service.instance.id"]
        self.assertEqual(roots[0]["kind"], SERVER)
        inner = [one for one in spans if one["kind"] == SERVER and one is not roots[0]]
        for one in inner:
            hop = by_id[one["parentSpanId"]]
            self.assertEqual((hop["kind"], hop["who"]["service.instance.id"]), (CLIENT, entry), "beneath the attempt of the one where it came in")
            self.assertEqual(hop["parentSpanId"], roots[0]["spanId"])
            self.assertEqual(one["flags"] & 0x300, 0x300)
            self.assertNotEqual(one["who"]["service.instance.id"], entry)
        last = [one for one in spans if one["kind"] == CLIENT and one["who"]["service.instance.id"] != entry]
        self.assertTrue(all(by_id[one["parentSpanId"]] in inner for one in last), "the attempt at the instance")


if __name__ == "__main__":
    unittest.main()
