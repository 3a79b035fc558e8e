"""What agents tell of a failover: the same story at each of them, also of a dead one; drills that make one; faults on purpose."""

import json
import unittest
import xml.dom.minidom

from harness import RealProcesses, get_json, patience, request, wait_until

PHASES = ["detect", "fence", "elect", "reconcile", "arm"]


class Incidents(RealProcesses):
    def incident(self, node, after_epoch):
        """The story at one agent, once it is that of a later epoch and over."""
        def look():
            told = get_json(node.api, "/outrigger/v1/incident/last")
            return told if told and told["epoch"] > after_epoch and told["over"] else None
        return wait_until(look, 15 * patience(), f"the story at {node.name}")

    def same_story(self, nodes, after_epoch):
        """What each of them tells, when that is the same; one that has not heard all of it yet tells another."""
        stories = [self.incident(node, after_epoch) for node in nodes]
        told = [(one["to"], one["epoch"], one["phases"]) for one in stories]
        return stories if all(one == told[0] for one in told) else None

    def assert_phases(self, told):
        self.assertEqual([phase["name"] for phase in told["phases"]], PHASES)
        happened = {phase["name"]: phase for phase in told["phases"] if phase["happened"]}
        self.assertLessEqual({"detect", "fence", "elect", "arm"}, set(happened), told)
        times = [phase["at_ms"] for phase in told["phases"]]
        self.assertEqual(times, sorted(times))
        self.assertEqual((times[0], told["total_ms"]), (0, happened["arm"]["at_ms"]))

    def test_a_dead_trader_is_told_the_same_by_all_and_drawn(self):
        made = self.start_cluster()
        for node in made.nodes:
            status, _, body = request(node.api, "GET", "/outrigger/v1/incident/last")
            self.assertEqual((status, json.loads(body)["code"]), (404, "not_found"))
        holder, epoch = made.wait_agreed(20 * patience())
        made.node(holder).trader.kill()
        stories = wait_until(lambda: self.same_story(made.nodes, epoch), 15 * patience(), "the same story at all of them")
        for told in stories:
            self.assert_phases(told)
            self.assertEqual((told["from"], told["from_epoch"]), (holder, epoch))
            self.assertNotEqual(told["to"], holder)
            self.assertEqual((told["to"], told["epoch"], told["phases"]), (stories[0]["to"], stories[0]["epoch"], stories[0]["phases"]))
        self.assertIn("instance", [event["what"] for event in stories[0]["events"]])
        api = made.nodes[1].api
        picture = self.folder / "incident.svg"
        code, out, err = self.run_cli("incident", "last", "--svg", picture, api=api)
        self.assertEqual(code, 0, err)
        self.assert_says(out, f"primary {holder} -> {stories[0]['to']}", *PHASES)
        drawn = xml.dom.minidom.parse(str(picture))
        self.assertEqual(len([r for r in drawn.getElementsByTagName("rect") if r.getAttribute("class").startswith("p")]),
                         sum(phase["happened"] for phase in stories[0]["phases"]))
        self.assertGreater(made.nodes[1].metric("outrigger_flight_events_total"), 0)

    def test_those_who_are_left_tell_of_a_dead_agent(self):
        made = self.start_cluster()
        holder, epoch = made.wait_agreed(20 * patience())
        dead = made.node(holder)
        dead.agent.kill()  # first: it may not see its trader die and give the lease away
        dead.trader.kill()
        for node in made.nodes:
            if node is dead:
                continue
            told = self.incident(node, epoch)
            self.assert_phases(told)
            self.assertEqual(told["from"], holder)
            detect = told["phases"][0]
            self.assertIn(holder, detect["text"])
            self.assertGreater(told["total_ms"], 100, "the lease and the margin have to end first")
            self.assertIn(holder, {event["node"] for event in get_json(node.api, "/outrigger/v1/incident/events")["events"]},
                          "what the dead one said is known to the others")

    def test_a_drill_kills_the_instance_and_measures(self):
        made = self.start_cluster()
        holder, epoch = made.wait_agreed(20 * patience())
        primary = made.node(holder)
        other = next(node for node in made.nodes if node is not primary)
        code, _, err = self.run_cli("drill", "kill-primary", "--yes", api=other.api)
        self.assertEqual(code, 1)
        self.assert_says(err, f"{other.name} is not the primary, {holder} is")
        code, _, err = self.run_cli("drill", "kill-primary", api=primary.api)
        self.assertEqual(code, 2)
        self.assert_says(err, str(primary.trader.pid), "trader.py", "Nothing was done")
        self.assertTrue(primary.trader.alive())
        code, out, err = self.run_cli("drill", "kill-primary", "--yes", "-o", "json", api=primary.api)
        self.assertEqual(code, 0, err)
        told = json.loads(out)
        self.assert_phases(told)
        self.assertEqual((told["from"], told["over"]), (holder, True))
        self.assertGreater(told["epoch"], epoch)
        self.assertEqual(primary.trader.child.wait(30 * patience()), -9)

    def test_faults_need_leave_and_loopback(self):
        self.assert_refused('[mesh]\nbind = "0.0.0.0"\ninsecure = true\n[demo]\nfaults = true\n', "demo.faults", "mesh.bind is 0.0.0.0")
        made = self.start_cluster()
        status, _, body = request(made.nodes[0].api, "POST", "/outrigger/v1/faults/partition", '{"peers": ["n2"]}')
        self.assertEqual((status, json.loads(body)["code"]), (403, "forbidden"), body)

    def test_a_partition_is_made_and_heals(self):
        made = self.make_cluster()
        made.write_config("\n[demo]\nfaults = true\n")
        made.start()
        holder, epoch = self.wait_ready(made)
        alone = made.node(holder)
        for node in made.nodes:
            peers = [n.name for n in made.nodes if (n is alone) != (node is alone)]
            status, _, body = request(node.api, "POST", "/outrigger/v1/faults/partition", json.dumps({"peers": peers}))
            self.assertEqual((status, sorted(json.loads(body)["partitioned"])), (200, sorted(peers)), body)
        rest = [node for node in made.nodes if node is not alone]
        made.wait_agreed(15 * patience(), rest, after_epoch=epoch)
        wait_until(lambda: (alone.role() or {"role": "primary"})["role"] != "primary", 10 * patience(), "the lone one giving up")
        status, _, body = request(alone.api, "PUT", "/v1/kv/x", "1", timeout=20)
        self.assertNotEqual((status, body.strip()), (200, b"true"), "no write without a majority")
        for node in made.nodes:
            self.assertEqual(request(node.api, "POST", "/outrigger/v1/faults/partition", '{"peers": []}')[0], 200)
        made.wait_agreed(15 * patience(), after_epoch=epoch)
        told = self.incident(alone, epoch)
        self.assertEqual(told["from"], holder, "it learns what happened without it")
        self.assertEqual(request(made.nodes[0].api, "POST", "/outrigger/v1/faults/partition", '{"peers": ["n9"]}')[0], 404)
        self.assertIn("faults_allowed", made.nodes[0].agent.log.read_text())


if __name__ == "__main__":
    unittest.main()
