"""Disks are lost, and with them orders that were acknowledged: whoever comes back sends nothing until a person has looked."""

import json
import shutil

from harness import get_json, patience, wait_until
from test_orders import KeyedOrders


class LostLedger(KeyedOrders):
    def answer(self, node, key):
        status, _, body = self.send(node, key)
        return status, json.loads(body).get("code")

    def cli(self, *words, api=None):
        code, out, err = self.run_cli(*words, api=api)
        self.assertEqual(code, 0, err)
        return out

    def ready(self, node):
        wait_until(node.ready, 20 * patience(), f"{node.name} ready")

    def answered(self, node, key):
        wait_until(lambda: self.send(node, key)[0] == 201, 20 * patience(), f"an answer for {key}")

    def test_a_restore_into_an_empty_ledger_comes_back_halted(self):
        nodes = self.made.nodes
        self.answered(nodes[1], "k-1")
        file = self.folder / "backup.tgz"
        self.cli("snapshot", "save", file, api=nodes[0].api)
        out = self.cli("snapshot", "restore", file, api=nodes[0].api)
        self.assertNotIn("halted", out, "the ledger of a cluster that lives knows its orders")
        self.assertEqual(self.send(nodes[2], "k-1")[0], 201)
        for node in nodes:
            node.agent.kill()
        for node in nodes:
            shutil.rmtree(node.folder / "data")
            node.start_agent()
        for node in nodes:
            self.ready(node)
        self.made.wait_agreed(20 * patience())
        out = self.cli("snapshot", "restore", file, "--force", api=nodes[1].api)
        self.assert_says(out, "everything is halted", "outrigger resume ")
        for node in nodes:
            wait_until(lambda n=node: self.answer(n, "k-1") == (503, "halted"), 20 * patience(), f"{node.name} halted")
        self.assertEqual(self.placed("k-1"), 1)
        self.cli(*out.rsplit('"outrigger ', 1)[1].split('"')[0].split(), api=nodes[2].api)
        self.answered(nodes[0], "k-2")

    def test_a_survivor_that_goes_on_alone_comes_back_halted(self):
        survivor, *lost = self.made.nodes
        self.answered(survivor, "k-1")
        wait_until(lambda: get_json(survivor.api, "/outrigger/v1/orders/orders/k-1?stale"), 10 * patience(), "the survivor to have it")
        for node in lost:
            node.agent.kill()
        survivor.agent.stop(30 * patience())
        data = survivor.folder / "data"
        self.assert_says(self.cli("raft", "recover", "--data-dir", data), "Nothing was changed", "everything is halted")
        self.assertEqual(self.left_behind(data), 0, "looking leaves nothing")
        other = shutil.copytree(data, self.folder / "other")
        self.assertNotIn("halted", self.cli("raft", "recover", "--data-dir", other, "--yes", "--no-halt"))
        self.assertEqual(self.left_behind(other), 0)
        self.assert_says(self.cli("raft", "recover", "--data-dir", data, "--yes"), "everything is halted", "outrigger resume --all")
        survivor.start_agent()
        self.ready(survivor)
        self.answered(survivor, "k-1")  # what is known is told
        self.assertEqual(self.answer(survivor, "k-2"), (503, "halted"))
        self.cli("resume", "--all", api=survivor.api)
        self.answered(survivor, "k-2")
        self.assertEqual((self.placed("k-1"), self.placed("k-2")), (1, 1))

    def left_behind(self, data):
        """Of the recovery, in the file of halts."""
        return (data / "halts").read_bytes().count(b"raft recover")
