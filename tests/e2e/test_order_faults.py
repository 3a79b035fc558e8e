"""A small helping of tests/e2e/orders: a freeze, a kill and a cut with orders under way, and that its checks can fail."""

import json
import random
import subprocess
import sys
import unittest

from harness import REPO, RealProcesses, binary, patience

from order_faults import KINDS, STORMS, Hands, plan, storms


class Plans(unittest.TestCase):
    def test_each_kind_has_its_share_and_the_first_freeze_is_the_zombie(self):
        for seed in range(50):
            faults = plan(20, random.Random(seed))
            counts = {kind: sum(fault.kind == kind for fault in faults) for kind in KINDS}
            self.assertEqual(counts, {"hang": 7, "kill": 7, "cut": 6})
            self.assertEqual(next(fault for fault in faults if fault.kind == "hang").shape, "zombie trader")
            self.assertTrue(all(fault.shape in KINDS[fault.kind] for fault in faults))
            self.assertEqual(faults, plan(20, random.Random(seed)), "the same again from the same seed")
        self.assertNotEqual(plan(20, random.Random(1)), plan(20, random.Random(2)))
        self.assertEqual([fault.shape for fault in plan(1, random.Random(1))], ["zombie trader"])

    def test_every_storm_comes_before_any_comes_again_and_can_be_played(self):
        shapes = [fault.shape for fault in storms(len(STORMS) + 1, random.Random(3))]
        self.assertEqual(set(shapes[:-1]), set(STORMS))
        for shape in STORMS:
            self.assertTrue(callable(getattr(Hands, shape.replace(" ", "_").replace(",", "").replace("'", ""))), shape)


class Orders(RealProcesses):
    def play(self, *options):
        """@return (exit code, figures)"""
        done = subprocess.run([sys.executable, "-B", REPO / "tests" / "e2e" / "orders", "--binary", binary(), "--clients", "8", "--longest", "3", *options],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, timeout=180 * patience())
        self.assertIn("\n{", done.stdout, done.stdout + done.stderr)
        return done.returncode, json.loads(done.stdout[done.stdout.index("\n{"):].split("\nkept:")[0])

    def test_a_freeze_a_kill_and_a_cut_place_every_order_once(self):
        code, figures = self.play("--orders", "240", "--faults", "3", "--seed", "5")
        self.assertEqual((code, figures["misses"]), (0, []), figures)
        self.assertEqual(figures["faults"], {"hang": 1, "kill": 1, "cut": 1})
        self.assertEqual((figures["acknowledged"], figures["at_exchange"], figures["replayed"]), (240, 240, 720))
        self.assertGreaterEqual(figures["resolved_by_hook"], 3, "at the least those whose replies the exchange has lost")

    def test_without_a_fence_the_zombie_is_seen(self):
        code, figures = self.play("--orders", "120", "--faults", "1", "--seed", "5", "--break", "fence")
        self.assertEqual(code, 1)
        self.assertGreater(figures["old_epochs_taken"], 0, figures)
        self.assertIn("of an old epoch were taken", " ".join(figures["misses"]))

    def test_a_hook_that_lies_is_seen(self):
        code, figures = self.play("--orders", "60", "--faults", "0", "--break", "hook")
        self.assertEqual(code, 1)
        self.assertGreaterEqual(figures["doubles"], 3, figures)  # those whose replies the exchange has lost, and what a slow machine leaves unknown
        self.assertIn("at the exchange more than once", " ".join(figures["misses"]))

    def test_without_a_ledger_doubles_are_seen(self):
        code, figures = self.play("--orders", "60", "--faults", "0", "--break", "ledger")
        self.assertEqual(code, 1)
        self.assertEqual(figures["doubles"], 60, "each was placed again by the one who asked what had become of it")
        self.assertEqual(figures["replayed"], 0)


if __name__ == "__main__":
    unittest.main()
