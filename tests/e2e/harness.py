"""What every end-to-end test needs: the agent's binary, a cluster of real processes on free ports, an instance that
remembers what reached it, and waiting on conditions with deadlines."""

import http.client
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "deploy" / "demo"))

import cluster as processes  # noqa: E402  (the demo's own process handling, found through the line above)
from cluster import Cluster, Process, free_ports, now  # noqa: E402,F401

# A machine that stands still for some seconds (a busy processor, a slow disk) is no fault of the product, so nothing here waits for less
# than LEAST_SECONDS, and what agents take for a failure of others lasts longer than such a pause. Who looks at just those times sets them.
LEAST_SECONDS = 30
STEADY_WRITES = {"RAFT_WRITE_TIMEOUT": "6s"}
STEADY_RAFT = {"RAFT_HEARTBEAT": "150ms", "RAFT_ELECTION_MIN": "1s", "RAFT_ELECTION_MAX": "1500ms", **STEADY_WRITES}
STEADY = {**STEADY_RAFT, "SERVICE_LEASE": "3s", "SERVICE_MARGIN": "1s", "SERVICE_HEALTH_FALL": "20"}
STEADY_CHECK = "fall = 50"  # whoever is gone or answers 503 is noticed all the same


def binary():
    """OUTRIGGER_BIN, or the newest build there is."""
    named = os.environ.get("OUTRIGGER_BIN")
    if named:
        return Path(named)
    built = [p for p in REPO.glob("build/*/agent/outrigger") if p.is_file()]
    return max(built, key=lambda p: p.stat().st_mtime) if built else REPO / "build/dev/agent/outrigger"


def sanitized():
    """A sanitizer is at work: it adds to memory and keeps what is freed for a while, so that sizes are no verdict."""
    return any(word in str(binary()) for word in ("asan", "tsan"))


def patience():
    """Sanitizers slow everything down; waiting longer costs nothing when things work."""
    return 3.0 if sanitized() else 1.5


def wait_until(check, seconds, what, pause=0.02):
    """As the demo's, but for LEAST_SECONDS or more: how soon something happens is measured elsewhere, here it has to happen."""
    return processes.wait_until(check, max(seconds, LEAST_SECONDS * patience()), what, pause)


def request(address, method, path, body=None, headers=None, timeout=10.0):
    """As the demo's, with more patience."""
    return processes.request(address, method, path, body, headers, timeout * patience())


def get_json(address, path, timeout=10.0):
    """The JSON of a 200, else None."""
    return processes.get_json(address, path, timeout * patience())


def as_environment(settings):
    return {f"OUTRIGGER_{name}": value for name, value in settings.items()}


def whole_lines(path):
    """The lines of a file that somebody may be writing; a last one without its end is not there yet. None of a file that is not there."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    except FileNotFoundError:
        return []


def bytes_waiting(port):
    """How many bytes wait in the kernel, over all connections, for the one who listens on this port of 127.0.0.1."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    return sum(int(row[4].split(":")[1], 16) for row in rows if row[1].endswith(f":{int(port):04X}") and row[3] == "01")


class RealProcesses(unittest.TestCase):
    """Base of all tests that run the agent. Ends every process and shows their last words when a test fails."""

    def setUp(self):
        if not binary().exists():
            self.fail(f"{binary()} is not built: run tests/run, or set OUTRIGGER_BIN")
        self.folder = Path(tempfile.mkdtemp(prefix="outrigger-e2e-"))
        self.clusters, self.loose = [], []
        self.addCleanup(self.clean_up)

    def clean_up(self):
        result = self._outcome.result
        failed = any(getattr(test, "test_case", test) is self for test, _ in result.failures + result.errors)
        everything = [p for c in self.clusters for p in c.processes()] + self.loose
        for one in self.clusters:
            one.end()
        for process in self.loose:
            process.send(processes.signal.SIGCONT)
            process.stop(5)
        if failed:
            for process in everything:
                print(f"--- {process.name}, exit {process.child.poll()}\n{process.tail(25)}", file=sys.stderr)
            keep = os.environ.get("OUTRIGGER_E2E_KEEP")
            if keep:
                print(f"kept: {self.folder}", file=sys.stderr)
                return
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- starting ---------------------------------------------------------------------------------------------------
    def make_cluster(self, count=3, **options):
        made = Cluster(binary(), self.folder / f"cluster{len(self.clusters)}", count, **options)
        self.clusters.append(made)
        made.extra_environment.update(STEADY)
        made.answer_seconds = 5 * patience()
        made.make_secrets()
        made.write_config()
        return made

    def start_cluster(self, count=3):
        """@return a cluster in which every agent is ready and all name the same primary."""
        made = self.make_cluster(count)
        made.start()
        self.wait_ready(made)
        return made

    def wait_ready(self, made, seconds=20):
        for node in made.nodes:
            wait_until(node.ready, seconds * patience(), f"{node.name} ready")
        return made.wait_agreed(seconds * patience())

    def start_agent(self, name, *arguments, config=None, environment=None, wrap=()):
        """One agent outside of a cluster, with its output in a file."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        command = [*wrap, binary(), "agent", *arguments]
        if config is not None:
            environment = {**as_environment(STEADY_WRITES), **(environment or {})}
            (folder / "outrigger.toml").write_text(config)
            command += ["--config", folder / "outrigger.toml"]
        process = Process(name, command, folder / "agent.log", environment)
        self.loose.append(process)
        return process

    def single_config(self, name="n1", extra="", **ports):
        """Settings of an agent that is a cluster of its own, on free ports."""
        api, gossip, mesh, dns = free_ports(4)
        ports = {"api": api, "gossip": gossip, "mesh": mesh, "dns": dns, **ports}
        return ports, f"""[node]
