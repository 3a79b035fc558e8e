"""What HTTP/2 costs: h2load against one agent with one proxy thread in front of nginx, HTTP/1.1 beside HTTP/2, without
TLS and with it; then what each flood costs the agent. Run on demand: tests/bench/run h2 [--requests N] [--seconds S]."""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests" / "http"), str(ROOT / "deploy" / "demo")]

import h2_floods  # noqa: E402  (found through the line above)
from cluster import Process, free_ports, request, wait_until  # noqa: E402

TLS = ROOT / "tests" / "e2e" / "tls"
NGINX = """daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{backend} backlog=4096; location / {{ return 200 "{body}"; }} }} }}
"""
AGENT = """[node]
name = "bench"
data_dir = "{folder}/data"
log_level = "warn"
[api]
listen = "127.0.0.1:{api}"
[dns]
listen = "off"
[mesh]
gossip_port = 0
port = 0
[service]
address = "127.0.0.1:{backend}"
[proxy]
threads = 1
[[route]]
path = "/"
pool = "all"
[[listen]]
address = "127.0.0.1:{clear}"
h2c = true
[[listen]]
address = "127.0.0.1:{secure}"
tls = {{ certificates = [{{ cert = "{tls}/site.pem", key = "{tls}/site.key" }}] }}
"""


def load(agent, ports, name, listener, options, requests):
    scheme = "https" if listener == "secure" else "http"
    cpu, _ = h2_floods.cost_of(agent)
    done = subprocess.run(["h2load", "-n", str(requests), *options, f"{scheme}://127.0.0.1:{ports[listener]}/x"], check=True, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    used = h2_floods.cost_of(agent)[0] - cpu
    memory = h2_floods.cost_of(agent)[1]
    rate = re.search(r"finished in \S+, (\S+) req/s", done.stdout)[1]
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", done.stdout)
    bad = sum(map(int, counts.groups()[1:])) + requests - int(counts[1])
    print(f"| {name} | {float(rate):,.0f} | {used * 1e5 / requests:.2f} | {bad} | {memory:.0f} |", flush=True)


def flood(agent, ports, name, seconds):
    cpu, before = h2_floods.cost_of(agent)
    began = time.monotonic()
    attack = h2_floods.Attack(h2_floods.plain(f"127.0.0.1:{ports['clear']}"), name, clients=8, seconds=seconds).go()
    slowest, peak, probes = 0.0, before, 0
    while time.monotonic() - began < seconds:
        at = time.monotonic()
        assert request(f"127.0.0.1:{ports['clear']}", "GET", "/probe")[0] == 200
        slowest, probes = max(slowest, time.monotonic() - at), probes + 1
        peak = max(peak, h2_floods.cost_of(agent)[1])
    attack.wait()
    took = time.monotonic() - began
    used = h2_floods.cost_of(agent)[0] - cpu
    calm = attack.codes.get(h2_floods.CALM, 0)
    print(f"| {name} | {attack.connections} | {calm} | {attack.bytes / 1e6:.1f} | {used / took * 100:.0f} | {used * 1e3 / max(1, attack.connections):.2f} | "
          f"{peak - before:.1f} | {slowest * 1e3:.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="outrigger-h2-"))
    names = ("backend", "api", "clear", "secure")
    ports = dict(zip(names, free_ports(len(names))))
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, body="x" * 1024, **ports))
    (folder / "agent.toml").write_text(AGENT.format(folder=folder, tls=TLS, **ports))
    nginx = Process("nginx", [shutil.which("nginx", path="/usr/sbin:/usr/bin"), "-c", str(folder / "nginx.conf")], folder / "nginx.log")
    agent = Process("agent", [options.binary, "agent", "--config", str(folder / "agent.toml")], folder / "agent.log")
    try:
        def serves():
            try:
                return request(f"127.0.0.1:{ports['clear']}", "GET", "/x")[0] == 200
            except OSError:
                return False
        wait_until(serves, 20, "the agent serving")
        pid = agent.child.pid
        print("| h2load, 1 KiB answers | requests/s | CPU s per 100k | errors | RSS MiB |\n|---|---|---|---|---|")
        for listener in ("clear", "secure"):
            load(pid, ports, f"HTTP/1.1, {listener}, c=64", listener, ["--h1", "-c", "64"], options.requests)
            load(pid, ports, f"HTTP/2, {listener}, c=64 m=1", listener, ["-c", "64", "-m", "1"], options.requests)
            load(pid, ports, f"HTTP/2, {listener}, c=64 m=32", listener, ["-c", "64", "-m", "32"], options.requests)
        print(f"\n| flood, 8 clients, {options.seconds:.0f} s | connections | ENHANCE_YOUR_CALM | MB sent | agent CPU % | CPU ms each | "
              "RSS growth MiB | slowest other request ms |\n|---|---|---|---|---|---|---|---|")
        for name in h2_floods.FLOODS:
            flood(pid, ports, name, options.seconds)
    finally:
        agent.stop(5)
        nginx.stop(5)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
