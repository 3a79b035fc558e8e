"""The same traders, clients and faults behind nginx, behind HAProxy and between our agents: what became of the orders.

nginx and HAProxy run with the blocks of a deployment guide that people follow (least connections, weights 2 and 1, one
backup; `max_fails=3 fail_timeout=30s` and time-outs of 60 s here, `option httpchk GET /health` and 5 s / 50 s / 50 s there),
without its TLS. Every client sends a key with each order and the same key again when it repeats one; only our agents do
something with it. Faults hit traders, never a proxy or an agent, and always the trader that got most orders just before.
"""

import collections
import json
import shutil
import signal
import sys
import time

import scorecard
from cluster import Cluster, TooLate, free_ports, now, request, wait_until
from load_process import LoadProcess

KEYS = 'idempotency = { key = "header:Idempotency-Key" }\n'
DROPPED_REPLIES = 20
BUSY_SECONDS = 1.0  # whoever received most orders within the last second is hit

NGINX = """worker_processes auto;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/tmp; proxy_temp_path {folder}/tmp; fastcgi_temp_path {folder}/tmp;
  uwsgi_temp_path {folder}/tmp; scgi_temp_path {folder}/tmp;
  upstream trading_dashboard {{
    least_conn;
    server {traders[0]} weight=2 max_fails=3 fail_timeout=30s;
    server {traders[1]} weight=1 max_fails=3 fail_timeout=30s;
    server {traders[2]} weight=1 backup;
  }}
  server {{
    listen {entry};
    location / {{
      proxy_pass http://trading_dashboard;
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_connect_timeout 60s;
      proxy_send_timeout 60s;
      proxy_read_timeout 60s;
    }}
  }}
}}
"""

HAPROXY = """global
  maxconn 4096
defaults
  mode http
  timeout connect 5000
  timeout client 50000
  timeout server 50000
frontend trading
  bind {entry}
  default_backend dashboards
backend dashboards
  balance leastconn
  option httpchk GET /health
  http-check expect status 200
  server dash1 {traders[0]} check weight 2 maxconn 100
  server dash2 {traders[1]} check weight 1 maxconn 100
  server dash3 {traders[2]} check weight 1 maxconn 100 backup
"""


class Times:
    def __init__(self, short):
        self.steady = 1.5 if short else 3.0
        self.down = 1.0 if short else 3.0          # until a killed trader is started again
        self.settle = 1.5 if short else 4.0        # after everything is as it was
        self.hang = 4.0 if short else 8.0
        self.long_hang = 0.0 if short else 65.0    # longer than every time-out of the guides
        self.patience, self.long_patience = 3.0, 70.0
        self.unknown = 5.0  # how long a client asks on before it leaves an unknown order to a person


class Contender:
    """Three traders, an exchange, and what stands between them and the clients."""

    def __init__(self, name, arguments, folder):
        self.name, self.folder = name, folder
        shutil.rmtree(folder, ignore_errors=True)
        self.cluster = Cluster(arguments.binary, folder, seed=arguments.seed)
        self.cluster.trader_options = ["--delay-ms-min", "5", "--delay-ms-max", "30"]
        self.cluster.exchange_options = ["--delay-ms", "10"]

    @property
    def entries(self):
        return [node.entry for node in self.cluster.nodes]

    def start(self):
        """Our agents; the others say it in their own words."""
        self.cluster.order_options, self.cluster.has_egress = KEYS, True
        self.cluster.make_secrets()
        self.cluster.write_config()
        self.cluster.start()
        for node in self.cluster.nodes:
            wait_until(node.ready, 20, f"{node.name} ready")
        self.cluster.wait_agreed(20)

    def end(self):
        self.cluster.end()


