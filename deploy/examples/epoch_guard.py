#!/usr/bin/env python3
"""A guard beside a resource: whoever comes with an older epoch than one that was seen before is turned away, for ever.

Agents hand each instance the epoch of its lease (`X-Outrigger-Epoch`, or the second field of the role file), and it only
grows. An instance that hung, lost the lease and woke up still has its old one; only the resource itself can tell. The
highest epoch is on the disk before the first request under it passes, so that a restart of the guard forgets nothing.

  guard = EpochGuard("/var/lib/books/epochs")
  with guard.admitted("trader", epoch):  # StaleEpoch for an older one; several threads and processes may share the file
      write()                            # a newer epoch waits until this has ended, so give it a time-out

A newer epoch is on the disk before it waits, and from that moment on nothing older is let in: what it waits for is what had been let in
before, once each, however many old writers come and go. Beside the file the guard keeps FILE.begun, FILE.lock and two locks per name.

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
import urllib.parse

BODY_BYTES_MAX = 1 << 20


class StaleEpoch(Exception):
    """Somebody else has a newer epoch: `newest`."""

    def __init__(self, name, epoch, newest):
        super().__init__(f"epoch {epoch} of {name} is over; {newest} was seen")
        self.newest = newest


class EpochGuard:
    """FILE: the highest epoch that ever came under each name, on the disk before anything else is done for it. FILE.begun: the highest
    that was let in. Between the two stand the writes that were let in before; each of them holds the lock of its name, shared."""

    def __init__(self, file):
        self.file = os.path.abspath(file)
        self.begun = self.file + ".begun"
        self.read(self.file)  # a damaged file is better found now
        self.read(self.begun)

    def read(self, path):
        try:
            with open(path, encoding="utf-8") as file:
                seen = json.load(file)
        except FileNotFoundError:
            return {}
        if not isinstance(seen, dict) or not all(isinstance(epoch, int) for epoch in seen.values()):
            raise ValueError(f"{path} is not a guard's file; with it lost, nobody can tell which epochs are over")
        return seen

    @contextlib.contextmanager
    def admitted(self, name, epoch):
        """The body runs while `epoch` is the newest that was ever seen under this name. @raise StaleEpoch, ValueError"""
        if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 < epoch < 1 << 64:
            raise ValueError(f"{epoch!r} is no epoch")
        self.raise_to(self.file, name, epoch)
        self.refuse_older(name, epoch)  # before it asks for the lock: the old ones that come on and on must not keep it
        place = f"{self.file}.{urllib.parse.quote(name, safe='')}"
        with open(f"{place}.lock", "a", encoding="utf-8") as lock:
            if self.read(self.begun).get(name, 0) < epoch:
                self.begin(name, epoch, lock, place)
            fcntl.flock(lock, fcntl.LOCK_SH)
            self.refuse_older(name, epoch)  # a newer one that comes after this look waits for our lock
            yield

    def begin(self, name, epoch, lock, place):
        """Returns when every write under an older epoch has ended. One at a time: the rest find it done, and do not wait behind its writes."""
        with open(f"{place}.begin.lock", "a", encoding="utf-8") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            if self.read(self.begun).get(name, 0) < epoch:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self.raise_to(self.begun, name, epoch)

    def refuse_older(self, name, epoch):
        newest = self.read(self.file).get(name, 0)
        if epoch < newest:
            raise StaleEpoch(name, epoch, newest)

    def raise_to(self, path, name, epoch):
        if epoch <= self.read(path).get(name, 0):
            return
        with open(self.file + ".lock", "a", encoding="utf-8") as lock:  # for the moment of the change, once per epoch
            fcntl.flock(lock, fcntl.LOCK_EX)
            seen = self.read(path)
            if epoch > seen.get(name, 0):
                self.write(path, {**seen, name: epoch})

    def write(self, path, seen):
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(seen, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".new", path)
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
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
                        said = self.write_through(body)
                except StaleEpoch as stale:
                    return self.refuse(412, "stale_epoch", str(stale))
                except ValueError:
                    return self.refuse(428, "epoch_missing", "X-Outrigger-Epoch must say under which epoch this is written")
            else:
                said = self.write_through(body)
            # Outside of the guard: a client that does not read its answer keeps no newer epoch out.
            return self.refuse(502, "resource", said) if isinstance(said, str) else self.answer(*said)

        def write_through(self, body):
            """@return what to answer: status, kind and body, or a sentence about what went wrong"""
            connection = http.client.HTTPConnection(upstream, timeout=30)
            try:
                connection.request(self.command, self.path, body, {"Content-Type": self.headers.get("Content-Type", "")})
                reply = connection.getresponse()
                return reply.status, reply.getheader("Content-Type", "application/octet-stream"), reply.read()
            except (OSError, http.client.HTTPException) as problem:
                return str(problem) or type(problem).__name__
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
