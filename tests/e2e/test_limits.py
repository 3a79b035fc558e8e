"""Rules of a route through the real agent: rates, lists of addresses, credentials, concurrency; over two workers."""

import base64
import hashlib
import http.client
import threading
import unittest

from harness import RealProcesses, patience, request, wait_until

TOKEN = "a-token-of-a-test"
SALT = "saltsaltsalt"
ROUTES = """
[[route]]
name = "api"
path = "/api"
pool = "all"
rate = { limit = "10/1h", burst = 20, nodelay = true, zone = "api" }
[[route]]
name = "window"
path = "/window"
pool = "all"
rate = { limit = "20/1h", key = "header:X-Client" }
[[route]]
path = "/metrics"
pool = "all"
allow = ["10.0.0.0/8"]
[[route]]
name = "secret"
path = "/secret"
pool = "all"
auth = { tokens = ["sha256:%s"], users = ["bob:sha256:%s:%s"] }
[[route]]
name = "slow"
path = "/slow"
pool = "all"
concurrency = 2
timeouts = { first_byte = "120s" }
[[route]]
path = "/"
pool = "all"
""" % (hashlib.sha256(TOKEN.encode()).hexdigest(), SALT, hashlib.sha256(f"{SALT}:bob:swordfish".encode()).hexdigest())


class Limits(RealProcesses):
    def setUp(self):
        super().setUp()
        self.start_behind(f"[proxy]\nthreads = 2\n{ROUTES}", listener='trusted_proxies = ["127.0.0.0/8"]')

    def ask(self, path, **headers):
        """@return (status, fields) over a connection of its own, so that both workers get some."""
        host, port = self.proxy.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60 * patience())
        try:
            connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            answer.read()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}
        finally:
            connection.close()

    def metric(self, line):
        for found in request(self.api, "GET", "/metrics")[2].decode().splitlines():
            if found.startswith(line + " "):
                return float(found.rsplit(" ", 1)[1])
        return None

    def test_guide_003_api_burst_20_31_at_once_21_pass(self):
        answers = [self.ask("/api/x") for _ in range(31)]
        self.assertEqual([status for status, _ in answers], [200] * 21 + [429] * 10)
        fields = answers[-1][1]
        self.assertTrue(1 <= int(fields["retry-after"]) <= 360, fields)
        self.assertEqual(fields["ratelimit-policy"], '"api";q=10;w=3600')
        self.assertRegex(fields["ratelimit"], '^"api";r=0;t=[0-9]+$')
        self.assertEqual(answers[0][1]["ratelimit"].split(";")[1], "r=20")
        wait_until(lambda: self.metric('outrigger_ratelimit_rejected_total{zone="api"}') == 10, 5, "the zone's counter")
        self.assertEqual(self.metric('outrigger_route_refused_total{route="api",reason="rate"}')
                         , 10)
        self.assertEqual(self.ask("/api/x", X_Forwarded_For="203.0.113.7")[0], 200, "another client has its own count")
        self.assertEqual(self.ask("/health")[0], 200, "other routes bypass the limit")
        self.reload_keeps_the_count()

    def reload_keeps_the_count(self):
        path = self.folder / "n1" / "outrigger.toml"
        path.write_text(path.read_text().replace("concurrency = 2", "concurrency = 3"))
        self.process.send(1)
        wait_until(lambda: "in force: route" in self.process.log.read_text(), 10, "the reload")
        self.assertEqual(self.ask("/api/x")[0], 429, "a reload must not forget who is over the limit")

    def test_guide_002_http_req_rate_21_calls_give_one_429_per_key(self):
        for client in ("one", "two"):
            statuses = [self.ask("/window", X_Client=client)[0] for _ in range(21)]
            self.assertEqual(statuses, [200] * 20 + [429])

    def test_guide_000_metrics_allow_10_deny_all(self):
        status, _ = self.ask("/metrics")
        self.assertEqual(status, 403)
        self.assertEqual(self.ask("/metrics", X_Forwarded_For="10.1.2.3")[0], 200)
        self.assertEqual(self.ask("/metrics", X_Forwarded_For="10.1.2.3, 192.0.2.1")[0], 403)

    def test_tokens_and_basic_auth(self):
        status, fields = self.ask("/secret")
        self.assertEqual(status, 401)
        self.assertEqual(fields["www-authenticate"], 'Basic realm="outrigger"')
        self.assertEqual(self.ask("/secret", Authorization=f"Bearer {TOKEN}")[0], 200)
        self.assertEqual(self.ask("/secret", X_Api_Key=TOKEN)[0], 200)
        for password, wanted in (("swordfish", 200), ("tuna", 401)):
            pair = base64.b64encode(f"bob:{password}".encode()).decode()
            self.assertEqual(self.ask("/secret", Authorization=f"Basic {pair}")[0], wanted)

    def test_concurrency_over_both_workers(self):
        gate, inside = threading.Event(), []
        handler = self.instance.server.RequestHandlerClass
        plain = handler.do_GET

        def held(this):
            if this.path == "/slow":
                inside.append(this)
                gate.wait(100)
            plain(this)
        handler.do_GET = held
        self.addCleanup(gate.set)
        statuses = []
        waiting = [threading.Thread(target=lambda: statuses.append(self.ask("/slow")[0])) for _ in range(2)]
        for thread in waiting:
            thread.start()
        wait_until(lambda: len(inside) == 2, 10, "two at the instance")
        self.assertEqual([self.ask("/slow")[0] for _ in range(6)], [503] * 6, "whatever worker they meet")
        gate.set()
        for thread in waiting:
            thread.join(30 * patience())
        self.assertEqual(statuses, [200] * 2)
        wait_until(lambda: self.ask("/slow")[0] == 200, 10, "room again")


class Refused(RealProcesses):
    def test_validate_names_the_key_and_the_fix(self):
        cases = {
            'rate = { limit = "10" }': ("route[0].rate.limit", "10/s"),
            "rate = { burst = 5 }": ("route[0].rate.limit", "add limit"),
            'rate = { limit = "10/s", nodelay = true }': ("route[0].rate.nodelay", "burst"),
            'rate = { limit = "10/s", key = "query" }': ("route[0].rate.key", "cookie:session"),
            'rate = { limit = "10/s", brust = 5 }': ("route[0].rate.brust", "burst"),
            'allow = ["10.0.0.0/40"]': ("route[0].allow", "10.0.0.0/8"),
            'auth = { tokens = ["hunter2"] }': ("route[0].auth.tokens", "sha256sum"),
            "auth = { }": ("route[0].auth.tokens", "nobody"),
        }
        for line, words in cases.items():
            with self.subTest(line):
                said = self.assert_refused(f'[[route]]\npath = "/"\npool = "all"\n{line}\n', *words)
                self.assertNotIn("hunter2", said, "a secret must not be repeated")


if __name__ == "__main__":
    unittest.main()
