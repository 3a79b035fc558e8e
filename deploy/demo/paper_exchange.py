#!/usr/bin/env python3
"""A paper exchange: one symbol, a real order book, and a log that is the referee of the demo.

It matches limit orders by price, then time. It NEVER dedupes: an order that is sent twice is placed twice, as with a
broker that knows a client order id only while the order is open. The log says what arrived, when, from whom, and
under which epoch: {"time", "id", "epoch", "node", "order"}; time is CLOCK_BOOTTIME in seconds.

  POST /orders   {"client_order_id", "side": "buy"|"sell", "quantity", "price"}; headers X-Epoch, X-Source-Node
  GET  /log      one JSON object per line, oldest first; ?since=N skips the first N, ?id=KEY shows one client order id
  PUT  /mode     {"drop_replies": N}: the next N orders are accepted, and their connections closed without a reply;
                 {"forget": N}: the next N are confirmed and not placed, as no exchange does (whoever checks must notice);
                 neither is for what traders trade on their own account, own-...
  PUT  /fence    {"epoch": N}: from now on orders of an older epoch are refused with 409, as a guard at the resource does
  GET  /refused  those that were, one JSON object per line
  GET  /book     best prices and open orders            GET /health
  GET  /ticks    WebSocket: {"seq", "price", "time"} ten times a second
"""

import argparse
import asyncio
import heapq
import json
import os
import random
import signal
import time
from urllib.parse import parse_qs, urlsplit

import websocket

BODY_BYTES_MAX = 64 * 1024
TICK_SECONDS = 0.1
OWN = "own-"  # begins the ids of what traders trade on their own account


def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Book:
    """Open orders of one symbol. Prices are integers (ticks), quantities whole numbers."""

    def __init__(self):
        self.bids, self.asks = [], []  # heaps of [key, arrival, order]
        self.arrivals = 0
        self.last_price = 10_000
        self.open = 0

    def place(self, side, quantity, price):
        """Matches what crosses and rests what is left. @return the quantity that was filled at once."""
        self.arrivals += 1
        mine, other = (self.bids, self.asks) if side == "buy" else (self.asks, self.bids)
        sign = 1 if side == "buy" else -1
        left = quantity
        while left and other and sign * (price - other[0][2]["price"]) >= 0:
            resting = other[0][2]
            traded = min(left, resting["quantity"])
            left -= traded
            resting["quantity"] -= traded
            self.last_price = resting["price"]
            if resting["quantity"] == 0:
                heapq.heappop(other)
                self.open -= 1
        if left:
            heapq.heappush(mine, [-sign * price, self.arrivals, {"price": price, "quantity": left}])
            self.open += 1
        return quantity - left

    def best(self):
        return {"bid": self.bids[0][2]["price"] if self.bids else None,
                "ask": self.asks[0][2]["price"] if self.asks else None, "last": self.last_price, "open": self.open}


class Exchange:
    def __init__(self, delay, seed):
        self.book, self.log, self.delay = Book(), [], delay
        self.chance = random.Random(seed)
        self.seq = self.numbers = 0
        self.replies_to_drop = self.to_forget = 0
        self.fence, self.refused = 0, []  # least epoch that is taken; orders that came too late for that
        self.watchers = set()

    def accept(self, order, epoch, node):
        """@return the answer to an order; ValueError when it makes no sense."""
        key, side = order["client_order_id"], order["side"]
        quantity, price = int(order["quantity"]), int(order["price"])
        if not isinstance(key, str) or side not in ("buy", "sell") or quantity <= 0 or price <= 0:
            raise ValueError("an order needs client_order_id, side, quantity > 0, price > 0")
        self.numbers += 1
        number = self.numbers
        if self.to_forget > 0 and not key.startswith(OWN):
            self.to_forget -= 1
            return {"order_id": number, "client_order_id": key, "status": "open", "filled": 0}
        self.log.append({"time": now(), "id": key, "epoch": epoch, "node": node, "order": number})
        filled = self.book.place(side, quantity, price)
        status = "filled" if filled == quantity else "partly_filled" if filled else "open"
        return {"order_id": number, "client_order_id": key, "status": status, "filled": filled}

    async def tick(self):
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.seq += 1
            drift = self.chance.randint(-3, 3)
            frame = json.dumps({"seq": self.seq, "price": self.book.last_price + drift, "time": round(now(), 6)})
            for writer in list(self.watchers):
                writer.write(websocket.encode(websocket.TEXT, frame.encode(), masked=False))


