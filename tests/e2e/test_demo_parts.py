"""The demo's own parts without an agent: traders, exchange, clients, and above all the scorecard that judges."""

import fcntl
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from harness import REPO, Process, free_ports, get_json, now, request, wait_until

import scorecard
import websocket

DEMO = REPO / "deploy" / "demo"


def acks(*pairs):
    return [[when, epoch, "n", 1, when, f"k{number}"] for number, (when, epoch) in enumerate(pairs)]


class Failover(unittest.TestCase):
    def test_from_the_last_of_the_old_to_the_first_of_the_new(self):
        seen = acks((1.0, 1), (2.0, 1), (2.01, 1), (2.2, 2), (2.3, 2))
        self.assertAlmostEqual(scorecard.failover_ms(seen, 2.005, 5), 190)

    def test_a_late_reply_of_the_old_does_not_shorten_it(self):
        seen = acks((1.0, 1), (2.2, 2), (2.5, 1), (2.6, 2))
        self.assertAlmostEqual(scorecard.failover_ms(seen, 1.5, 5), 1200)

    def test_never(self):
        self.assertEqual(scorecard.failover_ms(acks((1.0, 1), (3.0, 1)), 2, 5), scorecard.NEVER)
        self.assertEqual(scorecard.failover_ms([], 2, 5), scorecard.NEVER)
        self.assertEqual(scorecard.failover_ms(acks((1.0, 1), (6.0, 2)), 2, 5), scorecard.NEVER, "after the act")

    def test_silence_counts_from_the_edges(self):
        self.assertAlmostEqual(scorecard.longest_silence_ms(acks((1, 1), (1.5, 1), (3, 1)), 1.2, 3.2), 1500)
        self.assertAlmostEqual(scorecard.longest_silence_ms([], 1, 3), 2000)


class Referee(unittest.TestCase):
    def notes(self, *pairs):
        return [{"time": when, "epoch": epoch, "id": "x"} for when, epoch in pairs]

    def test_clean_handover(self):
        received = {"n1": self.notes((1, 1), (2, 1)), "n2": self.notes((2.5, 2), (4, 2)), "n3": []}
        self.assertEqual(scorecard.overlap_ms(received), 0)
        self.assertEqual(scorecard.late_orders(received), 0)
        self.assertEqual(scorecard.shared_epochs(received), [])

    def test_two_primaries_at_once_are_seen(self):
        received = {"n1": self.notes((1, 1), (3, 1)), "n2": self.notes((2.5, 2), (4, 2))}
        self.assertAlmostEqual(scorecard.overlap_ms(received), 500)
        self.assertEqual(scorecard.late_orders(received), 1)

    def test_an_old_zombie_is_seen_over_several_epochs(self):
        received = {"n1": self.notes((1, 1), (9, 1)), "n2": self.notes((2, 2), (3, 2)), "n3": self.notes((4, 3), (5, 3))}
        self.assertAlmostEqual(scorecard.overlap_ms(received), 7000)
        self.assertEqual(scorecard.late_orders(received), 1)

    def test_one_instance_may_serve_two_epochs_in_order(self):
        self.assertEqual(scorecard.overlap_ms({"n1": self.notes((1, 1), (2, 1), (3, 2))}), 0)

    def test_an_epoch_served_twice_is_seen(self):
        self.assertEqual(scorecard.shared_epochs({"n1": self.notes((1, 4)), "n2": self.notes((2, 4))}), [4])

    def test_requests_without_epoch_do_not_count(self):
        received = {"n1": self.notes((1, 2)), "n2": self.notes((2, 0))}
        self.assertEqual((scorecard.overlap_ms(received), scorecard.late_orders(received)), (0, 0))


class Reads(unittest.TestCase):
    def trouble(self, what, begin, end, entry=0, final=False):
        return {"what": what, "begin": begin, "end": end, "entry": entry, "final": final}

    def test_in_flight_at_a_killed_entry(self):
        self.assertEqual(scorecard.judge_gets([self.trouble("reset", 1.9, 2.1)], [(0, 2, 3)]), (0, 1))

    def test_in_flight_to_a_killed_process_behind_another_entry(self):
        judge = scorecard.judge_gets
        self.assertEqual(judge([self.trouble("502", 1.9, 2.1, entry=1, final=True)], [(0, 2, 3)], [2.0]), (0, 1))
        self.assertEqual(judge([self.trouble("reset", 1.9, 2.1, entry=1)], [], [2.0]), (0, 1))
        for late in (self.trouble("502", 2.01, 2.1, final=True), self.trouble("502", 1.0, 1.9, final=True),
                     self.trouble("504", 1.9, 2.9, final=True)):
            self.assertEqual(judge([late], [], [2.0]), (1, 0), "begun after, ended before, or much too late")

    def test_anything_else_failed(self):
        for trouble in (self.trouble("503", 2.1, 2.2), self.trouble("reset", 3.1, 3.2), self.trouble("reset", 1.0, 1.5),
                        self.trouble("timeout", 2.1, 2.2, entry=1), self.trouble("refused", 2.1, 2.2, final=True)):
            with self.subTest(trouble):
                self.assertEqual(scorecard.judge_gets([trouble], [(0, 2, 3)]), (1, 0))


