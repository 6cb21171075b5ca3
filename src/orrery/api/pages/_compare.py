"""What several ways of mapping gave, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from orrery.mapping import METHODS, Tried
from orrery.plan import Infeasible, Plan
from orrery.report import Column, Table


def comparison(tried: Sequence[Tried], chosen: Plan) -> Table:
    """Return a row per search method: what its plan takes, and how much more than the best."""
    energy = chosen.objective == "energy"
    best = min((t.seconds for t in tried if t.seconds is not None), default=None)
    rows: list[tuple[str | float | None, ...]] = []
    for one in tried:
        does = METHODS[one.method][0]
        if energy and one.method not in ("exact-sets", "single"):
            does += ", searched for latency"
        if isinstance(one.outcome, Infeasible) or one.seconds is None or best is None:
            rows.append((one.method, None, None, None, None, f"{does}; no plan: {one.outcome}"))
            continue
        longer = one.seconds / best - 1 if best else 0.0
        devices = len({d for a in one.outcome.assignments for d in a.devices})
        kept = "; kept" if one.outcome.assignments == chosen.assignments else ""
        bounds = {"energy": one.outcome.lower_bound_j,
                  "throughput": one.outcome.lower_bound_period_s}  # fmt: skip
        bound = bounds.get(chosen.objective, one.outcome.lower_bound_s)
        rows.append((one.method, one.seconds, 100 * longer, bound, float(devices), does + kept))
    word = {"throughput": "period", "energy": "energy"}.get(chosen.objective, "latency")
    unit = "J" if energy else "s"
    return Table(
        title="Ways to map, compared",
        columns=(
            Column(name="method"), Column.number(word, unit),
            Column.number(f"{'more' if energy else 'longer'} than the best", "%"),
            Column.number("its lower bound", unit), Column.number("devices"),
            Column(name="what it does"),
        ),
        rows=tuple(rows),
        caption="Each plan replayed with contention; a bound holds for the plans of its method.",
        filterable=False,
    )  # fmt: skip
