"""Three real agents beside three real instances: whoever is asked, the answer is the same."""

import base64
import json
import re
import threading
import unittest
from pathlib import Path

from harness import Neighbours, RealProcesses, get_json, patience, request, wait_until, whole_lines


class Cluster(RealProcesses):
    def switch(self, made, epoch):
        """Waits until all agree on a primary with a newer epoch. @return (holder, epoch)"""
        return made.wait_agreed(15 * patience(), after_epoch=epoch)

    def apis(self, made):
        return [node.api for node in made.nodes]

    def value(self, api, key, how="consistent"):
        status, _, body = request(api, "GET", f"/v1/kv/{key}?raw&{how}")
        return body if status == 200 else None

    # --- one truth --------------------------------------------------------------------------------------------------
    def test_all_agents_answer_the_same(self):
        made = self.start_cluster()
        self.assertEqual(request(made.nodes[0].api, "PUT", "/v1/kv/a/b", b"value")[2].strip(), b"true")
        roles = [node.role() for node in made.nodes]
        self.assertEqual(len({(r["service"], r["holder"], r["epoch"]) for r in roles}), 1)
        self.assertEqual(sorted(r["role"] for r in roles), ["primary", "standby", "standby"])
        primary = next(r for r in roles if r["role"] == "primary")
        self.assertEqual(primary["self"], primary["holder"])
        for what, path in (("leader", "/v1/status/leader"), ("peers", "/v1/status/peers"), ("election", "/outrigger/v1/election/trader")):
            wait_until(lambda p=path: self.is_the_same(made, p), 15 * patience(), f"the same {what} at all")
        for api in self.apis(made):
            self.assertEqual(self.value(api, "a/b"), b"value")
            wait_until(lambda a=api: sorted((m["Name"], m["Status"]) for m in get_json(a, "/v1/agent/members")) == [("n1", 1), ("n2", 1), ("n3", 1)],
                       15 * patience(), "three members that are alive")
            wait_until(lambda a=api: sum(p["is_voter"] for p in get_json(a, "/outrigger/v1/raft")["peers"]) == 3, 15 * patience(), "three voters")

    def is_the_same(self, made, path):
        answers = [get_json(api, path) for api in self.apis(made)]
        if isinstance(answers[0], dict):
            answers = [(a["name"], a["holder"], a["epoch"]) for a in answers]
        return all(answers) and [answers[0]] * 3 == answers

    def test_kv_through_any_agent(self):
        made = self.start_cluster()
        for number, writer in enumerate(self.apis(made)):
            self.assertEqual(request(writer, "PUT", f"/v1/kv/k{number}", b"%d" % number)[2].strip(), b"true")
            for reader in self.apis(made):
                self.assertEqual(self.value(reader, f"k{number}"), b"%d" % number)
        entry = get_json(made.nodes[1].api, "/v1/kv/k0?consistent")[0]
        self.assertEqual(base64.b64decode(entry["Value"]), b"0")
        lost = request(made.nodes[2].api, "PUT", f"/v1/kv/k0?cas={entry['ModifyIndex'] - 1}", b"no")
        won = request(made.nodes[2].api, "PUT", f"/v1/kv/k0?cas={entry['ModifyIndex']}&flags=18446744073709551615", b"yes")
        self.assertEqual((lost[2].strip(), won[2].strip()), (b"false", b"true"))
        again = get_json(made.nodes[0].api, "/v1/kv/k0?consistent")[0]
        self.assertEqual((base64.b64decode(again["Value"]), again["Flags"]), (b"yes", 18446744073709551615))
        self.assertEqual(get_json(made.nodes[0].api, "/v1/kv/?keys&consistent"), ["k0", "k1", "k2"])
        self.assertEqual(request(made.nodes[0].api, "DELETE", "/v1/kv/k?recurse")[2].strip(), b"true")
        status, headers, _ = request(made.nodes[1].api, "GET", "/v1/kv/k0?consistent")
        self.assertEqual(status, 404)
        self.assertGreater(int(headers["x-consul-index"]), again["ModifyIndex"], "the deletion has an index of its own")

    def test_blocking_query_wakes_on_another_agents_write(self):
        made = self.start_cluster()
        request(made.nodes[0].api, "PUT", "/v1/kv/watched", b"1")
        index = request(made.nodes[1].api, "GET", "/v1/kv/watched?consistent")[1]["x-consul-index"]
        woken = {}

        def wait():
            status, headers, body = request(made.nodes[1].api, "GET", f"/v1/kv/watched?index={index}&wait=300s&raw", timeout=400)
            woken.update(status=status, index=int(headers["x-consul-index"]), body=body)

        waiter = threading.Thread(target=wait, daemon=True)
        waiter.start()
        request(made.nodes[2].api, "PUT", "/v1/kv/other", b"x")
        waiter.join(0.5)
        self.assertTrue(waiter.is_alive(), "another key must not wake it")
        request(made.nodes[2].api, "PUT", "/v1/kv/watched", b"2")
        waiter.join(30 * patience())  # long before its own 300 s are over
        self.assertFalse(waiter.is_alive(), "nobody has woken it")
        self.assertEqual((woken["status"], woken["body"]), (200, b"2"))
        self.assertGreater(woken["index"], int(index))

    # --- the command line -------------------------------------------------------------------------------------------
    def test_command_line_against_a_cluster(self):
        made = self.start_cluster()
        api = made.nodes[2].api
        self.assertEqual(self.run_cli("kv", "put", "cli", "spoken", api=api)[0], 0)
        self.assertEqual(self.run_cli("kv", "get", "cli", api=made.nodes[0].api)[1].strip(), "spoken")
        self.assertEqual(self.run_cli("kv", "get", "absent", api=api)[0], 1)
        for verb in ("members", "raft status", "upstreams", "election"):
            code, out, err = self.run_cli(*verb.split(), api=api)
            self.assertEqual(code, 0, err)
            self.assertTrue(out.strip())
            code, out, err = self.run_cli(*verb.split(), "-o", "json", api=api)
            self.assertEqual(code, 0, err)
            self.assertTrue(json.loads(out))
        code, out, _ = self.run_cli("members", api=api)
        for node in made.nodes:
            self.assertIn(node.name, out)
        self.assertEqual(self.run_cli("kv", "delete", "cli", api=api)[0], 0)

    # --- the primary moves ------------------------------------------------------------------------------------------
    def test_switchover_to_a_named_agent(self):
        made = self.start_cluster()
        holder, epoch = made.wait_agreed(20 * patience())
        target = next(node.name for node in made.nodes if node.name != holder)
        other = next(node for node in made.nodes if node.name not in (holder, target))
        wait_until(lambda: Neighbours.endpoints(other.api).get(target, {}).get("health") == "passing", 15 * patience(), f"{other.name} to hear that {target} is healthy")
        code, out, err = self.run_cli("switchover", target, api=other.api)
        self.assertEqual(code, 0, out + err)
        self.assertEqual(self.switch(made, epoch)[0], target)

    def test_switchover_to_nobody_is_refused(self):
        made = self.start_cluster()
        role = made.wait_agreed(20 * patience())
        code, out, err = self.run_cli("switchover", "n9", api=made.nodes[0].api)
        self.assertEqual(code, 1)
        self.assertIn("n9", out + err)
        self.assertEqual(made.wait_agreed(20 * patience()), role)

    def test_drain_hands_over_and_ready_says_so(self):
        made = self.start_cluster()
        holder, epoch = made.wait_agreed(20 * patience())
        node = made.node(holder)
        code, out, err = self.run_cli("drain", api=node.api)
        self.assertEqual(code, 0, out + err)
        rest = [n for n in made.nodes if n is not node]
        self.assertNotEqual(made.wait_agreed(15 * patience(), rest, epoch)[0], holder)
        self.wait_status(node.api, "/outrigger/v1/health/ready", 503)
        self.assertEqual(self.run_cli("drain", "--off", api=node.api)[0], 0)
        self.wait_status(node.api, "/outrigger/v1/health/ready", 200)

    def test_leave_is_not_a_failure(self):
        made = self.start_cluster()
        holder, epoch = made.wait_agreed(20 * patience())
        node = made.node(holder)
        code, out, err = self.run_cli("leave", api=node.api)
        self.assertEqual(code, 0, out + err)
        self.assertEqual(node.agent.child.wait(30 * patience()), 0)
        rest = [n for n in made.nodes if n is not node]
        made.wait_agreed(15 * patience(), rest, epoch)

        def left():
            return {m["Name"]: m["Status"] for m in get_json(rest[0].api, "/v1/agent/members") or []}.get(holder) == 3
        wait_until(left, 10 * patience(), "the status 'left'")

    def test_health_body_moves_the_primary(self):
        """HTTP 200 with status other than healthy: still answering, but no trader."""
        made = self.start_cluster()
        holder, epoch = made.wait_agreed(20 * patience())
        node = made.node(holder)
        request(node.service, "PUT", "/health", '{"status": "degraded"}')
        self.assertNotEqual(self.switch(made, epoch)[0], holder)
        request(node.service, "PUT", "/health", '{"status": "healthy"}')
        wait_until(lambda: (node.role() or {}).get("instance") == "passing", 10 * patience(), "a healthy instance")

    # --- what the instance gets -------------------------------------------------------------------------------------
    def test_orders_reach_the_primary_only_with_its_epoch(self):
        made = self.start_cluster()
        holder, epoch = made.wait_agreed(20 * patience())
        for node in made.nodes:
            order = json.dumps({"client_order_id": f"via-{node.name}", "side": "buy", "quantity": 1, "price": 9000})
            status, headers, body = request(node.entry, "POST", "/orders", order)
            self.assertEqual(status, 201, body)
            answer = json.loads(body)
            self.assertEqual((answer["node"], answer["epoch"]), (holder, epoch))
        for node in made.nodes:
            seen = node.receive_log.read_text().splitlines() if node.receive_log.exists() else []
            self.assertEqual(len(seen), 3 if node.name == holder else 0, node.name)

    def test_role_file(self):
        made = self.start_cluster()
        holder, epoch = made.wait_agreed(20 * patience())

        def agrees(node, role):
            fields = node.role_file.read_text().split() if node.role_file.exists() else []
            return fields[:2] == [role, str(epoch)] if role == "primary" else fields[:1] == [role]
        for node in made.nodes:
            role = "primary" if node.name == holder else "standby"
            wait_until(lambda n=node, r=role: agrees(n, r), 5 * patience(), f"{role} in the role file of {node.name}")
        made.node(holder).trader.kill()
        wait_until(lambda: agrees(made.node(holder), "standby"), 5 * patience(), "standby in the role file of the old primary")

    def test_hooks(self):
        """Programs for promotion, an URL for demotion; both are told the epoch."""
        told = self.folder / "told"
        listener = self.make_instance()
        made = self.make_cluster()
        made.write_config(f"""
[service.hooks]
promote = {{ exec = ["/bin/sh", "-c", 'printf "%s\\n" "$(cat)" >> {told}'] }}
demote = {{ url = "http://{listener.address}/demoted" }}
""")
        made.start()
        holder, epoch = self.wait_ready(made)
        # Of an earlier primary, too, where there was one before all agreed.
        wait_until(lambda: epoch in [json.loads(line)["epoch"] for line in whole_lines(told)], 10 * patience(), "the promotion hook")
        made.node(holder).trader.kill()
        self.switch(made, epoch)
        wait_until(lambda: [n for n in listener.requests() if n["path"] == "/demoted" and n["method"] == "POST"],
                   10 * patience(), "the demotion hook")

    # --- coming back ------------------------------------------------------------------------------------------------
    def test_everything_is_there_after_a_restart_of_all(self):
        made = self.start_cluster()
        _, epoch = made.wait_agreed(20 * patience())
        for number in range(20):
            self.assertEqual(request(made.nodes[number % 3].api, "PUT", f"/v1/kv/kept/{number}", b"%d" % number)[2].strip(), b"true")
        for node in made.nodes:
            node.agent.kill()
        for node in made.nodes:
            node.start_agent()
        self.wait_ready(made)
        # Until its owner is back, the old lease stands in the state as it was; the next holder has a higher epoch.
        made.wait_agreed(30 * patience(), after_epoch=epoch)
        for number in range(20):
            self.assertEqual(self.value(made.nodes[number % 3].api, f"kept/{number}"), b"%d" % number)

    def test_a_majority_goes_on_and_a_minority_does_not(self):
        made = self.start_cluster()
        first, second, third = made.nodes
        third.agent.kill()
        wait_until(lambda: request(first.api, "PUT", "/v1/kv/two", b"2")[2].strip() == b"true", 15 * patience(), "a write with two of three")
        second.agent.kill()
        status, _, body = request(first.api, "PUT", "/v1/kv/one", b"1", timeout=30)
        self.assertGreaterEqual(status, 500, body)
        self.wait_status(first.api, "/outrigger/v1/health/ready", 503)
        second.start_agent()
        self.wait_status(first.api, "/outrigger/v1/health/ready", 200)
        self.assertEqual(self.value(first.api, "two"), b"2")

    def test_a_fourth_agent_joins_by_seed(self):
        made = self.start_cluster()
        code, out, err = self.run_cli("init", "--dir", made.secrets, "--names", "n4", "--ip", "127.0.0.1")
        self.assertEqual(code, 0, out + err)
        ports, config = self.single_config("n4", f"""ca = "{made.secrets}/ca.pem"
cert = "{made.secrets}/n4/cert.pem"
key = "{made.secrets}/n4/key.pem"
gossip_key_file = "{made.secrets}/gossip.key"
seeds = ["127.0.0.1:{made.nodes[1].gossip_port}"]
""")
        self.assertEqual(request(made.nodes[0].api, "PUT", "/v1/kv/before", b"1")[2].strip(), b"true")
        self.start_agent("n4", config=config)
        api = f"127.0.0.1:{ports['api']}"
        self.wait_status(api, "/outrigger/v1/health/ready", 200, 30)
        self.assertEqual(self.value(api, "before"), b"1")

        def voters():
            raft = get_json(made.nodes[0].api, "/outrigger/v1/raft") or {"peers": []}
            return {p["name"] for p in raft["peers"] if p["is_voter"]} == {"n1", "n2", "n3"} and len(raft["peers"]) == 4
        wait_until(voters, 20 * patience(), "a fourth agent that learns (an even number of voters would gain nothing)")

    def test_metrics_and_self(self):
        made = self.start_cluster()
        for node in made.nodes:
            self.assertEqual(node.metric("outrigger_lease_late_writes_total"), 0)
            self.assertEqual(get_json(node.api, "/v1/agent/self")["Config"]["NodeName"], node.name)
            _, headers, _ = request(node.api, "GET", "/metrics")
            self.assertRegex(headers["content-type"], "text/plain|openmetrics")
        wait_until(lambda: sum(node.metric("outrigger_role_primary") or 0 for node in made.nodes) == 1, 10 * patience(), "one primary, as the metrics say")


class Alone(RealProcesses):
    def test_no_settings_at_all(self):
        """`outrigger agent` in an empty folder is a working node; only the ports are moved out of the way here."""
        process = self.start_agent("alone", environment={
            "OUTRIGGER_NODE_DATA_DIR": str(self.folder / "outrigger-data"), "OUTRIGGER_API_LISTEN": "127.0.0.1:0",
            "OUTRIGGER_MESH_GOSSIP_PORT": "0", "OUTRIGGER_MESH_PORT": "0"})

        def api():
            found = re.search(r'"event":"started".*?api (127\.0\.0\.1:\d+)', process.log.read_text())
            return found and found.group(1)
        address = wait_until(api, 15 * patience(), "the address of the API in the log")
        self.wait_status(address, "/outrigger/v1/health/ready", 200)
        self.assertEqual(request(address, "PUT", "/v1/kv/a", b"1")[2].strip(), b"true")
        self.assertEqual(request(address, "GET", "/v1/kv/a?raw")[2], b"1")
        self.assertTrue(Path(self.folder / "outrigger-data").is_dir())
        self.assertEqual(process.stop(20 * patience()), 0)


if __name__ == "__main__":
    unittest.main()
