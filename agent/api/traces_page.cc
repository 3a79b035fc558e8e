// The page at /ui/traces: a list on the left, one trace as a waterfall on the right. Texts of others go in as text, never as markup.
#include "agent/api/trace_routes.h"

namespace agent::api {
namespace {

constexpr std::string_view kPage = R"html(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Outrigger: traces</title>
<style>
:root { color-scheme: light dark; --ink: #1c2430; --faint: #68758a; --line: #dde3ec; --back: #f7f9fc; --card: #fff; --bad: #c2332b; --mark: #e8effb;
  --server: #2f6fd0; --client: #e09a2b; --ledger: #8a55c7; --egress: #c9447f; --app: #2e9e6b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9f1; --faint: #93a0b5; --line: #2c3646; --back: #12171f; --card: #1a212c; --bad: #ff7a70; --mark: #223049; } }
* { box-sizing: border-box; }
body { margin: 0; font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--back); }
header { display: flex; flex-wrap: wrap; gap: 10px; align-items: center; padding: 10px 16px; background: var(--card); border-bottom: 1px solid var(--line); }
h1 { font-size: 16px; margin: 0 12px 0 0; }
input { font: inherit; color: inherit; background: var(--back); border: 1px solid var(--line); border-radius: 5px; padding: 4px 8px; width: 7em; }
button { font: inherit; color: #fff; background: var(--server); border: 0; border-radius: 5px; padding: 5px 14px; cursor: pointer; }
main { display: grid; grid-template-columns: minmax(22em, 30%) 1fr; gap: 12px; padding: 12px 16px; align-items: start; }
@media (max-width: 60em) { main { grid-template-columns: 1fr; } }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; overflow: auto; max-height: calc(100vh - 84px); }
.note { color: var(--faint); padding: 12px 14px; margin: 0; }
.trace { display: grid; grid-template-columns: 1fr auto; gap: 0 10px; width: 100%; text-align: left; color: inherit; background: none; border-radius: 0; border-bottom: 1px solid var(--line); padding: 7px 14px; }
.trace:hover, .trace:focus-visible, .trace[aria-current=true] { background: var(--mark); outline: none; }
.trace b { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.trace small { color: var(--faint); }
.bad { color: var(--bad); }
.num { font-variant-numeric: tabular-nums; text-align: right; }
#head { padding: 12px 14px; border-bottom: 1px solid var(--line); }
#head code { user-select: all; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 14px; color: var(--faint); margin-top: 6px; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 5px; }
.span { display: grid; grid-template-columns: 4.5em minmax(14em, 26%) 1fr 6em; gap: 10px; align-items: center; width: 100%; color: inherit; background: none; text-align: left; border-radius: 0; padding: 3px 14px; }
.span:hover, .span:focus-visible { background: var(--mark); outline: none; }
.span .what { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.track { position: relative; height: 14px; background: var(--back); border-radius: 3px; }
.bar { position: absolute; top: 1px; bottom: 1px; min-width: 2px; border-radius: 3px; }
.bar.failed { outline: 2px solid var(--bad); }
.node { color: var(--faint); overflow: hidden; text-overflow: ellipsis; }
.more { margin: 0 14px 8px 14px; padding: 6px 10px; border-left: 3px solid var(--line); display: grid; grid-template-columns: max-content 1fr; gap: 1px 14px; font-size: 13px; overflow-wrap: anywhere; }
.more span:nth-child(odd) { color: var(--faint); }
</style></head><body>
<header><h1>Traces <small id="who"></small></h1>
<form id="filter"><label>At least <input name="min" title="a duration: 100ms"></label> <label>Status <input name="status" title="503, 5xx, 400-499"></label>
<label>Route <input name="route" title="its name"></label> <label>Order <input name="order" title="its key, or the hash of it"></label> <button>Show</button></form></header>
<main><section id="list" aria-label="traces"></section><section id="trace" aria-label="trace"><p class="note">Choose a trace.</p></section></main>
<script>
"use strict";
const $ = id => document.getElementById(id);
const make = (tag, cls, text) => { const e = document.createElement(tag); if (cls) e.className = cls; if (text !== undefined && text !== null) e.textContent = text; return e; };
const ms = us => (us / 1000).toFixed(us < 10000 ? 3 : us < 1e6 ? 2 : 0) + " ms";
const note = (where, text, bad) => where.replaceChildren(make("p", bad ? "note bad" : "note", text));
const kinds = { server: "request", client: "attempt", ledger: "ledger and log", egress: "broker", app: "application" };
async function ask(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error((body.message || "status " + answer.status) + (body.hint ? ": " + body.hint : ""));
  return body;
}
function colour(span, egress) {
  if (span.service !== "outrigger" && !("outrigger.outcome" in span.attributes) && !("outrigger.connection_reused" in span.attributes) && !span.name.startsWith("ledger ")) return "app";
  if (span.name.startsWith("ledger ")) return "ledger";
  if (egress.has(span.span_id) || egress.has(span.parent_id)) return "egress";
  return span.kind === "client" ? "client" : "server";
}
function row(span, depth, begin, whole, egress) {
  const line = make("button", "span");
  const what = make("span", "what", span.name), kind = colour(span, egress);
  what.style.paddingLeft = depth * 14 + "px";
  const track = make("span", "track"), bar = make("span", "bar" + (span.failed ? " failed" : ""));
  bar.style.left = 100 * (span.start_us - begin) / whole + "%";
  bar.style.width = Math.max(100 * span.duration_us / whole, 0.2) + "%";
  bar.style.background = "var(--" + kind + ")";
  track.append(bar);
  line.append(make("span", "node", kind === "app" ? span.service : span.node), what, track, make("span", "num" + (span.failed ? " bad" : ""), ms(span.duration_us)));
  line.title = span.name + ", " + kinds[kind] + " at " + span.node + ", from " + ms(span.start_us - begin);
  line.setAttribute("aria-expanded", "false");
  line.onclick = () => {
    if (line.nextSibling && line.nextSibling.className === "more") { line.nextSibling.remove(); line.setAttribute("aria-expanded", "false"); return; }
    const more = make("div", "more"), add = (k, v) => more.append(make("span", "", k), make("span", "", v));
    add("begins", "+" + ms(span.start_us - begin)); add("span", span.span_id); add("node", span.node);
    for (const [key, value] of Object.entries(span.attributes)) add(key, String(value));
    for (const event of span.events) add("+" + ms(event.at_us - begin), event.name);
    line.after(more); line.setAttribute("aria-expanded", "true");
  };
  return line;
}
async function show(id) {
  for (const one of document.querySelectorAll(".trace")) one.setAttribute("aria-current", one.dataset.id === id);
  try {
    const trace = await ask("/outrigger/v1/traces/" + encodeURIComponent(id)), spans = trace.spans;
    const begin = Math.min(...spans.map(s => s.start_us)), end = Math.max(...spans.map(s => s.start_us + s.duration_us)), whole = Math.max(end - begin, 1);
    const known = new Set(spans.map(s => s.span_id)), under = new Map();
    for (const span of spans) { const p = known.has(span.parent_id) ? span.parent_id : ""; if (!under.has(p)) under.set(p, []); under.get(p).push(span); }
    const egress = new Set(spans.filter(s => s.attributes["outrigger.egress"]).map(s => s.span_id));
    const head = make("div"), legend = make("div", "legend"), rows = [], seen = new Set();
    head.id = "head";
    head.append(make("code", "", trace.trace_id), make("span", "", "  " + ms(whole) + ", " + spans.length + " spans, " + trace.nodes.join(" + ")));
    for (const [kind, text] of Object.entries(kinds)) { const one = make("span"), dot = make("i"); dot.style.background = "var(--" + kind + ")"; one.append(dot, text); legend.append(one); }
    head.append(legend);
    if (trace.silent.length) head.append(make("div", "bad", "without an answer, so spans may be missing: " + trace.silent.join(", ")));
    if (trace.left_out) head.append(make("div", "bad", trace.left_out + " spans more were not kept"));
    const walk = (span, depth) => {
      if (seen.has(span) || depth > 32) return;
      seen.add(span); rows.push(row(span, depth, begin, whole, egress));
      for (const child of under.get(span.span_id) || []) walk(child, depth + 1);
    };
    for (const span of (under.get("") || []).concat(spans)) walk(span, 0);
    $("trace").replaceChildren(head, ...rows);
    history.replaceState(null, "", "#" + id);
  } catch (error) { note($("trace"), error.message, true); }
}
async function list() {
  const query = new URLSearchParams();
  for (const [key, value] of new FormData($("filter"))) if (value) query.set(key, value);
  try {
    const found = await ask("/outrigger/v1/traces?" + query);
    $("who").textContent = "at " + found.node + ", " + found.kept + " kept";
    if (!found.traces.length) return note($("list"), "No trace fits. Only sampled requests leave one.");
    $("list").replaceChildren(...found.traces.map(trace => {
      const one = make("button", "trace");
      one.dataset.id = trace.trace_id;
      one.append(make("b", trace.failed ? "bad" : "", trace.name), make("span", "num", ms(trace.duration_us)),
                 make("small", "", new Date(trace.start_us / 1000).toLocaleTimeString() + "  " + (trace.route || "") + "  " + trace.spans + " spans"),
                 make("small", "num" + (trace.failed ? " bad" : ""), trace.status === null ? "" : trace.status));
      one.onclick = () => show(trace.trace_id);
      return one;
    }));
  } catch (error) { note($("list"), error.message, true); }
}
$("filter").onsubmit = event => { event.preventDefault(); list(); };
list().then(() => { if (/^#[0-9a-f]{32}$/.test(location.hash)) show(location.hash.slice(1)); });
</script></body></html>
)html";

}  // namespace

std::string_view traces_page() { return kPage; }

}  // namespace agent::api
