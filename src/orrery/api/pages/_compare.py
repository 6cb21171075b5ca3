"""Several ways to map beside each other: as the machine is, and with other links."""

from __future__ import annotations

from collections.abc import Sequence

from orrery.mapping import METHODS, Tried
from orrery.mapping.sets import Sensitivity
from orrery.plan import Infeasible, Plan
from orrery.report import Column, Table
from orrery.timeline import PS_PER_S


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


#: rows shown besides the kept one; those that regret least
_MOST = 12


def regrets(tried: Sequence[Tried]) -> tuple[Table, ...]:
    """Return a row per candidate of the robust search: latency at each bandwidth, and regret."""
    return tuple(_matrix(one.sensitivity) for one in tried if one.sensitivity is not None)


def _matrix(found: Sensitivity) -> Table:
    worst = found.regret.max(axis=1)
    order = sorted(range(len(worst)), key=lambda i: (i != found.robust, worst[i]))
    rows: list[tuple[str | float | None, ...]] = []
    for number in order[: _MOST + 1]:
        candidate = found.candidates[number]
        name = ", ".join(candidate.names) + ("; kept" if number == found.robust else "")
        fits = found.makespan_ps[number] < found.never_ps
        times = (
            float(ps) / PS_PER_S if ok else None
            for ps, ok in zip(found.makespan_ps[number], fits, strict=True)
        )
        regret = 100 * float(worst[number]) if fits.all() else None
        rows.append((name, regret, *times, "; ".join(candidate.sets)))
    best = "the optimum" if found.proven else "the best found (no proof that it is the optimum)"
    left = len(order) - len(rows)
    return Table(
        title="If links were slower or faster",
        columns=(
            Column(name="mapping"),
            Column.number("most regret", "%",
                help="how much longer than the best at the bandwidth where that is worst"),
            *(
                Column.number(f"{factor:g} × bandwidth", "s")
                for factor in found.factors
            ),
            Column(name="its sets"),
        ),
        rows=tuple(rows),
        caption=f"Latency without contention, all links scaled alike. Regret is held against "
        f"{best} at each bandwidth; kept is the mapping that regrets least."
        + (f" {left} more regret as much or more." if left else ""),
        filterable=False,
    )  # fmt: skip
