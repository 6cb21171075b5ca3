"""What each parameter does, and which ranges end where it still gets better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from orrery.mapping.space import Effect, Effects, Parameter, main_effects
from orrery.report import Cell, Column, Section, Table, Text

from ._charts import shortened
from ._measures import Compared, Measure
from ._rows import Row

#: a mean that is this much larger is worth a word
_WORTH = 1.001
_OF_WORK = ("latency", "throughput", "energy", "energy-delay product")

Priced = Sequence[tuple[Row, Sequence[int]]]


def slope_sections(
    parameters: Sequence[Parameter], priced: Priced, outcome: Compared, objective: str
) -> list[Section]:
    """Return the parameters ranked by what they do, their values one by one, ranges too narrow."""
    points = [point for _, point in priced]
    found: dict[Measure, Effects] = {}
    for measure in outcome.measures:
        if not measure.by_product and measure.metric in _OF_WORK:
            effects = main_effects(parameters, points, [measure.of(row) for row, _ in priced])
            if effects is not None:
                found[measure] = effects
    if not found:
        return []
    chief = outcome.objective(objective)
    first = found.get(chief, next(iter(found.values()))) if chief else next(iter(found.values()))
    ranked = sorted(range(len(parameters)), key=lambda n: -_ratio(first.effects[n]))
    edges = list(_edges(parameters, priced, outcome, found))
    sections: list[Section] = [_ranking(parameters, found, chief)]
    if edges:
        sections.append(Text(title="Ranges that end where it still gets better",
                             paragraphs=tuple(edges), tone="note"))  # fmt: skip
    return [*sections, _by_value(parameters, found, ranked)]


def _ranking(
    parameters: Sequence[Parameter], found: Mapping[Measure, Effects], chief: Measure | None
) -> Table:
    names = shortened([parameter.name for parameter in parameters])
    lines: list[tuple[Cell, ...]] = []
    for measure in sorted(found, key=lambda m: m != chief):
        effects = found[measure].effects
        order = sorted(range(len(parameters)), key=lambda n: -_ratio(effects[n]))
        for n in order:
            effect, labels = effects[n], parameters[n].labels
            told: tuple[Cell, ...] = (None, None, None)
            if effect is not None:
                best = labels[effect.best] if effect.ratio > _WORTH else "no difference"
                told = (effect.ratio, effect.elasticity, best)
            lines.append((measure.name, names[n], f"{labels[0]} … {labels[-1]}", *told))
    rest = "; ".join(f"{m.name} {100 * e.unexplained:.2g} %" for m, e in found.items())
    return Table(
        title="Which parameter matters most",
        columns=(
            Column(name="of"), Column(name="parameter"), Column(name="values"),
            Column.number("worst/best", "x",
                help="of the means over all other parameters, the largest over the least",
                bar=True),
            Column.number("elasticity",
                help="percent by which it moves when the parameter grows by one percent"),
            Column(name="best at"),
        ),
        rows=tuple(lines),
        caption="Geometric means over all points, the other parameters as they were. Variation "
        f"that no parameter explains alone, but only with another: {rest}.",
    )  # fmt: skip


def _ratio(effect: Effect | None) -> float:
    return 0.0 if effect is None else effect.ratio


def _by_value(
    parameters: Sequence[Parameter], found: Mapping[Measure, Effects], ranked: Sequence[int]
) -> Table:
    names = shortened([parameter.name for parameter in parameters])
    lines: list[tuple[Cell, ...]] = []
    for n in ranked:
        if all(effects.effects[n] is None for effects in found.values()):
            continue
        for place, label in enumerate(parameters[n].labels):
            means = [None if (e := effects.effects[n]) is None else e.means[place]
                     for effects in found.values()]  # fmt: skip
            lines.append((names[n], label, *means))
    return Table(
        title="Value by value",
        columns=(Column(name="parameter"), Column(name="value"),
                 *(Column.number(m.name, "x", bar=True) for m in found)),
        rows=tuple(lines),
        caption="Means over all other parameters, in multiples of the parameter's best value.",
    )  # fmt: skip


def _edges(
    parameters: Sequence[Parameter], priced: Priced, outcome: Compared,
    found: Mapping[Measure, Effects],
) -> Iterator[str]:  # fmt: skip
    rows = [row for row, _ in priced]
    for n, parameter in enumerate(parameters):
        numbers = parameter.numbers
        if numbers is None or len(numbers) < 2 or set(parameter.paths) & {"batch", "context"}:
            continue
        low, high = numbers.index(min(numbers)), numbers.index(max(numbers))
        ends: dict[int, list[str]] = {}
        for measure, effects in found.items():
            effect = effects.effects[n]
            if effect is None or effect.ratio <= _WORTH:
                continue
            for group in outcome.groups:
                best = outcome.best(rows, measure, group)
                if best is not None and priced[best][1][n] in (low, high):
                    ends.setdefault(priced[best][1][n], []).append(measure.name)
        if ends:
            said = " and ".join(
                f"the least {', '.join(dict.fromkeys(names))} at {parameter.labels[place]}, the "
                f"{'smallest' if place == low else 'largest'} value tried"
                for place, names in ends.items()
            )
            yield f"{parameter.name}: {said}. Widen the range to see where it turns."
