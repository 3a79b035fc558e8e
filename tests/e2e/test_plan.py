"""What a reload would change, asked beforehand: `outrigger plan` against agents under requests, and then the reload itself."""

import json
import os
import signal
import socket
import threading
import unittest

from harness import Neighbours, RealProcesses, free_ports, get_json, patience, request, wait_until

ROUTES = """
[[route]]
name = "slow"
path = "/slow"
pool = "all"
breaker = {{ fail = 3, open = "{open}" }}
timeouts = {{ first_byte = "100s" }}
[[route]]
name = "rest"
path = "/"
pool = "all"
"""


class Gate:
    """An instance that answers /slow only when it is told to."""

    def __init__(self, instance):
        self.open = threading.Event()
        handler = instance.server.RequestHandlerClass
        answer = handler.handle_any

        def wait_first(one):
            if one.path.startswith("/slow"):
                self.open.wait(90)
            answer(one)

        handler.do_GET = wait_first


class Plan(RealProcesses):
    def setUp(self):
        super().setUp()
        instance = self.make_instance()
        self.gate = Gate(instance)
        self.addCleanup(self.gate.open.set)
        self.start_behind(ROUTES.format(open="30s"), instance, first="/warm")
        self.file = self.folder / "n1" / "outrigger.toml"
        self.before = self.file.read_text()

    def plan(self, *arguments, stdin=None):
        """@return (exit code, the answer)"""
        code, out, err = self.run_cli("plan", *arguments, "-o", "json", api=self.api, stdin=stdin)
        self.assertTrue(out.startswith("{"), out + err)
        return code, json.loads(out)

    def write(self, *changes):
        text = self.before
        for old, new in changes:
            self.assertIn(old, text)
            text = text.replace(old, new)
        self.file.write_text(text)
        return text

    def begin_slow(self):
        """A request that the instance does not answer yet."""
        host, port = self.proxy.split(":")
        client = socket.create_connection((host, int(port)), timeout=60 * patience())
        self.addCleanup(client.close)
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return client

    def test_guide_000_plan_shows_diff_and_blast_radius_and_the_reload_does_just_that(self):
        self.assertEqual(self.plan()[0], 0, "nothing was edited")
        client = self.begin_slow()
        wait_until(lambda: self.route_now("slow") == 1, 10 * patience(), "the request under way")
        other = f"127.0.0.1:{free_ports(1)[0]}"
        self.write(('open = "30s"', 'open = "31s"'), ("[[route]]\nname = \"slow\"", f'[[listen]]\naddress = "{other}"\n[proxy]\nthreads = 3\n[[route]]\nname = "slow"'))
        code, found = self.plan()
        self.assertEqual(code, 2)
        self.assertEqual([(c["change"], c["key"], c["before"], c["after"], c["taken_over_by"]) for c in found["changes"]],
                         [("added", "listen[1].address", None, f'"{other}"', "reload"), ("changed", "route[0].breaker.open", "30s", "31s", "reload"),
                          ("added", "proxy.threads", None, "3", "restart")])
        self.assertEqual((found["at_once"], found["needs_restart"]), (["listen", "route"], ["proxy"]))
        touched = {(t["kind"], t["name"]): t for t in found["touched"]}
        self.assertEqual(touched[("listener", other)]["change"], "added")
        self.assertEqual(touched[("route", "slow")]["now"]["in_flight"], 1)
        self.assertIn("breakers", touched[("route", "slow")]["forgotten"][0])
        self.assertNotIn(("route", "rest"), touched)
        self.assertNotEqual(found["hash"]["now"], found["hash"]["after"])
        self.assertNotIn(other, str(get_json(self.api, "/outrigger/v1/routes")["listeners"]), "asking opens nothing")
        code, out, _ = self.run_cli("plan", api=self.api)
        self.assertEqual(code, 2)
        self.assert_says(out, "a reload takes over at once:", "~ route[0].breaker.open: 30s -> 31s  [slow]", "+ proxy.threads = 3 (was 0)",
                         f"listener {other} opens", "route slow changes; now: 1 in flight", "forgotten: breakers", "a restart ends or forgets", "3 changes: 2 by a reload, 1 by a restart")

        reloaded = json.loads(request(self.api, "PUT", "/outrigger/v1/reload")[2])
        self.assertEqual((reloaded["applied"], reloaded["needs_restart"]), (found["at_once"], found["needs_restart"]))
        self.wait_status(other, "/x", 200)
        code, after = self.plan()
        self.assertEqual((code, [c["key"] for c in after["changes"]]), (2, ["proxy.threads"]), "what waits still waits")
        self.assertEqual((after["hash"]["now"], after["hash"]["after"]), (found["hash"]["after"],) * 2)
        self.gate.open.set()
        self.assertIn(b"200", client.recv(100), "the request under way has not noticed")

    def route_now(self, name):
        """Requests of a route that are under way, by a plan that would take it away."""
        found = self.plan("-c", "-", stdin=self.before.replace(f'name = "{name}"', 'name = "other"'))[1]
        return next(t["now"]["in_flight"] for t in found["touched"] if t["name"] == name)

    def test_a_file_that_validate_refuses_is_refused_with_the_same_words(self):
        candidate = self.folder / "new.toml"
        candidate.write_text(self.before.replace('pool = "all"', 'pool = "al"', 1))
        code, out, err = self.run_cli("plan", "-c", candidate, api=self.api)
        _, _, validated = self.run_cli("validate", candidate)
        self.assertEqual(code, 1, out)
        self.assertEqual(err.splitlines()[0], validated.splitlines()[0])
        self.assert_says(err, "route[0].pool", "a reload would refuse them")
        code, found = self.plan("-c", candidate)
        self.assertEqual((code, found["problems"][0]["key"]), (1, "route[0].pool"))
        self.file.write_text(candidate.read_text())
        code, _, err = self.run_cli("plan", api=self.api)
        self.assertEqual(code, 1)
        self.assert_says(err, str(self.file), "route[0].pool")
        self.assertEqual(request(self.proxy, "GET", "/x")[0], 200)

    def test_another_file_is_judged_with_the_agents_flags_and_secrets_stay_hidden(self):
        candidate = self.folder / "new.toml"
        secret = "sha256:" + "ab" * 32
        candidate.write_text(self.before + f'auth = {{ tokens = ["{secret}"] }}\n')
        code, out, err = self.run_cli("plan", "-c", candidate, api=self.api)
        self.assertEqual(code, 2, err)
        self.assert_says(out, "+ route[1].auth.tokens = (hidden)  [rest]")
        _, json_text, _ = self.run_cli("plan", candidate, "-o", "json", api=self.api)
        self.assertNotIn("abab", out + json_text)
        self.assertEqual(self.plan()[0], 0, "the agent's own file is as it was")

    def test_questions_that_are_none_are_refused(self):
        for body in ("", "[]", "{}", '{"files": []}', '{"files": [1]}', '{"files": [{"name": "/a"}]}', '{"files": [{"name": "a.toml", "text": ""}]}',
                     json.dumps({"files": [{"name": "/a", "text": ""}] * 102})):
            status, _, answer = request(self.api, "POST", "/outrigger/v1/plan", body.encode())
            self.assertEqual(status, 400, body[:80] + answer.decode())
        self.assertEqual(request(self.api, "POST", "/outrigger/v1/plan", json.dumps({"files": [{"name": "/a", "text": "\u0000\u0001"}]}).encode())[0], 200)
        self.assert_no_crash(self.process)

    def test_names_that_lead_to_no_file_hold_nothing_up(self):
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        for settings in (f'[mesh]\nca = "{pipe}"\ncert = "{pipe}"\nkey = "{pipe}"\n', f'[mesh]\ngossip_key_file = "{pipe}"\n'):
            body = json.dumps({"files": [{"name": str(self.folder / "new.toml"), "text": settings}]})
            status, _, answer = request(self.api, "POST", "/outrigger/v1/plan", body.encode())
            self.assertEqual(status, 200)
            self.assertIn("it is no file but a pipe", json.loads(answer)["problems"][0]["message"])
        self.file.write_text(self.before + f"""[[egress]]
name = "b"
listen = "127.0.0.1:{free_ports(1)[0]}"
url = "http://127.0.0.1:9"
inject = ["X-Key: file:{pipe}"]
""")
        code, found = self.plan()
        self.assertEqual((code, found["problems"]), (2, []), "a credential that cannot be read is told when it is wanted")
        self.assertEqual(request(self.proxy, "GET", "/x")[0], 200)

    def test_without_an_agent_it_says_so_and_what_to_do(self):
        self.process.send(signal.SIGTERM)
        self.wait_exit(self.process)
        code, _, err = self.run_cli("plan", api=self.api)
        self.assertEqual(code, 1)
        self.assert_says(err, self.api, "outrigger validate FILE")


