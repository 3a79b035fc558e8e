"""An operator's hand on traffic, breakers of programs, and what an agent says of its instance, through real agents."""

import http.client
import json
import socket
import ssl
import unittest
from pathlib import Path

from harness import STEADY_CHECK, Instance, Neighbours, RealProcesses, free_ports, get_json, metric, patience, request, wait_until

TLS_FILES = Path(__file__).parent / "tls"


class Pair(Neighbours):
    """Agents a and b with an instance each; clients come to both."""

    SETTINGS = """
[proxy]
threads = 2
trails = "64KiB"
[[breaker]]
name = "database"
fail = 3
window = "60s"
open = "8s"
[[route]]
name = "reads"
path = "/"
pool = "all"
balance = "round_robin"
retry = false
"""

    def ask_often(self, entry, count):
        for _ in range(count):
            self.assertEqual(self.ask(entry, "/x")[0], 200)

    def served(self):
        return [len(instance.requests()) for instance in self.instances]

    def post(self, api, path, body):
        status, _, answer = request(api, "POST", path, json.dumps(body).encode())
        return status, json.loads(answer)

    def test_guide_000_eject_takes_an_endpoint_out_everywhere_until_uneject(self):
        code, out, err = self.run_cli("eject", "b", "--for", "10m", api=self.apis[0])
        self.assertEqual(code, 0, err)
        self.assert_says(out, "b (", "10 min", "outrigger uneject b")
        before = self.served()
        self.ask_often("a", 12)
        self.assertEqual(self.served()[1], before[1], "no worker of a sends anything there")
        shown = self.endpoints(self.apis[0])["b"]
        self.assertEqual(shown["reason"], "ejected by an operator")
        self.assertGreater(shown["ejected_for_ms"], 500_000)
        self.assert_says(self.run_cli("upstreams", api=self.apis[0])[1], "ejected by an operator")
        wait_until(lambda: self.endpoints(self.apis[1])["b"]["ejected_for_ms"] > 0, 3 * patience(), "the other agent to follow")
        before = self.served()
        self.ask_often("b", 8)
        self.assertEqual(self.served()[1], before[1])

        code, _, err = self.run_cli("eject", "a", api=self.apis[0])
        self.assertEqual(code, 1)
        self.assert_says(err, "last endpoint", "--force")
        code, _, err = self.run_cli("eject", "c", api=self.apis[0])
        self.assertEqual(code, 1)
        self.assert_says(err, "no endpoint is named", "a, b")
        self.assertEqual(self.run_cli("eject", "a", "--for", "10d", api=self.apis[0])[0], 2)
        self.assertEqual(self.run_cli("eject", "a", "--force", api=self.apis[0])[0], 0)
        self.ask_often("a", 4)  # everybody is ejected: it is served on
        self.assertEqual(self.run_cli("uneject", "a", api=self.apis[0])[0], 0)

        self.assertEqual(self.run_cli("uneject", "b", api=self.apis[0])[0], 0)
        before = self.served()
        self.ask_often("a", 12)
        self.assertGreater(self.served()[1], before[1])
        wait_until(lambda: self.endpoints(self.apis[1])["b"]["ejected_for_ms"] == 0, 3 * patience(), "the other agent to take it back")

    def test_guide_001_a_breaker_of_a_program_opens_on_every_node_and_is_reset_by_hand(self):
        path = "/outrigger/v1/breakers/database"
        for _ in range(3):
            self.assertEqual(get_json(self.apis[0], path + "/allow")["allowed"], True)
            self.assertEqual(self.post(self.apis[0], path + "/report", {"ok": False})[0], 200)
        self.assertEqual(get_json(self.apis[0], path)["state"], "open")
        denied = get_json(self.apis[0], path + "/allow")
        self.assertEqual((denied["allowed"], denied["state"]), (False, "open"))
        self.assertGreater(denied["retry_after_ms"], 0)
        wait_until(lambda: get_json(self.apis[1], path)["state"] == "open", 3 * patience(), "b to hear of it")
        self.assertTrue(get_json(self.apis[1], path)["by_word"])
        self.assertEqual(metric(self.apis[0], 'outrigger_app_breaker_state{name="database"}'), 1)
        wait_until(lambda: get_json(self.apis[0], path + "/allow")["probe"], 5 * patience(), "its one probe")
        self.assertFalse(get_json(self.apis[0], path + "/allow")["allowed"], "one at a time")
        self.assertEqual(self.post(self.apis[0], path + "/report", {"ok": True, "probe": True})[1]["state"], "closed")
        wait_until(lambda: get_json(self.apis[1], path)["state"] == "closed", 5 * patience(), "b to hear that the probe went well")

        for _ in range(3):
            self.post(self.apis[0], path + "/report", {"ok": False})
        self.assert_says(self.run_cli("breaker", "list", api=self.apis[0])[1], "database", "open", "3 in 60 s")
        code, out, err = self.run_cli("breaker", "reset", "database", api=self.apis[0])
        self.assertEqual((code, out.strip()), (0, "closed"), err)
        self.assertTrue(get_json(self.apis[0], path + "/allow")["allowed"])
        code, _, err = self.run_cli("breaker", "reset", "databse", api=self.apis[0])
        self.assertEqual(code, 1)
        self.assert_says(err, "no breaker is named", "database")
        self.assertEqual(self.post(self.apis[0], path + "/report", {"ok": "perhaps"})[0], 400)

    def test_guide_000_the_fields_of_health_are_metrics(self):
        self.instances[0].health = {"status": "healthy", "database_connected": True, "active_positions": 12, "pool": {"size": 5}}
        wait_until(lambda: metric(self.apis[0], 'outrigger_app_field{field="active_positions"}') == 12, 5 * patience(), "a check to bring them")
        self.assertEqual(metric(self.apis[0], 'outrigger_app_field{field="database_connected"}'), 1)
        self.assertEqual(metric(self.apis[0], 'outrigger_app_field{field="pool.size"}'), 5)
        self.assertIsNone(metric(self.apis[0], 'outrigger_app_field{field="status"}'), "texts are no metrics")

    def test_guide_002_spread_shows_who_has_answered(self):
        code, out, err = self.run_cli("spread", "--n", "10", "/x", "-o", "json", api=self.apis[0])
        self.assertEqual(code, 0, err)
        report = json.loads(out)
        self.assertEqual((sum(report["nodes"].values()), report["exact"], report["statuses"]), (10, True, {"200": 10}), report)
        self.assertEqual(sorted(report["nodes"]), ["a", "b"], report)
        self.assertEqual([report["nodes"]["a"], report["nodes"]["b"]], self.served(), "as the instances have counted")
        code, out, _ = self.run_cli("spread", "--n", "4", f"http://{self.proxies[1]}/y", api=self.apis[1])
        self.assertEqual(code, 0)
        self.assert_says(out, "NODE", "4 x 200")
        code, _, err = self.run_cli("spread", "--n", "2", "http://127.0.0.1:1/", api=self.apis[0])
        self.assertEqual(code, 1)
        self.assert_says(err, "no answer from http://127.0.0.1:1")


