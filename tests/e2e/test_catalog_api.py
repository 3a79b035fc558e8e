"""Services, checks and discovery as Consul's clients see them, over three real agents."""

import json
import threading
import time
import unittest
import urllib.parse

from harness import Instance, RealProcesses, patience, wait_until


def ask(address, method, path, body=None):
    """@return (status, JSON or text)."""
    data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
    status, headers, text = full(address, method, path, data)
    del headers
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text


def full(address, method, path, data=None, seconds=15):
    """@return (status, headers with lower-case names, text)."""
    import http.client
    connection = http.client.HTTPConnection(*address.rsplit(":", 1), timeout=seconds * patience())
    try:
        connection.request(method, path, data)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


class OneAgent(RealProcesses):
    """What a single agent does with what is registered at it."""

    def setUp(self):
        super().setUp()
        self.process, self.api = self.start_single(extra='[catalog]\ncheck_scripts = "local"\n')
        wait_until(lambda: ask(self.api, "GET", "/v1/catalog/services")[1] == {"consul": []}, 10, "own service")

    def put(self, path, body=None):
        return ask(self.api, "PUT", path, body)

    def state(self, check):
        return ask(self.api, "GET", "/v1/agent/checks")[1].get(check, {}).get("Status")

    def wait_state(self, check, wanted):
        wait_until(lambda: self.state(check) == wanted, 10 * patience(), f"{check} {wanted}")

    def test_checks_of_every_kind_follow_the_service(self):
        instance = Instance()
        host, port = instance.address.split(":")
        self.assertEqual(self.put("/v1/agent/service/register", {
            "ID": "w/1 a", "Name": "web", "Port": int(port), "Address": host, "Tags": ["blue"],
            "Checks": [{"HTTP": f"http://{instance.address}/x", "Interval": "200ms", "Timeout": "1s"},
                       {"TCP": instance.address, "Interval": "200ms"},
                       {"Args": ["/bin/sh", "-c", "exit 1"], "Interval": "200ms"},
                       {"TTL": "1h"}, {"TTL": "300ms", "Status": "passing"}]}), (200, ""))
        base = "service:w/1 a:"
        self.wait_state(base + "1", "passing")
        self.wait_state(base + "2", "passing")
        self.wait_state(base + "3", "warning")
        self.assertEqual(self.state(base + "4"), "critical")
        self.assertEqual(self.put("/v1/agent/check/pass/" + urllib.parse.quote(base + "4"))[0], 200)
        self.assertEqual(self.state(base + "4"), "passing")
        self.wait_state(base + "5", "critical")  # nobody speaks for it any more
        self.assertEqual(self.state(base + "4"), "passing", "its hour is not over")
        instance.close()
        self.wait_state(base + "1", "critical")
        self.wait_state(base + "2", "critical")
        status, headers, _ = full(self.api, "GET", "/v1/agent/health/service/name/web?format=text")
        self.assertEqual((status, headers["x-consul-reason"]), (503, "critical"))
        self.assertEqual(self.put("/v1/agent/service/deregister/w%2F1%20a")[0], 200)
        self.assertEqual(ask(self.api, "GET", "/v1/agent/checks")[1], {})

    def test_a_restart_keeps_registrations_and_runs_their_checks_again(self):
        instance = Instance()
        self.put("/v1/agent/service/register", {"Name": "web", "Check": {"HTTP": f"http://{instance.address}/", "Interval": "200ms"}})
        self.put("/v1/agent/check/register", {"Name": "mine", "TTL": "1h", "Status": "warning"})
        self.wait_state("service:web", "passing")
        self.process.stop(20 * patience())
        self.process = self.start_agent("n1", config=(self.folder / "n1" / "outrigger.toml").read_text())
        seen = set()

        def watch():
            try:  # a default read: what was committed, not what the disk happens to hold while the log is read back
                status, checks = ask(self.api, "GET", "/v1/health/node/n1")
            except OSError:
                return False
            if status == 200:
                seen.update(c["Status"] for c in checks if c["CheckID"] in ("service:web", "mine"))
            return self.state("service:web") == "passing" and self.state("mine") == "warning"
        wait_until(watch, 15 * patience(), "both checks back")
        self.assertEqual(seen, {"passing", "warning"}, "a restart is no outage of the service")
        instance.close()
        self.wait_state("service:web", "critical")

    def test_identical_registration_moves_no_index_and_maintenance_takes_out(self):
        body = {"Name": "web", "Port": 80, "Check": {"TTL": "1h", "Status": "passing"}}
        self.put("/v1/agent/service/register", body)
        def index():
            return int(full(self.api, "GET", "/v1/health/service/web")[1]["x-consul-index"])
        before = index()
        self.put("/v1/agent/service/register", body)
        self.assertEqual(index(), before)
        self.put("/v1/agent/service/maintenance/web?enable=true&reason=why")
        self.assertEqual(ask(self.api, "GET", "/v1/health/service/web?passing")[1], [])
        self.put("/v1/agent/service/maintenance/web?enable=false")
        self.assertEqual(len(ask(self.api, "GET", "/v1/health/service/web?passing")[1]), 1)
        self.assertGreater(index(), before)
        self.put("/v1/agent/service/deregister/web")
        gone = index()
        self.assertGreater(gone, before)

    def test_external_nodes_and_events(self):
        self.assertEqual(self.put("/v1/catalog/register", {"Node": "ext", "Address": "10.9.9.9", "Service": {"Service": "db", "Port": 5},
                                                           "Check": {"Name": "c", "Status": "passing", "ServiceID": "db"}}), (200, True))
        found = ask(self.api, "GET", "/v1/health/service/db?passing")[1]
        self.assertEqual((found[0]["Node"]["Address"], found[0]["Service"]["Port"]), ("10.9.9.9", 5))
        self.assertEqual(self.put("/v1/catalog/deregister", {"Node": "ext"}), (200, True))
        self.assertEqual(ask(self.api, "GET", "/v1/catalog/node/ext")[1], None)
        fired = self.put("/v1/event/fire/deploy?service=consul", b"42")[1]
        mine = self.put("/v1/event/fire/deploy", b"43")[1]
        events = ask(self.api, "GET", "/v1/event/list?name=deploy")[1]
        self.assertEqual([e["ID"] for e in events], [mine["ID"]], "the first was for agents with a service named consul")
        self.assertNotEqual(fired["ID"], mine["ID"])
        targets = ask(self.api, "GET", "/outrigger/v1/sd/prometheus?service=consul")[1]
        self.assertEqual(targets[0]["labels"]["__meta_outrigger_service"], "consul")


