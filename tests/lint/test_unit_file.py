"""The unit that is shipped fits the agent: what a stop may wait for altogether, and whom the signal of a stop reaches."""

import re
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
UNIT = (REPO / "deploy" / "outrigger.service").read_text()
STOP = (REPO / "agent" / "agent_stop.cc").read_text()
RUNNING = (REPO / "agent" / "running.h").read_text()
HANDOVER = (REPO / "agent" / "agent_handover.cc").read_text()
CONFIG = (REPO / "agent" / "config.cc").read_text()


def setting(name):
    return re.findall(rf"^{name}=(.*)$", UNIT, re.M)[-1]


def milliseconds(name, text):
    return int(re.search(rf"Milliseconds {name}\{{([\d']+)\}}", text).group(1).replace("'", ""))


class UnitFile(unittest.TestCase):
    def setUp(self):
        self.orders = int(re.search(r'duration\("order_wait",.*seconds\((\d+)\)\)', CONFIG).group(1)) * 1000
        self.leaving = int(re.search(r"enter\(Phase::kLeaving, Milliseconds\((\d+)\)\)", STOP).group(1))
        self.released = self.orders + milliseconds("kReleaseWait", RUNNING)
        self.hooks = milliseconds("kHooksWait", STOP)

    def test_a_stop_that_takes_its_longest_ends_before_the_service_manager_kills(self):
        rest = max(self.hooks, milliseconds("kTransferWait", STOP) + self.leaving) + milliseconds("kLastWordsWait", STOP)
        self.assertLess(self.released + rest + 5000, int(setting("TimeoutStopSec")) * 1000, "5 s are for what is closed at the end, on a slow disk")

    def test_a_successor_waits_as_long_as_hooks_may_take(self):
        needs = max(self.hooks, milliseconds("kTransferWait", STOP) + milliseconds("kPeersHear", STOP)) + milliseconds("kReleaseWait", RUNNING)
        self.assertLess(needs + 1000, milliseconds("kTakeOverWait", HANDOVER), "orders in flight are added to it")

    def test_the_signal_of_a_stop_is_for_the_agent_alone(self):
        self.assertEqual(setting("KillMode"), "mixed", "a hook that runs would get it as well")


if __name__ == "__main__":
    unittest.main()
