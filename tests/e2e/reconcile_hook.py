#!/usr/bin/env python3
"""A reconcile hook: what does the paper exchange know of these orders?

Run by the agent as `reconcile_hook.py EXCHANGE FOLDER [SECONDS]`, JSON on stdin and stdout (deploy/docs/arming.md). First it tells the
exchange which epoch counts, so that nothing of an older one is taken any more; only then is "the exchange does not have it" an
answer that lasts. An order of the present epoch may still be at the instance: it is given SECONDS (15) to arrive. FOLDER/hook-fails makes it fail with that text, FOLDER/hook-lies makes it say not_sent whatever it finds;
FOLDER/hook-calls notes each call.
"""

import http.client
import json
import sys
import time
from pathlib import Path
from urllib.parse import quote


def ask(address, method, path, body=None):
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=2)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError(f"{method} {path}: status {answer.status}")
        return answer.read().decode()
    finally:
        connection.close()


def main():
    exchange, folder = sys.argv[1], Path(sys.argv[2])
    patience = float(sys.argv[3]) if len(sys.argv) > 3 else 15
    told = json.load(sys.stdin)
    with open(folder / "hook-calls", "a", encoding="utf-8") as calls:
        calls.write(json.dumps({"epoch": told["epoch"], "armed": told["armed"], "orders": len(told["orders"])}) + "\n")
    fails = folder / "hook-fails"
    if fails.exists():
        print(fails.read_text(), file=sys.stderr)
        return 1
    if not (folder / "no-fence").exists():
        ask(exchange, "PUT", "/fence", json.dumps({"epoch": told["epoch"]}))
    verdicts = []
    for order in told["orders"]:
        if order["state"] != "unknown":
            continue
        verdict = {"zone": order["zone"], "key": order["key"], "state": "not_sent"}
        known = [json.loads(line) for line in ask(exchange, "GET", "/log?id=" + quote(order["key"], safe="")).splitlines()]
        if known and not (folder / "hook-lies").exists():
            verdict.update(state="done", status=201, body={"order_id": known[0]["order"], "client_order_id": order["key"], "status": "reconciled"})
        elif order["epoch"] == told["epoch"] and time.time() - order["reserved_ms"] / 1000 < patience:
            continue  # nobody can say yet that it will not come
        verdicts.append(verdict)
    json.dump({"verdicts": verdicts, "flat": True}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
