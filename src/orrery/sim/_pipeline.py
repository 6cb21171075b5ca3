"""Inputs in a row through a plan until they leave in a steady rhythm.

Models:  first one input alone; then inputs as often as the busiest device or link lets them follow;
         if they queue up, as many at once as keep it busy, and then one in the rhythm in which
         these left. Steady is what repeats twice: the times between departures, and latencies.
Ignores: see `_stream`. That no other order of the same work would be steadier or faster.
Judge:   closed forms (slowest stage, sum of stages, bytes over bandwidth); Little's law; bytes are
         conserved (tests).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from math import ceil

from orrery.cost import Expansion
from orrery.errors import SpecError
from orrery.hardware import System
from orrery.plan import Assignment, Plan
from orrery.timeline import PS_PER_S

from ._links import Channels
from ._split import PartSeconds
from ._stream import Entry, Stream, play_split, play_whole
from ._tabulate import tabulate

#: inputs of the first attempt; doubled until they are steady
_FIRST = 8
#: a rhythm may take so many inputs to repeat
_LONGEST = 8
#: Two times of one rhythm differ by rounding to picoseconds only.
_SAME = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A plan under load.

    Attributes
    ----------
    inputs : how many were played in a row
    steady : whether departures repeat; otherwise the figures are means of the later half
    paced : whether inputs came one every period; otherwise a new one came whenever one left
    period_s : between two inputs that leave
    latency_s, alone_s : from entering to leaving, under load and of one input alone
    in_flight : how many are on their way at once, on average
    least_period_s, busiest : what the busiest device or link takes for one input, and its name
    device_busy_s : per device and input
    link_busy_s : per link, for how long one input's transfers fill it (its busier direction)
    link_slowed_s : per link, by how much transfers end later because others share it, per input
        under load; summed over transfers, so more than the input may lose
    peak_bytes : per memory, of all inputs on their way
    """

    inputs: int
    steady: bool
    paced: bool
    period_s: float
    latency_s: float
    alone_s: float
    in_flight: float
    least_period_s: float
    busiest: str
    device_busy_s: Mapping[str, float]
    link_busy_s: Mapping[str, float]
    link_slowed_s: Mapping[str, float]
    peak_bytes: Mapping[str, int]


def replay_pipeline(
    plan: Plan,
    system: System,
    durations: PartSeconds,
    *,
    expansion: Expansion | None = None,
    output_bytes: Callable[[Assignment], int] = lambda _: 0,
    most: int = 64,
) -> Pipeline:
    """Replay inputs that follow each other through a plan.

    Parameters
    ----------
    durations : seconds of a party's part of a round; whole regions are party 0, round 0
    expansion : of a plan with split regions
    output_bytes : of a plan of whole regions: bytes of the tensors that an assignment makes
    most : inputs to play in a row at most

    Raises
    ------
    UnknownNameError, SpecError : see `replay` and `replay_split`; fewer than four inputs, which
        show no rhythm
    """
    if most < 4:
        raise SpecError("inferences in a row", found=most, wanted="4 or more, to show a rhythm",
                        fix="play more of them")  # fmt: skip
    channels = Channels(system)
    return _Search(
        _player(plan, system, channels, durations, expansion, output_bytes), channels, most
    ).run()


def least_period(
    plan: Plan, system: System, durations: PartSeconds, *, expansion: Expansion | None = None
) -> float:
    """Return the seconds after which the next input can follow at the soonest.

    What the busiest device or direction of a link takes for one input; both directions together
    where a link is not duplex. A device of a split region is busy while it waits for its messages.

    Parameters
    ----------
    durations, expansion : see `replay_pipeline`

    Raises
    ------
    UnknownNameError, SpecError : see `replay` and `replay_split`
    """
    channels = Channels(system)
    play = _player(plan, system, channels, durations, expansion, lambda _: 0)
    return max(_busy(channels, play(Entry(count=1))).values(), default=0.0) / PS_PER_S


def _player(
    plan: Plan, system: System, channels: Channels, durations: PartSeconds,
    expansion: Expansion | None, output_bytes: Callable[[Assignment], int],
) -> Callable[[Entry], Stream]:  # fmt: skip
    if expansion is not None:
        return partial(play_split, plan, system, expansion, durations)
    tables = tabulate(plan, system, channels)
    return partial(play_whole, plan, system, tables, channels, lambda a: durations(a, 0, 0),
                   output_bytes)  # fmt: skip


def _busy(channels: Channels, one: Stream) -> dict[str, float]:
    """Return for how many picoseconds one input keeps each device and each link."""
    links = _per_link(channels, one.channel_busy_ps[0], max)
    return {**{name: float(held) for name, held in one.held_ps.items()}, **links}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rhythm:
    """How inputs left, the `inputs` up to the `end`-th departure; repeats where it is steady."""

    stream: Stream
    inputs: int
    end: int
    steady: bool
    period_ps: float
    latency_ps: float


