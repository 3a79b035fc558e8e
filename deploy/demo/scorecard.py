"""What a run was worth: pure figures out of the logs of clients, traders and exchange, and the gates they must pass.

Times are CLOCK_BOOTTIME seconds. An order's epoch is the one its trader was given with it.
"""

import json
import statistics

CRASH_MS_MAX = 600  # 300 until somebody else is primary, 250 for what is under way before the hook is asked (arming.md), and the hook
LOST_MS_MEDIAN_MAX = 3000
LOST_MS_WORST_MAX = 6000
HALT_MS_MAX = 100  # until an agent that reaches nobody refuses orders
HALT_ALL_MS_MAX = 2000  # from healing until nothing is placed any more
KILL_SECONDS = 0.5  # how long after a kill an error can still be the killed process's own
NEVER = float("inf")


def read_lines(text):
    """JSON lines; the last one of a killed process may be cut short."""
    values = []
    for line in text.splitlines():
        try:
            values.append(json.loads(line))
        except ValueError:
            pass
    return values


def failover_ms(acks, fault_time, end_time):
    """Last acknowledgement from the primary before, to the first from its successor: what the clients went without.
    @param acks  [time, epoch, ...] in any order. NEVER when no successor answered in the act."""
    acks = sorted((ack[0], ack[1]) for ack in acks)
    before = [epoch for when, epoch in acks if when <= fault_time]
    if not before:
        return NEVER
    old = before[-1]
    after = [when for when, epoch in acks if fault_time < when <= end_time and epoch > old]
    if not after:
        return NEVER
    last = max(when for when, epoch in acks if epoch <= old and when < after[0])
    return (after[0] - last) * 1000


def longest_silence_ms(acks, begin, end):
    """The longest time without any acknowledgement between two moments."""
    times = [begin] + sorted(ack[0] for ack in acks if begin < ack[0] < end) + [end]
    return max(later - earlier for earlier, later in zip(times, times[1:])) * 1000


def overlap_ms(received):
    """How long two epochs were served at once, by arrival at the instances.
    @param received  {node: [{"time", "epoch"}]}; epoch 0 (no agent in between) does not count."""
    spans = {}
    for notes in received.values():
        for note in notes:
            if note["epoch"]:
                first, last = spans.get(note["epoch"], (note["time"], note["time"]))
                spans[note["epoch"]] = (min(first, note["time"]), max(last, note["time"]))
    worst, end_so_far = 0.0, None
    for epoch in sorted(spans):
        first, last = spans[epoch]
        if end_so_far is not None:
            worst = max(worst, end_so_far - first)
        end_so_far = last if end_so_far is None else max(end_so_far, last)
    return worst * 1000


def late_orders(received):
    """Orders that reached an instance under an older epoch than one that another instance had already served."""
    notes = sorted((note["time"], note["epoch"], node) for node, all_of in received.items() for note in all_of if note["epoch"])
    newest, newest_node, late = 0, None, 0
    for _, epoch, node in notes:
        if epoch > newest:
            newest, newest_node = epoch, node
        elif epoch < newest and node != newest_node:
            late += 1
    return late


def shared_epochs(received):
    """Epochs that more than one instance served: must be none."""
    nodes = {}
    for node, notes in received.items():
        for note in notes:
            if note["epoch"]:
                nodes.setdefault(note["epoch"], set()).add(node)
    return sorted(epoch for epoch, served in nodes.items() if len(served) > 1)


def judge_gets(troubles, outages, kills=()):
    """Failed reads, and those that were only in flight to something that the run itself had taken down.
    @param outages  [(entry number, begin, end)]: from the fault until the entry was ready again
    @param kills    moments of kill -9: a read that had begun before one and ended in an error after it was in flight"""
    failed, in_flight = 0, 0
    for trouble in troubles:
        down = any(entry == trouble["entry"] and trouble["end"] >= begin and trouble["begin"] <= end
                   for entry, begin, end in outages)
        killed = any(trouble["begin"] <= kill <= trouble["end"] <= kill + KILL_SECONDS for kill in kills)
        if trouble["what"].isdigit():
            excused = killed
        else:
            excused = (down or killed) and not trouble["final"]
        in_flight += excused
        failed += not excused
    return failed, in_flight


