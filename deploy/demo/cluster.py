"""Starts, watches and ends the processes of a small cluster on loopback: exchange, traders, agents.

Every process is ended by its own id. Children die with this process, unless they are told to outlive it.
"""

import fcntl
import http.client
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Runs a command as itself (same process id), to be killed when its parent dies.
WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
START_SECONDS_MAX = 30  # of a trader, or of the exchange


class TooLate(Exception):
    """Something that was waited for did not happen in time."""


def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wait_until(check, seconds, what, pause=0.02):
    """Polls `check` until it is true. @return what it answered; TooLate names `what` (a text, or what makes one) after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TooLate(f"{what() if callable(what) else what}: not within {seconds:g} s")
        time.sleep(pause)


PORTS = range(16384, 32768)  # below those that the kernel gives to whoever asks for any port
PORT_BLOCK = 1024
_own_ports = []  # [iterator over a block that no other process has, the lock that says so]


def _own_block():
    """Demo and tests of one user may run beside each other: each process has a block of ports of its own while it lives."""
    blocks = [PORTS[begin:begin + PORT_BLOCK] for begin in range(0, len(PORTS), PORT_BLOCK)]
    random.shuffle(blocks)
    for block in blocks:
        lock = open(Path(tempfile.gettempdir()) / f"outrigger-ports-{os.getuid()}-{block.start}.lock", "w", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        return [itertools.cycle(block), lock]
    raise RuntimeError("every block of ports is taken: too many demos and tests run at once")


def free_ports(count):
    """Ports of 127.0.0.1 that are free for TCP and UDP right now, none of them given out twice soon. A program that starts later
    finds them free still: nobody gets one of these without asking for it."""
    if not _own_ports:
        _own_ports.extend(_own_block())
    ports = []
    while len(ports) < count:
        port = next(_own_ports[0])
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
    return ports


def request(address, method, path, body=None, headers=None, timeout=2.0):
    """One request on a connection of its own. @return (status, headers with lower-case names, body bytes)."""
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
    finally:
        connection.close()


def get_json(address, path, timeout=2.0):
    """The JSON of a 200, else None."""
    try:
        status, _, body = request(address, "GET", path, timeout=timeout)
        return json.loads(body) if status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None


class Process:
    """One child with a log file. `stop` asks, `kill` does not."""

    def __init__(self, name, command, log, environment=None, outlives=False):
        self.name, self.log = name, Path(log)
        # Settings of the agent that this shell may carry are not ours; an unknown one would even be refused.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OUTRIGGER_")}
        whole = [str(part) for part in ([] if outlives else [*WITH_PARENT]) + list(command)]
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(whole, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                          env={**inherited, **(environment or {})}, start_new_session=True)

    @property
    def pid(self):
        return self.child.pid

    def alive(self):
        return self.child.poll() is None

    def send(self, number):
        if self.alive():
            os.kill(self.pid, number)

    def kill(self):
        self.send(signal.SIGKILL)
        self.child.wait()

    def stop(self, seconds=10.0):
        """@return the exit code, or None when it had to be killed."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def tail(self, lines=15):
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


