"""Replay of a plan with split regions: sets of devices that fetch, compute in rounds, and sum.

Models:  a step starts when all its devices have ended their step before it and all steps whose
         outputs it reads have ended; then, one after the other, its arrivals' phases, its rounds
         and the phases of its sums. A round ends when its slowest party has computed and what
         rotates meanwhile has arrived. Results and next values of states leave when their step
         ends and hold no device. Phases that meet on links slow each other (`_phases`).
Ignores: how long a part takes (a function says it); contention inside a device; packets.
Judge:   with no two phases at once, the price of the plan to the picosecond; never before it
         (tests); the certificate's checker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from orrery.cost import Expansion, Phase, Step
from orrery.errors import SpecError
from orrery.hardware import System
from orrery.plan import Assignment, Plan
from orrery.timeline import MOST_PS, PS_PER_S, MemorySample, Span, Timeline

from ._kernel import Kernel, to_ps
from ._memory import HeldTimes, holdings, residents, samples, with_residents
from ._phases import PhaseNetwork, Wire

#: assignment, number of the party, round -> seconds of that part
PartSeconds = Callable[[Assignment, int, int], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """One party's part of one round."""

    step: int
    party: int
    round: int
    start_ps: int
    end_ps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A phase of a step (of what leaves it, for `role` ``return``)."""

    step: int
    role: str  # fetch, rotate, combine or return
    tensor: str
    phase: Phase
    wire: Wire
    start_ps: int
    end_ps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitReplay:
    """What happened.

    Attributes
    ----------
    computed, moved : in the order in which they ended
    starts_ps, ends_ps : per step
    """

    timeline: Timeline
    computed: tuple[Computed, ...]
    moved: tuple[Moved, ...]
    starts_ps: tuple[int, ...]
    ends_ps: tuple[int, ...]


def replay_split(
    plan: Plan, system: System, expansion: Expansion, durations: PartSeconds
) -> SplitReplay:
    """Replay a plan with split regions.

    Parameters
    ----------
    expansion : the plan written out (`orrery.cost.expand`)
    durations : seconds of a party's part of a round; a region that is computed whole is party 0,
        round 0

    Raises
    ------
    SpecError : a duration that is negative or not finite, no route between two ends, an end that
        is later than the clock can say (53 days)
    """
    return SplitPlayer(plan, system, expansion, durations).run()


class SplitPlayer:
    def __init__(
        self, plan: Plan, system: System, expansion: Expansion, durations: PartSeconds,
        *, per_input: int = 0,
    ) -> None:  # fmt: skip
        """Begin; the order on a device binds among `per_input` steps at a time (0: all)."""
        self.plan, self.system, self.expansion = plan, system, expansion
        self.durations = durations
        self.kernel = Kernel()
        self.network = PhaseNetwork(system, expansion.ends, self.kernel)
        self.spans: list[Span] = []
        self.computed: list[Computed] = []
        self.moved: list[Moved] = []
        steps = expansion.steps
        self.starts, self.ends = [-1] * len(steps), [-1] * len(steps)
        self.waits = [0] * len(steps)
        self.followers: list[list[int]] = [[] for _ in steps]
        last: dict[int, int] = {}
        for number, step in enumerate(steps):
            if per_input and number % per_input == 0:
                last = {}
            before = {last[party] for party in step.parties if party in last} | set(step.after)
            for other in before:
                self.followers[other].append(number)
            self.waits[number] = len(before)
            last.update(dict.fromkeys(step.parties, number))
        self.returns: list[list[tuple[str, tuple[Phase, ...]]]] = [[] for _ in steps]
        for number, change in expansion.returns:
            self.returns[number].append((change.tensor, change.phases))

    def run(self) -> SplitReplay:
        for number in range(len(self.waits)):
            if not self.waits[number]:
                self._start(number)
        self.kernel.run()
        if self.kernel.now_ps > MOST_PS:
            raise SpecError(
                f"plan on {self.system.name}", found=f"more than {MOST_PS / PS_PER_S:.3g} s to "
                "the end", wanted="a time that the clock can say",
                fix="correct the bandwidths of its links and the rates of its devices",
            )  # fmt: skip
        order = sorted(range(len(self.spans)), key=lambda i: self.spans[i].start_ps)
        names = ", ".join(model.name for model in self.plan.models) or "plan"
        timeline = Timeline(
            name=f"{names} on {self.system.name}", spans=tuple(self.spans[i] for i in order),
            memory=self._memory(),
        )  # fmt: skip
        return SplitReplay(
            timeline=timeline, computed=tuple(self.computed), moved=tuple(self.moved),
            starts_ps=tuple(self.starts), ends_ps=tuple(self.ends),
        )  # fmt: skip

    # -- one step ---------------------------------------------------------------------------------

    def _start(self, number: int) -> None:
        self.starts[number] = self.kernel.now_ps
        step = self.expansion.steps[number]
        phases = [(change.tensor, p) for change in step.arrivals for p in change.phases]
        self._chain(number, "fetch", phases, lambda: self._fetched(number))

    def _fetched(self, number: int) -> None:
        self._stage(number, "fetch", self.starts[number])
        self._round(number, 0)

    def _round(self, number: int, turn: int) -> None:
        step, now = self.expansion.steps[number], self.kernel.now_ps
        rounds = 1 if step.sharding is None else step.sharding.rounds
        end = now
        for party, where in enumerate(step.parties):
            seconds = self.durations(step.assignment, party, turn)
            lasts = to_ps(seconds, where=f"plan: duration of region {step.assignment.region!r}")
            end = max(end, now + lasts)
            self.computed.append(Computed(step=number, party=party, round=turn, start_ps=now,
                                          end_ps=now + lasts))  # fmt: skip
            self.spans.append(_span(
                self.expansion.ends[where], step, "compute", now, now + lasts,
                {"round": turn} if rounds > 1 else {},
            ))  # fmt: skip
        open_ = [1]

        def done() -> None:
            open_[0] -= 1
            if open_[0]:
                return
            if turn + 1 < rounds:
                self._round(number, turn + 1)
            else:
                self._combine(number)

        for phase in step.rotation[turn : turn + 1]:
            open_[0] += 1
            self._send(number, "rotate", step.region.prefix + phase.tensor, phase, done)
        self.kernel.at(end, done)

    def _combine(self, number: int) -> None:
        step, begun = self.expansion.steps[number], self.kernel.now_ps
        phases = [(step.region.prefix + phase.tensor, phase) for phase in step.combines]

        def done() -> None:
            self._stage(number, "combine", begun)
            self._end(number)

        self._chain(number, "combine", phases, done)

    def _end(self, number: int) -> None:
        self.ends[number] = self.kernel.now_ps
        for tensor, phases in self.returns[number]:
            self._chain(number, "return", [(tensor, phase) for phase in phases],
                        lambda: self._returned(number))  # fmt: skip
        for follower in self.followers[number]:
            self.waits[follower] -= 1
            if not self.waits[follower]:
                self._ready(follower)

    def _ready(self, number: int) -> None:
        """Do what nothing is missing for."""
        self._start(number)

    def _returned(self, number: int) -> None:
        """Take note that one of a step's results is where it belongs."""

    # -- messages ---------------------------------------------------------------------------------

    def _chain(
        self, number: int, role: str, phases: Sequence[tuple[str, Phase]],
        then: Callable[[], None],
    ) -> None:  # fmt: skip
        """Play phases one after the other, then go on."""
        if not phases:
            then()
            return
        (tensor, phase), rest = phases[0], phases[1:]
        self._send(number, role, tensor, phase, lambda: self._chain(number, role, rest, then))

    def _send(
        self, number: int, role: str, tensor: str, phase: Phase, then: Callable[[], None]
    ) -> None:
        wire = self.network.wire(phase.messages, where=f"plan: messages of {tensor!r}")
        begun = self.kernel.now_ps

        def done() -> None:
            now = self.kernel.now_ps
            self.moved.append(Moved(step=number, role=role, tensor=tensor, phase=phase, wire=wire,
                                    start_ps=begun, end_ps=now))  # fmt: skip
            for link, size in wire.link_bytes.items():
                self.spans.append(Span(
                    resource=link, name=tensor, kind="transfer", start_ps=begun, end_ps=now,
                    details={"bytes": size, "phase": phase.kind, "for": role},
                ))  # fmt: skip
            then()

        self.network.issue(wire, done)

    # -- what is shown ----------------------------------------------------------------------------

    def _stage(self, number: int, kind: str, begun: int) -> None:
        step, now = self.expansion.steps[number], self.kernel.now_ps
        if now > begun:
            self.spans += [_span(self.expansion.ends[p], step, kind, begun, now, {})
                           for p in step.parties]  # fmt: skip

    def _memory(self) -> tuple[MemorySample, ...]:
        """Return resident bytes and what is held from step to step, per device."""
        played = HeldTimes(starts=self.starts, ends=self.ends, leaves=leaves_of(self.moved),
                           begun_ps=0, done_ps=self.kernel.now_ps)  # fmt: skip
        devices = len(self.system.devices)
        return samples(with_residents(
            holdings(self.expansion, devices, played), residents(self.expansion, devices)
        ))  # fmt: skip


def leaves_of(moved: Iterable[Moved]) -> dict[str, int]:
    """Return when the last part of each result has left (ps)."""
    leaves: dict[str, int] = {}
    for one in moved:
        if one.role == "return":
            leaves[one.tensor] = max(leaves.get(one.tensor, 0), one.end_ps)
    return leaves


def _span(
    device: str, step: Step, kind: str, start: int, end: int, details: dict[str, str | int | float]
) -> Span:
    if kind == "compute" and step.assignment.design:
        details = {"design": step.assignment.design, **details}
    return Span(resource=device, name=step.assignment.region, kind=kind, start_ps=start, end_ps=end,
                details=details)  # fmt: skip