class Lone(RealProcesses):
    def start(self, extra, instance=None):
        self.proxy = f"127.0.0.1:{free_ports(1)[0]}"
        service = f'[service]\naddress = "{instance.address}"\n' if instance else ""
        self.process, self.api = self.start_single(extra=f"""{service}{extra}
[[listen]]
address = "{self.proxy}"
[[route]]
path = "/"
pool = "{'all' if instance else 'broker'}"
""")
        self.wait_status(self.proxy, "/warm", 200)

    def test_guide_000_one_scrape_shows_series_of_the_instance_and_of_the_agent(self):
        instance = Instance()
        self.addCleanup(instance.close)
        instance.texts["/stats"] = ("# TYPE orders counter\norders_total{side=\"buy\"} 7\nbroken{ 1\noutrigger_build_info 5\n"
                                    "# TYPE up gauge\nup{node=\"own\"} 1\n# EOF\n")
        _, self.api = self.start_single(extra=f'[service]\naddress = "{instance.address}"\nmetrics = "/stats"\n')

        def scraped():  # an instance that takes more than two seconds is left out
            answer = request(self.api, "GET", "/metrics", headers={"Accept": "application/openmetrics-text;q=1,text/plain;q=0.5"})
            return answer if b"orders_total" in answer[2] else None
        status, headers, body = wait_until(scraped, 10, "a scrape with the instance's own")
        lines = body.decode().splitlines()
        self.assertEqual(status, 200)
        self.assertIn("text/plain; version=0.0.4", {k.lower(): v for k, v in headers.items()}["content-type"])
        self.assertIn('orders_total{node="n1",side="buy"} 7', lines)
        self.assertIn('up{node="n1",exported_node="own"} 1', lines)
        self.assertNotIn("# EOF", lines, "it is not the end of an answer")
        self.assertEqual([line for line in lines if line.startswith("outrigger_build_info ")], [], "names of ours are ours")
        wait_until(lambda: metric(self.api, "outrigger_app_metrics_up") == 1, 10, "the instance to be there in another scrape")
        dropped = metric(self.api, "outrigger_app_metrics_lines_dropped_total")
        self.assertTrue(dropped >= 4 and dropped % 2 == 0, f"{dropped}: two lines in each of the answers that came")

        instance.texts.clear()
        instance.texts["/stats"] = "x" * 5_000_000
        self.assertIsNotNone(metric(self.api, "outrigger_raft_has_leader"), "ours do not depend on the instance's")
        self.assertEqual(metric(self.api, "outrigger_app_metrics_up"), 0, "more than 4 MiB")
        instance.close()
        self.assertIsNotNone(metric(self.api, "outrigger_raft_has_leader"))
        self.assertGreaterEqual(metric(self.api, "outrigger_app_metrics_failures_total"), 2)
        self.assert_refused(self.single_config("n2", f'[service]\naddress = "127.0.0.1:9"\nmetrics = "stats"\n')[1], "service.metrics", "starts with '/'")

    def test_guide_003_keepalive_requests_and_guide_002_503_at_maxconn(self):
        instance = self.make_instance()
        self.start("[proxy]\nthreads = 1\nconnections_max = 2\nclient_requests_max = 3\nupstream_requests_max = 2\n", instance)
        host, port = self.proxy.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20 * patience())
        self.addCleanup(connection.close)
        connects = metric(self.api, "outrigger_proxy_upstream_connects_total")
        closing = []
        for _ in range(3):
            connection.request("GET", "/x")
            answer = connection.getresponse()
            answer.read()
            closing.append(answer.getheader("Connection", "").lower() == "close")
        self.assertEqual(closing, [False, False, True])
        self.assertGreaterEqual(metric(self.api, "outrigger_proxy_upstream_connects_total") - connects, 1)

        def hold():
            held = socket.create_connection((host, int(port)), timeout=20 * patience())
            self.addCleanup(held.close)
            held.sendall(b"GET /held HTTP/1.1\r\nHost: h\r\n\r\n")
            self.assertTrue(held.recv(65536).startswith(b"HTTP/1.1 200 "))
        wait_until(lambda: metric(self.api, "outrigger_proxy_open_connections") in (0, None), 5 * patience(), "those before to be gone")
        hold()
        hold()
        refused = socket.create_connection((host, int(port)), timeout=20 * patience())
        self.addCleanup(refused.close)
        text = b""
        while piece := refused.recv(65536):
            text += piece
        self.assert_says(text.decode(), "HTTP/1.1 503 ", '"code":"connections_max"', "proxy.connections_max", "Retry-After: 1")

    def test_endpoints_by_name_over_tls_and_names_that_are_none(self):
        server = Instance()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS_FILES / "site.pem", TLS_FILES / "site.key")
        server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
        self.addCleanup(server.close)
        port = server.address.rsplit(":", 1)[1]  # "localhost" itself would be read as its address
        self.start(f"""[[upstream]]
name = "broker"
endpoints = [{{ address = "LocalHost:{port}" }}, {{ address = "nobody.invalid:443" }}]
resolve = "1s"
tls = {{ ca = "{TLS_FILES}/ca.pem", server_name = "site.example" }}
[[upstream.check]]
http = "/health"
every = "500ms"
timeout = "450ms"
rise = 1
{STEADY_CHECK}
""")

        def shown():
            pools = get_json(self.api, "/outrigger/v1/upstreams")["upstreams"]
            return {e["name"]: e["health"] for pool in pools if pool["service"] == "broker" for e in pool["endpoints"]}
        wait_until(lambda: shown().get(f"localhost/127.0.0.1:{port}") == "passing", 10 * patience(), "the check to go well, over TLS as well")
        self.assertNotIn("nobody", " ".join(shown()))
        wait_until(lambda: "nobody.invalid" in self.process.tail(200), 10 * patience(), "a warning that names it")
        status, _, body = request(self.proxy, "GET", "/quotes")
        self.assertEqual((status, json.loads(body)["path"]), (200, "/quotes"))


class Curves(RealProcesses):
    def test_guide_004_only_the_curves_of_the_settings(self):
        instance = self.make_instance()
        address = f"127.0.0.1:{free_ports(1)[0]}"
        plain = f"127.0.0.1:{free_ports(1)[0]}"
        self.start_single(extra=f"""[service]
address = "{instance.address}"
[[listen]]
address = "{plain}"
[[listen]]
address = "{address}"
[listen.tls]
certificates = [{{ cert = "{TLS_FILES}/rsa.pem", key = "{TLS_FILES}/rsa.key" }}]
curves = ["X25519", "secp384r1"]
[[route]]
path = "/"
pool = "all"
""")
        self.wait_status(plain, "/warm", 200)

        def handshake(curve):
            context = ssl._create_unverified_context()
            context.set_ecdh_curve(curve)
            host, port = address.split(":")
            with socket.create_connection((host, int(port)), timeout=20 * patience()) as raw, context.wrap_socket(raw, server_hostname="site.example") as secure:
                secure.sendall(b"GET /x HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n\r\n")
                return secure.recv(64)
        self.assertIn(b"200", handshake("secp384r1"))
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            handshake("prime256v1")


if __name__ == "__main__":
    unittest.main()
