"""When the subgraphs of a placement run: one put after the other, and stretches settled.

Models:  see `_problem`. Within the stretch under way each subgraph takes as long as alone, which is
         the least; once all of a stretch is put, it is worked out anew with those that run side by
         side slowing each other down. Nothing of another stretch runs beside it.
Judge:   a simulation event by event (tests/mapping/phases/test_problem.py, test_company.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orrery.errors import SpecError

from ._company import Tasks

if TYPE_CHECKING:
    from ._problem import PlacementProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When each subgraph runs under a placement, in seconds from the start.

    Attributes
    ----------
    worker : number of the worker, per subgraph
    begin, end : per subgraph
    makespan_s : until the last output has returned
    because : per subgraph, the subgraph whose end (or whose tensor) it waited for last; -1: nobody
    """

    worker: tuple[int, ...]
    begin: tuple[float, ...]
    end: tuple[float, ...]
    makespan_s: float
    because: tuple[int, ...]
    last: int

    def critical_path(self) -> tuple[int, ...]:
        """Return the subgraphs that decide the makespan, first to last."""
        path, at = [], self.last
        while at >= 0:
            path.append(at)
            at = self.because[at]
        return tuple(reversed(path))

    def at(self, pace: float) -> Timing:
        """Return the timing where everything takes so many times as long."""
        return replace(
            self, begin=tuple(pace * s for s in self.begin), end=tuple(pace * s for s in self.end),
            makespan_s=pace * self.makespan_s,
        )  # fmt: skip


#: Fixed seconds, seconds per byte, where a tensor then is (a worker, or all of a memory) and the
#: wire that it takes; None within one memory.
Sending = tuple[float, float, int | str, tuple[str, str] | None]

#: A transfer, its wire, and when that was free before.
_Sent = tuple[tuple[int, int | str], tuple[str, str] | None, float]

_Free = dict[str, tuple[float, int]]
_Wires = dict[tuple[str, str], float]
_There = dict[tuple[int, int | str], float]

#: Stretches that begin alike to so many digits of a second are alike; so many are kept.
_DIGITS, _MOST_KEPT = 12, 200_000

#: When a processor is free that nothing has run on, and who ran last.
_NEVER = (0.0, -1)


@dataclass(slots=True)
class _Stretch:
    """A stretch under way: its subgraphs in the order in which they were put, and what was before.

    Attributes
    ----------
    since : no subgraph of it may begin before
    """

    number: int
    since: float
    members: list[int]
    free: _Free
    wire: _Wires
    there: _There


@dataclass(slots=True)
class Settled:
    """A stretch worked out event by event, in seconds from when it could begin.

    Attributes
    ----------
    begin, end, because : per subgraph, in the order in which they were put
    sent : tensors that arrive, with their wires, and when
    """

    begin: list[float]
    end: list[float]
    because: list[int]
    sent: list[tuple[tuple[int, int | str], tuple[str, str] | None, float]]


@dataclass(slots=True)
class _Before:
    """What settling a stretch has changed: times of its subgraphs, and what follows from them."""

    stretch: _Stretch
    times: list[tuple[int, float, float, int]]
    free: _Free
    wire: _Wires
    there: _There


