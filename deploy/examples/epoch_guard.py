#!/usr/bin/env python3
"""A guard beside a resource: whoever comes with an older epoch than one that was seen before is turned away, for ever.

Agents hand each instance the epoch of its lease (`X-Outrigger-Epoch`, or the second field of the role file), and it only
grows. An instance that hung, lost the lease and woke up still has its old one; only the resource itself can tell. The
highest epoch is on the disk before the first request under it passes, so that a restart of the guard forgets nothing.

  guard = EpochGuard("/var/lib/books/epochs")
  with guard.admitted("trader", epoch):  # StaleEpoch for an older one; several threads and processes may share the file
      write()                            # a newer epoch waits until this has ended

As a program it stands in front of something that speaks HTTP and has no such check:
  epoch_guard.py --listen 127.0.0.1:9100 --to 127.0.0.1:9000 --state /var/lib/books/epochs [--name trader]
Requests without an epoch are refused (428), those with an old one too (412); reads (GET, HEAD) need none.
"""

import argparse
import contextlib
import fcntl
import http.client
import http.server
import json
import os

BODY_BYTES_MAX = 1 << 20


class StaleEpoch(Exception):
    """Somebody else has a newer epoch: `newest`."""

    def __init__(self, name, epoch, newest):
        super().__init__(f"epoch {epoch} of {name} is over; {newest} was seen")
        self.newest = newest


class EpochGuard:
    def __init__(self, file):
        self.file = os.path.abspath(file)
        self.read()  # a damaged file is better found now

    def read(self):
        try:
            with open(self.file, encoding="utf-8") as file:
                seen = json.load(file)
        except FileNotFoundError:
            return {}
        if not isinstance(seen, dict) or not all(isinstance(epoch, int) for epoch in seen.values()):
            raise ValueError(f"{self.file} is not a guard's file; with it lost, nobody can tell which epochs are over")
        return seen

    @contextlib.contextmanager
    def admitted(self, name, epoch):
        """The body runs while `epoch` is the newest that was ever seen under this name. @raise StaleEpoch, ValueError"""
        if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 < epoch < 1 << 64:
            raise ValueError(f"{epoch!r} is no epoch")
        with open(self.file + ".lock", "a", encoding="utf-8") as lock:
            while True:
                fcntl.flock(lock, fcntl.LOCK_SH)
                newest = self.read().get(name, 0)
                if epoch < newest:
                    raise StaleEpoch(name, epoch, newest)
                if epoch == newest:
                    yield
                    return
                fcntl.flock(lock, fcntl.LOCK_EX)  # alone: every write under an older epoch has ended
                seen = self.read()
                if epoch > seen.get(name, 0):
                    self.write({**seen, name: epoch})

    def write(self, seen):
        with open(self.file + ".new", "w", encoding="utf-8") as file:
            json.dump(seen, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(self.file + ".new", self.file)
        folder = os.open(os.path.dirname(self.file), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def handler(guard, name, upstream):
    """A request handler that passes on what the guard admits."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_arguments):
            pass

        def answer(self, status, kind, body):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        def refuse(self, status, code, message):
            self.close_connection = True  # its body may not have been read
            self.answer(status, "application/json", json.dumps({"code": code, "message": message}).encode())

        def pass_on(self):
            size = self.headers.get("Content-Length", "0")
            if "Transfer-Encoding" in self.headers or not size.isdigit() or int(size) > BODY_BYTES_MAX:
                return self.refuse(413, "body", f"a body needs a Content-Length of at most {BODY_BYTES_MAX}")
            body = self.rfile.read(int(size))
            if self.command not in ("GET", "HEAD"):
                try:
                    with guard.admitted(name, int(self.headers.get("X-Outrigger-Epoch") or 0)):
                        return self.write_through(body)
                except StaleEpoch as stale:
                    return self.refuse(412, "stale_epoch", str(stale))
                except ValueError:
                    return self.refuse(428, "epoch_missing", "X-Outrigger-Epoch must say under which epoch this is written")
            return self.write_through(body)

        def write_through(self, body):
            connection = http.client.HTTPConnection(upstream, timeout=30)
            try:
                connection.request(self.command, self.path, body, {"Content-Type": self.headers.get("Content-Type", "")})
                reply = connection.getresponse()
                return self.answer(reply.status, reply.getheader("Content-Type", "application/octet-stream"), reply.read())
            except (OSError, http.client.HTTPException) as problem:
                return self.refuse(502, "resource", str(problem))
            finally:
                connection.close()

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

    return Handler


def main():
    parser = argparse.ArgumentParser(description="Turns writers with an old epoch away.")
    parser.add_argument("--listen", required=True, help="ip:port; port 0 = any, printed")
    parser.add_argument("--to", required=True, help="ip:port of the resource")
    parser.add_argument("--state", required=True, help="file of the highest epochs; keep it")
    parser.add_argument("--name", default="trader", help="whose epochs these are")
    arguments = parser.parse_args()
    host, port = arguments.listen.rsplit(":", 1)
    server = http.server.ThreadingHTTPServer((host, int(port)), handler(EpochGuard(arguments.state), arguments.name, arguments.to))
    print(json.dumps({"listening": server.server_address[1]}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
