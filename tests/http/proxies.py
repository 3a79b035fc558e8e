"""The proxies that the cases run through, each with two listeners: "plain", and "trusted", where the client is a proxy
whose X-Forwarded-* fields are believed. All serve /, /open and what is below it, and nothing else."""

import os
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests" / "e2e"))

from backend import Backend  # noqa: E402
from harness import Process, free_ports, request, wait_until  # noqa: E402  (found through the line above)

HEAD_BYTES_MAX = 16384
BODY_BYTES_MAX = 100_000

NGINX = """daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  large_client_header_buffers 4 8k; client_max_body_size {body}; keepalive_timeout 10s;
  upstream backend {{ server {backend} max_fails=0; keepalive 16; }}
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  proxy_http_version 1.1; proxy_set_header Host $http_host;
  proxy_set_header Connection $connection_upgrade; proxy_set_header Upgrade $http_upgrade;
  proxy_set_header X-Forwarded-For $remote_addr; proxy_request_buffering off;
  server {{ listen 127.0.0.1:{plain};
    location = / {{ proxy_pass http://backend; }} location /open {{ proxy_pass http://backend; }} location / {{ return 404; }} }}
  server {{ listen 127.0.0.1:{trusted}; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    location = / {{ proxy_pass http://backend; }} location /open {{ proxy_pass http://backend; }} location / {{ return 404; }} }}
}}
"""
HAPROXY = """global
  maxconn 256
  tune.bufsize 16384
defaults
  mode http
  timeout connect 1s
  timeout client 10s
  timeout server 5s
  timeout http-request 10s
  http-reuse always
frontend plain
  bind 127.0.0.1:{plain}
  http-request del-header X-Forwarded-For
  option forwardfor
  http-request return status 404 unless {{ path / }} or {{ path -m dir /open }}
  default_backend all
frontend trusted
  bind 127.0.0.1:{trusted}
  option forwardfor
  http-request return status 404 unless {{ path / }} or {{ path -m dir /open }}
  default_backend all
backend all
  server one {backend}
"""
AGENT = """[node]
name = "n1"
data_dir = "{folder}/data"
[api]
listen = "127.0.0.1:{api}"
[dns]
listen = "127.0.0.1:{dns}"
[mesh]
gossip_port = {gossip}
port = {mesh}
[service]
address = "{backend}"
[service.health]
every = "1s"
timeout = "1s"
rise = 1
fall = 50
[proxy]
threads = 1
header_bytes_max = "{head}B"
body_bytes_max = "{body}B"
{proxy}
[[listen]]
address = "127.0.0.1:{plain}"
[[listen]]
address = "127.0.0.1:{trusted}"
trusted_proxies = ["127.0.0.0/8"]
[[route]]
path = "=/"
pool = "all"
[[route]]
path = "/open"
pool = "all"
"""


def agent_binary():
    """OUTRIGGER_BIN, or the newest build there is; None without one."""
    named = os.environ.get("OUTRIGGER_BIN")
    if named:
        return Path(named)
    built = [p for p in REPO.glob("build/*/agent/outrigger") if p.is_file()]
    return max(built, key=lambda p: p.stat().st_mtime) if built else None


class Running:
    """One proxy in front of one backend, in a folder of its own."""

    def __init__(self, name, backend, settings, command, **more):
        self.folder = Path(tempfile.mkdtemp(prefix=f"http-{name}-"))
        names = ("plain", "trusted", "api", "dns", "gossip", "mesh")
        self.ports = dict(zip(names, free_ports(len(names))))
        self.addresses = {key: ("127.0.0.1", self.ports[key]) for key in ("plain", "trusted")}
        self.api = f"127.0.0.1:{self.ports['api']}"
        file = self.folder / f"{name}.conf"
        file.write_text(settings.format(folder=self.folder, backend=backend.address, head=HEAD_BYTES_MAX,
                                        body=BODY_BYTES_MAX, **self.ports, **more))
        self.process = Process(name, [*map(str, command), str(file)], self.folder / "log")
        try:
            wait_until(self.serves, 20, f"{name} serving")
        except BaseException:
            print(self.process.tail(), file=sys.stderr)
            self.stop()
            raise

    def serves(self):
        try:
            return request(f"127.0.0.1:{self.ports['plain']}", "GET", "/open/probe/0")[0] == 200
        except OSError:
            return False

    def stop(self):
        self.process.stop(5)
        shutil.rmtree(self.folder, ignore_errors=True)


def start_agent(backend, proxy=""):
    """@param proxy  more lines for the [proxy] section"""
    return Running("agent", backend, AGENT, [agent_binary(), "agent", "--config"], proxy=proxy)


class AgentBeforeBackend(unittest.TestCase):
    """One agent in front of one recording backend for all tests of a class; `proxy` are more lines for its [proxy]."""
    proxy = ""

    @classmethod
    def setUpClass(cls):
        if not agent_binary():
            raise AssertionError("the agent is not built: run tests/run, or set OUTRIGGER_BIN")
        cls.backend = Backend()
        cls.addClassCleanup(cls.backend.close)
        cls.agent = start_agent(cls.backend, cls.proxy)
        cls.addClassCleanup(cls.agent.stop)

    def tearDown(self):
        self.assertTrue(self.agent.process.alive(), f"the agent died:\n{self.agent.process.tail()}")


def start_haproxy(backend):
    return Running("haproxy", backend, HAPROXY, [shutil.which("haproxy", path=search_path()), "-db", "-f"])


def start_nginx(backend):
    return Running("nginx", backend, NGINX, [shutil.which("nginx", path=search_path()), "-c"])


def search_path():
    return os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"


OTHERS = {"haproxy": start_haproxy, "nginx": start_nginx}


def installed(name):
    return shutil.which(name, path=search_path()) is not None
