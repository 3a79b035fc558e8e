"""A backend that writes down every byte it receives, reads it strictly, and answers what the present script says."""

import array
import fcntl
import socket
import struct
import termios
import threading

import wire

PROBE = b"/open/probe/"


def unread(link):
    """@return how many bytes the kernel holds for a socket."""
    count = array.array("i", [0])
    try:
        fcntl.ioctl(link, termios.FIONREAD, count)
    except (OSError, ValueError):
        return 0   # closed meanwhile
    return count[0]


class Seen:
    """One connection from the proxy, since the last mark."""

    def __init__(self, peer=None):
        self.peer = peer
        self.bytes, self.requests, self.faults = bytearray(), [], []
        self.rest = bytearray()   # what is not yet a whole request
        self.closed = False
        self.health = False


class Backend:
    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.change = threading.Condition()
        self.seen, self.sockets, self.script, self.answered = [], set(), None, 0
        self.probes = []
        self.released = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.close()
        with self.change:
            for each in self.sockets:
                each.close()

    def begin(self, script):
        """A new case: forgets what was seen."""
        with self.change:
            for each in self.seen:
                each.bytes, each.requests, each.faults = bytearray(), [], []
            self.seen = [each for each in self.seen if not each.closed]
            self.script, self.answered = script, 0
            self.released = threading.Event()

    def settle(self, seconds):
        """Whatever the kernel holds for this backend is in `seen` afterwards: connections are accepted in their order,
        so all that were there before one of our own are accepted when it is."""
        with socket.create_connection(self.listener.getsockname()) as own:
            name = own.getsockname()
            self.wait(lambda: any(each.peer == name for each in self.seen) and not any(map(unread, self.sockets)), seconds)
        with self.change:
            self.seen = [each for each in self.seen if each.peer != name]

    def result(self):
        with self.change:
            return [each for each in self.seen if (each.bytes or each.faults) and not each.health]

    def wait(self, check, seconds):
        with self.change:
            return self.change.wait_for(check, seconds)

    def accept(self):
        while True:
            try:
                link, peer = self.listener.accept()
            except OSError:
                return
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(link, self.enter(link, peer)), daemon=True).start()

    def enter(self, link, peer):
        seen = Seen(peer)
        with self.change:
            self.seen.append(seen)
            self.sockets.add(link)
            self.change.notify_all()
        return seen

    def serve(self, link, seen):
        try:
            self.converse(link, seen)
        except OSError:
            pass
        finally:
            with self.change:
                seen.closed = True
                self.sockets.discard(link)
                self.change.notify_all()
            link.close()

    def converse(self, link, seen):
        raw = head_answered = False
        while link.recv(1, socket.MSG_PEEK):
            with self.change:   # taken and written down in one step, so that settle() sees either
                data = link.recv(65536)
                if data.startswith(b"GET /health "):
                    seen.health = True
                if not data.startswith(b"GET " + PROBE):
                    seen.bytes += data
                if not raw:
                    seen.rest += data
                self.change.notify_all()
            if raw:
                link.sendall(b"echo:" + data)
                continue
            while True:
                if not seen.rest:
                    break
                script = self.script
                if script and script.at_head and not seen.health and not head_answered and b"\r\n\r\n" in seen.rest and PROBE not in seen.rest:
                    head_answered = True
                    link.sendall(script.at_head)
                request = self.next_request(seen)
                if not request:
                    break
                head_answered = False
                if not self.answer(link, seen, request):
                    return
                if script and script.raw and not request.match[2].startswith((PROBE, b"/health")):
                    raw, early = True, bytes(seen.rest)
                    seen.rest.clear()
                    link.sendall(b"echo:" + early if early else b"")

    def next_request(self, seen):
        try:
            found = wire.read_request(seen.rest)
        except wire.Fault as fault:
            with self.change:
                seen.faults.append(str(fault))
                self.change.notify_all()
            raise ConnectionError from fault
        if not found:
            return None
        del seen.rest[:found[1]]
        return found[0]

    def answer(self, link, seen, request):
        """@return False when the connection is over."""
        target = request.match[2]
        if target == b"/health":
            link.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"status":"healthy"}')
            return True
        if target.startswith(PROBE):
            link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(target), target))
            return True
        with self.change:
            seen.requests.append(request)
            script, index = self.script, self.answered
            self.answered += 1
            self.change.notify_all()
        answer = script.answers[min(index, len(script.answers) - 1)] if script else b""
        link.sendall(answer)
        if script and script.surplus and self.released.wait(60):
            link.sendall(script.surplus)
        if script and script.then == "reset":
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if script and script.then == "close":
            link.shutdown(socket.SHUT_WR)
            while data := link.recv(65536):
                with self.change:
                    seen.bytes += data
        return not script or script.then == "keep"
