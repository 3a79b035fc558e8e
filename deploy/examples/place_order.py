#!/usr/bin/env python3
"""Places one order and repeats it safely: the same key each time, at any agent, until there is an answer that is final.

Usage: place_order.py AGENT[,AGENT...] KEY JSON [SECONDS]     Write the key down before the first try: it is what makes a
repetition safe, also after this program was restarted. Exit 0: placed. 1: refused, it is not at the broker. 3: unknown: ask
there, or repeat it with the same key. Never a new key for the same order."""
import email.utils
import http.client
import json
import sys
import time


def seconds_of(retry_after):
    """Seconds or a date (RFC 9110, 10.2.3); 0.1 without either, and never less."""
    if retry_after is not None and retry_after.isdigit():
        return max(float(retry_after), 0.1)  # of any length: infinity is later than every end
    try:
        return max(email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time(), 0.1)
    except (TypeError, ValueError, OverflowError, AttributeError):
        return 0.1


def verdict_of(status, doubt):
    """@param doubt  it may have been placed by an earlier try, and this answer is not the recorded one"""
    if 200 <= status <= 299 and not doubt:
        return "placed"
    # 408 and 409 do not say what became of it, a 5xx may have come after the broker took it, a 3xx says nothing about orders.
    return "refused" if 400 <= status <= 499 and status not in (408, 409) and not doubt else "unknown"


def place_order(agents, key, order, seconds=60.0):
    """@return ("placed" | "refused" | "unknown", status, body of the last answer)."""
    end, turn, doubt, answer = time.monotonic() + seconds, 0, False, ("unknown", 503, b'{"code": "no_agent"}')
    while True:
        connection, wait = http.client.HTTPConnection(agents[turn % len(agents)], timeout=10), 0.1
        try:
            connection.request("POST", "/orders", json.dumps(order), {"Content-Type": "application/json", "Idempotency-Key": key})
            reply = connection.getresponse()
            body, outcome = reply.read(), reply.getheader("X-Outrigger-Outcome")
            # Without the field the answer is the instance's, recorded and final. With it, it says what became of the order until now:
            # not sent (429, 503), or unknown (409, 500, 502, 504). All of these may be repeated, but only ever with the same key.
            if outcome is None:
                return verdict_of(reply.status, False), reply.status, body
            doubt = doubt or outcome != "not-sent"
            if reply.status not in (409, 429, 500, 502, 503, 504):
                return verdict_of(reply.status, doubt), reply.status, body
            answer, wait = ("unknown", reply.status, body), seconds_of(reply.getheader("Retry-After"))
        except (OSError, http.client.HTTPException):
            doubt = True  # no answer: perhaps it was placed, so the same key is the only safe thing to send
        finally:
            connection.close()
        if time.monotonic() + wait > end:
            return answer
        time.sleep(wait)
        turn += 1


if __name__ == "__main__":
    verdict, status, body = place_order(sys.argv[1].split(","), sys.argv[2], json.loads(sys.argv[3]), *map(float, sys.argv[4:5]))
    print(status, body.decode(errors="replace"))
    sys.exit({"placed": 0, "refused": 1, "unknown": 3}[verdict])
