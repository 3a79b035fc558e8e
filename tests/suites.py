"""Configures, builds and runs the test suites; started by tests/run, which bootstraps first.

Every suite writes its whole output into build/<preset>/logs/. A test program that dies before it has reported counts as
one failure more. The last line is always "N passed, N failed" (and ", N skipped" when there are any).
"""

import argparse
import concurrent.futures
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
SUITES = ("lint", "unit", "script", "vectors", "sim", "fuzz", "e2e")
SIM_SEEDS_LONG = 100_000  # on two quiet processors about half an hour
SIM_SEEDS_FIRST = 1_001    # those before run by default
ORDER_SEEDS_LONG = range(1, 11)  # of tests/e2e/orders, about three minutes each
SIM_SEEDS_ORDERS = 10_000  # with ledger, egress, arming and halts in every one of them: some ten minutes
FUZZ_SECONDS = 30
E2E_AT_A_TIME = 4  # on two processors; with six of them nothing failed either
E2E_LONGEST = ("test_acts", "test_examples", "test_shared_health", "test_audit", "test_cluster", "test_arming", "test_kv_api", "test_kernel_permit",
               "test_hung_parts", "test_order_faults", "test_lock_run")  # begun first
# Generous bounds: they exist so that a hang fails instead of holding a CI machine for ever.
SECONDS_MAX = {"lint": 900, "unit": 1800, "script": 900, "vectors": 900, "sim": 14400, "fuzz": 1800, "e2e": 2400}
BUILD_SECONDS_MAX = 4 * 3600


class Tally:
    """Passed, failed and skipped tests of one program or of many."""

    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")


def tally_gtest(text, status):
    """Counts GoogleTest's own lines; without any, the program itself is the test."""
    passed = len(re.findall(r"^\[       OK \] ", text, re.M))
    # A parameterised test's failure line goes on with ", where GetParam() = ..." before the time.
    failed = len(re.findall(r"^\[  FAILED  \] .*\(\d+ ms\)$", text, re.M))
    skipped = len(re.findall(r"^\[  SKIPPED \] .*\(\d+ ms\)$", text, re.M))
    started = len(re.findall(r"^\[ RUN      \] ", text, re.M))
    if started == 0:
        return Tally(1, 0) if status == 0 else Tally(0, 1)
    if status != 0 and failed == 0:
        failed = 1
    return Tally(passed, failed, skipped)


def tally_unittest(text, status):
    """Reads the closing lines of Python's unittest."""
    ran = re.search(r"^Ran (\d+) tests? in", text, re.M)
    if not ran:
        return Tally(0, 1)
    notes = dict((key, int(n)) for key, n in re.findall(r"(failures|errors|skipped)=(\d+)", text[ran.end():]))
    failed = notes.get("failures", 0) + notes.get("errors", 0)
    if status != 0 and failed == 0:
        failed = 1
    skipped = notes.get("skipped", 0)
    return Tally(max(0, int(ran.group(1)) - failed - skipped), failed, skipped)


def tally_vectors(text, status):
    """The vectors program closes with a count such as "127 cases passed, 0 failed"; without one its exit code counts."""
    closing = re.findall(r"(\d+)(?: cases)? passed, (\d+) failed", text)
    if closing:
        passed, failed = (int(n) for n in closing[-1])
        left_out = re.search(r"failed, (\d+) skipped", text)
        skipped = int(left_out.group(1)) if left_out else 0
        return Tally(passed, failed if failed or status == 0 else 1, skipped)
    if status == 0 and re.search(r"skip", text, re.I):
        return Tally(0, 0, 1)
    return Tally(1, 0) if status == 0 else Tally(0, 1)


class Program:
    """One thing to run: a name, its command, how to read its output, its environment and where it runs."""

    def __init__(self, suite, name, command, tally, environment=None, folder=REPO):
        self.suite, self.name, self.command, self.tally = suite, name, command, tally
        self.environment, self.folder = environment or {}, folder