def exchange_figures(log, acked):
    """Duplicates, orders that were acknowledged and are not there, and those that came with an older epoch than one seen before.
    @param acked  the keys of all acknowledged orders"""
    client_orders = [entry for entry in log if not entry["id"].startswith("own-")]
    newest, old = 0, 0
    for entry in log:
        old += 1 if 0 < entry["epoch"] < newest else 0
        newest = max(newest, entry["epoch"])
    unique = {entry["id"] for entry in client_orders}
    return {"placed": len(client_orders), "duplicates": len(client_orders) - len(unique), "old_epoch_arrivals": old,
            "acked_not_placed": len(set(acked) - unique)}


def held_back(acts, received, log):
    """Orders that a frozen trader had in its hands and that did not get out to the exchange under the old epoch when it woke."""
    placed = {(entry["id"], entry["epoch"]) for entry in log}
    return sum(note["epoch"] == act["epoch"] and note["time"] >= act["fault"] - 1 and (note["id"], note["epoch"]) not in placed
               for act in acts if act["kind"] == "hang" and "epoch" in act for note in received.get(act["node"], ()))


def halt_figures(act, log):
    """What a halt did, by what came to the exchange. Times in ms; NEVER where the thing did not happen.
    @param act  {"halted", "answered", "refused" or None, "resume_refused", "healed", "resumed", "end"}"""
    def arrivals(begin, end):
        return [entry["time"] for entry in log if begin < entry["time"] <= end]
    after = arrivals(act["healed"], act["resumed"])
    resumed = arrivals(act["resumed"], act["end"])
    return {"answered_ms": (act["answered"] - act["halted"]) * 1000,
            "refused_ms": NEVER if act["refused"] is None else (act["refused"] - act["halted"]) * 1000,
            "majority_orders": len(arrivals(act["halted"], act["healed"])), "minority_resume_refused": act["resume_refused"],
            "everywhere_ms": (max(after) - act["healed"]) * 1000 if after else 0.0,
            "resumed_ms": (min(resumed) - act["resumed"]) * 1000 if resumed else NEVER}


def spread(get_nodes, begin, end):
    """Share of reads per node in percent, between two moments."""
    counts = {}
    for when, node in get_nodes:
        if begin <= when <= end:
            counts[node] = counts.get(node, 0) + 1
    total = sum(counts.values())
    return {node: round(100 * count / total, 1) for node, count in sorted(counts.items())} if total else {}


def frozen_in_a_write(rises, acts, late):
    """How many late writes are only a frozen agent's last one: its clock, read again after the write, shows the time of
    the waking. Whether those bytes themselves came late is seen at the instance: then `late` is not 0 and nothing is excused.
    @param rises  [(time, node, count so far of that process)]
    @return at most one per frozen agent"""
    if late:
        return 0
    return sum(any(node == act.get("node") and act["fault"] <= when <= act["end"] and count >= 1 for when, node, count in rises)
               for act in acts if act["kind"] == "hang")


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else NEVER


