#!/usr/bin/env python3
"""A paper trader: an ordinary trading service that knows nothing of clusters, leases or failover.

  GET  /health      status and the fields that monitoring looks at      PUT /health   {"status": ...}: for drills
  GET  /metrics     Prometheus text          POST /orders    places an order at the exchange, answers 201
  GET  /orders      the latest orders        GET  /positions what it holds        GET /ws/ticks   WebSocket price feed
  POST /ha/reconcile   what became of orders: {"orders": [{"zone", "key"}]} -> {"verdicts": [...]}, out of the exchange's own log

All it takes from the agent beside it is optional: the X-Outrigger-Epoch header, which it notes and passes on to the
exchange like any other field, and the role file, which its toy strategy reads before it trades on its own account.
Every order request is noted in --log before anything else happens: {"time", "id", "epoch"}, where time is the moment
its last byte reached this machine's kernel (CLOCK_BOOTTIME, seconds), so that a pause of this process cannot change it.
"""

import argparse
import collections
import http.client
import json
import os
import random
import signal
import socket
import struct
import sys
import threading
import time
from urllib.parse import parse_qs, quote, urlsplit

import websocket

HEAD_BYTES_MAX = 32 * 1024
BODY_BYTES_MAX = 1024 * 1024
TICKS_KEPT = 1000
_TIMESTAMPNS = getattr(socket, "SO_TIMESTAMPNS", 35)
_REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 404: "Not Found", 413: "Content Too Large", 503: "Service Unavailable"}


def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def since_boot(realtime):
    """A moment of the wall clock as one of now(). Of three readings of both clocks the closest counts: a thread may lose its turn between two."""
    readings = []
    for _ in range(3):
        before = now()
        wall = time.clock_gettime(time.CLOCK_REALTIME)
        readings.append((now() - before, before - wall))
    return realtime + min(readings)[1]


class Lost(Exception):
    """The exchange may have the order, and did not say so."""


class Feed:
    """The exchange's ticks: the newest TICKS_KEPT, and a bell for those who wait for the next."""

    def __init__(self, exchange):
        self.exchange = exchange
        self.ticks = collections.deque(maxlen=TICKS_KEPT)
        self.bell = threading.Condition()

    def run(self):
        while True:
            try:
                self.follow()
            except (OSError, websocket.Broken, ValueError):
                pass
            time.sleep(0.2)

    def follow(self):
        with socket.create_connection(self.exchange, timeout=5) as connection:
            connection.sendall(("GET /ticks HTTP/1.1\r\nHost: exchange\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {websocket.new_key()}\r\n\r\n").encode())
            buffer = bytearray()
            while b"\r\n\r\n" not in buffer:
                buffer += connection.recv(4096) or self.ended()
            del buffer[:buffer.index(b"\r\n\r\n") + 4]
            while True:
                frame = websocket.decode(buffer)
                if frame is None:
                    buffer += connection.recv(4096) or self.ended()
                elif frame[0] == websocket.TEXT:
                    with self.bell:
                        self.ticks.append(json.loads(frame[1]))
                        self.bell.notify_all()

    @staticmethod
    def ended():
        raise OSError("the exchange closed the feed")

    def after(self, seq, seconds):
        """Ticks newer than `seq`, waiting up to `seconds` for the first."""
        with self.bell:
            if not self.ticks or self.ticks[-1]["seq"] <= seq:
                self.bell.wait(seconds)
            return [tick for tick in self.ticks if tick["seq"] > seq]


