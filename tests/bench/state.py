"""What a large state costs: memory, a saved snapshot, a wiped node that is seeded, a restart, and how long the loop stalls.

    tests/bench/run state [--keys 100000] [--bytes 256]

Three agents on loopback; keys are written in transactions of 64. Prints one table. Every agent is watched by a client that
asks it for its liveness all the time: the longest answer is the longest stall of its loop (and of this machine).
"""

import argparse
import base64
import http.client
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "deploy" / "demo"))
from cluster import Process, free_ports, get_json, request, wait_until  # noqa: E402


class Agent:
    def __init__(self, binary, folder, number, ports, seeds):
        self.binary, self.number, self.ports, self.seeds = binary, number, ports, seeds
        self.folder = folder / f"n{number}"
        self.api = f"127.0.0.1:{ports[0]}"
        self.process = None

    def start(self):
        self.folder.mkdir(exist_ok=True)
        command = [self.binary, "agent", "--node", f"n{self.number}", "--data", self.folder / "data", "--api", self.api,
                   "--bind", "127.0.0.1", "--gossip-port", self.ports[1], "--mesh-port", self.ports[2],
                   "--dns", "off", "--set", "raft.disk_reserve=0", "--set", "node.log_level=warn"]
        for seed in self.seeds:
            command += ["--join", seed]
        command += ["--bootstrap"] if self.number == 1 else []
        self.process = Process(f"n{self.number}", command, self.folder / "log")

    def ready(self):
        try:
            return request(self.api, "GET", "/outrigger/v1/health/ready", timeout=1)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def status(self, field):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
        return 0.0

    def keys(self):
        try:
            _, _, body = request(self.api, "GET", "/metrics", timeout=5)
        except (OSError, http.client.HTTPException):
            return -1
        rows = [line for line in body.decode().splitlines() if line.startswith("outrigger_kv_entries ")]
        return int(float(rows[0].split()[1])) if rows else -1


class Watch(threading.Thread):
    """Asks for liveness all the time; `worst` is the longest answer in ms."""

    def __init__(self, agent):
        super().__init__(daemon=True)
        self.agent, self.worst, self.over, self.done = agent, 0.0, False, 0
        self.start()

    def run(self):
        host, port = self.agent.api.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        while not self.over:
            begun = time.monotonic()
            try:
                connection.request("GET", "/outrigger/v1/health/live")
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                connection.close()
                time.sleep(0.01)
                continue
            self.worst = max(self.worst, (time.monotonic() - begun) * 1000)
            self.done += 1
            time.sleep(0.002)

    def end(self):
        self.over = True
        self.join()
        return self.worst


def load(agent, keys, size):
    host, port = agent.api.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    for first in range(0, keys, 64):
        body = json.dumps([{"KV": {"Verb": "set", "Key": f"bench/{i:07}", "Value": base64.b64encode(os.urandom(size)).decode()}}
                           for i in range(first, min(first + 64, keys))])
        connection.request("PUT", "/v1/txn", body)
        reply = connection.getresponse()
        if reply.status != 200:
            raise RuntimeError(f"transaction refused: {reply.status} {reply.read()[:200]}")
        reply.read()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--bytes", type=int, default=256)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="outrigger-state-"))
    ports = free_ports(9)
    seeds = [f"127.0.0.1:{ports[1]}"]
    agents = [Agent(options.binary, folder, i + 1, ports[3 * i:3 * i + 3], seeds if i else []) for i in range(3)]
    rows = []
    try:
        for agent in agents[:2]:
            agent.start()
            wait_until(agent.ready, 30, f"n{agent.number}")
        idle = agents[0].status("VmRSS")
        begun = time.monotonic()
        load(agents[0], options.keys, options.bytes)
        rows.append(("writing them, in transactions of 64", f"{time.monotonic() - begun:.1f} s"))
        wait_until(lambda: agents[1].keys() >= options.keys, 60, "the follower to have them")
        rows.append(("RSS idle / with the state (leader, follower)",
                     f"{idle:.0f} / {agents[0].status('VmRSS'):.0f}, {agents[1].status('VmRSS'):.0f} MB"))

        watch = Watch(agents[0])
        begun = time.monotonic()
        status, _, body = request(agents[0].api, "GET", "/v1/snapshot", timeout=60)
        took = time.monotonic() - begun
        stall = watch.end()
        rows.append(("saving a snapshot", f"{took:.2f} s, {len(body) / 2**20:.1f} MiB, status {status}"))
        rows.append(("longest answer meanwhile", f"{stall:.1f} ms"))
        rows.append(("RSS at its highest (leader)", f"{agents[0].status('VmHWM'):.0f} MB"))

        watch = Watch(agents[0])
        begun = time.monotonic()
        agents[2].start()
        wait_until(lambda: agents[2].keys() >= options.keys, 120, "the empty node to be seeded", pause=0.01)
        rows.append(("seeding an empty node, start of the process included", f"{time.monotonic() - begun:.2f} s"))
        rows.append(("longest answer of the leader meanwhile", f"{watch.end():.1f} ms"))
        rows.append(("RSS of the seeded node / at its highest",
                     f"{agents[2].status('VmRSS'):.0f} / {agents[2].status('VmHWM'):.0f} MB"))

        agents[2].process.stop()
        begun = time.monotonic()
        agents[2].start()
        wait_until(lambda: agents[2].keys() >= options.keys, 60, "the restarted node", pause=0.005)
        rows.append(("restart until it answers with the state", f"{time.monotonic() - begun:.2f} s"))
        rows.append(("RSS after the restart / at its highest",
                     f"{agents[2].status('VmRSS'):.0f} / {agents[2].status('VmHWM'):.0f} MB"))

        quiet = Watch(agents[0])
        time.sleep(3)
        rows.append(("longest answer of an idle agent in 3 s (the machine)", f"{quiet.end():.1f} ms"))
    finally:
        for agent in agents:
            if agent.process:
                agent.process.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{options.keys} keys of {options.bytes} bytes, load {os.getloadavg()[0]:.1f}")
    for name, value in rows:
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
