"""Orders to stop: given by a lone agent at once, everywhere after healing, lifted by a majority alone, kept over restarts."""

import http.client
import json
import signal
import time

from harness import RealProcesses, get_json, patience, request, wait_until
from test_hung_parts import HungThread

BODY = json.dumps({"client_order_id": "h", "side": "buy", "symbol": "PAPER", "quantity": 1, "price": 10_000})


def order(node, timeout=10, headers=None):
    """@return (status, code of our own answer or None, body)"""
    status, _, body = request(node.entry, "POST", "/orders", BODY.encode(), {"Content-Type": "application/json", **(headers or {})}, timeout=timeout * patience())
    try:
        code = json.loads(body).get("code")
    except (ValueError, AttributeError):
        code = None
    return status, code, body


def halted(node, headers=None):
    try:
        return order(node, headers=headers)[:2] == (503, "halted")
    except (OSError, http.client.HTTPException):
        return False


def taken(node):
    try:
        return order(node)[0] == 201
    except (OSError, http.client.HTTPException):
        return False


class Halts(RealProcesses):
    def cli(self, node, *arguments, code=0, **options):
        got, out, err = self.run_cli(*arguments, api=node.api, **options)
        self.assertEqual(got, code, out + err)
        return out + err

    def hang(self, nodes, number):
        for node in nodes:
            node.agent.send(number)

    def stop_thread(self, node, name):
        """@return what lets it go on"""
        try:
            return HungThread(node.agent, name).wake
        except PermissionError as problem:
            self.skipTest(f"threads cannot be stopped here: {problem}")

    def wait_on_disk(self, node):
        wait_until(lambda: all(h["on_disk"] for h in self.standing(node)), 10 * patience(), "all halts are on the disk")

    def standing(self, node):
        return get_json(node.api, "/outrigger/v1/halts")["halts"]

    def recorded(self, made):
        def check():
            rows = [self.standing(node) for node in made.nodes]
            return all(r and all(h["recorded"] for h in r) for r in rows)
        wait_until(check, 10 * patience(), "the halt is in the log, as all agents know")

    def test_a_lone_agent_halts_at_once_and_the_others_after_healing(self):
        made = self.start_cluster()
        lone, others = made.nodes[0], made.nodes[1:]
        self.assertTrue(taken(lone))
        self.hang(others, signal.SIGSTOP)
        began = time.monotonic()
        said = self.cli(lone, "halt", "--reason", "prices look wrong", "--as", "ada")
        answered = time.monotonic()
        self.assertIn("HALTED global at n1", said)
        wait_until(lambda: halted(lone), 5 * patience(), "the lone agent refuses orders", pause=0.002)
        refused = time.monotonic()
        status, code, body = order(lone)
        self.assertEqual((status, code), (503, "halted"))
        for word in ("ada", "n1", "prices look wrong", "outrigger resume"):
            self.assertIn(word, body.decode())
        self.assertEqual(request(lone.entry, "GET", "/health", timeout=5 * patience())[0], 200, "reads pass")
        # Nobody lifts it without the others.
        told = self.cli(lone, "resume", "--all", "--timeout", str(int(25_000 * patience())), code=1)
        self.assertIn("majority", told)
        self.assertTrue(halted(lone))
        self.hang(others, signal.SIGCONT)
        healed = time.monotonic()
        for node in others:
            wait_until(lambda n=node: halted(n), 10 * patience(), f"{node.name} refuses orders", pause=0.01)
        everywhere = time.monotonic()
        print(f"\nlone halt: command answered in {1000 * (answered - began):.0f} ms with its process start, refused {1000 * (refused - answered):.0f} ms "
              f"after that; everywhere {1000 * (everywhere - healed):.0f} ms after healing")
        self.recorded(made)
        self.assertIn("HALTED global", self.cli(others[0], "role"))
        self.assertIn("prices look wrong", self.cli(others[1], "halts"))
        self.assertIn("resumed", self.cli(others[1], "resume", "--all", "--as", "grace"))
        for node in made.nodes:
            wait_until(lambda n=node: taken(n), 20 * patience(), f"{node.name} takes orders again")
            wait_until(lambda n=node: self.standing(n) == [], 10 * patience(), f"no halt at {node.name}")
        self.look_at_audit(made)

    def look_at_audit(self, made):
        """Every agent has the same chain, and it tells who did what."""
        chains = []
        for node in made.nodes:
            self.assert_says(self.cli(node, "audit", "verify"), "nobody has touched")
            chains.append([json.loads(line) for line in self.cli(node, "audit", "export").splitlines()])
        short = min(len(chain) for chain in chains)
        self.assertEqual([c["hash"] for c in chains[0][:short]], [c["hash"] for c in chains[1][:short]])
        self.assertEqual(chains[1][:short], chains[2][:short])
        self.assertEqual([c["number"] for c in chains[0]], list(range(1, len(chains[0]) + 1)))
        told = [(c["kind"], c["actor"]) for c in chains[0]]
        self.assertIn(("halt", "ada"), told)
        self.assertIn(("resume", "grace"), told)
        self.assertTrue({"promotion", "config"} <= {kind for kind, _ in told}, told)

    def test_one_given_where_the_disk_hangs_reaches_everybody_and_holds_nobody_up(self):
        made = self.start_cluster()
        held = get_json(made.nodes[0].api, "/outrigger/v1/role")
        holder = next(n for n in made.nodes if n.name == held["holder"])
        self.cli(holder, "halt", "--scope", "account:nobody", "--reason", "so that the thread is there")
        self.wait_on_disk(holder)  # it is answered without the disk where that takes longer than two seconds, and says so
        self.assertTrue(taken(made.nodes[0]))
        go_on = self.stop_thread(holder, "halts")
        try:
            said = self.cli(holder, "halt", "--reason", "prices look wrong", "--timeout", str(int(30_000 * patience())))
            self.assertIn("HALTED global", said)
            self.assertIn("a restart of this agent would forget it", said)
            for node in made.nodes:
                wait_until(lambda n=node: halted(n), 10 * patience(), f"{node.name} refuses orders")
            self.assertEqual({h["scope"]: h["on_disk"] for h in self.standing(holder)}, {"account:nobody": True, "global": False})
            wait_until(lambda: holder.metric("outrigger_halts_kept") == 0, 10 * patience(), "the metric says so")
            now = get_json(holder.api, "/outrigger/v1/role")
            self.assertEqual((now["holder"], now["epoch"]), (holder.name, held["epoch"]), "its lease was renewed all the time")
        finally:
            go_on()
        self.wait_on_disk(holder)
        self.assertEqual(holder.metric("outrigger_halts_kept"), 1)
        began = time.monotonic()
        warned = "warning" in self.cli(holder, "halt", "--reason", "once more")
        self.assertTrue(not warned or time.monotonic() - began >= 2, "it has not waited for the disk, which works")
        self.wait_on_disk(holder)

    def test_halts_survive_the_end_of_everything(self):
        made = self.make_cluster()
        made.order_options = 'name = "orders"\n'
        made.write_config()
        made.start()
        self.wait_ready(made)
        said = self.cli(made.nodes[2], "halt", "--scope", "route:orders", "--reason", "audit", "--block-cancels")
        # At once, by the hard way: what has been answered without a warning is on the disk.
        if "would forget it" in said:
            self.wait_on_disk(made.nodes[2])
        for node in made.nodes:
            node.agent.kill()
        made.nodes[2].start_agent()
        wait_until(lambda: halted(made.nodes[2]), 20 * patience(), "alone, it still stands")
        for node in made.nodes[:2]:
            node.start_agent()
        self.wait_ready(made)
        self.recorded(made)
        self.assertEqual(self.standing(made.nodes[2])[0]["scope"], "route:orders")
        self.cli(made.nodes[0], "halt", "--reason", "all of it")
        self.recorded(made)
        for node in made.nodes:
            node.agent.kill()
        for node in made.nodes:
            (node.folder / "data" / "halts").unlink()  # the log alone remembers
        for node in made.nodes:
            node.start_agent()
        self.wait_ready(made)
        for node in made.nodes:
            wait_until(lambda n=node: halted(n), 10 * patience(), f"{node.name} refuses orders")
            wait_until(lambda n=node: len(self.standing(n)) == 2, 10 * patience(), f"both halts at {node.name}")
        ids = [h["id"] for h in self.standing(made.nodes[1])]
        self.cli(made.nodes[1], "resume", *ids)
        for node in made.nodes:
            wait_until(lambda n=node: taken(n), 20 * patience(), f"{node.name} takes orders again")

    def test_scopes_accounts_and_two_people(self):
        made = self.make_cluster(count=1)
        made.write_config('[halt]\nsecond_person = true\naccount_header = "X-Client"\n')
        made.start()
        self.wait_ready(made)
        node = made.nodes[0]
        self.assertTrue(taken(node))
        self.cli(node, "halt", "--scope", "account:a7", "--reason", "limit", "--as", "ada")
        self.assertTrue(halted(node, {"X-Client": "a7"}))
        self.assertTrue(taken(node))
        one = self.standing(node)[0]
        self.assertTrue(one["second_person"])
        self.assertIn("proposed", self.cli(node, "resume", one["id"], "--as", "ada"))
        self.assertTrue(halted(node, {"X-Client": "a7"}))
        self.assertEqual(self.standing(node)[0]["proposed_by"], "ada")
        self.assertIn("somebody else", self.cli(node, "resume", one["id"], "--confirm", "--as", "ada", code=1))
        self.assertIn("resumed", self.cli(node, "resume", one["id"], "--confirm", "--as", "grace"))
        wait_until(lambda: not halted(node, {"X-Client": "a7"}), 5 * patience(), "the account trades again")
        self.assert_says(self.cli(node, "halt", "--scope", "planet:earth", "--reason", "x", code=2), "no scope")
        self.assertIn("nothing is halted", self.cli(node, "halts"))
        self.assertEqual(node.metric("outrigger_halts"), 0)
        self.assertGreater(node.metric("outrigger_requests_halted_total"), 0)


if __name__ == "__main__":
    import unittest

    unittest.main()
