#!/usr/bin/env python3
"""Places one order and repeats it safely: the same key each time, at any agent, until there is an answer that is final.

Usage: place_order.py AGENT[,AGENT...] KEY JSON [SECONDS]     Write the key down before the first try: it is what makes a
repetition safe, also after this program was restarted. Exit 0: placed. 1: refused for good. 3: unknown, ask the broker."""
import http.client
import json
import sys
import time


def place_order(agents, key, order, seconds=60.0):
    """@return (status, body): 201 and the like from the recorded answer; 409 when nobody knew until the time was over."""
    end, turn, answer = time.monotonic() + seconds, 0, (503, b'{"code": "no_agent"}')
    while True:
        connection, wait = http.client.HTTPConnection(agents[turn % len(agents)], timeout=10), 0.1
        try:
            connection.request("POST", "/orders", json.dumps(order), {"Content-Type": "application/json", "Idempotency-Key": key})
            reply = connection.getresponse()
            answer, wait = (reply.status, reply.read()), float(reply.getheader("Retry-After") or wait)
            # An answer of the instance is final, whatever it says. An agent's own says what became of the order: not sent (429,
            # 503), or unknown until now (409, 502, 504). All of these may be repeated, but only ever with the same key.
            if reply.getheader("X-Outrigger-Outcome") is None or reply.status not in (409, 429, 502, 503, 504):
                return answer
        except (OSError, http.client.HTTPException, ValueError):
            pass  # no answer: perhaps it was placed, so the same key is the only safe thing to send
        finally:
            connection.close()
        if time.monotonic() + wait > end:
            return answer
        time.sleep(wait)
        turn += 1


if __name__ == "__main__":
    status, body = place_order(sys.argv[1].split(","), sys.argv[2], json.loads(sys.argv[3]), *map(float, sys.argv[4:5]))
    print(status, body.decode())
    sys.exit(0 if status < 300 else 3 if status in (409, 502, 503, 504) else 1)
