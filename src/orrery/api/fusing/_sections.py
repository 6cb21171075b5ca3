"""What is said of loop nests of a network together: sums, proof, ceilings, what stays on chip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from orrery.hardware import Architecture
from orrery.mapping.nest import PartNest, StagedNests
from orrery.report import Cell, Column, Table, Text
from orrery.units import counted, format_quantity, format_si


def nothing(found: StagedNests) -> str:
    """Say why nothing fits, the reasons of most layers first."""
    reasons = Counter(str(why) for why in found.failed.values())
    lines = [f"{why} ({counted(n, 'layer')})" for why, n in reasons.most_common(3)]
    return "; ".join(lines) or "no layer with a loop nest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether ceilings hold.

    Attributes
    ----------
    short : what is not within them; empty: nothing of what is mapped
    unmapped : layers that no nest stands for: what is mapped is a lower bound, which can miss a
        ceiling and not keep one
    left : whether passes over data were left to another unit on purpose
    """

    need: tuple[str, ...]
    short: str = ""
    unmapped: tuple[str, ...] = ()
    left: bool = False

    @property
    def met(self) -> bool:
        return not self.need or not (self.short or self.unmapped)

    @property
    def text(self) -> str:
        asked = " and ".join(self.need)
        if self.short:
            return f"Not within {asked}: {self.short}."
        if self.unmapped:
            return (f"Not known whether within {asked}: {_names(self.unmapped)} "
                    f"{'has' if len(self.unmapped) == 1 else 'have'} no nest and "
                    f"{'is' if len(self.unmapped) == 1 else 'are'} in no sum.")  # fmt: skip
        return f"Within {asked}{', of the layers mapped' if self.left else ''}."


def _names(layers: Sequence[str]) -> str:
    more = f" and {len(layers) - 4} more" if len(layers) > 4 else ""
    return f"{', '.join(layers[:4])}{more}"


def together(
    found: StagedNests, architecture: Architecture, verdict: Verdict, fuse: str
) -> Text:  # fmt: skip
    """Return the sums over all layers, and whether they are within what was asked for."""
    beside = architecture.overhead_s
    took, clock = format_si(found.latency_s, "s"), format_si(architecture.clock_hz, "Hz")
    time = f"{found.cycles:,} cycles, {took} at {clock}"
    if beside:
        time = (f"{found.cycles:,} cycles at {clock}, and {format_si(beside, 's')} beside them for "
                f"each of {counted(found.runs, 'run')}: {took}")  # fmt: skip
    joules = found.energy_j
    part = bool(verdict.unmapped or verdict.left)
    lines = [
        f"{time}; "
        + ("energy not known." if joules is None else f"{format_si(joules, 'J')} in all."),
        f"{format_quantity(found.offchip_bytes, 'bytes')} to and from "
        f"{architecture.levels[0].name}.",
        _claim(found, part=part),
    ]  # fmt: skip
    if fuse == "on-chip" and found.level is None:
        lines.append("Nothing stays on chip: no memory there holds inputs and results in one room.")
    lines += [verdict.text] if verdict.need else []
    return Text(title=f"{'Layers mapped' if part else 'All layers'}, one after the other",
                paragraphs=tuple(lines), tone="plain" if verdict.met else "warning")  # fmt: skip


def _claim(found: StagedNests, *, part: bool) -> str:
    """Say what is proven, and among which choices."""
    alike: dict[tuple[int, ...], list[str]] = {}
    for level, heights in found.tried.items():
        alike.setdefault(heights, []).append(level)
    among = []
    for heights, levels in alike.items():
        rows = ", ".join(map(str, heights[:10]))
        rows += " rows" + (f" (and {len(heights) - 10} other heights)" if heights[10:] else "")
        cut = f" and tiles of {rows} through chains of at most three layers"
        alone = f" in {' or in '.join(levels)} alone" if len(found.tried) > 1 else ""
        among.append("whole tensors" + (cut if heights else "") + alone)
    nests = "nests" + " of the layers mapped" * part
    said = f"Among {' or '.join(among)}, no choice of {nests} and of what stays"
    if not among:
        said = f"No choice of {nests}"
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
               Column.number("size", "bytes"),
               Column(name="off chip too", help="others read it later, or it is a result"),
    )  # fmt: skip
    made = Table(title=f"Kept in {found.level}", columns=columns, rows=tuple(rows))
    return made if rows else None


def outside_sets(one: PartNest) -> str:
    """Say why no reference set speaks for a nest; empty where it is that of a layer alone."""
    moved = one.rows or one.roles or one.taken_bits or one.tail.traffic
    return "fused: sets are of layers one by one" if moved else ""
