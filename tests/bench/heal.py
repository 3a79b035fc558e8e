#!/usr/bin/env python3
"""How soon writes are acknowledged again after a network fault has healed: three agents, each in a network namespace of
its own, joined by a bridge that loses ports for a while (frames vanish, no reset, no carrier loss).

    tests/bench/run heal [--rounds 5] [--fault-s 3] [--json FILE]

Faults: leader (its port is shut: the others go on, it must come back), followers (both ports shut: no quorum anywhere),
all (three lone nodes), freeze (both followers stopped with SIGSTOP). A writer beside every agent puts a new key every
10 ms with 250 ms of patience, or waits for its answer. Measured from the healing: the first write acknowledged by any
agent that was begun after it, and the first one acknowledged by an agent that had been cut off. At the end every
acknowledged key is read back at every agent.

Needs root and the ip command. Nothing leaves the namespaces.
"""
import argparse
import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NODES = 3
PREFIX = f"outrigger-heal-{os.getpid()}"
WRITER_PAUSE_S = 0.01


def run(*command, check=True):
    return subprocess.run([str(c) for c in command], check=check, capture_output=True, text=True)


class Network:
    """Namespaces PREFIX-1..3 on a bridge inside PREFIX-0."""

    def __enter__(self):
        run("ip", "netns", "add", f"{PREFIX}-0")
        run("ip", "-n", f"{PREFIX}-0", "link", "add", "br0", "type", "bridge")
        run("ip", "-n", f"{PREFIX}-0", "link", "set", "br0", "up")
        for i in range(1, NODES + 1):
            run("ip", "netns", "add", f"{PREFIX}-{i}")
            run("ip", "-n", f"{PREFIX}-0", "link", "add", f"v{i}", "type", "veth", "peer", "name", "e0", "netns", f"{PREFIX}-{i}")
            run("ip", "-n", f"{PREFIX}-0", "link", "set", f"v{i}", "master", "br0", "up")
            for link in ("lo", "e0"):
                run("ip", "-n", f"{PREFIX}-{i}", "link", "set", link, "up")
            run("ip", "-n", f"{PREFIX}-{i}", "addr", "add", f"10.0.0.{i}/24", "dev", "e0")
        return self

    def __exit__(self, *_error):
        for i in range(NODES + 1):
            run("ip", "netns", "del", f"{PREFIX}-{i}", check=False)

    def port(self, node, is_open):
        run("ip", "-n", f"{PREFIX}-0", "link", "set", f"v{node}", *(["master", "br0"] if is_open else ["nomaster"]))


def writer(node, stop_file, out):
    """Child process inside a namespace: writes keys and notes (begin, end, key) of every acknowledgement."""
    number, connection = 0, None
    with open(out, "w", buffering=1) as log:
        while not os.path.exists(stop_file):
            number += 1
            key, begun = f"heal/{node}/{number}", time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", 8500, timeout=0.25)
                connection.request("PUT", f"/v1/kv/{key}", str(number))
                answer = connection.getresponse()
                if (answer.status, answer.read()) == (200, b"true"):
                    log.write(f"{begun:.6f} {time.monotonic():.6f} {key}\n")
            except (OSError, http.client.HTTPException):
                if connection:
                    connection.close()
                connection = None
            time.sleep(WRITER_PAUSE_S)


