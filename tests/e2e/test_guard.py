"""Clients whose requests fail too often are kept out, at every agent (guides 001 and 004)."""

import hashlib
import unittest

from harness import Neighbours, get_json, metric, patience, wait_until

TOKEN = "a-token-that-nobody-guesses"
SETTINGS = f"""
[proxy]
threads = 2
[guard]
fails = 5
within = "10m"
ban = "1h"
never = ["203.0.113.0/24"]
[[route]]
name = "admin"
path = "/admin"
pool = "all"
auth = {{ tokens = ["sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}"] }}
[[route]]
path = "/"
pool = "all"
"""


class Guard(Neighbours):
    """Agents a and b; clients come through a balancer on this machine that says whose requests they are."""

    LISTENER = 'trusted_proxies = ["127.0.0.1"]'
    SETTINGS = SETTINGS

    def setUp(self):
        super().setUp()
        wait_until(lambda: all(peer["mesh_connected"] for peer in get_json(self.apis[0], "/outrigger/v1/peers")["peers"] if peer["name"] == "b"),
                   10 * patience(), "the mesh between them")

    def ask(self, entry, path, client, token=None):
        """@return (status, the answer's code, whether the connection ends)"""
        status, answer, ends = super().ask(entry, path, {"X-Forwarded-For": client, **({"Authorization": f"Bearer {token}"} if token else {})})
        return status, answer.get("code"), ends

    def bans(self, agent):
        return {ban["client"]: ban for ban in get_json(self.apis[agent], "/outrigger/v1/guard")["bans"]}

    def test_guide_001_guard_5_failures_ban_for_an_hour_here_and_at_the_other_agent_within_2_s(self):
        client = "198.51.100.7"
        self.assertEqual([self.ask("a", "/admin", client)[0] for _ in range(4)], [401] * 4)
        self.assertEqual(self.ask("a", "/x", client)[0], 200, "four are not enough")
        self.assertEqual(self.ask("a", "/admin", client)[0], 401)
        # Answered first, counted then; and the next connection may be the other worker's.
        wait_until(lambda: self.ask("a", "/x", client) == (403, "banned", True), 2 * patience(), "the ban, whatever it asks for, with whatever token")
        self.assertEqual(self.ask("a", "/admin", client, TOKEN)[0], 403)
        wait_until(lambda: self.ask("b", "/x", client)[0] == 403, 2 * patience(), "b to hear of it")
        self.assertEqual(self.ask("b", "/x", "198.51.100.8")[0], 200, "its neighbour has done nothing")
        self.assertEqual((self.bans(0)[client]["by"], self.bans(1)[client]["by"]), ("here", "peer"))
        self.assertGreater(self.bans(1)[client]["left_ms"], 3_500_000)
        self.assertGreaterEqual(metric(self.apis[0], "outrigger_guard_refused_total "), 2)
        self.assertEqual(metric(self.apis[0], "outrigger_guard_banned_total "), 1)
        self.assertEqual(metric(self.apis[1], "outrigger_guard_bans "), 1)

        code, out, _ = self.run_cli("guard", "list", api=self.apis[1])
        self.assertEqual(code, 0)
        self.assert_says(out, client, "another agent", "5 failures in 10 min")
        code, out, err = self.run_cli("guard", "unban", client, api=self.apis[1])
        self.assertEqual((code, out.strip()), (0, "let in again"), err)
        self.assertEqual(self.ask("b", "/x", client)[0], 200)
        wait_until(lambda: self.ask("a", "/x", client)[0] == 200, 2 * patience(), "a, which has banned it, to hear of that")
        self.assertEqual(self.bans(0), {})

    def test_guide_004_guard_never_bans_whom_the_settings_name_and_obeys_an_operator(self):
        self.assertEqual([self.ask("a", "/admin", "203.0.113.9")[0] for _ in range(9)], [401] * 9)
        code, _, err = self.run_cli("guard", "ban", "203.0.113.9", api=self.apis[0])
        self.assertEqual(code, 1)
        self.assert_says(err, "guard.never")
        code, _, err = self.run_cli("guard", "ban", "somebody", api=self.apis[0])
        self.assertNotEqual(code, 0)
        self.assert_says(err, "no IP address")
        self.assertEqual(self.run_cli("guard", "ban", "2001:db8:5:6::1", "--for", "10m", api=self.apis[0])[0], 0)
        wait_until(lambda: "2001:db8:5:6::/64" in self.bans(1), 2 * patience(), "b to hear of it")
        self.assertEqual(self.ask("b", "/x", "2001:db8:5:6:ffff::9")[0], 403, "one /64 is one client")
        self.assertEqual(self.ask("b", "/x", "2001:db8:5:7::9")[0], 200)
        code, _, err = self.run_cli("guard", "unban", "198.51.100.1", api=self.apis[0])
        self.assertEqual(code, 1)
        self.assert_says(err, "was not banned")


if __name__ == "__main__":
    unittest.main()