class Runner:
    def __init__(self, arguments):
        self.arguments = arguments
        self.preset = "asan" if arguments.asan else "tsan" if arguments.tsan else arguments.preset
        self.build = REPO / "build" / self.preset
        self.logs = self.build / "logs"
        self.total = Tally()
        self.failures = []
        self.running = set()
        self.counting = threading.Lock()

    def say(self, text):
        print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)

    # --- building ---------------------------------------------------------------------------------------------------
    def configure_and_build(self):
        self.logs.mkdir(parents=True, exist_ok=True)
        jobs = str(self.arguments.jobs or os.cpu_count() or 2)
        self.step("configure", ["cmake", "--preset", self.preset])
        self.step("build", ["cmake", "--build", str(self.build), "--parallel", jobs])

    def step(self, name, command):
        self.say(f"{name}: {shlex.join(command)}")
        log = self.logs / f"{name}.log"
        begun = time.monotonic()
        status, _ = self.execute(command, log, BUILD_SECONDS_MAX, {}, progress=name == "build")
        if status != 0:
            tail = log.read_text(errors="replace").splitlines()[-60:]
            print("\n".join(tail))
            self.say(f"{name} failed, whole output in {log.relative_to(REPO)}")
            self.total.add(Tally(0, 1))
            self.finish()
        self.say(f"{name}: done in {time.monotonic() - begun:.0f} s")

    def execute(self, command, log, seconds_max, environment, progress=False, folder=REPO):
        """Runs to the end, output into `log`. @return exit code (124 on time-out) and the output."""
        with open(log, "wb") as out:
            if not shutil.which(command[0]):
                out.write(f"{command[0]} is not there\n".encode())
                command = ["false"]
            process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                       env={**os.environ, **environment}, start_new_session=True)
            self.running.add(process)
            stop = threading.Event()
            ticker = threading.Thread(target=self.show_progress, args=(log, stop), daemon=True)
            if progress:
                ticker.start()
            try:
                status = process.wait(seconds_max)
            except subprocess.TimeoutExpired:
                status = 124
                out.write(f"\nstopped: no end after {seconds_max} s\n".encode())
            finally:
                stop.set()
                end_group(process)
                self.running.discard(process)
        return status, log.read_text(errors="replace")

    def show_progress(self, log, stop):
        """One line every half minute, so that a long build does not look like a hang."""
        while not stop.wait(30):
            seen = re.findall(r"^\[(\d+)/(\d+)\]", log.read_text(errors="replace"), re.M)
            if seen:
                self.say(f"  {seen[-1][0]} of {seen[-1][1]} steps")

    # --- what there is to run ---------------------------------------------------------------------------------------
    def programs(self):
        """Everything that CMake registered, sorted into suites by name, then the Python suites."""
        found = [Program("lint", "lint", python_suite("tests/lint"), tally_unittest)]
        listing = subprocess.run(["ctest", "--test-dir", str(self.build), "--show-only=json-v1"], check=True,
                                 stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        for test in json.loads(listing.stdout)["tests"]:
            name = test["name"]
            suite = next((s for s in ("script", "sim", "fuzz") if name.startswith(s)), "unit")
            if "vector" in name:
                suite = "vectors"
            places = [p["value"] for p in test.get("properties", []) if p["name"] == "WORKING_DIRECTORY"]
            # A test that was not built has no command there; it must fail, not vanish.
            found.append(Program(suite, name, test.get("command") or ["false"], tally_gtest, self.kill_environment(name),
                                 places[0] if places else REPO))
        if not any(p.suite == "vectors" for p in found):
            found.append(Program("vectors", "raft_vectors", [str(self.build / "tests" / "raft_vectors")], tally_vectors))
        if self.arguments.long:
            seeds = f"--seeds={SIM_SEEDS_FIRST}..{SIM_SEEDS_FIRST + SIM_SEEDS_LONG - 1}"
            found.append(Program("sim", "sim_long", [str(self.build / "tests" / "sim"), seeds, "--jobs=0"], tally_vectors))
            orders = f"--seeds={SIM_SEEDS_FIRST}..{SIM_SEEDS_FIRST + SIM_SEEDS_ORDERS - 1}"
            found.append(Program("sim", "sim_long_orders", [str(self.build / "tests" / "sim"), orders, "--focus=orders", "--jobs=0"], tally_vectors))
            found.append(Program("fuzz", "fuzz_live", [str(REPO / "tests/fuzz/run"), str(FUZZ_SECONDS)], tally_vectors))
        binary = {"OUTRIGGER_BIN": str(self.build / "agent" / "outrigger")}
        if self.preset == "tsan":
            return found
        found += [Program("e2e", file.stem, python_file(file), tally_unittest, binary, file.parent)
                  for file in sorted((REPO / "tests/e2e").glob("test_*.py"))]
        if self.arguments.long:
            orders = [sys.executable, "-B", str(REPO / "tests/e2e/orders"), "--storms", "8", "--seed"]
            found += [Program("e2e", f"orders_{seed}", [*orders, str(seed)], tally_gtest, binary) for seed in ORDER_SEEDS_LONG]
        return found

    def kill_environment(self, name):
        """In the long run the process is killed at every operation on a file, not at some."""
        if name == "kill_points" and self.arguments.long and "OUTRIGGER_KILL_STRIDE" not in os.environ:
            return {"OUTRIGGER_KILL_STRIDE": "1"}
        return {}

    # --- running ----------------------------------------------------------------------------------------------------
    def run(self):
        wanted = set(self.arguments.only or SUITES)
        if wanted != {"lint"} and not self.arguments.no_build:
            self.configure_and_build()
        self.logs.mkdir(parents=True, exist_ok=True)
        only_lint = wanted == {"lint"}
        programs = [Program("lint", "lint", python_suite("tests/lint"), tally_unittest)] if only_lint else self.programs()
        wanted_programs = sorted((p for p in programs if p.suite in wanted), key=lambda p: SUITES.index(p.suite))
        for program in wanted_programs:
            if program.suite != "e2e":
                self.run_one(program)
        # Tests of real processes mostly wait, so some files at a time; the longest first, so that none is left for the end.
        longest_first = sorted((p for p in wanted_programs if p.suite == "e2e"), key=lambda p: p.name not in E2E_LONGEST)
        with concurrent.futures.ThreadPoolExecutor(E2E_AT_A_TIME) as pool:
            for done in [pool.submit(self.run_one, program) for program in longest_first]:
                done.result()
        self.finish()

    def run_one(self, program):
        log = self.logs / f"{program.name}.log"
        begun = time.monotonic()
        environment = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0", "UBSAN_OPTIONS": "print_stacktrace=1",
                       **program.environment}
        seconds_max = SECONDS_MAX[program.suite] * (3 if self.preset in ("asan", "tsan") or self.arguments.long else 1)
        status, text = self.execute(program.command, log, seconds_max, environment, folder=program.folder)
        tally = program.tally(text, status)
        with self.counting:
            self.total.add(tally)
            self.say(f"{program.suite:8} {program.name:22} {tally}  ({time.monotonic() - begun:.1f} s)")
            if tally.failed:
                self.failures.append((program.name, log))
                self.show_failure(text)

    def show_failure(self, text):
        lines = text.splitlines()
        for line in lines[-40:]:
            print("    " + line)

    def finish(self):
        for name, log in self.failures:
            self.say(f"failed: {name}, whole output in {log.relative_to(REPO)}")
        print(self.total, flush=True)
        sys.exit(1 if self.total.failed or not self.total.passed else 0)


