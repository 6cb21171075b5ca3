"""Ways of doing the same timed in turn, so that a noisy machine disturbs all of them alike.

Models:  nothing; it measures. Each round runs every way once, in an order that turns from round to
         round (short ones several times in a row, the last one timed); ways are compared within
         rounds.
         A way may tell its own seconds: what it takes to ask another process is not of it.
Judge:   made-up ways of known times (tests/runtime/together/test_compare.py).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from orrery.errors import SpecError
from orrery.progress import SILENT, Progress

from .._backend import median_interval

T = TypeVar("T")

#: A run shorter than this is made again, and timed then.
SHORT_S = 5e-3

#: Where 2 % decide, a run shorter than this counts as short: see `_SETTLE_S`.
SETTLED_S = 0.06

#: Before a short run is timed, its way has run for so long, or so often: the threads of OpenVINO
#: take a processor for 1.2 ms after a run (processor time of the process while its caller sleeps).
_SETTLE_S, _MOST_SETTLING = 2e-3, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Seconds of every way, one per round; rounds stand at the same place in each row."""

    times_s: Mapping[str, tuple[float, ...]]

    @property
    def rounds(self) -> int:
        return len(next(iter(self.times_s.values())))

    @property
    def quickest(self) -> str:
        """The way with the least median."""
        return min(self.times_s, key=self.median_s)

    def median_s(self, way: str) -> float:
        return statistics.median(self.times_s[way])

    def interval_s(self, way: str) -> tuple[float, float]:
        """Return an interval of 95 % for the median; all there is, of fewer than 6 rounds."""
        return median_interval(list(self.times_s[way]), 0.95)[0]

    @property
    def confidence(self) -> float:
        """The probability that an interval of these rounds holds its median; 0 of one round."""
        return median_interval([0.0] * self.rounds, 0.95)[1]

    def speedup(self, way: str, over: str) -> tuple[float, tuple[float, float]]:
        """Return how many times quicker one way is than another, within rounds, with 95 %."""
        ratios = [b / a for a, b in zip(self.times_s[way], self.times_s[over], strict=True)]
        return statistics.median(ratios), median_interval(ratios, 0.95)[0]

    def surely_quicker(self, way: str, over: str) -> bool:
        """Say whether one way is quicker than another with 95 %; never of fewer than 6 rounds."""
        ratios = [b / a for a, b in zip(self.times_s[way], self.times_s[over], strict=True)]
        (low, _), reached = median_interval(ratios, 0.95)
        return low > 1 and reached >= 0.95


def in_turn(ways: Sequence[T], turn: int) -> list[T]:
    """Return the order of a round: another begins each time, every other round goes backwards.

    In one direction each way would always follow the same other, and what that one leaves behind
    (caches, threads that spin on) would count as its own.
    """
    shift = turn // 2 % len(ways) if ways else 0
    order = [*ways[shift:], *ways[:shift]]
    return order[::-1] if turn % 2 else order


def timed_warm(
    way: Callable[[], object], clock: Callable[[], float], short_s: float = SHORT_S
) -> float:
    """Return the seconds of a run; of a short one, those of a later run in a row.

    What the way before left in the caches, its threads that turn on for a while, and a thread that
    slept, are not of this way.
    """

    def told() -> float:
        begun = clock()
        way()
        return clock() - begun

    return _told_warm(told, short_s)


def _told_warm(way: Callable[[], Any], short_s: float = SHORT_S) -> float:
    """Return the seconds that a way says it took, as `timed_warm` does."""
    took = past = float(way())
    if took >= short_s:
        return took
    for _ in range(_MOST_SETTLING):
        if past >= _SETTLE_S:
            break
        past += float(way())
    return float(way())


def compare(
    ways: Mapping[str, Callable[[], object]],
    *,
    warmup: int = 3,
    rounds: int = 30,
    most_s: float = 60.0,
    least: int = 1,
    told: bool = False,
    short_s: float = SHORT_S,
    task: str = "comparing",
    progress: Progress = SILENT,
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Time ways in turn; one that stands there under two names is timed once.

    Parameters
    ----------
    warmup, rounds : rounds that are not counted, and those that are
    most_s : no round is begun after so many seconds, once there are `least`
    told : ways return how many seconds they took
    short_s : a run that takes less is made again and timed then: see `timed_warm`
    task : what this is, for `progress`

    Raises
    ------
    SpecError : no way, or no round
    CancelledError : the user asked to stop
    """
    if not ways or rounds < 1 or warmup < 0:
        raise SpecError("compare", found=f"{len(ways)} ways, {rounds} rounds",
                        wanted="one of each or more", fix="correct the numbers")  # fmt: skip
    first: dict[int, str] = {}
    timed_as = {name: first.setdefault(id(way), name) for name, way in ways.items()}
    names = list(first.values())
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(warmup):
        for name in names:
            ways[name]()
    until = clock() + most_s
    for turn in range(rounds):
        if turn >= least and clock() > until:
            break
        progress.step(task, turn, rounds)
        for name in in_turn(names, turn):
            way = ways[name]
            times[name].append(
                _told_warm(way, short_s) if told else timed_warm(way, clock, short_s)
            )
    return Comparison(times_s={name: tuple(times[own]) for name, own in timed_as.items()})
