"""Limits that three real agents count together: exact over all entries, bounded when the agent that counts is gone."""

import concurrent.futures
import http.client
import itertools
import signal
import time
import unittest

from harness import RealProcesses, get_json, patience, request, wait_until

ROUTES = """[[route]]
name = "window"
host = "window"
pool = "all"
rate = { limit = "20/1h", key = "header:X-Client", scope = "cluster", timeout = "1s" }
[[route]]
name = "bucket"
host = "bucket"
pool = "all"
rate = { limit = "10/s", burst = 20, nodelay = true, key = "header:X-Client", scope = "cluster", timeout = "1s" }
[[route]]
name = "slow"
host = "slow"
pool = "all"
rate = { limit = "30/1h", key = "header:X-Client", scope = "cluster", timeout = "1s" }

"""


class ClusterLimits(RealProcesses):
    def setUp(self):
        super().setUp()
        self.made = self.make_cluster()
        text = self.made.config.read_text()
        text = text.replace("[proxy]\n", '[proxy]\ntrails = "256KiB"\n', 1)
        self.made.config.write_text(text.replace("[[route]]", ROUTES + "[[route]]", 1))
        self.made.start()
        self.wait_ready(self.made)
        for node in self.made.nodes:
            wait_until(lambda n=node: self.counts_together(n), 15 * patience(), f"{node.name} asks the others")

    def ask(self, entry, route, client):
        """@return (status, fields) over a connection of its own."""
        host, port = entry.entry.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10 * patience())
        try:
            connection.request("GET", "/positions", headers={"Host": route, "X-Client": client})
            answer = connection.getresponse()
            answer.read()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}
        finally:
            connection.close()

    def metric(self, node, line):
        for found in request(node.api, "GET", "/metrics")[2].decode().splitlines():
            if found.startswith(line + " "):
                return float(found.rsplit(" ", 1)[1])
        return 0.0

    def decided(self, node, by):
        return self.metric(node, f'outrigger_ratelimit_cluster_decided_total{{by="{by}"}}')

    def fallen(self, node):
        """How often it had to count by itself, since the one who counts did not answer."""
        return sum(self.decided(node, by) for by in ("late", "silent", "unreachable"))

    def counts_together(self, node):
        """Some of 12 new clients are counted by each of the others, and both have answered."""
        before = self.decided(node, "owner")
        for number in range(12):
            self.ask(node, "slow", f"warm-{node.name}-{number}-{time.monotonic_ns()}")
        return self.decided(node, "owner") - before >= 4

    def undisturbed(self, nodes, a_round):
        """What `a_round` brings, of the first one in which each agent had its answers within a second, as these agents say. Where the machine
        stood still for longer, they rightly count by themselves, and nothing is exact. Each round has clients of its own."""
        def once():
            before = [self.fallen(node) for node in nodes]
            brought = a_round()
            return [brought] if [self.fallen(node) for node in nodes] == before else None
        return wait_until(once, 30, "a round in which nobody had to count by itself")[0]

    def test_guide_002_http_req_rate_21_calls_over_three_entries_give_one_429(self):
        names = itertools.count()

        def a_round():
            client = f"client-{next(names)}"
            return [self.ask(self.made.nodes[i % 3], "window", client) for i in range(21)]
        for _ in range(4):
            answers = self.undisturbed(self.made.nodes, a_round)
            self.assertEqual([status for status, _ in answers], [200] * 20 + [429])
            refused = answers[-1][1]
            # until the window is over, and then until one of its twenty has faded: the 20th part of the next
            self.assertTrue(179 <= int(refused["retry-after"]) <= 3600 + 180 + 1, refused)
            self.assertEqual(refused["ratelimit-policy"], '"window";q=20;w=3600')
            self.assertRegex(refused["ratelimit"], '^"window";r=0;t=[0-9]+$')
            self.assertEqual([a[1]["ratelimit"].split(";")[1] for a in answers[:20]], [f"r={19 - i}" for i in range(20)])
        self.say_who_decided()

    def say_who_decided(self):
        """The trail of a request tells who has counted it."""
        said, clients = set(), itertools.count()

        def all_said():  # who counts a client is chance: of some, one agent may count none
            _, fields = self.ask(self.made.nodes[0], "slow", f"trail-{next(clients)}")
            code, out, err = self.run_cli("why", fields["x-request-id"], api=self.made.nodes[0].api)
            self.assertEqual(code, 0, err)
            said.update(word for node in self.made.nodes for word in [f"counted for the cluster by {node.name}", f"counted here for the cluster {node.name}"]
                        if word in out)
            return len(said) == 3
        wait_until(all_said, 15 * patience(), "each of the three to count some")

    def test_guide_003_31_at_once_over_three_entries_21_pass_and_10_a_second_later(self):
        names = itertools.count()
        for _ in range(2):
            statuses, took, again, took_again = self.undisturbed(self.made.nodes, lambda: self.drink(f"client-{next(names)}"))
            passed = statuses.count(200)
            self.assertEqual(passed + statuses.count(429), 31, statuses)
            self.assertGreaterEqual(passed, 21)
            self.assertLessEqual(passed, 21 + int(took * 10) + 1, f"within {took:.3f} s")
            self.assertEqual(again[:10], [200] * 10)
            self.assertLessEqual(again.count(200), int(took_again * 10) + 1, f"within {took_again:.3f} s")

    def drink(self, client):
        """@return statuses of 31 at once, within how many seconds, those of 14 a second after the bucket was empty, and how long it had for them"""
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(31) as pool:
            statuses = list(pool.map(lambda i: self.ask(self.made.nodes[i % 3], "bucket", client)[0], range(31)))
        took = time.monotonic() - began
        # What came back meanwhile is used up as well: somebody is refused. From then on each second brings ten.
        asked, answered = wait_until(lambda: self.empty(client), 10, "a bucket that is empty")
        wait_until(lambda: time.monotonic() - answered > 1.0, 5, "a second")
        again = [self.ask(self.made.nodes[i % 3], "bucket", client)[0] for i in range(14)]
        return statuses, took, again, time.monotonic() - asked

    def empty(self, client):
        """Many requests at once, so that a slow machine does not ask more slowly than the bucket fills.
        @return when the last of them that was refused began, and when all were answered; None when none was refused"""
        def one(_):
            asked = time.monotonic()
            return asked if self.ask(self.made.nodes[0], "bucket", client)[0] == 429 else 0
        with concurrent.futures.ThreadPoolExecutor(31) as pool:
            last = max(pool.map(one, range(31)))
        return (last, time.monotonic()) if last else None

    def test_an_agent_that_hangs_or_dies_stops_nobody_and_opens_no_gate(self):
        entry, other, victim = self.made.nodes
        clients = [f"c{number}" for number in range(48)]  # so many that the victim counts some, though who counts whom is chance
        for client in clients:
            for _ in range(3):
                self.assertEqual(self.ask(entry, "slow", client)[0], 200)
        fallen = self.fallen(entry)
        victim.agent.send(signal.SIGSTOP)
        statuses = [self.ask(entry, "slow", client)[0] for client in clients]
        self.assertEqual(set(statuses), {200}, "each has used 3 of 30; this agent's share is 10")
        self.assertGreater(self.fallen(entry), fallen)
        victim.agent.send(signal.SIGCONT)
        victim.agent.kill()
        for node in (entry, other):
            wait_until(lambda n=node: len([m for m in get_json(n.api, "/v1/agent/members?alive=1") or [] if m.get("Status") == 1]) == 2,
                       20 * patience(), f"the loss is known to {node.name}")
        left = iter(clients)
        for _ in range(12):  # two agents that see each other ask each other, and nobody else
            statuses = self.undisturbed((entry, other), lambda: self.use_up(next(left, None), (entry, other), victim))
            # 4 are used up. Who was counted by the victim begins with what the others were told of it, at most one share behind.
            self.assertTrue(26 <= statuses.count(200) <= 30, statuses)

    def use_up(self, client, nodes, victim):
        """@return the statuses of 31 requests of the client at these nodes in turn"""
        self.assertTrue(client, "in three of four rounds an agent had to count by itself")
        answers = [self.ask(nodes[i % len(nodes)], "slow", client) for i in range(31)]
        for node, (_, fields) in zip(nodes, answers):
            code, out, err = self.run_cli("why", fields["x-request-id"], api=node.api)
            self.assertEqual(code, 0, err)
            self.assertRegex(out, "for the cluster|decided here")
            self.assertNotRegex(out, rf"(for the cluster|decided here)[^\n]* {victim.name}\b")
        return [status for status, _ in answers]

    def test_settings_that_contradict_each_other_are_refused(self):
        settings = self.made.config.read_text()
        self.assert_refused(settings.replace('limit = "30/1h", key = "header:X-Client", scope = "cluster", timeout = "1s"', 'limit = "30/1h", scope = "node", timeout = "20ms"'),
                            "route[2].rate.timeout", 'scope = "cluster"')
        self.assert_refused(settings.replace('scope = "cluster", timeout = "1s" }', 'scope = "everywhere" }'), "scope", "everywhere")


if __name__ == "__main__":
    unittest.main()
