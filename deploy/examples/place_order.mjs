#!/usr/bin/env node
// Places one order and repeats it safely: the same key each time, at any agent, until there is an answer that is final.
// Usage: place_order.mjs AGENT[,AGENT...] KEY JSON [SECONDS]      Node 18 or newer, nothing else. Exit 0: placed.
// 1: refused for good. 3: unknown, ask the broker. Write the key down before the first try.
import { setTimeout as pause } from "node:timers/promises";

export async function placeOrder(agents, key, order, seconds = 60) {
  const end = Date.now() + seconds * 1000;
  let answer = { status: 503, body: '{"code":"no_agent"}' };
  for (let turn = 0; ; turn++) {
    let wait = 100;
    try {
      const reply = await fetch(`http://${agents[turn % agents.length]}/orders`, {
        method: "POST", body: JSON.stringify(order), signal: AbortSignal.timeout(10_000),
        headers: { "Content-Type": "application/json", "Idempotency-Key": key },
      });
      answer = { status: reply.status, body: await reply.text() };
      wait = Number(reply.headers.get("retry-after")) * 1000 || wait;
      // An answer of the instance is final. An agent's own says: not sent (429, 503), or unknown until now (409, 502, 504).
      // All of these may be repeated, but only ever with the same key.
      if (!reply.headers.has("x-outrigger-outcome") || ![409, 429, 502, 503, 504].includes(reply.status)) return answer;
    } catch { /* no answer: perhaps it was placed, so the same key is the only safe thing to send */ }
    if (Date.now() + wait > end) return answer;
    await pause(wait);
  }
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const [agents, key, order, seconds] = process.argv.slice(2);
  const { status, body } = await placeOrder(agents.split(","), key, JSON.parse(order), seconds && Number(seconds));
  console.log(status, body);
  process.exitCode = status < 300 ? 0 : [409, 502, 503, 504].includes(status) ? 3 : 1;
}
