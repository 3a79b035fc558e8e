"""`outrigger lock run`: its program ends with it, however it ends, and never acts when somebody else may have the lock."""

import os
import pty
import re
import signal
import subprocess
import threading
import unittest
from pathlib import Path

from harness import Process, RealProcesses, binary, get_json, patience, wait_until

LEASE_MS = 6000  # longer than a machine stands still; whoever waits for its end waits for much longer
# Ignores SIGTERM, has a child of its own, and writes its epoch for as long as it lives.
WRITER = 'trap "" TERM; (while :; do echo "$OUTRIGGER_EPOCH" >> "$0"; sleep 0.05; done) & echo $! > "$0.child"; echo $$ > "$0.pid"; wait; wait'


def status_of(pid):
    """@return (state, parent) as /proc has them; X when there is no such process"""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[:2]
        return state, int(parent)
    except OSError:
        return "X", 0


def parent_of(pid):
    """Of a process that is there: a signal to process 0 would be one to this test."""
    parent = status_of(pid)[1]
    if parent == 0:
        raise AssertionError(f"process {pid} has gone")
    return parent


def alive(pid):
    """Not a zombie either: an orphan's is of no interest."""
    return status_of(pid)[0] not in "ZX"


def catches(pid, number):
    """Whether that process has a handler for the signal."""
    line = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    return bool(int(line[1], 16) >> (number - 1) & 1)


class LockRun(RealProcesses):
    def setUp(self):
        super().setUp()
        self.agent, self.api = self.start_single()
        self.run = (binary(), "lock", "run", "jobs/nightly", "--lease-ms", str(LEASE_MS))

    def tries(self, *more):
        return self.run_cli(*self.run[1:], "--try", *more, "--", "true", api=self.api)

    def hold(self, *command, name="held"):
        process = Process(name, [*self.run, "--", *command], self.folder / f"{name}.log", {"OUTRIGGER_API": self.api})
        self.loose.append(process)
        return process

    def writer(self):
        """@return (lock run, the pids of its program, of the program's child and of the guard between)"""
        mark = self.folder / "mark"
        for old in self.folder.glob("mark*"):
            old.unlink()
        held = self.hold("sh", "-c", WRITER, str(mark))
        files = [self.folder / f"mark.{what}" for what in ("pid", "child")]
        wait_until(lambda: mark.exists() and all(one.exists() and one.read_text().endswith("\n") for one in files), 10 * patience(), "the program")
        pids = [int(one.read_text()) for one in files]
        pids.append(parent_of(pids[0]))
        for pid in pids:
            self.addCleanup(lambda pid=pid: alive(pid) and os.kill(pid, signal.SIGKILL))
        return held, pids

    def somebody_else_enters(self, pids):
        """Takes the lock as soon as it can be had, with a program that looks at once whether the old one is still there."""
        looks = "; ".join(f"test ! -e /proc/{pid} || grep -q '^State:.[ZX]' /proc/{pid}/status || exit 9" for pid in pids)
        code, _, err = self.run_cli(*self.run[1:], "--wait-ms", str(int(20000 * patience())), "--", "sh", "-c", looks, api=self.api)
        self.assertEqual(code, 0, "the old program is still there: " + err)

    def test_killed_it_leaves_nothing_behind(self):
        held, pids = self.writer()
        held.send(signal.SIGKILL)
        self.somebody_else_enters(pids)

    def test_stopped_its_program_ends_before_somebody_else_enters(self):
        held, pids = self.writer()
        held.send(signal.SIGSTOP)
        self.somebody_else_enters(pids)
        held.send(signal.SIGCONT)
        code, said = self.wait_exit(held)
        self.assertEqual(code, 1)
        self.assertIn('the lock "jobs/nightly" is lost', said)

    def test_its_guard_killed_or_stopped_the_program_ends_all_the_same(self):
        held, pids = self.writer()
        os.kill(pids[2], signal.SIGKILL)
        code, said = self.wait_exit(held)
        self.assertEqual((code, "the guard of sh was killed" in said), (1, True), said)
        self.assertFalse([pid for pid in pids if alive(pid)])
        self.assertEqual(self.tries()[0], 0, "nothing is left of it, so the lock is free at once")
        held, pids = self.writer()
        os.kill(pids[2], signal.SIGSTOP)
        self.agent.kill()
        self.assertEqual(self.wait_exit(held)[0], 1)
        wait_until(lambda: not [pid for pid in pids if alive(pid)], 10 * patience(), "the end of all")

    def test_what_the_program_left_behind_ends_before_the_lock_is_given_back(self):
        mark = self.folder / "left"
        code, _, err = self.run_cli(*self.run[1:], "--", "sh", "-c", f"(trap '' TERM HUP; sleep 600) & echo $! > {mark}; exit 5", api=self.api)
        self.assertEqual(code, 5, err)
        self.assertFalse(alive(int(mark.read_text())))
        self.assertIsNone(get_json(self.api, "/outrigger/v1/election/jobs%2Fnightly")["holder"])

    def test_two_process_1_of_one_host_name_are_two_holders(self):
        wrap = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--pid", "--fork", "--kill-child"]
        if subprocess.run([*wrap, "true"], check=False, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("no process namespaces to be had here")
        mark = self.folder / "first"
        first = Process("first", [*wrap, *self.run, "--", "sh", "-c", f"touch {mark}; sleep 600"], self.folder / "first.log", {"OUTRIGGER_API": self.api})
        self.loose.append(first)
        wait_until(mark.exists, 10 * patience(), "the first in")
        second = subprocess.run([*wrap, *map(str, self.run), "--try", "--", "true"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
                                env={**os.environ, "OUTRIGGER_API": self.api}, timeout=60 * patience())
        self.assertEqual((second.returncode, "is held by" in second.stderr), (1, True), second.stderr)
        self.assertEqual(self.tries("--holder", "somebody")[0], 1)

    def test_one_that_waits_ends_at_once_when_it_is_told_to(self):
        mark = self.folder / "in"
        self.hold("sh", "-c", f"touch {mark}; sleep 600")
        wait_until(mark.exists, 10 * patience(), "the first in")
        waits = self.hold("touch", str(self.folder / "never"), name="waits")
        wait_until(lambda: catches(waits.child.pid, signal.SIGTERM), 10 * patience(), "the second at it")
        waits.send(signal.SIGTERM)
        self.assertEqual(self.wait_exit(waits)[0], 128 + signal.SIGTERM)
        self.assertFalse((self.folder / "never").exists())


class Terminal:
    """A shell with job control on a terminal of its own, and everything that was said there."""

    def __init__(self, environment):
        self.said = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], {**os.environ, **environment, "PS1": "ready$ ", "TERM": "dumb", "HISTFILE": ""})
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            while more := os.read(self.fd, 4096):
                self.said += more
        except OSError:
            pass  # the shell has ended

    def type(self, text):
        os.write(self.fd, text.encode())

    def wait_for(self, pattern, what):
        wait_until(lambda: re.search(pattern, self.said), 20 * patience(), lambda: f"{what} in {self.said!r}")

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