class PlanOfACluster(Neighbours):
    def test_every_node_tells_the_hash_of_its_settings(self):
        def told(api):
            return {n["name"]: n["hash"] for n in get_json(api, "/outrigger/v1/plan")["nodes"]}
        wait_until(lambda: all(told(api) == told(self.apis[0]) and all(told(api).values()) and len(told(api)) == 2 for api in self.apis), 10 * patience(), "hashes everywhere")
        first = told(self.apis[0])
        self.assertNotEqual(first["a"], first["b"], "two files with names of their own")
        own = get_json(self.apis[1], "/outrigger/v1/plan")
        self.assertEqual(own["hash"]["now"], first["b"])
        code, out, _ = self.run_cli("validate", self.folder / "b" / "outrigger.toml")
        self.assertEqual(code, 0)
        self.assert_says(out, "hash " + first["b"])
        file = self.folder / "b" / "outrigger.toml"
        file.write_text(file.read_text().replace("[service.health]", 'weight = 2\n[service.health]'))
        after = get_json(self.apis[1], "/outrigger/v1/plan")["hash"]["after"]
        self.assertNotEqual(after, first["b"], "the file is another one, so there is something to be told")
        request(self.apis[1], "PUT", "/outrigger/v1/reload")
        wait_until(lambda: told(self.apis[0])["b"] == after, 10 * patience(), "the other agent to know")


if __name__ == "__main__":
    unittest.main()
