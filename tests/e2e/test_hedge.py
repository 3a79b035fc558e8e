"""Hedged reads through the real agent: two instances of which one is slow now and then."""

import http.client
import json
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness import STEADY_CHECK, RealProcesses, free_ports, get_json, patience, request, wait_until, whole_lines


class SlowNowAndThen:
    """An instance that sleeps in every so many requests, and counts what it is asked."""

    def __init__(self, every, pause):
        self.count, self.lock = 0, threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                slow = False
                if self.path.startswith("/reads"):
                    with outer.lock:
                        outer.count += 1
                        slow = every > 0 and outer.count % every == 0
                if slow:
                    outer.pauses.wait(pause)
                body = b"{}"
                try:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.send_header("X-Slept", str(int(slow)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_):
                pass

        self.pauses = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.pauses.set()
        self.server.shutdown()
        self.server.server_close()


ROUTES = """
[[route]]
name = "hedged"
path = "/reads"
pool = "all"
hedge = { least = "100ms", budget = 10 }
[[route]]
name = "plain"
path = "/reads-plain"
pool = "all"
[[route]]
path = "/"
pool = "all"
"""
PAUSE = 0.8  # less than the second after which a read is tried elsewhere anyway


class Hedge(RealProcesses):
    def setUp(self):
        super().setUp()
        self.instances = []
        listen = free_ports(1)[0]
        self.proxy = f"127.0.0.1:{listen}"
        seed = ""
        for number, every in enumerate((0, 12)):
            instance = SlowNowAndThen(every, PAUSE)
            self.addCleanup(instance.close)
            self.instances.append(instance)
            extra = seed + f"""[service]
address = "{instance.address}"
[service.health]
every = "1s"
timeout = "900ms"
{STEADY_CHECK}
"""
            if number == 0:
                extra += f"""[[listen]]
address = "{self.proxy}"
[access_log]
to = "file"
file = "{self.folder / "access.log"}"
[proxy]
threads = 1
trails = "1MiB"
{ROUTES}"""
            ports, config = self.single_config(f"n{number + 1}", extra)
            self.start_agent(f"n{number + 1}", config=config)
            api = f"127.0.0.1:{ports['api']}"
            self.api = self.api if number else api
            self.wait_status(api, "/outrigger/v1/health/ready", 200)
            seed = seed or f'seeds = ["127.0.0.1:{ports["gossip"]}"]\n'
        wait_until(lambda: self.passing() == 2, 15 * patience(), "two healthy endpoints")

    def passing(self):
        answer = get_json(self.api, "/outrigger/v1/upstreams") or {"upstreams": []}
        return sum(e["health"] == "passing" for pool in answer["upstreams"] for e in pool["endpoints"])

    def metric(self, line):
        for found in request(self.api, "GET", "/metrics")[2].decode().splitlines():
            if found.startswith(line + " "):
                return float(found.rsplit(" ", 1)[1])
        return 0.0

    def ask(self, path, count):
        """One after the other over one connection. @return (how many were answered by an instance that had slept, ids). Their times say
        less: any may be long on a busy machine."""
        host, port = self.proxy.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10 * patience())
        slept, ids = 0, []
        for _ in range(count):
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            slept += answer.getheader("X-Slept") == "1"
            ids.append(answer.getheader("X-Request-Id"))
            self.assertEqual(answer.status, 200)
        connection.close()
        return slept, ids

    def asked(self):
        return sum(instance.count for instance in self.instances)

    def retries(self):
        """Of those there are more than none where the machine stood still."""
        return self.metric("outrigger_proxy_retries_total")

    def test_the_tail_is_cut_off_within_the_budget(self):
        plain, _ = self.ask("/reads-plain", 96)
        self.assertGreaterEqual(plain, 2, "the slow instance is slow")
        asked, retries = self.asked(), self.retries()
        self.ask("/reads", 80)  # until the route knows what is usual
        before = self.metric('outrigger_route_hedges_total{route="hedged",result="begun"}')
        slept, ids = self.ask("/reads", 240)
        hedges = self.metric('outrigger_route_hedges_total{route="hedged",result="begun"}')
        won = self.metric('outrigger_route_hedges_total{route="hedged",result="won"}')
        print(f"slow: {plain} of 96 without, {slept} of 240 with {hedges - before:.0f} hedges", flush=True)
        self.assertLess(slept / 240, plain / 96 / 2, "as many without hedges")
        self.assertGreaterEqual(hedges - before, 5)
        self.assertGreaterEqual(won, 5)
        self.assertLessEqual(hedges, 320 * 0.10 + 1, "the budget")
        # One that was cancelled at once may not have got there; another may still be on its way there.
        wait_until(lambda: self.asked() - asked - 320 >= hedges - 3, 10, f"{hedges} hedges at the instances")
        self.assertLessEqual(self.asked() - asked - 320, hedges + self.retries() - retries)
        self.both_legs_are_told(ids)

    def both_legs_are_told(self, ids):
        path = self.folder / "access.log"
        wait_until(lambda: any(ids[-1] in line for line in whole_lines(path)), 10, "the access log")
        lines = [json.loads(line) for line in whole_lines(path)]
        hedged = [line for line in lines if "hedge_endpoint" in line and line["hedge_won"]]
        self.assertTrue(hedged)
        one = hedged[-1]
        self.assertNotEqual(one["endpoint"], one["hedge_endpoint"])
        self.assertEqual(one["attempts"], 2)
        code, out, err = self.run_cli("why", one["request_id"], api=self.api)
        self.assertEqual(code, 0, err)
        self.assert_says(out, "is asked, too", one["hedge_endpoint"], "cancelled")


if __name__ == "__main__":
    unittest.main()
