"""The raw-socket cases of tests/http through one real agent in front of a recording backend: one test per case.
`tests/http/run --against haproxy,nginx` runs the same cases by hand, with others beside us."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "http"))

import proxies  # noqa: E402  (found through the line above)
from cases import ALL  # noqa: E402
from judge import run_case  # noqa: E402


class Conformance(proxies.AgentBeforeBackend):
    def run_one(self, case):
        verdict = run_case(case, self.agent.addresses, self.backend)
        self.assertFalse(verdict.problems, f"{case.title}: {verdict.seen}\n" + "\n".join(verdict.problems))


def add_tests():
    for number, case in enumerate(ALL):
        def test(self, case=case):
            self.run_one(case)
        test.__doc__ = case.title
        name = "".join(letter if letter.isalnum() else "_" for letter in case.title)
        setattr(Conformance, f"test_{number:03}_{name}", test)


add_tests()


if __name__ == "__main__":
    unittest.main()
