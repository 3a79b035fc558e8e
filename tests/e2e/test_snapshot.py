"""Snapshots saved from and restored to running agents: Consul's endpoints and our command line."""

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading

from harness import RealProcesses, get_json, request, wait_until


class Snapshots(RealProcesses):
    def put(self, api, key, value):
        status, _, body = request(api, "PUT", f"/v1/kv/{key}", value)
        self.assertEqual((status, body.strip()), (200, b"true"))

    def write(self, api, key, value):
        """In a cluster, whose leader may change on a slow machine: what was taken is written."""
        def put():
            status, _, body = request(api, "PUT", f"/v1/kv/{key}", value)
            return (status, body.strip()) == (200, b"true")
        wait_until(put, 10, f"{key} to be written")

    def get(self, api, key):
        found = get_json(api, f"/v1/kv/{key}?consistent", timeout=5)
        return base64.b64decode(found[0]["Value"]) if found else None

    def restore(self, api, data, query=""):
        status, headers, body = request(api, "PUT", f"/v1/snapshot{query}", data, timeout=20)
        return status, headers, body.decode()

    def test_saved_looked_into_and_restored(self):
        _, api = self.start_single()
        for i in range(300):
            self.put(api, f"k/{i}", f"value {i}" * 20)
        file = self.folder / "backup.tgz"
        code, out, err = self.run_cli("snapshot", "save", file, api=api)
        self.assertEqual(code, 0, err)
        self.assert_says(out, "saved", "verified")
        code, out, err = self.run_cli("snapshot", "inspect", file, "-o", "json")
        self.assertEqual(code, 0, err)
        found = json.loads(out)
        self.assertGreater(found["index"], 300)
        self.assertEqual([kind["rows"] for kind in found["kinds"] if kind["kind"] == "k"], [300])
        self.assertEqual(self.run_cli("snapshot", "verify", file)[0], 0)

        self.put(api, "k/0", "changed")
        self.put(api, "later", "x")
        request(api, "DELETE", "/v1/kv/k/1")
        before = int(request(api, "GET", "/v1/kv/later")[1]["x-consul-index"])
        answers = []
        waiter = threading.Thread(target=lambda: answers.append(
            request(api, "GET", f"/v1/kv/k/0?index={before}&wait=250s", timeout=300)))
        waiter.start()
        code, out, err = self.run_cli("snapshot", "restore", file, api=api)
        self.assertEqual(code, 0, err)
        waiter.join()
        self.assertEqual(self.get(api, "k/0"), b"value 0" * 20)
        self.assertEqual(self.get(api, "k/1"), b"value 1" * 20)
        self.assertIsNone(self.get(api, "later"))
        status, headers, body = answers[0]
        self.assertEqual(status, 200)
        self.assertEqual(base64.b64decode(json.loads(body)[0]["Value"]), b"value 0" * 20, "woken after the swap, not before")
        self.assertGreater(int(headers["x-consul-index"]), before, "indexes jump ahead, never back")

    def test_the_container_is_consuls(self):
        _, api = self.start_single()
        self.put(api, "a", "1")
        status, headers, body = request(api, "GET", "/v1/snapshot", timeout=10)
        self.assertEqual(status, 200)
        self.assertGreater(int(headers["x-consul-index"]), 0)
        self.assertEqual(headers["x-consul-knownleader"], "true")
        files = {}
        with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as archive:
            for member in archive.getmembers():
                files[member.name] = archive.extractfile(member).read()
        self.assertEqual(sorted(files), ["SHA256SUMS", "meta.json", "state.bin"])
        meta = json.loads(files["meta.json"])
        self.assertEqual(meta["Index"], int(headers["x-consul-index"]))
        for line in files["SHA256SUMS"].decode().splitlines():
            wanted, name = line.split("  ")
            self.assertEqual(hashlib.sha256(files[name]).hexdigest(), wanted)

    def test_what_is_no_whole_snapshot_changes_nothing(self):
        _, api = self.start_single()
        for i in range(50):
            self.put(api, f"k{i}", "good" * 100)
        good = request(api, "GET", "/v1/snapshot", timeout=10)[2]
        self.put(api, "k0", "newer")
        plain = bytearray(gzip.decompress(good))
        at = plain.index(b"goodgood")
        plain[at] ^= 1
        newer = gzip.decompress(good).replace(b'"Version": 1,', b'"Version": 9,')
        cases = [(b"garbage", "gzip"), (b"", "no gzip"), (good[:len(good) // 2], "cut short"),
                 (good[:-1], "cut short"), (gzip.compress(bytes(plain)), "SHA-256"),
                 (gzip.compress(bytes(plain[:2048])), "cut short"), (gzip.compress(newer), "version 9"),
                 (good + b"x", "after the end")]
        for data, word in cases:
            status, _, text = self.restore(api, data)
            self.assertEqual(status, 500, text)
            self.assertIn(word, text)
            self.assertEqual(self.get(api, "k0"), b"newer", word)
        damaged = self.folder / "damaged.tgz"
        damaged.write_bytes(good[:-7])
        code, _, err = self.run_cli("snapshot", "verify", damaged)
        self.assertEqual(code, 1)
        self.assertIn("cut short", err)
        self.assertEqual(self.restore(api, good)[0], 200, "and the good one is still good")
        self.assertEqual(self.get(api, "k0"), b"good" * 100)

    def test_another_clusters_state_needs_a_word(self):
        _, first = self.start_single("n1")
        _, second = self.start_single("n2")
        self.put(first, "a", "of the first")
        data = request(first, "GET", "/v1/snapshot", timeout=10)[2]
        status, _, text = self.restore(second, data)
        self.assertEqual(status, 500)
        self.assertIn("of cluster", text)
        self.assertIsNone(self.get(second, "a"))
        self.assertEqual(self.restore(second, data, "?force")[0], 200)
        self.assertEqual(self.get(second, "a"), b"of the first")

    @staticmethod
    def voters_and_leaders(api):
        servers = get_json(api, "/v1/operator/raft/configuration")["Servers"]
        return [server["Voter"] for server in servers], sum(server["Leader"] for server in servers)

    def test_any_agent_saves_restores_and_tells_of_the_voters(self):
        cluster = self.start_cluster()
        apis = [node.api for node in cluster.nodes]
        self.write(apis[0], "a", "1")
        data = request(apis[1], "GET", "/v1/snapshot", timeout=10)[2]
        self.write(apis[0], "a", "2")
        status, _, text = self.restore(apis[2], data)
        self.assertEqual(status, 200, text)
        for api in apis:
            wait_until(lambda a=api: self.get(a, "a") == b"1", 10, f"{api} with the restored state")
        for api in apis:
            wait_until(lambda a=api: self.voters_and_leaders(a) == ([True] * 3, 1), 10, "three voters, one of them leading")
            wait_until(lambda a=api: get_json(a, "/v1/operator/autopilot/health"), 10, "a healthy autopilot")
            wait_until(lambda a=api: all(peer["fsync_p99_ms"] for peer in get_json(a, "/outrigger/v1/raft")["peers"]), 10, "times of all disks")
        leader = wait_until(lambda: get_json(apis[0], "/outrigger/v1/raft")["leader_name"], 10, "a leader")
        other = next(node.name for node in cluster.nodes if node.name != leader)
        follower = next(node for node in cluster.nodes if node.name == other)
        asked = []

        def leads():  # a leader gives up a transfer that takes too long, and says so to nobody
            if (get_json(apis[0], "/outrigger/v1/raft") or {}).get("leader_name") == other:
                return True
            asked.append(self.run_cli("raft", "transfer", other, api=follower.api))
            return False
        wait_until(leads, 10, f"{other} to lead", pause=0.5)
        self.assertIn(0, [code for code, _, _ in asked], asked)
        code, out, err = self.run_cli("raft", "status", api=apis[0])
        self.assertEqual(code, 0, err)
        self.assert_says(out, "FSYNC P99", "leader " + other)
        code, _, err = self.run_cli("raft", "remove", "nobody", api=apis[0])
        self.assertEqual(code, 1)
        self.assertIn("nobody", err)
