"""What a comparison is made of in figures, and which ways are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orrery.units import format_quantity

from ._choice import PLACED, Choice

if TYPE_CHECKING:
    from ._choice import Found

#: A pace that has changed by less is not worth a word.
_PACE = 0.02


def seconds(value: float) -> str:
    """Return seconds for people."""
    return format_quantity(value, "s")


def is_paced(choice: Choice) -> bool:
    """Return whether the machine's pace is another one than while the subgraphs were timed."""
    return abs((choice.pace or 1.0) - 1) >= _PACE


def basis(choice: Choice) -> str:
    """Return what a bound is of: times as they are, or at a pace, which proves nothing."""
    return (
        "by their times at the machine's pace now (no proof)"
        if is_paced(choice) else "as they were timed"
    )  # fmt: skip


def apart_s(choice: Choice, found: Found) -> float:
    """Return how much longer requests take in turn with other ways than when they are watched."""
    return choice.comparison.median_s(PLACED) - found.losses.placed_s


def account(choice: Choice, found: Found) -> list[str]:
    """Return what the difference of the comparison is made of, where it is worth speaking of."""
    losses, compared = found.losses, choice.comparison.median_s(PLACED)
    longer, apart = compared - losses.whole_s, apart_s(choice, found)
    least = 0.02 * losses.whole_s
    if max(abs(longer), abs(apart)) <= least:
        return []
    parts = {
        "subgraphs of the critical path beside the whole": losses.path_s - losses.whole_s,
        "company": losses.company_s, "their own changes of speed": losses.drift_s,
        "hand-over": losses.hand_over_s,
    }  # fmt: skip
    listed = [f"{_signed(took)} {name}" for name, took in parts.items() if abs(took) > least]
    small = sum(took for took in parts.values() if abs(took) <= least)
    if abs(small) > least:
        listed.append(f"{_signed(small)} in parts below 2 %")
    said = (f"From {seconds(losses.whole_s)} whole to {seconds(compared)} placed, "
            f"{_signed(longer)}: {', '.join(listed) or 'nothing of these 2 %'}")  # fmt: skip
    if abs(apart) <= least:
        return [f"{said}."]
    return [
        f"{said}, and {_signed(apart)} ({abs(apart) / losses.whole_s:.0%}) that is not accounted "
        f"for: watched at work it took {seconds(losses.placed_s)}, in turn with the other ways "
        f"{seconds(compared)}. What they leave in the caches, workers that have gone to sleep, or "
        "a machine whose speed changes."
    ]


def _signed(value: float) -> str:
    return f"{'+' if value >= 0 else '-'}{seconds(abs(value))}"


def left_out(choice: Choice) -> list[str]:
    """Return which ways in one piece a reader may miss among those that were compared."""
    from orrery.runtime.together import HOST, torch_left_out

    workers = {worker.name: worker.processors for worker in choice.problem.workers}
    every = frozenset[str]().union(
        *(worker.processors for worker in choice.problem.workers if worker.memory == HOST)
    )
    said = []
    if not any(workers[name] >= every for name in choice.alone):
        said.append(f"Whole on all of {len(every)} processors at once it was not tried: no worker "
                    "that runs it has all that they have together.")  # fmt: skip
    absent = torch_left_out(list(workers))
    return [*said, absent] if absent else said
