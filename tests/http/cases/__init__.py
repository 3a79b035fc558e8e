"""The tables, in the order in which they are run."""

from cases import chunks, expect, fields, framing, hops, paths, pipelining, request_line, response, target

AREAS = {"request line": request_line, "target and Host": target, "fields": fields, "framing": framing, "chunks": chunks,
         "hops": hops, "expect": expect, "pipelining": pipelining, "paths": paths, "response": response}
# Why a case is as strict as it is, where it gives no reason of its own.
CHOSEN = {
    "request line": "a line that two readers could split in two ways is refused (9112 3: a recipient may be lenient, and need not)",
    "target and Host": "rules by host must see the name that the application sees; so one valid name, or 400",
    "fields": "9112 2.2 and 5 let a recipient repair bare LF and blanks, or refuse; repairs differ from reader to reader",
    "framing": "a body with a doubtful end is where requests are smuggled: refused, not repaired",
    "chunks": "as framing; and what is no payload has bounds",
    "hops": "9110 7.6.1 and 7.6.3 by the letter; what names the client is believed from trusted proxies only",
    "expect": "the instance decides; a client whose body is refused must not have it read as a request",
    "pipelining": "answers in order, and nothing behind the first malformed byte",
    "paths": "a rule for a path must hold however the path is written; others match it as it came",
    "response": "an instance that cannot be read in one way is not passed on",
}
ALL = []
for _area, _module in AREAS.items():
    for _case in _module.CASES:
        _case.area = _area
        _case.why = _case.why or CHOSEN[_area]
        ALL.append(_case)
assert len({case.title for case in ALL}) == len(ALL), "two cases of one name"
