"""One order through three real agents and a broker as one trace: proxy, ledger, commit, application, egress (guide 001); seen by a
collector, and without one at any agent."""

import hashlib
import http.client
import http.server
import json
import secrets
import threading
import unittest

from harness import STEADY_CHECK, RealProcesses, answer_of, free_ports, get_json, metric, patience, request, wait_until
from test_traces import CLIENT, SERVER, Collector

INTERNAL = 1
KEY = "order-of-the-guide-7"


class Server:
    """Answers what comes; `handle(headers, body)` says what else is done."""

    def __init__(self, handle=lambda headers, body: None):
        self.heads = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_arguments):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.command == "POST":
                    outer.heads.append({name.lower(): value for name, value in self.headers.items()})
                    handle(self.headers, body)
                answer = b'{"status":"filled"}'
                self.send_response(201 if self.command == "POST" else 200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST

        class Quiet(http.server.ThreadingHTTPServer):
            def handle_error(self, *_arguments):
                pass  # agents reset what they need no more

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class TracedOrders(RealProcesses):
    """Three agents, each with a trader that sends each order on to one broker, within the trace that it was told of."""

    def setUp(self):
        super().setUp()
        self.broker = self.server()
        self.own_spans = []  # of the traders: (trace, span, parent, flags)
        self.entries, settings = {}, {}
        for name in ("n1", "n2", "n3"):
            listen, egress = free_ports(2)
            trader = self.server(self.sender(egress))
            self.entries[name] = f"127.0.0.1:{listen}"
            settings[name] = f"""[service]
address = "127.0.0.1:{trader.port}"
lease = "10s"
margin = "1s"
[service.health]
every = "200ms"
timeout = "200ms"
{STEADY_CHECK}
[[listen]]
address = "{self.entries[name]}"
[[route]]
name = "orders"
path = "/orders"
pool = "primary"
hold = "30s"
idempotency = {{ key = "header:Idempotency-Key" }}
[[route]]
name = "rest"
pool = "all"
[[egress]]
name = "broker"
url = "http://127.0.0.1:{self.broker.port}/v2"
listen = "127.0.0.1:{egress}"
[tracing]
enabled = true
{self.tracing()}
"""
        self.apis = dict(zip(settings, self.start_agents(settings)))
        self.holder()

    def tracing(self):
        return ""

    def server(self, *arguments):
        made = Server(*arguments)
        self.addCleanup(made.close)
        return made

    def sender(self, egress):
        def send(headers, body):
            _, trace, parent, flags = headers["traceparent"].split("-")
            span = secrets.token_hex(8)
            self.own_spans.append((trace, span, parent, flags))
            connection = http.client.HTTPConnection("127.0.0.1", egress, timeout=10 * patience())
            connection.request("POST", "/egress/broker/orders", body, {"traceparent": f"00-{trace}-{span}-{flags}"})
            self.assertEqual(connection.getresponse().status, 201)
            connection.close()
        return send

    def holder(self):
        """The one that is primary, once there is one."""
        def look():
            names = {name for name, api in self.apis.items() if (get_json(api, "/outrigger/v1/role") or {}).get("role") == "primary"}
            return names.pop() if len(names) == 1 else None
        return wait_until(look, 30 * patience(), "a primary")

    def order(self, entry, key=KEY):
        """@return the request id"""
        answer = answer_of(self.entries[entry], "POST", "/orders", {"Idempotency-Key": key}, b'{"side":"buy"}', seconds=40)
        self.assertEqual(answer.status, 201)
        return answer.getheader("X-Request-Id")

    def follower(self):
        holder = self.holder()
        return next(name for name in self.apis if name != holder)


class AtACollector(TracedOrders):
    def setUp(self):
        self.collector = Collector()
        self.addCleanup(self.collector.close)
        super().setUp()

    def tracing(self):
        return f'endpoint = "http://{self.collector.address}"\nbatch_wait = "50ms"'

    def test_guide_001_one_order_across_two_nodes_is_one_trace_with_proxy_ledger_commit_app_egress_spans(self):
        holder, entry = self.holder(), self.follower()
        spans = self.collector.of_request(self.order(entry), 10)
        self.assertEqual(len(spans), 10, [one["name"] for one in spans])
        self.assertEqual(len({one["spanId"] for one in spans}), 10)
        by_id = {one["spanId"]: one for one in spans}

        def only(name, kind):
            return [one for one in spans if one["name"] == name and one["kind"] == kind]

        (root,) = [one for one in spans if "parentSpanId" not in one]
        self.assertEqual((root["name"], root["kind"], root["who"]["service.instance.id"]), ("POST /orders", SERVER, entry))
        (inner,) = [one for one in only("POST /orders", SERVER) if one is not root]
        hop = by_id[inner["parentSpanId"]]
        self.assertEqual((hop["kind"], hop["who"]["service.instance.id"], hop["parentSpanId"]), (CLIENT, entry, root["spanId"]))
        self.assertEqual(inner["who"]["service.instance.id"], holder)
        # The ledger, and what the log took of it.
        (reserve,), (record,) = only("ledger reserve", INTERNAL), only("ledger record", INTERNAL)
        self.assertEqual([one["parentSpanId"] for one in (reserve, record)], [inner["spanId"]] * 2)
        self.assertEqual([one["attributes"]["outrigger.order.state"] for one in (reserve, record)], ["reserved", "done"])
        commits = only("ledger commit", INTERNAL)
        self.assertEqual(sorted(one["parentSpanId"] for one in commits), sorted([reserve["spanId"], record["spanId"]]))
        indexes = {one["parentSpanId"]: int(one["attributes"]["outrigger.raft.index"]) for one in commits}
        self.assertLess(indexes[reserve["spanId"]], indexes[record["spanId"]])
        epoch = inner["attributes"]["outrigger.epoch"]
        hashed = hashlib.sha256(KEY.encode()).hexdigest()[:16]
        for one in [inner, reserve, record, *commits]:
            self.assertEqual((one["attributes"]["outrigger.epoch"], one["attributes"]["outrigger.order.key_hash"]), (epoch, hashed))
        self.assertEqual(root["attributes"]["outrigger.order.key_hash"], hashed)
        # The instance, and the broker beneath what it did.
        ((trace, own, parent, flags),) = self.own_spans
        attempt = by_id[parent]
        self.assertEqual((trace, attempt["kind"], attempt["parentSpanId"]), (root["traceId"], CLIENT, inner["spanId"]))
        (egress,) = [one for one in spans if one["attributes"].get("outrigger.egress")]
        self.assertEqual((egress["kind"], egress["parentSpanId"], egress["who"]["service.instance.id"]), (SERVER, own, holder))
        self.assertEqual(egress["attributes"]["outrigger.epoch"], epoch)
        (sent,) = [one for one in spans if one.get("parentSpanId") == egress["spanId"]]
        self.assertEqual((sent["kind"], sent["attributes"]["server.port"]), (CLIENT, str(self.broker.port)))
        self.assertEqual(self.broker.heads[0]["traceparent"], f"00-{trace}-{own}-{flags}", "the broker hears what the trader said")
        self.assertNotIn(KEY, json.dumps(self.collector.spans))
        # In this order, whatever it took; what a node notes of two requests is not told by one reading of its clock.
        for story in ((inner, reserve, attempt, record), (egress, sent)):
            begins = [int(one["startTimeUnixNano"]) for one in story]
            self.assertEqual(begins, sorted(begins))

    def test_a_repeated_order_is_a_trace_that_ends_at_the_ledger(self):
        entry = self.follower()
        self.order(entry)
        spans = self.collector.of_request(self.order(entry), 4)
        (reserve,) = [one for one in spans if one["name"] == "ledger reserve"]
        self.assertEqual(reserve["attributes"]["outrigger.order.state"], "done")
        self.assertEqual(len(self.own_spans), 1)


class WithoutACollector(TracedOrders):
    """What the agents keep: by the API, the command line and the page; and what a trader adds to it."""

    def trace_of_order(self, api, key=KEY):
        """@return its id, once that agent knows it"""
        found = []

        def look():
            found[:] = get_json(api, f"/outrigger/v1/traces?order={key}")["traces"]
            return found
        wait_until(look, 15 * patience(), "the trace of the order")
        self.assertEqual(len(found), 1)
        return found[0]["trace_id"]

    def spans_of(self, api, trace, count):
        found = {}

        def look():
            found.update(get_json(api, f"/outrigger/v1/traces/{trace}") or {"spans": []})
            return len(found["spans"]) >= count and not found.get("silent")
        wait_until(look, 15 * patience(), f"{count} spans")
        self.assertEqual(len(found["spans"]), count, [one["name"] for one in found["spans"]])
        return found

    def test_guide_001_the_last_traces_are_viewable_without_jaeger_at_any_agent(self):
        holder, entry = self.holder(), self.follower()
        other = next(name for name in self.apis if name not in (holder, entry))
        self.order(entry)
        trace = self.trace_of_order(self.apis[entry])
        for name in (entry, holder, other):
            found = self.spans_of(self.apis[name], trace, 10)
            self.assertEqual((sorted(found["nodes"]), found["silent"], found["left_out"]), (sorted([entry, holder]), [], 0), name)
        by_id = {one["span_id"]: one for one in found["spans"]}
        (root,) = [one for one in found["spans"] if one["parent_id"] is None]
        self.assertEqual((root["name"], root["node"], root["attributes"]["http.response.status_code"]), ("POST /orders", entry, 201))
        for one in found["spans"]:
            self.assertTrue(one is root or one["parent_id"] in by_id or one["attributes"].get("outrigger.egress"), one)
        # The list and its filters.
        api = self.apis[entry]
        for query, there in (("route=orders", True), ("route=rest", False), ("status=201", True), ("status=5xx", False), ("min=1ms", True), ("min=1h", False),
                             (f"order={hashlib.sha256(KEY.encode()).hexdigest()[:16]}", True), ("order=nobody", False)):
            ids = {one["trace_id"] for one in get_json(api, f"/outrigger/v1/traces?{query}")["traces"]}
            self.assertEqual(trace in ids, there, query)
        for query in ("min=soon", "status=7", "limit=0", "limit=1001"):
            self.assertEqual(request(api, "GET", f"/outrigger/v1/traces?{query}")[0], 400, query)
        self.assertEqual(request(api, "GET", "/outrigger/v1/traces/nonsense")[0], 400)
        self.assertEqual(request(api, "GET", f"/outrigger/v1/traces/{'1' * 32}")[0], 404)
        code, out, err = self.run_cli("traces", trace, api=self.apis[other])
        self.assertEqual(code, 0, err)
        self.assert_says(out, "POST /orders", "ledger reserve", "ledger commit", "|=")
        code, out, err = self.run_cli("traces", "--order", KEY, "-o", "json", api=api)
        self.assertEqual((code, json.loads(out)["traces"][0]["trace_id"]), (0, trace), err)
        # A key that was drawn at random may look like a hash.
        drawn = "0123456789abcdef"
        self.order(entry, drawn)
        self.assertEqual(self.trace_of_order(api, drawn), self.trace_of_order(api, hashlib.sha256(drawn.encode()).hexdigest()[:16]))
        self.assertNotEqual(self.trace_of_order(api, drawn), trace)
        status, headers, page = request(api, "GET", "/ui/traces")
        self.assertEqual(status, 200)
        self.assertIn("text/html", headers["content-type"])
        self.assertTrue(page.startswith(b"<!doctype html>"))

    def test_guide_001_an_app_span_appears_under_the_proxy_span(self):
        holder, entry = self.holder(), self.follower()
        self.order(entry)
        ((trace, own, parent, _),) = self.own_spans
        api = self.apis[holder]
        spans = {"resourceSpans": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "trader"}}]},
                                    "scopeSpans": [{"spans": [{"traceId": trace, "spanId": own, "parentSpanId": parent, "name": "decide", "kind": 2,
                                                               "startTimeUnixNano": "1", "endTimeUnixNano": "2",
                                                               "attributes": [{"key": "symbol", "value": {"stringValue": "PAPER"}}]}]}]}]}
        status, _, body = request(api, "POST", "/v1/traces", json.dumps(spans))
        self.assertEqual((status, json.loads(body)), (200, {}))
        found = self.spans_of(self.apis[entry], trace, 11)
        by_id = {one["span_id"]: one for one in found["spans"]}
        self.assertEqual((by_id[own]["service"], by_id[own]["node"], by_id[own]["attributes"]), ("trader", holder, {"symbol": "PAPER"}))
        self.assertEqual((by_id[parent]["kind"], by_id[parent]["node"]), ("client", holder), "beneath the attempt")
        (egress,) = [one for one in found["spans"] if one["attributes"].get("outrigger.egress")]
        self.assertEqual(egress["parent_id"], own, "and the broker beneath it: no hole is left")
        self.assertEqual([one["span_id"] for one in found["spans"] if one["parent_id"] not in by_id], [next(one["span_id"] for one in found["spans"] if one["parent_id"] is None)])
        # Protobuf, as SDKs send it; and what is none.
        self.assertEqual(request(api, "POST", "/v1/traces", self.protobuf(trace, "ab" * 8))[0], 200)
        self.spans_of(api, trace, 12)
        status, _, body = request(api, "POST", "/v1/traces", b"\x0a\x7f")
        self.assertEqual(status, 400)
        self.assertIn(b"byte 2: a field ends behind the end", body)
        status, _, body = request(api, "POST", "/v1/traces", b'\n{"resourceSpans":[]}', {"Content-Type": "application/json"})
        self.assertEqual((status, body), (200, b"{}"), "a blank in front is JSON, too")
        status, _, body = request(api, "POST", "/v1/traces", b"\x1f\x8b\x08")
        self.assertEqual(status, 400)
        self.assertIn(b"OTEL_EXPORTER_OTLP_COMPRESSION", body)
        self.assertEqual([metric(api, f'outrigger_spans_received_total{{outcome="{outcome}"}}') for outcome in ("taken", "over_rate", "malformed")], [2, 0, 1])

    @staticmethod
    def protobuf(trace, span):
        def field(number, data):
            return bytes([number << 3 | 2, len(data)]) + data
        return field(1, field(2, field(2, field(1, bytes.fromhex(trace)) + field(2, bytes.fromhex(span)) + field(5, b"risk"))))


if __name__ == "__main__":
    unittest.main()