name = "{name}"
data_dir = "{self.folder}/{name}-data"
[api]
listen = "127.0.0.1:{ports['api']}"
[dns]
listen = "127.0.0.1:{ports['dns']}"
[mesh]
gossip_port = {ports['gossip']}
port = {ports['mesh']}
{extra}"""

    def start_single(self, name="n1", extra=""):
        """@return (process, API address) of a lone agent that is ready."""
        ports, config = self.single_config(name, extra)
        process = self.start_agent(name, config=config)
        api = f"127.0.0.1:{ports['api']}"
        self.wait_status(api, "/outrigger/v1/health/ready", 200)
        return process, api

    def start_behind(self, extra, instance=None, listener="", every="100ms", first="/warm"):
        """A lone agent in front of an instance: sets self.instance, .proxy (its entry), .process and .api; `first` has been answered with 200.
        @param listener  more keys of the entry; `every`: of the health check"""
        self.instance = instance or self.make_instance()
        self.proxy = f"127.0.0.1:{free_ports(1)[0]}"
        self.process, self.api = self.start_single(extra=f"""[service]
address = "{self.instance.address}"
[service.health]
every = "{every}"
timeout = "{every}"
{STEADY_CHECK}
[[listen]]
address = "{self.proxy}"
{listener}
{extra}""")
        self.wait_status(self.proxy, first, 200)

    def start_agents(self, settings):
        """Agents that form one cluster: the first one by itself, the others with it as their seed.
        @param settings  {name: text}. @return the API addresses of all, ready"""
        apis, seed = [], ""
        for name, text in settings.items():
            ports, config = self.single_config(name, seed + text)
            self.start_agent(name, config=config, environment=as_environment(STEADY_RAFT))
            apis.append(f"127.0.0.1:{ports['api']}")
            self.wait_status(apis[-1], "/outrigger/v1/health/ready", 200)
            seed = seed or f'seeds = ["127.0.0.1:{ports["gossip"]}"]\n'
        return apis

    def make_instance(self):
        instance = Instance()
        self.addCleanup(instance.close)
        return instance

    # --- watching ---------------------------------------------------------------------------------------------------
    def wait_status(self, address, path, wanted, seconds=15):
        def check():
            try:
                return request(address, "GET", path)[0] == wanted
            except (OSError, processes.http.client.HTTPException):
                return False
        wait_until(check, seconds * patience(), f"{address}{path} answering {wanted}")

    def wait_exit(self, process, seconds=15):
        """@return (exit code, everything it said)."""
        try:
            code = process.child.wait(max(seconds, LEAST_SECONDS) * patience())
        except subprocess.TimeoutExpired:
            self.fail(f"{process.name} still runs:\n{process.tail()}")
        return code, process.log.read_text(errors="replace")

    def assert_refused(self, settings, *words):
        """`outrigger validate` must refuse this text and say each of the words. @return what it said."""
        path = self.folder / "bad.toml"
        path.write_text(settings)
        code, out, err = self.run_cli("validate", path)
        self.assertEqual(code, 1, out + err)
        self.assert_says(out + err, *words)
        return out + err

    def run_cli(self, *arguments, api=None, stdin=None, environment=None):
        """@return (exit code, stdout, stderr) of one command line."""
        surroundings = {k: v for k, v in os.environ.items() if not k.startswith(("OUTRIGGER_", "CONSUL_"))}
        surroundings.update(environment or {})
        if api:
            surroundings["OUTRIGGER_API"] = api
        done = subprocess.run([str(binary()), *map(str, arguments)], input=stdin, stdout=subprocess.PIPE, check=False,
                              stderr=subprocess.PIPE, text=True, env=surroundings, timeout=30 * patience())
        return done.returncode, done.stdout, done.stderr

    def assert_says(self, text, *words):
        for word in words:
            self.assertIn(word, text)

    def assert_no_crash(self, process):
        self.assertTrue(process.alive(), f"{process.name} died:\n{process.tail()}")


class Instance:
    """A trading service in this process that remembers every request that reached it."""

    def __init__(self, port=0):
        self.seen, self.lock = [], threading.Lock()
        self.health = {"status": "healthy", "database_connected": True}
        self.texts = {}  # path -> what a GET of it is answered with
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body are two writes: else each answer takes 40 ms

            def log_message(self, *_arguments):
                pass

            def handle_any(self):
                body = self.read_body()
                if self.path == "/health":
                    return self.reply(200, outer.health)
                if self.path in outer.texts:
                    return self.reply_bytes(200, "text/plain; version=0.0.4", outer.texts[self.path].encode())
                note = {"method": self.command, "path": self.path, "body": len(body),
                        "headers": {k.lower(): v for k, v in self.headers.items()}}
                with outer.lock:
                    outer.seen.append(note)
                return self.reply(200, note)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_any

            def read_body(self):
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def reply(self, status, value):
                self.reply_bytes(status, "application/json", json.dumps(value).encode())

            def reply_bytes(self, status, kind, data):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_arguments):
                pass

        self.server = Server(("127.0.0.1", port), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def requests(self):
        with self.lock:
            return list(self.seen)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Neighbours(RealProcesses):
    """Agents that form one cluster, with an instance and an entry each; before a test, all are healthy in the eyes of all."""

    NAMES = "ab"     # one letter each
    LISTENER = ""    # more keys of each entry
    SETTINGS = ""    # of each agent

    def setUp(self):
        super().setUp()
        self.instances = [self.make_instance() for _ in self.NAMES]
        self.proxies = [f"127.0.0.1:{port}" for port in free_ports(len(self.NAMES))]
        self.apis = self.start_agents({name: f"""[service]