class Proxied(Contender):
    """A proxy of somebody else with a settings file out of the guide."""

    def __init__(self, name, program, settings, command, arguments, folder):
        super().__init__(name, arguments, folder)
        self.program, self.settings, self.command, self.process = program, settings, command, None
        self.entry = f"127.0.0.1:{free_ports(1)[0]}"

    @property
    def entries(self):
        return [self.entry]

    def start(self):
        self.cluster.start_traders()
        (self.folder / "tmp").mkdir(exist_ok=True)
        file = self.folder / f"{self.name}.conf"
        file.write_text(self.settings.format(folder=self.folder, entry=self.entry,
                                             traders=[node.service for node in self.cluster.nodes]))
        # Its workers have to go with it, so that it is asked to end, not killed, when this process dies.
        asked = ["setpriv", "--pdeathsig", "TERM", self.program, *(part.format(file=file) for part in self.command)]
        self.process = self.cluster.make_process(self.name, asked)
        wait_until(self.answers, 10, f"{self.name} in front of the traders")

    def answers(self):
        if not self.process.alive():
            raise RuntimeError(f"{self.name} did not start:\n{self.process.tail()}")
        try:
            return request(self.entry, "GET", "/health", timeout=0.5)[0] == 200
        except OSError:
            return False

    def end(self):
        if self.process is not None:
            self.process.stop(5)
        super().end()


class Run:
    """Some acts before one contender that was started for them, so that nothing of the acts before is remembered."""

    def __init__(self, contender, arguments):
        self.contender, self.cluster, self.arguments = contender, contender.cluster, arguments
        self.times = Times(arguments.short)
        self.acts, self.loads, self.woken = [], [], []
        self.load = self.ribbon = None

    def faults(self):
        times = self.times
        self.begin_load("short", times.patience)
        self.act("steady", "no fault", lambda: time.sleep(times.steady))
        self.act("crash", "trader killed", self.crash)
        self.act("hang", f"trader hung {times.hang:g} s, clients wait {times.patience:g} s", lambda: self.hang(times.hang))
        self.act("replies", f"{DROPPED_REPLIES} replies lost after accept", self.lose_replies)

    def long_hang(self):
        times = self.times
        self.begin_load("long", times.long_patience)
        self.act("long hang", f"trader hung {times.long_hang:g} s, clients wait {times.long_patience:g} s",
                 lambda: self.hang(times.long_hang))

    def play(self, part):
        """@return the figures; `part` begins the load and does its acts"""
        self.contender.start()
        try:
            part()
            self.end_load()
            return self.figures()
        finally:
            self.end()

    def end(self):
        for load in self.loads:
            load.end()
        self.contender.end()

    # --- acts -------------------------------------------------------------------------------------------------------
    def act(self, name, words, what):
        self.ribbon.begin(name)
        self.acts.append({"name": words, "begin": now(), "end": None})
        what()
        self.acts[-1]["end"] = now()
        self.ribbon.end()

    def busy(self):
        """The node whose trader received most orders of late."""
        since = now() - BUSY_SECONDS
        counts = {node: sum(note["time"] >= since for note in self.received(node)) for node in self.cluster.nodes}
        return max(counts, key=counts.get)

    def crash(self):
        time.sleep(BUSY_SECONDS)
        node = self.busy()
        self.ribbon.put("✗")
        node.trader.kill()
        time.sleep(self.times.down)
        node.start_trader()
        self.ribbon.put("+")
        time.sleep(self.times.settle)

    def hang(self, seconds):
        time.sleep(BUSY_SECONDS)
        node = self.busy()
        self.ribbon.put("‖")
        node.trader.send(signal.SIGSTOP)
        time.sleep(seconds)
        self.ribbon.put("▶")
        self.woken.append((node.name, now()))
        node.trader.send(signal.SIGCONT)
        time.sleep(self.times.settle)

    def lose_replies(self):
        time.sleep(BUSY_SECONDS)
        self.ribbon.put("✂")
        request(self.cluster.exchange_address, "PUT", "/mode", json.dumps({"drop_replies": DROPPED_REPLIES}))
        time.sleep(self.times.settle)

    # --- clients ----------------------------------------------------------------------------------------------------
    def begin_load(self, name, patience):
        options = ["--orders", "16", "--gets", "0", "--sockets", "0", "--order-pause", "0", "--retry-pause", "0.1",
                   "--try-seconds", str(patience), "--unknown-seconds", str(self.times.unknown)]
        self.load = LoadProcess(self.contender.folder / f"load-{name}.json", f"{self.arguments.seed}{len(self.loads)}", self.contender.entries,
                                options=options)
        self.loads.append(self.load)
        self.ribbon = self.load.ribbon

    def end_load(self):
        if not self.load.finish(2 * self.times.long_patience + 30):
            raise TooLate("the clients did not come to an end")

    def received(self, node):
        return scorecard.read_lines(node.receive_log.read_text()) if node.receive_log.exists() else []

    # --- the end ----------------------------------------------------------------------------------------------------
    def figures(self):
        _, _, log = request(self.cluster.exchange_address, "GET", "/log", timeout=20)
        return evaluate(self.acts, [load.seen() for load in self.loads], scorecard.read_lines(log.decode()),
                        {node.name: self.received(node) for node in self.cluster.nodes}, self.woken)