class Node:
    """One agent and the trader beside it; their ports stay the same over restarts."""

    def __init__(self, cluster, name, ports):
        self.cluster, self.name = cluster, name
        self.folder = cluster.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.api, self.entry, self.service = (f"127.0.0.1:{p}" for p in ports[:3])
        self.gossip_port, self.mesh_port = ports[3:5]
        self.dns, self.egress = (f"127.0.0.1:{p}" for p in ports[5:7])
        self.agent = self.trader = None
        self.role_file = self.folder / "role"
        self.receive_log = self.folder / "received.jsonl"

    def start_trader(self):
        self.trader = Process(f"{self.name} trader", [
            sys.executable, "-B", HERE / "trader.py", "--port", self.service.rsplit(":", 1)[1], "--exchange",
            self.cluster.exchange_address, "--node", self.name, "--log", self.receive_log, "--role-file", self.role_file,
            *(["--orders", f"{self.egress}/egress/exchange"] if self.cluster.has_egress else []), *self.cluster.trader_options],
            self.folder / "trader.log", outlives=self.cluster.outlives)

    def start_agent(self):
        self.agent = Process(f"{self.name} agent", [self.cluster.binary, "agent", "--config", self.config_file()],
                             self.folder / "agent.log", self.environment(), outlives=self.cluster.outlives)

    def config_file(self):
        """The one file of the cluster, with this node's listeners beside it: a list of tables has no environment name."""
        (self.folder / "conf.d").mkdir(exist_ok=True)
        text = f'[[listen]]\naddress = "{self.entry}"\n'
        if self.cluster.has_egress:
            text += f'[[egress]]\nname = "exchange"\nurl = "http://{self.cluster.exchange_address}"\nlisten = "{self.egress}"\n'
            text += (f'[arming]\nreconcile = {{ url = "http://{self.service}/ha/reconcile" }}\ntimeout = "3s"\nretry = "200ms"\n'
                     'quiet = "500ms"\nevery = "1s"\n') if not self.cluster.arming else ""
        text += self.cluster.arming
        (self.folder / "conf.d" / "listen.toml").write_text(text)
        same = self.folder / "outrigger.toml"
        if not same.exists():
            os.link(self.cluster.config, same)
        return same

    def environment(self):
        secrets = self.cluster.secrets
        values = {"NODE_NAME": self.name, "NODE_DATA_DIR": self.folder / "data", "API_LISTEN": self.api,
                  "DNS_LISTEN": self.dns,
                  "MESH_GOSSIP_PORT": self.gossip_port, "MESH_PORT": self.mesh_port,
                  "MESH_CERT": secrets / self.name / "cert.pem", "MESH_KEY": secrets / self.name / "key.pem",
                  "SERVICE_ADDRESS": self.service, "SERVICE_ROLE_FILE": self.role_file}
        values.update(self.cluster.extra_environment)
        return {f"OUTRIGGER_{name}": str(value) for name, value in values.items()}

    def role(self):
        return get_json(self.api, "/outrigger/v1/role", self.cluster.answer_seconds)

    def ready(self):
        try:
            return request(self.api, "GET", "/outrigger/v1/health/ready", timeout=self.cluster.answer_seconds)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def leads(self):
        """It is the leader of the log, as it sees that itself."""
        told = get_json(self.api, "/v1/agent/self")
        return told is not None and told["Stats"]["consul"]["leader"] == "true"

    def cut_off(self, peers):
        """From now on nothing passes between this agent and these peers; nobody: healed. Needs [demo] faults, and to be said at both
        sides for a link that is down: where only one side is told, streams of gossip that the other side opens still pass."""
        status, _, body = request(self.api, "POST", "/outrigger/v1/faults/partition", json.dumps({"peers": [peer.name for peer in peers]}))
        if status != 200:
            raise RuntimeError(f"{self.name} refuses the partition: {body.decode()}")

    def metric(self, name):
        """Sum of a metric over its labels; None when the agent does not answer or does not have it."""
        try:
            status, _, body = request(self.api, "GET", "/metrics", timeout=self.cluster.answer_seconds)
        except (OSError, http.client.HTTPException):
            return None
        rows = [line.split() for line in body.decode().splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(row[-1]) for row in rows) if status == 200 and rows else None


