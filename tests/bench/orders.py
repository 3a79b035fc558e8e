#!/usr/bin/env python3
"""What the ledger costs an order: three agents on loopback, the same route with keys and without, closed-loop clients.

    tests/bench/run orders [--seconds 10] [--rounds 3] [--clients 1,16,64] [--json FILE]

The instance beside each agent is nginx, which answers 201 at once, so that what is measured is the agents. wrk sends POSTs of some
100 bytes, each under a fresh key; once to the agent of the primary, once to another one. Per line: orders per second, p50 and p99
(of all rounds, the median round), and syncs per order, counted by each agent for its own disk (a batch of writes is one sync).
Needs wrk and nginx. For figures take a quiet machine and the release build.
"""
import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "deploy" / "demo"))

from cluster import Cluster, Process, request, wait_until  # noqa: E402

SCRIPT = """
local threads, mine, count, prefix = 0, 0, 0, "%s"
function setup(thread) thread:set("number", threads); threads = threads + 1 end
function init(args) mine = number end
local body = '{"client_order_id":"bench","side":"buy","symbol":"PAPER","quantity":1,"price":10000}'
function request()
  count = count + 1
  return wrk.format("POST", "%s", {["Content-Type"] = "application/json", ["Idempotency-Key"] = prefix .. "-" .. mine .. "-" .. count}, body)
end
local other = 0
function response(status) if status ~= 201 then other = other + 1 end end
function done(summary, latency)
  io.write(string.format("FIGURES %%d %%d %%.3f %%.3f %%d\\n", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout))
end
"""
INSTANCE = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen {address}; default_type application/json;
    location = /health {{ return 200 '{{"status":"healthy","database_connected":true}}'; }}
    location / {{ return 201 '{{"order_id":1,"client_order_id":"bench","status":"filled","filled":1}}'; }} }} }}
"""


class Bench:
    def __init__(self, arguments, folder):
        self.arguments, self.folder = arguments, folder
        self.made = Cluster(arguments.binary, folder / "cluster")
        self.instances, self.round = [], 0

    def start(self):
        made = self.made
        made.make_secrets()
        made.write_config()
        text = made.config.read_text()
        at = text.index("[[route]]")
        route = '[[route]]\nname = "{0}"\nmethods = ["POST"]\npath = "/{0}"\npool = "primary"\nhold = "5s"\n{1}\n'
        keyed = 'idempotency = { key = "header:Idempotency-Key", retention = "60s" }'
        made.config.write_text(text[:at] + route.format("keyed", keyed) + route.format("plain", "") + text[at:])
        for node in made.nodes:
            own = self.folder / node.name
            own.mkdir()
            (own / "nginx.conf").write_text(INSTANCE.format(folder=own, address=node.service))
            self.instances.append(Process(f"{node.name} instance", ["nginx", "-p", own, "-c", own / "nginx.conf"], own / "log"))
            node.start_agent()
        for node in made.nodes:
            wait_until(node.ready, 30, f"{node.name} ready")
        return made.node(made.wait_agreed(30)[0])

    def end(self):
        for node in self.made.nodes:
            if node.agent:
                node.agent.stop()
        for process in self.instances:
            process.stop()

    def syncs(self):
        return sum(node.metric(self.arguments.syncs) or 0 for node in self.made.nodes)

    def load(self, entry, path, clients):
        self.round += 1
        script = self.folder / "orders.lua"
        script.write_text(SCRIPT % (f"b{self.round}-{int(time.time())}", path))
        before = self.syncs()
        done = subprocess.run(["wrk", "-t1", f"-c{clients}", f"-d{self.arguments.seconds}s", "--timeout", "10s", "-s", str(script), f"http://{entry}{path}"],
                              capture_output=True, text=True, check=True)
        found = re.search(r"FIGURES (\d+) (\d+) ([\d.]+) ([\d.]+) (\d+)", done.stdout)
        count, microseconds, p50, p99, errors = int(found[1]), int(found[2]), float(found[3]), float(found[4]), int(found[5])
        return {"per_s": count / microseconds * 1e6, "p50_ms": p50 / 1000, "p99_ms": p99 / 1000, "errors": errors,
                "syncs_per_order": (self.syncs() - before) / max(count, 1)}

    def run(self):
        primary = self.start()
        other = next(node for node in self.made.nodes if node is not primary)
        rows = []
        for where, node in (("primary", primary), ("other", other)):
            for clients in self.arguments.clients:
                for path in ("/plain", "/keyed"):
                    rounds = [self.load(node.entry, path, clients) for _ in range(self.arguments.rounds)]
                    row = {"entry": where, "clients": clients, "route": path[1:]}
                    row.update({name: statistics.median(r[name] for r in rounds) for name in rounds[0]})
                    row["errors"] = sum(r["errors"] for r in rounds)
                    rows.append(row)
                    print("{entry:8} c={clients:<3} {route:6} {per_s:9.0f}/s  p50 {p50_ms:7.2f} ms  p99 {p99_ms:7.2f} ms  "
                          "syncs per order {syncs_per_order:6.3f}  errors {errors}".format(**row), flush=True)
        text = request(primary.api, "GET", "/metrics", timeout=5)[2].decode()
        ledger = re.findall(r"^outrigger_orders\{.*", text, re.M)
        print("\n".join(ledger))
        return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=lambda text: [int(c) for c in text.split(",")], default=[1, 16, 64])
    parser.add_argument("--syncs", default="outrigger_store_sync_seconds_count", help="the metric that counts synced batches")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not shutil.which("wrk") or not shutil.which("nginx"):
        sys.exit("wrk and nginx are needed")
    with tempfile.TemporaryDirectory(prefix="outrigger-bench-orders-") as folder:
        bench = Bench(arguments, Path(folder))
        try:
            rows = bench.run()
        finally:
            bench.end()
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    return 1 if any(row["errors"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