def evaluate(acts, loads, log, received, woken):
    """What became of the orders, out of the clients' notes and the exchange's log.
    @param acts   [{"name", "begin", "end"}]; an arrival belongs to the last act that had begun
    @param woken  [(node, time of its SIGCONT)]"""
    log = [entry for entry in log if not entry["id"].startswith("own-")]
    acked = {ack[5] for load in loads for ack in load["acks"]}
    unknown = {key for load in loads for _, key in load["unknown"]}
    rejected = {key for load in loads for _, key, _ in load["rejected"]}
    placed = {entry["id"] for entry in log}
    arrivals = {(node, note["id"]): note["time"] for node, notes in received.items() for note in notes}
    late = sum(any(entry["node"] == node and entry["time"] >= when > arrivals.get((node, entry["id"]), when) for node, when in woken)
               for entry in log)
    every_ack = [ack for load in loads for ack in load["acks"]]
    replies = collections.Counter()
    for load in loads:
        replies.update(load["order_replies"])
    has_epochs = any(entry["epoch"] for entry in log)
    return {"duplicates": len(log) - len(placed), "duplicates_by_act": by_act(acts, log), "missing": len(acked - placed),
            "unknown": len(unknown - acked), "unknown_placed": len((unknown - acked) & placed), "rejected": len(rejected),
            "unacked": sum(len(load["unacked"]) for load in loads), "acked": len(acked),
            "silence_s": {act["name"]: scorecard.longest_silence_ms(every_ack, act["begin"], act["end"]) / 1000 for act in acts},
            "late_by_woken": late, "old_epochs": scorecard.exchange_figures(log, acked)["old_epoch_arrivals"] if has_epochs else None,
            "errors_seen": dict(replies)}


def merged(first, second):
    """The figures of two runs of one contender: what is counted is added up, and None is no count."""
    both = {}
    for name, value in first.items():
        other = second[name]
        if isinstance(value, dict):
            both[name] = {key: value.get(key, 0) + other.get(key, 0) for key in (*value, *(k for k in other if k not in value))}
        else:
            both[name] = None if value is None or other is None else value + other
    return both


def by_act(acts, log):
    """Surplus arrivals per act."""
    seen, counts = set(), {act["name"]: 0 for act in acts}
    for entry in log:
        if entry["id"] in seen:
            name = next((act["name"] for act in reversed(acts) if entry["time"] >= act["begin"]), acts[0]["name"])
            counts[name] += 1
        seen.add(entry["id"])
    return counts


