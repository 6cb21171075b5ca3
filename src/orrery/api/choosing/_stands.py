"""In words: how well a placement was predicted, what none undercuts, what the searches found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._account import basis, is_paced
from ._account import seconds as _seconds
from ._choice import PLACED, Choice, Found

if TYPE_CHECKING:
    from orrery.mapping.phases import Standing


def stands(choice: Choice, found: Found) -> list[str]:
    """Return how well it was predicted, what no placement undercuts, and what search found."""
    pace, measured = choice.pace or 1.0, choice.comparison.median_s(PLACED)
    predicted, losses = pace * choice.placed.predicted_s, found.losses
    how = "" if not is_paced(choice) else (
        f" (at the machine's pace now: one at a time they take {pace:.2f} times as long as when "
        f"they were timed; as they were timed, {_seconds(choice.placed.predicted_s)})"
    )  # fmt: skip
    said = [f"Predicted from its parts: {_seconds(predicted)}{how}, "
            f"{predicted / measured - 1:+.1%} of what was measured."]  # fmt: skip
    least, under = _seconds(losses.bound_s), losses.undercut_s
    if under is not None:
        how = (
            "It took less than that" if under == measured else
            f"Watched at work it took {_seconds(under)}" if under == losses.placed_s else
            f"Their times when it was watched make it {_seconds(under)}"
        )  # fmt: skip
        said.append(f"From the times of its parts no placement would take less than {least} "
                    f"({forbids(found)}). {how}, so that this proves nothing: the machine's speed "
                    "changed, and not for all parts alike (--fresh times them again).")  # fmt: skip
    elif not any(loss.cause == "bound" for loss in losses.causes):
        below = "" if measured >= losses.bound_s else (
            f" It took {1 - measured / losses.bound_s:.1%} less than that, within what times are "
            "good for.")  # fmt: skip
        said.append(f"No placement of these subgraphs takes less than {least}, {basis(choice)}: "
                    f"{forbids(found)}.{below}")  # fmt: skip
    limit_s = losses.limit_s
    if limit_s is not None and not any(loss.cause == "limit" for loss in losses.causes):
        slower = choice.problem.slower
        most = 1.0 if slower is None else float(slower.max())
        said.append(f"That is from times with nothing beside them. Side by side subgraphs took up "
                    f"to {most:.2f} times as long; with that no placement takes less than "
                    f"{_seconds(limit_s)}, a measured limit.")  # fmt: skip
    if len(choice.problem.order) > 1:
        best = found.kept.best
        tried = "" if best.proved else ", as far as there was time to try them,"
        said.append(
            f"Of {found.kept.placements:,} placements the best{tried} is predicted to take "
            f"{_seconds(pace * best.predicted_s)}. By prediction, greedy-correction comes out "
            f"{_rank(found.greedy)}, and what races kept is {_rank(found.kept)}."
        )
    return said


def forbids(found: Found) -> str:
    """Return what forbids less than the bound: a reason that nearly reaches it, or having tried."""
    bounds, best = found.bounds, found.kept.best
    # With company the placement that was searched for is another one.
    if found.company is not None and found.losses.bound_s > bounds.best_s:
        return (f"every placement was tried or ruled out by times alone (from reasoning: "
                f"{_seconds(bounds.best_s)}, as {bounds.reason})")  # fmt: skip
    if not best.proved or bounds.best_s > 0.98 * found.losses.bound_s:
        return bounds.reason
    return (f"every placement was tried or ruled out (from reasoning alone: "
            f"{_seconds(bounds.best_s)}, as {bounds.reason})")  # fmt: skip


def _rank(standing: Standing) -> str:
    at_least = "" if standing.rank_proved else "at best "
    gap = "" if standing.gap < 5e-4 else f" ({standing.gap:+.1%})"
    return f"{at_least}number {standing.rank}{gap}"
