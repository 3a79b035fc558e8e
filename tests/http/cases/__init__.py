"""The tables, in the order in which they are run."""

from cases import chunks, expect, fields, framing, hops, paths, pipelining, request_line, response, target

AREAS = {"request line": request_line, "target and Host": target, "fields": fields, "framing": framing, "chunks": chunks,
         "hops": hops, "expect": expect, "pipelining": pipelining, "paths": paths, "response": response}
ALL = []
for _area, _module in AREAS.items():
    for _case in _module.CASES:
        _case.area = _area
        ALL.append(_case)
assert len({case.title for case in ALL}) == len(ALL), "two cases of one name"
