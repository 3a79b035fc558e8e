"""What tests/e2e/orders does to agents and traders while orders flow: a plan out of a seed, and the hands that carry it out.

Every fault is mended before the next one. Each kind has its share of the plan, whatever the seed: a third of it kills, a third
freezes, a third cuts the network between agents (their own fault switch, [demo] faults). The first freeze of a plan is always the
one that fences exist for: a trader that holds orders is frozen, then its agent; both wake up when somebody else is primary.
"""

import dataclasses
import signal
import subprocess
import time

from harness import bytes_waiting, patience, wait_until
from cluster import TooLate

SHORTEST, LONGEST = 0.5, 6.0  # seconds of a fault: less than the lease (1.5 s), more than lease, margin and election together
PILE_UP_SECONDS = 0.15  # a frozen trader gets orders that long, before its agent could notice (six missed checks: more than 1 s)
PILE_UP_SECONDS_MAX = 2.0  # ... and longer, while it has not got any
ORDER_BYTES_MIN = 300  # an order as a trader gets it has more than 500, a health check 100
HEAD_START_SECONDS = 0.3  # of an awakened trader before its agent wakes, too

KINDS = {"hang": ("zombie trader", "trader", "agent", "both", "zombie agent"),
         "kill": ("trader", "agent", "both", "follower"),
         "cut": ("primary | both others", "one other | primary and one", "primary | one other", "one other | one other", "primary | both others, told at one side")}

# What the plan of faults does not have, for those who ask for more (--storms): two things at once, everything at once, and ends in good order.
STORMS = ("all agents killed", "all agents and traders killed", "primary cut off, its trader frozen", "primary cut off, another killed",
          "primary frozen, another killed", "primary's agent asked to end", "handed over twice", "all agents frozen")


@dataclasses.dataclass(frozen=True)
class Fault:
    kind: str
    shape: str
    seconds: float  # until what was frozen or cut is well again, or what was killed is started again


def plan(count, chance, longest=LONGEST):
    """@return `count` faults, as many of each kind, with a zombie as the first freeze."""
    kinds = [list(KINDS)[number % len(KINDS)] for number in range(count)]
    chance.shuffle(kinds)
    faults, frozen = [], False
    for kind in kinds:
        shape = KINDS[kind][0] if kind == "hang" and not frozen else chance.choice(KINDS[kind])
        frozen = frozen or kind == "hang"
        faults.append(Fault(kind, shape, chance.uniform(SHORTEST, longest)))
    return faults


def storms(count, chance, longest=LONGEST):
    """@return `count` of them, each kind before any comes again"""
    shapes = []
    while len(shapes) < count:
        shapes += chance.sample(STORMS, len(STORMS))
    return [Fault("storm", shape, chance.uniform(SHORTEST, longest)) for shape in shapes[:count]]


