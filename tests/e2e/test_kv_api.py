"""Keys, locks, sessions, transactions, elections and the feed of changes against three real agents."""

import base64
import http.client
import json
import threading
import time
import unittest

from harness import RealProcesses, get_json, patience, request, wait_until


def put(api, path, body=b"", timeout=10):
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
    return request(api, "PUT", path, body, timeout=timeout)


class Events:
    """Follows an event stream in a thread, also across a broken connection: then at the next of its agents."""

    def __init__(self, apis, path, last_id=""):
        self.apis, self.path, self.last_id = list(apis), path, last_id
        self.seen, self.lock, self.over = [], threading.Lock(), False
        self.connection = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.over:
            try:
                self.follow(self.apis[0])
            except (OSError, http.client.HTTPException):
                pass
            self.apis.append(self.apis.pop(0))
            time.sleep(0.05)

    def follow(self, api):
        host, port = api.rsplit(":", 1)
        self.connection = http.client.HTTPConnection(host, int(port), timeout=20 * patience())
        headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
        self.connection.request("GET", self.path, headers=headers)
        answer = self.connection.getresponse()
        event = {}
        while not self.over:
            line = answer.readline().decode()
            if not line:
                return
            line = line.rstrip("\n")
            if line:
                name, _, value = line.partition(":")
                event[name] = value.strip()
            elif event.get("event"):
                with self.lock:
                    self.seen.append((event["event"], json.loads(event.get("data", "null"))))
                    self.last_id = event.get("id", self.last_id)
                event = {}

    def changes(self):
        with self.lock:
            return [(c["op"], c["key"]) for kind, data in self.seen if kind == "change" for c in data["changes"]]

    def has(self, kind):
        with self.lock:
            return any(event == kind for event, _ in self.seen)

    def close(self):
        self.over = True