class Exchange(unittest.TestCase):
    def test_duplicates_old_epochs_and_missing(self):
        log = [{"id": key, "epoch": epoch, "time": 0, "node": "n"} for key, epoch in
               (("a", 1), ("b", 2), ("a", 2), ("c", 1), ("own-n1-1", 1), ("d", 0))]
        self.assertEqual(scorecard.exchange_figures(log, {"a", "b", "gone"}),
                         {"placed": 5, "duplicates": 1, "old_epoch_arrivals": 2, "acked_not_placed": 1})


class Zombies(unittest.TestCase):
    def test_what_a_frozen_trader_held_and_did_not_get_out(self):
        acts = [{"kind": "hang", "node": "n1", "epoch": 2, "fault": 10.0}, {"kind": "steady"}]
        note = lambda key, epoch, when: {"id": key, "epoch": epoch, "time": when}  # noqa: E731
        received = {"n1": [note("long ago", 2, 3), note("placed", 2, 9.9), note("held", 2, 10.1), note("new", 3, 15)], "n2": [note("held", 3, 13)]}
        log = [{"id": "placed", "epoch": 2}, {"id": "held", "epoch": 3}, {"id": "new", "epoch": 3}]
        self.assertEqual(scorecard.held_back(acts, received, log), 1)
        self.assertEqual(scorecard.held_back(acts, received, log + [{"id": "held", "epoch": 2}]), 0, "it got out")


class Halts(unittest.TestCase):
    ACT = {"halted": 10.0, "answered": 10.02, "refused": 10.03, "resume_refused": True, "healed": 12.0, "resumed": 15.0, "end": 20.0}

    def judge(self, times, **changes):
        return scorecard.halt_figures({**self.ACT, **changes}, [{"time": when} for when in times])

    def test_what_came_to_the_exchange_tells_where_it_stood(self):
        halt = self.judge((9.9, 11.0, 11.9, 12.3, 15.4, 19.0, 21.0))
        self.assertAlmostEqual(halt["answered_ms"], 20)
        self.assertAlmostEqual(halt["refused_ms"], 30)
        self.assertEqual(halt["majority_orders"], 2)
        self.assertAlmostEqual(halt["everywhere_ms"], 300)
        self.assertAlmostEqual(halt["resumed_ms"], 400)
        self.assertTrue(all(row[3] for row in scorecard.halt_gates([halt])))

    def test_each_gate_of_a_halt_can_fail(self):
        good = (11.0, 12.3, 15.4)
        for times, changes, words in ((good, {"refused": None}, "first refused order"), (good, {"refused": 10.2}, "first refused order"),
                                      ((12.3, 15.4), {}, "majority took"), (good, {"resume_refused": False}, "without a majority"),
                                      ((11.0, 14.1, 15.4), {}, "after healing"), ((11.0, 12.3), {}, "after the resume")):
            with self.subTest(words):
                missed = [row[0] for row in scorecard.halt_gates([self.judge(good), self.judge(times, **changes)]) if not row[3]]
                self.assertEqual(len(missed), 1, missed)
                self.assertIn(words, missed[0])
        self.assertEqual(scorecard.halt_gates([]), [], "a run without that act")


