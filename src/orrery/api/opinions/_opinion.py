"""Put what another tool says of the same layers beside ours."""

from __future__ import annotations

from dataclasses import replace

from orrery.cost.interchange import LayerOpinion, differences, read_opinion
from orrery.cost.nest import nest_cost
from orrery.errors import SpecError, UnknownNameError
from orrery.report import Cell, Column, Section, Table, Text

from .._options import ModelOptions
from ..nests import LayerNest, NestResult
from ._same import nests_of, same_nests, tool_and_path


def with_opinion(
    model: object, result: NestResult, opinion: str, *, options: ModelOptions | None = None
) -> NestResult:
    """Return the result with another tool's figures on its page, layer by layer.

    Parameters
    ----------
    model : the network that the result is of
    opinion : ``zigzag:PATH`` or ``accelforge:PATH``, what the tool wrote

    Raises
    ------
    SpecError : files that the tool has not written so; results of another array or other layers
    UnknownNameError : another tool; no layer of the files is one of the network
    """
    tool, path = tool_and_path(opinion, ("zigzag", "accelforge"), where="--opinion")
    theirs = {one.layer: one for one in read_opinion(tool, path)}
    nests = nests_of(model, result, options)
    if not theirs.keys() & nests.keys():
        raise UnknownNameError(f"layer of {result.model} in {path}", min(theirs), nests)
    ours = {one.layer: one for one in result.layers if one.layer in nests.keys() & theirs.keys()}
    warned, recut = same_nests(tool, path, {name: nests[name] for name in ours}, result)
    said: dict[str, tuple[str, ...]] = {}
    for name, one in list(ours.items()):
        problem, mapping = nests[name]
        cost = nest_cost(problem, mapping, result.architecture)
        if (cost.cycles, cost.energy_j) != (one.cycles, one.energy_j):
            raise SpecError("--opinion", found=f"zeros made use of in {name}",
                            wanted="dense prices, which are all that the other tool has",
                            fix="leave out --gate, --skip and --compress")  # fmt: skip
        if (made := recut.get(name)) is not None:
            cost = nest_cost(problem, made, result.architecture)
            ours[name] = replace(one, cycles=cost.cycles, energy_j=cost.energy_j)
        said[name] = differences(cost, theirs[name], result.architecture)
        if made is not None:
            said[name] += (f"factors cut anew so that they divide: here that nest takes "
                           f"{cost.cycles:,} cycles, the one before {one.cycles:,}",)  # fmt: skip
        elif name in recut:
            said[name] += ("priced there with factors cut anew, by a nest that is not known here; "
                           "the price here is of the nest before",)  # fmt: skip
    times = {name: nests[name][0].times for name in ours}
    caption = ""
    if any(recut.values()):
        caption = "Here too the price of the nest that was cut anew for there, where one was."
    sections: list[Section] = [_table(tool, ours, theirs, times, result.architecture.clock_hz,
                                      caption)]  # fmt: skip
    reasons: dict[tuple[str, ...], list[str]] = {}
    for name, lines in said.items():
        if lines:
            reasons.setdefault(lines, []).append(name)
    if reasons:
        sections.append(Text(title="Where the two part", paragraphs=tuple(
            f"{', '.join(names)}: {'; '.join(lines)}" for lines, names in reasons.items()
        )))  # fmt: skip
    alone = {"no layer here": sorted(theirs.keys() - nests.keys()),
             "not said there": [name for name in nests if name not in theirs]}  # fmt: skip
    if any(alone.values()):
        sections.append(Text(title="Not compared", paragraphs=tuple(
            f"{what}: {', '.join(names)}" for what, names in alone.items() if names)))  # fmt: skip
    page = replace(result.page, sections=(*warned, *result.page.sections, *sections))
    return replace(result, page=page)


def _table(
    tool: str, ours: dict[str, LayerNest], theirs: dict[str, LayerOpinion], times: dict[str, int],
    clock_hz: float, caption: str,
) -> Table:  # fmt: skip
    """Return the figures side by side; equal runs of a layer count there as often as here."""
    columns = (
        Column(name="layer"), Column.number("cycles"), Column.number("cycles there"),
        Column.number("there / here"), Column.number("energy", "J"),
        Column.number("energy there", "J"), Column.number("there / here, energy"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    sums: list[list[float | None]] = []
    for name, one in ours.items():
        other = theirs[name]
        cycles = other.cycles
        if cycles is None and other.latency_s is not None:
            cycles = other.latency_s * clock_hz
        there = [None if value is None else value * times[name]
                 for value in (cycles, other.energy_j)]  # fmt: skip
        values: list[float | None] = [one.cycles, there[0], one.energy_j, there[1]]
        sums.append(values)
        rows.append(_row(name, values))
    total = [None if None in column else sum(v or 0.0 for v in column)
             for column in zip(*sums, strict=True)]  # fmt: skip
    rows.append(_row("all of these", total))
    return Table(title=f"Second opinion: {tool}", columns=columns, rows=tuple(rows),
                 caption=caption)  # fmt: skip


def _row(name: str, values: list[float | None]) -> tuple[Cell, ...]:
    cycles, there, joules, joules_there = values
    return (name, cycles, there, _ratio(there, cycles), joules, joules_there,
            _ratio(joules_there, joules))  # fmt: skip


def _ratio(a: float | None, b: float | None) -> float | None:
    return None if a is None or not b else a / b