class Cluster:
    """`count` nodes and the exchange, in `folder`."""

    def __init__(self, binary, folder, count=3, outlives=False, seed=1):
        self.binary, self.folder, self.outlives, self.seed = Path(binary), Path(folder), outlives, seed
        self.folder.mkdir(parents=True, exist_ok=True)
        self.secrets, self.config = self.folder / "secrets", self.folder / "cluster.toml"
        self.extra_environment = {}
        self.answer_seconds = 0.5  # of an agent that is asked for its role, its metrics, whether it is ready
        self.hold, self.order_options = "5s", ""  # more lines for the route of orders
        self.trader_options, self.exchange_options = [], []
        self.has_egress = False  # traders reach the exchange through their agents, and say what became of unknown orders
        self.arming = ""  # settings that take the place of the traders' own word about unknown orders
        self.exchange = None
        self.exchange_address = f"127.0.0.1:{free_ports(1)[0]}"
        ports = free_ports(7 * count)
        self.nodes = [Node(self, f"n{i + 1}", ports[7 * i:7 * i + 7]) for i in range(count)]

    # --- settings ---------------------------------------------------------------------------------------------------
    def make_secrets(self):
        """CA, node certificates and gossip key by the agent's own `init`."""
        names = ",".join(node.name for node in self.nodes)
        done = subprocess.run([str(self.binary), "init", "--dir", str(self.secrets), "--names", names, "--ip", "127.0.0.1"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"outrigger init failed:\n{done.stdout}")

    def write_config(self, extra=""):
        seeds = ", ".join(f'"127.0.0.1:{node.gossip_port}"' for node in self.nodes)
        self.config.write_text(f"""# One file for all agents; names, ports and paths of one node come from its environment.
[mesh]
bind = "127.0.0.1"
seeds = [{seeds}]
ca = "{self.secrets}/ca.pem"
gossip_key_file = "{self.secrets}/gossip.key"

[raft]
bootstrap_expect = {len(self.nodes)}

[service]
name = "trader"
lease = "1500ms"
margin = "500ms"

[service.health]
path = "/health"
every = "200ms"
timeout = "150ms"
fall = 2
rise = 2
assert = ["$.status=='healthy'", "$.database_connected==true"]

[proxy]
threads = 1

[[route]]
methods = ["POST"]
path = "/orders"
pool = "primary"
hold = "{self.hold}"
{self.order_options}
[[route]]
path = "/"
pool = "all"
{extra}""")

    # --- life -------------------------------------------------------------------------------------------------------
    def start_exchange(self):
        port = self.exchange_address.rsplit(":", 1)[1]
        self.exchange = Process("exchange", [sys.executable, "-B", HERE / "paper_exchange.py", "--port", port, "--seed",
                                             str(self.seed), *self.exchange_options], self.folder / "exchange.log", outlives=self.outlives)
        wait_until(lambda: get_json(self.exchange_address, "/health"), START_SECONDS_MAX, "the paper exchange")

    def make_process(self, name, command):
        """Something else that stands beside the traders, in the folder of the cluster."""
        return Process(name, command, self.folder / f"{name}.log", outlives=self.outlives)

    def start_traders(self):
        self.start_exchange()
        for node in self.nodes:
            node.start_trader()
        for node in self.nodes:
            wait_until(lambda n=node: get_json(n.service, "/health"), START_SECONDS_MAX, f"the trader of {node.name}")

    def start(self):
        self.start_traders()
        for node in self.nodes:
            node.start_agent()

    def partition(self, alone):
        """1|2: `alone` hears nobody and is heard by nobody."""
        for node in self.nodes:
            node.cut_off([peer for peer in self.nodes if (peer is alone) != (node is alone)])

    def heal(self):
        """Of all cuts; the dead have none when they come back."""
        for node in self.nodes:
            if node.agent.alive():
                node.cut_off([])

    def processes(self):
        mine = [p for node in self.nodes for p in (node.agent, node.trader)] + [self.exchange]
        return [p for p in mine if p is not None]

    def end(self):
        """Ends everything that this object started, paused or not."""
        for process in self.processes():
            process.send(signal.SIGCONT)
            process.send(signal.SIGTERM)
        end = time.monotonic() + 5
        while any(p.alive() for p in self.processes()) and time.monotonic() < end:
            time.sleep(0.02)
        for process in self.processes():
            if process.alive():
                process.kill()

    # --- what it thinks ---------------------------------------------------------------------------------------------
    def node(self, name):
        return next(node for node in self.nodes if node.name == name)

    def agreed_role(self, nodes=None):
        """(holder, epoch) when all given agents name the same valid primary, else None."""
        seen = set()
        for node in nodes or self.nodes:
            role = node.role()
            if not role or not role.get("holder"):
                return None
            seen.add((role["holder"], role["epoch"]))
        return seen.pop() if len(seen) == 1 else None

    def wait_agreed(self, seconds, nodes=None, after_epoch=0):
        def check():
            role = self.agreed_role(nodes)
            return role if role and role[1] > after_epoch else None
        return wait_until(check, seconds, f"agreement on a primary after epoch {after_epoch}", pause=0.05)

    def complaints(self):
        """What dead agents said last, for the one who reads a failed run."""
        return "\n".join(f"--- {p.name} (exit {p.child.poll()})\n{p.tail()}" for p in self.processes() if not p.alive())