class Gates(unittest.TestCase):
    def run_of(self, **changes):
        load = {"acks": acks((1.0, 1), (1.5, 1), (5.1, 1), (5.2, 2), (9.0, 2), (9.9, 3), (13.0, 3), (15.0, 4), (20.0, 4)),
                "get_troubles": [], "get_nodes": [[1, "n1"]], "get_count": 5, "unacked": [], "unknown": [], "rejected": [], "kv_written": 3, "kv_lost": [],
                "ticks": {"seen": 1, "missed": 0, "repeated": 0, "reconnects": 0}, "order_replies": {}, "client_errors": []}
        acts = [{"name": "steady", "kind": "steady", "begin": 0, "fault": 0, "end": 4},
                {"name": "crash", "kind": "crash", "begin": 5, "fault": 5.1, "end": 8},
                {"name": "lost", "kind": "lost", "begin": 8, "fault": 9, "end": 12},
                {"name": "hang", "kind": "hang", "begin": 12, "fault": 13, "end": 18},
                {"name": "rolling", "kind": "rolling", "begin": 18, "fault": 18, "end": 20}]
        log = [{"id": f"k{number}", "epoch": 0, "time": 0, "node": "n"} for number in range(9)]
        run = {"acts": acts, "load": load, "received": {}, "log": log, "outages": [], "late_writes": 0,
               "late_write_rises": [], "audit_broken": [], "notes": []}
        for name, value in changes.items():
            (run["load"] if name in load else run)[name] = value
        return scorecard.evaluate(run)

    def missed(self, *runs):
        return [row[0] for row in scorecard.gates(list(runs)) if not row[3]]

    def test_a_good_run_passes(self):
        self.assertEqual(self.missed(self.run_of()), [])
        text, good = scorecard.report([self.run_of()])
        self.assertTrue(good, text)

    def test_each_gate_can_fail(self):
        trouble = [{"what": "503", "begin": 1, "end": 2, "entry": 0, "final": True}]
        notes = lambda when, epoch: [{"time": when, "epoch": epoch}]  # noqa: E731
        for changes, words in (
                ({"get_troubles": trouble}, "reads failed"), ({"late_writes": 1}, "writes after the lease"),
                ({"late_writes": None}, "writes after the lease"), ({"kv_lost": [4]}, "KV writes lost"),
                ({"unacked": ["a"]}, "never answered"), ({"rejected": [[1, "a", 503]]}, "recorded refusal"),
                ({"log": [{"id": "k1", "epoch": 0, "time": 0, "node": "n"}] * 2}, "placed twice"), ({"log": []}, "not at the exchange"),
                ({"log": [{"id": f"k{n}", "epoch": 9 - n, "time": 0, "node": "n"} for n in range(9)]}, "under an old epoch"),
                ({"audit_broken": ["n2"]}, "audit chain"), ({"notes": ["n1 ready again: not within 20 s"]}, "as planned"),
                ({"client_errors": ["KeyError()"]}, "as planned"), ({"kv_written": 0}, "done"),
                ({"received": {"n1": notes(1, 1) + notes(3, 1), "n2": notes(2, 2)}}, "two active"),
                ({"received": {"n1": notes(1, 1), "n2": notes(1, 1)}}, "epochs served")):
            with self.subTest(words):
                self.assertTrue(any(words in row for row in self.missed(self.run_of(**changes))), words)

    def test_slow_failovers_fail(self):
        slow = acks((5.0, 1), (5.7, 2), (9.0, 2), (15.5, 3), (15.6, 3))
        missed = self.missed(self.run_of(acks=slow))
        self.assertEqual(missed[0], "failover, trader killed")
        self.assertIn("failover, agent and trader hung", missed)

    def test_median_and_worst_over_runs(self):
        quick, slow = self.run_of(), self.run_of()
        slow["failover_ms"]["lost"] = 5000
        self.assertEqual(self.missed(quick, quick, slow), [])
        self.assertEqual(self.missed(quick, slow, slow), ["failover, agent and trader killed"])
        slow["failover_ms"]["lost"] = 6001
        self.assertEqual(self.missed(quick, quick, slow), ["failover, agent and trader killed"])


    def test_a_write_cut_by_the_freeze_is_excused_unless_its_bytes_came_late(self):
        rises = [[16.0, "n1", 1]]
        hang = {"name": "hang", "kind": "hang", "fault": 13, "end": 18, "node": "n1"}
        self.assertEqual(scorecard.frozen_in_a_write(rises, [hang], late=0), 1)
        self.assertEqual(scorecard.frozen_in_a_write(rises, [hang], late=1), 0)
        self.assertEqual(scorecard.frozen_in_a_write([[16.0, "n2", 1]], [hang], late=0), 0, "another agent")
        self.assertEqual(scorecard.frozen_in_a_write([[12.0, "n1", 1]], [hang], late=0), 0, "before the freeze")
        self.assertEqual(self.missed(self.run_of(late_writes=2, late_write_rises=rises)), ["writes after the lease was over"])


