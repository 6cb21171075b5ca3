"""Tables of a recovery's page: weights, leaks, entries that were tried, stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orrery.report import Cell, Column, Table

from ._check import Checked
from ._harden import Hardened

if TYPE_CHECKING:
    from orrery.decompile import Recovery, StageReport, Tried
    from orrery.decompile.leaks import Leak


def weight_table(recovery: Recovery, checked: Checked | None) -> Table:
    """Return where each parameter stands, and whether its bits are the file's."""
    rows: list[tuple[Cell, ...]] = []
    for one in recovery.weights:
        certificate = None if checked is None else checked.weights.get(one.tensor)
        state = "present" if one.present else "absent"
        rows.append((
            one.tensor, one.origin or "in the code", one.size_bytes, state,
            "" if certificate is None else certificate.text,
            "" if certificate is None else certificate.digest[:16],
        ))  # fmt: skip
    columns = (
        Column(name="tensor"), Column(name="where"),
        Column(name="size", unit="bytes", kind="number"), Column(name="state"),
        Column(name="certificate", help="with --check"), Column(name="SHA-256"),
    )  # fmt: skip
    return Table(title="Parameters", columns=columns, rows=tuple(rows))


def leak_table(leaks: Sequence[Leak], hardened: Hardened | None) -> Table:
    """Return what the file gives away, with what takes it away."""
    from orrery.decompile.leaks import HARDENING

    rows: list[tuple[Cell, ...]] = [
        (one.kind, "" if one.address is None else f"{one.address:#x}", one.found, one.follows,
         HARDENING[one.kind])
        for one in leaks
    ]  # fmt: skip
    columns = (
        Column(name="kind"), Column(name="address"), Column(name="what stands there"),
        Column(name="what follows"), Column(name="what helps"),
    )  # fmt: skip
    caption = "What anybody sees without reading code. None of it was used as evidence."
    if hardened is not None:
        kinds = sorted({*hardened.before, *hardened.after})
        counts = ", ".join(f"{kind} {hardened.before.get(kind, 0)} → {hardened.after.get(kind, 0)}"
                           for kind in kinds)  # fmt: skip
        was = "" if hardened.recovered is None else " was recovered as well"
        caption += f" The copy {hardened.path.name}{was}: {hardened.text}."
        if hardened.recovered is not None:
            caption += f" Leaks, before → after: {counts or 'none'}."
    return Table(title="What the file gives away", columns=columns, rows=tuple(rows),
                 caption=caption)  # fmt: skip


def tried_table(tried: Sequence[Tried]) -> Table:
    """Return the functions that were tried as the network's entry."""
    rows: list[tuple[Cell, ...]] = [
        (f"{one.entry:#x}", one.name, one.operators, one.unmatched, one.result) for one in tried
    ]
    columns = (
        Column(name="address"), Column(name="name", help="a hint"),
        Column(name="operators", kind="number"), Column(name="unmatched", kind="number"),
        Column(name="result"),
    )  # fmt: skip
    return Table(title="Functions that were tried as the entry", columns=columns, rows=tuple(rows))


def unmatched_table(recovery: Recovery) -> Table:
    """Return what is not in the network, where it is and why."""
    rows = tuple((f"{one.address:#x}", one.reason) for one in recovery.unmatched)
    columns = (Column(name="address"), Column(name="why"))
    return Table(title="Not matched", columns=columns, rows=rows,
                 caption="None of this is guessed: it is not in the network.")  # fmt: skip


def stage_table(stages: Sequence[StageReport]) -> Table:
    """Return how each stage went, what it took."""
    rows: list[tuple[Cell, ...]] = [
        (one.name, one.status, one.detail, one.seconds if one.status != "not run" else None,
         one.peak_bytes or None)
        for one in stages
    ]  # fmt: skip
    columns = (
        Column(name="stage"), Column(name="status"), Column(name="what it found"),
        Column(name="time", unit="s", kind="number"),
        Column(name="memory", unit="bytes", kind="number", help="resident, at most"),
    )  # fmt: skip
    return Table(title="Stages", columns=columns, rows=tuple(rows))
