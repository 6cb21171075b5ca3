"""What plans take when links turn out slower or faster, and which of them regrets least."""

from __future__ import annotations

from collections.abc import Sequence

from orrery.mapping import Tried
from orrery.mapping.sets import Sensitivity
from orrery.report import Column, Table
from orrery.timeline import PS_PER_S

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