class Hands:
    """Breaks one thing and mends it. @param newest_epoch  of any order that was acknowledged so far"""

    def __init__(self, made, chance, newest_epoch):
        self.made, self.chance, self.newest_epoch = made, chance, newest_epoch
        self.killed = set()

    def primary(self):
        holder, epoch = self.made.wait_agreed(30 * patience())
        return self.made.node(holder), epoch

    def play(self, fault):
        """@return who was hit, in words. All is broken, and well again but for the dead, when it returns."""
        node, epoch = self.primary()
        others = [other for other in self.made.nodes if other is not node]
        self.chance.shuffle(others)
        return getattr(self, fault.kind)(fault, node, others, epoch)

    def strike(self, *processes):
        for process in processes:
            self.killed.add(process.pid)
            process.kill()

    @staticmethod
    def freeze(processes, seconds):
        for process in processes:
            process.send(signal.SIGSTOP)
        time.sleep(seconds)
        for process in processes:
            process.send(signal.SIGCONT)

    # --- the three kinds ---------------------------------------------------------------------------------------------
    def kill(self, fault, node, others, _epoch):
        hit = others[0] if fault.shape == "follower" else node
        self.strike(*{"trader": [hit.trader], "agent": [hit.agent], "both": [hit.agent, hit.trader], "follower": [hit.agent]}[fault.shape])
        time.sleep(fault.seconds / 2)
        return hit.name

    def hang(self, fault, node, others, epoch):
        if fault.shape.startswith("zombie"):
            return self.raise_zombie(fault, node, others, epoch)
        frozen = {"trader": [node.trader], "agent": [node.agent], "both": [node.agent, node.trader]}[fault.shape]
        self.freeze(frozen, fault.seconds)
        return node.name

    def raise_zombie(self, fault, node, others, epoch):
        """Freezes both while orders are on their way between them, and wakes them when a successor has taken orders."""
        first, second = (node.trader, node.agent) if fault.shape == "zombie trader" else (node.agent, node.trader)
        first.send(signal.SIGSTOP)
        if first is node.trader:
            self.pile_up(node)
        second.send(signal.SIGSTOP)
        try:
            _, successor = self.made.wait_agreed(20 * patience(), others, after_epoch=epoch)
            wait_until(lambda: self.newest_epoch() >= successor, 20 * patience(), f"an order under epoch {successor} behind a frozen primary")
        finally:
            first.send(signal.SIGCONT)
            time.sleep(HEAD_START_SECONDS)
            second.send(signal.SIGCONT)
        return f"{node.name}, woken under epoch {successor}"

    @staticmethod
    def pile_up(node):
        """Until the frozen trader has orders in its hands: they wait in its sockets."""
        end = time.monotonic() + PILE_UP_SECONDS_MAX
        time.sleep(PILE_UP_SECONDS)
        while bytes_waiting(node.service.rsplit(":", 1)[1]) < ORDER_BYTES_MIN and time.monotonic() < end:
            time.sleep(0.01)

    def cut(self, fault, node, others, _epoch):
        one, other = others
        sides = {"primary | both others": [(node, others), (one, [node]), (other, [node])],
                 "one other | primary and one": [(one, [node, other]), (node, [one]), (other, [one])],
                 "primary | one other": [(node, [one]), (one, [node])],
                 "one other | one other": [(one, [other]), (other, [one])],
                 "primary | both others, told at one side": [(node, others)]}[fault.shape]
        for side, peers in sides:
            side.cut_off(peers)
        time.sleep(fault.seconds)
        self.made.heal()
        return f"{node.name} is primary"

    # --- more than one at a time --------------------------------------------------------------------------------------
    def storm(self, fault, node, others, epoch):
        other = others[0]
        getattr(self, fault.shape.replace(" ", "_").replace(",", "").replace("'", ""))(fault.seconds, node, other, epoch)
        return f"{node.name} and {other.name}"

    def all_agents_killed(self, seconds, *_):
        self.strike(*(node.agent for node in self.made.nodes))
        time.sleep(seconds / 4)

    def all_agents_and_traders_killed(self, seconds, *_):
        self.strike(*(process for node in self.made.nodes for process in (node.agent, node.trader)))
        time.sleep(seconds / 4)

    def primary_cut_off_its_trader_frozen(self, seconds, node, _other, epoch):
        """The trader wakes up behind an agent that has lost its lease and does not know why."""
        self.made.partition(node)
        node.trader.send(signal.SIGSTOP)
        try:
            rest = [each for each in self.made.nodes if each is not node]
            self.made.wait_agreed(20 * patience(), rest, after_epoch=epoch)
        finally:
            node.trader.send(signal.SIGCONT)
            time.sleep(seconds / 2)
            self.made.heal()

    def primary_cut_off_another_killed(self, seconds, node, other, _epoch):
        """Nobody has a majority."""
        self.made.partition(node)
        self.strike(other.agent)
        time.sleep(seconds)
        self.made.heal()

    def primary_frozen_another_killed(self, seconds, node, other, _epoch):
        node.agent.send(signal.SIGSTOP)
        self.strike(other.agent, other.trader)
        time.sleep(seconds)
        node.agent.send(signal.SIGCONT)

    def primarys_agent_asked_to_end(self, _seconds, node, *_):
        self.killed.add(node.agent.pid)
        if node.agent.stop(30 * patience()) != 0:
            raise RuntimeError(f"{node.name}'s agent did not end in good order: {node.agent.tail(3)}")

    def handed_over_twice(self, seconds, node, other, epoch):
        for target in (other, node):
            told = subprocess.run([str(self.made.binary), "switchover", "--api", other.api, "--to", target.name], check=False,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60 * patience())
            if told.returncode != 0:
                raise RuntimeError(f"switchover to {target.name}: {told.stdout}")
            _, epoch = self.made.wait_agreed(20 * patience(), after_epoch=epoch)
            time.sleep(seconds / 8)

    def all_agents_frozen(self, seconds, *_):
        """Every lease is over when they wake, and nobody has noticed anything."""
        self.freeze([node.agent for node in self.made.nodes], seconds)

    # --- afterwards ---------------------------------------------------------------------------------------------------
    def mend(self):
        """Starts what is dead. @return what went wrong by itself: a process that died and that nobody killed, a cluster that does not
        come to agree again."""
        wrong = []
        for node in self.made.nodes:
            for process, start in ((node.trader, node.start_trader), (node.agent, node.start_agent)):
                if not process.alive():
                    if process.pid not in self.killed:
                        wrong.append(f"{process.name} died by itself, exit {process.child.poll()}: {process.tail(5)}")
                    start()
        try:
            for node in self.made.nodes:
                wait_until(node.ready, 30 * patience(), f"{node.name} ready")
            self.made.wait_agreed(30 * patience())
        except TooLate as late:
            wrong.append(f"after a fault: {late}")
        return wrong
