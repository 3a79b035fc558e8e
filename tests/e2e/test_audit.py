"""The audit chain under hands that change one agent's disk: whose, and at which entry, every agent names."""

import contextlib
import json
import shutil
import subprocess
import threading

from harness import RealProcesses, answer_of, binary, get_json, patience, wait_until


class Audit(RealProcesses):
    NODES, DAMAGED = 3, 1

    def setUp(self):
        super().setUp()
        self.made = self.make_cluster(self.NODES)
        self.made.start()
        self.wait_ready(self.made)

    @property
    def victim(self):
        return self.made.nodes[self.DAMAGED]

    def cli(self, node, *arguments, codes=(0,)):
        got, out, err = self.run_cli(*arguments, api=node.api)
        self.assertIn(got, codes, out + err)
        return out + err

    def page(self, node, after=0):
        return get_json(node.api, f"/outrigger/v1/audit?after={after}&limit=1000", 10)

    def write_entries(self, rounds=4):
        for i in range(rounds):
            self.cli(self.made.nodes[0], "halt", "--scope", f"route:r{i}", "--reason", f"round {i}", "--as", "ada")
            self.cli(self.made.nodes[0], "resume", "--all", "--as", "grace")

    def witnessed(self, nodes=None):
        """Every agent keeps a signature of every other about the entry that is the newest now. @return its number"""
        nodes = nodes or self.made.nodes
        number = max(self.page(node)["head"]["number"] for node in nodes)

        def check():
            for node in nodes:
                signers = get_json(node.api, "/outrigger/v1/audit/witness", 10)["signers"]
                newest = [s["kept"][-1]["number"] for s in signers if s["kept"]]
                if sum(1 for n in newest if n >= number) < len(nodes):
                    return False
            return True
        wait_until(check, 30 * patience(), f"all have signed entry {number} for all")
        return number

    def tamper(self, *arguments):
        tool = binary().parent.parent / "tests" / "audit_tamper"
        done = subprocess.run([str(tool), str(self.victim.folder / "data" / "store"), *map(str, arguments)], capture_output=True, text=True, check=False,
                              timeout=30 * patience())
        self.assertEqual(done.returncode, 0, done.stderr)

    def with_stopped_victim(self, what):
        self.victim.agent.stop(110)
        what()
        self.victim.start_agent()
        self.wait_ready(self.made)
        for node in self.made.nodes:
            wait_until(lambda n=node: self.reaches_all(n), 30 * patience(), f"{node.name} reaches all, so that nothing is left out of a comparison", pause=0.2)

    def reaches_all(self, node):
        _, out, _ = self.run_cli("audit", "verify", "--peers", "-o", "json", api=node.api)
        return out.startswith("{") and not json.loads(out)["peers"]["unreached"]

    def text_at(self, number):
        return next(e for e in self.page(self.made.nodes[0])["entries"] if e["number"] == number)["text"]

    def all_findings(self, wanted):
        """Each agent names the victim and exactly these: (kind, number, last), sorted."""
        for node in self.made.nodes:
            code, out, err = self.run_cli("audit", "verify", "--peers", "-o", "json", api=node.api)
            self.assertEqual(code, 1, out + err)
            findings = json.loads(out)["peers"]["findings"]
            self.assertEqual({f["node"] for f in findings}, {self.victim.name}, f"as {node.name} says: {out}")
            self.assertEqual(sorted((f["kind"], f["number"], f["last"]) for f in findings), sorted(wanted), f"as {node.name} says: {out}")

    def verdicts(self, kind, number, last=None):
        """Each agent names the victim, this kind and this entry, and nobody else."""
        for node in self.made.nodes:
            code, out, err = self.run_cli("audit", "verify", "--peers", "-o", "json", api=node.api)
            self.assertEqual(code, 1, out + err)
            reply = json.loads(out)
            self.assertTrue(reply["complete"], out)
            findings = reply["peers"]["findings"]
            self.assertEqual({f["node"] for f in findings}, {self.victim.name}, f"as {node.name} says: {out}")
            self.assertEqual((findings[0]["kind"], findings[0]["number"]), (kind, number), f"as {node.name} says: {out}")
            if last is not None:
                self.assertEqual(findings[0]["last"], last, out)
            self.assertEqual(reply["peers"]["undecided"], [], out)
            self.assertIn(f"{self.victim.name}: {kind} {number}", self.cli(node, "audit", "verify", "--peers", codes=(1,)))

    def noticed(self):
        """Without anybody asking: events and numbers, on the damaged agent and on the others."""
        for node in self.made.nodes:
            wanted = "audit_" + ("changed" if node is self.victim else "forked")
            wait_until(lambda n=node: (n.metric("outrigger_audit_disputes") or 0) > 0, 20 * patience(), f"{node.name} sees the fork", pause=0.1)

            def logged(node=node, wanted=wanted):
                log = node.agent.log.read_text(errors="replace")
                return wanted in log or "audit_truncated" in log
            wait_until(logged, 20 * patience(), f"{node.name} logs {wanted}", pause=0.1)
        wait_until(lambda: self.victim.metric("outrigger_audit_contradicted") == 1, 20 * patience(), "the victim to know that it is meant", pause=0.1)
        wait_until(lambda: self.made.nodes[0].metric("outrigger_audit_disputes") == 1, 20 * patience(), "one dispute", pause=0.1)

    @contextlib.contextmanager
    def busy(self):
        """Meanwhile the audit grows as fast as the cluster decides."""
        over = threading.Event()

        def write(node, who):
            i = 0
            while not over.is_set():
                i += 1
                body = json.dumps({"scope": f"route:{who}{i % 8}", "reason": f"round {i}", "who": who}).encode()
                answer_of(node.api, "POST", "/outrigger/v1/halts", body=body, seconds=30)
                body = json.dumps({"all": True, "who": who}).encode()
                answer_of(node.api, "POST", "/outrigger/v1/halts/resume", body=body, seconds=30)
        writers = [threading.Thread(target=write, args=(node, who)) for node, who in zip(self.made.nodes, ("ada", "bob", "eve"))]
        for writer in writers:
            writer.start()
        try:
            yield
        finally:
            over.set()
            for writer in writers:
                writer.join()

    def test_a_healthy_cluster_under_traffic_is_not_accused(self):
        """Copies are frozen at slightly different moments, while all go on signing: that is nobody's fault."""
        begun = self.page(self.made.nodes[0])["head"]["number"]
        compared = [0]

        def look():
            for node in self.made.nodes:
                code, out, err = self.run_cli("audit", "verify", "-o", "json", api=node.api)
                self.assertEqual(code, 0, out + err)
                code, out, err = self.run_cli("audit", "verify", "--peers", "-o", "json", api=node.api)
                reply = json.loads(out)
                if code == 3 and reply["peers"]["unreached"]:  # one that had no time to answer is not accused either
                    self.assertEqual(reply["peers"]["findings"], [], out)
                    continue
                self.assertEqual(code, 0, out + err)
                compared[0] += 1
            return compared[0] >= 15 and self.page(self.made.nodes[0])["head"]["number"] > begun + 100
        with self.busy():
            wait_until(look, 120 * patience(), "fifteen whole comparisons, and 100 entries meanwhile")

    def test_an_edited_row(self):
        self.write_entries()
        self.witnessed()
        for node in self.made.nodes:
            self.assertIn("nobody has touched any", self.cli(node, "audit", "verify", "--peers"))
        self.with_stopped_victim(lambda: self.tamper("edit", 4, "nothing happened"))
        self.verdicts("edited", 4)

    def test_a_deleted_row(self):
        self.write_entries()
        self.witnessed()
        self.with_stopped_victim(lambda: self.tamper("delete", 5))
        self.verdicts("deleted", 5, 5)

    def test_hands_inside_the_chain_are_named_at_the_rows_that_they_touched(self):
        """Not at the first row that does not fit: a hash that was computed anew moves that one."""
        self.write_entries(12)
        self.witnessed()

        def hands():
            for one in (("patch", 4, "nothing happened", 4), ("patch", 7, "nothing happened", 9), ("edit", 13, "nothing happened"), ("delete", 12), ("hash", 16),
                        ("spoil", 18)):
                self.tamper(*one)
        self.with_stopped_victim(hands)
        self.all_findings([("edited", 4, 4), ("edited", 7, 9), ("deleted", 12, 12), ("edited", 13, 13), ("edited", 16, 16), ("edited", 18, 18)])

    def test_a_rewritten_chain_whose_last_row_is_gone(self):
        self.write_entries()
        number = self.witnessed()

        def hands():
            self.tamper("rewrite", 4, "nothing happened")
            self.tamper("delete", number)
        self.with_stopped_victim(hands)
        for node in self.made.nodes:
            code, out, _ = self.run_cli("audit", "verify", "--peers", "-o", "json", api=node.api)
            found = {(f["kind"], f["number"]) for f in json.loads(out)["peers"]["findings"] if f["node"] == self.victim.name}
            self.assertEqual(code, 1, out)
            self.assertIn(("edited", 4), found, out)

    def test_a_front_that_was_taken_away(self):
        """Nothing has to be dropped of so small an audit: the agent sees that alone."""
        self.write_entries()
        self.witnessed()
        self.with_stopped_victim(lambda: self.tamper("front", 3))
        out = self.cli(self.victim, "audit", "verify", codes=(1,))
        self.assertIn("deleted 1 to 3", out)
        self.verdicts("deleted", 1, 3)

    def test_a_rewritten_chain(self):
        """The nasty one: the copy fits in itself again."""
        self.write_entries()
        self.witnessed()
        self.with_stopped_victim(lambda: self.tamper("rewrite", 4, "nothing happened"))
        self.noticed()
        self.verdicts("edited", 4)

    def test_an_excised_entry(self):
        self.write_entries()
        self.witnessed()
        self.with_stopped_victim(lambda: self.tamper("excise", 5))
        self.noticed()
        self.verdicts("deleted", 5, 5)

    def test_a_cut_end(self):
        self.write_entries()
        number = self.witnessed()
        self.with_stopped_victim(lambda: self.tamper("cut", number - 3))
        self.noticed()
        self.verdicts("truncated", number - 2)

    def test_an_older_store_and_no_peers(self):
        """The whole store put back to an older copy while nobody else is there: the witness file remembers."""
        store = self.victim.folder / "data" / "store"
        self.victim.agent.stop(110)
        shutil.copytree(store, self.folder / "older")
        self.victim.start_agent()
        self.wait_ready(self.made)
        self.write_entries()
        number = self.witnessed()
        for node in self.made.nodes:
            node.agent.stop(110)
        shutil.rmtree(store)
        shutil.copytree(self.folder / "older", store)
        self.victim.start_agent()

        def lone():
            code, out, _ = self.run_cli("audit", "verify", "-o", "json", api=self.victim.api)
            return (code, json.loads(out)) if "faults" in out else None
        code, reply = wait_until(lone, 20 * patience(), "the lone agent answers")
        self.assertEqual(code, 1)
        self.assertEqual(reply["faults"][0]["kind"], "truncated", reply)
        self.assertGreaterEqual(reply["faults"][0]["last"], number)
        # Nobody could be asked, and that is said; with no fault of the own copy it would be exit 3.
        code, out, _ = self.run_cli("audit", "verify", "--peers", "-o", "json", api=self.victim.api)
        reply = json.loads(out)
        self.assertEqual((code, reply["complete"], len(reply["peers"]["unreached"])), (1, False, 2), out)

    def test_many_who_ask_at_once_are_all_answered(self):
        """One inquiry at a time; who waits shares the next one, and who is too many is told so."""
        self.write_entries(1)
        self.witnessed()
        answers = []

        def ask(node):
            answers.append(answer_of(node.api, "GET", "/outrigger/v1/audit/verify?peers=1", seconds=60 * patience()).status)
        askers = [threading.Thread(target=ask, args=(node,)) for node in self.made.nodes for _ in range(24)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        self.assertEqual(len(answers), len(askers))
        self.assertLessEqual(set(answers), {200, 429, 503}, answers)
        self.assertGreaterEqual(answers.count(200), 3)

    def test_who_cannot_be_asked_is_named_and_a_file_is_checked(self):
        self.write_entries(2)
        self.witnessed()
        gone = self.made.nodes[2]
        gone.agent.kill()
        here = self.made.nodes[0]

        def partial():
            return self.run_cli("audit", "verify", "--peers", api=here.api)[0] == 3
        wait_until(partial, 30 * patience(), "an agent that is gone is not taken for one that agrees")
        self.assertIn(f"{gone.name}: not compared", self.cli(here, "audit", "verify", "--peers", codes=(3,)))
        lines = self.cli(here, "audit", "export", "--signed").splitlines()
        path = self.folder / "audit.jsonl"
        for wanted, changed in ((None, lines), ("edited", [lines[0].replace("start", "begin"), *lines[1:]]), ("deleted 3", lines[:2] + lines[3:]),
                                ("truncated", lines[:3] + lines[-1:])):
            path.write_text("\n".join(changed) + "\n")
            code, out, err = self.run_cli("audit", "verify", "--file", path)
            self.assertEqual(code, 0 if wanted is None else 1, out + err)
            self.assert_says(out, wanted or "it fits together and is as it was signed, as far as entry")


if __name__ == "__main__":
    import unittest

    unittest.main()
