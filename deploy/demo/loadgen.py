#!/usr/bin/env python3
"""The demo's clients, as impatient as real ones, and as honest: what they saw is all that the scorecard gets.

  orders     N clients, each one order at a time with a key of its own, retried on any entry until it is acknowledged, or
             until an agent has said for --unknown-seconds that nobody knows what became of it
  gets       N clients that read; a refused, reset or silent entry makes them try the next one
  sockets    N WebSocket clients that follow the ticks by sequence number and resume after a loss
  kv         one writer of distinct keys, each retried on any API until it is acknowledged; all read back at the end

While it runs it prints one line of JSON per slot of 100 ms: {"time", "acks", "epoch", "gets", "failed"}. On SIGTERM (or
after --seconds) it starts nothing new, waits for what is pending, reads the keys back and writes --out.
Times are CLOCK_BOOTTIME in seconds.
"""

import argparse
import asyncio
import base64
import json
import random
import signal
import time
from pathlib import Path

import websocket
from http_client import Client, Refused

SLOT_SECONDS = 0.1
TRY_SECONDS = 3.0  # for one answer
UNKNOWN_PAUSE_SECONDS = 0.25
PENDING_SECONDS_MAX = 12.0
RAMP_SECONDS = 0.8  # clients do not all knock in the same moment


