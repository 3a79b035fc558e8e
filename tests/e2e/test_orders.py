"""Orders under keys through three real agents: written down before they are sent, answered from the ledger afterwards."""

import http.client
import json
import signal

from harness import RealProcesses, get_json, patience, wait_until

KEYED = 'pool = "primary"\nhold = "5s"\nidempotency = { key = "header:Idempotency-Key", retention = "1h" }\ntimeouts = { first_byte = "8s" }\n'


class KeyedOrders(RealProcesses):
    """Three agents whose route of orders has keys; `keyed` is what stands in it."""
    keyed = KEYED

    def setUp(self):
        super().setUp()
        self.made = self.make_cluster()
        text = self.made.config.read_text()
        self.assertIn('pool = "primary"\nhold = "5s"\n', text)
        self.made.config.write_text(text.replace('pool = "primary"\nhold = "5s"\n', self.keyed, 1))
        self.made.start()
        self.wait_ready(self.made)

    def send(self, entry, key, quantity=1, headers=None, timeout=15):
        """@return (status, header names and values without those of this one answer, body)"""
        host, port = entry.entry.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=timeout * patience())
        try:
            body = json.dumps({"client_order_id": key or "none", "side": "buy", "symbol": "PAPER", "quantity": quantity, "price": 10_000})
            asked = {"Content-Type": "application/json", **(headers or {})}
            if key is not None:
                asked["Idempotency-Key"] = key
            connection.request("POST", "/orders", body, asked)
            answer = connection.getresponse()
            own = {"x-request-id", "idempotent-replayed"}
            return answer.status, [(n, v) for n, v in answer.getheaders() if n.lower() not in own], answer.read()
        finally:
            connection.close()

    def placed(self, key):
        """How often the exchange has seen an order of that id."""
        host, port = self.made.exchange_address.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20 * patience())
        try:
            connection.request("GET", "/log")
            lines = connection.getresponse().read().decode().splitlines()
            return sum(json.loads(line)["id"] == key for line in lines)
        finally:
            connection.close()

    def primary(self):
        return self.made.node(self.made.wait_agreed(20 * patience())[0])


class Orders(KeyedOrders):
    def test_the_same_key_gets_the_same_answer_from_every_agent_and_one_order(self):
        status, headers, body = self.send(self.made.nodes[0], "k-1")
        self.assertEqual(status, 201, body)
        for entry in self.made.nodes * 2:
            self.assertEqual(self.send(entry, "k-1"), (status, headers, body))
        self.assertEqual(self.placed("k-1"), 1)

    def test_keys_that_lack_or_stand_for_something_else_are_told_so(self):
        self.assertEqual(self.send(self.made.nodes[1], "k-2")[0], 201)
        status, _, body = self.send(self.made.nodes[2], "k-2", quantity=2)
        self.assertEqual((status, json.loads(body)["code"]), (422, "order_key_reused"))
        for entry in self.made.nodes:
            status, _, body = self.send(entry, None)
            self.assertEqual((status, json.loads(body)["code"]), (400, "order_key_missing"))
        self.assertEqual(self.placed("k-2"), 1)
        self.assertEqual(self.placed("none"), 0)

    def test_an_order_whose_answer_never_came_is_not_sent_again_by_itself(self):
        primary = self.primary()
        primary.trader.send(signal.SIGSTOP)
        try:
            status, headers, body = self.send(self.made.nodes[0], "k-3")
            self.assertEqual(status, 504, body)
            self.assertIn(("X-Outrigger-Outcome", "unknown"), headers)

            def unknown():
                status, _, body = self.send(self.made.nodes[1], "k-3")
                return status == 409 and json.loads(body)["code"] == "order_unknown"

            wait_until(unknown, 10 * patience(), "the ledger says unknown")
        finally:
            primary.trader.send(signal.SIGCONT)
        # The instance wakes up and may place it once; whoever repeats the key places nothing.
        for entry in self.made.nodes:
            self.assertEqual(self.send(entry, "k-3")[0], 409)
        self.assertLessEqual(self.placed("k-3"), 1)

    def test_answers_outlive_the_primary(self):
        answers = {f"k-4-{n}": self.send(self.made.nodes[n % 3], f"k-4-{n}") for n in range(20)}
        self.assertEqual({status for status, _, _ in answers.values()}, {201})
        for node in self.made.nodes:  # an answer is given when most have it; the one who is left may not
            wait_until(lambda n=node: (get_json(n.api, "/outrigger/v1/orders?limit=1") or {}).get("counts", {}).get("done") == 20, 10 * patience(),
                       f"all answers at {node.name}")
        holder, epoch = self.made.wait_agreed(20 * patience())
        dead = self.made.node(holder)
        dead.agent.kill()
        dead.trader.kill()
        left = [node for node in self.made.nodes if node is not dead]
        for number, (key, answer) in enumerate(answers.items()):
            # Nobody leads at first: what is known is told all the same.
            self.assertEqual(self.send(left[number % 2], key), answer)
        self.made.wait_agreed(20 * patience(), left, after_epoch=epoch)
        for number, (key, answer) in enumerate(answers.items()):
            self.assertEqual(self.send(left[number % 2], key), answer)
            self.assertEqual(self.placed(key), 1)
        status, _, body = self.send(left[0], "k-5")
        self.assertEqual(status, 201, body)