class Settings(RealProcesses):
    """Services in files, read again while the agent runs."""

    def test_a_reload_adds_and_removes_and_a_bad_file_changes_nothing(self):
        ports, base = self.single_config()
        api = f"127.0.0.1:{ports['api']}"
        web = '[[services]]\nname = "web"\nport = 80\ncheck = { args = ["/bin/true"], interval = "200ms" }\n'
        process = self.start_agent("n1", config=base + web)
        config = self.folder / "n1" / "outrigger.toml"

        def passing(name):
            return len(ask(api, "GET", f"/v1/health/service/{name}?passing&stale")[1])
        self.wait_status(api, "/outrigger/v1/health/ready", 200)
        wait_until(lambda: passing("web") == 1, 10 * patience(), "web is passing")
        config.write_text(base + '[[services]]\nname = "db"\n')
        status, report = ask(api, "PUT", "/v1/agent/reload")
        self.assertEqual((status, report["applied"], report["needs_restart"]), (200, ["services"], []))
        wait_until(lambda: passing("db") == 1 and passing("web") == 0, 10 * patience(), "db for web")
        config.write_text(base + '[[services]]\nname = "db"\nprot = 80\n')
        status, report = ask(api, "PUT", "/v1/agent/reload")
        self.assertEqual(status, 500)
        self.assert_says(report["problems"][0], "services[0]", "unknown field", "outrigger.toml")
        self.assertEqual(passing("db"), 1)
        config.write_text(base.replace("[node]", '[raft]\nvoters = 3\n[node]\nlog_level = "debug"') + web)
        process.send(1)  # SIGHUP
        wait_until(lambda: passing("web") == 1, 10 * patience(), "web is back after SIGHUP")
        wait_until(lambda: "in force: node.log_level, services; needs a restart: raft" in process.log.read_text(), 10, "what has changed and what has not")