class Connection:
    """One keep-alive connection of a trader."""

    def __init__(self, exchange, reader, writer):
        self.exchange, self.reader, self.writer = exchange, reader, writer

    async def serve(self):
        try:
            while await self.one():
                pass
        except (OSError, EOFError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            self.exchange.watchers.discard(self.writer)
            self.writer.close()

    async def one(self):
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
        size = int(headers.get("content-length", 0))
        if size > BODY_BYTES_MAX:
            return self.answer(413, {"error": "body too long"}, close=True)
        body = await self.reader.readexactly(size)
        path = urlsplit(target)
        if method == "GET" and path.path == "/ticks":
            await self.stream_ticks(headers)
            return False
        if method == "POST" and path.path == "/orders":
            if not await self.order(headers, body):
                return False
        elif method == "GET" and path.path == "/log":
            query = parse_qs(path.query)
            since, wanted = int(query.get("since", ["0"])[0]), query.get("id", [None])[0]
            self.lines(entry for entry in self.exchange.log[since:] if wanted in (None, entry["id"]))
        elif method == "GET" and path.path == "/refused":
            self.lines(self.exchange.refused)
        elif method == "PUT" and path.path == "/mode":
            wanted = json.loads(body)
            self.exchange.replies_to_drop = int(wanted.get("drop_replies", 0))
            self.exchange.to_forget = int(wanted.get("forget", 0))
            self.answer(200, {"drop_replies": self.exchange.replies_to_drop, "forget": self.exchange.to_forget})
        elif method == "PUT" and path.path == "/fence":
            self.exchange.fence = max(self.exchange.fence, int(json.loads(body)["epoch"]))
            self.answer(200, {"epoch": self.exchange.fence})
        elif method == "GET" and path.path in ("/book", "/health"):
            self.answer(200, {"status": "healthy", "orders": len(self.exchange.log), "fence": self.exchange.fence,
                              "fenced_off": len(self.exchange.refused), **self.exchange.book.best()})
        else:
            self.answer(404, {"error": "no such page"})
        await self.writer.drain()
        return headers.get("connection", "").lower() != "close"

    async def order(self, headers, body):
        """@return false when the connection is to end without a reply."""
        try:
            epoch = int(headers.get("x-epoch") or 0)
            if epoch < self.exchange.fence:
                self.exchange.refused.append({"time": now(), "id": json.loads(body)["client_order_id"], "epoch": epoch,
                                              "node": headers.get("x-source-node", ""), "fence": self.exchange.fence})
                self.answer(409, {"error": f"epoch {epoch} is over, {self.exchange.fence} counts"})
                return True
            order = json.loads(body)
            answer = self.exchange.accept(order, epoch, headers.get("x-source-node", ""))
        except (ValueError, KeyError, TypeError) as problem:
            self.answer(400, {"error": str(problem)})
            return True
        dropped = self.exchange.replies_to_drop > 0 and not order["client_order_id"].startswith(OWN)
        self.exchange.replies_to_drop -= dropped
        await asyncio.sleep(self.exchange.delay)  # accepted; the reply takes the time that a broker's reply takes
        if not dropped:
            self.answer(201, answer)
        return not dropped

    async def stream_ticks(self, headers):
        accept = websocket.accept_of(headers.get("sec-websocket-key", ""))
        self.writer.write(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           f"Sec-WebSocket-Accept: {accept}\r\n\r\n").encode())
        self.exchange.watchers.add(self.writer)
        while await self.reader.read(4096):
            pass

    def lines(self, entries):
        self.raw(200, "".join(json.dumps(entry) + "\n" for entry in entries).encode(), "application/x-ndjson")

    def answer(self, status, value, close=False):
        self.raw(status, json.dumps(value).encode(), "application/json", close)
        return not close

    def raw(self, status, body, kind, close=False):
        end = "Connection: close\r\n" if close else ""
        self.writer.write(f"HTTP/1.1 {status} .\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{end}\r\n".encode() + body)


async def serve(arguments):
    exchange = Exchange(arguments.delay_ms / 1000, arguments.seed)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await asyncio.start_server(lambda r, w: Connection(exchange, r, w).serve(), "127.0.0.1", arguments.port, backlog=512)
    print(json.dumps({"listening": server.sockets[0].getsockname()[1]}), flush=True)
    ticks = asyncio.create_task(exchange.tick())
    await stop.wait()
    ticks.cancel()
    os._exit(0)  # nothing to keep, and open connections have nothing to wait for


def main():
    parser = argparse.ArgumentParser(description="A paper exchange that never dedupes; its log is the referee.")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 = any, printed on stdout")
    parser.add_argument("--delay-ms", type=float, default=2, help="between accepting an order and the reply")
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
