"""Timeloop's files: what they say, and what the mapping in them takes by our count."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orrery.cost.nest import check_mapping, nest_cost, nest_of_timeloop, problem_of_timeloop
from orrery.errors import SpecError
from orrery.hardware import Architecture, read_timeloop
from orrery.mapping.nest import NestFound, best_nest
from orrery.plan import Infeasible
from orrery.report import Cell, Column, Page, Section, Table, Text
from orrery.units import format_si

from ..validating import error_table, nest_part
from ._pages import bill_table


def timeloop(paths: Sequence[str | Path], *, objective: str = "", bill: bool = False) -> Page:
    """Return a page on Timeloop's files: the array as understood, its mapping priced.

    Parameters
    ----------
    paths : files of v0.2 to v0.4 (architecture, constraints, problem, mapping, ERT), or a folder
    objective : ``latency``, ``energy`` or ``edp``: find the best nest as well; always when the
        files hold a problem and no mapping
    bill : list every charge of the given mapping

    Raises
    ------
    SpecError : files that do not describe an array; a mapping that does not fit it
    """
    said = read_timeloop(*(Path(path) for path in paths))
    array = said.architecture
    sections: list[Section] = [notes_of(array), _levels(array)] if array.notes else [_levels(array)]
    title = array.name
    if said.problem is None and objective:
        raise SpecError(array.name, found=f"objective {objective} and no `problem:`",
                        wanted="a layer to map", fix="add the problem's file, or map a network: "
                        "orrery nest MODEL --on FILE")  # fmt: skip
    if said.problem is not None:
        title = f"{said.problem.name} on {array.name}"
        problem = problem_of_timeloop(said.problem)
        nests: dict[str, NestFound] = {}
        mapping = nest_of_timeloop(said)
        if mapping is not None:
            short = check_mapping(problem, mapping, array)
            if short is not None:
                raise SpecError(title, found=str(short), wanted="a mapping that fits",
                                fix="correct the mapping")  # fmt: skip
            cost = nest_cost(problem, mapping, array)
            nests["given mapping"] = NestFound(
                mapping=mapping, objective="given", cost=cost, value=cost.cycles, bound=0,
                mappings=1, scored=1, patterns=1,
            )  # fmt: skip
        if objective or mapping is None:
            wanted = objective or ("latency" if array.mac_energy_j is None else "energy")
            found = best_nest(problem, array, wanted, settle=True)
            if isinstance(found, Infeasible):
                raise SpecError(title, found=str(found), wanted="a nest that fits",
                                fix="; or ".join(found.remedies))  # fmt: skip
            nests[f"best for {wanted}"] = found
        kernel = any(len(axis.terms) > 1 for tensor in problem.tensors for axis in tensor.axes)
        parts = [nest_part("Conv" if kernel else "Gemm", problem, one.cost, array)
                 for one in nests.values()]  # fmt: skip
        sections[:0] = [_figures(nests, array), error_table(parts[:1]), _traffic(nests)]
        if bill:
            sections += [bill_table({name: one}) for name, one in nests.items()]
    return Page(title=title, sections=tuple(sections), subtitle="read from Timeloop's files")


def notes_of(array: Architecture) -> Text:
    """Return what was assumed and what was left out of a description in another format."""
    return Text(title="Assumed, or not taken over", paragraphs=array.notes, tone="note")


def _figures(nests: dict[str, NestFound], array: Architecture) -> Table:
    """Return the totals of every nest side by side."""
    rows: list[tuple[Cell, ...]] = []
    for name, one in nests.items():
        cost, time = one.cost, one.cost.time
        hidden = max(time.compute, *(-(-port // 1) for port in time.busy)) * cost.times
        rows.append((name, cost.operations.nominal, cost.cycles, int(hidden), time.compute,
                     100 * cost.active_share, cost.energy_j))  # fmt: skip
    columns = (
        Column(name="nest"), Column.number("operations"), Column.number("cycles"),
        Column.number("cycles, all transfers hidden",
                      help="as Timeloop counts: a level's transfers never wait for its one tile"),
        Column.number("steps", help="of the array at work"),
        Column.number("active", "%", help="elements that ever work"), Column.number("energy", "J"),
    )  # fmt: skip
    caption = ("Here a tile that is not double-buffered is waited for, a result that leaves a "
               "memory is read there, elements that share data get it at once, and all memories "
               f"leak all the time, at {format_si(array.clock_hz, 'Hz')}; the innermost tile "
               "of inputs keeps what the next one shares. Timeloop hides every "
               "transfer, reads no result on its way out, sends the same data once only to "
               "elements that need nothing else, keeps what tiles share along innermost loops, "
               "and lets active elements leak.")  # fmt: skip
    return Table(title="What it takes", columns=columns, rows=tuple(rows), caption=caption)


def _traffic(nests: dict[str, NestFound]) -> Table:
    """Return elements moved per memory and kind of data, and what that costs."""
    rows: list[tuple[Cell, ...]] = []
    for name, cost in ((name, one.cost) for name, one in nests.items()):
        for level, kinds in cost.traffic.items():
            for role, (read, written) in kinds.items():
                joules = [c.energy_j for c in cost.charges
                          if c.resource == level and c.action.endswith(f" {role}")]  # fmt: skip
                rows.append((name, level, role, read * cost.times / 8, written * cost.times / 8,
                             sum(joules) if joules else None))  # fmt: skip
    columns = (
        *(Column(name=name) for name in ("nest", "memory", "data")),
        *(Column.number(name, "bytes") for name in ("read", "written")),
        Column.number("energy", "J", bar=True),
    )  # fmt: skip
    return Table(title="Traffic per memory", columns=columns, rows=tuple(rows))


def _levels(array: Architecture) -> Table:
    """Return the array as it was understood."""
    rows: list[tuple[Cell, ...]] = []
    for level in array.levels:
        size = level.capacity_bits
        rows.append((level.name, ", ".join(level.holds), array.instances(level),
                     None if size is None else size / 8, level.word_bits, level.read_energy_j,
                     level.write_energy_j))  # fmt: skip
    columns = (
        Column(name="memory"), Column(name="holds"), Column.number("instances"),
        Column.number("size", "bytes"), Column.number("word", "bit"),
        *(Column.number(n, "J", help="per word") for n in ("read", "write")),
    )  # fmt: skip
    spread = "; ".join(
        f"{axis.name}: {axis.size}" + (f", for {', '.join(axis.loops)}" if axis.loops else "")
        for axis in array.axes
    )
    return Table(title="The array", columns=columns, rows=tuple(rows),
                 caption=f"Along {spread}." if spread else "One element.")  # fmt: skip
