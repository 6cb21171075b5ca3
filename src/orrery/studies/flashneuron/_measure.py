"""One network measured: the largest batch of every way, and ways in turn at two batches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orrery.errors import SpecError
from orrery.progress import Progress
from orrery.runtime import usable_cores
from orrery.runtime.training import Cap
from orrery.units import format_quantity

from ._case import EIGHT, Case, Effort, Point, Round
from ._journal import Journal
from ._published import Network
from ._search import largest_batch
from ._trial import OURS, WAY_NAMES, Outcome, Trial, attempt, rounds, scratch

#: Where the search begins, in multiples of the plain largest batch.
_STARTS = {"checkpointing": 2, "naive file": 8, OURS: 8}

#: In rounds the others have no cap, and what the C library frees it keeps: they are quickest so.
_CAPPED = (OURS, EIGHT, "naive file")


def measure_case(
    network: Network, cap: Cap, folder: Path, effort: Effort, journal: Journal, progress: Progress
) -> Case:
    """Measure a network.

    Raises
    ------
    SpecError : not even one sample fits as PyTorch trains it
    CancelledError : the user asked to stop; what was measured is in the journal
    """
    begun = time.perf_counter()
    bench = _Bench(network, cap, folder, effort, journal, progress)
    points = [bench.point(effort.caps_bytes[0], tuple(WAY_NAMES))]
    plain = points[0].found["none"].largest
    if not plain:
        raise SpecError(
            f"study flashneuron: {network.name}", found="no batch that fits as PyTorch trains it",
            wanted=f"one within {format_quantity(effort.caps_bytes[0], 'bytes')}",
            fix="allow more memory",
        )  # fmt: skip
    points += [bench.point(size, effort.curve_ways) for size in effort.caps_bytes[1:]]
    fitting = [way for way in WAY_NAMES if points[0].found[way].largest >= plain]
    equal = bench.round(dict.fromkeys(fitting, plain), "equal batch")
    own = {
        way: points[0].found[way].largest for way in WAY_NAMES
        if points[0].found[way].largest and (effort.slow_ways or way != "naive file")
    }  # fmt: skip
    if own.get(OURS, 0) > 8 * plain:
        own[EIGHT] = 8 * plain
    return Case(
        network=network, points=tuple(points), equal=equal,
        largest=bench.round(own, "largest batches"), seconds=time.perf_counter() - begun,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Bench:
    network: Network
    cap: Cap
    folder: Path
    effort: Effort
    journal: Journal
    progress: Progress

    def trial(self, way: str, batch: int, cap_bytes: int | None) -> Trial:
        return Trial(
            network=self.network.shape, way=OURS if way == EIGHT else way, batch=batch,
            cap_bytes=cap_bytes, returned=cap_bytes is not None, folder=str(self.folder),
            options=self.effort.options,
            threads=self.effort.threads or usable_cores(),
        )  # fmt: skip

    def point(self, cap_bytes: int, ways: Sequence[str]) -> Point:
        found, outcomes, whys = {}, {}, {}
        plain = 8
        for way in ways:
            tried: dict[int, Outcome] = {}

            def fits(batch: int, way: str = way, tried: dict[int, Outcome] = tried) -> bool:
                trial = self.trial(way, batch, cap_bytes)
                self.progress.step(trial.said, len(tried))
                tried[batch] = self.journal.recall(
                    trial, Outcome, lambda: attempt(trial, self.cap, step_s=self.effort.step_s)
                )
                scratch(self.folder)
                return tried[batch].fits

            end = largest_batch(
                fits, start=_STARTS.get(way, 1) * plain, near=self.effort.near,
                most=self.effort.most_gain * plain if way != "none" else 1 << 20,
            )  # fmt: skip
            found[way] = end
            if way == "none":
                if not end.largest:
                    outcomes[way] = tried[1]
                    break
                plain = end.largest
            outcomes[way] = tried[end.largest or 1]
            if end.refused is not None:
                whys[way] = tried[end.refused].why
        return Point(cap_bytes=cap_bytes, found=found, outcomes=outcomes, whys=whys)

    def round(self, batches: dict[str, int], task: str) -> Round:
        trials = {
            way: self.trial(way, batch, self.effort.caps_bytes[0]) for way, batch in batches.items()
        }

        def measure() -> Round:
            compared, outcomes = rounds(
                trials, self.cap, most=self.effort.rounds, most_s=self.effort.rounds_s,
                progress=self.progress, task=f"{self.network.name}, {task}",
            )  # fmt: skip
            return Round(times_s=compared.times_s, outcomes=outcomes, batches=batches)

        found = self.journal.recall((self.effort.rounds, trials), Round, measure)
        scratch(self.folder)
        return found