def evaluate(run):
    """All figures of one run.
    @param run  {"acts": [{"name", "kind", "begin", "fault", "end"}], "load", "received", "log", "outages", "late_writes",
                 "late_write_rises", "audit_broken": [agent], "notes": [text]}; kind is "crash", "lost", "hang", "partition", "halt", "rolling" or "steady"; a
                 "halt" has the moments of halt_figures, too."""
    load, acts = run["load"], run["acts"]
    failed, in_flight = judge_gets(load["get_troubles"], run["outages"],
                                   [act["fault"] for act in acts if act["kind"] in ("crash", "lost")])
    steady = next((act for act in acts if act["kind"] == "steady"), None)
    figures = {"failover_ms": {}, "silence_ms": {}}
    for act in acts:
        if act["kind"] in ("crash", "lost", "hang", "partition"):
            figures["failover_ms"][act["name"]] = failover_ms(load["acks"], act["fault"], act["end"])
        if act["kind"] != "elect":
            figures["silence_ms"][act["name"]] = longest_silence_ms(load["acks"], act["fault"], act["end"])
    late = late_orders(run["received"])
    frozen = frozen_in_a_write(run["late_write_rises"], acts, late)
    late_writes = run["late_writes"] if run["late_writes"] is None else max(0, run["late_writes"] - frozen)
    first_tries = [ack[0] - ack[4] for ack in load["acks"] if steady and steady["begin"] <= ack[4] <= steady["end"]]
    figures.update(
        kinds={act["name"]: act["kind"] for act in acts}, orders_acked=len(load["acks"]), orders_unacked=len(load["unacked"]),
        steady_order_ms={"p50": percentile(first_tries, 0.5) * 1000, "p99": percentile(first_tries, 0.99) * 1000},
        spread=spread(load["get_nodes"], steady["begin"], steady["end"]) if steady else {},
        gets=load["get_count"], gets_failed=failed, gets_in_flight=in_flight, overlap_ms=overlap_ms(run["received"]),
        shared_epochs=shared_epochs(run["received"]), late_orders=late,
        late_writes=late_writes, late_writes_frozen=frozen, kv_written=load["kv_written"], kv_lost=len(load["kv_lost"]),
        halts=[halt_figures(act, run["log"]) for act in acts if act["kind"] == "halt"],
        held_back=held_back(acts, run["received"], run["log"]), audit_broken=run["audit_broken"], exchange=exchange_figures(run["log"], {ack[5] for ack in load["acks"]}),
        orders_unknown=len(load["unknown"]), orders_rejected=len(load["rejected"]), ticks=load["ticks"], order_replies=load["order_replies"],
        client_errors=load["client_errors"], notes=run["notes"])
    return figures


def gates(runs):
    """[(what, figure as text, demand as text, passed)] over one or more runs."""
    rows = []
    kinds = runs[0]["kinds"]
    words = {"crash": "trader killed", "lost": "agent and trader killed", "hang": "agent and trader hung",
             "partition": "primary cut off from its peers"}
    for name in runs[0]["failover_ms"]:
        times = [figures["failover_ms"].get(name, NEVER) for figures in runs]
        median, worst = statistics.median(times), max(times)
        text = milliseconds(median) if len(times) == 1 else f"{milliseconds(median)} median, {milliseconds(worst)} worst"
        if kinds[name] == "crash":
            demand, good = f"<= {CRASH_MS_MAX} ms", worst <= CRASH_MS_MAX
        elif len(times) == 1:
            demand, good = f"<= {LOST_MS_WORST_MAX} ms", worst <= LOST_MS_WORST_MAX
        else:
            demand = f"<= {LOST_MS_MEDIAN_MAX} ms median, <= {LOST_MS_WORST_MAX} ms worst"
            good = median <= LOST_MS_MEDIAN_MAX and worst <= LOST_MS_WORST_MAX
        rows.append((f"failover, {words[kinds[name]]}", text, demand, good))
    zeros = (("reads failed", "gets_failed"), ("two active primaries at once", "overlap_ms"),
             ("epochs served by two instances", "shared_epochs"), ("orders that came after a newer epoch", "late_orders"),
             ("writes after the lease was over", "late_writes"), ("acknowledged KV writes lost", "kv_lost"),
             ("agents whose audit chain does not verify", "audit_broken"), ("orders never answered", "orders_unacked"), ("orders answered with a recorded refusal", "orders_rejected"))
    for what, key in zeros:
        values = [len(figures[key]) if isinstance(figures[key], list) else figures[key] for figures in runs]
        known = all(value is not None for value in values)
        worst = max(values) if known else None
        unit = " ms" if key == "overlap_ms" else ""
        rows.append((what, f"{worst:g}{unit}" if known else "unknown: no agent has the metric", f"0{unit}", known and worst == 0))
    for what, key in (("orders placed twice", "duplicates"), ("orders acknowledged, but not at the exchange", "acked_not_placed"),
                      ("orders at the exchange under an old epoch", "old_epoch_arrivals")):
        worst = max(figures["exchange"][key] for figures in runs)
        rows.append((what, str(worst), "0", worst == 0))
    rows += halt_gates([halt for figures in runs for halt in figures["halts"]])
    enough = min(min(figures["orders_acked"], figures["gets"], figures["kv_written"]) for figures in runs)
    rows.append(("orders, reads and KV writes done", f"{enough} or more of each", "> 0", enough > 0))
    broken = sum(len(figures["notes"]) + len(figures["client_errors"]) for figures in runs)
    rows.append(("acts that did not go as planned", str(broken), "0", broken == 0))
    return rows


