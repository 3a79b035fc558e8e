"""A trader that keeps sending while its role file says that it is primary, by every way out that its agent has.

It is a bad one: it looks at its role once in a while and not before each order, so after a pause it goes on with what it
believed before. Whether its orders arrive is up to the agent. What became of them it writes down, one line each.
"""

import argparse
import http.client
import http.server
import json
import socket
import threading
import time

ROLE_EVERY = 0.7  # how long it believes in what it has read


class Trader:
    def __init__(self, options):
        self.options, self.epoch, self.lock = options, 0, threading.Lock()
        self.log = open(options.log, "a", buffering=1, encoding="utf-8")

    def note(self, mode, epoch, what):
        with self.lock:
            self.log.write(f"{mode} {epoch} {what}\n")

    def watch_role(self):
        while True:
            try:
                with open(self.options.role, encoding="utf-8") as file:
                    words = file.read().split()
                self.epoch = int(words[1]) if words and words[0] == "primary" else 0
            except (OSError, ValueError, IndexError):
                self.epoch = 0
            time.sleep(ROLE_EVERY)

    def post_orders(self):
        connection, count = None, 0
        while True:
            epoch = self.epoch
            if epoch == 0:
                time.sleep(0.01)
                continue
            count += 1
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.options.url, timeout=5)
                headers = {"X-Outrigger-Epoch": str(epoch)} if count % 2 else {}  # the other half says nothing
                connection.request("POST", "/egress/broker/orders", json.dumps({"epoch": epoch, "n": count}), headers)
                answer = connection.getresponse()
                body = answer.read()
                self.note("url", epoch, f"{answer.status} {json.loads(body).get('code', '-')}")
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.note("url", epoch, type(error).__name__)
                connection = None
            time.sleep(0.003)

    def open_tunnel(self, mode):
        port = self.options.connect if mode == "connect" else self.options.tcp
        made = socket.create_connection(("127.0.0.1", port), timeout=5)
        if mode == "connect":
            made.sendall(f"CONNECT {self.options.target} HTTP/1.1\r\nHost: {self.options.target}\r\n\r\n".encode())
            head = b""
            while b"\r\n\r\n" not in head:
                more = made.recv(4096)
                if not more:
                    break
                head += more
            if b" 200 " not in head.split(b"\r\n")[0]:
                made.close()
                raise ConnectionRefusedError(head.split(b"\r\n")[0].decode())
        return made

    def send_lines(self, mode):
        tunnel, opened, count = None, 0, 0
        while True:
            epoch = self.epoch
            if epoch == 0 and tunnel is None:
                time.sleep(0.01)
                continue
            try:
                if tunnel is None:
                    tunnel, opened = self.open_tunnel(mode), epoch
                    self.note(mode, epoch, "opened")
                count += 1
                tunnel.sendall(f"{mode} {epoch or opened} {count} {'x' * 200}\n".encode())
            except OSError as error:
                self.note(mode, epoch or opened, type(error).__name__)
                if tunnel is not None:
                    tunnel.close()
                tunnel = None
            time.sleep(0.003)


def main():
    parser = argparse.ArgumentParser()
    for name in ("port", "url", "connect", "tcp"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("role", "log", "target"):
        parser.add_argument(f"--{name}", required=True)
    trader = Trader(parser.parse_args())

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_arguments):
            pass

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

    for work, arguments in ((trader.watch_role, ()), (trader.post_orders, ()), (trader.send_lines, ("connect",)), (trader.send_lines, ("tcp",))):
        threading.Thread(target=work, args=arguments, daemon=True).start()
    http.server.ThreadingHTTPServer(("127.0.0.1", trader.options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
