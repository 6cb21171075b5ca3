"""One layer's loop nest: the loops themselves, where it loses speed, what would help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orrery.cost.nest import NestCost, NestProblem, explain_nest, nest_bounds, nest_cost
from orrery.hardware import Architecture
from orrery.mapping.nest import NestFound, PartNest
from orrery.report import Column, Section, Step, Table, Text, Waterfall


def layer_sections(
    name: str, problem: NestProblem, one: NestFound, architecture: Architecture,
    more: Sequence[str] = (),
) -> list[Section]:  # fmt: skip
    """Return a layer's nest as loops, its bounds step by step, and what would help.

    Bounds and changes are of the dense layer: they say nothing of zeros, so the page does.

    Parameters
    ----------
    more : lines that are said of the nest
    """
    dense = nest_cost(problem, one.mapping, architecture)
    bounds = nest_bounds(problem, architecture, dense)
    more = (*more, *_zeros(one.cost, dense))
    told = explain_nest(problem, one.mapping, architecture)
    columns = (
        Column(name="change"), Column.number("cycles"), Column.number("energy", "J"),
        Column.number("times as fast"),
    )  # fmt: skip
    return [
        Text(title=f"Nest of {name}", paragraphs=(*_loops(one, architecture), *more)),
        Waterfall(
            title=f"Where {name} loses speed", unit="operations per cycle",
            steps=tuple(Step(name=b.name, value=b.operations_per_cycle, kind="level",
                             note=b.reason) for b in bounds[2:]),
            caption=". ".join(f"{b.name} ({b.reason}): −{100 * b.loss:.3g} %"
                              for b in bounds if b.loss > 0) + ".",
        ),
        Table(
            title=f"What would help {name}", columns=columns,
            rows=tuple((c.what, c.cycles, c.energy_j, c.speedup) for c in told.changes),
            caption=f"Held up by {told.bound_by} ({100 * told.share:.3g} % of its cycles); the "
                    "same nest on a changed machine.",
        ),
    ]  # fmt: skip


def part_sections(name: str, one: PartNest, lines: Sequence[str]) -> list[Section]:
    """Return the same of a nest among others: dense, as it is without its tail."""
    alone = nest_cost(one.problem, one.nest.mapping, one.architecture)
    return layer_sections(name, one.problem, replace(one.nest, cost=alone), one.architecture,
                          (*lines, *_zeros(one.nest.cost, alone)))  # fmt: skip


def _zeros(cost: NestCost, dense: NestCost) -> list[str]:
    """Return what to say where zeros save some of a layer."""
    if cost.operations == dense.operations:
        return []
    return [f"With its zeros it takes {cost.cycles:,} cycles, and {dense.cycles:,} of a dense "
            "layer: all that follows is of the dense one."]  # fmt: skip


def _loops(one: NestFound, architecture: Architecture) -> list[str]:
    below = architecture.fans_out_below()
    lines = []
    for place, (level, loops) in enumerate(zip(architecture.levels, one.mapping.temporal)):
        text = ", ".join(f"{loop} {factor}" for loop, factor in loops) or "–"
        lines.append(f"{'  ' * place}{level.name}: {text}")
        for axis in architecture.axes:
            spread = one.mapping.spatial.get(axis.name, ())
            if below[axis.name] == place and spread:
                said = ", ".join(f"{loop} {factor}" for loop, factor in spread)
                lines.append(f"{'  ' * (place + 1)}side by side along {axis.name}: {said}")
    return lines
