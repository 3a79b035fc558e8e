"""Orders under keys where routes change and agents differ: a key that is known is not sent again."""

import json

from harness import answer_of, patience
from test_orders import KeyedOrders


class OrderRules(KeyedOrders):
    def reload(self, node, text):
        """This agent's own settings, read again."""
        file = node.folder / "outrigger.toml"
        file.unlink()  # it is the one file of all agents, by another name
        file.write_text(text)
        self.assertEqual(answer_of(node.api, "PUT", "/v1/agent/reload").status, 200)

    def code(self, entry, key, headers=None):
        status, answer_headers, body = self.send(entry, key, headers=headers)
        return status, json.loads(body).get("code"), dict(answer_headers).get("X-Outrigger-Outcome")

    def test_a_key_is_known_whatever_its_route_is_called(self):
        answer = self.send(self.made.nodes[0], "r-1")
        self.assertEqual(answer[0], 201, answer)
        text = self.made.config.read_text()
        self.assertIn('methods = ["POST"]\npath = "/orders"\n', text)
        host, _ = self.made.nodes[1].entry.split(":")
        # One more method, a label for a dashboard, and a route of its own for one host.
        more = text.replace('methods = ["POST"]\npath = "/orders"\n', f'name = "placing"\nmethods = ["POST", "PATCH"]\nhost = "{host}"\npath = "/orders"\n' + self.keyed
                            + '[[route]]\nmethods = ["POST"]\npath = "/orders"\n')
        for node in self.made.nodes:
            self.reload(node, more)
            self.assertNotIn("orders_left", node.agent.log.read_text())
        self.made.wait_agreed(20 * patience())
        for entry in self.made.nodes:
            self.assertEqual(self.send(entry, "r-1"), answer)
            self.assertEqual(self.send(entry, "r-1", headers={"Host": "elsewhere.example"}), answer)
        self.assertEqual(self.placed("r-1"), 1)

    def test_a_primary_whose_agent_has_no_such_rule_is_given_no_order(self):
        answer = self.send(self.made.nodes[0], "r-2")
        self.assertEqual(answer[0], 201, answer)
        holder = self.primary()
        others = [node for node in self.made.nodes if node is not holder]
        for node in others:
            node.trader.kill()  # nobody else becomes primary
        text = self.made.config.read_text()
        for unlike in (text.replace('idempotency = { key = "header:Idempotency-Key", retention = "1h" }\n', ""),
                       text.replace('retention = "1h" }', 'zone = "other" }')):
            self.assertNotEqual(unlike, text)
            self.reload(holder, unlike)
            self.assertIn("orders_left", holder.agent.log.read_text())
            for entry in others:
                self.assertEqual(self.send(entry, "r-2"), answer, "what is known is told from the entry's own copy")
                self.assertEqual(self.code(entry, "r-3"), (503, "order_rules_differ", "not-sent"))
        self.assertGreaterEqual(sum(node.metric("outrigger_orders_rules_differ_total") for node in others), 4)
        self.assertEqual((self.placed("r-2"), self.placed("r-3")), (1, 0))
        self.reload(holder, text)
        self.assertEqual({self.send(entry, "r-3")[0] for entry in self.made.nodes}, {201})
        self.assertEqual(self.placed("r-3"), 1)

    def test_a_key_of_another_account_is_no_repetition(self):
        for number, entry in enumerate(self.made.nodes):
            status, _, body = self.send(entry, "r-4", headers={"X-Account": "a"})
            self.assertEqual(status, 201, body)
            self.assertEqual(self.code(entry, "r-4", {"X-Account": "b"}), (422, "order_key_reused", "not-sent"), number)
            self.assertEqual(self.code(entry, "r-4"), (422, "order_key_reused", "not-sent"), number)
        self.assertEqual(self.placed("r-4"), 1)
