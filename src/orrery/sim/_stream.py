"""Inputs in a row through one plan: who may start when several of them are on their way.

Models:  an input enters when it is due and fewer than a window are on their way; on each device its
         regions keep the plan's order; of what is ready, what belongs to the oldest input starts
         first, and devices wait for it where it needs several of them. Everything else is as in the
         replay of one input: transfers of all inputs share the links.
Ignores: what one input leaves for the next: states and updated weights are not waited for.
Judge:   one input takes what its replay takes; closed forms of two and three stages (tests).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil

from orrery.cost import Expansion
from orrery.errors import SpecError
from orrery.hardware import System
from orrery.plan import Assignment, Plan
from orrery.timeline import MOST_PS, PS_PER_S

from ._kernel import Kernel, to_ps
from ._links import Channels, fair_rates
from ._memory import (
    Changes,
    HeldTimes,
    Times,
    activations,
    holdings,
    peaks,
    residents,
    with_residents,
)
from ._phases import PhaseNetwork, Wire
from ._split import PartSeconds, SplitPlayer, leaves_of
from ._tabulate import PlanTables


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """How inputs come: how many, one every so long, and how many may be on their way at once."""

    count: int
    pace_ps: int = 0
    window: int = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What happened to inputs in a row.

    Attributes
    ----------
    entered_ps, left_ps : per input
    held_ps : per device, how long it was busy with all of them
    channel_busy_ps, channel_slowed_ps : per channel, as each input left: how long it would be full
        for what it was sent, and by how much transfers had ended later because it was full
    peak_bytes : per memory
    """

    entered_ps: tuple[int, ...]
    left_ps: tuple[int, ...]
    held_ps: dict[str, int]
    channel_busy_ps: tuple[tuple[float, ...], ...]
    channel_slowed_ps: tuple[tuple[float, ...], ...]
    peak_bytes: dict[str, int]


class _Gate:
    """Lets inputs in, and lets start what is ready.

    Parts of input k are numbered from ``k * len(parties)`` on.
    """

    def __init__(
        self, kernel: Kernel, network: PhaseNetwork, parties: Sequence[Sequence[int]], parts: int,
        entry: Entry, start: Callable[[int], None],
    ) -> None:  # fmt: skip
        self.kernel, self.network, self.parties, self.entry = kernel, network, parties, entry
        self.start = start
        self.enter: Callable[[int], None] = lambda _: None
        self.waiting: list[int] = []
        self.busy: dict[int, int] = {}
        self.held: dict[int, int] = {}
        self.due = self.inside = 0
        self.looks = False
        self.open = [parts] * entry.count
        self.entered: list[int] = []
        self.left = [-1] * entry.count
        #: by the number of inputs that have left
        self.counted: list[tuple[tuple[float, ...], tuple[float, ...]]] = []

    def begin(self, enter: Callable[[int], None]) -> None:
        self.enter = enter
        for number in range(self.entry.count):
            self.kernel.at(number * self.entry.pace_ps, self._next_due)

    def _next_due(self) -> None:
        self.due += 1
        self._admit()

    def _admit(self) -> None:
        while len(self.entered) < self.due and self.inside < self.entry.window:
            self.entered.append(self.kernel.now_ps)
            self.inside += 1
            self.enter(len(self.entered) - 1)

    def ready(self, task: int) -> None:
        """Take note of what could start; who may is decided when the instant is over."""
        insort(self.waiting, task)
        self._look_later()

    def _look_later(self) -> None:
        if not self.looks:
            self.looks = True
            self.kernel.after(0, self._look)

    def _look(self) -> None:
        self.looks = False
        taken, count = set(self.busy), len(self.parties)
        for task in list(self.waiting):
            mine = self.parties[task % count]
            if taken.isdisjoint(mine):
                self.waiting.remove(task)
                self.busy.update(dict.fromkeys(mine, self.kernel.now_ps))
                self.start(task)
            taken.update(mine)

    def release(self, task: int) -> None:
        for party in self.parties[task % len(self.parties)]:
            since = self.busy.pop(party)
            self.held[party] = self.held.get(party, 0) + self.kernel.now_ps - since
        self._look_later()

    def finish(self, number: int) -> None:
        """Take note that one part of an input is done."""
        self.open[number] -= 1
        if not self.open[number]:
            self.left[number] = self.kernel.now_ps
            self.counted.append((tuple(self.network.busy_ps), tuple(self.network.slowed_ps)))
            self.inside -= 1
            self._admit()

    def stream(self, ends: Sequence[str], where: str, changes: Callable[[int], Changes],
               resident_bytes: dict[str, int]) -> Stream:  # fmt: skip
        """Return what happened; `changes` says what an input held in memories."""
        if self.kernel.now_ps > MOST_PS or -1 in self.left:
            raise SpecError(
                where, found=f"inputs in a row that take more than {MOST_PS / PS_PER_S:.3g} s",
                wanted="a time that the clock can say",
                fix="correct the rates and bandwidths of its devices and links",
            )  # fmt: skip
        merged: Changes = {}
        for number, left in enumerate(self.left):
            for name, mine in changes(number).items():
                stays = sum(change for _, change in mine)  # a result: fetched when all is done
                merged.setdefault(name, []).extend([*mine, (left, -stays)])
        return Stream(
            entered_ps=tuple(self.entered), left_ps=tuple(self.left),
            held_ps={ends[party]: held for party, held in self.held.items()},
            channel_busy_ps=tuple(busy for busy, _ in self.counted),
            channel_slowed_ps=tuple(slowed for _, slowed in self.counted),
            peak_bytes=peaks(with_residents(merged, resident_bytes)),
        )  # fmt: skip


