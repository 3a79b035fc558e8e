"""Fence, reconcile, arm through real agents: what the old epoch left open is found out before the next primary gets orders."""

import http.client
import json
import signal
import sys
import threading

from harness import REPO, RealProcesses, get_json, patience, request, wait_until

KEYED = 'pool = "primary"\nhold = "{hold}"\nidempotency = {{ key = "header:Idempotency-Key", retention = "1h" }}\ntimeouts = {{ first_byte = "{late}" }}\n'
HOOK = REPO / "tests" / "e2e" / "reconcile_hook.py"


class Arming(RealProcesses):
    def start(self, arming, hold="5s", hook=True, delay_ms=None, trader=()):
        """A cluster whose orders carry keys, with [arming]; the hook asks the paper exchange.
        @param hook  False: none; "url": the first trader's own, over HTTP
        @param delay_ms  of each answer of the traders; without one, only a machine that stands still makes them late"""
        self.made = self.make_cluster()
        self.made.trader_options = list(trader)
        if delay_ms:
            self.made.trader_options = ["--delay-ms-min", delay_ms, "--delay-ms-max", delay_ms + 50]
        command = json.dumps([sys.executable, "-B", str(HOOK), self.made.exchange_address, str(self.made.folder)])
        lines = [f"reconcile = {{ exec = {command} }}"] if hook is True else [f'reconcile = {{ url = "http://{self.made.nodes[0].service}/ha/reconcile" }}'] if hook else []
        self.made.write_config("\n".join(["[arming]", *lines, *arming]) + "\n")
        text = self.made.config.read_text()
        self.made.config.write_text(text.replace('pool = "primary"\nhold = "5s"\n', KEYED.format(hold=hold, late="1500ms" if delay_ms else "30s"), 1))
        self.made.start()
        for node in self.made.nodes:
            wait_until(node.ready, 20 * patience(), f"{node.name} ready")
        return self.made.wait_agreed(20 * patience())

    def send(self, entry, key, timeout=20):
        """@return (status, headers with lower-case names, parsed body)"""
        host, port = entry.entry.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=timeout * patience())
        try:
            body = json.dumps({"client_order_id": key, "side": "buy", "symbol": "PAPER", "quantity": 1, "price": 10_000})
            connection.request("POST", "/orders", body, {"Content-Type": "application/json", "Idempotency-Key": key})
            answer = connection.getresponse()
            return answer.status, {n.lower(): v for n, v in answer.getheaders()}, json.loads(answer.read() or b"{}")
        finally:
            connection.close()

    def send_until(self, entry, key, status=201, seconds=30):
        """Repeats the key as a client does, until it is answered. @return the answer"""
        last = []

        def answered():
            try:
                last[:] = [self.send(entry, key)]
            except (OSError, http.client.HTTPException) as problem:
                last[:] = [(0, {}, {"problem": str(problem)})]
            return last[0][0] == status
        wait_until(answered, seconds * patience(), f"{status} for {key}")
        return last[0]

    def placed(self, key):
        lines = request(self.made.exchange_address, "GET", f"/log?id={key}")[2].decode().splitlines()
        return len(lines)

    def arming(self, node):
        return get_json(node.api, "/outrigger/v1/arming?stale") or {}

    def wait_arming(self, node, seconds=20, **wanted):
        def check():
            state = self.arming(node)
            return state if all(state.get(k) == v for k, v in wanted.items()) else None
        return wait_until(check, seconds * patience(), f"arming {wanted}")

    def order(self, node, key):
        return get_json(node.api, f"/outrigger/v1/orders/orders/{key}")

    def in_background(self, entry, key):
        """An order whose client may see its agent die."""
        def run():
            try:
                self.send(entry, key)
            except (OSError, http.client.HTTPException, ValueError):
                pass
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def others(self, name):
        return [node for node in self.made.nodes if node.name != name]

    # --- the hook decides ---------------------------------------------------------------------------------------------
    def test_an_order_that_died_before_the_exchange_is_found_out_and_placed_once(self):
        holder, epoch = self.start(['mode = "auto"', 'timeout = "10s"'])
        primary, others = self.made.node(holder), self.others(holder)
        self.assertEqual(self.send(others[0], "a-0")[0], 201)
        primary.trader.send(signal.SIGSTOP)  # it takes the order, and nothing comes of it
        self.in_background(others[0], "a-1")
        # "unknown" when this machine was so slow that the agent has given up on the answer meanwhile.
        wait_until(lambda: (self.order(others[0], "a-1") or {}).get("state") in ("reserved", "unknown"), 5 * patience(), "a reservation")
        primary.agent.kill()
        self.made.wait_agreed(20 * patience(), others, epoch)
        self.assertEqual(self.send_until(others[1], "a-1")[0], 201)
        primary.trader.send(signal.SIGCONT)  # the zombie sends what it has: the exchange was told which epoch counts
        for node in others:
            self.assertEqual(self.send_until(node, "a-1")[0], 201)
            self.assertEqual(self.send(node, "a-0")[0], 201)
        self.assertEqual((self.placed("a-0"), self.placed("a-1")), (1, 1))
        self.assertEqual(self.order(others[0], "a-1")["attempt"], 2)

    def test_an_order_that_the_exchange_has_is_answered_from_the_verdict(self):
        holder, epoch = self.start(['mode = "auto"', 'timeout = "10s"'], delay_ms=600_000)  # the answer comes never
        primary, others = self.made.node(holder), self.others(holder)
        self.in_background(others[0], "b-1")
        wait_until(lambda: self.placed("b-1") == 1, 10 * patience(), "the exchange has it")
        primary.agent.kill()
        primary.trader.kill()
        self.made.wait_agreed(20 * patience(), others, epoch)
        for node in others:
            _, headers, body = self.send_until(node, "b-1")
            self.assertEqual((body["client_order_id"], body["status"], headers["idempotent-replayed"]), ("b-1", "reconciled", "true"))
        self.assertEqual(self.placed("b-1"), 1)
        shown = self.order(others[0], "b-1")
        self.assertEqual((shown["state"], shown["source"], shown["attempt"]), ("done", "hook", 1))

    def test_an_order_that_becomes_unknown_while_armed_is_found_out_beside_orders(self):
        holder, epoch = self.start(['mode = "auto"', 'timeout = "10s"', 'quiet = "500ms"', 'every = "2s"'], hook="url", delay_ms=2500)
        entry = self.others(holder)[0]
        status, headers, _ = self.send(entry, "c-1")  # the instance has placed it, and says so too late
        self.assertEqual((status, headers["x-outrigger-outcome"]), (504, "unknown"))
        _, headers, body = self.send_until(entry, "c-1")
        self.assertEqual((body["status"], headers["idempotent-replayed"]), ("accepted", "true"))
        self.assertEqual(self.placed("c-1"), 1)
        self.assertEqual(self.made.wait_agreed(20 * patience()), (holder, epoch), "nobody had to fail for it")
        self.assertTrue(self.arming(entry)["armed"])

    def test_an_instance_that_answers_500_leaves_the_order_unknown_until_the_exchange_was_asked(self):
        holder, _ = self.start(['mode = "auto"', 'timeout = "10s"', 'quiet = "500ms"', 'every = "2s"'], hook="url", trader=["--lost-status", 500])
        entry = self.others(holder)[0]
        request(self.made.exchange_address, "PUT", "/mode", b'{"drop_replies": 1000}')  # the trader has orders of its own
        status, headers, body = self.send(entry, "h-1")
        self.assertEqual((status, headers.get("x-outrigger-outcome"), list(body)), (500, "unknown", ["error"]), "the instance's own words")
        for node in self.made.nodes:
            _, headers, body = self.send_until(node, "h-1")
            self.assertEqual((body["status"], headers["idempotent-replayed"]), ("accepted", "true"))
        self.assertEqual(self.placed("h-1"), 1)
        self.assertEqual(self.order(entry, "h-1")["source"], "hook")

    # --- what a hook that fails, and a person, do ----------------------------------------------------------------------
    def test_a_hook_that_fails_arms_nothing_and_says_so_until_it_works(self):
        (self.folder / "cluster0").mkdir(exist_ok=True)
        (self.folder / "cluster0" / "hook-fails").write_text("the broker does not answer")
        holder, epoch = self.start(['mode = "auto"', 'timeout = "10s"', 'retry = "100ms"', 'every = "1s"'], hold="500ms")
        for node in self.made.nodes:
            wait_until(lambda n=node: "the broker does not answer" in (self.arming(n).get("reason") or ""), 20 * patience(), "the reason")
            self.assertEqual((self.arming(node)["armed"], self.arming(node)["phase"]), (False, "reconciling"))
        for node in self.made.nodes:
            status, headers, body = self.send(node, "d-1")
            self.assertEqual((status, body["code"]), (503, "not_armed"), body)
            self.assertIn("hook failed", body["message"])
            self.assertEqual(headers["retry-after"], "1")
            self.assertEqual(headers["x-outrigger-outcome"], "not-sent")
        self.assertEqual(self.made.wait_agreed(20 * patience()), (holder, epoch), "arming does not touch the lease")
        code, out, err = self.run_cli("arming", api=self.made.nodes[0].api)
        self.assertEqual(code, 0, err)
        self.assert_says(out, "not armed", "reconciling", "hook failed")
        (self.made.folder / "hook-fails").unlink()
        self.assertEqual(self.send_until(self.made.nodes[1], "d-1")[0], 201)
        self.assertEqual(self.placed("d-1"), 1)

    def test_supervised_waits_for_a_person_at_any_agent_and_each_epoch_anew(self):
        holder, epoch = self.start(['mode = "supervised"'], hold="300ms")
        others = self.others(holder)
        self.wait_arming(others[0], phase="waiting", reason=f"approval of epoch {epoch} is awaited")
        self.assertEqual(self.send(others[0], "e-1")[2]["code"], "not_armed")
        self.assertEqual(request(others[0].entry, "GET", "/positions")[0], 200, "reads pass")
        code, out, err = self.run_cli("approve", "--epoch", epoch + 1, api=others[1].api)
        self.assertEqual(code, 1, out)
        self.assert_says(err + out, f"the present epoch is {epoch}")
        code, out, err = self.run_cli("approve", "--epoch", epoch, "--who", "ann", "--reason", "looked at positions", api=others[1].api)
        self.assertEqual(code, 0, err)
        for node in self.made.nodes:
            self.wait_arming(node, armed=True, approved_by="ann", approved_epoch=epoch)
        self.assertEqual(self.send(others[0], "e-1")[0], 201)
        code, out, err = self.run_cli("switchover", others[0].name, api=others[1].api)
        self.assertEqual(code, 0, err)
        _, next_epoch = self.made.wait_agreed(20 * patience(), after_epoch=epoch)
        self.wait_arming(others[1], phase="waiting", epoch=next_epoch)
        self.assertEqual(self.send(others[1], "e-2")[2]["code"], "not_armed")
        self.assertEqual(self.send(others[1], "e-1")[0], 201, "what is known is told")
        code, out, err = self.run_cli("approve", stdin="", api=self.made.node(holder).api)
        self.assertNotEqual(code, 0, "nobody has looked at anything: " + out)
        self.assertIn("--epoch", err)
        self.assertNotEqual(self.run_cli("approve", "--force", stdin="", api=self.made.node(holder).api)[0], 0)
        self.assertEqual(self.run_cli("approve", "--epoch", next_epoch, api=self.made.node(holder).api)[0], 0)
        self.assertEqual(self.send_until(others[1], "e-2")[0], 201)

    def test_a_primary_that_begins_anew_is_armed_anew(self):
        holder, epoch = self.start(['mode = "auto"', 'timeout = "10s"'])
        calls = self.made.folder / "hook-calls"
        self.wait_arming(self.made.nodes[0], armed=True)
        before = len(calls.read_text().splitlines())
        primary = self.made.node(holder)
        primary.agent.kill()
        primary.start_agent()
        _, after = self.made.wait_agreed(30 * patience(), after_epoch=epoch)
        self.wait_arming(self.made.nodes[0], armed=True, epoch=after)
        told = [json.loads(line) for line in calls.read_text().splitlines()[before:]]
        self.assertIn(after, [call["epoch"] for call in told])
        self.assertEqual(self.send_until(self.made.nodes[1], "f-1")[0], 201)

    # --- an operator's word -----------------------------------------------------------------------------------------------
    def test_one_command_decides_about_all_that_are_unknown(self):
        holder, _ = self.start(['mode = "auto"'], hook=False, delay_ms=2500)
        first, other = self.others(holder)
        keys = [f"h-{number}" for number in range(3)]
        for key in keys:
            self.assertEqual(self.send(first, key)[0], 504)
        unknown = lambda node: sorted(row["key"] for row in (get_json(node.api, "/outrigger/v1/orders?state=unknown") or {}).get("orders", []))
        wait_until(lambda: unknown(other) == keys, 10 * patience(), "the other agent to list them as unknown")
        decide = ("orders", "resolve", "--all-unknown", "done", "--status", "201", "--body", '{"by":"hand"}', "--who", "ann")
        code, out, err = self.run_cli(*decide, api=other.api)
        self.assertNotEqual(code, 0, "nobody at a terminal has said yes")
        self.assertEqual(unknown(other), keys)
        code, out, err = self.run_cli(*decide, "--yes", api=other.api)
        self.assertEqual(code, 0, err)
        self.assert_says(out, "3 orders are done from now on")
        for key in keys:
            status, headers, body = self.send_until(other, key)
            self.assertEqual((status, body, headers["idempotent-replayed"]), (201, {"by": "hand"}, "true"))
            wait_until(lambda k=key: self.placed(k) == 1, 10 * patience(), "what the instance had in hand")
        wait_until(lambda: unknown(first) == [], 10 * patience(), "the first agent to have heard")
        code, out, err = self.run_cli(*decide, "--yes", api=first.api)
        self.assertEqual((code, out), (0, "no order is unknown\n"), err)

    def test_operators_see_and_decide_orders_from_any_agent(self):
        holder, epoch = self.start(['mode = "auto"'], hook=False, delay_ms=2500)
        node, others = self.made.node(holder), self.others(holder)
        self.assertEqual(self.send(others[0], "g-1")[0], 504)
        wait_until(lambda: self.send(others[1], "g-1")[2].get("code") == "order_unknown", 10 * patience(), "the ledger to say unknown")
        wait_until(lambda: get_json(others[1].api, "/outrigger/v1/orders?state=unknown")["orders"], 10 * patience(), "the list to say so at that agent, too")
        listed = get_json(others[1].api, "/outrigger/v1/orders?state=unknown")
        self.assertEqual([row["key"] for row in listed["orders"]], ["g-1"])
        self.assertEqual(listed["counts"]["unknown"], 1)
        zone = listed["orders"][0]["zone"]
        resolve = ("orders", "resolve", zone, "g-1", "done", "--status", "201", "--body", '{"by":"hand"}', "--who", "ann")
        code, out, err = self.run_cli(*resolve, "--fence", "1", api=others[1].api)
        self.assertEqual(code, 1, "a fence of another moment")
        self.assert_says(out + err, "was not changed", "since entry")
        code, out, err = self.run_cli(*resolve, api=others[1].api)
        self.assertEqual(code, 0, err)
        for entry in self.made.nodes:
            status, headers, body = self.send_until(entry, "g-1")
            self.assertEqual((status, body, headers["idempotent-replayed"]), (201, {"by": "hand"}, "true"))
        code, out, err = self.run_cli("orders", "resolve", zone, "g-1", "not_sent", api=others[0].api)
        self.assertEqual(code, 1, "what is done is done")
        code, out, err = self.run_cli("orders", "show", zone, "g-1", "-o", "json", api=node.api)
        shown = json.loads(out)
        self.assertEqual((shown["state"], shown["source"], shown["answer"]["status"], shown["answer"]["body"]), ("done", "operator", 201, '{"by":"hand"}'))
        code, out, err = self.run_cli("orders", "list", api=others[0].api)
        self.assert_says(out, "g-1", "operator", "1 done", "0 unknown")
        self.assertEqual(self.run_cli("orders", "show", zone, "nobody", api=node.api)[0], 1)
        self.assertEqual(self.placed("g-1"), 1)
        wait_until(lambda: 'outrigger_orders{service="trader",state="done"} 1' in request(others[0].api, "GET", "/metrics")[2].decode(),
                   5 * patience(), "the ledger in the metrics")