# --- the table ------------------------------------------------------------------------------------------------------
def rows(figures):
    """[(what, [one cell per contender])] of {contender: figures}."""
    acts = list(next(iter(figures.values()))["silence_s"])
    table = [("orders placed twice", [str(one["duplicates"]) for one in figures.values()])]
    for act in acts:
        if any(one["duplicates_by_act"][act] for one in figures.values()):
            table.append((f"  {act}", [str(one["duplicates_by_act"][act]) for one in figures.values()]))
    table.append(("acknowledged, but not at the exchange", [str(one["missing"]) for one in figures.values()]))
    table.append(("orders that an awakened trader placed late", [str(one["late_by_woken"]) for one in figures.values()]))
    table.append(("requests under an old epoch", ["no epochs" if one["old_epochs"] is None else str(one["old_epochs"])
                                                   for one in figures.values()]))
    table.append(("told \"unknown\", not sent again", [str(one["unknown"]) for one in figures.values()]))
    table.append(("never answered", [str(one["unacked"] + one["rejected"]) for one in figures.values()]))
    table.append(("longest time without an acknowledged order", ["" for _ in figures]))
    for act in acts:
        table.append((f"  {act}", [f"{one['silence_s'][act]:.1f} s" for one in figures.values()]))
    table.append(("orders acknowledged", [f"{one['acked']:,}" for one in figures.values()]))
    return table


def report(figures):
    """The table as text, and whether ours is without a duplicate, a missing order and an old epoch."""
    table = rows(figures)
    width = max(len(what) for what, _ in table)
    widths = [max(len(name), *(len(cells[i]) for _, cells in table)) for i, name in enumerate(figures)]
    lines = ["", " " * (width + 2) + "  ".join(f"{name:>{w}}" for name, w in zip(figures, widths))]
    for what, cells in table:
        lines.append(f"{what:{width}}  " + "  ".join(f"{cell:>{w}}" for cell, w in zip(cells, widths)).rstrip())
    ours = figures.get("Outrigger")
    good = ours is not None and not any(ours[what] for what in ("duplicates", "missing", "old_epochs", "unacked", "rejected"))
    lines += ["", f"Outrigger: {'ok' if good else 'MISS'} (duplicates, acknowledged-but-missing, old epochs and orders without any answer must be 0)"]
    return "\n".join(lines), good


def contenders(arguments, folder):
    """@return (those that can run, sentences about those that cannot)"""
    able, missing = [], []
    for name, settings, command in (("nginx", NGINX, ("-c", "{file}", "-e", "stderr")),
                                    ("HAProxy", HAPROXY, ("-f", "{file}"))):
        program = shutil.which(name.lower()) or shutil.which(name.lower(), path="/usr/sbin:/usr/local/sbin:/sbin")
        if program is None:
            missing.append(f"{name} is not installed, so its column is missing (apt-get install {name.lower()})")
        else:
            able.append(Proxied(name, program, settings, command, arguments, folder / name.lower()))
    able.append(Contender("Outrigger", arguments, folder / "outrigger"))
    return able, missing


def perform(arguments, folder):
    """@return the exit code"""
    able, missing = contenders(arguments, folder)
    figures = {}
    for sentence in missing:
        print(sentence, flush=True)
    long_too = Times(arguments.short).long_hang > 0
    for contender, again in zip(able, contenders(arguments, folder / "long")[0]):
        print(f"\n{contender.name}", flush=True)
        try:
            run = Run(contender, arguments)
            figures[contender.name] = run.play(run.faults)
            if long_too:
                contender, run = again, Run(again, arguments)
                figures[contender.name] = merged(figures[contender.name], run.play(run.long_hang))
        except (TooLate, RuntimeError, OSError) as problem:
            print(f"\n{contender.name}: {problem}\n{contender.cluster.complaints()}\nlogs: {contender.folder}", file=sys.stderr, flush=True)
            return 1
    text, good = report(figures)
    print(text, flush=True)
    for sentence in missing:
        print(sentence, flush=True)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"compare": figures, "passed": good}, file, indent=1)
    return 0 if good else 1