# -- split regions --------------------------------------------------------------------------------


def play_split(
    plan: Plan, system: System, expansion: Expansion, durations: PartSeconds, entry: Entry
) -> Stream:
    """Play inputs in a row through a plan with split regions."""
    return _SplitStream(plan, system, expansion, durations, entry).play()


class _SplitStream(SplitPlayer):
    def __init__(
        self, plan: Plan, system: System, expansion: Expansion, durations: PartSeconds, entry: Entry
    ) -> None:
        self.one, self.size = expansion, len(expansion.steps)
        super().__init__(plan, system, _repeated(expansion, entry.count), durations,
                         per_input=self.size)  # fmt: skip
        self.waits = [count + 1 for count in self.waits]
        self.gate = _Gate(self.kernel, self.network, [step.parties for step in expansion.steps],
                          self.size + len(expansion.returns), entry, self._start)  # fmt: skip

    def play(self) -> Stream:
        self.gate.begin(self._enter)
        self.kernel.run()
        devices = len(self.system.devices)
        return self.gate.stream(self.one.ends, f"plan on {self.system.name}", self._changes,
                                residents(self.one, devices))  # fmt: skip

    def _enter(self, number: int) -> None:
        for task in range(number * self.size, (number + 1) * self.size):
            self.waits[task] -= 1
            if not self.waits[task]:
                self._ready(task)

    def _ready(self, number: int) -> None:
        self.gate.ready(number)

    def _end(self, number: int) -> None:
        super()._end(number)
        self.gate.release(number)
        self.gate.finish(number // self.size)

    def _returned(self, number: int) -> None:
        self.gate.finish(number // self.size)

    def _changes(self, number: int) -> Changes:
        first, last = number * self.size, (number + 1) * self.size
        mine = [one for one in self.moved if first <= one.step < last]
        return holdings(self.one, len(self.system.devices), HeldTimes(
            starts=self.starts[first:last], ends=self.ends[first:last], leaves=leaves_of(mine),
            begun_ps=self.gate.entered[number], done_ps=self.gate.left[number],
        ))  # fmt: skip


def _repeated(expansion: Expansion, count: int) -> Expansion:
    """Return an expansion of the same steps for one input after the other."""
    size = len(expansion.steps)
    shifts = range(0, count * size, size)
    return replace(
        expansion,
        steps=tuple(replace(step, after=tuple(shift + other for other in step.after))
                    for shift in shifts for step in expansion.steps),
        returns=tuple((shift + step, change)
                      for shift in shifts for step, change in expansion.returns),
    )  # fmt: skip


# -- whole regions --------------------------------------------------------------------------------


class _FlowNetwork(PhaseNetwork):
    """Flows of one message each that share channels by bytes, as in the replay of a plan."""

    def __init__(self, system: System, channels: Channels, kernel: Kernel) -> None:
        super().__init__(system, (), kernel)
        self.capacity = channels.capacity_bytes_per_s

    def flow(self, channels: Sequence[int], size_bytes: int, latency_ps: int) -> Wire:
        """Return what a flow takes alone."""
        narrowest = min((self.capacity[c] for c in channels), default=1.0)
        takes_ps = ceil(size_bytes * PS_PER_S / narrowest) if channels else 0
        shares = {c: narrowest / self.capacity[c] for c in channels} if takes_ps else {}
        return Wire(alone_ps=latency_ps + takes_ps, latency_ps=latency_ps, shares=shares,
                    link_bytes={}, routes=())  # fmt: skip

    def _paces(self, wires: Sequence[Wire]) -> list[float]:
        rates = fair_rates([tuple(wire.shares) for wire in wires], self.capacity)
        narrowest = [min(self.capacity[c] for c in wire.shares) for wire in wires]
        return [min(1.0, rate / most) for rate, most in zip(rates, narrowest)]


def play_whole(
    plan: Plan, system: System, tables: PlanTables, channels: Channels,
    durations: Callable[[Assignment], float], output_bytes: Callable[[Assignment], int],
    entry: Entry,
) -> Stream:  # fmt: skip
    """Play inputs in a row through a plan of whole regions."""
    return _WholeStream(plan, system, tables, channels, durations, output_bytes, entry).play()


class _WholeStream:
    def __init__(
        self, plan: Plan, system: System, tables: PlanTables, channels: Channels,
        durations: Callable[[Assignment], float], output_bytes: Callable[[Assignment], int],
        entry: Entry,
    ) -> None:  # fmt: skip
        self.plan, self.system, self.tables, self.output_bytes = plan, system, tables, output_bytes
        self.kernel = Kernel()
        self.network = _FlowNetwork(system, channels, self.kernel)
        self.lasts = [to_ps(durations(a), where=f"plan: duration of region {a.region!r}")
                      for a in plan.assignments]  # fmt: skip
        self.wires = [
            self.network.flow(route, plan.transfers[index].size_bytes, latency)
            for route, (index, _), latency in zip(tables.routes, tables.flows, tables.latency_ps)
        ]
        self.size, self.flows = len(self.lasts), len(self.wires)
        self.next = [-1] * self.size
        waits = [1 + pending for pending in tables.pending]
        for queue in tables.queues:
            for before, after in pairwise(queue):
                self.next[before] = after
                waits[after] += 1
        self.waits = waits * entry.count
        self.issued: list[list[int]] = [[] for _ in range(self.size)]
        self.forwards: list[list[int]] = [[] for _ in range(self.flows)]
        for flow, (issuer, carrier) in enumerate(zip(tables.issuer, tables.carrier)):
            if issuer >= 0:
                self.issued[issuer].append(flow)
            if carrier >= 0:
                self.forwards[carrier].append(flow)
        self.begun, self.ended = ([-1] * self.size * entry.count for _ in range(2))
        self.sent, self.arrived = ([-1] * self.flows * entry.count for _ in range(2))
        self.gate = _Gate(self.kernel, self.network, [(d,) for d in tables.device],
                          self.size + self.flows, entry, self._start)  # fmt: skip

    def play(self) -> Stream:
        self.gate.begin(self._enter)
        self.kernel.run()
        return self.gate.stream(self.tables.devices, f"plan on {self.system.name}", self._changes,
                                dict(self.plan.resident_bytes))  # fmt: skip

    def _enter(self, number: int) -> None:
        for task in range(number * self.size, (number + 1) * self.size):
            self._less(task)
        for flow in self.tables.initial:
            self._issue(number, flow)

    def _less(self, task: int) -> None:
        self.waits[task] -= 1
        if not self.waits[task]:
            self.gate.ready(task)

    def _start(self, task: int) -> None:
        self.begun[task] = self.kernel.now_ps
        self.kernel.after(self.lasts[task % self.size], lambda: self._end(task))

    def _end(self, task: int) -> None:
        self.ended[task] = self.kernel.now_ps
        number, local = divmod(task, self.size)
        self.gate.release(task)
        for flow in self.issued[local]:
            self._issue(number, flow)
        if self.next[local] >= 0:
            self._less(number * self.size + self.next[local])
        self.gate.finish(number)

    def _issue(self, number: int, flow: int) -> None:
        self.sent[number * self.flows + flow] = self.kernel.now_ps
        self.network.issue(self.wires[flow], lambda: self._arrive(number, flow))

    def _arrive(self, number: int, flow: int) -> None:
        self.arrived[number * self.flows + flow] = self.kernel.now_ps
        for following in self.forwards[flow]:
            self._issue(number, following)
        starts, consumer = self.tables.consumer_starts, self.tables.consumer
        for task in consumer[starts[flow] : starts[flow + 1]]:
            self._less(number * self.size + task)
        self.gate.finish(number)

    def _changes(self, number: int) -> Changes:
        tasks = slice(number * self.size, (number + 1) * self.size)
        flows = slice(number * self.flows, (number + 1) * self.flows)
        return activations(self.plan, self.tables.flows, self.output_bytes, Times(
            begin=self.begun[tasks], end=self.ended[tasks], sent=self.sent[flows],
            arrived=self.arrived[flows],
        ))  # fmt: skip