class _Search:
    def __init__(self, play: Callable[[Entry], Stream], channels: Channels, most: int) -> None:
        self.play, self.channels, self.most = play, channels, most

    def run(self) -> Pipeline:
        one = self.play(Entry(count=1))
        alone = one.left_ps[0] - one.entered_ps[0]
        busy = _busy(self.channels, one)
        busiest = max(busy, key=lambda name: busy[name], default="")
        least = busy.get(busiest, 0.0)
        pace = ceil(least)
        found, paced = self._rhythm(Entry(count=_FIRST, pace_ps=pace)), True
        if not _keeps_pace(found, pace):
            window = ceil(alone / least) + 1 if least else 1
            loaded = self._rhythm(Entry(count=_FIRST, window=window))
            pace = ceil(loaded.period_ps)
            found = self._rhythm(Entry(count=_FIRST, pace_ps=pace))
            if not _keeps_pace(found, pace):
                found, paced = loaded, False
        return self._result(found, one, busy, busiest, paced)

    def _rhythm(self, entry: Entry) -> _Rhythm:
        """Return how inputs leave, played until they are steady or there are enough of them."""
        while True:
            entry = replace(entry, count=min(entry.count, self.most))
            stream = self.play(entry)
            filled = entry.count >= min(3 * entry.window, self.most)
            found = _rhythm_of(stream)
            if (found.steady and filled) or entry.count == self.most:
                return found
            entry = replace(entry, count=2 * entry.count)

    def _result(
        self, found: _Rhythm, one: Stream, busy: Mapping[str, float], busiest: str, paced: bool
    ) -> Pipeline:
        stream, end = found.stream, found.end
        before, after = (stream.channel_slowed_ps[x] for x in (end - found.inputs, end))
        slowed = [(b - a) / found.inputs for a, b in zip(before, after)]
        links = set(self.channels.link_of)
        return Pipeline(
            inputs=len(stream.left_ps), steady=found.steady, paced=paced,
            period_s=found.period_ps / PS_PER_S, latency_s=found.latency_ps / PS_PER_S,
            alone_s=(one.left_ps[0] - one.entered_ps[0]) / PS_PER_S,
            in_flight=_inside(found), least_period_s=busy.get(busiest, 0.0) / PS_PER_S,
            busiest=busiest,
            device_busy_s={n: ps / PS_PER_S for n, ps in busy.items() if n not in links},
            link_busy_s={n: ps / PS_PER_S for n, ps in busy.items() if n in links},
            link_slowed_s=_seconds(_per_link(self.channels, slowed, sum)),
            peak_bytes=stream.peak_bytes,
        )  # fmt: skip


def _rhythm_of(stream: Stream) -> _Rhythm:
    """Return the shortest rhythm that repeats, or means of the later half.

    What leaves when no further input comes is no longer under load and does not count, unless
    hardly anything leaves before.
    """
    order = sorted(range(len(stream.left_ps)), key=lambda number: stream.left_ps[number])
    loaded = [number for number in order if stream.left_ps[number] <= stream.entered_ps[-1]]
    under_load = len(loaded) > 2
    counted = loaded if under_load else order
    between = [stream.left_ps[b] - stream.left_ps[a] for a, b in pairwise(counted)]
    latency = [stream.left_ps[number] - stream.entered_ps[number] for number in counted]
    inputs, steady = max(1, len(between) // 2), False
    for tried in range(1, min(_LONGEST, len(between) // 2) + 1):
        last, before = between[-tried:], between[-2 * tried : -tried]
        if under_load and all(_alike(a, b, max(last)) for a, b in zip(last, before)):
            inputs, steady = tried, True
            break
    return _Rhythm(
        stream=stream, inputs=inputs, end=len(counted) - 1, steady=steady,
        period_ps=sum(between[-inputs:]) / inputs, latency_ps=sum(latency[-inputs:]) / inputs,
    )  # fmt: skip


def _alike(a_ps: float, b_ps: float, scale_ps: float) -> bool:
    return abs(a_ps - b_ps) <= _SAME * scale_ps + 2


def _keeps_pace(found: _Rhythm, pace_ps: int) -> bool:
    """Say whether inputs leave as often as they come."""
    return found.steady and _alike(found.period_ps, pace_ps, pace_ps)


def _inside(found: _Rhythm) -> float:
    """Return how many inputs were on their way at once while those of a rhythm left."""
    stream = found.stream
    left = sorted(stream.left_ps)
    begin, end = left[found.end - found.inputs], left[found.end]
    there = sum(max(0, min(end, gone) - max(begin, came))
                for came, gone in zip(stream.entered_ps, stream.left_ps))  # fmt: skip
    return there / (end - begin) if end > begin else 1.0


def _per_link(
    channels: Channels, values: Sequence[float], add: Callable[[list[float]], float]
) -> dict[str, float]:
    """Return a figure per link from one per channel; links without any are left out."""
    mine: dict[str, list[float]] = {}
    for name, value in zip(channels.link_of, values):
        mine.setdefault(name, []).append(value)
    return {name: add(both) for name, both in mine.items() if any(both)}


def _seconds(ps: Mapping[str, float]) -> dict[str, float]:
    return {name: value / PS_PER_S for name, value in ps.items()}
