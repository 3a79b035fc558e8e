"""Change without a restart: listeners that come and go with a reload, a process that takes over from another, a drain
that tells when nothing is left."""

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import unittest

from harness import REPO, STEADY_CHECK, RealProcesses, binary, free_ports, get_json, patience, request, wait_until, whole_lines
from harness import processes

sys.path.insert(0, str(REPO / "tests" / "bench"))
import rolling  # noqa: E402  (found through the line above)


class SlowInstance:
    """Answers /slow when it is told to, everything else at once, and remembers under which epoch orders came."""

    def __init__(self):
        self.let_go, self.waiting, self.epochs = threading.Event(), 0, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_arguments):
                pass

            def do_GET(self):
                if self.path == "/slow":
                    outer.waiting += 1
                    outer.let_go.wait(100)
                self.reply(b"done")

            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.epochs.append(int(self.headers["X-Outrigger-Epoch"]))
                if self.path == "/orders/slow":
                    outer.waiting += 1
                    outer.let_go.wait(100)
                self.reply(b"taken")

            def reply(self, body):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_arguments):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


class Background:
    """One request on its own thread."""

    def __init__(self, address, method, path, body=None):
        self.status = self.error = None
        self.thread = threading.Thread(target=self.run, args=(address, method, path, body), daemon=True)
        self.thread.start()

    def run(self, *arguments):
        try:
            self.status = request(*arguments, timeout=100)[0]
        except OSError as error:
            self.error = error

    def join(self):
        self.thread.join(100 * patience())
        return self.status