def python_suite(folder):
    return [sys.executable, "-B", "-m", "unittest", "discover", "-v", "-s", folder, "-t", folder]


def python_file(path):
    return [sys.executable, "-B", "-m", "unittest", "-v", path.stem]


def end_group(process):
    """Ends what the program left behind in its own process group, and nothing else."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def parse(arguments):
    parser = argparse.ArgumentParser(prog="tests/run", description="Bootstraps if needed, builds and runs the tests.")
    parser.add_argument("--asan", action="store_true", help="with address and undefined-behaviour sanitizers")
    parser.add_argument("--tsan", action="store_true", help="with the thread sanitizer (without e2e)")
    parser.add_argument("--long", action="store_true",
                        help=f"also fuzz every decoder {FUZZ_SECONDS} s, {SIM_SEEDS_LONG} simulator seeds, and orders under faults with {len(ORDER_SEEDS_LONG)} seeds")
    parser.add_argument("--only", action="append", choices=SUITES, help="only this suite (may be repeated)")
    parser.add_argument("--preset", default="dev", choices=("dev", "release"), help="what to build (default: dev)")
    parser.add_argument("--no-build", action="store_true", help="run what is built already")
    parser.add_argument("--jobs", type=int, help="build jobs (default: processors)")
    return parser.parse_args(arguments)


def main():
    runner = Runner(parse(sys.argv[1:]))

    def interrupted(number, _frame):
        for process in list(runner.running):
            end_group(process)
        os._exit(128 + number)  # not through the threads, which would start what is left

    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGINT, interrupted)
    runner.run()


if __name__ == "__main__":
    main()