class Trader:
    """The books of this instance, and its way to the exchange."""

    def __init__(self, arguments):
        host, port = arguments.exchange.rsplit(":", 1)
        self.exchange, self.node, self.role_file = (host, int(port)), arguments.node, arguments.role_file
        place, _, prefix = (arguments.orders or arguments.exchange).partition("/")
        self.orders_host, self.orders_port = place.rsplit(":", 1)
        self.orders_path, self.fenced = (f"/{prefix}" if prefix else "") + "/orders", bool(arguments.orders)
        self.delay = (arguments.delay_ms_min / 1000, arguments.delay_ms_max / 1000)
        self.think, self.lost_status = arguments.think_ms_max / 1000, arguments.lost_status
        self.feed = Feed(self.exchange)
        self.started = time.monotonic()
        self.status, self.position, self.sent, self.failed = "healthy", 0, 0, 0
        self.orders = collections.deque(maxlen=50)
        self.lock = threading.Lock()
        self.connections = threading.local()
        self.log = os.open(arguments.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if arguments.log else None

    def note(self, arrived, key, epoch):
        if self.log is not None:
            os.write(self.log, (json.dumps({"time": arrived, "id": key, "epoch": epoch}) + "\n").encode())

    def place(self, order, epoch):
        """One try, no retry. @return (status, answer). Lost when the exchange may have the order: whoever does not know what
        became of it must not answer as if."""
        connection = getattr(self.connections, "exchange", None)
        if connection is None:
            connection = http.client.HTTPConnection(self.orders_host, int(self.orders_port), timeout=10)
            try:
                connection.connect()
            except OSError as problem:
                return 503, {"error": f"exchange: {problem}; the order was not sent"}
            self.connections.exchange = connection
        try:
            fields = {"X-Epoch": str(epoch), "X-Source-Node": self.node}
            if self.fenced and epoch:
                fields["X-Outrigger-Epoch"] = str(epoch)  # the egress refuses what was decided under an old one
            connection.request("POST", self.orders_path, json.dumps(order), fields)
            reply = connection.getresponse()
            answer = json.loads(reply.read())
            if reply.getheader("X-Outrigger-Outcome"):
                raise Lost(f"the egress: {answer.get('message')}")  # not sent by us, and not for us to say for good
        except (OSError, http.client.HTTPException, ValueError) as problem:
            self.connections.exchange = None
            connection.close()
            raise Lost(str(problem)) from None
        if reply.status != 201:
            return 400, answer
        with self.lock:
            self.sent += 1
            self.position += answer["filled"] if order["side"] == "buy" else -answer["filled"]
            self.orders.append(answer)
        return 201, {**answer, "node": self.node, "epoch": epoch}

    def reconcile(self, question):
        """Asks the exchange about each order. One that it has is done, whoever sent it. One that it does not have was not
        sent only if nothing can bring it any more: it is of an older epoch, an egress stands before the exchange that lets nothing
        of that pass, and the agent asks only when what was under way has arrived. Else nobody can tell, and it stays unknown."""
        verdicts = []
        for order in question["orders"]:
            place = {"zone": order["zone"], "key": order["key"]}
            is_fenced = self.fenced and order["epoch"] < question["epoch"]
            entry = self.at_exchange(order["key"])
            if entry is not None:
                body = {"order_id": entry["order"], "client_order_id": entry["id"], "status": "accepted", "node": entry["node"],
                        "epoch": entry["epoch"]}
                verdicts.append({**place, "state": "done", "status": 201, "body": json.dumps(body)})
            elif is_fenced:
                verdicts.append({**place, "state": "not_sent"})
        return {"verdicts": verdicts}

    def at_exchange(self, key):
        """The first entry of the exchange's log with this client order id, or None."""
        connection = http.client.HTTPConnection(*self.exchange, timeout=2)
        try:
            connection.request("GET", f"/log?id={quote(key, safe='')}")
            lines = connection.getresponse().read().decode().splitlines()
            return json.loads(lines[0]) if lines else None
        finally:
            connection.close()

    def health(self):
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with self.lock:
            return {"status": self.status, "timestamp": stamp, "instance_id": self.node, "version": "1.0",
                    "uptime_seconds": round(time.monotonic() - self.started, 3), "active_positions": int(self.position != 0),
                    "database_connected": True, "database": "ok", "broker_connections": int(bool(self.feed.ticks))}

    def metrics(self):
        with self.lock:
            rows = (("trader_orders_total", "counter", self.sent), ("trader_order_errors_total", "counter", self.failed),
                    ("trader_position", "gauge", self.position),
                    ("trader_uptime_seconds", "gauge", round(time.monotonic() - self.started, 3)))
        return "".join(f"# TYPE {name} {kind}\n{name} {value}\n" for name, kind, value in rows)

    def run_strategy(self):
        """Toy mean reversion: sells above the average of the last ticks, buys below, while the role file says primary."""
        number = 0
        while True:
            time.sleep(1)
            role, epoch = self.role()
            prices = [tick["price"] for tick in self.feed.after(-1, 0)][-20:]
            if role != "primary" or len(prices) < 20:
                continue
            number += 1
            mean = sum(prices) / len(prices)
            side = "sell" if prices[-1] > mean else "buy"
            try:
                self.place({"client_order_id": f"own-{self.node}-{os.getpid()}-{number}", "side": side, "quantity": 1,
                            "price": prices[-1]}, epoch)
            except Lost:
                continue  # a toy: a real one would ask the exchange before it trades again

    def role(self):
        """Role and epoch out of the file that the agent keeps: `role epoch since`."""
        try:
            with open(self.role_file, encoding="utf-8") as file:
                fields = file.read().split()
            return fields[0], int(fields[1])
        except (OSError, ValueError, IndexError):
            return "none", 0


class Session(threading.Thread):
    """One connection: reads requests, answers them in order, until either side has had enough."""

    def __init__(self, trader, connection):
        super().__init__(daemon=True)
        self.trader, self.connection = trader, connection
        self.buffer = bytearray()
        self.arrived = now()

    def run(self):
        try:
            self.connection.settimeout(75)
            while self.one():
                pass
        except (OSError, ValueError, EOFError, websocket.Broken):
            pass
        except Lost:
            self.trader.failed += 1  # no answer is the honest one; the connection ends
        finally:
            self.connection.close()

    def fill(self):
        """Reads more, and keeps the kernel's arrival time of the last byte."""
        data, extra, _, _ = self.connection.recvmsg(65536, 128)
        if not data:
            raise EOFError
        self.arrived = now()
        for level, kind, stamp in extra:
            if level == socket.SOL_SOCKET and kind == _TIMESTAMPNS and len(stamp) >= 16:
                seconds, nanoseconds = struct.unpack("qq", stamp[:16])
                self.arrived = min(self.arrived, since_boot(seconds + nanoseconds / 1e9))
        self.buffer += data

    def one(self):
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > HEAD_BYTES_MAX:
                return False
            self.fill()
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        self.buffer = bytearray(rest)
        body = self.body(headers)
        if body is None:
            return False
        keep = headers.get("connection", "").lower() != "close"
        return self.serve(method, target, headers, body) and keep

    def body(self, headers):
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self.chunked_body()
        size = int(headers.get("content-length", 0))
        if size > BODY_BYTES_MAX:
            self.answer(413, {"error": "body too long"})
            return None
        while len(self.buffer) < size:
            self.fill()
        body = bytes(self.buffer[:size])
        del self.buffer[:size]
        return body

    def chunked_body(self):
        body = bytearray()
        while True:
            size = int(self.line().split(";")[0], 16)
            if len(body) + size > BODY_BYTES_MAX:
                self.answer(413, {"error": "body too long"})
                return None
            while len(self.buffer) < size + 2:
                self.fill()
            body += self.buffer[:size]
            del self.buffer[:size + 2]
            if size == 0:
                return bytes(body)

    def line(self):
        while b"\r\n" not in self.buffer:
            self.fill()
        at = self.buffer.index(b"\r\n")
        text = self.buffer[:at].decode("latin-1")
        del self.buffer[:at + 2]
        return text

    def serve(self, method, target, headers, body):
        path = urlsplit(target)
        trader, page = self.trader, (method, path.path)
        if page == ("POST", "/orders"):
            self.order(headers, body)
        elif page == ("POST", "/ha/reconcile"):
            self.reconcile(body)
        elif page == ("GET", "/ws/ticks"):
            self.stream(headers, parse_qs(path.query))
            return False
        elif page == ("GET", "/health"):
            self.answer(200, trader.health())
        elif page == ("PUT", "/health"):
            trader.status = str(json.loads(body).get("status", "healthy"))
            self.answer(200, trader.health())
        elif page == ("GET", "/metrics"):
            self.answer(200, trader.metrics())
        elif page == ("GET", "/orders"):
            self.answer(200, {"node": trader.node, "orders": list(trader.orders)})
        elif page == ("GET", "/positions"):
            self.answer(200, {"node": trader.node, "position": trader.position})
        else:
            self.answer(404, {"error": f"no {method} {path.path} here"})
        return True

    def order(self, headers, body):
        trader = self.trader
        epoch = int(headers.get("x-outrigger-epoch") or 0)
        try:
            order = json.loads(body)
            order.setdefault("client_order_id", headers.get("idempotency-key", ""))
        except (ValueError, AttributeError):
            self.answer(400, {"error": "the body is not a JSON object"})
            return
        trader.note(self.arrived, order["client_order_id"], epoch)
        if trader.think:
            time.sleep(random.uniform(0, trader.think))  # limits, prices: the window in which a frozen trader becomes a zombie
        try:
            status, answer = trader.place(order, epoch)
        except Lost as problem:
            if not trader.lost_status:
                raise
            status, answer = trader.lost_status, {"error": str(problem)}
        if status != 201:
            trader.failed += 1
        time.sleep(random.uniform(*trader.delay))  # books, risk, database: the window in which a crash is ambiguous
        self.answer(status, answer)

    def reconcile(self, body):
        try:
            self.answer(200, self.trader.reconcile(json.loads(body)))
        except (KeyError, TypeError, ValueError) as problem:
            self.answer(400, {"error": f"no question about orders: {problem}"})
        except (OSError, http.client.HTTPException) as problem:
            self.answer(503, {"error": f"the exchange does not answer: {problem}"})

    def stream(self, headers, query):
        seq = int(query.get("since", ["-1"])[0])
        if seq < 0 and self.trader.feed.ticks:
            seq = self.trader.feed.ticks[-1]["seq"]
        accept = websocket.accept_of(headers.get("sec-websocket-key", ""))
        self.connection.sendall(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 f"Sec-WebSocket-Accept: {accept}\r\n\r\n").encode())
        while True:
            for tick in self.trader.feed.after(seq, 5):
                self.connection.sendall(websocket.encode(websocket.TEXT, json.dumps(tick).encode(), masked=False))
                seq = tick["seq"]

    def answer(self, status, value):
        text = isinstance(value, str)
        body = (value if text else json.dumps(value)).encode()
        kind = "text/plain; version=0.0.4" if text else "application/json"
        self.connection.sendall((f"HTTP/1.1 {status} {_REASONS.get(status, '.')}\r\nContent-Type: {kind}\r\n"
                                 f"Content-Length: {len(body)}\r\nX-Node: {self.trader.node}\r\n\r\n").encode() + body)


