"""deploy/examples: clients that repeat orders safely, the guard beside a resource, lock run, and the library for LD_PRELOAD."""

import fcntl
import http.server
import importlib.util
import json
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

from harness import REPO, Instance, Process, RealProcesses, binary, free_ports, get_json, patience, request, wait_until

EXAMPLES = REPO / "deploy" / "examples"
LEASE_MS = 4000
LONG_LEASE_MS = 16000  # where somebody is asked to end, and has a quarter of it to do so before he is killed


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class FakeAgent:
    """Answers as it is told, one answer per request, and remembers keys and times."""

    def __init__(self, *answers):
        self.seen, outer = [], self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_arguments):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.seen.append((self.headers["Idempotency-Key"], body, time.monotonic()))
                status, headers, text = answers[min(len(outer.seen), len(answers)) - 1]
                if status == 0:
                    return  # no answer at all
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


NOT_SENT, UNKNOWN = {"X-Outrigger-Outcome": "not-sent"}, {"X-Outrigger-Outcome": "unknown"}


class OrderClients(unittest.TestCase):
    command = [sys.executable, "-B", EXAMPLES / "place_order.py"]

    def place(self, agents, seconds=60):
        done = subprocess.run([*self.command, ",".join(agents), "key-1", '{"quantity": 1}', str(seconds)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
        return done.returncode, done.stdout, done.stderr

    def fake(self, *answers):
        agent = FakeAgent(*answers)
        self.addCleanup(agent.close)
        return agent

    def test_whatever_is_not_final_is_repeated_with_the_same_key(self):
        agent = self.fake((503, {**NOT_SENT, "Retry-After": "1"}, "{}"), (0, {}, ""), (500, UNKNOWN, "{}"), (504, UNKNOWN, "{}"), (502, UNKNOWN, "{}"),
                          (429, NOT_SENT, "{}"), (409, UNKNOWN, '{"code": "order_in_flight"}'), (201, {}, '{"order_id": 7}'))
        code, out, err = self.place([agent.address])
        self.assertEqual((code, out), (0, '201 {"order_id": 7}\n'), err)
        self.assertEqual({(key, json.loads(body)["quantity"]) for key, body, _ in agent.seen}, {("key-1", 1)})
        self.assertEqual(len(agent.seen), 8)
        self.assertGreaterEqual(agent.seen[1][2] - agent.seen[0][2], 0.99, "Retry-After was not honoured")

    def test_a_dead_agent_is_left_for_the_next(self):
        agent = self.fake((201, {}, "{}"))
        code, _, err = self.place([f"127.0.0.1:{free_ports(1)[0]}", agent.address])
        self.assertEqual((code, len(agent.seen)), (0, 1), err)

    def test_answers_of_the_instance_are_final(self):
        for status in (400, 409, 500, 503):
            with self.subTest(status):
                agent = self.fake((status, {}, '{"error": "no"}'))
                code, out, _ = self.place([agent.address])
                self.assertEqual((out, len(agent.seen)), (f'{status} {{"error": "no"}}\n', 1))
                self.assertNotEqual(code, 0)

    def test_exit_codes_say_no_more_than_is_known(self):
        for status, headers, wanted in ((200, {}, 0), (400, {}, 1), (422, {}, 1), (409, {}, 3), (500, {}, 3), (503, {}, 3), (302, {"Location": "/login"}, 3),
                                        (307, {"Location": "/elsewhere"}, 3), (503, {"Retry-After": "Wed, 21 Oct 2037 07:28:00 GMT"}, 3),
                                        (422, NOT_SENT, 1), (403, UNKNOWN, 3)):
            with self.subTest(status=status, headers=headers):
                agent = self.fake((status, headers, '{"from": "here"}'), (200, {}, "a page"))
                code, out, err = self.place([agent.address])
                self.assertEqual((code, out, len(agent.seen)), (wanted, f'{status} {{"from": "here"}}\n', 1), err)

    def test_a_refusal_of_an_agent_says_nothing_about_an_earlier_try(self):
        for first in ((0, {}, ""), (504, UNKNOWN, "{}")):
            with self.subTest(first):
                agent = self.fake(first, (403, NOT_SENT, "{}"))
                code, out, _ = self.place([agent.address])
                self.assertEqual((code, out, len(agent.seen)), (3, "403 {}\n", 2), "the first try may have been placed")

    def test_whatever_stands_in_retry_after_the_answer_is_kept(self):
        past, far = "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2037 07:28:00 GMT"
        for text, asked in (("soon", 2), ("-1", 2), ("nan", 2), ("inf", 2), (past, 2), (far, 1), ("9" * 400, 1)):
            with self.subTest(text):
                agent = self.fake((503, {**NOT_SENT, "Retry-After": text}, '{"code": "shut"}'), (201, {}, "{}"))
                code, out, err = self.place([agent.address], seconds=30)
                self.assertEqual(len(agent.seen), asked, err)
                self.assertEqual((code, out), (0, "201 {}\n") if asked == 2 else (3, '503 {"code": "shut"}\n'), err)

    def test_unknown_to_the_end_is_told_as_such(self):
        agent = self.fake((409, UNKNOWN, '{"code": "order_unknown"}'))
        code, out, _ = self.place([agent.address], seconds=4)
        self.assertEqual(code, 3)
        self.assertIn("order_unknown", out)
        self.assertGreater(len(agent.seen), 1)


@unittest.skipUnless(shutil.which("node"), "Node.js is not installed")
class NodeOrderClients(OrderClients):
    command = ["node", EXAMPLES / "place_order.mjs"]


class OrdersThroughAgents(RealProcesses):
    def test_both_clients_get_the_recorded_answer_from_any_agent(self):
        made = self.make_cluster()
        made.order_options = 'idempotency = { key = "header:Idempotency-Key" }\n'
        made.write_config()
        made.start()
        self.wait_ready(made)
        order = '{"client_order_id": "e-1", "side": "buy", "quantity": 1, "price": 5}'
        answers = set()
        clients = [[sys.executable, "-B", EXAMPLES / "place_order.py"]] + ([["node", EXAMPLES / "place_order.mjs"]] if shutil.which("node") else [])
        for command in clients:
            for node in made.nodes:
                # The body is made anew by each client, so spaces differ between the two and the key does not stand for both.
                key = f"key-{Path(command[-1]).suffix}"
                done = subprocess.run([*command, node.entry, key, order.replace("e-1", key)], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, text=True, timeout=60, check=False)
                self.assertEqual(done.returncode, 0, done.stdout)
                answers.add(done.stdout)
        self.assertEqual(len(answers), len(clients))
        log = request(made.exchange_address, "GET", "/log")[2].decode()
        self.assertEqual(log.count('"id": "key-'), len(clients), log)


class Guard(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name) / "epochs"
        self.module = load("epoch_guard")

    def admit(self, guard, epoch, name="trader"):
        with guard.admitted(name, epoch):
            return epoch

    def test_older_epochs_are_refused_also_after_a_restart(self):
        guard = self.module.EpochGuard(self.file)
        self.assertEqual([self.admit(guard, epoch) for epoch in (3, 3, 7)], [3, 3, 7])
        for again in (guard, self.module.EpochGuard(self.file)):
            with self.assertRaises(self.module.StaleEpoch) as refused:
                self.admit(again, 6)
            self.assertEqual(refused.exception.newest, 7)
            self.assertEqual(self.admit(again, 7), 7)
        self.assertEqual(self.admit(guard, 1, "other"), 1)

    def test_it_is_on_the_disk_before_the_first_write(self):
        with self.module.EpochGuard(self.file).admitted("trader", 9):
            self.assertEqual(json.loads(self.file.read_text()), {"trader": 9})

    def test_a_newer_epoch_waits_for_the_writes_of_the_older(self):
        guard, order = self.module.EpochGuard(self.file), []
        newer = threading.Thread(target=lambda: (self.admit(guard, 2), order.append("newer")))
        with guard.admitted("trader", 1):
            newer.start()
            newer.join(0.2)
            order.append("older")
        newer.join(10)
        self.assertEqual(order, ["older", "newer"])

    def test_old_writers_that_overlap_do_not_keep_a_newer_epoch_out(self):
        """Each comes again before the other has ended, so there is never a moment without an old write."""
        guard, begun, stop = self.module.EpochGuard(self.file), [], threading.Event()
        inside = [threading.Event(), threading.Event()]

        def write_on(number):
            guard_of_its_own = self.module.EpochGuard(self.file)
            try:
                while not stop.is_set():
                    with guard_of_its_own.admitted("trader", 1):
                        begun.append(1)
                        inside[number].set()
                        while not (inside[1 - number].wait(0.02) or stop.is_set()):
                            pass
                        inside[1 - number].clear()
            except self.module.StaleEpoch:
                inside[number].set()
        old = [threading.Thread(target=write_on, args=(number,)) for number in (0, 1)]
        newer = threading.Thread(target=lambda: [begun.append(self.admit(guard, 2)) for _ in range(3)], daemon=True)
        try:
            for one in old:
                one.start()
            wait_until(lambda: len(begun) > 10, 10 * patience(), "two old writers that overlap")
            newer.start()
            newer.join(10 * patience())
            self.assertFalse(newer.is_alive(), f"the new epoch is kept out, {len(begun)} old writes were let in")
        finally:
            stop.set()
            for one in old:
                one.join(10)
        self.assertEqual(begun[-3:], [2, 2, 2], "nothing old was let in after the new epoch")

    def test_nothing_older_is_let_in_while_the_newer_epoch_still_waits(self):
        guard, order = self.module.EpochGuard(self.file), []
        newer = [threading.Thread(target=lambda: order.append(self.admit(guard, 2)), daemon=True) for _ in range(3)]
        with guard.admitted("trader", 1):
            for one in newer:
                one.start()
            wait_until(lambda: json.loads(self.file.read_text()) == {"trader": 2}, 10 * patience(), "the new epoch on the disk")
            with self.assertRaises(self.module.StaleEpoch):
                self.admit(guard, 1)
            self.assertEqual(self.admit(guard, 1, "other"), 1, "another name waits for nobody")
            self.assertEqual(self.admit(guard, 2, "other"), 2)
            order.append(1)
        for one in newer:
            one.join(10 * patience())
        self.assertEqual(order, [1, 2, 2, 2])

    def test_the_new_epoch_begins_once_and_the_rest_do_not_wait_behind_its_writes(self):
        guard = self.module.EpochGuard(self.file)
        taken = threading.Barrier(3, timeout=10 * patience())
        fault = []

        def write():
            try:
                with guard.admitted("trader", 2):
                    taken.wait()  # all of them are inside together
            except threading.BrokenBarrierError as error:
                fault.append(error)
        writers = [threading.Thread(target=write, daemon=True) for _ in range(3)]
        with guard.admitted("trader", 1):
            for one in writers:
                one.start()
            wait_until(lambda: json.loads(self.file.read_text()) == {"trader": 2}, 10 * patience(), "the new epoch on the disk")
        for one in writers:
            one.join(20 * patience())
        self.assertEqual(fault, [])

    def test_nonsense_is_no_epoch_and_a_damaged_file_is_no_guard(self):
        for epoch in (0, -1, True, "7", 1 << 64):
            with self.assertRaises(ValueError):
                self.admit(self.module.EpochGuard(self.file), epoch)
        for text in ("", "[]", '{"trader": "7"}'):
            self.file.write_text(text)
            with self.assertRaises(ValueError):
                self.module.EpochGuard(self.file)

    def test_in_front_of_a_resource(self):
        resource = Instance()
        self.addCleanup(resource.close)
        process = subprocess.Popen([sys.executable, "-B", EXAMPLES / "epoch_guard.py", "--listen", "127.0.0.1:0", "--to", resource.address,
                                    "--state", self.file], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        address = f"127.0.0.1:{json.loads(process.stdout.readline())['listening']}"
        write = lambda epoch: request(address, "POST", "/w", "x", {"X-Outrigger-Epoch": str(epoch)} if epoch else {})[0]  # noqa: E731
        self.assertEqual([write(5), write(4), write(6), write(5), write(None), write("x")], [200, 412, 200, 412, 428, 428])
        self.assertEqual(request(address, "GET", "/r")[0], 200)
        self.assertEqual(sum(one["method"] == "POST" for one in resource.requests()), 2)

    def test_a_client_that_does_not_read_its_answer_keeps_no_newer_epoch_out(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_arguments):
                pass

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                large = b"x" * (32 << 20 if self.path == "/large" else 1)  # more than sockets hold
                self.send_response(200)
                self.send_header("Content-Length", str(len(large)))
                self.end_headers()
                self.wfile.write(large)
        resource = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=resource.serve_forever, daemon=True).start()
        self.addCleanup(resource.server_close)
        self.addCleanup(resource.shutdown)
        guard = self.module.EpochGuard(self.file)
        front = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.module.handler(guard, "trader", "127.0.0.1:%d" % resource.server_address[1]))
        front.daemon_threads, front.handle_error = True, lambda *_arguments: None
        threading.Thread(target=front.serve_forever, daemon=True).start()
        self.addCleanup(front.server_close)
        self.addCleanup(front.shutdown)
        with socket.create_connection(front.server_address) as deaf:
            deaf.sendall(b"POST /large HTTP/1.1\r\nHost: x\r\nX-Outrigger-Epoch: 1\r\nContent-Length: 1\r\n\r\nx")
            self.assertEqual(deaf.recv(8), b"HTTP/1.1")  # the answer begins, and nobody reads on
            address = "127.0.0.1:%d" % front.server_address[1]
            self.assertEqual(request(address, "POST", "/w", "x", {"X-Outrigger-Epoch": "2"}, timeout=10 * patience())[0], 200)


class LockRun(RealProcesses):
    def test_exit_codes_and_the_end_of_a_program_whose_lock_is_lost(self):
        agent, api = self.start_single()
        run = ("lock", "run", "nightly", "--lease-ms", str(LONG_LEASE_MS))
        self.assertEqual(self.run_cli(*run, "--", "sh", "-c", 'echo "$OUTRIGGER_LOCK $OUTRIGGER_EPOCH"; exit 7', api=api)[:2], (7, "nightly 1\n"))
        self.assertEqual(self.run_cli(*run, "--", "sh", "-c", "kill -9 $$", api=api)[0], 128 + 9)
        self.assertEqual(self.run_cli(*run, "--", "/no/such/program", api=api)[0], 1)
        mark = self.folder / "held"
        held = Process("lock run", [binary(), *run, "--", "sh", "-c", f"touch {mark}; trap 'touch {mark}.asked; exit 0' TERM; sleep 60 & wait"],
                       self.folder / "lock.log", {"OUTRIGGER_API": api})
        self.loose.append(held)
        wait_until(mark.exists, 10 * patience(), "the lock")
        code, _, err = self.run_cli(*run, "--try", "--", "true", api=api)
        self.assertEqual((code, "not locked" in err), (1, True), err)
        agent.kill()
        self.assertEqual(self.wait_exit(held)[0], 1)
        self.assertTrue(Path(f"{mark}.asked").exists(), "it was asked before it was killed")


def shim():
    """The library beside the agent under test, else compiled here, else None."""
    built = binary().parent.parent / "deploy/examples/flock_shim/liboutrigger_flock.so"
    newest = max(one.stat().st_mtime for one in (EXAMPLES / "flock_shim").iterdir())
    if built.exists() and built.stat().st_mtime >= newest:
        return built
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    made = Path(tempfile.mkdtemp(prefix="outrigger-shim-")) / "liboutrigger_flock.so"
    unittest.addModuleCleanup(shutil.rmtree, made.parent, True)
    subprocess.run([compiler, "-std=gnu11", "-O2", "-fPIC", "-shared", "-o", made, EXAMPLES / "flock_shim/flock_shim.c", "-ldl", "-pthread"], check=True)
    return made


# The snippet of the guide, with one line that shows the epoch and one that waits.
GUIDE = """import ctypes, fcntl, sys, time
lock = open(sys.argv[1], "w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("Another instance is already running"); sys.exit(1)
print("in", ctypes.CDLL(None).outrigger_flock_epoch(lock.fileno()), flush=True)
if len(sys.argv) > 2: sys.exit(0)
time.sleep(600)
"""


class FlockShim(RealProcesses):
    def setUp(self):
        super().setUp()
        self.library = shim()
        if self.library is None:
            self.skipTest("neither the library nor a C compiler is there")
        self.agent, self.api = self.start_single()
        self.path = self.folder / "trading.lock"
        self.environment = {"LD_PRELOAD": str(self.library), "OUTRIGGER_FLOCK_PATHS": f"/srv/other.lock:{self.path}=trading", "OUTRIGGER_API": self.api,
                            "OUTRIGGER_FLOCK_LEASE_MS": str(LEASE_MS)}

    def hold(self, name):
        """The guide's program in the background, once it is in. @return (process, epoch)"""
        process = Process(name, [sys.executable, "-c", GUIDE, self.path], self.folder / f"{name}.log", self.environment)
        self.loose.append(process)
        wait_until(lambda: "in " in process.tail(), 10 * patience(), f"{name} in")
        return process, int(process.tail().split()[-1])

    def run_python(self, code, *arguments, **environment):
        done = subprocess.run([sys.executable, "-c", code, self.path, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60, check=False, env={**os.environ, **self.environment, **environment})
        return done.returncode, done.stdout, done.stderr

    def enter_within(self, seconds):
        """@return the epoch of the first that got in."""
        def attempt():
            code, out, _ = self.run_python(GUIDE, "leave")
            return int(out.split()[1]) if code == 0 else None
        return wait_until(attempt, seconds * patience(), "somebody else in")

    def test_one_enters_and_the_next_does_when_it_ends(self):
        first, epoch = self.hold("first")
        self.assertEqual(self.run_python(GUIDE, "leave")[:2], (1, "Another instance is already running\n"))
        self.assertEqual(self.run_cli("lock", "run", "trading", "--try", "--", "true", api=self.api)[0], 1, "the same lock for lock run")
        first.send(signal.SIGKILL)
        self.assertGreater(self.enter_within(LEASE_MS / 1000 + 3), epoch)
        code, out, err = self.run_python(GUIDE, "leave")
        self.assertEqual(code, 0, "a program that ends leaves the lock at once: " + out + err)

    def test_a_hung_holder_loses_it_and_ends_when_it_wakes(self):
        first, epoch = self.hold("first")
        first.send(signal.SIGSTOP)
        self.assertGreater(self.enter_within(LEASE_MS / 1000 + 3), epoch)
        first.send(signal.SIGCONT)
        self.assertIn(first.child.wait(30 * patience()), (-signal.SIGTERM, -signal.SIGKILL))

    def test_the_file_removed_under_its_holder_changes_nothing(self):
        self.hold("first")
        self.path.unlink()
        self.assertEqual(self.run_python(GUIDE, "leave")[0], 1)

    def test_without_the_agent_the_holder_is_asked_to_end_before_its_lease_does(self):
        self.environment["OUTRIGGER_FLOCK_LEASE_MS"] = str(LONG_LEASE_MS)
        code = GUIDE.replace("import ctypes,", "import signal, ctypes,").replace(
            "time.sleep(600)", "signal.signal(signal.SIGTERM, lambda *_: (print('asked', flush=True), sys.exit(5)))\ntime.sleep(600)")
        process = Process("polite", [sys.executable, "-c", code, self.path], self.folder / "polite.log", self.environment)
        self.loose.append(process)
        wait_until(lambda: "in " in process.tail(), 10 * patience(), "in")
        self.agent.kill()
        self.assertEqual(process.child.wait(30 * patience()), 5)
        self.assertIn("the lock trading is lost", process.tail())
        self.assertEqual(self.run_python("import fcntl, sys\ntry: fcntl.flock(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
                                         "except OSError as e: print(e.errno)")[1].strip(), "37", "ENOLCK")

    def test_other_ways_to_lock_and_to_leave(self):
        code, out, err = self.run_python("""import ctypes, fcntl, os, sys
path = sys.argv[1]
first, second = open(path, "w"), open(path, "w")
def tries(take):
    try: take(); return "yes"
    except OSError as problem: return os.strerror(problem.errno)
NB = fcntl.LOCK_EX | fcntl.LOCK_NB
print(tries(lambda: fcntl.lockf(first, NB)), tries(lambda: fcntl.lockf(first, NB)), tries(lambda: fcntl.flock(second, NB)), sep=";")
fcntl.lockf(first, fcntl.LOCK_UN)
print(tries(lambda: fcntl.flock(second, NB)), tries(lambda: fcntl.flock(first, NB)), sep=";")
second.close()
print(tries(lambda: os.lockf(first.fileno(), os.F_TLOCK, 0)), sep=";")
print(tries(lambda: fcntl.flock(first, fcntl.LOCK_SH)), tries(lambda: fcntl.lockf(first, NB, 1, 10)), sep=";")
pid = os.fork()
if pid == 0:
    os._exit(3 if ctypes.CDLL(None).outrigger_flock_epoch(first.fileno()) == 0 else 4)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), ctypes.CDLL(None).outrigger_flock_epoch(first.fileno()) > 0)
""")
        self.assertEqual(code, 0, err)
        busy, none = os.strerror(11), "No locks available"
        self.assertEqual(out.splitlines(), [f"yes;yes;{busy}", f"yes;{busy}", "yes", f"{none};{none}", "3 True"], err)
        self.assertIn("shared locks are not offered", err)

    def test_a_blocking_call_waits_for_its_turn(self):
        first, _ = self.hold("first")
        waiter = Process("waiter", [sys.executable, "-c", GUIDE.replace(" | fcntl.LOCK_NB", ""), self.path], self.folder / "waiter.log", self.environment)
        self.loose.append(waiter)
        wait_until(lambda: request(self.api, "GET", "/outrigger/v1/election/trading")[0] == 200, 5, "the election")
        self.assertNotIn("in ", waiter.tail())
        first.send(signal.SIGTERM)
        wait_until(lambda: "in " in waiter.tail(), (LEASE_MS / 1000 + 3) * patience(), "the waiter in")

    def test_a_path_behind_a_link_is_listed_also_before_its_file_is_there(self):
        real, other, link = self.folder / "real", self.folder / "other", self.folder / "link"
        for folder in (real, other):
            folder.mkdir()
        link.symlink_to(real)
        listed = {"OUTRIGGER_FLOCK_PATHS": f"{link}/x.lock=trading"}
        in_link = GUIDE.replace("sys.argv[1]", repr(f"{link}/x.lock"))
        self.assertFalse((real / "x.lock").exists())
        code, out, err = self.run_python(in_link, "leave", **listed)
        self.assertGreater(int(out.split()[1]), 0, f"{code} {err}")
        self.hold("first")
        for path in (f"{link}/x.lock", f"{real}/x.lock"):
            self.assertEqual(self.run_python(GUIDE.replace("sys.argv[1]", repr(path)), "leave", **listed)[0], 1, path)
        # A link that leads elsewhere since the program started, a second name of the file, and a file that was removed in between.
        turned = in_link.replace("lock = open", f"import os; os.unlink({str(link)!r}); os.symlink({str(other)!r}, {str(link)!r})\nlock = open")
        self.assertEqual(self.run_python(turned, "leave", **listed)[0], 1)
        os.link(other / "x.lock", self.folder / "second-name")
        self.assertEqual(self.run_python(GUIDE.replace("sys.argv[1]", repr(str(self.folder / "second-name"))), "leave", **listed)[0], 1)
        removed = in_link.replace("try:", f"import os; os.unlink('{link}/x.lock')\ntry:", 1)
        self.assertEqual(self.run_python(removed, "leave", **listed)[0], 1)

    def test_a_name_with_a_slash_is_that_of_lock_run(self):
        self.environment["OUTRIGGER_FLOCK_PATHS"] = f"{self.path}=jobs/nightly run"
        self.hold("first")
        code, _, err = self.run_cli("lock", "run", "jobs/nightly run", "--try", "--", "true", api=self.api)
        self.assertEqual((code, "is held by" in err), (1, True), err)

    def test_as_process_1_of_a_container_it_ends_with_its_lease(self):
        wrap = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--pid", "--fork", "--kill-child"]
        if subprocess.run([*wrap, "true"], check=False, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("no process namespaces to be had here")
        holder = Process("container", [*wrap, sys.executable, "-c", GUIDE, self.path], self.folder / "container.log", self.environment)
        self.loose.append(holder)
        wait_until(lambda: "in " in holder.tail(), 10 * patience(), "in")
        self.agent.kill()
        self.assertEqual(holder.child.wait(20 * patience()), 128 + signal.SIGKILL, "SIGTERM has no handler and does nothing there")

    def test_a_child_of_vfork_neither_holds_nor_gives_back(self):
        program, code = self.folder / "vfork", self.folder / "vfork.c"
        compiler = shutil.which("cc")
        if compiler is None:
            self.skipTest("no C compiler")
        code.write_text("""#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>
extern unsigned long long outrigger_flock_epoch(int) __attribute__((weak));
int main(int argc, char** argv) {
  if (vfork() == 0) { close(-1); _exit(0); } /* the first call that the library sees is a child's, in this memory */
  wait(NULL);
  const int fd = open(argv[1], O_RDWR | O_CREAT, 0600);
  if (argc != 2 || flock(fd, LOCK_EX | LOCK_NB) != 0) return 1;
  const unsigned long long before = outrigger_flock_epoch(fd);
  struct { volatile int taken; volatile unsigned long long epoch; } seen = {0, 7};
  if (vfork() == 0) {
    seen.epoch = outrigger_flock_epoch(fd);
    flock(fd, LOCK_UN);
    seen.taken = flock(fd, LOCK_EX | LOCK_NB) == 0;
    close(fd);
    _exit(0);
  }
  wait(NULL);
  printf("%d %d %d %d\\n", before > 0, outrigger_flock_epoch(fd) == before, seen.epoch == 0, seen.taken);
  fflush(stdout);
  pause();
}
""")
        subprocess.run([compiler, "-o", program, code], check=True)
        holder = Process("vfork", [program, self.path], self.folder / "vfork.log", self.environment)
        self.loose.append(holder)
        wait_until(lambda: "\n" in holder.tail(), 10 * patience(), "its line")
        self.assertIn("1 1 1 0", holder.tail())
        self.assertTrue(get_json(self.api, "/outrigger/v1/election/trading")["holder"], "the agent has the holder still")

    def test_a_call_that_waits_is_interrupted_as_the_kernels_is(self):
        self.hold("first")
        waits = "import fcntl, signal, sys\nlock = open(sys.argv[1], 'w')\n"
        late = waits + "def late(*_): raise TimeoutError\nsignal.signal(signal.SIGALRM, late)\nsignal.setitimer(signal.ITIMER_REAL, 3)\n"  # it must wait by then
        lock = "try: fcntl.flock(lock, fcntl.LOCK_EX); print('in')\nexcept TimeoutError: print('late')\n"
        self.assertEqual(self.run_python(late + lock)[:2], (0, "late\n"))
        if shutil.which("flock"):
            done = subprocess.run(["flock", "-w", "5", self.path, "true"], stdin=subprocess.DEVNULL, timeout=60, check=False, env={**os.environ, **self.environment})
            self.assertEqual(done.returncode, 1)

    def test_which_descriptor_stands_for_a_lock(self):
        code, out, err = self.run_python("""import ctypes, fcntl, os, sys
path, NB, UN = sys.argv[1], fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN
first, second = os.open(path, os.O_RDWR | os.O_CREAT), os.open(path, os.O_RDWR)
held = lambda fd: int(ctypes.CDLL(None).outrigger_flock_epoch(fd) > 0)
def tries(take, *arguments):
    try: take(*arguments); return "yes"
    except OSError as problem: return "no"
fcntl.lockf(first, NB)
print("process", tries(fcntl.lockf, second, NB), tries(fcntl.flock, second, NB), end=" ")
fcntl.lockf(second, UN)
print(held(first))
fcntl.flock(first, NB)
copy = os.dup(first)
print("file", tries(fcntl.flock, copy, NB), tries(fcntl.flock, second, NB), end=" ")
fcntl.flock(second, UN)
print(held(first), end=" ")
os.close(first)
print(held(copy), end=" ")
fcntl.flock(copy, NB)
other = os.dup(copy)
fcntl.flock(other, UN)
print(held(copy), tries(fcntl.flock, second, NB), end=" ")
os.close(second)
print(tries(fcntl.flock, copy, NB))
""")
        self.assertEqual(code, 0, err)
        self.assertEqual(out.splitlines(), ["process yes no 0", "file yes no 1 1 0 yes yes"], err)

    def test_files_that_are_not_listed_are_the_kernels(self):
        other = self.folder / "plain.lock"
        with open(other, "w", encoding="utf-8") as mine:
            fcntl.flock(mine, fcntl.LOCK_EX)
            code, _, err = self.run_python(GUIDE.replace("sys.argv[1]", repr(str(other))), "leave")
            self.assertEqual(code, 1, err)

    def test_a_name_that_cannot_be_is_refused_and_not_the_kernels_by_accident(self):
        code, _, err = self.run_python("import fcntl, sys; fcntl.flock(open(sys.argv[1], 'w'), fcntl.LOCK_EX)",
                                       OUTRIGGER_FLOCK_PATHS=f"{self.path}={'n' * 65}")
        self.assertNotEqual(code, 0)
        self.assert_says(err, "needs a name of 1 to 64 bytes", "No locks available")


if __name__ == "__main__":
    unittest.main()
