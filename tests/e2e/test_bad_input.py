"""Bad settings, bad files, bad neighbours: each a message that says what, where, and what to do; nothing lost, no crash."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import unittest

from harness import REPO, RealProcesses, free_ports, get_json, patience, request, wait_until


class Settings(RealProcesses):
    def refused(self, config, *words, environment=None):
        """The agent must end at once with exit 1 and a message that holds all the words."""
        process = self.start_agent("bad", config=config, environment=environment)
        code, said = self.wait_exit(process)
        self.assertEqual(code, 1, said)
        self.assert_says(said, *words)
        return said

    def test_unknown_key_with_place_and_nearest(self):
        self.refused('[service]\naddress = "127.0.0.1:9"\nleese = "1s"\n', "outrigger.toml:3:1", "service.leese", "lease")

    def test_unknown_section(self):
        self.refused("[raaft]\nvoters = 3\n", "outrigger.toml:1", "raaft", "raft")

    def test_ill_typed_value(self):
        self.refused('[raft]\nvoters = "three"\n', "outrigger.toml:2", "raft.voters")

    def test_wrong_unit(self):
        self.refused('[raft]\nheartbeat = "50 parsecs"\n', "outrigger.toml:2", "raft.heartbeat")

    def test_syntax_error(self):
        self.refused("[node\nname = 1\n", "outrigger.toml:1")

    def test_all_problems_at_once(self):
        self.refused('[raft]\nvoters = "x"\n[node]\nnmae = "a"\n', "raft.voters", "node.nmae")

    def test_unknown_environment_variable(self):
        self.refused("", "OUTRIGGER_RAFT_VOTRES", "OUTRIGGER_RAFT_VOTERS", environment={"OUTRIGGER_RAFT_VOTRES": "3"})

    def test_missing_file(self):
        process = self.start_agent("bad", "--config", self.folder / "nowhere.toml")
        code, said = self.wait_exit(process)
        self.assertEqual(code, 1)
        self.assert_says(said, "nowhere.toml")

    def test_open_mesh_without_keys(self):
        self.refused('[mesh]\nbind = "0.0.0.0"\n', "mesh.bind", "insecure")

    def test_validate_says_the_same_and_starts_nothing(self):
        file = self.folder / "a.toml"
        file.write_text('[service]\naddress = "127.0.0.1:9"\nleese = "1s"\n')
        code, out, err = self.run_cli("validate", file)
        self.assertEqual(code, 1)
        self.assert_says(out + err, f"{file}:3:1", "lease")

    def test_the_sample_settings_are_valid(self):
        code, out, err = self.run_cli("validate", REPO / "deploy" / "outrigger.toml")
        self.assertEqual(code, 0, out + err)

    def test_every_key_of_the_sample_exists(self):
        """What stands there as a comment must be right as well: uncommented, only files may be missing."""
        lines = (REPO / "deploy" / "outrigger.toml").read_text().splitlines()
        keys = [re.sub(r"^# (?=[a-z_]+ = |  \{ cert|\]  |\[(?:service\.hooks|arming|listen\.tls|guard)\]$|\[proxy\.h2\]|\[kernel_permit\]|\[\[(?:services|checks|listen|route|egress|upstream|breaker|(?:upstream|service)\.check|listen\.sni)\]\]$)", "", line) for line in lines]
        file = self.folder / "whole.toml"
        file.write_text("\n".join(keys) + "\n")
        code, out, err = self.run_cli("validate", file)
        problems = [line for line in (out + err).splitlines() if "whole.toml:" in line]
        self.assertEqual(len(problems), 11, problems)
        for problem in problems:
            self.assertIn("No such file", problem)


class CommandLine(RealProcesses):
    def test_unknown_verb(self):
        code, out, err = self.run_cli("memebrs")
        self.assertEqual(code, 2)
        self.assert_says(out + err, "memebrs", "members")

    def test_missing_argument_and_unknown_option(self):
        self.assertEqual(self.run_cli("kv", "get")[0], 2)
        self.assertEqual(self.run_cli("members", "--colour")[0], 2)

    def test_no_agent_there(self):
        address = f"127.0.0.1:{free_ports(1)[0]}"
        code, out, err = self.run_cli("members", api=address)
        self.assertEqual(code, 1)
        self.assert_says(out + err, address)

    def test_help_and_version(self):
        for arguments in (["--help"], ["agent", "--help"], ["kv", "--help"], ["version"]):
            code, out, _ = self.run_cli(*arguments)
            self.assertEqual(code, 0, arguments)
            self.assertTrue(out)


class TakenPorts(RealProcesses):
    def test_each_listener(self):
        for key, kind in (("api", socket.SOCK_STREAM), ("gossip", socket.SOCK_DGRAM), ("gossip", socket.SOCK_STREAM),
                          ("mesh", socket.SOCK_STREAM)):
            with self.subTest(f"{key} {kind.name}"), socket.socket(socket.AF_INET, kind) as taken:
                taken.bind(("127.0.0.1", 0))
                if kind == socket.SOCK_STREAM:
                    taken.listen()
                port = taken.getsockname()[1]
                _, config = self.single_config("n1", **{key: port})
                code, said = self.wait_exit(self.start_agent(f"taken-{key}-{kind.name}", config=config))
                self.assertEqual(code, 1, said)
                self.assert_says(said, f"127.0.0.1:{port}", "in use")

    def test_proxy_listener(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            extra = f'[service]\naddress = "127.0.0.1:9"\n[[listen]]\naddress = "{address}"\n'
            code, said = self.wait_exit(self.start_agent("taken-listen", config=self.single_config("n1", extra)[1]))
            self.assertEqual(code, 1, said)
            self.assert_says(said, address, "in use")


class Keys(RealProcesses):
    """Certificates and keys that cannot be used: the file is named."""

    def setUp(self):
        super().setUp()
        code, out, err = self.run_cli("init", "--dir", self.folder / "secrets", "--names", "n1,n2", "--ip", "127.0.0.1")
        self.assertEqual(code, 0, out + err)
        self.secrets = self.folder / "secrets"

    def refused(self, *words, **files):
        names = {"ca": "ca.pem", "cert": "n1/cert.pem", "key": "n1/key.pem", "gossip_key_file": "gossip.key", **files}
        extra = "".join(f'{key} = "{self.secrets / name}"\n' for key, name in names.items())
        code, said = self.wait_exit(self.start_agent("bad", config=self.single_config("n1", extra)[1]))
        self.assertEqual(code, 1, said)
        self.assert_says(said, *words)

    def test_missing_files(self):
        for key in ("ca", "cert", "key", "gossip_key_file"):
            with self.subTest(key):
                self.refused("nowhere.pem", **{key: "nowhere.pem"})

    def test_unreadable_file(self):
        (self.secrets / "locked").mkdir()
        self.refused("locked", key="locked")

    def test_garbage(self):
        (self.secrets / "garbage.pem").write_text("this is no PEM\n")
        for key in ("ca", "cert", "key", "gossip_key_file"):
            with self.subTest(key):
                # the gossip key is named by its setting, the PEM files by themselves
                self.refused("mesh.gossip_key_file" if key == "gossip_key_file" else "garbage.pem", **{key: "garbage.pem"})

    def test_key_of_another_certificate(self):
        self.refused("n2/key.pem", key="n2/key.pem")

    def test_private_keys_are_for_the_owner_only(self):
        for name in ("n1/key.pem", "gossip.key", "ca.key"):
            self.assertEqual((self.secrets / name).stat().st_mode & 0o777, 0o600, name)


class DataFolder(RealProcesses):
    def test_in_use_by_another_agent(self):
        first, api = self.start_single("n1")
        _, config = self.single_config("n1")
        code, said = self.wait_exit(self.start_agent("second", config=config))
        self.assertEqual(code, 1, said)
        self.assert_says(said, "n1-data", "in use")
        self.assert_no_crash(first)
        self.assertIsNotNone(get_json(api, "/outrigger/v1/role"))

    def test_of_another_cluster(self):
        """A folder that belongs to one cluster must not be carried into another."""
        ours = self.start_cluster(3)
        stranger, api = self.start_single("n4", 'cluster = ""\n')
        self.assertEqual(request(api, "PUT", "/v1/kv/own", b"kept")[0], 200)
        stranger.stop()
        joined = self.join_with_old_data(ours)
        wait_until(lambda: "foreign_cluster" in joined.log.read_text(), 20 * patience(), "the refusal")
        self.assert_says(joined.log.read_text(), "belongs to cluster", "data directory")
        for node in ours.nodes:
            self.assertNotIn("n4", str(get_json(node.api, "/outrigger/v1/raft")))
        joined.stop()

    def join_with_old_data(self, ours):
        node = ours.nodes[0]
        self.run_cli("init", "--dir", ours.secrets, "--names", "n4", "--ip", "127.0.0.1")
        _, config = self.single_config("n4", f"""ca = "{ours.secrets}/ca.pem"
