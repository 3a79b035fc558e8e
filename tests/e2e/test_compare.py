"""The comparison of the demo: what it makes of the notes, and both ways of standing before the traders, in short acts."""

import argparse
import contextlib
import io
import shutil
import unittest
import unittest.mock

from harness import STEADY, RealProcesses, binary, patience, wait_until

import compare


def ack(when, key, epoch=1):
    return [when, epoch, "n1", 1, when, key]


def load(**changes):
    return {"acks": [], "unknown": [], "rejected": [], "unacked": [], "order_replies": {}, **changes}


def arrival(when, key, node="n1", epoch=0):
    return {"time": when, "id": key, "node": node, "epoch": epoch, "order": 0}


ACTS = [{"name": "steady", "begin": 0, "end": 5}, {"name": "crash", "begin": 5, "end": 10}]


class Verdicts(unittest.TestCase):
    def judge(self, loads, log, received=None, woken=()):
        return compare.evaluate(ACTS, loads, log, received or {}, woken)

    def test_duplicates_by_the_act_in_which_they_came(self):
        figures = self.judge([load(acks=[ack(1, "a"), ack(6, "b")])],
                             [arrival(1, "a"), arrival(4, "b"), arrival(6, "b"), arrival(7, "b"), arrival(8, "own-n1-1"), arrival(8, "own-n1-1")])
        self.assertEqual((figures["duplicates"], figures["duplicates_by_act"]), (2, {"steady": 0, "crash": 2}))
        self.assertEqual((figures["missing"], figures["acked"]), (0, 2))

    def test_acknowledged_but_not_there(self):
        self.assertEqual(self.judge([load(acks=[ack(1, "a"), ack(2, "b")])], [arrival(1, "a"), arrival(1, "c")])["missing"], 1)

    def test_unknown_is_a_category_of_its_own_until_somebody_knows(self):
        loads = [load(unknown=[[1, "a"], [1, "b"], [1, "c"]]), load(acks=[ack(9, "c")])]
        figures = self.judge(loads, [arrival(1, "a"), arrival(1, "c")])
        self.assertEqual((figures["unknown"], figures["unknown_placed"], figures["unacked"]), (2, 1, 0))

    def test_orders_of_an_awakened_trader(self):
        received = {"n1": [{"time": 2, "id": "a"}, {"time": 7, "id": "b"}], "n2": [{"time": 3, "id": "c"}]}
        log = [arrival(6.1, "a"), arrival(7.1, "b"), arrival(6.1, "c", node="n2")]
        self.assertEqual(self.judge([load()], log, received, [("n1", 6)])["late_by_woken"], 1)

    def test_old_epochs_where_there_are_epochs(self):
        self.assertIsNone(self.judge([load()], [arrival(1, "a")])["old_epochs"])
        self.assertEqual(self.judge([load()], [arrival(1, "a", epoch=2), arrival(2, "b", epoch=1)])["old_epochs"], 1)

    def test_two_runs_are_added_up(self):
        one = self.judge([load(acks=[ack(1, "a")], order_replies={"502": 2})], [arrival(1, "a")])
        other = compare.evaluate([{"name": "long", "begin": 0, "end": 9}], [load(order_replies={"502": 1, "409": 1})], [arrival(1, "b"), arrival(2, "b")], {}, [])
        both = compare.merged(one, other)
        self.assertEqual((both["duplicates"], both["acked"], both["old_epochs"], both["errors_seen"]), (1, 1, None, {"502": 3, "409": 1}))
        self.assertEqual(both["duplicates_by_act"], {"steady": 0, "crash": 0, "long": 1})

    def test_the_table_and_its_verdict(self):
        good = self.judge([load(acks=[ack(1, "a"), ack(6, "b")])], [arrival(1, "a", epoch=1), arrival(6, "b", epoch=1)])
        text, passed = compare.report({"nginx": {**good, "duplicates": 7, "old_epochs": None}, "Outrigger": good})
        self.assertTrue(passed, text)
        for words in ("orders placed twice", "no epochs", "nginx", "Outrigger: ok"):
            self.assertIn(words, text)
        for what in ("duplicates", "missing", "old_epochs", "unacked", "rejected"):
            with self.subTest(what):
                self.assertFalse(compare.report({"Outrigger": {**good, what: 1}})[1])


class Contenders(RealProcesses):
    def run_acts(self, name):
        arguments = argparse.Namespace(binary=binary(), seed=1, short=True, json=None)
        contender = next(one for one in compare.contenders(arguments, self.folder)[0] if one.name == name)
        contender.cluster.extra_environment.update(STEADY)
        contender.cluster.answer_seconds = 5 * patience()
        patient = unittest.mock.patch.object(compare, "wait_until", wait_until)
        patient.start()
        self.addCleanup(patient.stop)
        run = compare.Run(contender, arguments)
        self.clusters.append(contender.cluster)
        self.addCleanup(run.end)
        ribbon = io.StringIO()
        with contextlib.redirect_stdout(ribbon):
            contender.start()
            run.begin_load("short", 30)
            wait_until(lambda: run.ribbon.acks > 20, 30, "some orders")
            run.act("replies", "replies lost", run.lose_replies)
            run.end_load()
        self.assertIn("✂", ribbon.getvalue())
        return run.figures()

    @unittest.skipUnless(shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin"), "nginx is not installed")
    def test_a_proxy_places_orders_twice_when_replies_are_lost(self):
        figures = self.run_acts("nginx")
        self.assertGreater(figures["duplicates"], 0)
        self.assertGreater(figures["acked"], 20)
        self.assertEqual((figures["missing"], figures["old_epochs"]), (0, None))

    def test_our_agents_do_not(self):
        figures = self.run_acts("Outrigger")
        self.assertEqual((figures["duplicates"], figures["missing"], figures["old_epochs"], figures["unacked"], figures["rejected"]),
                         (0, 0, 0, 0, 0), figures)
        self.assertGreater(figures["acked"], 20)


if __name__ == "__main__":
    unittest.main()
