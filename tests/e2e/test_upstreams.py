"""Pools of servers that are no agents, and several checks of one place, through the real agent."""

import http.client
import os
import threading
import unittest

from harness import Instance, RealProcesses, free_ports, get_json, patience, request, wait_until

CHECK = """[[upstream.check]]
http = "/health"
every = "100ms"
timeout = "90ms"
fall = 50
assert = ["$.status=='healthy'", "$.database_connected==true"]
"""


class Upstreams(RealProcesses):
    def start(self, upstream, extra="", service="", route='pool = "broker"\nretry = false\n'):
        self.proxy = f"127.0.0.1:{free_ports(1)[0]}"
        self.upstream, self.extra, self.service, self.route = upstream, extra, service, route
        self.ports, config = self.single_config(extra=self.settings())
        self.process = self.start_agent("n1", config=config)
        self.api = f"127.0.0.1:{self.ports['api']}"
        self.wait_status(self.api, "/outrigger/v1/health/ready", 200)

    def settings(self):
        return f"""{self.service}
[[listen]]
address = "{self.proxy}"
[proxy]
threads = 1
[[upstream]]
name = "broker"
{self.upstream}
[[route]]
path = "/"
{self.route}{self.extra}"""

    def reload(self):
        _, config = self.single_config(extra=self.settings(), **self.ports)
        (self.folder / "n1" / "outrigger.toml").write_text(config)
        status, _, body = request(self.api, "PUT", "/v1/agent/reload")
        self.assertEqual(status, 200, body)

    def servers(self, count):
        made = [Instance() for _ in range(count)]
        for server in made:
            self.addCleanup(server.close)
        return made

    @staticmethod
    def kill(server):
        """Nobody listens any more, and whoever is connected gets no answer."""
        def gone(this):
            this.close_connection = True
        server.server.RequestHandlerClass.do_GET = gone
        server.close()

    def ask(self, path="/x"):
        host, port = self.proxy.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20 * patience())
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def endpoints(self, pool="broker"):
        answer = get_json(self.api, "/outrigger/v1/upstreams") or []
        pools = answer.get("upstreams", []) if isinstance(answer, dict) else answer
        return {e["address"]: e for one in pools if one["service"] == pool for e in one["endpoints"]}

    def health(self, server):
        return self.endpoints().get(server.address, {}).get("health")

    def test_guide_000_weights_and_a_backup_that_waits(self):
        heavy, light, backup = self.servers(3)
        self.start(f"""endpoints = [{{ address = "{heavy.address}", weight = 2 }}, {{ address = "{light.address}" }},
  {{ address = "{backup.address}", tier = "backup" }}]
{CHECK}""")
        wait_until(lambda: [self.health(s) for s in (heavy, light, backup)] == ["passing"] * 3, 10 * patience(), "three checked servers")
        self.assertEqual([self.ask() for _ in range(30)], [200] * 30)
        self.assertEqual([len(s.requests()) for s in (heavy, light, backup)], [20, 10, 0])
        self.kill(heavy)
        self.kill(light)
        wait_until(lambda: self.health(heavy) == "critical" and self.health(light) == "critical", 10 * patience(), "both to be gone")
        self.assertEqual([self.ask() for _ in range(4)], [200] * 4)
        self.assertEqual(len(backup.requests()), 4)
        text = request(self.api, "GET", "/metrics")[2].decode()
        for line in (f'outrigger_upstream_health{{pool="broker",endpoint="{heavy.address}"}} 3',
                     f'outrigger_upstream_check_failures_total{{pool="broker",endpoint="{heavy.address}"}}'):
            self.assertTrue(line in text, line)
        _, out, _ = self.run_cli("upstreams", api=self.api)
        self.assert_says(out, "broker", backup.address, "critical")

    def test_guide_000_a_body_that_says_false_degrades_it(self):
        good, sick = self.servers(2)
        self.start(f'endpoints = [{{ address = "{good.address}" }}, {{ address = "{sick.address}" }}]\n{CHECK}')
        wait_until(lambda: self.health(good) == self.health(sick) == "passing", 10 * patience(), "both to be well")
        sick.health = {"status": "healthy", "database_connected": False}
        wait_until(lambda: self.health(sick) == "degraded", 10 * patience(), "the body to be read")
        # The reason is that of the newest check, which may have been late.
        wait_until(lambda: "database_connected" in self.endpoints()[sick.address]["reason"], 10 * patience(), "the reason to be told")
        self.assertEqual([self.ask() for _ in range(6)], [200] * 6)
        self.assertEqual(len(sick.requests()), 0)
        log = (self.folder / "n1" / "agent.log").read_text()
        self.assert_says(log, "upstream", sick.address, "degraded")
        self.kill(good)
        wait_until(lambda: self.health(good) == "critical", 10 * patience(), "the good one to be gone")
        self.assertEqual(self.ask(), 200, "degraded is better than nobody")

    def test_guide_000_the_instances_body_false_makes_it_degraded_and_not_electable(self):
        instance, server = self.servers(2)
        self.start(f'endpoints = [{{ address = "{server.address}" }}]\n', service=f"""[service]
address = "{instance.address}"
[service.health]
every = "100ms"
timeout = "90ms"
fall = 50
[[service.check]]
http = "/health"
every = "100ms"
timeout = "90ms"
fall = 50
assert = ["$.database_connected==true"]
""")
        role = lambda: get_json(self.api, "/outrigger/v1/role") or {}
        wait_until(lambda: role().get("role") == "primary", 15 * patience(), "the instance to be primary")
        instance.health = {"status": "healthy", "database_connected": False}
        wait_until(lambda: role().get("role") != "primary", 10 * patience(), "the lease to be given up")
        self.assert_says((self.folder / "n1" / "agent.log").read_text(), "instance", "degraded", "database_connected")
        instance.health = {"status": "healthy", "database_connected": True}
        wait_until(lambda: role().get("role") == "primary", 15 * patience(), "it to be primary again")

    def test_a_program_and_a_connection_check_it_too(self):
        (server,) = self.servers(1)
        program = self.folder / "check"
        program.write_text('#!/bin/sh\necho "$OUTRIGGER_ADDRESS" >> "$0.log"\nexit $(cat "$0.code")\n')
        os.chmod(program, 0o755)
        code = self.folder / "check.code"
        code.write_text("0")
        self.start(f"""endpoints = [{{ address = "{server.address}" }}]
[[upstream.check]]
tcp = true
every = "100ms"
timeout = "90ms"
fall = 50
[[upstream.check]]
exec = ["{program}"]
every = "5s"
timeout = "5s"
fall = 1
rise = 1
""")
        wait_until(lambda: self.health(server) == "passing", 10 * patience(), "both checks to go well")
        self.assertIn(server.address, (self.folder / "check.log").read_text())
        code.write_text("1")
        wait_until(lambda: self.health(server) == "degraded", 10 * patience(), "exit code 1 to degrade it")
        code.write_text("2")
        wait_until(lambda: self.health(server) == "critical", 10 * patience(), "exit code 2 to fail it")
        self.assertIn("exited with 2", self.endpoints()[server.address]["reason"])

    def test_reload_changes_a_pool_and_loses_no_request(self):
        first, second, third = self.servers(3)
        self.start(f'endpoints = [{{ address = "{first.address}" }}, {{ address = "{second.address}" }}]\nbalance = "round_robin"\n')
        answers, stop = [], threading.Event()

        def keep_asking():
            while not stop.is_set():
                answers.append(self.ask())
        client = threading.Thread(target=keep_asking)
        client.start()
        self.addCleanup(client.join)
        self.addCleanup(stop.set)
        wait_until(lambda: len(first.requests()) >= 3, 10 * patience(), "requests")
        self.upstream = f'endpoints = [{{ address = "{third.address}" }}, {{ address = "{second.address}" }}]\nbalance = "round_robin"\n'
        self.reload()
        wait_until(lambda: len(third.requests()) >= 3, 10 * patience(), "the new server to be asked")
        count = len(first.requests())
        before = self.endpoints()[second.address]["requests"]
        self.assertGreater(before, 3, "what is known of a server that stays goes on")
        wait_until(lambda: self.endpoints()[second.address]["requests"] > before + 3, 10 * patience(), "more requests")
        self.assertEqual(len(first.requests()), count, "the old one is asked no more")
        stop.set()
        client.join()
        self.assertEqual(set(answers), {200})
        self.assertNotIn(first.address, self.endpoints())

    def test_a_unix_socket_is_an_endpoint(self):
        (server,) = self.servers(1)
        path = self.folder / "b.sock"
        unix = self.unix_front(path, server)
        self.addCleanup(unix.close)
        self.start(f'endpoints = [{{ address = "unix:{path}" }}]\n')
        self.assertEqual(self.ask(), 200)
        self.assertIn(f"unix:{path}", self.endpoints())

    def unix_front(self, path, server):
        """Passes what comes to a unix socket on to the server, one connection at a time."""
        import socket
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()

        def pump(source, sink):
            try:
                while data := source.recv(65536):
                    sink.sendall(data)
            except OSError:
                pass

        def serve():
            while True:
                try:
                    taken, _ = listener.accept()
                except OSError:
                    return
                host, port = server.address.split(":")
                behind = socket.create_connection((host, int(port)))
                threading.Thread(target=pump, args=(taken, behind), daemon=True).start()
                threading.Thread(target=pump, args=(behind, taken), daemon=True).start()
        threading.Thread(target=serve, daemon=True).start()
        return listener


class Refused(RealProcesses):

    def test_validate_names_the_key_and_the_fix(self):
        base = '[[upstream]]\nname = "broker"\nendpoints = [{ address = "10.0.0.1:9" }]\n'
        self.assert_refused(base + '[[route]]\npath = "/"\npool = "borker"\n', "route[0].pool", "broker")
        self.assert_refused(base + '[[upstream.check]]\nhttp = "/h"\nassert = ["$.status = 1"]\n', "upstream[0].check[0].assert", "column 10")


if __name__ == "__main__":
    unittest.main()
