"""One row per layer of a plan with split regions: how it is split, what takes how long."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from orrery.plan import Plan
from orrery.report import Cell, Column, Table

from ._set_names import DeviceSet, strategy_text
from ._terms import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seconds:
    """A column of seconds; one that says nothing of any layer is left out unless `always`."""

    name: str
    of: Callable[[Terms], float]
    help: str
    always: bool = False


_SECONDS = (
    _Seconds(name="time", of=lambda t: t.total_s, always=True,
             help="from start to end, without contention"),
    _Seconds(name="compute", of=lambda t: t.compute_s, always=True,
             help="slowest device of every round"),
    _Seconds(name="resharding", of=lambda t: t.resharding_s, always=True,
             help="bringing operands to where they are needed"),
    _Seconds(name="rotation", of=lambda t: t.rotation_s,
             help="messages while rounds compute; only what outlasts a round counts"),
    _Seconds(name="sums", of=lambda t: t.sums_s, help="adding up partial results"),
    _Seconds(name="return", of=lambda t: t.return_s,
             help="results on their way out; holds no device"),
)  # fmt: skip


def split_table(
    plan: Plan, sets: Sequence[DeviceSet], terms: Mapping[str, Terms], images: Collection[str] = ()
) -> Table:
    """Return the terms of every layer; a term that no layer has is left out and named."""
    owner = {a.region: group.name for group in sets for a in group.assignments}
    shown = [term for term in _SECONDS if term.always or any(map(term.of, terms.values()))]
    rows: list[tuple[Cell, ...]] = []
    for assignment in plan.assignments:
        priced = terms.get(assignment.region)
        rows.append((
            assignment.region, owner[assignment.region],
            strategy_text(assignment.split, image=assignment.region in images),
            *(None if priced is None else term.of(priced) for term in shown),
            (priced.critical if priced else None) or None,
            (priced.link if priced else None) or None,
        ))  # fmt: skip
    absent = [term.name for term in _SECONDS if term not in shown]
    return Table(
        title="How each layer is split",
        columns=(
            Column(name="layer"),
            Column(name="set"),
            Column(name="split", help="loop/parts; a ring passes parts of one operand round"),
            *(Column.number(t.name, "s", help=t.help, bar=t.name == "time")
              for t in shown),
            Column(name="longest", help="the term that takes most of its time"),
            Column(name="busiest link"),
        ),
        rows=tuple(rows),
        caption="In plan order. An empty cell is not known, or there is nothing to name."
        + (f" No layer takes any time for {' or '.join(absent)}." if absent else ""),
    )  # fmt: skip
