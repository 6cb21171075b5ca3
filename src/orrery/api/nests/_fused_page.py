"""Loop nests of a network together, as sections of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orrery.report import Cell, Column, Table, Text
from orrery.units import format_quantity, format_si

if TYPE_CHECKING:
    from orrery.hardware import Architecture
    from orrery.mapping.nest import StagedNests

__all__ = ["kept_table", "listed", "together"]


def together(
    found: StagedNests, architecture: Architecture, short: str, need: Sequence[str], fuse: str
) -> Text:  # fmt: skip
    """Return the sums over all layers, and whether they are within what was asked for."""
    seconds = found.cycles / architecture.clock_hz
    joules = found.energy_j
    lines = [
        f"{found.cycles:,} cycles, {format_si(seconds, 's')} at "
        f"{format_si(architecture.clock_hz, 'Hz')}; "
        + ("energy not known." if joules is None else f"{format_si(joules, 'J')} in all."),
        f"{format_quantity(found.offchip_bytes, 'bytes')} to and from "
        f"{architecture.levels[0].name}.",
        f"No choice of nests and tensors has less {found.objective}."
        if found.gap <= 1e-9 else
        f"No choice of nests and tensors has less than {100 * (1 - found.gap):.5g} % of the "
        f"{found.objective} of this one.",
    ]  # fmt: skip
    if fuse == "on-chip" and found.level is None:
        lines.append("Nothing stays on chip: no memory there holds inputs and results in one room.")
    if need:
        lines.append(f"Not within {' and '.join(need)}: {short}." if short else
                     f"Within {' and '.join(need)}.")  # fmt: skip
    return Text(title="All layers, one after the other", paragraphs=tuple(lines),
                tone="warning" if short else "plain")  # fmt: skip


def kept_table(found: StagedNests) -> Table | None:
    """Return the tensors that stay on chip; None where there are none."""
    rows: list[tuple[Cell, ...]] = [
        (k.tensor, k.maker, k.until, -(-k.bits // 8), "yes" if k.written else "no")
        for k in found.kept
    ]
    columns = (Column(name="tensor"), Column(name="made by"), Column(name="until"),
               Column(name="size", unit="bytes", kind="number"),
               Column(name="off chip too", help="others read it later, or it is a result"),
    )  # fmt: skip
    made = Table(title=f"Kept in {found.level}", columns=columns, rows=tuple(rows))
    return made if rows else None


def listed(title: str, reasons: Mapping[str, str], tone: str) -> Text:
    """Return layers by the reason why they have no nest."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(name)
    lines = tuple(
        f"{', '.join(names[:6])}{f' and {len(names) - 6} more' if len(names) > 6 else ''}: {reason}"
        for reason, names in by_reason.items()
    )
    return Text(title=title, paragraphs=lines, tone="warning" if tone == "warning" else "note")