class TakeOver(RealProcesses):
    def start_lone(self, extra="", name="n1"):
        """@return (process, API, entry, instance, config) of one agent with an instance."""
        instance = SlowInstance()
        self.addCleanup(instance.let_go.set)
        entry = f"127.0.0.1:{free_ports(1)[0]}"
        ports, config = self.single_config(name, f"""
[service]
address = "{instance.address}"
order_wait = "10s"
[service.health]
every = "500ms"
timeout = "500ms"
{STEADY_CHECK}
[[listen]]
address = "{entry}"
[[route]]
methods = ["POST"]
path = "/"
pool = "primary"
hold = "60s"
timeouts = {{ first_byte = "60s" }}
[[route]]
path = "/"
pool = "all"
timeouts = {{ first_byte = "60s" }}
{extra}""")
        process = self.start_agent(name, config=config)
        api = f"127.0.0.1:{ports['api']}"
        self.wait_status(api, "/outrigger/v1/health/ready", 200)
        wait_until(lambda: (get_json(api, "/outrigger/v1/role") or {}).get("serving"), 15 * patience(), "a primary")
        return process, api, entry, instance, config

    def successor(self, name="n1", environment=None):
        folder = self.folder / name
        process = processes.Process(f"{name} successor", [binary(), "agent", "--config", folder / "outrigger.toml", "--take-over"],
                                    folder / "successor.log", environment)
        self.loose.append(process)
        return process

    def wait_said(self, process, word, seconds=20):
        wait_until(lambda: f'"{word}"' in process.log.read_text(errors="replace") or not process.alive(), seconds * patience(), f"{word} in {process.log}")
        self.assertIn(f'"{word}"', process.log.read_text(errors="replace"))

    def test_three_nodes_are_reloaded_and_upgraded_in_turn_without_a_failed_request(self):
        made = self.make_cluster()
        made.hold = "15s"  # orders wait for the next primary, whatever a slow machine needs
        made.order_options = 'timeouts = { first_byte = "20s" }\n'
        made.write_config()
        made.start()
        self.wait_ready(made)
        figures = rolling.measure(made, clients=60, seconds=5, reload_every=0.7, upgrade_every=1.5, think_s=0.25, answer_s_max=60)
        self.assertEqual(figures["failures"], [])
        self.assertEqual(figures["upgrades"], 3)
        self.assertGreaterEqual(figures["reloads"], 3)
        self.assertGreater(figures["requests"], 60)  # each client more than once
        self.assertGreater(figures["orders"], 0)

    def test_a_slow_answer_ends_in_the_old_process_while_the_new_one_serves(self):
        old, api, entry, instance, _ = self.start_lone()
        slow = Background(entry, "GET", "/slow")
        wait_until(lambda: instance.waiting == 1, 10, "the slow request at the instance")
        epoch = get_json(api, "/outrigger/v1/role")["epoch"]
        fresh = self.successor()
        self.wait_said(fresh, "taken_over")
        self.assertTrue(old.alive(), "it waits for its answer")
        self.assertEqual(request(entry, "GET", "/quick")[0], 200)
        role = wait_until(lambda: (get_json(api, "/outrigger/v1/role") or {}).get("serving") and get_json(api, "/outrigger/v1/role"), 10, "serving")
        self.assertGreater(role["epoch"], epoch, "another process, another epoch")
        self.assertEqual(request(entry, "POST", "/orders", b"x")[0], 200)
        self.assertEqual(instance.epochs[-1], role["epoch"])
        instance.let_go.set()
        self.assertEqual(slow.join(), 200)
        code, said = self.wait_exit(old)
        self.assertEqual(code, 0, said)
        self.assert_no_crash(fresh)

    def test_signals_to_a_process_that_has_handed_over_are_refused_and_do_it_no_harm(self):
        old, _, entry, instance, _ = self.start_lone()
        slow = Background(entry, "GET", "/slow")
        wait_until(lambda: instance.waiting == 1, 10, "the slow request at the instance")
        fresh = self.successor()
        self.wait_said(fresh, "taken_over")
        self.wait_said(old, "retiring")
        old.send(signal.SIGHUP)
        self.wait_said(old, "reload_refused")
        old.send(signal.SIGUSR2)
        self.wait_said(old, "successor_not_started")
        instance.let_go.set()
        self.assertEqual(slow.join(), 200)
        code, said = self.wait_exit(old)
        self.assertEqual(code, 0, said)
        fresh.send(signal.SIGHUP)
        self.wait_said(fresh, "reloaded")
        self.assert_no_crash(fresh)

    def test_nothing_is_handed_over_while_a_halt_is_not_on_disk(self):
        old, api, entry, _, _ = self.start_lone()
        kept = self.folder / "n1-data" / "halts"
        kept.unlink()
        (kept / "in the way").mkdir(parents=True)  # nothing can take this name
        code, out, err = self.run_cli("halt", "--reason", "the disk is full", api=api)
        self.assertEqual(code, 0, out + err)
        self.wait_said(old, "halts_not_kept")
        fresh = self.successor()
        self.wait_said(old, "hand_over_refused")
        self.wait_exit(fresh)
        self.assertEqual(request(entry, "POST", "/orders", b"x")[0], 503, "it goes on, and the halt stands")
        (kept / "in the way").rmdir()
        kept.rmdir()
        fresh = self.successor()
        self.wait_said(fresh, "taken_over")
        self.assertEqual(request(entry, "POST", "/orders", b"x")[0], 503)
        self.assertEqual(self.wait_exit(old)[0], 0)
        self.assert_no_crash(fresh)

    def test_orders_wait_through_the_change_and_none_is_sent_under_the_old_epoch(self):
        old, api, entry, instance, _ = self.start_lone()
        before = get_json(api, "/outrigger/v1/role")["epoch"]
        stop, failed, done = threading.Event(), [], [0]

        def order():
            while not stop.is_set():
                try:
                    status = request(entry, "POST", "/orders", b"x", timeout=90)[0]
                except OSError as error:
                    status = str(error)
                done[0] += 1
                if status != 200:
                    failed.append(status)
        clients = [threading.Thread(target=order, daemon=True) for _ in range(4)]
        for client in clients:
            client.start()
        wait_until(lambda: done[0] > 20, 10, "orders flowing")
        self.successor()
        self.assertEqual(self.wait_exit(old, 30)[0], 0)
        count = done[0]
        wait_until(lambda: done[0] > count + 20, 10, "orders flowing again")
        stop.set()
        for client in clients:
            client.join(100 * patience())
        self.assertEqual(failed, [])
        self.assertEqual(instance.epochs, sorted(instance.epochs), "an epoch that is over does not come back")
        self.assertGreater(instance.epochs[-1], before)

    def test_an_order_that_takes_its_time_is_answered_before_the_role_goes(self):
        old, _, entry, instance, _ = self.start_lone()
        slow = Background(entry, "POST", "/orders/slow", b"x")
        wait_until(lambda: instance.waiting == 1, 10, "the order at the instance")
        fresh = self.successor()
        self.wait_said(old, "handing_over")
        held = Background(entry, "POST", "/orders", b"x")
        for _ in range(10):  # half a second, in which whoever does not wait for the order has let go of the role
            self.assertNotIn('"handed_over"', old.log.read_text(errors="replace"))
            self.assertIsNone(slow.status)
            slow.thread.join(0.05)
        self.assertEqual(len(instance.epochs), 1, "newer orders wait for the next epoch")
        instance.let_go.set()
        self.assertEqual(slow.join(), 200)
        self.assertEqual(held.join(), 200)
        self.wait_said(fresh, "taken_over")
        self.assertGreater(instance.epochs[1], instance.epochs[0])
        self.assertEqual(self.wait_exit(old)[0], 0)

    def test_a_successor_that_cannot_start_leaves_the_old_process_in_charge(self):
        old, api, entry, _, _ = self.start_lone()
        broken = self.successor(environment={"OUTRIGGER_NODE_PID_FILE": "/nowhere/at/all.pid"})
        code, said = self.wait_exit(broken)
        self.assertEqual(code, 1)
        self.assertIn("pid file", said)
        self.wait_said(old, "taken_back")
        self.wait_status(entry, "/x", 200)  # its checks begin anew, and the first may be late
        wait_until(lambda: (get_json(api, "/outrigger/v1/role") or {}).get("serving"), 15 * patience(), "the old process as primary again")
        self.assertEqual(request(entry, "POST", "/orders", b"x", timeout=90)[0], 200)
        fresh = self.successor()
        self.wait_said(fresh, "taken_over")
        self.assertEqual(self.wait_exit(old)[0], 0)

    def test_the_signal_starts_the_program_that_is_there_now(self):
        pid_file = self.folder / "pid"
        old, api, entry, _, config = self.start_lone()
        old.stop()
        (self.folder / "n1" / "outrigger.toml").write_text(config.replace("[node]", f'[node]\npid_file = "{pid_file}"'))
        old = self.start_agent("n1", "--config", self.folder / "n1" / "outrigger.toml")
        self.wait_status(api, "/outrigger/v1/health/ready", 200)
        self.assertEqual(int(pid_file.read_text()), old.pid)
        old.send(signal.SIGUSR2)
        self.assertEqual(self.wait_exit(old, 20)[0], 0)
        fresh = wait_until(lambda: int((whole_lines(pid_file) or [0])[0]), 10, "the pid of the successor")
        self.assertNotEqual(fresh, old.pid)
        self.addCleanup(lambda: os.kill(fresh, signal.SIGKILL))
        self.assertEqual(request(entry, "GET", "/x", timeout=10)[0], 200)

    def test_without_a_predecessor_it_is_an_ordinary_start(self):
        _, config = self.single_config("n1")
        process = self.start_agent("n1", "--take-over", config=config)
        self.wait_said(process, "nobody_to_take_over_from")
        self.wait_said(process, "started")

    def test_sockets_of_the_service_manager_are_used_and_a_client_may_be_there_before_the_agent(self):
        instance = self.make_instance()
        socket_of_manager = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(socket_of_manager.close)
        entry = f"127.0.0.1:{socket_of_manager.getsockname()[1]}"
        early = Background(entry, "GET", "/early")
        ports, config = self.single_config("n1", f'[service]\naddress = "{instance.address}"\n[[listen]]\naddress = "{entry}"\n')
        (self.folder / "n1").mkdir()
        (self.folder / "n1" / "outrigger.toml").write_text(config)
        as_manager = ("import os, sys; os.dup2(int(sys.argv[1]), 3, inheritable=True); "
                      "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); os.execv(sys.argv[2], sys.argv[2:])")
        fd = socket_of_manager.fileno()
        command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-c", as_manager, str(fd), str(binary()), "agent",
                   "--config", str(self.folder / "n1" / "outrigger.toml")]
        with open(self.folder / "n1" / "agent.log", "wb") as log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(fd,),
                                     env={name: value for name, value in os.environ.items() if not name.startswith("OUTRIGGER_")})
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        self.wait_status(f"127.0.0.1:{ports['api']}", "/outrigger/v1/health/ready", 200)
        self.assertIn(early.join(), (200, 503), "answered by the agent; 503 while its instance was not checked yet")
        self.assertEqual(request(entry, "GET", "/x")[0], 200)

    def test_listeners_come_and_go_with_a_reload(self):
        process, api, entry, instance, config = self.start_lone()
        other = f"127.0.0.1:{free_ports(1)[0]}"
        settings = self.folder / "n1" / "outrigger.toml"
        settings.write_text(config + f'[[listen]]\naddress = "{other}"\n')
        status, _, body = request(api, "PUT", "/outrigger/v1/reload")
        self.assertEqual(status, 200, body)
        self.assertEqual(request(other, "GET", "/x")[0], 200)
        slow = Background(other, "GET", "/slow")
        wait_until(lambda: instance.waiting == 1, 10, "the slow request at the instance")
        settings.write_text(config)
        process.send(signal.SIGHUP)

        def refused():
            try:
                socket.create_connection(other.rsplit(":", 1), timeout=10).close()
                return False
            except ConnectionRefusedError:
                return True
        wait_until(refused, 10, "the listener gone")
        self.assertEqual(request(entry, "GET", "/x")[0], 200)
        instance.let_go.set()
        self.assertEqual(slow.join(), 200, "what ran there has ended in peace")
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        settings.write_text(config + f'[[listen]]\naddress = "{place}"\n')
        status, _, body = request(api, "PUT", "/outrigger/v1/reload")
        self.assertGreaterEqual(status, 400)
        self.assertIn(place, body.decode())
        self.assertEqual(request(entry, "GET", "/x")[0], 200)

    def test_drain_tells_when_nothing_is_left(self):
        _, api, entry, instance, _ = self.start_lone()
        slow = Background(entry, "GET", "/slow")
        wait_until(lambda: instance.waiting == 1, 10, "the slow request at the instance")
        code, _, said = self.run_cli("drain", "--wait", "1", api=api)
        self.assertEqual(code, 1)
        self.assert_says(said, "1 requests still run at the instance")
        self.assertEqual(get_json(api, "/outrigger/v1/drain")["empty"], False)
        threading.Timer(0.3, instance.let_go.set).start()
        code, said, _ = self.run_cli("drain", "--wait", "60", "-o", "json", api=api)
        self.assertEqual(code, 0)
        self.assertEqual(json.loads(said), {"draining": True, "role": "standby", "in_flight": 0, "empty": True})
        slow.join()


if __name__ == "__main__":
    unittest.main()