def main():
    parser = argparse.ArgumentParser(description="A paper trader without any high-availability code.")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 = any, printed on stdout")
    parser.add_argument("--exchange", required=True, help="ip:port of the paper exchange")
    parser.add_argument("--orders", help="ip:port/path of an egress in front of the exchange that fences; default: the exchange itself")
    parser.add_argument("--node", default="trader", help="name in answers and in the exchange's log")
    parser.add_argument("--log", help="file that notes every order request")
    parser.add_argument("--role-file", help="trade on its own account while this file says primary")
    parser.add_argument("--think-ms-max", type=float, default=0, help="between reading an order and sending it to the exchange, at most")
    parser.add_argument("--delay-ms-min", type=float, default=3, help="between the exchange's reply and ours")
    parser.add_argument("--delay-ms-max", type=float, default=10)
    parser.add_argument("--lost-status", type=int, default=0, help="answer this, as frameworks do, when the exchange does not say what became of "
                        "an order; default: no answer, and the connection ends")
    arguments = parser.parse_args()
    threading.stack_size(256 * 1024)
    sys.setswitchinterval(0.001)  # many short requests at once: let each have its turn soon
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    trader = Trader(arguments)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
    listener.bind(("127.0.0.1", arguments.port))
    listener.listen(512)
    threading.Thread(target=trader.feed.run, daemon=True).start()
    if arguments.role_file:
        threading.Thread(target=trader.run_strategy, daemon=True).start()
    print(json.dumps({"listening": listener.getsockname()[1]}), flush=True)
    while True:
        try:
            connection, _ = listener.accept()
        except OSError as problem:
            print(f"accept: {problem}", file=sys.stderr, flush=True)
            time.sleep(0.1)
            continue
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Session(trader, connection).start()


if __name__ == "__main__":
    main()
