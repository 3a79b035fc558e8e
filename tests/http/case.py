"""What a case says: the bytes that a client sends, what it must get, and what the backend must have received.

Every case is followed by a probe: a plain request over a connection of its own (and over the case's connection when that
is to stay open). The probe must reach the backend whole and get its own answer. So a case that leaves half a request or
a surplus answer behind in a pooled connection fails, whatever it saw itself.
"""

from dataclasses import dataclass, field

HOST = b"Host: h.test\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def get(*lines, target=b"/open/x", method=b"GET"):
    """A request with Host and the given lines."""
    return method + b" " + target + b" HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def post(*lines, body=b"", target=b"/open/x"):
    return get(*lines, target=target, method=b"POST") + body


def chunked(body, *lines):
    return post(b"Transfer-Encoding: chunked", *lines, body=body)


class Wait:
    """A step of the client: reads until `pattern` has come."""

    def __init__(self, pattern):
        self.pattern = pattern


HALF = "half"  # a step of the client: it sends no more, but reads on


@dataclass
class Script:
    """What the backend does with a request of the case."""
    answers: tuple = (OK,)   # to the first, second ... complete request; the last one repeats
    at_head: bytes = b""     # sent when a head has come, before its body
    then: str = "keep"       # after an answer: "keep", "close", or "reset"
    raw: bool = False        # after an answer: another protocol, every byte echoed
    surplus: bytes = b""     # sent behind the answer, in a packet of its own, once the case's client has all of it


@dataclass
class Case:
    """One exchange and its verdict."""
    rfc: str                 # "9112 5.1": the section that it is about
    name: str
    send: object             # bytes, or a list of bytes, Wait and HALF
    status: tuple = ()       # final statuses that the client must get, in order
    ends: str = ""           # "open", "close", "reset", "cut" (a close or reset inside a body); "" = by the status
    reached: int = -1        # complete requests at the backend; -1 = by the status
    partial: bool = False    # a request may have reached it in part: the connection to it must then be closed
    sees: tuple = ()         # patterns that the backend's bytes must hold
    hides: tuple = ()        # ... must not hold
    bodies: tuple = ()       # of the requests that reached it; () = not looked at
    shows: tuple = ()        # patterns that the client's bytes must hold
    lacks: tuple = ()        # ... must not hold
    body: object = None      # of the last response
    listener: str = "plain"  # "plain", or "trusted": the client's address is a trusted proxy there
    backend: Script = field(default_factory=Script)
    why: str = ""            # our choice where RFC leaves one, or others decide otherwise
    area: str = ""

    def __post_init__(self):
        if isinstance(self.status, int):
            self.status = (self.status,)
        for key in ("sees", "hides", "shows", "lacks"):
            value = getattr(self, key)
            setattr(self, key, (value,) if isinstance(value, bytes) else value)
        good = [s for s in self.status if s < 400]
        self.ends = self.ends or ("open" if len(good) == len(self.status) else "close")
        if self.reached < 0:
            self.reached = len(good)

    @property
    def steps(self):
        return self.send if isinstance(self.send, list) else [self.send]

    @property
    def title(self):
        return f"RFC {self.rfc} {self.area}: {self.name}"


def refused(rfc, name, send, status=400, **more):
    """One clear status, the connection closed, nothing forwarded."""
    return Case(rfc, name, send, status=status, **more)
