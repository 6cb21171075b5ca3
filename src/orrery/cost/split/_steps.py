"""What each step of a split plan takes, term by term.

Models:  arrivals, rounds and sums follow each other; a round lasts as long as its slowest party or
         its rotating messages; results and next values leave when the step has ended. Every
         message is read from the memory of the device that sends it and written to that of the one
         that gets it. Times are whole picoseconds, rounded per phase and per round.
Ignores: contention between steps; the additions of sums; work space inside kernels.
Judge:   closed forms of all-gather and all-reduce; sums of `sharded_cost` (tests).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from orrery.errors import SpecError
from orrery.hardware import System
from orrery.timeline import MOST_PS, PS_PER_S

from .._cost import Charge, Cost
from .._energy import bill, offchip_charge
from .._expand import Expansion, Step
from .._transfer import Movement, channels, moves_cost, route_of
from ..sharding import Phase, Resharding
from ._answers import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """What one region of a split plan takes, and which part of it is what.

    Attributes
    ----------
    devices : that work on it, all from its start to its end
    arrival_s, combine_s : seconds of bringing operands, and of summing results
    compute_s, rotate_s : per round, seconds of the slowest party and of the messages meanwhile;
        none where the region has no price
    party_s : per round, per party, seconds of computing as the cost model says
    return_s : seconds until its results and next values are where they end, after the step
    moved_bytes : of all messages, however many links each crosses
    link, link_share : the link that is busy longest, and for which part of step and return; empty
        and zero where nothing moves
    """

    devices: tuple[str, ...]
    arrival_s: float
    compute_s: tuple[float, ...]
    rotate_s: tuple[float, ...]
    party_s: tuple[tuple[float, ...], ...]
    combine_s: float
    return_s: float
    moved_bytes: int
    link: str = ""
    link_share: float = 0.0

    @property
    def duration_s(self) -> float:
        """Seconds from start to end; returns come after."""
        rounds = sum(map(max, zip(self.compute_s, self.rotate_s)))
        return self.arrival_s + rounds + self.combine_s

    @property
    def critical(self) -> str:
        """The longest term: ``compute``, ``arrival``, ``rotate``, ``combine`` or ``return``."""
        turns = [*zip(self.compute_s, self.rotate_s)]
        terms = {
            "compute": sum(c for c, r in turns if c >= r), "arrival": self.arrival_s,
            "rotate": sum(r for c, r in turns if r > c), "combine": self.combine_s,
            "return": self.return_s,
        }  # fmt: skip
        return max(terms, key=terms.__getitem__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedStep:
    """A step's terms, its cost, and its times in picoseconds.

    Attributes
    ----------
    cost : of the step as a whole, returns included except in its latency
    duration_ps : from start to end
    returns_ps : per return, in the order of the expansion
    links : that carry any of its messages
    """

    terms: StepCost
    cost: Cost
    duration_ps: int
    returns_ps: tuple[int, ...]
    links: frozenset[str]


def price_steps(
    expansion: Expansion, answers: Sequence[Answer], system: System
) -> tuple[PricedStep, ...]:
    """Price every step; one without an answer takes only what its messages take.

    Raises
    ------
    SpecError : ends that no route joins, or times that no clock can say
    """
    returns: dict[int, list[Resharding]] = {}
    for number, change in expansion.returns:
        returns.setdefault(number, []).append(change)
    pricer = _Pricer(expansion, system)
    return tuple(
        pricer.price(step, answer, returns.get(number, ()))
        for number, (step, answer) in enumerate(zip(expansion.steps, answers, strict=True))
    )


class _Pricer:
    def __init__(self, expansion: Expansion, system: System) -> None:
        self.ends, self.system = expansion.ends, system
        self.devices = {device.name: device for device in system.devices}
        self.known: dict[tuple[tuple[int, int, int], ...], Movement] = {}
        self.seconds_per_byte = {link.name: 1 / link.bandwidth_bytes_per_s
                                 for link in system.links}  # fmt: skip
        self.routes: dict[tuple[int, int], tuple[tuple[str, bool], ...]] = {}

    def price(self, step: Step, answer: Answer, returns: Sequence[Resharding]) -> PricedStep:
        region = step.assignment.region
        arrivals = [phase for change in step.arrivals for phase in change.phases]
        arrival_ps = sum(self._phase_ps(phase, region) for phase in arrivals)
        combine_ps = sum(self._phase_ps(phase, region) for phase in step.combines)
        compute = [max(_ps(cost.latency_s, region) for cost in row) for row in answer.rounds]
        rotate = [self._phase_ps(phase, region) for phase in step.rotation]
        turns = [*zip_longest(compute, rotate, fillvalue=0)]
        returns_ps = tuple(
            sum(self._phase_ps(phase, region) for phase in change.phases) for change in returns
        )
        duration_ps = arrival_ps + sum(map(max, turns)) + combine_ps
        phases = (*arrivals, *step.rotation, *step.combines,
                  *(phase for change in returns for phase in change.phases))  # fmt: skip
        link, busy_s = self._busiest(phases)
        whole_s = (duration_ps + max(returns_ps, default=0)) / PS_PER_S
        terms = StepCost(
            devices=step.assignment.devices, arrival_s=arrival_ps / PS_PER_S,
            compute_s=tuple(c / PS_PER_S for c, _ in turns),
            rotate_s=tuple(r / PS_PER_S for _, r in turns),
            party_s=tuple(tuple(cost.latency_s for cost in row) for row in answer.rounds),
            combine_s=combine_ps / PS_PER_S, return_s=max(returns_ps, default=0) / PS_PER_S,
            moved_bytes=sum(phase.size_bytes for phase in phases), link=link,
            link_share=min(busy_s / whole_s, 1.0) if whole_s else 0.0,
        )  # fmt: skip
        movements = [self._movement(phase) for phase in phases]
        return PricedStep(
            terms=terms, cost=self._cost(step, answer, phases, movements, duration_ps),
            duration_ps=duration_ps, returns_ps=returns_ps,
            links=frozenset(name for movement in movements for name in movement.link_bytes),
        )  # fmt: skip

    def _cost(
        self, step: Step, answer: Answer, phases: Sequence[Phase], movements: Sequence[Movement],
        duration_ps: int,
    ) -> Cost:  # fmt: skip
        """Add up what shards compute and what messages take on links and in memories."""
        shards = [cost for row in answer.rounds for cost in row]
        energies = [cost.energy_j for cost in shards] + [m.energy_j for m in movements]
        charges: list[Charge | None] = [c for cost in shards for c in cost.charges]
        charges += [charge for movement in movements for charge in movement.charges]
        touched = _touched(phases)
        moved = 0
        memories: list[Charge | None] = []
        for end, size_bytes in touched.items():
            device = self.devices.get(self.ends[end])
            if device is not None:
                moved += size_bytes
                memories.append(offchip_charge(device, size_bytes))
        energies += [None if charge is None else charge.energy_j for charge in memories]
        known = [energy for energy in energies if energy is not None]
        traffic = [cost.offchip_bytes for cost in shards]
        counted = [size for size in traffic if size is not None]
        return Cost(
            latency_s=duration_ps / PS_PER_S,
            energy_j=sum(known) if len(known) == len(energies) else None,
            offchip_bytes=sum(counted) + moved if len(counted) == len(traffic) else None,
            peak_bytes=self._peaks(step, answer),
            charges=bill(charge for charge in (*charges, *memories) if charge is not None),
            macs_nominal=0 if answer.work is None else answer.work.total_macs,
            macs_performed=sum(cost.macs_performed for cost in shards),
        )  # fmt: skip

    def _peaks(self, step: Step, answer: Answer) -> Mapping[str, int]:
        if step.sharding is None:
            return answer.rounds[0][0].peak_bytes if answer.rounds else {}
        return {
            f"{name}.{self.devices[name].offchip.name}": step.sharding.resident_bytes(party)
            for party, name in enumerate(step.assignment.devices)
        }

    def _movement(self, phase: Phase) -> Movement:
        moves = tuple((m.source, m.target, m.size_bytes) for m in phase.messages)
        if moves not in self.known:
            self.known[moves] = moves_cost(
                self.system, [(self.ends[a], self.ends[b], size) for a, b, size in moves]
            )
        return self.known[moves]

    def _phase_ps(self, phase: Phase, region: str) -> int:
        return _ps(self._movement(phase).latency_s, region)

    def _busiest(self, phases: Iterable[Phase]) -> tuple[str, float]:
        """Return the link with the channel that is busy longest, and for how many seconds."""
        load: dict[tuple[str, bool], float] = {}
        for phase in phases:
            for message in phase.messages:
                pair = (message.source, message.target)
                if pair not in self.routes:
                    source, target = self.ends[pair[0]], self.ends[pair[1]]
                    route = route_of(self.system, source, target)
                    self.routes[pair] = tuple(c for _, c in channels(source, target, route))
                for channel in self.routes[pair]:
                    seconds = message.size_bytes * self.seconds_per_byte[channel[0]]
                    load[channel] = load.get(channel, 0.0) + seconds
        if not load:
            return "", 0.0
        (link, _), seconds = max(load.items(), key=lambda item: item[1])
        return link, seconds


def _touched(phases: Iterable[Phase]) -> dict[int, int]:
    """Return the bytes that messages read from and write to the memory of each end."""
    touched: dict[int, int] = {}
    for phase in phases:
        for message in phase.messages:
            for end in (message.source, message.target):
                touched[end] = touched.get(end, 0) + message.size_bytes
    return touched


def _ps(seconds: float, region: str) -> int:
    if not 0.0 <= seconds <= MOST_PS / PS_PER_S:
        raise SpecError(
            f"plan: region {region!r}", found=f"{seconds:.3g} s for one part of it",
            wanted=f"at most {MOST_PS / PS_PER_S:.3g} s",
            fix="correct the rates and bandwidths of its devices and links",
        )  # fmt: skip
    return round(seconds * PS_PER_S)
