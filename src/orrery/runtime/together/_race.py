"""Ways of doing the same raced: in turn, and out as soon as they are surely not the quickest.

Models:  nothing; it measures. Each round runs every way that is still in once, in an order that
         turns, so that a machine that slows down slows all of them. At a few looks, fixed ahead,
         the median of the paired ratios and its interval decide: out is who surely gains nothing
         over the champion; champion becomes who is surely quicker, with the doubt shared among the
         looks so that looking often proves nothing.
Ignores: that several challengers may be lucky; whoever relies on a gain compares once more.
Judge:   made-up ways of known times, with noise and drift (tests/runtime/together/test_race.py).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orrery.errors import CancelledError, OrreryError, SpecError

from .._backend import median_interval
from ._compare import SHORT_S, in_turn, timed_warm

_DOUBT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceResult:
    """What became of each way, in their order.

    Attributes
    ----------
    times_s : one per round that the way ran
    failures : why it could not run; empty where it could
    winner : number of the champion at the end; None: no way could run
    """

    times_s: tuple[tuple[float, ...], ...]
    failures: tuple[str, ...]
    winner: int | None

    def median_s(self, way: int) -> float | None:
        return statistics.median(self.times_s[way]) if self.times_s[way] else None

    def quicker(self, way: int, over: int = 0) -> tuple[float, float, float] | None:
        """Return how many times quicker than another, with 95 %, in rounds that both ran."""
        ratios = _ratios(self.times_s[way], self.times_s[over])
        return (statistics.median(ratios), *median_interval(ratios, 0.95)[0]) if ratios else None


def race(
    ways: Sequence[Callable[[], object]],
    *,
    looks: Sequence[int] = (9, 14, 22, 34, 53, 83, 130),
    warmup: int = 1,
    most_s: float = 10.0,
    least_gain: float = 0.005,
    short_s: float = SHORT_S,
    clock: Callable[[], float] = time.perf_counter,
) -> RaceResult:
    """Race ways; the first is the champion until another is surely quicker.

    Parameters
    ----------
    looks : rounds after which is decided, rising
    warmup : rounds that are not counted
    most_s : no round is begun after so many seconds; what is not sure by then stays as it is
    least_gain : a way that surely gains less than this share over the champion is out
    short_s : a run that takes less is made again and timed then: see `timed_warm`

    Raises
    ------
    SpecError : no way, or looks that do not rise
    CancelledError : the user asked to stop
    """
    if not ways or not looks or list(looks) != sorted(set(looks)) or looks[0] < 1 or warmup < 0:
        raise SpecError("race", found=f"{len(ways)} ways, looks after {tuple(looks)} rounds",
                        wanted="one or more, and numbers that rise",
                        fix="correct the numbers")  # fmt: skip
    course = _Course(ways, clock, short_s)
    for _ in range(warmup):
        course.round(counted=False)
    until = clock() + most_s
    for number in range(looks[-1]):
        if not course.running or (number and clock() > until):
            break
        course.round(counted=True)
        if number + 1 in looks:
            course.look(_DOUBT / len(looks), least_gain)
            if course.running == [course.champion]:
                break
    return RaceResult(times_s=tuple(map(tuple, course.times)), failures=tuple(course.failures),
                      winner=course.champion)  # fmt: skip


class _Course:
    """Who is still running, and who leads."""

    def __init__(
        self, ways: Sequence[Callable[[], object]], clock: Callable[[], float], short_s: float
    ) -> None:
        self.ways, self.clock, self.short_s = ways, clock, short_s
        self.times: list[list[float]] = [[] for _ in ways]
        self.failures = ["" for _ in ways]
        self.running = list(range(len(ways)))
        self.turn = 0
        self.champion: int | None = 0

    def round(self, *, counted: bool) -> None:
        """Run each way once; who fails is out."""
        order = in_turn(self.running, self.turn)
        self.turn += 1
        for way in order:
            try:
                took = timed_warm(self.ways[way], self.clock, self.short_s)
            except CancelledError:
                raise
            except OrreryError as error:
                self.failures[way] = str(error)
                self.running.remove(way)
                continue
            if counted:
                self.times[way].append(took)
        if self.champion not in self.running:
            # Nobody is sure to be the best of those left; the median so far has to do.
            self.champion = min(
                self.running, default=None,
                key=lambda k: (statistics.median(self.times[k]) if self.times[k] else 0.0, k),
            )  # fmt: skip

    def look(self, doubt: float, least_gain: float) -> None:
        """Crown who is surely quicker, then send off who surely gains nothing."""
        sure = [k for k in self.running if k != self.champion and self._gain(k, 1 - doubt)[0] > 1]
        if sure:
            self.champion = min(sure, key=lambda k: statistics.median(self.times[k]))
        self.running = [
            k for k in self.running
            if k == self.champion or self._gain(k, 1 - _DOUBT)[1] > 1 + least_gain
        ]  # fmt: skip

    def _gain(self, way: int, confidence: float) -> tuple[float, float]:
        """Return the interval of how many times quicker a way is than the champion."""
        ratios = _ratios(self.times[way], self.times[self.champion or 0])
        interval, reached = median_interval(ratios, confidence)
        return interval if reached >= confidence else (0.0, float("inf"))


def _ratios(times: Sequence[float], over: Sequence[float]) -> list[float]:
    """Return ratios of rounds that both ran; ways drop out, and none comes in later."""
    return [b / a for a, b in zip(times, over)]
