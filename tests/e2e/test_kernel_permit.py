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

from harness import REPO, Instance, RealProcesses, free_ports, get_json, patience, wait_until
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
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
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
                time.sleep(0.002)
        except OSError:
            pass


def uptime_ms():
    return int(float(Path("/proc/uptime").read_text().split()[0]) * 1000)


def why_not():
    if os.geteuid() != 0:
        return "only root makes a network of its own"
    for program in ("nft", "unshare", "ip"):
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
        subprocess.run([SCRIPT, "renew", str(uptime_ms() + 3000), "7", "3000"], check=True)
        table = ["inet", "outrigger_permit", "permit"]
        subprocess.run(["nft", "flush", "set", *table], check=True)
        subprocess.run(["nft", "add", "element", *table, "{ 9 timeout 60s }"], check=True)
        socket.create_connection(("127.0.0.1", broker.port), timeout=2).close()

        def refused():
            try:
                socket.create_connection(("127.0.0.1", broker.port), timeout=2).close()
            except ConnectionRefusedError:
                return True
            return False
        wait_until(refused, 3 + 1 + 1, "the end by wall time, to the second")

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
lease = "1500ms"
margin = "500ms"
[service.health]
every = "100ms"
timeout = "90ms"
[kernel_permit]
exec = ["{SCRIPT}"]
timeout = "400ms"
""")
        wait_until(lambda: broker.last, 20 * patience(), "lines at the broker")
        wait_until(lambda: get_json(api, "/outrigger/v1/egress")["levels"][3]["on"], 10, "the level to be shown")
        time.sleep(2.0)  # longer than one lease: it is renewed
        old = max(broker.last)
        self.assertLess(time.monotonic() - broker.last[old], 0.5, "lines go on while the lease is renewed")
        stopped = time.monotonic()
        agent.send(signal.SIGSTOP)
        sender.send(signal.SIGSTOP)
        time.sleep(3.5)  # what is measured here is that nothing comes
        self.assertLess(broker.last[old] - stopped, 1.5 + 0.3, "the kernel shuts the door when the lease is over")
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
        done, told = self.renew(1000, 1.2)
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
[kernel_permit]
exec = ["{program}"]
timeout = "3s"
""")
        wait_until(lambda: told.exists() and told.read_text().splitlines()[-1] == "renew", 20 * patience(), "a first renewal")
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
                              check=False, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
