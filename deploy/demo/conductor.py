#!/usr/bin/env python3
"""Plays the acts of the demo on a fresh cluster and prints the scorecard. Started by deploy/demo/run, which builds first.

Each act breaks something on purpose, waits until the cluster serves orders again, and mends what it broke: that part is
the supervisor's (systemd, in real life) and not the cluster's.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import scorecard
from cluster import HERE, WITH_PARENT, Cluster, TooLate, get_json, now, request, wait_until

REPO = HERE.parent.parent
LEVELS = "▁▂▃▄▅▆▇█"
READY_SECONDS_MAX = 20


class Times:
    """How long things last, in seconds. Short ones are for the end-to-end tests."""

    def __init__(self, short):
        self.steady = 2.0 if short else 6.0
        self.before_fault = 0.2 if short else 0.8
        self.after_failover = 1.0 if short else 3.0
        self.hang = 5.0 if short else 8.0
        self.settle = 1.0 if short else 2.0
        self.failover_max = 12.0


class Ribbon:
    """One line per act, one character per 100 ms: how many orders were acknowledged, and what was done to whom."""

    def __init__(self, load):
        self.load, self.full, self.lock = load, 1, threading.Lock()
        self.column, self.open, self.epoch = 0, False, 0
        self.reader = threading.Thread(target=self.follow, daemon=True)
        self.reader.start()

    def follow(self):
        for line in self.load.stdout:
            try:
                slot = json.loads(line)
            except ValueError:
                continue
            self.epoch = slot["epoch"]
            self.full = max(self.full, slot["acks"])
            level = 0 if not slot["acks"] else 1 + slot["acks"] * (len(LEVELS) - 2) // self.full
            self.put(("·" if not slot["acks"] else LEVELS[level]) if not slot["failed"] else "!")

    def put(self, text):
        with self.lock:
            if self.open:
                if self.column >= 100:
                    sys.stdout.write("\n" + " " * 12)
                    self.column = 0
                self.column += len(text)
                sys.stdout.write(text)
                sys.stdout.flush()

    def begin(self, title):
        with self.lock:
            sys.stdout.write(f"{title:12}")
            sys.stdout.flush()
            self.column, self.open = 0, True

    def end(self, result):
        with self.lock:
            self.open = False
            sys.stdout.write(f"\n{'':12}{result}\n")
            sys.stdout.flush()


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
        self.load = self.ribbon = self.scrapes = None
        self.acts, self.outages, self.notes = [], [], []

    # --- acts -------------------------------------------------------------------------------------------------------
    def run(self):
        self.elect()
        self.start_load()
        self.steady()
        self.crash_trader()
        self.lose_node()
        self.hang_node()
        self.rolling_restart()
        return self.verify()

    def elect(self):
        begin = now()
        print(f"{'elect':12}three agents, three traders, one exchange", flush=True)
        self.cluster.make_secrets()
        self.cluster.write_config()
        self.cluster.start()
        for node in self.cluster.nodes:
            wait_until(node.ready, READY_SECONDS_MAX, f"{node.name} ready")
        holder, epoch = self.cluster.wait_agreed(READY_SECONDS_MAX)
        self.acts.append({"name": "elect", "kind": "elect", "begin": begin, "fault": begin, "end": now()})
        print(f"{'':12}{holder} is primary, epoch {epoch}, after {now() - begin:.1f} s from nothing", flush=True)
        self.scrapes = Scrapes(self.cluster)

    def start_load(self):
        command = [*WITH_PARENT, sys.executable, "-B", str(HERE / "loadgen.py"), "--seed", str(self.arguments.seed), "--out",
                   str(self.folder / "load.json"), *self.arguments.load]
        for node in self.cluster.nodes:
            command += ["--entry", node.entry, "--api", node.api]
        with open(self.folder / "load.log", "w", encoding="utf-8") as log:
            self.load = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
                                         start_new_session=True)
        self.ribbon = Ribbon(self.load)
        wait_until(lambda: self.ribbon.epoch > 0, 15, "the first acknowledged order")

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
        down, act["node"] = act["fault"], node.name
        node.agent.send(signal.SIGSTOP)
        node.trader.send(signal.SIGSTOP)
        self.after_fault(act, epoch, f"SIGSTOP of {node.name}'s agent and trader")
        time.sleep(max(0.0, down + self.times.hang - now()))
        self.ribbon.put("▶")
        node.trader.send(signal.SIGCONT)  # the trader first: a zombie gets every chance to do harm
        node.agent.send(signal.SIGCONT)
        self.wait_ready(node)
        self.outages.append((self.number(node), down, now()))
        time.sleep(self.times.settle)
        self.settle(act)

    def rolling_restart(self):
        act = self.act("rolling", "rolling")
        last, _ = self.primary()
        for node in [n for n in self.cluster.nodes if n is not last] + [last]:
            self.ribbon.put("↻")
            down = now()
            if node.agent.stop() != 0:
                self.notes.append(f"{node.name}'s agent did not stop cleanly on SIGTERM: {node.agent.tail(3)}")
            node.trader.stop()
            node.start_trader()
            wait_until(lambda n=node: get_json(n.service, "/health"), 10, f"the trader of {node.name}")
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
        self.load.send_signal(signal.SIGTERM)
        try:
            self.load.wait(60)
        except subprocess.TimeoutExpired:
            self.notes.append("the load generator did not end")
            self.load.kill()
        out = self.folder / "load.json"
        if not out.exists():
            raise RuntimeError("the load generator left no result:\n" + (self.folder / "load.log").read_text()[-2000:])
        received = {node.name: read_lines(node.receive_log.read_text()) for node in self.cluster.nodes if node.receive_log.exists()}
        _, _, log = request(self.cluster.exchange_address, "GET", "/log", timeout=20)
        run = {"acts": self.acts, "load": json.loads(out.read_text()), "received": received, "log": read_lines(log.decode()),
               "outages": self.outages, "late_writes": self.scrapes.total(), "late_write_rises": self.scrapes.rises,
               "notes": self.notes}
        (self.folder / "run.json").write_text(json.dumps({**run, "load": None, "received": None, "log": None}))
        return scorecard.evaluate(run)

    def end(self):
        if self.load is not None:
            if self.load.poll() is None:
                self.load.kill()
                self.load.wait()
            self.ribbon.reader.join(5)
            self.load.stdout.close()
        if not self.arguments.keep:
            self.cluster.end()

    def tell_what_is_kept(self, file):
        file.write_text(json.dumps([{"name": p.name, "pid": p.pid, "start": start_time(p.pid)} for p in self.cluster.processes()]))
        print("\nStill running:")
        for node in self.cluster.nodes:
            print(f"  {node.name}  entry http://{node.entry}  API http://{node.api}  trader http://{node.service}")
        print(f"  exchange http://{self.cluster.exchange_address}\n  deploy/demo/run --stop ends them")


def read_lines(text):
    """JSON lines; the last one of a killed process may be cut short."""
    values = []
    for line in text.splitlines():
        try:
            values.append(json.loads(line))
        except ValueError:
            pass
    return values


def start_time(pid):
    """The kernel's start time of a process: with it, a process id means one process for ever."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return None


def stop_kept(file):
    if not file.exists():
        print("nothing was kept running")
        return 0
    for process in json.loads(file.read_text()):
        if process["start"] is not None and start_time(process["pid"]) == process["start"]:
            os.kill(process["pid"], signal.SIGCONT)
            os.kill(process["pid"], signal.SIGTERM)
            print(f"ended {process['name']} ({process['pid']})")
    file.unlink()
    return 0


def parse(arguments=None):
    parser = argparse.ArgumentParser(prog="deploy/demo/run", description="Three agents, three traders, one exchange: breaks "
                                     "them in turn under load and prints a scorecard. Exit 1 when a gate is missed.")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running; --stop ends it")
    parser.add_argument("--stop", action="store_true", help="end what --keep left running")
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
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
