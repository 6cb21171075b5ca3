"""Where a placement stands among others that really run beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from orrery.errors import CancelledError, OrreryError
from orrery.progress import SILENT, Progress

from ._ways import Ways

if TYPE_CHECKING:
    from orrery.runtime.together import Comparison

__all__ = ["MeasuredStanding", "measured_standing"]

Placement = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredStanding:
    """Placements measured in turn, ours among them.

    Attributes
    ----------
    placements : that ran, ours first, then as predicted
    comparison : names are numbers of `placements`
    rank : 1 and how many were surely quicker than ours, within rounds (95 %)
    best : number of the one with the least median
    gap : how much longer ours takes than that one, the median of paired rounds
    gap_interval : of it, 95 %
    every : whether these are all that are worth considering
    failures : why others could not run
    """

    placements: tuple[Placement, ...]
    comparison: Comparison
    rank: int
    best: int
    gap: float
    gap_interval: tuple[float, float]
    every: bool
    failures: tuple[str, ...]


def measured_standing(
    ways: Ways, ours: Sequence[int], *, most: int = 32, rounds: int = 40, most_s: float = 60.0,
    progress: Progress = SILENT,
) -> MeasuredStanding:  # fmt: skip
    """Run the placements that are predicted to be quickest in turn with ours.

    Parameters
    ----------
    most : placements beside ours; all where there are fewer
    rounds, most_s : of the comparison; see `orrery.runtime.together.compare`

    Raises
    ------
    WorkerFailedError, WorkerHungError : ours could not run, or another in the middle
    CancelledError : the user asked to stop
    """
    from orrery.mapping.phases import quickest_placements
    from orrery.runtime.together import compare

    own = tuple(ours)
    quickest = quickest_placements(ways.problem, most + 2, progress=progress)
    wanted = (own, *[p for p in quickest if p != own][:most])
    networks, failures = {own: ways.placed(own)}, []
    for placement in wanted[1:]:
        try:
            networks[placement] = ways.placed(placement)
        except CancelledError:
            raise
        except OrreryError as error:
            failures.append(str(error))
    placements = tuple(networks)
    found = compare(
        {str(k): partial(made.run, ways.inputs) for k, made in enumerate(networks.values())},
        rounds=rounds, most_s=most_s, progress=progress,
    )  # fmt: skip
    quicker = sum(found.surely_quicker(str(k), "0") for k in range(1, len(placements)))
    best = int(found.quickest)
    ratio, (low, high) = found.speedup(str(best), "0")
    return MeasuredStanding(
        placements=placements, comparison=found, rank=1 + quicker, best=best, gap=ratio - 1,
        gap_interval=(low - 1, high - 1), every=set(quickest) <= set(wanted),
        failures=tuple(failures),
    )  # fmt: skip