def fetch(node, path):
    got = run("ip", "netns", "exec", f"{PREFIX}-{node}", sys.executable, "-c",
              f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:8500{path}', timeout=5).read().decode())", check=False)
    return got.stdout.strip() if got.returncode == 0 else None


class Agents:
    def __init__(self, binary, folder):
        self.children, self.folder = {}, folder
        for i in range(1, NODES + 1):
            joins = [part for j in range(1, NODES + 1) for part in ("--join", f"10.0.0.{j}:7946")]
            log = open(folder / f"agent{i}.log", "ab")
            self.children[i] = subprocess.Popen(
                ["ip", "netns", "exec", f"{PREFIX}-{i}", binary, "agent", "--node", f"n{i}", "--bind", f"10.0.0.{i}",
                 "--data", str(folder / f"n{i}"), "--api", "127.0.0.1:8500", *joins, "--bootstrap-expect", str(NODES),
                 "--set", "mesh.insecure=true", "--set", "node.log_level=info"], stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def leader(self, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = [re.match(r'"10\.0\.0\.(\d):', fetch(i, "/v1/status/leader") or "") for i in self.children]
            if all(found) and len({m.group(1) for m in found}) == 1:
                return int(found[0].group(1))
            time.sleep(0.1)
        raise SystemExit("no leader that all agree on; see " + str(self.folder))

    def stop(self):
        for child in self.children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
                child.terminate()
        for child in self.children.values():
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()


def acknowledgements(folder):
    rows = []
    for i in range(1, NODES + 1):
        text = (folder / f"writer{i}.log").read_text()
        for line in text[:text.rfind("\n") + 1].splitlines():
            begun, ended, key = line.split()
            rows.append((float(begun), float(ended), i, key))
    return sorted(rows, key=lambda row: row[1])


def one_fault(kind, agents, network, folder, seconds):
    leader = agents.leader()
    others = [i for i in agents.children if i != leader]
    cut = {"leader": [leader], "followers": others, "all": list(agents.children), "freeze": others}[kind]
    for i in cut:
        agents.children[i].send_signal(signal.SIGSTOP) if kind == "freeze" else network.port(i, False)
    begun = time.monotonic()
    time.sleep(seconds)
    healed = time.monotonic()
    late = [row for row in acknowledgements(folder) if row[0] > begun + 2 and row[2] in cut]
    if late:
        raise SystemExit(f"{kind}: an agent that was cut off acknowledged a write; the fault did not work")
    for i in cut:
        agents.children[i].send_signal(signal.SIGCONT) if kind == "freeze" else network.port(i, True)
    done = time.monotonic()

    def first(nodes):
        for begun, ended, node, _key in acknowledgements(folder):
            if begun >= healed and node in nodes:
                return (ended - done) * 1000
        return None
    end = time.monotonic() + 30
    while time.monotonic() < end and first(cut) is None:
        time.sleep(0.1)
    time.sleep(1)
    return {"fault": kind, "any_ms": first(set(agents.children)), "cut_ms": first(cut)}


def main():
    if sys.argv[1:2] == ["--writer"]:
        return writer(*sys.argv[2:5])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fault-s", type=float, default=3)
    parser.add_argument("--faults", default="leader,followers,all,freeze")
    parser.add_argument("--json")
    options = parser.parse_args()
    rows, lost = [], 0
    with tempfile.TemporaryDirectory(prefix="outrigger-heal-", dir="/var/tmp") as name, Network() as network:
        folder, stop_file = Path(name), Path(name) / "stop"
        agents = Agents(options.binary, folder)
        writers = []
        try:
            agents.leader()
            for i in agents.children:
                writers.append(subprocess.Popen(["ip", "netns", "exec", f"{PREFIX}-{i}", sys.executable, __file__, "--writer", str(i),
                                                 str(stop_file), str(folder / f"writer{i}.log")], stdin=subprocess.DEVNULL))
            time.sleep(2)
            for turn in range(options.rounds):
                for kind in options.faults.split(","):
                    rows.append(one_fault(kind, agents, network, folder, options.fault_s))
                    print(f"{turn + 1}/{options.rounds} {kind}: " + ", ".join(f"{k} {v:.0f}" if v is not None else f"{k} none in 30 s"
                          for k, v in rows[-1].items() if k != "fault"), file=sys.stderr, flush=True)
            stop_file.touch()
            for child in writers:
                child.wait(10)
            agents.leader()
            keys = [row[3] for row in acknowledgements(folder)]
            for i in agents.children:
                held = set(json.loads(fetch(i, "/v1/kv/heal/?keys") or "[]"))
                lost += sum(key not in held for key in keys)
        finally:
            stop_file.touch()
            agents.stop()
            for child in writers:
                child.wait(10)
    print("| fault | N | any agent: median / worst ms | an agent that was cut off: median / worst ms |\n|---|---|---|---|")
    for kind in options.faults.split(","):
        cells = []
        for what in ("any_ms", "cut_ms"):
            values = [r[what] if r[what] is not None else float("inf") for r in rows if r["fault"] == kind]
            cells.append(f"{statistics.median(values):.0f} / {max(values):.0f}")
        print(f"| {kind} | {options.rounds} | {cells[0]} | {cells[1]} |")
    print(f"acknowledged {len(keys)}, lost {lost}")
    if options.json:
        Path(options.json).write_text(json.dumps({"rows": rows, "acknowledged": len(keys), "lost": lost}))
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
