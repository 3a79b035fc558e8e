"""One order through three real agents and a broker as one trace: proxy, ledger, commit, application, egress (guide 001)."""

import hashlib
import http.client
import http.server
import json
import secrets
import threading
import unittest

from harness import RealProcesses, answer_of, free_ports, get_json, patience, wait_until
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

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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
[service.health]
every = "200ms"
timeout = "200ms"
[[listen]]
address = "{self.entries[name]}"
[[route]]
name = "orders"
path = "/orders"
pool = "primary"
hold = "5s"
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
        wait_until(lambda: self.holder() is not None, 30 * patience(), "a primary")

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
        names = {name for name, api in self.apis.items() if get_json(api, "/outrigger/v1/role")["role"] == "primary"}
        return names.pop() if len(names) == 1 else None

    def order(self, entry, key=KEY):
        """@return the request id"""
        answer = answer_of(self.entries[entry], "POST", "/orders", {"Idempotency-Key": key}, b'{"side":"buy"}', seconds=20 * patience())
        self.assertEqual(answer.status, 201)
        return answer.getheader("X-Request-Id")

    def follower(self):
        return next(name for name in self.apis if name != self.holder())


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
        # In this order, whatever it took.
        begins = [int(one["startTimeUnixNano"]) for one in (inner, reserve, attempt, egress, sent, record)]
        self.assertEqual(begins, sorted(begins))

    def test_a_repeated_order_is_a_trace_that_ends_at_the_ledger(self):
        entry = self.follower()
        self.order(entry)
        spans = self.collector.of_request(self.order(entry), 4)
        (reserve,) = [one for one in spans if one["name"] == "ledger reserve"]
        self.assertEqual(reserve["attributes"]["outrigger.order.state"], "done")
        self.assertEqual(len(self.own_spans), 1)


if __name__ == "__main__":
    unittest.main()
