"""The scripts that build, test and count: their own answers, without building anything."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from tree import Tree

REPO = Path(__file__).resolve().parents[2]


def load_suites():
    spec = importlib.util.spec_from_file_location("suites", REPO / "tests" / "suites.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*command, **environment):
    return subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, env={**os.environ, **environment}, check=False)


class Scripts(unittest.TestCase):
    def test_shell_scripts_parse(self):
        tree = Tree(REPO)
        scripts = [p for p in tree.readable() if tree.text(p).startswith(("#!/usr/bin/env bash", "#!/bin/bash"))]
        self.assertIn("deploy/bootstrap", scripts)
        for script in scripts:
            with self.subTest(script):
                self.assertEqual(run("bash", "-n", REPO / script).stdout, "")
                self.assertTrue(os.access(REPO / script, os.X_OK), "not executable")

    def test_help_of_every_command(self):
        for script in ("deploy/bootstrap", "tests/run", "deploy/demo/run"):
            with self.subTest(script):
                answer = run(REPO / script, "--help")
                self.assertEqual(answer.returncode, 0, answer.stdout)
                self.assertIn("usage", answer.stdout.lower())


class Bootstrap(unittest.TestCase):
    def os_release(self, text):
        file = tempfile.NamedTemporaryFile("w", suffix=".os-release")
        self.addCleanup(file.close)
        file.write(text)
        file.flush()
        return file.name

    def test_unknown_argument(self):
        answer = run(REPO / "deploy/bootstrap", "--what")
        self.assertEqual(answer.returncode, 2)
        self.assertIn("unknown argument: --what", answer.stdout)

    def test_unknown_system_is_refused_by_name(self):
        answer = run(REPO / "deploy/bootstrap", "--check", OS_RELEASE=self.os_release("ID=plan9\n"))
        self.assertEqual(answer.returncode, 1)
        self.assertIn("not 'plan9'", answer.stdout)

    def test_old_system_is_refused_with_what_is_needed(self):
        for text, wanted in (("ID=debian\nVERSION_ID=\"11\"\n", "debian 12 or newer"),
                             ("ID=ubuntu\nVERSION_ID=\"22.04\"\n", "ubuntu 24.04 or newer")):
            with self.subTest(wanted):
                answer = run(REPO / "deploy/bootstrap", "--check", OS_RELEASE=self.os_release(text))
                self.assertEqual(answer.returncode, 1)
                self.assertIn(wanted, answer.stdout)

    def test_check_names_a_missing_prefix_and_changes_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            prefix = Path(folder, "deps")
            answer = run(REPO / "deploy/bootstrap", "--check", "--prefix", prefix)
            if answer.returncode != 0:  # where the own apt is new enough, nothing is missing
                self.assertIn("mbedtls llhttp", answer.stdout)
            self.assertEqual(list(Path(folder).iterdir()), [])

    def test_a_second_run_installs_and_builds_nothing(self):
        if run(REPO / "deploy/bootstrap", "--check").returncode != 0:
            self.skipTest("not bootstrapped")
        answer = run(REPO / "deploy/bootstrap")
        self.assertEqual(answer.returncode, 0)
        self.assertRegex(answer.stdout, r"\Abootstrap: everything is there \([^)]*\)\n\Z")


class Counting(unittest.TestCase):
    """A runner that miscounts hides failures."""

    def setUp(self):
        self.suites = load_suites()

    def counts(self, tally):
        return tally.passed, tally.failed, tally.skipped

    def test_gtest(self):
        text = ("[ RUN      ] A.b\n[       OK ] A.b (1 ms)\n[ RUN      ] A.c\n[  FAILED  ] A.c (2 ms)\n"
                "[ RUN      ] P/A.d/0\n[  FAILED  ] P/A.d/0, where GetParam() = 3 (0 ms)\n"
                "[ RUN      ] A.e\n[  SKIPPED ] A.e (0 ms)\n[  FAILED  ] 2 tests, listed below:\n[  FAILED  ] A.c\n")
        self.assertEqual(self.counts(self.suites.tally_gtest(text, 1)), (1, 2, 1))

    def test_gtest_that_dies_counts_as_failed(self):
        text = "[ RUN      ] A.b\n[       OK ] A.b (1 ms)\n[ RUN      ] A.c\n==1==ERROR: AddressSanitizer\n"
        self.assertEqual(self.counts(self.suites.tally_gtest(text, 1)), (1, 1, 0))

    def test_program_without_gtest_lines(self):
        self.assertEqual(self.counts(self.suites.tally_gtest("fine", 0)), (1, 0, 0))
        self.assertEqual(self.counts(self.suites.tally_gtest("", -11)), (0, 1, 0))

    def test_unittest(self):
        read = self.suites.tally_unittest
        self.assertEqual(self.counts(read("Ran 5 tests in 1s\n\nOK (skipped=2)\n", 0)), (3, 0, 2))
        self.assertEqual(self.counts(read("Ran 5 tests in 1s\n\nFAILED (failures=1, errors=2)\n", 1)), (2, 3, 0))
        self.assertEqual(self.counts(read("Traceback: died before it ran", 1)), (0, 1, 0))

    def test_vectors(self):
        read = self.suites.tally_vectors
        self.assertEqual(self.counts(read("a: ok\n185 passed, 0 failed, 3 skipped\n", 0)), (185, 0, 3))
        self.assertEqual(self.counts(read("185 passed, 0 failed\n", 1)), (185, 1, 0))
        self.assertEqual(self.counts(read("skipped: no vectors\n", 0)), (0, 0, 1))

    def test_output_that_hangs_is_ended_and_failed(self):
        runner = self.suites.Runner(self.suites.parse([]))
        with tempfile.TemporaryDirectory() as folder:
            status, text = runner.execute([sys.executable, "-c", "import time; time.sleep(600)"], Path(folder, "log"), 0.2, {})
        self.assertEqual(status, 124)
        self.assertIn("no end after", text)


class Ci(unittest.TestCase):
    """.ci/run beside a stand-in for tests/run that answers what each case needs."""

    def answer(self, plain, asan):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name in (".ci", "tests"):
            Path(folder.name, name).mkdir()
        shutil.copy(REPO / ".ci/run", Path(folder.name, ".ci/run"))
        script = Path(folder.name, "tests/run")
        script.write_text(f"#!/usr/bin/env bash\nif [ \"${{1-}}\" = --asan ]; then {asan}; else {plain}; fi\n")
        script.chmod(0o755)
        result = run(Path(folder.name, ".ci/run"))
        return result.returncode, result.stdout.splitlines()[-1]

    def test_sums_both(self):
        self.assertEqual(self.answer("echo 10 passed, 0 failed", "echo 9 passed, 0 failed, 1 skipped"),
                         (0, "19 passed, 0 failed"))

    def test_a_failure_in_either_fails(self):
        self.assertEqual(self.answer("echo 10 passed, 0 failed", "echo 8 passed, 2 failed; exit 1"),
                         (1, "18 passed, 2 failed"))

    def test_no_closing_line_is_a_failure(self):
        self.assertEqual(self.answer("echo 10 passed, 0 failed", "echo died; exit 1"), (1, "10 passed, 1 failed"))

    def test_exit_code_counts_even_when_the_line_looks_fine(self):
        self.assertEqual(self.answer("echo 10 passed, 0 failed; exit 3", "echo 5 passed, 0 failed"),
                         (1, "15 passed, 1 failed"))


if __name__ == "__main__":
    unittest.main()
