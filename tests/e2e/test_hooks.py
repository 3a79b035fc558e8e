"""Hooks of the service when the agent beside it stops: what was begun ends, within a bound, and nothing is cut off without a word."""

import json
import signal
import threading
import unittest

from harness import Instance, RealProcesses, binary, get_json, patience, processes, wait_until


class Stop(RealProcesses):
    """The demote hook is a program that says when it begins, and takes half a second more once the test lets it."""

    def start(self, timeout="30s", name="n1"):
        instance = Instance()
        self.begun, self.go, self.done = (self.folder / word for word in ("begun", "go", "done"))
        hook = self.folder / "demote.sh"
        hook.write_text(f'#!/bin/sh\n: > "{self.begun}"\nuntil [ -e "{self.go}" ]; do sleep 0.02; done\nsleep 0.5\n: > "{self.done}"\n')
        hook.chmod(0o755)
        agent, api = self.start_single(name, f"""
[service]
address = "{instance.address}"
lease = "10s"
margin = "1s"
[service.health]
every = "100ms"
timeout = "90ms"
[service.hooks]
demote = {{ exec = ["{hook}"] }}
timeout = "{timeout}"
""")
        wait_until(lambda: (get_json(api, "/outrigger/v1/role") or {}).get("serving"), 20 * patience(), "a primary")
        return agent, api

    def said(self, agent, event):
        lines = [json.loads(line) for line in agent.log.read_text(errors="replace").splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    def wait_begun(self):
        wait_until(self.begun.exists, 20 * patience(), "the demote hook to begin")

    def test_a_stop_waits_for_the_demote_hook_and_the_lease_does_not(self):
        agent, api = self.start()
        agent.send(signal.SIGTERM)
        self.wait_begun()
        wait_until(lambda: (get_json(api, "/outrigger/v1/role") or {"holder": "?"})["holder"] is None, 10 * patience(), "the lease to be given back")
        self.assertTrue(agent.alive())
        self.go.touch()
        self.assertEqual(self.wait_exit(agent)[0], 0)
        self.assertTrue(self.done.exists(), "the hook came to its end")
        self.assertEqual(len(self.said(agent, "hook_done")), 1)

    def test_leave_tells_when_the_hook_is_done(self):
        agent, api = self.start()
        answer = []
        caller = threading.Thread(target=lambda: answer.append(self.run_cli("leave", api=api)))
        caller.start()
        self.wait_begun()
        self.go.touch()
        caller.join(60)
        self.assertEqual(answer[0][0], 0, answer)
        self.assertTrue(self.done.exists())
        self.assertEqual(self.wait_exit(agent)[0], 0)

    def test_a_successor_has_the_place_only_after_the_hook(self):
        old, _ = self.start()
        fresh = processes.Process("successor", [binary(), "agent", "--config", self.folder / "n1" / "outrigger.toml", "--take-over"], self.folder / "successor.log")
        self.loose.append(fresh)
        self.wait_begun()
        self.assertEqual(self.said(old, "handed_over"), [])
        self.go.touch()
        wait_until(lambda: self.said(fresh, "taken_over") or not fresh.alive(), 30 * patience(), "the successor to serve")
        self.assertTrue(self.done.exists(), "the hook of the old process came to its end")
        self.assertEqual(len(self.said(old, "hook_done")), 1)
        self.assertEqual(self.wait_exit(old)[0], 0)
        self.assert_no_crash(fresh)

    def test_a_hook_that_hangs_is_ended_at_its_own_time_out(self):
        agent, _ = self.start(timeout="300ms")
        agent.send(signal.SIGTERM)
        self.assertEqual(self.wait_exit(agent)[0], 0)
        self.assertIn("killed at its deadline", self.said(agent, "hook_failed")[0]["detail"])

    def test_a_stop_has_a_bound_of_its_own_and_says_what_it_cut_off(self):
        agent, _ = self.start(timeout="5m")
        agent.send(signal.SIGTERM)
        self.assertEqual(self.wait_exit(agent, 30)[0], 0)
        self.assertIn("demote: cut off", self.said(agent, "hook_failed")[0]["detail"])

    def test_a_second_signal_waits_for_nothing_and_says_so(self):
        agent, _ = self.start(timeout="5m")
        agent.send(signal.SIGTERM)
        self.wait_begun()
        agent.send(signal.SIGTERM)
        self.assertEqual(self.wait_exit(agent)[0], 0)
        self.assertEqual(len(self.said(agent, "stopped_at_once")), 1)
        self.assertIn("demote: cut off", self.said(agent, "hook_failed")[0]["detail"])


if __name__ == "__main__":
    unittest.main()
