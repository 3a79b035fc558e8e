"""The file with the process id: there from behind the data directory's lock to a clean exit, and never in the way."""

import unittest

from harness import RealProcesses, patience, wait_until


class PidFile(RealProcesses):
    def setUp(self):
        super().setUp()
        self.path = self.folder / "run" / "agent.pid"
        self.path.parent.mkdir()

    def start(self, config, *arguments):
        return self.start_agent("n1", "--pid-file", self.path, *arguments, config=config)

    def test_it_names_the_process_and_goes_with_it(self):
        ports, config = self.single_config()
        process = self.start(config)
        self.wait_status(f"127.0.0.1:{ports['api']}", "/outrigger/v1/health/ready", 200)
        self.assertEqual(self.path.read_text(), f"{process.pid}\n")
        # Another agent on the same data directory is refused by its lock and leaves the file alone.
        second = self.start(config)
        code, said = self.wait_exit(second)
        self.assertEqual(code, 1)
        self.assert_says(said, "in use by process")
        self.assertEqual(self.path.read_text(), f"{process.pid}\n")
        self.assertEqual(process.stop(20 * patience()), 0)
        self.assertEqual(list(self.path.parent.iterdir()), [], "a clean exit leaves nothing")

    def test_one_that_a_killed_agent_has_left_is_written_over(self):
        ports, config = self.single_config()
        process = self.start(config)
        wait_until(self.path.exists, 10 * patience(), "the file")
        process.kill()
        self.assertTrue(self.path.exists())
        process = self.start(config)
        self.wait_status(f"127.0.0.1:{ports['api']}", "/outrigger/v1/health/ready", 200)
        self.assertEqual(self.path.read_text(), f"{process.pid}\n")

    def test_a_start_that_fails_later_leaves_none(self):
        ports, config = self.single_config()
        other = self.start_agent("n2", config=config.replace("n1-data", "n2-data"))
        self.wait_status(f"127.0.0.1:{ports['api']}", "/outrigger/v1/health/ready", 200)
        code, said = self.wait_exit(self.start(config))
        self.assertEqual(code, 1, said)
        self.assertFalse(self.path.exists())
        self.assert_no_crash(other)

    def test_what_cannot_be_written_ends_the_start_with_a_word(self):
        ports, config = self.single_config()
        del ports
        other = self.folder / "precious.toml"
        other.write_text("[node]\n")
        for path in (self.folder / "none" / "x.pid", self.folder, other):
            code, said = self.wait_exit(self.start_agent("n1", config=config.replace("[node]", f'[node]\npid_file = "{path}"')))
            self.assertEqual(code, 1, said)
            self.assert_says(said, "pid file", str(path), "node.pid_file")
        self.assertEqual(other.read_text(), "[node]\n")

    def test_consuls_settings_name_it_too(self):
        ports, _ = self.single_config()
        file = self.folder / "consul.json"
        file.write_text(f'{{"node_name":"n1","data_dir":"{self.folder}/n1-data","bootstrap":true,"pid_file":"{self.path}","ports":{{"http":{ports["api"]},'
                        f'"dns":-1,"serf_lan":{ports["gossip"]},"server":{ports["mesh"]}}}}}')
        process = self.start_agent("n1", "--config-file", file)
        self.wait_status(f"127.0.0.1:{ports['api']}", "/outrigger/v1/health/ready", 200)
        self.assertEqual(self.path.read_text(), f"{process.pid}\n")


if __name__ == "__main__":
    unittest.main()
