"""Loop nests as sections of a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orrery.cost.nest import NestProblem
from orrery.hardware import Architecture
from orrery.mapping.nest import NestFound
from orrery.report import Cell, Column, Table, Text
from orrery.units import format_si

Nests = Mapping[str, "NestFound"]
_TIES = {"latency": "Of equally fast nests those of least energy",
         "energy": "Of equally frugal nests the fastest"}  # fmt: skip


def totals(found: Nests, architecture: Architecture) -> Text:
    """Return the sums over all layers, one after the other."""
    cycles = sum(one.cost.cycles for one in found.values())
    done = sum(one.cost.operations.performed for one in found.values())
    joules = [one.cost.energy_j for one in found.values()]
    peak = cycles * architecture.elements * architecture.macs_per_cycle
    seconds = sum(one.cost.latency_s for one in found.values())
    lines = [f"{cycles:,} cycles, {format_si(seconds, 's')} at "
             f"{format_si(architecture.clock_hz, 'Hz')}; {100 * done / max(peak, 1):.3g} % of what "
             f"{architecture.elements} elements could do."]  # fmt: skip
    if None in joules:
        missing = sorted({name for one in found.values() for name in one.cost.unpriced})
        lines.append(f"Energy not known: no price for {', '.join(missing[:6])}.")
    else:
        lines.append(f"{format_si(sum(j or 0.0 for j in joules), 'J')} in all.")
    open_ones = [name for name, one in found.items() if not one.proven]
    tried = sum(one.mappings for one in found.values())
    lines.append(
        f"Best of {tried:.3g} nests, proven."
        if not open_ones else
        f"Not proven best: {len(open_ones)} of {len(found)} layers, at most "
        f"{100 * max(found[n].gap for n in open_ones):.3g} % above the best."
    )  # fmt: skip
    tie = _TIES.get(next(one.objective for one in found.values()))
    if tie and None not in joules:
        unsettled = sum(not one.settled for one in found.values())
        lines.append(f"{tie}{f', not proven of {unsettled}' if unsettled else ''}.")
    return Text(title="All layers, one after the other", paragraphs=tuple(lines))


def layer_table(
    found: Nests, problems: Mapping[str, NestProblem], operator: Callable[[str], str]
) -> Table:
    """Return one row per layer."""
    columns = (
        Column(name="layer"), Column(name="operator"), Column.number("operations"),
        Column.number("cycles", bar=True),
        Column.number("utilisation", "%",
                      help="operations done of all that the array could do in the time"),
        Column.number("energy", "J"), Column.number("off chip", "bytes"),
        Column(name="held up by", help="where most cycles go"),
        Column.number("gap", "%", help="0: no nest of the space is better"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for name, one in found.items():
        cost = one.cost
        rows.append((name, operator(name), cost.operations.nominal, cost.cycles,
                     100 * cost.utilisation, cost.energy_j, cost.cost.offchip_bytes,
                     held_up(one), 100 * one.gap))  # fmt: skip
    return Table(title="Layers", columns=columns, rows=tuple(rows))


def held_up(one: NestFound) -> str:
    """Return the part of the machine that most cycles go to."""
    time = one.cost.time
    parts = {"array": float(time.compute),
             "first and last tiles": float(time.ramp_up + time.drain)}  # fmt: skip
    parts |= {name: float(stall) for name, stall in zip(one.cost.traffic, time.stalls)}
    return max(parts, key=lambda name: parts[name])


def level_table(found: Nests, architecture: Architecture) -> Table:
    """Return traffic and energy per memory and kind of data, over all layers."""
    moved: dict[tuple[str, str], list[float]] = {}
    for one in found.values():
        for level, roles in one.cost.traffic.items():
            for role, (read, written) in roles.items():
                row = moved.setdefault((level, role), [0, 0, 0.0])
                row[0] += read * one.cost.times / 8
                row[1] += written * one.cost.times / 8
        for charge in one.cost.charges:
            role = charge.action.rpartition(" ")[2]
            if (charge.resource, role) in moved:
                moved[charge.resource, role][2] += charge.energy_j
    order = {level.name: place for place, level in enumerate(architecture.levels)}
    rows: list[tuple[Cell, ...]] = [
        (level, role, *values)
        for (level, role), values in sorted(moved.items(), key=lambda item: order[item[0][0]])
    ]
    columns = (
        Column(name="memory"), Column(name="data"), Column.number("read", "bytes"),
        Column.number("written", "bytes"), Column.number("energy", "J", bar=True),
    )  # fmt: skip
    return Table(title="Traffic per memory", columns=columns, rows=tuple(rows))


def bill_table(found: Nests) -> Table:
    """Return every charge: count, price, source."""
    counts: dict[tuple[str, str, float, str], int] = {}
    for one in found.values():
        for c in one.cost.charges:
            key = (c.resource, c.action, c.energy_j_each, str(c.source))
            counts[key] = counts.get(key, 0) + c.count
    rows = tuple((resource, action, count, each, count * each, source)
                 for (resource, action, each, source), count in counts.items())  # fmt: skip
    columns = (
        Column(name="where"), Column(name="action"), Column.number("times"),
        Column.number("each", "J"), Column.number("energy", "J", bar=True), Column(name="source"),
    )  # fmt: skip
    return Table(title="Bill of energy", columns=columns, rows=rows, sort_by="energy",
                 descending=True)  # fmt: skip


def zero_table(found: Nests, said: str) -> Table:
    """Return the operations of each layer told apart: asked for, done, worked at, effectual."""
    columns = [Column(name="layer")] + [
        Column.number(name, help=what) for name, what in (
            ("operations", "what the layer asks for"),
            ("performed", "those that take a multiplier's cycle"),
            ("worked", "of these, those that no zero gates"),
            ("effectual", "without a zero operand: no machine can do without them"))]  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    sums = [0, 0, 0, 0]
    for name, one in found.items():
        if one.cost.macs:
            told = one.cost.operations
            row = (told.nominal, told.performed, told.worked, told.effectual)
            sums = [total + more for total, more in zip(sums, row, strict=True)]
            rows.append((name, *row))
    rows.append(("all", *sums))
    return Table(title="Effectual operations", columns=tuple(columns), rows=tuple(rows),
                 caption=f"Densities: {said}. Work among multipliers that skip is taken as "
                 "perfectly even: a lower bound of time.")  # fmt: skip
