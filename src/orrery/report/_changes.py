"""Two sets of figures side by side, and limits on how much a figure may change.

Figures are paired by metric, unit and, where there are several, by subject and context. A change
is signed; whether it is better follows the metric (`FigureRule.lower_is_better`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from orrery.errors import SpecError, UnknownNameError
from orrery.evidence import Evidence
from orrery.units import read_quantity

from ._scorecard import FIGURES, check_figure

_LIMIT = re.compile(r"\s*([^<>=+\-]+?)\s*([<>])\s*([+-]?)\s*(\d[\d.eE]*)\s*(.*?)\s*")

#: what may differ without making two figures of different things
_SAME = frozenset(
    {
        "searcher",
        "confidence",
        "dataset_hash",
        "memory",
        "validation set",
        "validation",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureChange:
    """One figure before and after; None on a side that does not have it.

    Attributes
    ----------
    doubts : why the two may not be comparable, or the change not real
    """

    metric: str
    before: Evidence | None
    after: Evidence | None
    doubts: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[float, float] | None:
        """Both values in the first unit of the metric; None when one is not known."""
        if self.before is None or self.after is None:
            return None
        if self.before.value is None or self.after.value is None:
            return None
        units = FIGURES[self.metric].units
        return (self.before.value * units[self.before.unit],
                self.after.value * units[self.after.unit])  # fmt: skip

    @property
    def share(self) -> float | None:
        """Change as a share of the value before; infinite from zero, None when not known."""
        if self.values is None:
            return None
        before, after = self.values
        if before == after:
            return 0.0
        return (after - before) / before if before else math.inf

    @property
    def verdict(self) -> Literal["better", "worse", "same", "not known"]:
        """Which way the change goes; between a value and a bound nobody knows."""
        if self.values is None or self.before is None or self.after is None:
            return "not known"
        if self.before.bound != self.after.bound:
            return "not known"
        before, after = self.values
        if before == after:
            return "same"
        return "better" if (after < before) == FIGURES[self.metric].lower_is_better else "worse"


def changed_figures(
    before: Iterable[Evidence], after: Iterable[Evidence]
) -> tuple[FigureChange, ...]:
    """Pair the figures of two sides, in the order of the scorecard.

    Raises
    ------
    UnknownNameError, SpecError : a figure that no scorecard would take
    """
    sides: list[dict[tuple[str, str], list[Evidence]]] = [{}, {}]
    for side, figures in zip(sides, (before, after), strict=True):
        for figure in figures:
            check_figure(figure)
            dimension = FIGURES[figure.metric].dimension
            kind = figure.unit if dimension == "rate" else ""
            side.setdefault((figure.metric, kind), []).append(figure)
    rank = {name: place for place, name in enumerate(FIGURES)}
    keys = sorted({**sides[0], **sides[1]}, key=lambda key: (rank[key[0]], key[1]))
    found: list[FigureChange] = []
    for key in keys:
        found += _paired(key[0], *(side.get(key, []) for side in sides))
    return tuple(found)


def _paired(
    metric: str, before: Sequence[Evidence], after: Sequence[Evidence]
) -> list[FigureChange]:
    """Pair figures of one metric, the most alike first."""
    left, right = list(before), list(after)
    pairs: list[tuple[Evidence | None, Evidence | None]] = []
    while left and right:
        one, other = max(((a, b) for a in left for b in right), key=lambda pair: _alike(*pair))
        pairs.append((one, other))
        left.remove(one)
        right.remove(other)
    pairs += [(one, None) for one in left] + [(None, other) for other in right]
    return [
        FigureChange(metric=metric, before=one, after=other, doubts=tuple(_doubts(one, other)))
        for one, other in pairs
    ]


def _alike(one: Evidence, other: Evidence) -> tuple[bool, bool, int]:
    shared = sum(other.context.get(key) == value for key, value in one.context.items())
    return (one.source.basis is other.source.basis, one.subject == other.subject, shared)


def _doubts(one: Evidence | None, other: Evidence | None) -> list[str]:
    if one is None or other is None:
        return []
    found = [
        f"{key}: {one.context.get(key, 'not stated')} before, "
        f"{other.context.get(key, 'not stated')} after"
        for key in sorted({*one.context, *other.context} - _SAME)
        if one.context.get(key) != other.context.get(key)
    ]
    if one.source.basis is not other.source.basis:
        found.append(f"{one.source.basis.value} before, {other.source.basis.value} after")
    if one.bound != other.bound:
        found.append(f"{_bound(one)} before, {_bound(other)} after")
    if one.interval is not None and other.interval is not None:
        (low, high), (least, most) = one.interval, other.interval
        if one.unit == other.unit and low <= most and least <= high and one.value != other.value:
            found.append("the intervals overlap")
    return found


def _bound(figure: Evidence) -> str:
    return f"a {figure.bound} bound" if figure.bound else "a value"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeLimit:
    """A change that is too much: `amount` in the first unit of the figure, or a share of before."""

    text: str
    figure: str
    relation: Literal["<", ">"]
    amount: float
    relative: bool


def parse_change_limit(text: str) -> ChangeLimit:
    """Read ``latency>+5%``, ``throughput<-3%``, ``energy>+1mJ`` or ``top-1 accuracy<-0.5points``.

    Raises
    ------
    SpecError : no such form, a unit that is not the figure's
    UnknownNameError : a figure that no scorecard has; the nearest is offered
    """
    where = f"limit {text!r}"
    # A name may hold a hyphen (top-1 accuracy), so the figure is what stands before < or >.
    name, sign, rest = _split(text)
    known = next((one for one in FIGURES if one.casefold() == name.casefold()), None)
    match = _LIMIT.fullmatch(f"x{sign}{rest}") if sign else None
    if match is None:
        raise SpecError(where, found=text, wanted="a figure, < or >, and a change",
                        fix="write e.g. 'latency>+5%' or 'throughput<-3%'")  # fmt: skip
    if known is None:
        raise UnknownNameError("figure", name, FIGURES)
    factor = -1.0 if match[3] == "-" else 1.0
    number, unit = match[4], match[5]
    rule = FIGURES[known]
    if unit == "%":
        return ChangeLimit(text=text.strip(), figure=known, relation=_relation(sign),
                           amount=factor * _number(number, where) / 100, relative=True)  # fmt: skip
    if rule.dimension in ("rate", "share", "factor", "count"):
        words = {"share": ("points", "point"), "rate": tuple(rule.units), "factor": ("x", "×"),
                 "count": tuple(rule.units)}[rule.dimension]  # fmt: skip
        if unit not in words:
            raise SpecError(where, found=unit or "no unit", wanted=f"% or {words[0] or 'a number'}",
                            fix=f"write e.g. '{known}{sign}{match[3]}{number}%'")  # fmt: skip
        amount = _number(number, where)
    else:
        amount = read_quantity(f"{number} {unit}", rule.dimension, where=where)
    return ChangeLimit(text=text.strip(), figure=known, relation=_relation(sign),
                       amount=factor * amount, relative=False)  # fmt: skip


def _split(text: str) -> tuple[str, str, str]:
    for place, letter in enumerate(text):
        if letter in "<>":
            return text[:place].strip(), letter, text[place + 1 :]
    return text.strip(), "", ""


def _relation(sign: str) -> Literal["<", ">"]:
    return "<" if sign == "<" else ">"


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SpecError(where, found=text, wanted="a number", fix="write e.g. 5%") from None


def over_limit(limit: ChangeLimit, changes: Iterable[FigureChange]) -> tuple[bool, str]:
    """Return whether the change is too much, and why; what cannot be told is too much."""
    of_it = [change for change in changes if change.metric == limit.figure]
    if not of_it:
        return True, f"neither side has a figure for {limit.figure}"
    said = []
    for change in of_it:
        if change.values is None:
            side = change.before if change.before and change.before.value is None else change.after
            why = side.source.note if side is not None and side.value is None else "one side only"
            return True, f"{limit.figure} cannot be compared: {why}"
        bounds = {side.bound for side in (change.before, change.after) if side is not None}
        if len(bounds) > 1:
            return True, f"{limit.figure} cannot be compared: one side is only a bound"
        before, after = change.values
        amount = change.share if limit.relative else after - before
        assert amount is not None  # values are known
        if (amount > limit.amount) if limit.relation == ">" else (amount < limit.amount):
            shown = f"{100 * amount:+.3g} %" if limit.relative else f"{amount:+.4g}"
            return True, f"{limit.figure} changed by {shown} ({change_subject(change)})"
        said.append(change_subject(change))
    return False, f"within the limit: {', '.join(said)}"


def change_subject(change: FigureChange) -> str:
    """Return whose figure changed."""
    names = [side.subject for side in (change.before, change.after) if side is not None]
    return " -> ".join(dict.fromkeys(names))