def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Load:
    """What all clients share: where to go, when to stop, what was seen."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.entries = [address.split(":") for address in arguments.entry]
        self.apis = [address.split(":") for address in arguments.api]
        self.stopping = asyncio.Event()
        self.acks = []           # [time, epoch, node, attempts, first try, key]
        self.unknown = []        # [time, key]: shown as unknown to the end; the client did not send a new order for it
        self.rejected = []       # [time, key, status]: recorded answers other than 201, which are final too
        self.order_replies = {}  # status or error -> count of unsuccessful attempts
        self.unacked = []        # keys that were still pending at the end
        self.get_nodes = []      # [time, node]
        self.get_count = 0
        self.get_troubles = []   # {"begin", "end", "entry", "what", "final"}
        self.kv_written, self.kv_lost, self.kv_attempts = {}, [], 0
        self.ticks = {"seen": 0, "missed": 0, "repeated": 0, "reconnects": 0}
        self.slot = {"acks": 0, "gets": 0, "failed": 0}

    async def pause(self, seconds):
        """Sleeps, or less when the end has come."""
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except asyncio.TimeoutError:
            pass

    async def report(self):
        while True:
            await asyncio.sleep(SLOT_SECONDS)
            epoch = self.acks[-1][1] if self.acks else 0
            print(json.dumps({"time": now(), "epoch": epoch, **self.slot}), flush=True)
            self.slot = dict.fromkeys(self.slot, 0)


class EntryClient:
    """One client that speaks to one entry at a time, and to the next one when that has failed it."""

    def __init__(self, load, number):
        self.load, self.number = load, number
        self.chance = random.Random(f"{load.arguments.seed}/{self.KIND}/{number}")
        self.entry = number % len(load.entries)
        self.client = Client(*load.entries[self.entry])

    def next_entry(self):
        self.client.close()
        self.entry = (self.entry + 1) % len(self.load.entries)
        self.client = Client(*self.load.entries[self.entry])


class OrderClient(EntryClient):
    KIND = "order"

    async def run(self):
        await self.load.pause(self.chance.random() * RAMP_SECONDS)
        intent = 0
        while not self.load.stopping.is_set():
            intent += 1
            await self.place(f"{self.load.arguments.seed}-c{self.number}-{intent}")
            await self.load.pause(self.chance.uniform(0.5, 1.5) * self.load.arguments.order_pause)

    async def place(self, key):
        order = json.dumps({"client_order_id": key, "side": self.chance.choice(("buy", "sell")), "symbol": "PAPER",
                            "quantity": self.chance.randint(1, 5), "price": 10_000 + self.chance.randint(-20, 20)})
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        begun, attempts, unknown_since = now(), 0, None
        while True:
            attempts += 1
            status, answer, again = await self.attempt(order, headers)
            if status == 201:
                self.load.acks.append([now(), answer.get("epoch", 0), answer.get("node", "?"), attempts, begun, key])
                self.load.slot["acks"] += 1
                return
            if answer.get("code") == "order_unknown":
                unknown_since = unknown_since or now()
                if now() - unknown_since >= self.load.arguments.unknown_seconds or self.load.stopping.is_set():
                    self.load.unknown.append([now(), key])
                    return
            elif answer.get("replayed"):
                self.load.rejected.append([now(), key, status])
                return
            if self.load.stopping.is_set() and now() - begun > max(self.load.arguments.pending_seconds, self.load.arguments.try_seconds):
                self.load.unacked.append(key)
                return
            await asyncio.sleep(again or self.chance.uniform(0.2, 1) * self.load.arguments.retry_pause)

    async def attempt(self, order, headers):
        """One try. @return (status or 0, what the answer says, seconds until the next try or None); after anything but
        201 that goes to the next entry."""
        status, answer, again = 0, {}, None
        try:
            status, fields, body = await asyncio.wait_for(self.client.request("POST", "/orders", headers, order.encode()),
                                                          self.load.arguments.try_seconds)
            if status == 201:
                return status, json.loads(body), None
            what = str(status)
            answer, again = self.read_refusal(status, fields, body)
        except (Refused, asyncio.TimeoutError) as problem:
            what = problem.args[0] if problem.args else "timeout"
        self.load.order_replies[what] = self.load.order_replies.get(what, 0) + 1
        self.next_entry()
        return status, answer, again

    @staticmethod
    def read_refusal(status, fields, body):
        try:
            answer = json.loads(body)
        except ValueError:
            answer = {}
        answer = answer if isinstance(answer, dict) else {}
        answer["replayed"] = fields.get("idempotent-replayed") == "true"
        again = UNKNOWN_PAUSE_SECONDS if answer.get("code") == "order_unknown" else None
        if status == 409 and not again and answer.get("retry_after_ms"):
            again = answer["retry_after_ms"] / 1000
        return answer, again


class GetClient(EntryClient):
    KIND = "get"

    async def run(self):
        await self.load.pause(self.chance.random() * RAMP_SECONDS)
        while not self.load.stopping.is_set():
            await self.read()
            await self.load.pause(self.chance.uniform(0.5, 1.5) * self.load.arguments.get_pause)

    async def read(self):
        """Any entry will do. A 5xx is a failure at once; a broken entry is only trouble while another one answers."""
        for left in range(len(self.load.entries) - 1, -1, -1):
            begun = now()
            try:
                status, headers, _ = await asyncio.wait_for(self.client.request("GET", "/positions"), self.load.arguments.read_seconds)
            except (Refused, asyncio.TimeoutError) as problem:
                self.trouble(begun, problem.args[0] if problem.args else "timeout", final=left == 0)
                self.next_entry()
                continue
            self.load.get_count += 1
            self.load.slot["gets"] += 1
            if status == 200:
                self.load.get_nodes.append([now(), headers.get("x-node", "?")])
            else:
                self.trouble(begun, str(status), final=True)
            return
        self.load.get_count += 1

    def trouble(self, begun, what, final):
        self.load.get_troubles.append({"begin": begun, "end": now(), "entry": self.entry, "what": what, "final": final})
        self.load.slot["failed"] += 1 if final else 0


class SocketClient:
    def __init__(self, load, number):
        self.load, self.entry, self.last = load, number % len(load.entries), -1

    async def run(self):
        while not self.load.stopping.is_set():
            try:
                await self.follow()
            except (OSError, EOFError, asyncio.TimeoutError, websocket.Broken, ValueError):
                pass
            self.load.ticks["reconnects"] += 1
            self.entry = (self.entry + 1) % len(self.load.entries)
            await self.load.pause(0.1)

    async def follow(self):
        host, port = self.load.entries[self.entry]
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), self.load.arguments.read_seconds)
        try:
            key = websocket.new_key()
            since = f"?since={self.last}" if self.last >= 0 else ""
            writer.write((f"GET /ws/ticks{since} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
                          f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), self.load.arguments.read_seconds)
            if b" 101 " not in head.split(b"\r\n")[0] or websocket.accept_of(key).encode() not in head:
                raise websocket.Broken("no upgrade")
            buffer = bytearray()
            while not self.load.stopping.is_set():
                frame = websocket.decode(buffer)
                if frame is None:
                    data = await asyncio.wait_for(reader.read(4096), self.load.arguments.read_seconds)
                    if not data:
                        raise EOFError
                    buffer += data
                elif frame[0] == websocket.TEXT:
                    self.take(json.loads(frame[1])["seq"])
        finally:
            writer.close()

    def take(self, seq):
        ticks = self.load.ticks
        if self.last >= 0 and seq <= self.last:
            ticks["repeated"] += 1
            return
        if self.last >= 0:
            ticks["missed"] += seq - self.last - 1
        ticks["seen"] += 1
        self.last = seq


class KvClient:
    """Writes demo/N and later reads every one back."""

    def __init__(self, load):
        self.load, self.api = load, 0
        self.client = Client(*load.apis[0])

    async def run(self):
        number = 0
        while not self.load.stopping.is_set():
            number += 1
            value = f"{self.load.arguments.seed}-{number}"
            if await self.until_answered("PUT", f"/v1/kv/demo/{number}", value.encode(), {b"true"}) is not None:
                self.load.kv_written[number] = value
            await self.load.pause(self.load.arguments.kv_pause)

    async def until_answered(self, method, path, body=b"", wanted=None):
        """Tries one API after the other. @return the body of a 200 (one of `wanted`, when given), else None."""
        begun = now()
        while not (self.load.stopping.is_set() and now() - begun > self.load.arguments.pending_seconds):
            self.load.kv_attempts += 1
            try:
                status, _, reply = await asyncio.wait_for(self.client.request(method, path, {}, body), self.load.arguments.read_seconds)
                if status == 200 and (wanted is None or reply.strip() in wanted):
                    return reply
                if status == 404 and method == "GET":
                    return None
            except (Refused, asyncio.TimeoutError):
                pass
            self.client.close()
            self.api = (self.api + 1) % len(self.load.apis)
            self.client = Client(*self.load.apis[self.api])
            await asyncio.sleep(0.05)
        return None

    async def read_back(self):
        """A linearizable read of every acknowledged key: first all at once, then each that is not there by itself."""
        found = {}
        reply = await self.until_answered("GET", "/v1/kv/demo/?recurse&consistent")
        for entry in json.loads(reply or b"[]"):
            name = entry["Key"].rsplit("/", 1)[1]
            found[int(name)] = base64.b64decode(entry["Value"] or "").decode()
        for number, value in self.load.kv_written.items():
            if found.get(number) != value:
                alone = await self.until_answered("GET", f"/v1/kv/demo/{number}?consistent&raw")
                if alone is None or alone.decode() != value:
                    self.load.kv_lost.append(number)


async def drive(arguments):
    load = Load(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, load.stopping.set)
    clients = [OrderClient(load, n) for n in range(arguments.orders)] + [GetClient(load, n) for n in range(arguments.gets)]
    clients += [SocketClient(load, n) for n in range(arguments.sockets)]
    kv = KvClient(load) if load.apis else None
    tasks = [asyncio.create_task(client.run()) for client in clients + ([kv] if kv else [])]
    report = asyncio.create_task(load.report())
    await load.pause(arguments.seconds)
    load.stopping.set()
    _, late = await asyncio.wait(tasks, timeout=arguments.pending_seconds + max(arguments.read_seconds, 2 * arguments.try_seconds))
    report.cancel()
    broken = [repr(task.exception()) for task in tasks if task.done() and not task.cancelled() and task.exception()]
    if kv:
        await kv.read_back()
    for task in late:
        task.cancel()
    seen = ("acks", "unknown", "rejected", "order_replies", "unacked", "get_nodes", "get_count", "get_troubles", "kv_lost", "kv_attempts", "ticks")
    result = {name: getattr(load, name) for name in seen}
    result.update(kv_written=len(load.kv_written), client_errors=broken, clients_late=len(late))
    Path(arguments.out).write_text(json.dumps(result))


def parse(arguments=None):
    parser = argparse.ArgumentParser(description="Order, read, WebSocket and KV clients that note what they see.")
    parser.add_argument("--entry", action="append", required=True, help="ip:port of an entry; repeat for each agent")
    parser.add_argument("--api", action="append", default=[], help="ip:port of an agent's API, for the KV writer")
    parser.add_argument("--orders", type=int, default=32)
    parser.add_argument("--gets", type=int, default=64)
    parser.add_argument("--sockets", type=int, default=10)
    parser.add_argument("--order-pause", type=float, default=0.2, help="seconds between a client's orders, on average")
    parser.add_argument("--try-seconds", type=float, default=TRY_SECONDS, help="how long a client waits for one answer to an order")
    parser.add_argument("--read-seconds", type=float, default=TRY_SECONDS, help="how long for an answer to anything else")
    parser.add_argument("--pending-seconds", type=float, default=PENDING_SECONDS_MAX, help="how long what is pending at the end may take")
    parser.add_argument("--retry-pause", type=float, default=0.05, help="seconds until an order is tried again, at most")
    parser.add_argument("--unknown-seconds", type=float, default=3, help="how long to go on asking what became of an unknown order")
    parser.add_argument("--get-pause", type=float, default=0.4)
    parser.add_argument("--kv-pause", type=float, default=0.05)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", default="/dev/stdout", help="file for what was seen")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    asyncio.run(drive(parse()))