class Frames(unittest.TestCase):
    def test_round_trip_torn_anywhere(self):
        for size in (0, 1, 125, 126, 5000):
            for masked in (False, True):
                frame = websocket.encode(websocket.TEXT, b"x" * size, masked)
                for cut in range(0, len(frame), max(1, len(frame) // 50)):
                    buffer = bytearray(frame[:cut])
                    self.assertIsNone(websocket.decode(buffer))
                    buffer += frame[cut:]
                    self.assertEqual(websocket.decode(buffer), (websocket.TEXT, b"x" * size))
                    self.assertEqual(buffer, b"")

    def test_accept_of_the_standard(self):
        self.assertEqual(websocket.accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")

    def test_what_it_does_not_speak(self):
        for frame in (b"\x01\x00", b"\x81\x7f" + bytes(8)):
            with self.assertRaises(websocket.Broken):
                websocket.decode(bytearray(frame))


class Processes(unittest.TestCase):
    """Exchange and one trader, spoken to directly."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        first, second = free_ports(2)
        self.exchange_address, self.trader_address = f"127.0.0.1:{first}", f"127.0.0.1:{second}"
        self.exchange = self.start("paper_exchange.py", "--port", first)
        self.trader = self.start("trader.py", "--port", second, "--exchange", self.exchange_address, "--node", "n1",
                                 "--log", self.folder / "received")
        for address in (self.exchange_address, self.trader_address):
            wait_until(lambda a=address: get_json(a, "/health"), 10, address)

    def start(self, script, *arguments):
        process = Process(script, [sys.executable, "-B", DEMO / script, *arguments], self.folder / f"{script}.log")
        self.addCleanup(process.kill)
        return process

    def place(self, key, side="buy", price=100, epoch=3):
        order = json.dumps({"client_order_id": key, "side": side, "quantity": 2, "price": price})
        return request(self.trader_address, "POST", "/orders", order, {"X-Outrigger-Epoch": str(epoch)})

    def received(self):
        return [json.loads(line) for line in (self.folder / "received").read_text().splitlines()]

    def log(self):
        return [json.loads(line) for line in request(self.exchange_address, "GET", "/log")[2].splitlines()]

    def test_orders_match_and_leave_their_traces(self):
        self.assertEqual(json.loads(self.place("a")[2])["status"], "open")
        answer = json.loads(self.place("b", "sell", 100)[2])
        self.assertEqual((answer["status"], answer["filled"], answer["node"], answer["epoch"]), ("filled", 2, "n1", 3))
        self.assertEqual([(e["id"], e["epoch"], e["node"]) for e in self.log()], [("a", 3, "n1"), ("b", 3, "n1")])
        self.assertEqual([(n["id"], n["epoch"]) for n in self.received()], [("a", 3), ("b", 3)])
        self.assertEqual(get_json(self.trader_address, "/positions"), {"node": "n1", "position": -2})

    def test_the_exchange_never_dedupes(self):
        self.place("same")
        self.place("same")
        self.assertEqual([entry["id"] for entry in self.log()], ["same", "same"])

    def test_replies_are_lost_after_the_order_was_accepted(self):
        request(self.exchange_address, "PUT", "/mode", '{"drop_replies": 1}')
        with self.assertRaises((ConnectionError, http.client.HTTPException), msg="whoever does not know must not answer"):
            self.place("lost")
        self.assertEqual(self.place("next")[0], 201)
        self.assertEqual([entry["id"] for entry in self.log()], ["lost", "next"])

    def test_reconciliation_asks_the_exchange(self):
        self.place("there")
        question = json.dumps({"epoch": 2, "orders": [{"zone": "z", "key": key, "epoch": 1} for key in ("there", "not there")]})
        status, _, body = request(self.trader_address, "POST", "/ha/reconcile", question)
        self.assertEqual(status, 200, body)
        verdict, = json.loads(body)["verdicts"]
        self.assertEqual((verdict["zone"], verdict["key"], verdict["state"], verdict["status"]), ("z", "there", "done", 201))
        self.assertEqual(json.loads(verdict["body"])["client_order_id"], "there")
        for nonsense in ("", "[]", "{}", '{"epoch": 2, "orders": 1}', '{"epoch": 2, "orders": [1]}'):
            self.assertEqual(request(self.trader_address, "POST", "/ha/reconcile", nonsense)[0], 400, nonsense)
        self.exchange.kill()
        self.assertEqual(request(self.trader_address, "POST", "/ha/reconcile", question)[0], 503)

    def test_behind_an_egress_what_the_exchange_does_not_have_was_not_sent(self):
        port = free_ports(1)[0]
        self.start("trader.py", "--port", port, "--exchange", self.exchange_address, "--orders", f"{self.exchange_address}/")
        wait_until(lambda: get_json(f"127.0.0.1:{port}", "/health"), 10, "the trader")
        question = {"epoch": 2, "orders": [{"zone": "z", "key": "old", "epoch": 1}, {"zone": "z", "key": "present", "epoch": 2}]}
        _, _, body = request(f"127.0.0.1:{port}", "POST", "/ha/reconcile", json.dumps(question))
        self.assertEqual(json.loads(body)["verdicts"], [{"zone": "z", "key": "old", "state": "not_sent"}],
                         "of the present epoch somebody may still be sending it")

    def test_a_guard_at_the_exchange_refuses_old_epochs_and_remembers_them(self):
        self.place("before", epoch=3)
        request(self.exchange_address, "PUT", "/fence", '{"epoch": 4}')
        self.assertEqual(self.place("late", epoch=3)[0], 400)
        self.assertEqual(self.place("present", epoch=4)[0], 201)
        self.assertEqual([entry["id"] for entry in self.log()], ["before", "present"])
        refused = json.loads(request(self.exchange_address, "GET", "/refused")[2])
        self.assertEqual((refused["id"], refused["epoch"], refused["fence"], refused["node"]), ("late", 3, 4, "n1"))

    def test_an_exchange_can_be_made_to_forget_what_it_confirmed(self):
        request(self.exchange_address, "PUT", "/mode", '{"forget": 1}')
        self.assertEqual([self.place(key)[0] for key in ("gone", "kept")], [201, 201])
        self.assertEqual([entry["id"] for entry in self.log()], ["kept"])

    def test_nonsense_is_refused_and_not_placed(self):
        self.assertEqual(self.place("a", price=-1)[0], 400)
        self.assertEqual(request(self.trader_address, "POST", "/orders", "[1]")[0], 400)
        self.assertEqual(request(self.trader_address, "POST", "/orders", "{")[0], 400)
        self.assertEqual(self.log(), [])

    def test_health_metrics_and_drill(self):
        health = get_json(self.trader_address, "/health")
        for field in ("status", "timestamp", "instance_id", "uptime_seconds", "active_positions", "database_connected",
                      "version", "broker_connections"):
            self.assertIn(field, health)
        self.assertIn(b"trader_orders_total 0", request(self.trader_address, "GET", "/metrics")[2])
        request(self.trader_address, "PUT", "/health", '{"status": "degraded"}')
        self.assertEqual(get_json(self.trader_address, "/health")["status"], "degraded")

    def test_arrival_is_the_kernels_and_not_the_end_of_a_pause(self):
        host, port = self.trader_address.split(":")
        order = json.dumps({"client_order_id": "a", "side": "buy", "quantity": 1, "price": 5})
        text = f"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: {len(order)}\r\n\r\n{order}"
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            connection.settimeout(30)
            answers = connection.makefile("rb")
            self.read_answer(answers)
            self.trader.send(signal.SIGSTOP)
            stopped = Path(f"/proc/{self.trader.pid}/stat")
            wait_until(lambda: stopped.read_text().rsplit(")", 1)[1].split()[0] == "T", 5, "the pause")
            before = now()
            connection.sendall(text.encode())
            sent = now()
            wait_until(lambda: now() > sent + 0.5, 5, "half a second of pause")
            self.trader.send(signal.SIGCONT)
            self.assertIn(b"201", self.read_answer(answers))
        arrived = self.received()[0]["time"]
        self.assertTrue(before - 0.1 < arrived < sent + 0.1, (before, arrived, sent))

    @staticmethod
    def read_answer(stream):
        """@return the first line of one whole answer"""
        first, size = stream.readline(), 0
        while (line := stream.readline().strip().lower()):
            if line.startswith(b"content-length:"):
                size = int(line.split(b":")[1])
        stream.read(size)
        return first

    def test_clients_straight_at_one_trader(self):
        out = self.folder / "load.json"
        done = subprocess.run([sys.executable, "-B", DEMO / "loadgen.py", "--entry", self.trader_address, "--orders", "4",
                               "--gets", "4", "--sockets", "2", "--order-pause", "0.02", "--get-pause", "0.02", "--seconds",
                               "3", "--read-seconds", "20", "--pending-seconds", "60", "--out", out], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              check=True, timeout=120)
        slots = [json.loads(line) for line in done.stdout.splitlines()]
        seen = json.loads(out.read_text())
        self.assertGreater(len(seen["acks"]), 4)  # each client more than once
        self.assertLessEqual(sum(slot["acks"] for slot in slots), len(seen["acks"]))
        self.assertEqual((seen["unacked"], seen["get_troubles"], seen["client_errors"]), ([], [], []))
        self.assertGreater(seen["ticks"]["seen"], 1)
        self.assertEqual(seen["ticks"]["missed"], 0)
        placed = scorecard.exchange_figures(self.log(), {ack[5] for ack in seen["acks"]})
        self.assertEqual((placed["duplicates"], placed["acked_not_placed"]), (0, 0))

    def test_clients_see_a_dead_trader(self):
        self.trader.kill()
        out = self.folder / "load.json"
        subprocess.run([sys.executable, "-B", DEMO / "loadgen.py", "--entry", self.trader_address, "--orders", "0", "--gets",
                        "2", "--sockets", "0", "--get-pause", "0.02", "--seconds", "3", "--out", out],
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=60)
        seen = json.loads(out.read_text())
        self.assertTrue(seen["get_troubles"])
        self.assertEqual({t["what"] for t in seen["get_troubles"]}, {"refused"})
        self.assertTrue(all(t["final"] for t in seen["get_troubles"]), "there is no other entry")


class Keep(unittest.TestCase):
    """What `--keep` left running is not run over by the next run. A cluster of one process stands for a whole one."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.kept, self.data = self.folder / "kept.json", self.folder / "run1" / "data"
        self.data.parent.mkdir()
        self.data.write_text("of the first run")
        self.first = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        self.addCleanup(self.first.wait)
        self.addCleanup(self.first.kill)

    def keep(self, start=None):
        start = start or Path(f"/proc/{self.first.pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
        self.kept.write_text(json.dumps([{"name": "n1 agent", "pid": self.first.pid, "start": start}]))

    def conduct(self, *arguments):
        """The agent of these runs does not start, so one that is not refused ends with 1."""
        return subprocess.run([sys.executable, "-B", DEMO / "conductor.py", "--folder", self.folder, "--binary", "/bin/false", *arguments],
                              capture_output=True, text=True, check=False, timeout=120)

    def test_a_second_run_is_refused_until_the_first_is_ended(self):
        self.keep()
        said = self.kept.read_text()
        for arguments in (("--keep",), ()):
            done = self.conduct(*arguments)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(f"n1 agent ({self.first.pid})", done.stderr)
            self.assertIn("--stop", done.stderr)
            self.assertEqual((self.data.read_text(), self.kept.read_text()), ("of the first run", said))
        self.assertEqual(self.conduct("--stop").returncode, 0)
        self.assertEqual(self.first.wait(20), -signal.SIGTERM)
        self.assertEqual(self.conduct("--keep").returncode, 1, "it is played, and fails for its agent")
        self.assertFalse(self.data.exists())

    def test_what_has_ended_or_is_somebody_else_stands_in_nobodys_way(self):
        self.keep(start="1")  # the number was given to another process since
        self.assertEqual(self.conduct("--keep").returncode, 1)
        self.assertIsNone(self.first.poll())

    def test_two_runs_at_once_need_two_folders(self):
        with open(self.folder / "lock", "a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = self.conduct()
        self.assertEqual(done.returncode, 2)
        self.assertIn("--folder", done.stderr)
        self.assertTrue(self.data.exists())


class Ending(unittest.TestCase):
    def test_children_die_with_their_parent(self):
        script = ("import sys, time; sys.path.insert(0, sys.argv[1])\n"
                  "from cluster import Process\n"
                  "print(Process('child', [sys.executable, '-c', 'import time; time.sleep(600)'], '/dev/null').pid, flush=True)\n"
                  "time.sleep(600)\n")
        parent = subprocess.Popen([sys.executable, "-c", script, str(DEMO)], stdout=subprocess.PIPE, text=True)
        self.addCleanup(parent.stdout.close)
        child = int(parent.stdout.readline())
        command = Path(f"/proc/{child}/cmdline")

        def has_ended():
            try:
                return Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
            except (FileNotFoundError, ProcessLookupError):
                return True
        wait_until(lambda: b"time.sleep" in command.read_bytes() and b"setpriv" not in command.read_bytes(), 5, "its start")
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        wait_until(has_ended, 5, "the child's end")


if __name__ == "__main__":
    unittest.main()
