"""The load generator as a child of the one who directs a run: begun, watched by its ribbon, asked to end, read."""

import json
import signal
import subprocess
import sys

from cluster import HERE, WITH_PARENT
from ribbon import Ribbon


class LoadProcess:
    def __init__(self, out, seed, entries, apis=(), options=()):
        """@param out  file for what the clients saw; the generator's own words go beside it"""
        self.out = out
        command = [*WITH_PARENT, sys.executable, "-B", str(HERE / "loadgen.py"), "--seed", str(seed), "--out", str(out), *options]
        for name, addresses in (("--entry", entries), ("--api", apis)):
            for address in addresses:
                command += [name, address]
        self.log = out.with_suffix(".log")
        with open(self.log, "w", encoding="utf-8") as log:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
                                          start_new_session=True)
        self.ribbon = Ribbon(self.child)

    def finish(self, seconds):
        """Lets clients end what they have begun. @return whether they did within that time"""
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            return False
        finally:
            self.end()

    def end(self):
        """At once; harmless when it has ended."""
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        self.ribbon.reader.join(5)
        self.child.stdout.close()

    def seen(self):
        """What the clients noted. RuntimeError when the generator left nothing."""
        if not self.out.exists():
            raise RuntimeError("the load generator left no result:\n" + self.log.read_text()[-2000:])
        return json.loads(self.out.read_text())
