#!/usr/bin/env python3
"""Plays the acts of the demo on a fresh cluster and prints the scorecard. Started by deploy/demo/run, which builds first.

Each act breaks something on purpose, waits until the cluster serves orders again, and mends what it broke: that part is
the supervisor's (systemd, in real life) and not the cluster's.
"""

import argparse
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import compare
import scorecard
from cluster import HERE, Cluster, TooLate, get_json, now, request, wait_until
from load_process import LoadProcess

REPO = HERE.parent.parent
READY_SECONDS_MAX = 20
LOST_REPLIES = 8
PILE_UP_SECONDS = 0.15  # a frozen trader is given orders that long, until its agent is frozen, too: it wakes up with them in its hands
PILE_UP_SECONDS_MAX = 3.0  # ... and longer, while it has not got any
HALT_SECONDS = 2.5  # orders stay halted after healing: longer than the bound for the last agent to hear of it


class Times:
    """How long things last, in seconds. Short ones are for the end-to-end tests."""

    def __init__(self, short):
        self.steady = 2.0 if short else 6.0
        self.before_fault = 0.2 if short else 0.8
        self.after_failover = 1.0 if short else 3.0
        self.hang = 5.0 if short else 8.0
        self.parted = 1.0 if short else 2.0  # how long the majority goes on behind a halt that it has not heard of
        self.settle = 1.0 if short else 2.0
        self.failover_max = 12.0
        self.halted_max = 0.0  # how long the last agent may take to hear of a halt, beyond HALT_SECONDS
        self.end_max = 60.0    # of the clients, with all that is pending


class Scrapes:
    """Late writes per agent process, read every half second so that a killed agent's count is not lost with it."""

    NAME = "outrigger_lease_late_writes_total"

    def __init__(self, cluster):
        self.cluster, self.seen, self.lock = cluster, {}, threading.Lock()
        self.rises = []  # [time, node, count]
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stop.wait(0.5):
            self.once()

    def once(self):
        for node in self.cluster.nodes:
            pid = node.agent.pid if node.agent else None
            value = node.metric(self.NAME) if pid else None
            if value is not None:
                with self.lock:
                    if value > self.seen.get(pid, 0):
                        self.rises.append([now(), node.name, value])
                    self.seen[pid] = max(value, self.seen.get(pid, 0))

    def total(self):
        self.stop.set()
        self.thread.join(5)
        self.once()
        return int(sum(self.seen.values())) if self.seen else None


