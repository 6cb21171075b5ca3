"""The seven bounds of a whole network: the layers one after the other, step by step."""

from __future__ import annotations

from collections.abc import Mapping

from orrery.cost.nest import Bound, nest_bounds
from orrery.hardware import Architecture
from orrery.report import Step, Waterfall

from ._runs import Problems, Run


def network_bounds(
    problems: Problems, runs: Mapping[str, Run], architecture: Architecture
) -> tuple[Bound, ...]:
    """Return the bounds of all layers that map, one after the other.

    A step's time is the sum over the layers at that step's rate, so that the steps fall as those of
    each layer do.
    """
    seen: dict[object, tuple[Bound, ...]] = {}
    cycles: dict[str, float] = {}
    reasons: dict[str, str] = {}
    operations = 0
    for name, parts in problems.items():
        for problem, one in zip(parts, runs[name].found, strict=False):
            if problem not in seen:
                seen[problem] = nest_bounds(problem, architecture, one.cost)
            done = problem.operations * problem.times
            operations += done
            for bound in seen[problem]:
                cycles[bound.name] = cycles.get(bound.name, 0.0) + done / bound.operations_per_cycle
                reasons[bound.name] = bound.reason if bound.name in _OF_THE_ARRAY else ""
    found: list[Bound] = []
    for name, total in cycles.items():
        rate = operations / total
        loss = 1 - rate / found[-1].operations_per_cycle if found else 0.0
        found.append(Bound(name=name, operations_per_cycle=rate, loss=max(0.0, loss),
                           reason=reasons[name]))  # fmt: skip
    return tuple(found)


#: steps whose reason is the same for all layers
_OF_THE_ARRAY = ("number of PEs", "array shape")


def worst_step(bounds: tuple[Bound, ...]) -> str:
    """Return the step at which a network loses most of what the processing elements could do."""
    if len(bounds) < 4:
        return "nothing maps"
    worst = max(bounds[3:], key=lambda bound: bound.loss)
    return f"{worst.name} (−{100 * worst.loss:.3g} %)" if worst.loss > 0.005 else "nothing"


def network_waterfall(title: str, bounds: tuple[Bound, ...]) -> Waterfall:
    """Return the bounds as a figure of a page, from the number of processing elements on."""
    said = ". ".join(
        f"{b.name}: {b.operations_per_cycle:.4g} operations a cycle (−{100 * b.loss:.3g} %)"
        for b in bounds
    )
    return Waterfall(
        title=title, unit="operations per cycle",
        caption=f"Products alone, one after the other. All seven steps: {said}.",
        steps=tuple(Step(name=b.name, value=b.operations_per_cycle, kind="level", note=b.reason)
                    for b in bounds[2:]),
    )  # fmt: skip
