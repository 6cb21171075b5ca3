"""What was found about one network; every record and table of the study follows from it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from orrery.runtime.together import Comparison

from ._published import NETWORKS

PLACED = "placed"  #: the placement, whether or not it is the quicker way
SERVED = "as the command runs it"
IN_TURN = "its subgraphs, one at a time"  #: the sum of what they take, without what is between

Kind = Literal["placed", "served", "steps", "cpu", "gpu", "part"]

#: The whole network in one place. What is small runs best on some of the cores, so that they count.
ALONE: tuple[Kind, ...] = ("cpu", "part", "gpu")


#: A placement below the bound by more than this says that the bound's times were not the least.
_UNDERCUT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured.

    Attributes
    ----------
    networks : by name
    profile_s, races_s : of timing subgraphs and of races between placements, per network
    rounds, rounds_s : in which all ways are compared: at most so many, so many seconds
    tail_runs, tail_s : runs for the slow tail where one takes below 50 ms; seconds in all where
        it takes longer; 0 runs: no tail
    sweep_rounds, sweep_s : of measured placements, and seconds that they may take together
    looked : placements that the exact search may look at on its way
    most_operators : of a network whose single operators are timed too
    torch : ``off``, ``nodes`` (one by one) or ``compiled`` too
    """

    networks: tuple[str, ...]
    profile_s: float
    races_s: float
    rounds: int
    rounds_s: float
    tail_runs: int
    tail_s: float
    sweep_rounds: int
    sweep_s: float
    looked: int
    most_operators: int
    torch: Literal["off", "nodes", "compiled"]

    @classmethod
    def at(cls, scale: float) -> Effort:
        """Return the effort of a scale; from 1 on, all that the issue asks for."""
        names = tuple(network.name for network in NETWORKS)
        if scale >= 1:
            return cls(
                networks=names, profile_s=30.0, races_s=30.0, rounds=round(200 * scale),
                rounds_s=60.0 * scale, tail_runs=1000, tail_s=600.0, sweep_rounds=11,
                sweep_s=60.0 * scale, looked=1_000_000, most_operators=1000, torch="compiled",
            )  # fmt: skip
        return cls(
            networks=names[: max(1, round(len(names) * scale))], profile_s=max(4.0, 40 * scale),
            races_s=max(3.0, 30 * scale), rounds=max(20, round(200 * scale)),
            rounds_s=max(4.0, 60 * scale), tail_runs=0, tail_s=0.0, sweep_rounds=7,
            sweep_s=max(3.0, 30 * scale), looked=100_000, most_operators=50, torch="nodes",
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A placement that was measured.

    Attributes
    ----------
    what : for people, e.g. ``ours``, ``all on cpu0-1 onnxruntime``
    predicted_s : from its subgraphs, timed as wholes; as they were timed
    summed_s : from its operators, timed one by one; None: not known
    """

    what: str
    placement: tuple[int, ...]
    predicted_s: float
    measured_s: float
    summed_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """How good the placement is among all there are, as predicted and as measured.

    What is predicted is as subgraphs were timed, at no later pace.

    Attributes
    ----------
    total : placements there are
    corrected_s : what greedy-correction reaches by prediction alone
    exact_s : the least that any placement is predicted to take; None: not proved
    least_s : that none is predicted to undercut, as far as that was proved
    pace : how many times as long as while they were timed our subgraphs took one at a time, in turn
        with `points`; None: not known
    rank : of the placement that runs, by prediction, 1 the best; None: not all were worked out
    points : every placement that was measured, ours first
    gap, interval : ours over the quickest other one, less 1, in rounds of its own
    """

    total: int
    corrected_s: float
    exact_s: float | None
    rank: int | None
    points: tuple[Point, ...]
    gap: float
    interval: tuple[float, float]
    least_s: float | None
    pace: float | None

    @property
    def measured_rank(self) -> int:
        """The place of ours among the measured ones, 1 the quickest."""
        return 1 + sum(p.measured_s < self.points[0].measured_s for p in self.points)

    @property
    def error(self) -> float:
        """The median of |predicted / measured - 1| over the measured placements."""
        return statistics.median(abs(p.predicted_s / p.measured_s - 1) for p in self.points)

    @property
    def summed_error(self) -> float | None:
        """The same of what operators sum to; None where that is not known of all."""
        found = [abs(p.summed_s / p.measured_s - 1) for p in self.points if p.summed_s is not None]
        return statistics.median(found) if len(found) == len(self.points) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operators:
    """What becomes of it when single operators are timed instead of whole subgraphs.

    Attributes
    ----------
    same : the sums choose the placement that whole subgraphs choose, both by prediction alone
    slower, interval : how many times as long their choice takes, measured in turn
    """

    same: bool
    slower: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One network on the workers of this machine.

    Attributes
    ----------
    single_path : no two subgraphs of it can run side by side
    steps : (subgraph, its nodes, worker) of the placement, in order
    kinds : per way: ``cpu`` and ``gpu`` are the whole network on all cores and on a GPU, ``part``
        on some of the cores; ``steps`` the placement's subgraphs one at a time
    blocks : comparisons of ways; the placement is in each
    chosen : the way that the command stands by; it was chosen in other rounds than these
    predicted_s : of the placement, from its parts, at the machine's pace of `blocks`
    cut_s : the subgraphs one after the other on the worker of the best way alone; None: not known
    bound_s, reason : what no placement undercuts by times alone, and because of what
    limit_s : what none undercuts while subgraphs slow each other down as measured; None: not known
    errors : per way, the largest |a - b| / (1 + |b|) of its outputs against the reference
    tails : of the longer runs; None: omitted
    notes : what was left out or failed
    date : on which it was measured
    pace : how many times as long the placement's subgraphs take one at a time in `blocks` as while
        they were timed; what follows from them (predicted_s, bound_s, limit_s, cut_s) is at that
        pace. None: not known, and they are as they were timed
    busy : a warning where others used the machine when this was begun; empty: nobody; None: not
        known
    """

    name: str
    single_path: bool
    steps: tuple[tuple[str, int, str], ...]
    kinds: Mapping[str, Kind]
    blocks: tuple[Comparison, ...]
    chosen: str
    predicted_s: float
    bound_s: float
    reason: str
    cut_s: float | None
    sweep: Sweep
    operators: Operators | None
    errors: Mapping[str, float]
    tolerance: float
    tails: Comparison | None
    notes: tuple[str, ...]
    seconds: float
    date: str
    limit_s: float | None
    pace: float | None
    busy: str | None

    @property
    def branched(self) -> bool:
        """Whether it counts as a network of branches.

        A control does not, though the shortcuts of its blocks may be worth subgraphs of their own.
        """
        known = {network.name: bool(network.branches) for network in NETWORKS}
        return known.get(self.name, not self.single_path)

    @property
    def measured_s(self) -> float:
        """The placement's median."""
        return self.blocks[0].median_s(PLACED)

    def alone(self, *kinds: Kind) -> Iterator[tuple[str, Comparison]]:
        """Yield the ways of some kinds, each with the comparison it stands in."""
        for block in self.blocks:
            for way in block.times_s:
                if self.kinds[way] in kinds:
                    yield way, block

    def best(self, *kinds: Kind) -> str | None:
        """Return the way of some kinds that the placement gains least over; None: there is none."""
        found = {way: block.speedup(PLACED, way)[0] for way, block in self.alone(*kinds)}
        return min(found, key=lambda way: found[way]) if found else None

    def gain(self, *kinds: Kind) -> tuple[float, tuple[float, float]] | None:
        """Return how many times quicker the placement is than the best way of some kinds."""
        best = self.best(*kinds)
        return None if best is None else self._block_of(best).speedup(PLACED, best)

    def _block_of(self, way: str) -> Comparison:
        return next(block for block in self.blocks if way in block.times_s)

    @property
    def alone_s(self) -> float:
        """The median of the best way alone; the placement's where there is none."""
        best = self.best(*ALONE)
        return self.measured_s if best is None else self._block_of(best).median_s(best)

    def served(self) -> tuple[float, tuple[float, float]]:
        """Return how many times as long it takes as the command runs it, of the best alone.

        By ratios within rounds; through the placement where the best stands in other rounds.
        """
        first, best, gain = self.blocks[0], self.best(*ALONE), self.gain(*ALONE)
        if best is None or gain is None:
            return 1.0, (1.0, 1.0)
        if best in first.times_s:
            return first.speedup(best, SERVED)
        ratio, (low, high) = first.speedup(PLACED, SERVED)
        (gained, (least, most)) = gain
        return ratio / gained, (low / most, high / least)

    @property
    def ceiling(self) -> float:
        """The most that a placement could gain over the best way alone, by the bound."""
        return self.alone_s / self.bound_s

    @property
    def reach(self) -> float | None:
        """The same with company as it was measured; None: not known, or a placement took less."""
        took_s, slower = self._least()
        if self.limit_s is None or took_s < (1 - _UNDERCUT) * slower * self.limit_s:
            return None
        return self.alone_s / max(self.bound_s, self.limit_s)

    def _least(self) -> tuple[float, float]:
        """Return what a placement took, and how much slower the machine was then than in `blocks`.

        Of the one that took the least, as the machine was.
        """
        slower = (self.sweep.pace or 1.0) / (self.pace or 1.0)
        took = [(self.measured_s, 1.0), *((p.measured_s, slower) for p in self.sweep.points)]
        return min(took, key=lambda one: one[0] / one[1])

    @property
    def below(self) -> tuple[float, float] | None:
        """What a placement took below the bound, and the bound at the pace of its rounds, or None.

        Both as the machine was in the rounds in which it ran; a few per cent are noise.
        """
        took_s, slower = self._least()
        return (took_s, slower * self.bound_s) if took_s < slower * self.bound_s else None

    @property
    def undercut(self) -> tuple[float, float] | None:
        """The same where it is too much for noise: the bound proves nothing then."""
        found = self.below
        return found if found is not None and found[0] < (1 - _UNDERCUT) * found[1] else None

    @property
    def workers(self) -> tuple[str, ...]:
        """Those that the placement uses."""
        return tuple(dict.fromkeys(worker for _, _, worker in self.steps))
