"""Parts of an agent that hang while the rest of it goes on: others trade, as if all of it had crashed."""

import ctypes
import os
import signal
import time

from harness import get_json, metric, patience, request, wait_until
from test_orders import KeyedOrders

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT, WALL = 17, 0x4206, 0x4207, 0x40000000
IDLE_CALLS = {"202", "219", "232", "281"}  # of x86_64: futex, restart_syscall, epoll_wait, epoll_pwait


class HungThread:
    """One thread of a process, stopped as a system call that does not return stops it; the others go on."""

    def __init__(self, process, name):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self.libc.ptrace.restype = ctypes.c_long
        pid = process.pid
        named = [int(task) for task in os.listdir(f"/proc/{pid}/task") if self.name_of(pid, task) == name]
        self.thread = named[0]
        # Not in the middle of anything: it might hold a lock that the whole process needs, as no thread that waits for its disk does.
        for _ in range(1000):
            if self.libc.ptrace(PTRACE_SEIZE, self.thread, None, None) != 0:
                raise PermissionError(os.strerror(ctypes.get_errno()))
            self.libc.ptrace(PTRACE_INTERRUPT, self.thread, None, None)
            os.waitpid(self.thread, WALL)
            if os.uname().machine != "x86_64" or self.waits(pid):
                return
            self.wake()
            time.sleep(0.005)
        raise AssertionError(f"{name} of process {pid} never waits for work")

    def waits(self, pid):
        """The system call in which it was met is one of those in which a thread without work waits."""
        with open(f"/proc/{pid}/task/{self.thread}/syscall", encoding="utf-8") as file:
            return file.read().split()[0] in IDLE_CALLS

    @staticmethod
    def name_of(pid, task):
        with open(f"/proc/{pid}/task/{task}/comm", encoding="utf-8") as file:
            return file.read().strip()

    def wake(self):
        self.libc.ptrace(PTRACE_DETACH, self.thread, None, None)

    def ended(self):
        """It is gone with its process, which is not seen to have ended before whoever stopped this thread has taken note."""
        met, status = os.waitpid(self.thread, WALL | os.WNOHANG)
        return met != 0 and not os.WIFSTOPPED(status)


class PartsThatHang(KeyedOrders):
    def make_cluster(self, count=3, **options):
        """Leases that outlast the seconds which pass until a disk counts as hung and another leader is there: whoever gives the role
        away does so by its own judgement."""
        made = super().make_cluster(count, **options)
        made.extra_environment["SERVICE_LEASE"] = "10s"
        return made

    def hang(self, node, name):
        try:
            hung = HungThread(node.agent, name)
        except PermissionError as problem:
            self.skipTest(f"threads cannot be stopped here: {problem}")
        self.addCleanup(hung.wake)
        return hung

    def leader(self):
        return wait_until(lambda: next((node for node in self.made.nodes if node.leads()), None), 20 * patience(), "a leader")

    def lead(self, node):
        """Makes `node` the leader of the store."""
        def leads():
            if not node.leads():
                self.run_cli("raft", "transfer", node.name, api=self.leader().api)
            return node.leads()
        wait_until(leads, 20 * patience(), f"{node.name} leads", pause=0.5)

    def ready(self, node):
        return request(node.api, "GET", "/outrigger/v1/health/ready")

    def assert_goes_on_without(self, victim, thread="storage", said=b"the disk has not answered", log="disk"):
        others = [node for node in self.made.nodes if node is not victim]
        hung = self.hang(victim, thread)
        taken = []

        def placed(node):
            key = f"{node.name}-{len(taken)}"  # a new order each time: what was reserved before may be unknown now, and stays that without a hook
            taken.append(key)
            try:
                return key if self.send(node, key, timeout=20)[0] == 201 else None
            except OSError:
                return None
        # Whatever is written shows it; until it shows, the others may well go on by themselves.
        wait_until(lambda: [placed(others[0]), self.ready(victim)[0]][1] == 503, 40 * patience(), f"{victim.name} to say that its {log} hangs")
        if thread == "storage":
            wait_until(lambda: self.leader() in others, 20 * patience(), "a leader whose disk works")
        keys = [wait_until(lambda n=node: placed(n), 40 * patience(), f"an order at {node.name} while the disk of {victim.name} hangs") for node in others]
        for key in keys:
            self.assertEqual(self.placed(key), 1)
        role = wait_until(lambda: self.made.agreed_role(others), 20 * patience(), "a primary")
        self.assertNotEqual(role[0], victim.name)
        self.assertIn(said, self.ready(victim)[2])
        counted = "outrigger_store_disk_hung_total" if thread == "storage" else "outrigger_workers_hung"
        self.assertGreaterEqual(float(metric(victim.api, counted)), 1)
        self.assertIn(f"{log}_hangs", victim.agent.tail(400))
        hung.wake()
        wait_until(lambda: self.ready(victim)[0] == 200, 30 * patience(), f"the {log} to be back")
        wait_until(lambda: (get_json(victim.api, f"/outrigger/v1/orders/orders/{keys[0]}?stale") or {}).get("state") == "done",
                   30 * patience(), "what it missed")
        self.assertIn(f"{log}_answers", victim.agent.tail(400))
        return role

    def test_the_disk_of_the_leader_that_is_primary(self):
        holder, _ = self.made.wait_agreed(20 * patience())
        victim = self.made.node(holder)
        self.lead(victim)
        self.assert_goes_on_without(victim)

    def test_the_disk_of_a_primary_that_follows(self):
        holder, _ = self.made.wait_agreed(20 * patience())
        victim = self.made.node(holder)
        self.lead(next(node for node in self.made.nodes if node is not victim))
        self.assert_goes_on_without(victim)

    def test_the_disk_of_a_leader_with_the_primary_elsewhere(self):
        holder, _ = self.made.wait_agreed(20 * patience())
        victim = next(node for node in self.made.nodes if node.name != holder)
        self.lead(victim)
        role = self.assert_goes_on_without(victim)
        self.assertEqual(role[0], holder, "nothing is wrong with it")

    def test_a_worker_of_the_primary(self):
        holder, _ = self.made.wait_agreed(20 * patience())
        self.assert_goes_on_without(self.made.node(holder), "proxy-0", b"of them do not answer", "worker")

    def test_an_agent_with_a_part_that_hangs_ends_when_it_is_told_to(self):
        self.made.wait_agreed(20 * patience())
        for node, thread in zip(self.made.nodes, ("proxy-0", "storage")):
            hung = self.hang(node, thread)
            os.kill(node.agent.pid, signal.SIGTERM)
            wait_until(hung.ended, 60 * patience(), f"{node.name} to end although {thread} hangs")
            self.assertEqual(self.wait_exit(node.agent)[0], 1)
            self.assertIn("stop_cut_short", node.agent.tail(100))