class Play:
    """One performance: a cluster, its load, and the acts."""

    def __init__(self, arguments, folder):
        self.arguments, self.folder, self.times = arguments, folder, Times(arguments.short)
        self.cluster = Cluster(arguments.binary, folder, outlives=arguments.keep, seed=arguments.seed)
        self.load = self.ribbon = self.scrapes = self.picture = None
        self.acts, self.outages, self.notes = [], [], []

    # --- acts -------------------------------------------------------------------------------------------------------
    def run(self):
        self.elect()
        self.start_load()
        self.steady()
        self.crash_trader()
        self.lose_node()
        self.hang_node()
        self.lose_replies()
        self.cut_off()
        self.halt_from_minority()
        self.rolling_restart()
        return self.verify()

    def elect(self):
        begin = now()
        print(f"{'elect':12}three agents, three traders, one exchange", flush=True)
        self.cluster.order_options, self.cluster.has_egress = compare.KEYS, True
        self.cluster.make_secrets()
        self.cluster.write_config("\n[demo]\nfaults = true  # the partition is made by the agents themselves\n")
        self.cluster.start()
        for node in self.cluster.nodes:
            wait_until(node.ready, READY_SECONDS_MAX, f"{node.name} ready")
        holder, epoch = self.cluster.wait_agreed(READY_SECONDS_MAX)
        self.acts.append({"name": "elect", "kind": "elect", "begin": begin, "fault": begin, "end": now()})
        print(f"{'':12}{holder} is primary, epoch {epoch}, after {now() - begin:.1f} s from nothing", flush=True)
        self.scrapes = Scrapes(self.cluster)

    def start_load(self):
        nodes = self.cluster.nodes
        self.load = LoadProcess(self.folder / "load.json", self.arguments.seed, [node.entry for node in nodes], [node.api for node in nodes],
                                self.arguments.load)
        self.ribbon = self.load.ribbon
        wait_until(lambda: self.ribbon.epoch > 0, READY_SECONDS_MAX, "the first acknowledged order")

    def act(self, name, kind):
        self.ribbon.begin(name)
        self.acts.append({"name": name, "kind": kind, "begin": now(), "fault": now(), "end": None})
        return self.acts[-1]

    def steady(self):
        act = self.act("steady", "steady")
        time.sleep(self.times.steady)
        act["end"] = now()
        self.ribbon.end("32 order, 64 read, 10 WebSocket clients and a KV writer on any entry")

    def crash_trader(self):
        act = self.act("crash", "crash")
        node, epoch = self.primary()
        self.mark(act, "✗")
        node.trader.kill()
        self.after_fault(act, epoch, f"kill -9 of {node.name}'s trader")
        self.mend(node.start_trader)
        self.settle(act)

    def lose_node(self):
        act = self.act("lost", "lost")
        node, epoch = self.primary()
        self.mark(act, "✗")
        down = act["fault"]
        node.agent.kill()
        node.trader.kill()
        self.after_fault(act, epoch, f"kill -9 of {node.name}'s agent and trader")
        self.mend(node.start_trader)
        self.mend(node.start_agent)
        self.wait_ready(node)
        self.outages.append((self.number(node), down, now()))
        self.settle(act)

    def hang_node(self):
        act = self.act("hang", "hang")
        node, epoch = self.primary()
        self.mark(act, "‖")
        down, act["node"], act["epoch"] = act["fault"], node.name, epoch
        node.trader.send(signal.SIGSTOP)
        self.pile_up(node)
        node.agent.send(signal.SIGSTOP)
        self.after_fault(act, epoch, f"SIGSTOP of {node.name}'s agent and trader")
        time.sleep(max(0.0, down + self.times.hang - now()))
        self.ribbon.put("▶")
        node.trader.send(signal.SIGCONT)  # the trader first: a zombie gets every chance to do harm
        node.agent.send(signal.SIGCONT)
        self.wait_ready(node)
        self.outages.append((self.number(node), down, now()))
        time.sleep(self.times.settle)
        self.settle(act)

    def pile_up(self, node):
        """Until the frozen trader has orders in its hands: the ledger has had them as reserved for a while."""
        time.sleep(PILE_UP_SECONDS * 2 / 3)
        for _ in range(int(PILE_UP_SECONDS_MAX / PILE_UP_SECONDS)):
            listed = get_json(node.api, "/outrigger/v1/orders?state=reserved&limit=1")
            time.sleep(PILE_UP_SECONDS / 3)  # it is sent as soon as it is written down
            if listed and listed["orders"]:
                return
        self.notes.append(f"no order was on its way to {node.name} for {PILE_UP_SECONDS_MAX:g} s")

    def lose_replies(self):
        """The exchange accepts orders and says nothing. Whether they were placed, nobody at this end can tell."""
        act = self.act("replies", "replies")
        self.mark(act, "✂")
        request(self.cluster.exchange_address, "PUT", "/mode", json.dumps({"drop_replies": LOST_REPLIES}))
        time.sleep(self.times.after_failover)
        act["result"] = f"{LOST_REPLIES} orders were accepted by the exchange without a reply; none of them is sent again by itself"
        self.settle(act)

    def cut_off(self):
        """1|2: the primary's agent hears nobody and is heard by nobody; its trader lives, and so do its clients."""
        act = self.act("cut off", "partition")
        node, epoch = self.primary()
        self.mark(act, "╱")
        self.cluster.partition(node)
        self.after_fault(act, epoch, f"{node.name} cut off from both peers")
        time.sleep(max(0.0, act["fault"] + self.times.hang - now()))
        self.ribbon.put("═")
        self.cluster.heal()
        self.settle(act)

    def halt_from_minority(self):
        """An agent that reaches nobody stops orders at once; the others when they hear of it; and a majority lets them go on."""
        act = self.act("halt", "halt")
        node, _ = self.primary()
        # Whoever is left keeps primary and leader of the log, so that nothing but the halt can stop orders.
        alone, other = sorted((n for n in self.cluster.nodes if n is not node), key=lambda n: n.leads())
        self.mark(act, "╱")
        self.cluster.partition(alone)
        self.ribbon.put("■")
        act["halted"] = now()
        self.expect(alone, "/outrigger/v1/halts", {"reason": "demo", "who": "conductor"}, lambda status, answer: status == 200, "halt")
        act["answered"] = now()
        act["refused"] = now() if self.is_halted(alone) else None
        act["resume_refused"] = self.expect(alone, "/outrigger/v1/halts/resume", {"all": "true", "who": "conductor"},
                                            lambda status, answer: status != 200 and "majority" in str(answer), "refusal of a resume")
        time.sleep(max(0.0, act["halted"] + self.times.parted - now()))
        self.ribbon.put("═")
        act["healed"] = now()
        self.cluster.heal()
        time.sleep(HALT_SECONDS)
        for each in self.cluster.nodes:
            try:
                wait_until(lambda n=each: self.is_halted(n), self.times.halted_max, "no more orders")
            except TooLate:
                self.notes.append(f"{each.name} takes orders {HALT_SECONDS + self.times.halted_max:g} s after it could hear of the halt")
        self.ribbon.put("□")
        before, act["resumed"] = self.ribbon.acks, now()
        self.expect(other, "/outrigger/v1/halts/resume", {"all": "true", "who": "conductor"}, lambda status, answer: status == 200 and answer["lifted"], "resume")
        try:
            wait_until(lambda: self.ribbon.acks > before, self.times.failover_max, "orders after the resume")
        except TooLate as problem:
            self.notes.append(str(problem))
        time.sleep(self.times.settle)
        act["result"] = (f"{alone.name}, cut off, halted orders in {1000 * (act['answered'] - act['halted']):.0f} ms and could not resume; "
                         "all halted after healing; a majority resumed")
        self.settle(act)

    def expect(self, node, path, body, wanted, what):
        """@return whether the agent's answer is as wanted; else that is noted, too"""
        status, _, text = request(node.api, "POST", path, json.dumps(body), timeout=30)
        good = wanted(status, json.loads(text))
        if not good:
            self.notes.append(f"{what} at {node.name}: answered {status} {text.decode()[:200]}")
        return good

    @staticmethod
    def is_halted(node):
        """One order there, which is to be refused."""
        key = f"probe-{node.name}-{now()}"
        order = json.dumps({"client_order_id": key, "side": "buy", "symbol": "PAPER", "quantity": 1, "price": 1})
        status, _, text = request(node.entry, "POST", "/orders", order, {"Content-Type": "application/json", "Idempotency-Key": key}, timeout=10)
        return status == 503 and json.loads(text).get("code") == "halted"

    def rolling_restart(self):
        self.draw_incident()  # told by agents that were there; those of the restart are new
        act = self.act("rolling", "rolling")
        last, _ = self.primary()
        for node in [n for n in self.cluster.nodes if n is not last] + [last]:
            self.ribbon.put("↻")
            down = now()
            if node.agent.stop(READY_SECONDS_MAX) != 0:
                self.notes.append(f"{node.name}'s agent did not stop cleanly on SIGTERM: {node.agent.tail(3)}")
            node.trader.stop()
            node.start_trader()
            wait_until(lambda n=node: get_json(n.service, "/health"), READY_SECONDS_MAX, f"the trader of {node.name}")
            node.start_agent()
            self.wait_ready(node)
            self.outages.append((self.number(node), down, now()))
            time.sleep(self.times.settle / 2)
        self.settle(act)
        self.ribbon.end("every agent and trader restarted, one after the other, the primary last")

    # --- parts of acts ----------------------------------------------------------------------------------------------
    def number(self, node):
        return self.cluster.nodes.index(node)

    def primary(self):
        holder, epoch = self.cluster.wait_agreed(READY_SECONDS_MAX)
        return self.cluster.node(holder), epoch

    def mark(self, act, sign):
        time.sleep(self.times.before_fault)
        self.ribbon.put(sign)
        act["fault"] = now()

    def after_fault(self, act, epoch, what):
        """Waits for the first order under a newer epoch, then a little longer."""
        try:
            wait_until(lambda: self.ribbon.epoch > epoch, self.times.failover_max, f"orders after {what}")
            waited = now() - act["fault"]
            result = f"{what}: orders flow again under epoch {self.ribbon.epoch} after about {waited:.1f} s"
        except TooLate as problem:
            self.notes.append(str(problem))
            result = f"{what}: no orders under a new epoch"
        act["result"] = result
        time.sleep(self.times.after_failover)

    def mend(self, start):
        self.ribbon.put("+")
        start()

    def wait_ready(self, node):
        try:
            wait_until(node.ready, READY_SECONDS_MAX, f"{node.name} ready again")
        except TooLate as problem:
            self.notes.append(str(problem))

    def settle(self, act):
        """Ends an act when every agent agrees again."""
        try:
            self.cluster.wait_agreed(READY_SECONDS_MAX)
        except TooLate as problem:
            self.notes.append(f"after act {act['name']}: {problem}")
        act["end"] = now()
        if "result" in act:
            self.ribbon.end(act["result"])

    # --- the end ----------------------------------------------------------------------------------------------------
    def verify(self):
        print(f"{'verify':12}reading everything back", flush=True)
        if not self.load.finish(self.times.end_max):
            self.notes.append("the load generator did not end")
        load = self.load.seen()
        received = {node.name: scorecard.read_lines(node.receive_log.read_text()) for node in self.cluster.nodes if node.receive_log.exists()}
        _, _, log = request(self.cluster.exchange_address, "GET", "/log", timeout=20)
        run = {"acts": self.acts, "load": load, "received": received, "log": scorecard.read_lines(log.decode()),
               "outages": self.outages, "late_writes": self.scrapes.total(), "late_write_rises": self.scrapes.rises,
               "audit_broken": self.verify_audit(), "notes": self.notes}
        (self.folder / "run.json").write_text(json.dumps({**run, "load": None, "received": None, "log": None}))
        if self.picture is None:
            self.draw_incident()
        return scorecard.evaluate(run)

    def command(self, node, *words):
        """One command line at this agent. @return (exit code, what it said)"""
        done = subprocess.run([str(self.cluster.binary), *words, "--api", node.api], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, timeout=60)
        return done.returncode, done.stdout

    def verify_audit(self):
        """@return the agents whose audit chain is not whole"""
        broken = []
        for node in self.cluster.nodes:
            code, said = self.command(node, "audit", "verify")
            if code != 0:
                broken.append(node.name)
                self.notes.append(f"audit verify at {node.name}: {said.strip()}")
        return broken

    def draw_incident(self):
        """The last failover, as any agent tells it, as a picture beside the logs."""
        self.picture = self.folder / "incident.svg"
        code, said = self.command(self.cluster.nodes[0], "incident", "last", "--svg", str(self.picture))
        (self.folder / "incident.txt").write_text(said)
        if code != 0 and any(act["kind"] in ("crash", "lost", "hang", "partition") for act in self.acts):
            self.notes.append(f"incident last: {said.strip()}")

    def end(self):
        if self.load is not None:
            self.load.end()
        if not self.arguments.keep:
            self.cluster.end()

    def tell_what_is_kept(self, file):
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps([{"name": p.name, "pid": p.pid, "start": start_time(p.pid)} for p in self.cluster.processes()]))
        fresh.replace(file)
        print("\nStill running:")
        for node in self.cluster.nodes:
            print(f"  {node.name}  entry http://{node.entry}  API http://{node.api}  trader http://{node.service}")
        print(f"  exchange http://{self.cluster.exchange_address}\n  deploy/demo/run --stop ends them")


