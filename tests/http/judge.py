"""Runs one case through a proxy and compares both sides with what the case says."""

import itertools
import re
import socket

import wire
from backend import PROBE
from case import HALF, HOST, Wait

_probe_numbers = itertools.count(1)
PATIENCE = 20.0  # seconds for something that must come; a proxy that is wrong costs this much


class Talk:
    """The client's side of one connection."""

    def __init__(self, address, to_head):
        host, port = address
        self.link = socket.create_connection((host, port), timeout=PATIENCE)
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.raw, self.rest, self.responses = bytearray(), bytearray(), []
        self.end, self.fault, self.to_head = "", "", to_head

    def receive(self, seconds):
        """@return False when nothing came in time or the connection is over."""
        if self.end:
            return False
        self.link.settimeout(seconds)
        try:
            data = self.link.recv(65536)
        except TimeoutError:
            return False
        except ConnectionResetError:
            self.end = "reset"
            data = b""
        if not data:
            self.end = self.end or "close"
        self.raw += data
        self.rest += data
        self.parse()
        return bool(data)

    def parse(self):
        while self.rest and not self.fault:
            finals = sum(1 for r in self.responses if int(r.match[2]) >= 200)
            try:
                found = wire.read_response(self.rest, finals in self.to_head, bool(self.end))
            except wire.Fault as fault:
                self.fault = str(fault)
                return
            if not found:
                return
            self.responses.append(found[0])
            del self.rest[:found[1]]
            if int(found[0].match[2]) == 101:
                return

    def finals(self):
        return [r for r in self.responses if int(r.match[2]) >= 200 or int(r.match[2]) == 101]

    def play(self, steps):
        for step in steps:
            try:
                if isinstance(step, Wait):
                    while not re.search(step.pattern, self.raw) and self.receive(PATIENCE):
                        pass
                elif step == HALF:
                    self.link.shutdown(socket.SHUT_WR)
                else:
                    self.link.sendall(step)
            except OSError:
                return   # it has answered and closed before it had everything

    def read(self, count, closes):
        while len(self.finals()) < count and not self.fault and self.receive(PATIENCE):
            pass
        while closes and self.receive(PATIENCE):
            pass


def probe(talk, backend):
    """A plain request that must come back as itself. @return what is wrong."""
    target = PROBE + b"%d" % next(_probe_numbers)
    before = len(talk.finals())
    talk.to_head = ()
    talk.play([b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n"])
    talk.read(before + 1, False)
    got = talk.finals()[before:]
    if len(got) != 1 or got[0].body != target or talk.rest:
        return f"probe answered by {[bytes(r.head.start) for r in got]} {bytes(talk.rest[:60])!r} {talk.fault or talk.end}"
    return ""


def heads_in(steps):
    """Numbers of the requests that are HEAD, as far as whole heads are sent in one step."""
    lines = [line for step in steps if isinstance(step, bytes) for line in re.findall(rb"([A-Z]+) \S+ HTTP/1\.[01]\r\n", step)]
    return tuple(i for i, method in enumerate(lines) if method == b"HEAD")


class Verdict:
    def __init__(self, problems, seen, let_through=0):
        self.problems, self.seen = problems, seen
        self.let_through = let_through   # requests at the backend that the case keeps away from it


def run_case(case, addresses, backend):
    """@return a Verdict: problems (none = as the case says) and one short line of what was seen."""
    backend.begin(case.backend)
    talk = Talk(addresses[case.listener], heads_in(case.steps))
    talk.play(case.steps)
    talk.read(len(case.status), case.ends != "open")
    backend.wait(lambda: sum(len(s.requests) for s in backend.seen) >= case.reached, PATIENCE)
    backend.released.set()
    if case.backend.surplus:
        backend.wait(lambda: any(s.closed for s in backend.seen if s.requests), PATIENCE)
    backend.settle(PATIENCE)
    statuses = tuple(int(r.match[2]) for r in talk.finals())
    raw, ended, fault, last = bytes(talk.raw), talk.end, talk.fault, (talk.finals() or [None])[-1]
    problems = judge_client(case, talk, statuses)
    open_probe = ""
    if case.ends == "open" and not ended and 101 not in statuses:
        open_probe = probe(talk, backend)
        if open_probe:
            problems.append(f"on the same connection: {open_probe}")
    talk.link.close()
    if case.partial:
        backend.wait(lambda: all(s.closed or not s.rest for s in backend.seen), PATIENCE)
    fresh = Talk(addresses["plain"], ())
    if wrong := probe(fresh, backend):
        problems.append(f"afterwards: {wrong}")
    fresh.link.close()
    seen = backend.result()
    problems += judge_backend(case, seen)
    if problems and raw:
        problems.append(f"client got {raw[:300]!r}")
    cut = " cut" if last is not None and not last.complete else ""
    end = "malformed" if fault else ended or ("open" if not open_probe else "stuck")
    reached = sum(len(s.requests) for s in seen)
    return Verdict(problems, f"{','.join(map(str, statuses)) or 'none'}{cut} {end}, {reached} reached",
                   max(0, reached - case.reached))


def judge_client(case, talk, statuses):
    problems = []
    if talk.fault:
        problems.append(f"the client cannot read its answer: {talk.fault}")
    if case.ends == "cut":
        whole = [r for r in talk.finals() if r.complete]
        if not talk.end or (talk.end == "close" and len(whole) == len(talk.finals()) and talk.finals()):
            problems.append(f"a cut body looks whole: {talk.end or 'open'}")
    elif case.status != statuses:
        problems.append(f"answered {statuses}, not {case.status}")
    elif case.ends != (talk.end or "open"):
        problems.append(f"connection {talk.end or 'open'}, not {case.ends}")
    for pattern in case.shows:
        if not re.search(pattern, talk.raw, re.I | re.S):
            problems.append(f"the client did not get {pattern!r}")
    for pattern in case.lacks:
        if re.search(pattern, talk.raw, re.I | re.S):
            problems.append(f"the client got {pattern!r}")
    if case.body is not None and (not talk.finals() or talk.finals()[-1].body != case.body):
        problems.append(f"the body is not {case.body[:80]!r}")
    return problems


def judge_backend(case, seen):
    problems = [f"backend got no HTTP: {fault}" for each in seen for fault in each.faults]
    requests = [request for each in seen for request in each.requests]
    raw = b"".join(bytes(each.bytes) for each in seen)
    if len(requests) != case.reached:
        problems.append(f"{len(requests)} requests reached the backend, not {case.reached}: "
                        f"{[bytes(r.head.start) for r in requests]}")
    for each in seen:
        if each.rest and not (case.partial and each.closed):
            problems.append(f"bytes of no request at the backend: {bytes(each.rest[:120])!r}")
    if case.reached == 0 and raw and not case.partial:
        problems.append(f"bytes reached the backend: {raw[:120]!r}")
    for pattern in case.sees:
        if not re.search(pattern, raw, re.I | re.S):
            problems.append(f"the backend did not get {pattern!r}: {raw[:400]!r}")
    for pattern in case.hides:
        if re.search(pattern, raw, re.I | re.S):
            problems.append(f"the backend got {pattern!r}: {raw[:400]!r}")
    if case.bodies and tuple(r.body for r in requests) != case.bodies:
        problems.append(f"bodies at the backend: {[r.body[:80] for r in requests]}")
    return problems
