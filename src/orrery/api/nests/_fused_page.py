"""Loop nests of a network together: ceilings as they are asked for, sections of a page."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orrery.errors import SpecError
from orrery.evidence import Evidence
from orrery.report import Cell, Column, Section, Table, Text, parse_need
from orrery.units import counted, format_quantity, format_si

from ..validating import Part, beside, error_table, known_errors
from ._timeloop import notes_of

if TYPE_CHECKING:
    from orrery.hardware import Architecture
    from orrery.mapping.nest import PartNest, StagedNests

__all__ = ["array_sections", "ceilings", "checked", "kept_table", "listed", "nothing",
           "outside_sets", "together"]  # fmt: skip

#: ``cycles<=4e6`` and the like; a scorecard has no such figure
_CYCLES = re.compile(r"\s*cycles\s*(<=|>=|<|>|≤|≥)\s*(\d[\d,_]*(?:\.\d*)?(?:[eE]\+?\d+)?)\s*")


def nothing(found: StagedNests) -> str:
    """Say why nothing fits, the reasons of most layers first."""
    reasons = Counter(str(why) for why in found.failed.values())
    lines = [f"{why} ({counted(n, 'layer')})" for why, n in reasons.most_common(3)]
    return "; ".join(lines) or "no layer with a loop nest"


def ceilings(
    need: Sequence[str], architecture: Architecture
) -> tuple[int | None, float | None]:  # fmt: skip
    """Read ``cycles<=N``, ``latency<T`` and ``energy<E``; the strictest of each counts."""
    cycles: list[int] = []
    joules: list[float] = []
    for text in need:
        plain = _CYCLES.fullmatch(text)
        if plain:
            figure, relation, most = "cycles", plain[1], float(re.sub("[,_]", "", plain[2]))
        else:
            one = parse_need(text)
            figure, relation, most = one.figure, one.relation, one.limit
        if figure not in ("cycles", "latency", "energy") or relation[0] not in "<≤":
            raise SpecError(f"need {text!r}", found=f"{figure} {relation}",
                            wanted="a ceiling of cycles, latency or energy",
                            fix="write e.g. 'cycles<=4e6' or 'energy<2mJ'")  # fmt: skip
        if figure == "energy":
            joules.append(most)
            continue
        if figure == "latency":
            most *= architecture.clock_hz * (1 + 1e-12)
        most = min(most, 2.0**62)
        cycles.append(math.floor(most) - (relation == "<" and most % 1 < 1e-6))
    return min(cycles, default=None), min(joules, default=None)


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
        _claim(found),
    ]  # fmt: skip
    if fuse == "on-chip" and found.level is None:
        lines.append("Nothing stays on chip: no memory there holds inputs and results in one room.")
    if need:
        lines.append(f"Not within {' and '.join(need)}: {short}." if short else
                     f"Within {' and '.join(need)}.")  # fmt: skip
    return Text(title="All layers, one after the other", paragraphs=tuple(lines),
                tone="warning" if short else "plain")  # fmt: skip


def _claim(found: StagedNests) -> str:
    """Say what is proven, and among which choices."""
    alike: dict[tuple[int, ...], list[str]] = {}
    for level, heights in found.tried.items():
        alike.setdefault(heights, []).append(level)
    among = []
    for heights, levels in alike.items():
        rows = ", ".join(map(str, heights[:10]))
        rows += f" and {len(heights) - 10} heights more" if len(heights) > 10 else ""
        cut = f" and tiles of {rows} rows through chains of at most three layers"
        alone = f" in {' or in '.join(levels)} alone" if len(found.tried) > 1 else ""
        among.append("whole tensors" + (cut if heights else "") + alone)
    said = f"Among {' or '.join(among)}, no choice of nests and of what stays"
    if not among:
        said = "No choice of nests"
    less = "less" if found.gap <= 1e-9 else f"less than {100 * (1 - found.gap):.5g} % of the"
    end = "" if found.gap <= 1e-9 else " here"
    mixed = " Some tensors in one and others in another is not tried." * (len(found.tried) > 1)
    return f"{said} has {less} {found.objective}{end}.{mixed}"


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


def array_sections(architecture: Architecture) -> list[Section]:
    """Return what a reader should know of the array: how it was read, which energies are odd."""
    from orrery.hardware import doubts

    found: list[Section] = [notes_of(architecture)] if architecture.notes else []
    if warned := doubts(architecture):
        found.append(Text(title="Doubtful energies", paragraphs=tuple(warned), tone="warning"))
    return found


def checked(
    figures: Sequence[Evidence], parts: Sequence[Part], shown: Sequence[Part]
) -> tuple[list[Evidence], Table]:
    """Return figures with what is known of their error, and a table on the parts shown."""
    known = known_errors(parts)
    return [beside(figure, known) for figure in figures], error_table(shown)


def outside_sets(one: PartNest) -> str:
    """Say why no reference set speaks for a nest; empty where it is that of a layer alone."""
    moved = one.rows or one.roles or one.taken_bits or one.tail.traffic
    return "fused: sets are of layers one by one" if moved else ""