class State:
    """A placement under way: subgraphs are put in the problem's order, and can be taken back.

    Attributes
    ----------
    since : when the stretch under way may begin at the earliest; 0 without company
    """

    def __init__(self, problem: PlacementProblem) -> None:
        self.p = problem
        count = len(problem.partition.subgraphs)
        self.worker = [-1] * count
        self.begin, self.end = [0.0] * count, [0.0] * count
        self.because = [-1] * count
        self.since = 0.0
        self._free: _Free = {}
        self._wire: _Wires = {}
        self._there: _There = {}
        #: per `put`: when its processors were free before, transfers begun for it with when their
        #: wires were free, and what was settled then
        self._undo: list[tuple[list[tuple[float, int]], list[_Sent], _Before | None]] = []
        self._sent_now: list[_Sent] = []
        self._slows = problem.factors is not None
        self._stretch = _Stretch(-1, 0.0, [], {}, {}, {})

    def put(self, number: int, worker: int, *, for_good: bool = False) -> float:
        """Begin a subgraph as early as can be on a worker; return when it ends."""
        p, processors = self.p, self.p.workers[worker].processors
        settled: _Before | None = None
        if self._slows:
            if p.stretch_of[number] != self._stretch.number:
                settled = self._next(p.stretch_of[number])
            self._stretch.members.append(number)
        begin, because = 0.0, -1
        before = [self._free.get(processor, _NEVER) for processor in processors]
        for free, who in before:
            if free > begin:
                begin, because = free, who
        if not for_good:
            self._sent_now = []
            self._undo.append((before, self._sent_now, settled))
        for flow in p.incoming[number]:
            producer = p.flows[flow].producer
            arrival = (
                self._sent(flow, 0.0, -1, worker)
                if producer < 0
                else self._sent(flow, self.end[producer], self.worker[producer], worker)
            )
            if arrival > begin:
                begin, because = arrival, producer
        self.worker[number], self.because[number] = worker, because
        self.begin[number] = begin
        self.end[number] = end = begin + p.rows[number][worker]
        now = (end, number)
        for processor in processors:
            self._free[processor] = now
        return end

    def take_back(self, number: int) -> None:
        """Undo the last `put`, which was of this subgraph, and not for good."""
        before, sent, settled = self._undo.pop()
        self._sent_now = self._undo[-1][1] if self._undo else []
        for processor, free in zip(self.p.workers[self.worker[number]].processors, before):
            self._free[processor] = free
        for key, wire, free_s in reversed(sent):
            del self._there[key]
            if wire is not None:
                self._wire[wire] = free_s
        if self._slows:
            self._stretch.members.pop()
            if settled is not None:
                self._back(settled)
        self.worker[number] = -1

    def busy_s(self) -> float:
        """Return the sum over processors of when each is free again."""
        return sum(free for free, _ in self._free.values())

    def ended_s(self, numbers: Sequence[int]) -> float:
        """Return when the last of some subgraphs ends, all that is put being all that there is."""
        if not self._slows:
            return max(self.end[k] for k in numbers)
        settled = self._settle()
        last = max(self.end[k] for k in numbers)
        self._back(settled)
        return last

    def _sent(self, flow: int, made: float, source: int, target: int) -> float:
        """Return when a tensor has arrived; in one memory it need be sent to each worker apart."""
        fixed, per_byte, to, wire = self.p.sending[source + 1][target + 1]
        takes = fixed + per_byte * self.p.flows[flow].size_bytes
        if takes == 0.0:
            return made
        key = (flow, to)
        if (known := self._there.get(key)) is not None:
            return known
        if wire is None:  # a hand-over occupies nobody else
            self._sent_now.append((key, None, 0.0))
            self._there[key] = arrived = made + takes
        else:
            free = self._wire.get(wire, 0.0)
            self._sent_now.append((key, wire, free))
            self._wire[wire] = self._there[key] = arrived = max(made, free) + takes
        return arrived

    def timing(self) -> Timing:
        """Return the times once every subgraph is put."""
        settled, sent = (self._settle(), self._sent_now) if self._slows else (None, [])
        if settled is not None:  # what is sent now is gone again with what was settled
            self._sent_now = []
            self._wire, self._there = dict(self._wire), dict(self._there)
        last = max(range(len(self.end)), key=lambda k: self.end[k])
        makespan = self.end[last]
        for number, flow in enumerate(self.p.flows):
            if flow.returned and flow.producer >= 0:
                done = self._sent(number, self.end[flow.producer], self.worker[flow.producer], -1)
                if done > makespan:
                    makespan, last = done, flow.producer
        if not math.isfinite(makespan):
            raise SpecError("placement", found="a worker that cannot run its subgraph",
                            wanted="one that can", fix="choose among finite seconds")  # fmt: skip
        found = Timing(
            worker=tuple(self.worker), begin=tuple(self.begin), end=tuple(self.end),
            makespan_s=makespan, because=tuple(self.because), last=last,
        )  # fmt: skip
        if settled is not None:
            self._back(settled)
            self._sent_now = sent
        return found

    def _next(self, stretch: int) -> _Before:
        """Settle the stretch under way and begin another one."""
        settled = self._settle()
        since = max((self.end[k] for k in self._stretch.members), default=0.0)
        self.since = max(self.since, since)
        if len(self.p.stretches[stretch]) > 1:
            self._stretch = _Stretch(
                stretch, self.since, [], dict(self._free), dict(self._wire), dict(self._there)
            )
        else:  # with nothing beside it
            self._stretch = _Stretch(stretch, self.since, [], {}, {}, {})
        return settled

    def _back(self, settled: _Before) -> None:
        """Undo what settling has changed."""
        self._stretch = settled.stretch
        self.since = settled.stretch.since
        self._free, self._wire, self._there = settled.free, settled.wire, settled.there
        for number, begin, end, because in settled.times:
            self.begin[number], self.end[number] = begin, end
            self.because[number] = because

    def _settle(self) -> _Before:
        """Work out the stretch under way with those that run side by side slowing each other."""
        before = _Before(self._stretch, [], self._free, self._wire, self._there)
        if len(self._stretch.members) < 2:
            return before
        used = {self.worker[k] for k in self._stretch.members}
        if any(self.p.beside[a][b] for a in used for b in used):
            self._run(before)
        return before

    def _run(self, before: _Before) -> None:
        p, stretch = self.p, self._stretch
        found, key = None, None
        if not p.wires:  # what follows then depends on little, and comes again and again
            feeding = p.feeding[stretch.number]
            freed = [stretch.free.get(one, _NEVER) for one in p.processors]
            key = (
                stretch.number, tuple([(k, self.worker[k]) for k in stretch.members]),
                tuple([self.worker[k] for k in feeding]),
                tuple([round(self.end[k] - stretch.since, _DIGITS) for k in feeding]),
                tuple([(round(free - stretch.since, _DIGITS), who) for free, who in freed]),
            )  # fmt: skip
            found = p.settled.get(key)
        if found is None:
            found = self._worked_out(stretch)
            if key is not None and len(p.settled) < _MOST_KEPT:
                p.settled[key] = found
        since = stretch.since
        self._free, self._there = dict(stretch.free), dict(stretch.there)
        self._wire = dict(stretch.wire)
        for sent, wire, arrives in found.sent:
            self._there[sent] = arrives + since
            if wire is not None:
                self._wire[wire] = arrives + since
        for turn, number in enumerate(stretch.members):
            before.times.append(
                (number, self.begin[number], self.end[number], self.because[number])
            )
            self.begin[number] = found.begin[turn] + since
            self.end[number] = end = found.end[turn] + since
            self.because[number] = found.because[turn]
            for processor in p.workers[self.worker[number]].processors:
                self._free[processor] = (end, number)

    def _worked_out(self, stretch: _Stretch) -> Settled:
        """Return a stretch event by event, in seconds from when it could begin."""
        p, since, tasks = self.p, stretch.since, Tasks()
        factors = p.factors or ()
        others: list[int] = []  # per subgraph, what it waits for of what was before
        makers: dict[int, int] = {}  # per transfer, who made what it carries
        at: dict[int, int] = {}
        last: dict[str, int] = {}  # per processor, the task that has it
        lines: dict[tuple[str, str], int] = {}  # per wire, the last transfer
        sent: dict[tuple[int, int | str], int] = {}  # the task after which a tensor arrives
        carried: list[tuple[tuple[int, int | str], tuple[str, str] | None, int, float]] = []
        for number in stretch.members:
            w = self.worker[number]
            own = at[number] = tasks.add(
                p.rows[number][w], factors[number][w], p.memory_numbers[w]
            )  # fmt: skip
            tasks.earliest[own], because = -since, -1
            for processor in p.workers[w].processors:
                if processor in last:
                    tasks.follow(last[processor], own)
                else:
                    free, who = stretch.free.get(processor, _NEVER)
                    if free - since > tasks.earliest[own]:
                        tasks.earliest[own], because = free - since, who
                last[processor] = own
            for flow in p.incoming[number]:
                producer = p.flows[flow].producer
                source = self.worker[producer] if producer >= 0 else -1
                fixed, per_byte, to, wire = p.sending[source + 1][w + 1]
                takes, key = fixed + per_byte * p.flows[flow].size_bytes, (flow, to)
                made = 0.0 if producer < 0 else self.end[producer]
                if takes > 0.0 and key in stretch.there:
                    arrives = stretch.there[key]
                elif takes > 0.0 and wire is not None:
                    if key not in sent:
                        moved = sent[key] = tasks.add(takes, 1.0, -1)
                        makers[moved] = producer
                        tasks.earliest[moved] = -since
                        if producer in at:
                            tasks.follow(at[producer], moved)
                        else:
                            tasks.earliest[moved] = made - since
                        if wire in lines:
                            tasks.follow(lines[wire], moved)
                        else:
                            free = stretch.wire.get(wire, 0.0) - since
                            tasks.earliest[moved] = max(tasks.earliest[moved], free)
                        lines[wire] = moved
                        carried.append((key, wire, moved, 0.0))
                    tasks.follow(sent[key], own)
                    continue
                elif producer in at:
                    tasks.follow(at[producer], own, takes)
                    if takes > 0.0 and key not in sent:
                        sent[key] = at[producer]
                        carried.append((key, None, at[producer], takes))
                    continue
                else:
                    arrives = made + takes
                if arrives - since > tasks.earliest[own]:
                    tasks.earliest[own], because = arrives - since, producer
            tasks.earliest[own] = max(0.0, tasks.earliest[own])  # transfers may come before
            others.append(because)
        begin, end = tasks.run()
        numbers = {own: number for number, own in at.items()}
        waited = [tasks.because[at[number]] for number in stretch.members]
        return Settled(
            begin=[begin[at[k]] for k in stretch.members],
            end=[end[at[k]] for k in stretch.members],
            because=[
                other if task < 0 else numbers.get(task, makers.get(task, -1))
                for task, other in zip(waited, others)
            ],
            sent=[(key, wire, end[task] + takes) for key, wire, task, takes in carried],
        )  # fmt: skip