class ThreeAgents(RealProcesses):
    """Registered at one, seen at all; what happens when agents go."""

    def test_discovery_from_registration_to_the_death_of_an_agent(self):
        cluster = self.start_cluster()
        apis = [node.api for node in cluster.nodes]
        self.seen_everywhere_at_once(apis)
        self.wakes_for_its_own_service_only(apis)
        self.first_lease_wakes(apis)
        self.own_service_has_a_primary(apis)
        self.death_and_goodbye(cluster, apis)

    def seen_everywhere_at_once(self, apis):
        begin = time.monotonic()
        self.assertEqual(ask(apis[1], "PUT", "/v1/agent/service/register",
                             {"Name": "web", "Port": 80, "Check": {"TTL": "1h", "Status": "passing"}})[0], 200)
        for api in apis:
            wait_until(lambda a=api: len(ask(a, "GET", "/v1/health/service/web?passing&stale")[1]) == 1, 2 * patience(), f"web at {api}")
        print(f"registered at one, seen at three after {(time.monotonic() - begin) * 1000:.0f} ms")
        wait_until(lambda: len(ask(apis[0], "GET", "/v1/catalog/service/consul")[1]) == 3, 10 * patience(), "three agents in the catalog")
        lists = [[(i["ServiceID"], i["Node"]) for i in ask(a, "GET", "/v1/catalog/service/consul")[1]] for a in apis]
        self.assertEqual(lists[0], lists[1])
        self.assertEqual(lists[0], [(i["Service"]["ID"], i["Node"]["Node"]) for i in ask(apis[2], "GET", "/v1/health/service/consul")[1]])

    def first_lease_wakes(self, apis):
        """The tags of an election appear and move while somebody waits for the service, at an agent that holds nothing."""
        self.assertEqual(ask(apis[0], "PUT", "/v1/agent/service/register", {"Name": "batch", "Port": 90})[0], 200)
        wait_until(lambda: ask(apis[2], "GET", "/v1/catalog/service/batch?stale")[1], 2 * patience(), "batch at n3")

        def blocked(path, change, wanted):
            index = int(full(apis[2], "GET", path)[1]["x-consul-index"])
            answer = {}
            thread = threading.Thread(target=lambda: answer.update(got=full(apis[2], "GET", f"{path}{'&' if '?' in path else '?'}index={index}&wait=250s", seconds=300)), daemon=True)
            thread.start()
            thread.join(0.3)
            self.assertTrue(thread.is_alive(), f"{path} did not wait")
            status, said = ask(apis[1], "PUT", change[0], change[1])
            self.assertEqual(status, 200, said)
            thread.join(30 * patience())
            self.assertFalse(thread.is_alive(), f"{path} was not woken by {change[0]}")
            _, headers, text = answer["got"]
            self.assertGreater(int(headers["x-consul-index"]), index)
            self.assertIn(wanted, text)
            return said

        campaign = ("/outrigger/v1/election/batch/campaign", {"holder": "n1", "lease_ms": 60000})
        won = blocked("/v1/health/service/batch", campaign, '"primary"')
        resign = ("/outrigger/v1/election/batch/resign", {"holder": "n1", "epoch": won["epoch"]})
        won = blocked("/v1/catalog/service/batch", resign, '"replica"') and blocked("/v1/catalog/node/n1", campaign, '"primary"')
        blocked("/v1/health/service/batch?tag=replica", ("/outrigger/v1/election/batch/resign", {"holder": "n1", "epoch": won["epoch"]}), '"batch"')
        ask(apis[0], "PUT", "/v1/agent/service/register", {"Name": "late"})
        wait_until(lambda: "late" in ask(apis[2], "GET", "/v1/catalog/services?stale")[1], 2 * patience(), "late at n3")
        blocked("/v1/catalog/services", ("/outrigger/v1/election/late/campaign", {"holder": "n1", "lease_ms": 60000}), '"late":["primary","replica"]')

    def wakes_for_its_own_service_only(self, apis):
        index = full(apis[0], "GET", "/v1/health/service/web")[1]["x-consul-index"]
        answer = {}

        def wait():
            answer["got"] = full(apis[0], "GET", f"/v1/health/service/web?index={index}&wait=250s", seconds=300)
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        ask(apis[2], "PUT", "/v1/agent/service/register", {"Name": "other"})
        wait_until(lambda: "other" in ask(apis[0], "GET", "/v1/catalog/services?stale")[1], 5, "other at n1")
        self.assertTrue(thread.is_alive(), "woken by another service")
        ask(apis[1], "PUT", "/v1/agent/check/fail/service:web?note=broken")
        thread.join(30 * patience())
        self.assertFalse(thread.is_alive(), "nobody has woken it")
        self.assertIn("broken", answer["got"][2])
        self.assertGreater(int(answer["got"][1]["x-consul-index"]), int(index))
        ask(apis[1], "PUT", "/v1/agent/check/pass/service:web")

    def own_service_has_a_primary(self, apis):
        def tags():
            return sorted(t for i in ask(apis[0], "GET", "/v1/health/service/trader?passing")[1] for t in i["Service"]["Tags"])
        wait_until(lambda: tags() == ["primary", "replica", "replica"], 10 * patience(), "one primary among the instances")
        self.assertEqual(len(ask(apis[0], "GET", "/v1/health/service/trader?tag=primary")[1]), 1)

    def death_and_goodbye(self, cluster, apis):
        def web(path="/v1/health/service/web"):
            return ask(apis[0], "GET", path)[1]
        victim = cluster.nodes[1]
        victim.agent.send(9)
        wait_until(lambda: web("/v1/health/service/web?passing") == [], 15 * patience(), "services of a dead agent are out")
        self.assertEqual(web()[0]["Checks"][0]["Status"], "critical")
        self.assertEqual(web()[0]["Checks"][0]["CheckID"], "serfHealth")
        name = web()[0]["Node"]["Node"]
        self.assertEqual(ask(apis[0], "PUT", f"/v1/agent/force-leave/{name}"), (200, ""))
        wait_until(lambda: web() == [], 5 * patience(), "rows of the node that was pushed out are gone")
        wait_until(lambda: [m["Status"] for m in ask(apis[2], "GET", "/v1/agent/members")[1] if m["Name"] == name] in ([3], []),
                   5 * patience(), "everybody knows that it left")
        leaver = cluster.nodes[2]
        ask(apis[2], "PUT", "/v1/agent/leave")
        wait_until(lambda: not leaver.agent.alive(), 15 * patience(), "the leaver ends")


if __name__ == "__main__":
    unittest.main()