cert = "{ours.secrets}/n4/cert.pem"
key = "{ours.secrets}/n4/key.pem"
gossip_key_file = "{ours.secrets}/gossip.key"
seeds = ["127.0.0.1:{node.gossip_port}"]
""")
        return self.start_agent("n4-again", config=config)

    def test_not_a_folder(self):
        file = self.folder / "file"
        file.write_text("in the way")
        process = self.start_agent("bad", "--config", "/dev/null", environment={
            "OUTRIGGER_NODE_DATA_DIR": str(file), "OUTRIGGER_API_LISTEN": "127.0.0.1:0",
            "OUTRIGGER_MESH_GOSSIP_PORT": "0", "OUTRIGGER_MESH_PORT": "0"})
        code, said = self.wait_exit(process)
        self.assertEqual(code, 1, said)
        self.assert_says(said, str(file))

    @unittest.skipUnless(shutil.which("unshare") and subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], check=False, stderr=subprocess.DEVNULL).returncode == 0,
        "needs a small file system in a namespace of its own")
    def test_disk_full(self):
        """What was acknowledged before is there after a restart with room; meanwhile writes fail and say why."""
        small, kept = self.folder / "n1-data", self.folder / "kept"
        small.mkdir()
        kept.mkdir()
        ports, config = self.single_config("n1", '[raft]\nbootstrap = true\ndisk_reserve = "0B"\n')
        script = (f"mount -t tmpfs -o size=6m none {small} && \"$@\"; code=$?; cp -a {small}/. {kept}/; exit $code")
        agent = self.start_agent("n1", config=config, wrap=["unshare", "-rm", "sh", "-c", script, "sh"])
        api = f"127.0.0.1:{ports['api']}"
        self.wait_status(api, "/outrigger/v1/health/ready", 200)
        written, refused = {}, None
        for number in range(200):
            value = os.urandom(100_000)
            try:
                status, _, answer = request(api, "PUT", f"/v1/kv/fill/{number}", value, timeout=10)
            except OSError as problem:
                refused = str(problem)
                break
            if status != 200 or answer.strip() != b"true":
                refused = answer.decode()
                break
            written[number] = value
        self.assertIsNotNone(refused, "20 MB fitted into 6")
        self.assertTrue(written)
        self.stop_wrapped(agent)
        self.assert_says(agent.log.read_text().lower(), "space")
        shutil.rmtree(small)
        shutil.copytree(kept, small)
        self.start_agent("n1", config=config)
        self.wait_status(api, "/outrigger/v1/health/ready", 200)
        for number, value in written.items():
            self.assertEqual(request(api, "GET", f"/v1/kv/fill/{number}?raw&consistent")[2], value, f"fill/{number} lost")

    def stop_wrapped(self, agent):
        """The agent is a child of the shell that will copy its folder."""
        if agent.alive():
            children = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(agent.pid)], stdout=subprocess.PIPE, text=True, check=False).stdout
            for pid, name in (line.split(None, 1) for line in children.splitlines()):
                if not name.startswith("outrigger"):
                    continue  # the agent has ended by itself: the copy is being made
                with contextlib.suppress(ProcessLookupError):  # it may be on its way out by itself: the disk is full
                    os.kill(int(pid), 15)
        agent.child.wait(60 * patience())


class Neighbours(RealProcesses):
    def test_wrong_gossip_key(self):
        ours = self.start_cluster(3)
        (self.folder / "other.key").write_text(self.run_cli("keygen")[1])
        ours.nodes[2].agent.stop()
        wait_until(lambda: ours.agreed_role(ours.nodes[:2]), 15 * patience(), "the others' agreement")
        ours.extra_environment["MESH_GOSSIP_KEY_FILE"] = self.folder / "other.key"
        stranger = ours.nodes[2]
        stranger.start_agent()
        self.wait_status(stranger.api, "/outrigger/v1/health/live", 200)
        wait_until(lambda: ours.nodes[0].metric("outrigger_gossip_drops_total") or 0, 15 * patience(), "a dropped datagram")

        def is_gone():  # nobody left by itself: it takes a few seconds to be sure of the one that was stopped
            states = {p["name"]: p["state"] for p in get_json(ours.nodes[0].api, "/outrigger/v1/peers")["peers"]}
            return states.get("n3") not in ("alive", "suspect")

        wait_until(is_gone, 30 * patience(), "the stranger, who answers with another key, being taken for dead")
        self.assert_no_crash(stranger.agent)
        self.assertTrue(ours.wait_agreed(15 * patience(), ours.nodes[:2]), "the others go on")

    def test_seed_that_never_answers(self):
        seed = f"127.0.0.1:{free_ports(1)[0]}"
        ports, config = self.single_config("n1", f'seeds = ["{seed}"]\n[raft]\nbootstrap_expect = 3\n')
        process = self.start_agent("n1", config=config)
        api = f"127.0.0.1:{ports['api']}"
        self.wait_status(api, "/outrigger/v1/health/live", 200)
        self.wait_status(api, "/outrigger/v1/health/ready", 503)
        wait_until(lambda: seed in process.log.read_text(), 30 * patience(), "a word about the seed")
        self.assert_no_crash(process)
        self.assertEqual(process.stop(20 * patience()), 0, "and it stops when asked")

    def test_agents_that_come_late_find_each_other(self):
        made = self.make_cluster(3)
        made.start_exchange()
        for node in made.nodes:
            node.start_trader()
        first, *others = made.nodes
        first.start_agent()
        self.wait_status(first.api, "/outrigger/v1/health/live", 200)
        self.assertIsNone(made.agreed_role([first]), "one of three founds nothing")
        for node in others:
            node.start_agent()
        self.assertTrue(self.wait_ready(made))


if __name__ == "__main__":
    unittest.main()