class KvApi(RealProcesses):
    def start_three(self):
        made = self.start_cluster()
        self.apis = [node.api for node in made.nodes]
        return made

    def session(self, api, **fields):
        """A new session; the agent's node may not be in the catalog at once."""
        body = {"LockDelay": "0s", **fields}
        found = {}

        def made():
            status, _, answer = put(api, "/v1/session/create", body)
            found["id"] = json.loads(answer).get("ID") if status == 200 else None
            return found["id"]
        wait_until(made, 10 * patience(), "a session")
        return found["id"]

    def leader(self, made, but=()):
        def find():
            for node in made.nodes:
                if node.name not in but and (get_json(node.api, "/outrigger/v1/raft") or {}).get("role") == "leader":
                    return node
            return None
        return wait_until(find, 15 * patience(), "a leader")

    def test_dialects_of_one_state(self):
        self.start_three()
        for key in ("plain", "with%20space", "per%25cent", "pl+us", "sl/ash", "esc%2Faped", "k" * 1024):
            self.assertEqual(put(self.apis[0], f"/v1/kv/{key}?flags=18446744073709551615", b"v")[2], b"true")
            entry = get_json(self.apis[1], f"/v1/kv/{key}")[0]
            self.assertEqual((base64.b64decode(entry["Value"]), entry["Flags"]), (b"v", 2**64 - 1))
        self.assertEqual(sorted(get_json(self.apis[2], "/v1/kv/?keys"))[:4], ["esc/aped", "k" * 1024, "per%cent", "pl+us"])
        self.assertEqual(put(self.apis[0], "/v1/kv/" + "k" * 1025)[0], 400)
        self.assertEqual(put(self.apis[0], "/v1/kv/a%00b")[0], 400)
        self.assertEqual(put(self.apis[0], "/v1/kv/big", b"x" * (512 * 1024 + 1))[0], 413)
        self.assertEqual(put(self.apis[0], "/v1/kv/big", b"x" * (512 * 1024))[2], b"true")
        self.assertEqual(request(self.apis[0], "GET", "/v1/kv/plain?index=1&wait=5")[0], 400)
        status, _, body = put(self.apis[0], "/v1/kv/lock?acquire=abc", b"x")
        self.assertEqual((status, body), (500, b'invalid session "abc"'))
        # Own words: CAS answers index and value in one call.
        made = json.loads(put(self.apis[1], "/outrigger/v1/kv/own?cas=0", b"one")[2])
        status, headers, body = put(self.apis[2], "/outrigger/v1/kv/own?cas=0", b"two")
        lost = json.loads(body)
        self.assertEqual((status, lost["current"]["index"], lost["current"]["value"]), (409, made["index"], "b25l"))
        self.assertEqual(int(headers["x-consul-index"]), made["index"])
        self.assertEqual(put(self.apis[2], f"/outrigger/v1/kv/own?cas={made['index']}", b"two")[0], 200)
        # Transactions.
        ops = [{"KV": {"Verb": "cas", "Key": "own", "Index": made["index"], "Value": ""}}, {"KV": {"Verb": "set", "Key": "t", "Value": "eA=="}}]
        status, _, body = put(self.apis[0], "/v1/txn", ops)
        self.assertEqual((status, json.loads(body)["Errors"][0]["OpIndex"]), (409, 0))
        self.assertEqual(request(self.apis[0], "GET", "/v1/kv/t")[0], 404, "nothing of a transaction that lost")
        status, _, body = put(self.apis[1], "/v1/txn", ops[1:] + [{"KV": {"Verb": "get-tree", "Key": "t"}}])
        self.assertEqual((status, [r["KV"]["Value"] for r in json.loads(body)["Results"]]), (200, [None, "eA=="]))
        # Elections as read-only keys.
        epoch = get_json(self.apis[0], "/outrigger/v1/election/trader")["epoch"]
        shown = get_json(self.apis[1], "/v1/kv/outrigger/election/?recurse")
        self.assertEqual((shown[0]["Key"], shown[0]["Flags"]), ("outrigger/election/trader", epoch))
        self.assertEqual(put(self.apis[1], "/v1/kv/outrigger/election/trader", b"me")[0], 403)
        self.assertEqual(request(self.apis[2], "GET", f"/outrigger/v1/election/trader/verify?epoch={epoch}")[0], 200)
        self.assertEqual(request(self.apis[2], "GET", f"/outrigger/v1/election/trader/verify?epoch={epoch + 1}")[0], 409)

    def test_locks(self):
        made = self.start_three()
        mine, other = self.session(self.apis[0]), self.session(self.apis[1])
        winners = []

        def race(api, session):
            if put(api, f"/v1/kv/race?acquire={session}", session.encode())[2] == b"true":
                winners.append(session)
        racers = [threading.Thread(target=race, args=(api, s)) for api, s in zip(self.apis, (mine, other), strict=False)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        self.assertEqual(len(winners), 1, "two racers, one winner")
        held = get_json(self.apis[2], "/v1/kv/race")[0]
        self.assertEqual((held["Session"], held["LockIndex"]), (winners[0], 1))
        # Released by its holder: free at once. Ended by force with a delay: refused for that long, then free.
        self.assertEqual(put(self.apis[2], f"/v1/kv/race?release={winners[0]}")[2], b"true")
        delayed = self.session(self.apis[0], LockDelay="5s")
        self.assertEqual(put(self.apis[0], f"/v1/kv/race?acquire={delayed}")[2], b"true")
        ended = time.monotonic()
        self.assertEqual(put(self.apis[1], f"/v1/session/destroy/{delayed}")[2], b"true")
        self.assertEqual(put(self.apis[1], f"/v1/kv/race?acquire={other}")[2], b"false", "within the lock-delay")
        self.assertNotIn("Session", get_json(self.apis[0], "/v1/kv/race")[0])
        wait_until(lambda: put(self.apis[1], f"/v1/kv/race?acquire={other}")[2] == b"true", 10 * patience(), "the end of the lock-delay")
        self.assertGreater(time.monotonic() - ended, 4.9)
        # The agent of a session dies: the session ends, its key is free for others.
        victim = next(node for node in made.nodes if node.api == self.apis[2])
        bound = self.session(self.apis[2])
        self.assertEqual(put(self.apis[2], f"/v1/kv/bound?acquire={bound}", b"x")[2], b"true")
        victim.agent.kill()
        wait_until(lambda: put(self.apis[0], f"/v1/kv/bound?acquire={mine}", b"y")[2] == b"true", 20 * patience(),
                   "the key of a session whose agent was killed")
        self.assertEqual(get_json(self.apis[1], f"/v1/session/info/{bound}"), [])

    def test_sessions_expire_and_locks_are_taken_over(self):
        made = self.make_cluster(3)
        made.config.write_text('[api]\nsession_ttl_min = "500ms"\n' + made.config.read_text())
        made.start()
        self.wait_ready(made)
        self.apis = [node.api for node in made.nodes]
        status, _, body = put(self.apis[0], "/v1/session/create", {"TTL": "100ms"})
        self.assertEqual((status, body.startswith(b"Invalid Session TTL '100000000'")), (500, True))
        begun = time.monotonic()
        renewed, silent = self.session(self.apis[0], ttl="4s"), self.session(self.apis[1], ttl="4s")
        self.assertEqual(put(self.apis[0], f"/v1/kv/lock?acquire={silent}", b"x")[2], b"true")
        index = int(request(self.apis[2], "GET", "/v1/kv/lock")[1]["x-consul-index"])

        def freed():
            status, _, body = put(self.apis[2], f"/v1/session/renew/{renewed}")
            self.assertEqual((status, json.loads(body)[0]["ID"]), (200, renewed))
            entry = get_json(self.apis[2], f"/v1/kv/lock?index={index}&wait=200ms")[0]
            return "Session" not in entry
        wait_until(freed, 20 * patience(), "the lock of a session that nobody renews")
        self.assertGreater(time.monotonic() - begun, 3.9)
        self.assertEqual(put(self.apis[2], f"/v1/session/renew/{silent}")[0], 404)
        self.assertEqual(put(self.apis[0], f"/v1/kv/lock?acquire={renewed}", b"y")[2], b"true", "taken over")

    def test_blocking_queries_and_feed_miss_nothing_when_the_leader_dies(self):
        made = self.start_three()
        leader = self.leader(made)
        others = [node for node in made.nodes if node is not leader]
        events = Events([leader.api, others[0].api, others[1].api], "/outrigger/v1/watch/run/")
        self.addCleanup(events.close)
        wait_until(lambda: events.has("ready"), 10 * patience(), "the stream's beginning")
        seen, stop = [], threading.Event()

        def follow():
            index = 0
            while not stop.is_set():
                try:
                    status, headers, body = request(others[0].api, "GET", f"/v1/kv/run/?recurse&index={index}&wait=2s", timeout=10)
                except (OSError, http.client.HTTPException):
                    continue
                if status not in (200, 404):
                    time.sleep(0.05)
                    continue
                now = int(headers["x-consul-index"])
                self.assertGreaterEqual(now, index, "an index went back")
                index = now
                seen.append({e["Key"] for e in json.loads(body)} if status == 200 else set())
        follower = threading.Thread(target=follow)
        follower.start()
        written = []
        for number in range(60):
            if number == 20:
                leader.agent.kill()
            api = others[number % 2].api
            key = f"run/{number:03}"
            try:
                status, _, body = put(api, f"/v1/kv/{key}", b"x", timeout=10)
            except (OSError, http.client.HTTPException):
                continue
            if status == 200 and body == b"true":
                written.append(key)
            elif status == 500:
                self.assertTrue(body.startswith((b"No cluster leader", b"outcome unknown")), body)
        self.assertGreater(len(written), 50, "writes go on under the next leader")
        wait_until(lambda: seen and set(written) <= seen[-1], 10 * patience(), "the blocking query's view of every acknowledged write")
        stop.set()
        follower.join()
        wait_until(lambda: {key for op, key in events.changes() if op == "set"} >= set(written), 10 * patience(),
                   "every acknowledged write in the feed, across agents")
        sent = [key for op, key in events.changes()]
        self.assertEqual(len(sent), len(set(sent)), "no change twice")
        self.assertEqual(sent, sorted(sent), "in the order in which they were written")

    def test_without_a_quorum(self):
        made = self.start_three()
        alive = made.nodes[0]
        put(alive.api, "/v1/kv/k", b"v")
        for node in made.nodes[1:]:
            node.agent.kill()
        status, _, body = put(alive.api, "/v1/kv/k", b"w")  # answered, although nobody can say yes
        self.assertEqual(status, 500)
        self.assertTrue(body.startswith((b"No cluster leader\n", b"outcome unknown")), body)

        def refused():
            status, _, body = put(alive.api, "/v1/kv/k", b"w")
            return status == 500 and body.startswith(b"No cluster leader\n") and body
        wait_until(refused, 15 * patience(), "writes refused for want of a leader")
        said = put(alive.api, "/v1/kv/k", b"w")[2].decode()
        self.assertIn("n2", said, "who is missing is named")
        self.assertIn("n3", said)
        status, _, body = put(alive.api, "/outrigger/v1/kv/k", b"w")
        self.assertEqual((status, json.loads(body)["code"]), (503, "no_leader"))
        status, headers, body = request(alive.api, "GET", "/v1/kv/k?raw&stale")
        self.assertEqual((status, headers["x-consul-knownleader"]), (200, "false"))
        self.assertGreater(int(headers["x-consul-lastcontact"]), 0)

    def test_command_line(self):
        self.start_three()
        source, target = self.apis[0], self.apis[1]
        for number in range(100):
            self.assertEqual(put(source, f"/v1/kv/cfg/{number}?flags={number}", b"\x00\xff%d" % number)[2], b"true")
        code, out, err = self.run_cli("kv", "export", "cfg/", api=source)
        self.assertEqual((code, len(json.loads(out))), (0, 100), err)
        code, said, err = self.run_cli("kv", "import", "-", "--prefix", "copy/", api=target, stdin=out)
        self.assertEqual((code, said), (0, "imported 100 keys\n"), err)
        entry = get_json(target, "/v1/kv/copy/cfg/42")[0]
        self.assertEqual((base64.b64decode(entry["Value"]), entry["Flags"]), (b"\x00\xff42", 42))
        code, said, err = self.run_cli("lock", "run", "e2e", "--", "sh", "-c", "echo $OUTRIGGER_EPOCH; exit 3", api=target)
        self.assertEqual((code, said.strip().isdigit()), (3, True), err)
        epoch = said.strip()
        self.assertEqual(self.run_cli("election", "verify", "e2e", "--epoch", epoch, api=source)[0], 1, "given up at its end")
        code, said, err = self.run_cli("watch", "copy/", "--initial", "--count", "100", "-o", "json", api=target)
        self.assertEqual((code, len(said.splitlines())), (0, 100), err)
        # One of our own clusters speaks Consul's dialect: good enough a source.
        process, lone = self.start_single("lone")
        code, said, err = self.run_cli("import", "consul", f"http://{source}", "--only", "kv", "-o", "json", api=lone)
        self.assertEqual((code, json.loads(said)["kv"]["written"]), (0, len(get_json(source, "/v1/kv/?keys"))), err)
        self.assert_no_crash(process)


if __name__ == "__main__":
    unittest.main()