address = "{instance.address}"
[service.health]
every = "500ms"
timeout = "400ms"
{STEADY_CHECK}
[[listen]]
address = "{proxy}"
{self.LISTENER}
{self.settings_of(name)}""" for name, instance, proxy in zip(self.NAMES, self.instances, self.proxies)})
        for api in self.apis:
            wait_until(lambda api=api: sum(e["health"] == "passing" for e in self.endpoints(api).values()) == len(self.NAMES), 15 * patience(),
                       "healthy endpoints everywhere")

    def settings_of(self, _name):
        return self.SETTINGS

    @staticmethod
    def endpoints(api):
        """All that this agent knows, by name."""
        pools = (get_json(api, "/outrigger/v1/upstreams") or {}).get("upstreams", [])
        return {e["name"]: e for pool in pools for e in pool["endpoints"]}

    def ask(self, entry, path, headers=None):
        """One GET on a connection of its own, at the agent of that name. @return (status, its JSON or {}, whether the connection ends)"""
        status, fields, body = request(self.proxies[self.NAMES.index(entry)], "GET", path, headers=headers)
        return status, json.loads(body) if body[:1] == b"{" else {}, fields.get("connection", "").lower() == "close"


def metric(api, start):
    """The first figure whose line begins so: a name, or a name with labels. None without one."""
    for line in request(api, "GET", "/metrics")[2].decode().splitlines():
        if line.startswith(start):
            return float(line.rsplit(" ", 1)[1])
    return None


def answer_of(address, method, path, headers=None, body=None, seconds=10):
    """One request on a connection of its own. @return http.client's answer, its body read"""
    connection = http.client.HTTPConnection(address, timeout=seconds * patience())
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()


def raw_exchange(address, data, seconds=10.0):
    """Sends bytes as they are and reads until the other side closes. @return (bytes, True when it closed in time)."""
    host, port = address.rsplit(":", 1)
    received = b""
    with socket.create_connection((host, int(port)), timeout=seconds * patience()) as connection:
        try:
            connection.sendall(data)
        except OSError:
            pass  # it may have answered and closed before it had everything
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionResetError:
            return received, True
        except TimeoutError:
            return received, False
    return received, True
