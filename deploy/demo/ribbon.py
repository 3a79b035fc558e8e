"""The live line of a run: what its load generator says, drawn while it happens."""

import json
import sys
import threading

LEVELS = "▁▂▃▄▅▆▇█"


class Ribbon:
    """One line per act, one character per 100 ms: how many orders were acknowledged, and what was done to whom."""

    def __init__(self, load):
        self.load, self.full, self.lock = load, 1, threading.Lock()
        self.column, self.open, self.epoch, self.acks = 0, False, 0, 0
        self.reader = threading.Thread(target=self.follow, daemon=True)
        self.reader.start()

    def follow(self):
        for line in self.load.stdout:
            try:
                slot = json.loads(line)
            except ValueError:
                continue
            self.epoch = slot["epoch"]
            self.acks += slot["acks"]
            self.full = max(self.full, slot["acks"])
            level = 0 if not slot["acks"] else 1 + slot["acks"] * (len(LEVELS) - 2) // self.full
            self.put(("·" if not slot["acks"] else LEVELS[level]) if not slot["failed"] else "!")

    def put(self, text):
        with self.lock:
            if self.open:
                if self.column >= 100:
                    sys.stdout.write("\n" + " " * 12)
                    self.column = 0
                self.column += len(text)
                sys.stdout.write(text)
                sys.stdout.flush()

    def begin(self, title):
        with self.lock:
            sys.stdout.write(f"{title:12}")
            sys.stdout.flush()
            self.column, self.open = 0, True

    def end(self, result=""):
        with self.lock:
            self.open = False
            sys.stdout.write(f"\n{'':12}{result}\n" if result else "\n")
            sys.stdout.flush()
