"""`outrigger import consul` against a real Consul: keys and services of every shape arrive, once, and stay.

Needs a `consul` program: $OUTRIGGER_CONSUL, or one in PATH. Without one every test is skipped and says so."""

import base64
import json
import os
import shutil
import unittest

from harness import RealProcesses, Process, free_ports, patience, request, wait_until

CONSUL = os.environ.get("OUTRIGGER_CONSUL") or shutil.which("consul")
U64_MAX = 2 ** 64 - 1


def ask(address, method, path, body=None):
    """@return (status, JSON or text)."""
    data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
    status, _, answer = request(address, method, path, data, timeout=10 * patience())
    text = answer.decode(errors="replace")
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text


@unittest.skipUnless(CONSUL, "no consul program: put one in PATH or name it in OUTRIGGER_CONSUL")
class ImportConsul(RealProcesses):
    def setUp(self):
        super().setUp()
        http, lan, server = free_ports(3)
        self.consul = f"127.0.0.1:{http}"
        process = Process("consul", [CONSUL, "agent", "-dev", "-node", "old", "-bind", "127.0.0.1", "-http-port", http,
                                     "-dns-port", -1, "-grpc-port", -1, "-serf-wan-port", -1, "-serf-lan-port", lan, "-server-port", server],
                          self.folder / "consul.log")
        self.loose.append(process)
        self.process, self.api = self.start_single()

        def leads():
            try:
                return ask(self.consul, "GET", "/v1/status/leader") not in ((200, ""), (200, '""')) and ask(self.consul, "GET", "/v1/catalog/node/old")[1]
            except OSError:
                return False
        wait_until(leads, 30 * patience(), "a leader of Consul")

    def put(self, path, body=None):
        status, answer = ask(self.consul, "PUT", path, body)
        self.assertEqual(status, 200, f"{path}: {answer}")
        return answer

    def take_over(self, *options):
        """@return (exit code, what it says as JSON)."""
        code, out, err = self.run_cli("import", "consul", "http://" + self.consul, "-o", "json", *options, api=self.api)
        try:
            return code, json.loads(out)
        except ValueError:
            self.fail(f"exit {code}: {out}{err}")

    def keys(self, address):
        """{key: (value, flags)} of everything that was written."""
        status, found = ask(address, "GET", "/v1/kv/?recurse")
        return {one["Key"]: (one["Value"], one["Flags"]) for one in found} if status == 200 else {}

    def instances(self, address, service):
        """What a client sees of a service, without what belongs to the place where it is kept."""
        found = ask(address, "GET", f"/v1/health/service/{service}")[1]
        shown = []
        for one in found:
            inner = one["Service"]
            shown.append({
                "node": one["Node"]["Node"], "address": one["Node"]["Address"], "id": inner["ID"], "tags": inner["Tags"] or [],
                "port": inner["Port"], "own address": inner["Address"], "meta": inner["Meta"] or {}, "weights": inner["Weights"],
                "tagged": inner.get("TaggedAddresses") or {},
                "checks": sorted((c["CheckID"], c["Status"], c["Name"], c["Notes"], c["Output"]) for c in one["Checks"] if c["ServiceID"])})
        return sorted(shown, key=lambda one: (one["node"], one["id"]))

    def fill_keys(self):
        for path, value in {"a": b"1", "folder/": b"", "folder/x%20y": b"blank", "p%25cent": b"%", "plus%2B": b"+", "uml%C3%A4ut/%E2%82%AC": b"x",
                            "binary": bytes(range(256)), "empty": b"", "q%3Fm%23": b"marks", "large": b"z" * 524288,
                            "deep/" + "d" * 500: b"long"}.items():
            self.put(f"/v1/kv/{path}", value)
        self.put(f"/v1/kv/flags?flags={U64_MAX}", b"f")
        for number in range(300):
            self.put(f"/v1/kv/many/{number:04}", str(number).encode() * 7)
        session = self.put("/v1/session/create", {"TTL": "60s"})["ID"]
        self.assertIs(self.put(f"/v1/kv/locked?acquire={session}", b"held"), True)

    def fill_services(self):
        self.put("/v1/agent/service/register", {
            "ID": "web/1 a", "Name": "web", "Tags": ["blue", "v1"], "Port": 8080, "Address": "10.1.1.1", "Meta": {"version": "1"},
            "Weights": {"Passing": 5, "Warning": 2}, "Checks": [{"CheckID": "w-ttl", "Name": "by hand", "TTL": "1h", "Status": "passing", "Notes": "n"},
                                                                {"TCP": "127.0.0.1:1", "Interval": "1h", "Status": "warning"}]})
        self.put("/v1/agent/service/register", {"ID": "web2", "Name": "web", "Port": 8081, "TaggedAddresses": {"wan": {"Address": "1.2.3.4", "Port": 80}}})
        self.put("/v1/catalog/register", {"Node": "ext", "Address": "10.9.9.9", "NodeMeta": {"rack": "7"},
                                          "Service": {"ID": "db-1", "Service": "db", "Port": 5432, "Tags": ["primary-db"]},
                                          "Check": {"CheckID": "db-up", "Name": "db", "Status": "critical", "Output": "no answer", "ServiceID": "db-1"}})
        wait_until(lambda: len(ask(self.consul, "GET", "/v1/health/service/web")[1]) == 2, 10 * patience(), "services in Consul's catalog")

    def test_keys_of_every_kind_arrive_and_a_second_run_changes_nothing(self):
        self.fill_keys()
        theirs = self.keys(self.consul)
        code, said = self.take_over("--only", "kv", "--dry-run")
        self.assertEqual((code, said["kv"]["written"], said["dry_run"]), (0, len(theirs), True))
        self.assertEqual(self.keys(self.api), {}, "a dry run writes nothing")
        code, said = self.take_over("--only", "kv")
        self.assertEqual((code, said["kv"]["found"], said["kv"]["written"]), (0, len(theirs), len(theirs)))
        ours = self.keys(self.api)
        self.assertEqual(ours, theirs)
        self.assertEqual(ours["flags"][1], U64_MAX)
        self.assertEqual(base64.b64decode(ours["binary"][0]), bytes(range(256)))
        self.assertNotIn("Session", ask(self.api, "GET", "/v1/kv/locked")[1][0], "locks stay with those who hold them")
        before = ask(self.api, "GET", "/v1/kv/a")[1][0]["ModifyIndex"]
        code, said = self.take_over("--only", "kv")
        self.assertEqual((code, said["kv"]["written"], said["kv"]["same"]), (0, 0, len(theirs)))
        self.assertEqual(ask(self.api, "GET", "/v1/kv/a")[1][0]["ModifyIndex"], before)

    def test_what_differs_here_is_kept_unless_told_otherwise(self):
        for name in ("a", "b", "sub/c"):
            self.put(f"/v1/kv/{name}", b"theirs")
        self.assertEqual(ask(self.api, "PUT", "/v1/kv/b", b"ours")[0], 200)
        code, said = self.take_over("--only", "kv", "--prefix", "sub/")
        self.assertEqual((code, said["kv"]["written"], sorted(self.keys(self.api))), (0, 1, ["b", "sub/c"]))
        code, said = self.take_over("--only", "kv")
        self.assertEqual((code, said["kv"]["kept"]), (1, ["b"]))
        self.assertEqual(ask(self.api, "GET", "/v1/kv/b?raw")[1], "ours")
        self.assertEqual(self.take_over("--only", "kv", "--overwrite")[0], 0)
        self.assertEqual(ask(self.api, "GET", "/v1/kv/b?raw")[1], "theirs")

    def test_services_arrive_with_all_that_clients_see(self):
        self.fill_services()
        code, said = self.take_over()
        self.assertEqual((code, said["services"]["found"], said["services"]["written"]), (0, 3, 3), said)
        for name in ("web", "db"):
            self.assertEqual(self.instances(self.api, name), self.instances(self.consul, name), name)
        self.assertEqual([n["Meta"] for n in ask(self.api, "GET", "/v1/catalog/nodes")[1] if n["Node"] == "ext"], [{"rack": "7"}])
        self.assertEqual(ask(self.api, "GET", "/v1/catalog/services")[1], {"consul": [], "db": ["primary-db"], "web": ["blue", "v1"]})
        self.assertEqual([i["Service"]["ID"] for i in ask(self.api, "GET", "/v1/health/service/web?passing")[1]], ["web2"])
        code, said = self.take_over()
        self.assertEqual((code, said["services"]["written"], said["services"]["same"]), (0, 0, 3), said)

    def test_a_service_that_has_changed_there_is_kept_here_unless_told_otherwise(self):
        self.fill_services()
        self.take_over()
        self.put("/v1/agent/service/register", {"ID": "web2", "Name": "web", "Port": 9999})
        wait_until(lambda: any(i["ServicePort"] == 9999 for i in ask(self.consul, "GET", "/v1/catalog/service/web")[1]), 10 * patience(), "the change")
        code, said = self.take_over()
        self.assertEqual((code, said["services"]["kept"]), (1, ["old/web2"]), said)
        self.assertEqual(self.take_over("--overwrite")[0], 0)
        self.assertEqual(self.instances(self.api, "web"), self.instances(self.consul, "web"))

    def test_a_node_that_is_one_of_our_agents_keeps_its_own_services(self):
        # As after a move: the same machine, whose name was Consul's node and is our agent now.
        self.put("/v1/catalog/register", {"Node": "n1", "Address": "10.0.0.1", "Service": {"ID": "mine", "Service": "mine", "Port": 1}})
        self.put("/v1/catalog/register", {"Node": "ext", "Address": "10.9.9.9", "Service": {"ID": "db-1", "Service": "db", "Port": 5432}})
        code, said = self.take_over("--only", "services")
        self.assertEqual((code, said["services"]["kept"]), (1, ["n1/mine"]), said)
        self.assertEqual(len(self.instances(self.api, "db")), 1, "the others arrive all the same")
        self.assertEqual(ask(self.api, "GET", "/v1/catalog/service/mine")[1], [])

    def test_a_source_that_is_none_says_so(self):
        (port,) = free_ports(1)
        code, out, err = self.run_cli("import", "consul", f"http://127.0.0.1:{port}", api=self.api)
        self.assertEqual(code, 1)
        self.assert_says(out + err, f"127.0.0.1:{port}", "run it again")


if __name__ == "__main__":
    unittest.main()