class LockRunOnATerminal(RealProcesses):
    def setUp(self):
        super().setUp()
        _, self.api = self.start_single()
        self.terminal = Terminal({"OUTRIGGER_API": self.api})
        self.addCleanup(self.terminal.end)
        self.line = f"{binary()} lock run desk --lease-ms {LEASE_MS} -- "
        self.terminal.wait_for(rb"ready\$ $", "a prompt")

    def test_the_program_reads_the_terminal_and_gets_its_keys(self):
        self.terminal.type(self.line + "sh -c 'echo go; read x; echo got-$x'\n")
        self.terminal.wait_for(rb"\ngo\r", "the program")
        self.terminal.type("seven\n")
        self.terminal.wait_for(rb"got-seven", "what it read")
        self.terminal.type(self.line + "sh -c 'echo deep; read x; echo end-$x' | cat\n")
        self.terminal.wait_for(rb"\ndeep\r", "the program behind a pipe")
        self.terminal.type("eight\n")
        self.terminal.wait_for(rb"end-eight", "what it read behind a pipe")
        self.terminal.type(self.line + "sh -c 'echo wait; sleep 600'\n")
        self.terminal.wait_for(rb"\nwait\r", "the program")
        self.terminal.type("\x03")
        self.terminal.type("echo code-$?\n")
        self.terminal.wait_for(rb"code-130", "Ctrl-C")

    def test_ctrl_z_stops_both_and_the_lock_is_not_anothers_before_the_program_has_ended(self):
        self.stop_and_lose(lambda pid: self.terminal.type("\x1a"))

    def test_a_stop_signal_of_somebody_else_does_the_same(self):
        self.stop_and_lose(lambda pid: os.kill(parent_of(parent_of(pid)), signal.SIGTSTP))

    def stop_and_lose(self, stop):
        self.terminal.type(self.line + "sh -c 'echo pid-$$; exec sleep 600'\n")
        self.terminal.wait_for(rb"pid-\d+", "the program")
        pid = int(re.search(rb"pid-(\d+)", self.terminal.said)[1])
        wait_until(lambda: catches(parent_of(parent_of(pid)), signal.SIGTSTP), 10 * patience(), "its handler")
        stop(pid)
        self.terminal.wait_for(rb"Stopped.*lock run desk", "the shell's word")
        looks = f"test ! -e /proc/{pid} || grep -q '^State:.[ZX]' /proc/{pid}/status || exit 9"
        self.assertEqual(self.run_cli("lock", "run", "desk", "--wait-ms", str(int(20000 * patience())), "--", "sh", "-c", looks, api=self.api)[0], 0)
        self.terminal.type("fg\n")
        self.terminal.wait_for(rb'the lock "desk" is lost', "its word")
        self.terminal.type("echo code-$?\n")
        self.terminal.wait_for(rb"code-1\b", "its exit code")

    def test_ctrl_z_and_fg_within_the_lease_go_on(self):
        self.line = self.line.replace(f"--lease-ms {LEASE_MS}", "--lease-ms 60000")
        self.terminal.type(self.line + "sh -c 'echo on; read x; echo got-$x'\n")
        self.terminal.wait_for(rb"\non\r", "the program")
        self.terminal.type("\x1a")
        self.terminal.wait_for(rb"Stopped.*lock run desk", "the shell's word")
        self.terminal.type("fg\n")
        self.terminal.type("nine\n")
        self.terminal.wait_for(rb"got-nine", "what it read")


if __name__ == "__main__":
    unittest.main()
