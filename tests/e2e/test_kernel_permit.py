"""The kernel's permit (deploy/kernel-permit): a service that goes past its agent straight to the broker is stopped by the kernel
when its agent hangs, and nothing that its old connection still holds arrives when both wake up. In a network of its own; root only.
The rest runs for everybody: what the script does when the machine stands still, and that the lease is released behind the revocation."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

from harness import REPO, STEADY_CHECK, Instance, RealProcesses, free_ports, get_json, patience, wait_until, whole_lines
from cluster import Process

SCRIPT = REPO / "deploy" / "kernel-permit"
INSIDE = "OUTRIGGER_TEST_IN_NETWORK"

# Sends numbered lines over one connection as fast as they are taken; a new connection when the old one breaks.
SENDER = """
import http.server, socket, sys, threading, time
port, broker, log = int(sys.argv[1]), int(sys.argv[2]), open(sys.argv[3], "a", buffering=1)
class Health(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
threading.Thread(target=http.server.ThreadingHTTPServer(("127.0.0.1", port), Health).serve_forever, daemon=True).start()
number = 0
while True:
    try:
        line = socket.socket()
        line.setsockopt(socket.SOL_SOCKET, 32, 1 << 20)  # SO_SNDBUFFORCE: whatever the machine allows others
        line.connect(("127.0.0.1", broker))
        number += 1
        log.write(f"{number} open\\n")
        while True:
            line.sendall(f"{number} {'x' * 500}\\n".encode())
    except OSError as error:
        log.write(f"{number} {type(error).__name__}\\n")
        time.sleep(0.02)
"""


class SlowBroker:
    """Reads a little at a time, so that much waits in the sockets; remembers when which connection's last line came."""

    def __init__(self):
        self.last, self.stopping = {}, False
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen()
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.socket.accept()
            threading.Thread(target=self.read, args=(connection,), daemon=True).start()

    def read(self, connection):
        rest = b""
        try:
            while data := connection.recv(2048):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self.last[int(line.split()[0])] = time.monotonic()
                time.sleep(0.02)  # what the sender's kernel holds (2 MiB) lasts for twenty seconds and more
        except OSError:
            pass


# Reads lines from one connection after the other; each goes to its standard output.
BROKER = """
import socket, sys, threading
server = socket.create_server(("", int(sys.argv[1])))
print("listening", flush=True)
def read(connection):
    for line in connection.makefile():
        print(line.strip(), flush=True)
while True:
    threading.Thread(target=read, args=(server.accept()[0],), daemon=True).start()
"""

# A program in a container: opens one connection and says a line whenever it is told one; tells how each of the two went.
CONTAINED = """
import socket, sys
line = None
for word in sys.stdin:
    try:
        if word.strip() == "open":
            line = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=30)
        else:
            line.sendall(word.encode())
        print("ok", flush=True)
    except OSError as error:
        print(type(error).__name__, flush=True)
"""


class OtherNetwork:
    """A network namespace behind a veth of this one, as a bridged container is. Ends with close()."""

    def __init__(self, number):
        self.here, self.address = f"10.99.{number}.1", f"10.99.{number}.2"
        self.holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.holder.stdout.readline()  # the namespace is there
        self.programs = []
        outer = f"veth{number}"
        for command in (f"ip link add {outer} type veth peer name inner netns {self.holder.pid}", f"ip addr add {self.here}/24 dev {outer}",
                        f"ip link set {outer} up"):
            subprocess.run(command.split(), check=True)
        for command in (f"ip addr add {self.address}/24 dev inner", "ip link set inner up", f"ip route add default via {self.here}"):
            subprocess.run([*self.enter(), *command.split()], check=True)

    def enter(self):
        return ["nsenter", "-t", str(self.holder.pid), "-n"]

    def start(self, code, *arguments):
        program = subprocess.Popen([*self.enter(), sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.programs.append(program)
        return program

    def close(self):
        for program in [*self.programs, self.holder]:
            program.kill()
            program.wait()
            program.stdin.close()
            program.stdout.close()


def uptime_ms():
    return int(float(Path("/proc/uptime").read_text().split()[0]) * 1000)


def capabilities(*texts):
    """What systemd (246 and newer) gives a process of a unit with these files: settings add up, and ambient is only what is in the bounding set."""
    sets = {"CapabilityBoundingSet": set(), "AmbientCapabilities": set()}
    for line in "\n".join(texts).splitlines():
        name, _, words = line.partition("=")
        if name in sets:
            sets[name] |= {word.removeprefix("CAP_").lower() for word in words.split()}
    return sets["CapabilityBoundingSet"], sets["AmbientCapabilities"] & sets["CapabilityBoundingSet"]


def why_not():
    if os.geteuid() != 0:
        return "only root makes a network of its own"
    for program in ("nft", "unshare", "nsenter", "setpriv", "ip"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    probe = subprocess.run(["unshare", "-n", "nft", "add", "table", "inet", "probe"], capture_output=True, text=True, check=False)
    return None if probe.returncode == 0 else f"no nftables here: {probe.stderr.strip()[:120]}"


@unittest.skipUnless(os.environ.get(INSIDE), "runs inside of the network that the other test makes")
class Inside(RealProcesses):
    def number(self):
        try:
            return int(self.log.read_text().splitlines()[-1].split()[0])
        except (OSError, IndexError):
            return 0

    def test_the_rule_ends_although_the_time_out_of_the_element_stands_still(self):
        """As on a machine that sleeps: the kernel's timers do, wall time goes on."""
        broker = SlowBroker()
        subprocess.run([SCRIPT, "setup", f"127.0.0.1:{broker.port}"], check=True)
        subprocess.run([SCRIPT, "renew", str(uptime_ms() + 15000), "7", "15000"], check=True)
        table = ["inet", "outrigger_permit", "permit"]
        subprocess.run(["nft", "flush", "set", *table], check=True)
        subprocess.run(["nft", "add", "element", *table, "{ 9 timeout 1h }"], check=True)
        socket.create_connection(("127.0.0.1", broker.port), timeout=20).close()

        def refused():
            try:
                socket.create_connection(("127.0.0.1", broker.port), timeout=20).close()
            except ConnectionRefusedError:
                return True
            return False
        wait_until(refused, 15 + 1 + 1, "the end by wall time, and not by the hour of the element")

    def test_the_unit_with_the_drop_in_of_the_guide_may_renew_it(self):
        """With the rights that systemd would give, to a user who has no other: the unit's alone do not suffice, and the guide says so."""
        unit = (REPO / "deploy" / "outrigger.service").read_text()
        guide = (REPO / "deploy" / "docs" / "operations.md").read_text()
        section = guide[guide.index("**The kernel's permit**"):]
        drop_in = section[section.index("```ini\n"):].split("```")[1]
        subprocess.run([SCRIPT, "setup", "203.0.113.7:443"], check=True)

        def renew(*texts):
            bounding, ambient = (",".join(["-all", *(f"+{one}" for one in sorted(names))]) for names in capabilities(*texts))
            return subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs", f"--bounding-set={bounding}",
                                   f"--inh-caps={ambient}", f"--ambient-caps={ambient}", SCRIPT, "renew", str(uptime_ms() + 60000), "7", "60000"],
                                  capture_output=True, text=True, check=False)
        self.assertIn("Operation not permitted", renew(unit).stderr)
        done = renew(unit, drop_in)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("elements", subprocess.run([SCRIPT, "status"], capture_output=True, text=True, check=True).stdout)

    def test_what_is_forwarded_is_held_to_it_as_well(self):
        """A container behind a bridge: its packets never pass this machine's output."""
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        container, outside = OtherNetwork(1), OtherNetwork(2)
        self.addCleanup(container.close)
        self.addCleanup(outside.close)
        broker = outside.start(BROKER, 4001)
        self.assertEqual(broker.stdout.readline(), "listening\n")
        trader = container.start(CONTAINED, outside.address, 4001)

        def say(word):
            trader.stdin.write(word + "\n")
            trader.stdin.flush()
            return trader.stdout.readline().strip()
        self.assertEqual(say("open"), "ok", "without the table the way is open")
        subprocess.run([SCRIPT, "setup", f"{outside.address}:4001"], check=True)
        self.assertEqual(say("open"), "ConnectionRefusedError", "the door is shut")
        subprocess.run([SCRIPT, "renew", str(uptime_ms() + 60000), "7", "60000"], check=True)
        self.assertEqual(say("open"), "ok")
        self.assertEqual(say("under the seventh"), "ok")
        self.assertEqual(broker.stdout.readline(), "under the seventh\n")
        subprocess.run([SCRIPT, "renew", str(uptime_ms() + 60000), "8", "60000"], check=True)
        wait_until(lambda: say("of the old epoch") in ("ConnectionResetError", "BrokenPipeError"), 10 * patience(), "the old connection to be reset")
        self.assertEqual(say("open"), "ok")
        subprocess.run([SCRIPT, "renew", str(uptime_ms() + 5000), "8", "5000"], check=True)
        wait_until(lambda: say("while it lasts") in ("ConnectionResetError", "BrokenPipeError"), 10 * patience(), "a reset at the end of the lease")
        self.assertEqual(say("open"), "ConnectionRefusedError", "the door is shut again")
        subprocess.run([SCRIPT, "renew", str(uptime_ms() + 60000), "9", "60000"], check=True)
        self.assertEqual([say("open"), say("under the ninth")], ["ok", "ok"])
        heard = list(iter(broker.stdout.readline, "under the ninth\n"))
        self.assertLessEqual(set(heard), {"while it lasts\n"}, "nothing of an older epoch has come")

    def test_a_pair_that_hangs_is_cut_off(self):
        broker = SlowBroker()
        subprocess.run([SCRIPT, "setup", f"127.0.0.1:{broker.port}"], check=True)
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", broker.port), timeout=2)
        service, self.log = free_ports(1)[0], self.folder / "sender.txt"
        sender = Process("sender", [sys.executable, "-c", SENDER, service, broker.port, self.log], self.folder / "sender.out")
        self.loose.append(sender)
        agent, api = self.start_single("n1", f"""
[service]
address = "127.0.0.1:{service}"
lease = "6s"
margin = "2s"
[service.health]
every = "100ms"
timeout = "90ms"
{STEADY_CHECK}
[kernel_permit]
exec = ["{SCRIPT}"]
timeout = "2s"
""")
        wait_until(lambda: broker.last, 20 * patience(), "lines at the broker")
        wait_until(lambda: get_json(api, "/outrigger/v1/egress")["levels"][3]["on"], 10, "the level to be shown")
        old, begun = max(broker.last), time.monotonic()
        wait_until(lambda: broker.last[old] - begun > 7.0, 10, "lines that go on for longer than one lease: it is renewed")
        stopped = time.monotonic()
        agent.send(signal.SIGSTOP)
        sender.send(signal.SIGSTOP)
        time.sleep(12)  # what is measured here is that nothing comes
        self.assertLess(broker.last[old] - stopped, 6 + 3.5, "the kernel shuts the door when the lease is over, give or take a pause of this machine")
        quiet = dict(broker.last)
        sender.send(signal.SIGCONT)
        wait_until(lambda: any(line == f"{old} ConnectionResetError" for line in self.log.read_text().splitlines()), 10, "the old connection to be reset")
        self.assertEqual(broker.last, quiet, "nothing of the old connection, and no new one")
        agent.send(signal.SIGCONT)
        wait_until(lambda: max(broker.last) > old, 20 * patience(), "the role, and with it the way to the broker")
        self.assertEqual(broker.last[old], quiet[old], "what the old connection held never arrives")


@unittest.skipIf(os.environ.get(INSIDE), "this is the outside")
class Script(unittest.TestCase):
    """deploy/kernel-permit beside an nft that writes down what it is told and then takes its time."""

    def renew(self, left_ms, nft_takes):
        with tempfile.TemporaryDirectory() as folder:
            nft = Path(folder) / "nft"
            nft.write_text(f'#!/bin/sh\ncat >> "{folder}/told"\nsleep {nft_takes}\n')
            nft.chmod(0o755)
            done = subprocess.run([SCRIPT, "renew", str(uptime_ms() + left_ms), "7", str(left_ms)], capture_output=True, text=True, check=False,
                                  env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"})
            return done, (Path(folder) / "told").read_text().splitlines()

    def test_a_machine_that_stood_still_before_the_commit_lets_nothing_pass(self):
        done, told = self.renew(4000, 4.2)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("the lease ended before the kernel was told", done.stderr)
        self.assertTrue(any(line.startswith("add element") for line in told), told)
        self.assertEqual(told[-1], "flush set inet outrigger_permit permit")

    def test_a_renewal_in_time_stands_with_an_end_in_wall_time(self):
        before = time.time()
        done, told = self.renew(60000, 0)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([line for line in told if line.startswith("flush set")], ["flush set inet outrigger_permit permit"])
        end = next(int(line.split('"')[1]) for line in told if "meta time" in line)
        self.assertTrue(before + 59 <= end <= time.time() + 61, (before, end))


@unittest.skipIf(os.environ.get(INSIDE), "this is the outside")
class Release(RealProcesses):
    def test_the_lease_is_given_up_behind_the_revocation(self):
        instance = Instance()
        program, told = self.folder / "permit.sh", self.folder / "told"
        program.write_text(f'#!/bin/sh\n[ "$1" = renew ] || sleep 0.5\necho "$1" >> "{told}"\n')
        program.chmod(0o755)
        _, api = self.start_single("n1", f"""
[service]
address = "{instance.address}"
lease = "5s"
margin = "1s"
[service.health]
every = "100ms"
timeout = "90ms"
{STEADY_CHECK}
[kernel_permit]
exec = ["{program}"]
timeout = "3s"
""")
        wait_until(lambda: whole_lines(told)[-1:] == ["renew"], 20 * patience(), "a first renewal")
        code, out, err = self.run_cli("drain", api=api)
        self.assertEqual(code, 0, out + err)  # it answers when the role and the lease are given up
        self.assertEqual(told.read_text().splitlines()[-1], "revoke", "the kernel first, then the lease")


@unittest.skipIf(os.environ.get(INSIDE), "this is the inside")
class KernelPermit(unittest.TestCase):
    def test_in_a_network_of_its_own(self):
        reason = why_not()
        if reason:
            self.skipTest(reason)
        command = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, "-B", "-m", "unittest", "test_kernel_permit.Inside"]
        done = subprocess.run(command, env={**os.environ, INSIDE: "1"}, cwd=os.path.dirname(os.path.abspath(__file__)), capture_output=True, text=True,
                              check=False, timeout=240 * patience())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