def start_time(pid):
    """The kernel's start time of a process: with it, a process id means one process for ever. None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] == "Z" else fields[19]


def still_kept(file):
    """@return those of an earlier run with --keep that still run"""
    kept = json.loads(file.read_text()) if file.exists() else []
    return [process for process in kept if process["start"] is not None and start_time(process["pid"]) == process["start"]]


def stop_kept(file):
    if not file.exists():
        print("nothing was kept running")
        return 0
    for process in still_kept(file):
        os.kill(process["pid"], signal.SIGCONT)
        os.kill(process["pid"], signal.SIGTERM)
        print(f"ended {process['name']} ({process['pid']})")
    file.unlink()
    return 0


def take_folder(folder):
    """A run removes what is in its folders, so nobody else may be at work there.
    @return a file to be kept open as long as the run lasts, or None after a sentence on stderr"""
    lock = open(folder / "lock", "a", encoding="utf-8")  # pylint: disable=consider-using-with
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"another run is at work in {folder}; choose another one with --folder", file=sys.stderr)
        lock.close()
        return None
    kept = still_kept(folder / "kept.json")
    if not kept:
        return lock
    names = ", ".join(f"{process['name']} ({process['pid']})" for process in kept)
    print(f"what an earlier run left with --keep still runs in {folder}: {names}\nend it with --stop, or choose another folder with --folder", file=sys.stderr)
    lock.close()
    return None


def parse(arguments=None):
    parser = argparse.ArgumentParser(prog="deploy/demo/run", description="Three agents, three traders, one exchange: breaks "
                                     "them in turn under load and prints a scorecard. Exit 1 when a gate is missed.")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running; --stop ends it")
    parser.add_argument("--stop", action="store_true", help="end what --keep left running")
    parser.add_argument("--compare", action="store_true", help="the same traders, clients and faults behind nginx and HAProxy (where "
                        "installed) and between our agents, side by side; about five minutes")
    parser.add_argument("--short", action="store_true", help="shorter acts")
    parser.add_argument("--seed", type=int, default=1, help="of the clients' choices (default 1)")
    parser.add_argument("--runs", type=int, default=1, help="repeat, and judge medians and worst (default 1)")
    parser.add_argument("--json", metavar="FILE", help="write all figures")
    parser.add_argument("--binary", default=str(REPO / "build/release/agent/outrigger"), help="the agent")
    parser.add_argument("--folder", default=str(REPO / "build/demo"), help="for logs and data (default build/demo)")
    parser.set_defaults(load=[])
    return parser.parse_args(arguments)


def perform(arguments, folder):
    """One run. @return its figures, or None when it could not be played to the end."""
    shutil.rmtree(folder, ignore_errors=True)
    play = Play(arguments, folder)
    finished = False
    try:
        figures = play.run()
        finished = True
        print(f"{'':12}the last failover, drawn: {play.picture}", flush=True)
        return figures
    except (TooLate, RuntimeError, OSError) as problem:
        print(f"\n{problem}\n{play.cluster.complaints()}\nlogs: {folder}", file=sys.stderr, flush=True)
        return None
    finally:
        if arguments.keep and finished:
            play.tell_what_is_kept(Path(arguments.folder) / "kept.json")
        else:
            arguments.keep = False
            play.end()


def main():
    arguments = parse()
    folder = Path(arguments.folder)
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.stop:
        return stop_kept(folder / "kept.json")
    if arguments.keep and arguments.runs > 1:
        print("--keep goes with one run", file=sys.stderr)
        return 2
    lock = take_folder(folder)
    if lock is None:
        return 2
    with lock:
        return play_all(arguments, folder)


def play_all(arguments, folder):
    """@return the exit code"""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if arguments.compare:
        return compare.perform(arguments, folder / "compare")
    runs, seed = [], arguments.seed
    for number in range(arguments.runs):
        if arguments.runs > 1:
            print(f"\nRun {number + 1} of {arguments.runs}", flush=True)
        arguments.seed = seed + number
        figures = perform(arguments, folder / f"run{number + 1}")
        if figures is None:
            return 1
        runs.append(figures)
    text, good = scorecard.report(runs)
    print(text, flush=True)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({"runs": runs, "passed": good}, indent=1) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
