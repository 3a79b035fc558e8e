#!/usr/bin/env python3
"""Requests while everything is changed under them: keep-alive clients on three agents, a reload of one agent after the
other, and every agent's binary upgraded in turn.

    tests/bench/run rolling [--clients 1000] [--seconds 60] [--reload-every 5] [--upgrade-every 15] [--json FILE]

A client keeps its connection as long as it is let, sends a GET, now and then an order, and waits a moment. It never asks
twice: a connection that closes under a request, a broken answer or a status of 500 and more is a failure. Each reload
adds a listener to an agent or takes it away again. An upgrade starts a second process with --take-over beside the
running one, which has to end by itself with exit code 0. The same clients run without any change first, once all of them
are connected, so that "added" has something to be added to.
"""
import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "deploy" / "demo"))
import cluster as processes  # noqa: E402  (found through the line above)

ANSWER_S_MAX = 20.0  # an order may be held for 5 s, and a machine may be slow


class Failed(Exception):
    """What a user would have noticed."""


class Load:
    """Clients on a loop of their own thread; `stop` ends them after their present request."""

    def __init__(self, entries, clients, think_s, order_share=0.1, answer_s_max=ANSWER_S_MAX):
        self.entries, self.clients, self.think_s, self.order_share, self.answer_s_max = entries, clients, think_s, order_share, answer_s_max
        self.failures, self.times, self.connections, self.order = [], [], 0, 0
        self.ending = False
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()), daemon=True)

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        self.ending = True
        self.thread.join(self.answer_s_max + 2 * self.think_s + 10)
        return self

    async def run(self):
        await asyncio.gather(*(self.client(number) for number in range(self.clients)))

    async def client(self, number):
        chance = random.Random(number)
        host, port = self.entries[number % len(self.entries)].rsplit(":", 1)
        await asyncio.sleep(chance.random() * self.think_s)
        reader = writer = None
        while not self.ending:
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection(host, int(port))
                    self.connections += 1
                begun = time.monotonic()
                keep = await asyncio.wait_for(self.ask(reader, writer, chance), self.answer_s_max)
                self.times.append((begun, time.monotonic() - begun))
            except (OSError, EOFError, ValueError, Failed, asyncio.TimeoutError) as error:
                self.failures.append(f"{time.monotonic():.3f} client {number}: {type(error).__name__} {error}")
                keep = False
            if not keep and writer is not None:
                writer.close()
                reader = writer = None
            await asyncio.sleep(self.think_s * (0.5 + chance.random()))
        if writer is not None:
            writer.close()

    async def ask(self, reader, writer, chance):
        """One request. @return whether the connection may be used again"""
        if chance.random() < self.order_share:
            self.order += 1
            body = json.dumps({"symbol": "ACME", "side": "buy", "qty": 1}).encode()
            head = (f"POST /orders HTTP/1.1\r\nHost: h\r\nIdempotency-Key: rolling-{os.getpid()}-{self.order}\r\n"
                    f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n").encode()
        else:
            head, body = b"GET /positions HTTP/1.1\r\nHost: h\r\n\r\n", b""
        writer.write(head + body)
        status, size, keep = await self.read_head(reader)
        said = await reader.readexactly(size)
        if status >= 500:
            raise Failed(f"status {status} to {head.split(b' ', 1)[0].decode()}: {said.decode(errors='replace')[:200]}")
        return keep

    @staticmethod
    async def read_head(reader):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        return int(head[0].split(" ")[1]), int(fields.get("content-length", 0)), fields.get("connection", "").lower() != "close"

    def p95_ms(self, since, until):
        """Of the requests that began in this time."""
        times = sorted(took for begun, took in self.times if since <= begun < until)
        return 1000 * times[int(0.95 * (len(times) - 1))] if times else 0.0


def upgrade(node, seconds=90):
    """Another process takes over from the node's agent. @return how long the old one then still ran."""
    old = node.agent
    node.agent = processes.Process(f"{node.name} agent", [node.cluster.binary, "agent", "--config", node.config_file(), "--take-over"],
                                   node.folder / "agent.log", node.environment(), outlives=node.cluster.outlives)
    log = node.agent.log
    words = f'"event":"taken_over"'
    begun = time.monotonic()
    processes.wait_until(lambda: old.child.poll() is not None or not node.agent.alive(), seconds, f"{node.name} handing over, see {log} for {words}")
    if old.child.poll() != 0 or not node.agent.alive():
        old.kill() if old.alive() else None
        raise Failed(f"{node.name}: the old process ended with {old.child.poll()}, the new one with {node.agent.child.poll()}\n{node.agent.tail(30)}")
    return time.monotonic() - begun


def reload(node, extra_port):
    """Another listener for the node, or without it again."""
    place = node.folder / "conf.d" / "extra.toml"
    if place.exists():
        place.unlink()
    else:
        place.write_text(f'[[listen]]\naddress = "127.0.0.1:{extra_port}"\n')
    node.agent.send(signal.SIGHUP)


def change(made, load, seconds, reload_every, upgrade_every):
    """Reloads and upgrades until the time is over and every node has been upgraded once. @return (reloads, upgrades)"""
    ports = dict(zip((node.name for node in made.nodes), processes.free_ports(len(made.nodes))))
    end = time.monotonic() + seconds
    next_reload, next_upgrade, reloads, upgrades = time.monotonic() + reload_every, time.monotonic() + upgrade_every, 0, 0
    while time.monotonic() < end or upgrades < len(made.nodes):
        if load.failures:
            break
        if time.monotonic() >= next_reload:
            node = made.nodes[reloads % len(made.nodes)]
            reload(node, ports[node.name])
            reloads, next_reload = reloads + 1, time.monotonic() + reload_every
        if time.monotonic() >= next_upgrade:
            upgrade(made.nodes[upgrades % len(made.nodes)])
            upgrades, next_upgrade = upgrades + 1, time.monotonic() + upgrade_every
        time.sleep(0.02)
    return reloads, upgrades


def measure(made, clients, seconds, reload_every, upgrade_every, think_s, answer_s_max=ANSWER_S_MAX):
    """@return the figures of a quiet time and one with changes, of the same clients"""
    load = Load([node.entry for node in made.nodes], clients, think_s, answer_s_max=answer_s_max).start()
    processes.wait_until(lambda: load.connections >= clients, 60, f"{clients} clients connected")
    time.sleep(2 * think_s)  # connecting them all at once was a burst of its own
    begun = time.monotonic()
    time.sleep(min(seconds, 15) if seconds > 15 else 2)
    changing = time.monotonic()
    reloads, upgrades = change(made, load, seconds, reload_every, upgrade_every)
    changed = time.monotonic()
    load.stop()
    quiet_ms, changing_ms = load.p95_ms(begun, changing), load.p95_ms(changing, changed)
    took = [1000 * took for since, took in load.times if since >= changing]
    return {"clients": clients, "seconds": seconds, "requests": len(load.times), "connections": load.connections, "orders": load.order,
            "failures": load.failures, "reloads": reloads, "upgrades": upgrades, "p95_quiet_ms": round(quiet_ms, 3),
            "p95_ms": round(changing_ms, 3), "p95_added_ms": round(changing_ms - quiet_ms, 3),
            "median_ms": round(statistics.median(took), 3) if took else 0, "longest_ms": round(max(took, default=0), 1)}


def start(binary, folder):
    made = processes.Cluster(binary, folder, 3)
    made.make_secrets()
    made.write_config()
    made.start()
    for node in made.nodes:
        processes.wait_until(node.ready, 30, f"{node.name} ready")
    made.wait_agreed(30)
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.environ.get("OUTRIGGER_BIN", REPO / "build/dev/agent/outrigger"))
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--reload-every", type=float, default=5)
    parser.add_argument("--upgrade-every", type=float, default=15)
    parser.add_argument("--think", type=float, default=1.0, help="pause of a client between two requests, on average")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="outrigger-rolling-") as folder:
        made = start(arguments.binary, Path(folder))
        try:
            figures = measure(made, arguments.clients, arguments.seconds, arguments.reload_every, arguments.upgrade_every, arguments.think)
        finally:
            made.end()
    text = json.dumps({**figures, "failures": len(figures["failures"]), "first_failures": figures["failures"][:10]}, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    return 1 if figures["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
