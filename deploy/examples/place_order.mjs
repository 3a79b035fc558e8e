#!/usr/bin/env node
// Places one order and repeats it safely: the same key each time, at any agent, until there is an answer that is final.
// Usage: place_order.mjs AGENT[,AGENT...] KEY JSON [SECONDS]      Node 18 or newer, nothing else. Exit 0: placed.
// 1: refused, it is not at the broker. 3: unknown: ask there, or repeat it with the same key. Write the key down before
// the first try. Never a new key for the same order.
import { setTimeout as pause } from "node:timers/promises";

/** Milliseconds of seconds or of a date (RFC 9110, 10.2.3); 100 without either, and never less. */
function waitOf(retryAfter) {
  const text = retryAfter ?? "";
  const wait = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Math.max(wait || 0, 100);
}

/** @param doubt  it may have been placed by an earlier try, and this answer is not the recorded one */
function verdictOf(status, doubt) {
  if (status >= 200 && status <= 299 && !doubt) return "placed";
  // 408 and 409 do not say what became of it, a 5xx may have come after the broker took it, a 3xx says nothing about orders.
  return status >= 400 && status <= 499 && status !== 408 && status !== 409 && !doubt ? "refused" : "unknown";
}

/** @return {verdict: "placed" | "refused" | "unknown", status, body of the last answer} */
export async function placeOrder(agents, key, order, seconds = 60) {
  const end = performance.now() + seconds * 1000; // a clock that nobody sets
  let answer = { verdict: "unknown", status: 503, body: '{"code":"no_agent"}' }, doubt = false;
  for (let turn = 0; ; turn++) {
    let wait = 100;
    try {
      const reply = await fetch(`http://${agents[turn % agents.length]}/orders`, {
        method: "POST", body: JSON.stringify(order), signal: AbortSignal.timeout(10_000),
        redirect: "manual", // an order goes where it was sent, and a page behind a redirect is no answer to it
        headers: { "Content-Type": "application/json", "Idempotency-Key": key },
      });
      const { status } = reply, body = await reply.text(), outcome = reply.headers.get("x-outrigger-outcome");
      // Without the field the answer is the instance's, recorded and final. With it, it says what became of the order until now: not
      // sent (429, 503), or unknown (409, 500, 502, 504). All of these may be repeated, but only ever with the same key.
      if (outcome === null) return { verdict: verdictOf(status, false), status, body };
      doubt ||= outcome !== "not-sent";
      if (![409, 429, 500, 502, 503, 504].includes(status)) return { verdict: verdictOf(status, doubt), status, body };
      answer = { verdict: "unknown", status, body };
      wait = waitOf(reply.headers.get("retry-after"));
    } catch { doubt = true; /* no answer: perhaps it was placed, so the same key is the only safe thing to send */ }
    if (performance.now() + wait > end) return answer;
    await pause(wait);
  }
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const [agents, key, order, seconds] = process.argv.slice(2);
  const { verdict, status, body } = await placeOrder(agents.split(","), key, JSON.parse(order), seconds && Number(seconds));
  console.log(status, body);
  process.exitCode = { placed: 0, refused: 1, unknown: 3 }[verdict];
}
