"""Disks that are lost, damaged, full or newer than the agent. The walk of the operator guide is followed word by word."""

import os
import re
import shutil
import subprocess

from harness import REPO, RealProcesses, get_json, patience, request, wait_until

GUIDE = REPO / "deploy/docs/operations.md"


def walk(place):
    """The commands of the operator guide that are marked for `place`, in order."""
    text = GUIDE.read_text()
    return re.findall(rf"<!-- walk: {place} -->\n```\noutrigger ([^\n]+)\n```", text)


class Recover(RealProcesses):
    def put(self, api, key, value):
        try:
            status, _, body = request(api, "PUT", f"/v1/kv/{key}", value, timeout=20)
        except OSError:
            return False
        return status == 200 and body.strip() == b"true"

    def write(self, api, key, value):
        """A leader may change on a slow machine, and one write with it; what was taken is written."""
        wait_until(lambda: self.put(api, key, value), 20, f"{key} to be written")

    def value(self, api, key):
        try:
            status, _, body = request(api, "GET", f"/v1/kv/{key}?raw&consistent", timeout=20)
        except OSError:
            return None
        return body if status == 200 else None

    def follow(self, command, node):
        code, out, err = self.run_cli(*[str(node.folder / "data") if word == "DATA_DIR" else word for word in command.split()])
        self.assertEqual(code, 0, f"{command}: {err}")
        return out

    def voters(self, api):
        raft = get_json(api, "/outrigger/v1/raft")
        return sorted(peer["name"] or "?" for peer in raft["peers"] if peer["is_voter"]) if raft else []

    def test_the_walk_after_two_of_three_disks_are_lost(self):
        cluster = self.start_cluster()
        survivor, lost, returns = cluster.nodes
        for i in range(50):
            self.write(survivor.api, f"k{i}", str(i))
        # What is acknowledged is on a majority; here on all, so that the survivor has it whatever it is.
        wait_until(lambda: request(survivor.api, "GET", "/v1/kv/k49?stale&raw")[2] == b"49", 10, "the survivor to have it all")
        epoch = get_json(survivor.api, "/outrigger/v1/role")["epoch"]
        for node in (lost, returns):
            node.agent.kill()
        shutil.rmtree(lost.folder / "data")
        shutil.move(returns.folder / "data", returns.folder / "found-later")
        self.assertFalse(self.put(survivor.api, "no", "quorum"))
        code, _, err = self.run_cli(*walk("survivor")[0].replace("DATA_DIR", str(survivor.folder / "data")).split())
        self.assertEqual(code, 1, "not while the agent runs")
        self.assertIn("stop the agent", err)
        survivor.agent.stop(30 * patience())

        look, do = walk("survivor")
        out = self.follow(look, survivor)
        self.assert_says(out, "Nothing was changed", "DROPPED", lost.name, returns.name)
        self.assert_says(self.follow(do, survivor), "Start the agent")
        survivor.start_agent()
        wait_until(lambda: self.voters(survivor.api) == [survivor.name], 20, "the survivor to be the only voter")
        wait_until(lambda: self.put(survivor.api, "after", "1"), 20, "writes again")
        for i in range(50):
            self.assertEqual(self.value(survivor.api, f"k{i}"), str(i).encode())
        wait_until(lambda: (survivor.role() or {}).get("role") == "primary", 20, "a primary again")
        halts = get_json(survivor.api, "/outrigger/v1/halts")["halts"]
        self.assertEqual([(one["scope"], one["who"]) for one in halts], [("global", "raft recover")])
        wait_until(lambda: get_json(survivor.api, "/outrigger/v1/halts")["halts"][0]["recorded"], 20, "the halt in the log")
        code, _, err = self.run_cli(*walk("resume")[0].split(), api=survivor.api)
        self.assertEqual(code, 0, err)
        self.assertEqual(get_json(survivor.api, "/outrigger/v1/halts")["halts"], [])
        self.assertGreater(survivor.role()["epoch"], epoch + 1000, "no epoch of the lost majority is granted again")

        # The machine with a new disk joins as it is.
        lost.start_agent()
        wait_until(lambda: self.value(lost.api, "k7") == b"7", 30, "the new disk to be seeded")
        # The disk that turns up after all is of the cluster that was left behind.
        shutil.move(returns.folder / "found-later", returns.folder / "data")
        returns.start_agent()
        wait_until(lambda: "foreign_cluster" in returns.agent.tail(200), 20, "the old member to be told")
        self.write(survivor.api, "undisturbed", "1")
        returns.agent.stop(30 * patience())
        self.follow(walk("old member")[0], returns)
        returns.start_agent()
        wait_until(lambda: self.value(returns.api, "undisturbed") == b"1", 30, "the old member to be seeded anew")
        wait_until(lambda: len(self.voters(survivor.api)) == 3, 40, "three voters")
        self.assertTrue(list((returns.folder / "data").glob("store.aside-*")), "its old store is kept")
        self.assertFalse((returns.folder / "data" / "reseeding").exists())

    def test_a_damaged_store_is_refused_and_seeded_anew(self):
        cluster = self.start_cluster()
        healthy, _, damaged = cluster.nodes
        for i in range(20):
            self.write(healthy.api, f"k{i}", "x" * 100)
        damaged.agent.stop(30 * patience())
        log = max((damaged.folder / "data" / "store").glob("*.log"), key=lambda p: p.stat().st_size)
        data = bytearray(log.read_bytes())
        data[len(data) // 3] ^= 0xff
        log.write_bytes(data)
        damaged.start_agent()
        code, said = self.wait_exit(damaged.agent)
        self.assertNotEqual(code, 0)
        self.assert_says(said, "Corrupt", "recover --reseed")
        self.follow(walk("old member")[0], damaged)
        damaged.start_agent()
        wait_until(lambda: self.value(damaged.api, "k3") == b"x" * 100, 30, "the damaged node to be seeded by its peers")

    def test_recover_says_what_it_cannot_do(self):
        code, _, err = self.run_cli("raft", "recover", "--data-dir", self.folder / "nowhere")
        self.assertEqual(code, 1)
        self.assertIn("no directory", err)
        self.assertEqual(self.run_cli("raft", "recover")[0], 2)
        empty = self.folder / "empty"
        empty.mkdir()
        self.assertEqual(self.run_cli("raft", "recover", "--data-dir", empty)[0], 1)
        self.assertEqual(self.run_cli("raft", "recover", "--reseed", "--data-dir", empty)[0], 1)

    def test_a_full_disk_refuses_writes_serves_reads_and_recovers(self):
        place = self.folder / "small"
        place.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(place)], check=False,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if os.geteuid() != 0 or mounted.returncode != 0:
            self.skipTest("a small file system cannot be mounted here (needs root)")
        self.addCleanup(subprocess.run, ["umount", "-l", str(place)], check=False)
        ports, config = self.single_config("full", '[raft]\nbootstrap = true\ndisk_reserve = "24MiB"\n')
        config = config.replace(f"{self.folder}/full-data", f"{place}/data")
        agent = self.start_agent("full", config=config)
        api = f"127.0.0.1:{ports['api']}"
        self.wait_status(api, "/outrigger/v1/health/ready", 200)
        self.assertTrue(self.put(api, "a", "1"))
        ballast = place / "ballast"
        room = os.statvfs(place)
        ballast.write_bytes(b"x" * max(0, room.f_bavail * room.f_frsize - (10 << 20)))
        wait_until(lambda: get_json(api, "/outrigger/v1/raft")["disk_space"] != "plenty", 20, "the agent to notice")
        status, _, body = request(api, "PUT", "/v1/kv/a", "2")
        self.assertEqual(status, 503)
        self.assertIn(b"nearly full", body)
        self.assertEqual(self.value(api, "a"), b"1", "reads go on, consistent ones too")
        ballast.unlink()
        wait_until(lambda: self.put(api, "a", "3"), 20, "writes again, by itself")
        self.assert_no_crash(agent)
