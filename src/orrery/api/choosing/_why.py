"""In words: whether a placement pays, and what forbids it or eats the gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._account import account, basis, is_paced
from ._account import seconds as _seconds
from ._choice import PLACED, Choice, Found
from ._stands import forbids

if TYPE_CHECKING:
    from orrery.mapping.phases import Loss


def verdict(choice: Choice) -> list[str]:
    """Return how quick the placement is beside the best whole, and how sure that is."""
    found, one = choice.comparison, choice.single
    ratio, (low, high) = found.speedup(PLACED, one)
    how = f"{ratio:.2f} times quicker ({low:.2f} to {high:.2f}" if ratio >= 1 else (
        f"{1 / ratio:.2f} times as long ({1 / high:.2f} to {1 / low:.2f}")  # fmt: skip
    used = choice.used
    where = "on several workers" if len(used) > 1 else f"in subgraphs that all go to {used[0]},"
    sure = "95 %, " if found.confidence >= 0.95 else ""
    said = [
        f"Placed {where} it takes {_seconds(found.median_s(PLACED))}; whole on {one}, "
        f"{_seconds(found.median_s(one))}: {how}, {sure}within "
        f"{found.rounds} rounds)."
    ]  # fmt: skip
    if choice.processes and len(used) == 1:
        said.append("On one worker no process has a part in it.")
    if choice.best == PLACED:
        return [*said, f"So it is run {where.rstrip(',')}."]
    if choice.problem.partition.is_single_path:
        said.append("It has no paths side by side that are worth a subgraph each: a single path.")
    if choice.deviates:
        said.append(f"Placed, its {choice.deviates}; so it is run whole, on {one}.")
    elif ratio > 1 and high > 1:
        few = " (6 rounds or more are needed to be sure: --repeats)" if found.rounds < 6 else ""
        said.append(f"That gain is not sure{_over(choice)}{few}, so it is run whole, on {one}.")
    else:
        said.append(f"So it is run whole, on {one}.")
    return said


def reasons(choice: Choice, found: Found) -> list[str]:
    """Return what keeps the placement from being quicker than the whole, the largest first.

    Then the account of the whole difference, with what none of the reasons covers. Nothing, where
    no two subgraphs could run side by side anyway.
    """
    if choice.problem.partition.is_single_path:
        return []
    causes, difference = list(found.losses.causes), account(choice, found)
    if difference:  # which says more than that nothing stands out
        causes = [loss for loss in causes if loss.cause != "even"]
    return [_reason(choice, found, loss) for loss in causes] + difference


def _over(choice: Choice) -> str:
    """Return over which ways a gain is not sure, where not over the quickest."""
    unsure = [w for w in choice.alone if not choice.comparison.surely_quicker(PLACED, w)]
    if choice.single in unsure:
        return ""
    low_high = ((way, choice.comparison.speedup(PLACED, way)[1]) for way in unsure)
    return " over " + ", ".join(f"the whole on {w} ({a:.2f} to {b:.2f})" for w, (a, b) in low_high)


def _reason(choice: Choice, found: Found, loss: Loss) -> str:
    losses, one = found.losses, choice.single
    whole = _seconds(losses.whole_s)
    share = f"{loss.seconds / losses.whole_s:.0%}"
    if loss.cause == "bound":
        how = f", {basis(choice)}" if is_paced(choice) else ""
        return (f"No placement of these subgraphs can take less than {_seconds(loss.seconds)}, "
                f"beside {whole} whole{how}: {forbids(found)}.")  # fmt: skip
    if loss.cause == "limit":
        return (f"No placement of these subgraphs takes less than {_seconds(loss.seconds)}, beside "
                f"{whole} whole, if they slow each other down as they did while they were timed: "
                "a measured limit, and no proof.")  # fmt: skip
    if loss.cause == "cuts":
        return (f"The cuts cost {_seconds(loss.seconds)} ({share}): one after the other on {one}, "
                f"the subgraphs take {_seconds(losses.parts_s or 0.0)}, the whole {whole}. What "
                "was fused or kept in caches across the cuts is lost.")  # fmt: skip
    if loss.cause == "company":
        slower = (
            ""
            if losses.slower is None
            else (f" (those that ran side by side: {losses.slower:.2f} times as long as alone)")
        )
        return (f"Side by side the subgraphs of the critical path take {_seconds(loss.seconds)} "
                f"({share}) longer than alone{slower}: they share memory bandwidth, caches and "
                "clock, or the machine is busy.")  # fmt: skip
    if loss.cause == "drift":
        return (f"With nothing beside them subgraphs of the critical path take "
                f"{_seconds(loss.seconds)} ({share}) longer in a request than one at a time: the "
                "machine's speed changed, or what came between them took the caches.")  # fmt: skip
    if loss.cause == "hand-over":
        return (f"Between subgraphs of the critical path {_seconds(loss.seconds)} ({share}) pass "
                "with handing over and waiting for a processor.")  # fmt: skip
    if loss.cause == "split":
        return (f"The split itself is no better: the subgraphs of the critical path take "
                f"{_seconds(loss.seconds)} where they are placed, with nothing beside them, and "
                f"the whole {whole}.")  # fmt: skip
    return (f"Nothing stands out: {_seconds(losses.placed_s)} placed and {whole} whole, with no "
            "loss above 2 % of that; this machine is not quiet enough to tell them apart."
            if abs(loss.seconds) < 0.1 * losses.whole_s else
            f"Watched at work it took {_seconds(losses.placed_s)} beside {whole} whole, without "
            "a loss above 2 % of that: the machine's speed changed in between.")  # fmt: skip