def halt_gates(halts):
    if not halts:
        return []
    refused, everywhere, resumed = (max(halt[key] for halt in halts) for key in ("refused_ms", "everywhere_ms", "resumed_ms"))
    on = min(halt["majority_orders"] for halt in halts)
    stuck = all(halt["minority_resume_refused"] for halt in halts)
    return [("halt at an agent cut off: its first refused order", milliseconds(refused), f"<= {HALT_MS_MAX} ms", refused <= HALT_MS_MAX),
            ("orders that the majority took meanwhile", str(on), "> 0", on > 0),
            ("resume without a majority", "refused" if stuck else "NOT refused", "refused", stuck),
            ("after healing: until no order was placed any more", milliseconds(everywhere), f"<= {HALT_ALL_MS_MAX} ms", everywhere <= HALT_ALL_MS_MAX),
            ("after the resume of a majority: until one was", milliseconds(resumed), "not never", resumed < NEVER)]


def milliseconds(value):
    return "never" if value == NEVER else f"{value:.0f} ms"


def report(runs):
    """The scorecard as text, and whether every gate was passed."""
    rows = gates(runs)
    lines = ["", f"Scorecard{f' over {len(runs)} runs' if len(runs) > 1 else ''}", ""]
    width = max(len(row[0]) for row in rows)
    for what, figure, demand, good in rows:
        lines.append(f"  {'ok  ' if good else 'MISS'} {what:{width}}  {figure:34} {demand}")
    last = runs[-1]
    placed = last["exchange"]
    rolling = [name for name, kind in last["kinds"].items() if kind == "rolling"]
    lines += ["", f"Not gated{' (last run)' if len(runs) > 1 else ''}",
              f"  orders shown as unknown, and not sent again: {last['orders_unknown']}",
              f"  {last['orders_acked']} orders acknowledged, {placed['placed']} placed; order p50 "
              f"{last['steady_order_ms']['p50']:.1f} ms, p99 {last['steady_order_ms']['p99']:.1f} ms in the steady act",
              f"  {last['gets']} reads, {last['gets_in_flight']} of them in flight at an entry that was taken down; "
              f"spread {', '.join(f'{node} {share} %' for node, share in last['spread'].items())}",
              f"  {last['kv_written']} KV writes; ticks {last['ticks']['seen']}, missed {last['ticks']['missed']}, "
              f"repeated {last['ticks']['repeated']}"]
    frozen = sum(figures["late_writes_frozen"] for figures in runs)
    if frozen:
        lines.append(f"  {frozen} time(s) an agent was frozen in the middle of a write; its bytes did not come late")
    if any(kind == "hang" for kind in last["kinds"].values()):
        lines.append(f"  orders that the frozen trader woke up with, and that its egress did not let out: {last['held_back']}")
    for name in rolling:
        lines.append(f"  longest silence of the {name}: {milliseconds(last['silence_ms'][name])}")
    for note in (note for figures in runs for note in figures["notes"] + figures["client_errors"]):
        lines.append(f"  note: {note}")
    return "\n".join(lines), all(row[3] for row in rows)
