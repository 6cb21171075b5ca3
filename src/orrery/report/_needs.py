"""Needs such as ``latency<33ms``, and whether a scorecard meets them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from orrery.errors import SpecError, UnknownNameError
from orrery.evidence import Evidence
from orrery.provenance import Basis
from orrery.units import read_quantity

from ._format import format_value
from ._scorecard import FIGURES, METRICS, FigureRule, Scorecard, value_text

_NEED = re.compile(r"\s*([^<>=≤≥]+?)\s*(<=|>=|<|>|≤|≥)\s*([^<>=≤≥]+?)\s*")
_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S.*)?")
_EXAMPLE = {"time": "33ms", "energy": "0.5J", "power": "75W", "size": "24GiB", "area": "100mm2",
            "bandwidth": "50GB/s", "price": "900USD", "rate": "30/s", "share": "75%",
            "factor": "3x", "count": "8"}  # fmt: skip
_INTERNAL = {"time": "s", "energy": "J", "power": "W", "size": "bytes", "area": "mm2",
             "bandwidth": "bytes/s", "price": "USD", "share": "%", "factor": "x",
             "count": ""}  # fmt: skip
_STRENGTH = {basis: rank for rank, basis in enumerate(Basis)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A bound on a figure, in the first unit of its `FigureRule`.

    `unit` of a rate is e.g. ``token/s``, or ``/s`` when the need does not say per what; `given` is
    the limit as it was written.
    """

    text: str
    figure: str
    relation: Literal["<", "<=", ">", ">="]
    limit: float
    unit: str
    given: str = ""

    @property
    def upper(self) -> bool:
        """Whether the limit is a ceiling."""
        return self.relation.startswith("<")

    def holds(self, value: float) -> bool:
        """Return whether a value in the need's unit meets it."""
        if value == self.limit:
            return self.relation in ("<=", ">=")
        return (value < self.limit) == self.upper


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a need is met, with the margin in percent of the limit (negative: missed by).

    `figure` is the one that decided, None when nothing could; `note` says why, or what makes the
    answer doubtful.
    """

    need: Need
    status: Literal["pass", "fail", "not known"]
    figure: Evidence | None = None
    margin_percent: float | None = None
    note: str = ""


def parse_needs(needs: str | Sequence[str]) -> list[Need]:
    """Read several needs; a single text is one need.

    Raises
    ------
    SpecError, UnknownNameError : as `parse_need`; also for what is no text
    """
    if isinstance(needs, str):
        return [parse_need(needs)]
    if not isinstance(needs, Sequence):
        raise SpecError("needs", found=needs, wanted="a list of texts",
                        fix="write e.g. needs=['latency<33ms']")  # fmt: skip
    return [parse_need(text) for text in needs]


def parse_need(text: str) -> Need:
    """Read ``latency<33ms``, ``energy<=0.5J``, ``throughput>30/s`` or ``peak memory<24GiB``.

    Raises
    ------
    SpecError : no bound, a bare number where a unit is needed, an unknown unit, a heading of the
        card that has no figure of its own
    UnknownNameError : a figure that no scorecard has; the nearest one is offered
    """
    if not isinstance(text, str):
        raise SpecError("needs", found=text, wanted="text",
                        fix="write e.g. 'latency<33ms'")  # fmt: skip
    where = f"need {text!r}"
    match = _NEED.fullmatch(text)
    if match is None:
        raise SpecError(where, found=text, wanted="a figure, one of < <= > >=, and a quantity",
                        fix="write e.g. 'latency<33ms'")  # fmt: skip
    name = next((known for known in FIGURES if known.casefold() == match[1].casefold()), None)
    if name is None:
        heading = next((m for m in METRICS if m.casefold() == match[1].casefold()), None)
        if heading is not None:
            below = [figure for figure, rule in FIGURES.items() if rule.metric == heading]
            raise SpecError(where, found=f"{heading!r}, a heading of the card",
                            wanted=f"a figure below it: {', '.join(below)}",
                            fix="name the figure")  # fmt: skip
        raise UnknownNameError("figure", match[1], FIGURES)
    relation = {"≤": "<=", "≥": ">="}.get(match[2], match[2])
    limit, unit = _quantity(match[3], FIGURES[name], where)
    return Need(
        text=text.strip(),
        figure=name,
        relation=relation,  # type: ignore[arg-type]  # one of four by the pattern
        limit=limit,
        unit=unit,
        given=match[3].strip(),
    )


def _quantity(text: str, rule: FigureRule, where: str) -> tuple[float, str]:
    dimension = rule.dimension
    if dimension not in ("rate", "share", "factor", "count"):
        # The floor reads "33 ms" and "33ms" alike and refuses a bare number.
        return read_quantity(text, dimension, where=where), _INTERNAL[dimension]
    match = _NUMBER.fullmatch(text)
    value = float(match[1]) if match else math.nan
    given = (match[2] or "").strip() if match else ""
    units: dict[str, tuple[float, str]] = {
        "rate": {"/s": (1.0, "/s"), "/min": (1 / 60, "/s"), "/h": (1 / 3600, "/s"),
                 **{unit: (1.0, unit) for unit in FIGURES["throughput"].units}},
        "share": {"%": (1.0, "%")},
        "factor": {"x": (1.0, "x"), "×": (1.0, "x")},
        "count": dict.fromkeys(("", *_nouns(rule)), (1.0, "")),
    }[dimension]  # fmt: skip
    if match is None or given not in units or not math.isfinite(value) or value <= 0:
        listed = ", ".join(unit for unit in units if unit)
        wanted = f"a number above zero with a unit, one of {listed}"
        if dimension == "count":
            wanted = f"a number above zero{f', in {listed}' if listed else ' without a unit'}"
        raise SpecError(where, found=text, wanted=wanted,
                        fix=f"write e.g. {_EXAMPLE[dimension]!r}")  # fmt: skip
    factor, unit = units[given]
    return value * factor, unit


def _nouns(rule: FigureRule) -> list[str]:
    """Return the words that may stand after a count, in the plural and the singular."""
    words = [unit for unit in rule.units if unit not in ("", "1", "count")]
    return [*words, *(word.removesuffix("s") for word in words)]


def judge(card: Scorecard, needs: Sequence[Need]) -> tuple[Verdict, ...]:
    """Say of each need whether the card meets it.

    Per subject the figure of the strongest basis decides; of several subjects the worst one does.
    """
    return tuple(_judge(card, need) for need in needs)


def _judge(card: Scorecard, need: Need) -> Verdict:
    rule = FIGURES[need.figure]
    figures = card.figures(need.figure)
    strongest: dict[str, list[tuple[float, Evidence]]] = {}
    for figure in figures:
        if figure.value is None or (rule.dimension == "rate" and not _counts(figure, need.unit)):
            continue
        best = strongest.setdefault(figure.subject, [])
        if best and _STRENGTH[best[0][1].source.basis] < _STRENGTH[figure.source.basis]:
            continue
        if best and _STRENGTH[best[0][1].source.basis] > _STRENGTH[figure.source.basis]:
            best.clear()
        best.append((figure.value * rule.units[figure.unit], figure))
    candidates = [entry for entries in strongest.values() for entry in entries]
    if not candidates:
        why = next((f.source.note for f in figures if f.value is None), "")
        metric = card.metric(rule.metric)
        return Verdict(need=need, status="not known", note=why or metric.why_unknown
                       or f"no figure for {need.figure} in {need.unit or 'this unit'}")  # fmt: skip
    value, figure = (max if need.upper else min)(candidates, key=lambda entry: entry[0])
    unknown = [f.subject for f in figures if f.value is None and f.subject not in strongest]
    met = need.holds(value)
    if met and unknown:
        return Verdict(need=need, status="not known",
                       note=f"not known for {', '.join(unknown)}")  # fmt: skip
    gap = need.limit - value if need.upper else value - need.limit
    # A lower bound can break a ceiling but never prove that it is kept; an upper bound likewise.
    if figure.bound and met == ((figure.bound == "lower") == need.upper):
        return Verdict(
            need=need, status="not known",
            note=f"{value_text(figure)} is only a {figure.bound} bound",
        )  # fmt: skip
    return Verdict(
        need=need, status="pass" if met else "fail", figure=figure,
        margin_percent=100.0 * gap / need.limit, note=_doubt(need, value, figure),
    )  # fmt: skip


def _counts(figure: Evidence, unit: str) -> bool:
    """Return whether a rate answers a need in some unit: one inference may be one image.

    Training steps are no answers, so they only count where somebody asks for them.
    """
    if unit == "/s":
        return figure.unit != "step/s"
    nouns = figure.context.get("counts_as", "").split(", ")
    return unit == figure.unit or (
        figure.unit in ("inference/s", "sample/s") and unit.removesuffix("/s") in nouns
    )


def _doubt(need: Need, value: float, figure: Evidence) -> str:
    """Say when the known uncertainty of a figure reaches across the limit."""
    scale = FIGURES[figure.metric].units[figure.unit]
    if figure.interval is not None:
        low, high = (bound * scale for bound in figure.interval)
        if need.holds(low) != need.holds(high):
            return (f"the interval {format_value(low, need.unit)} to "
                    f"{format_value(high, need.unit)} reaches across the limit")  # fmt: skip
    if figure.validation_range is not None:
        ends = [value * multiple for multiple in figure.validation_range]
        if any(need.holds(end) != need.holds(value) for end in ends):
            least, most = (format_value(end, need.unit) for end in ends)
            return (f"where references lay over such figures it is {least} to {most}, across the "
                    "limit")  # fmt: skip
    elif figure.validation_error is not None:
        slack = abs(figure.validation_error)
        if need.holds(value * (1 - slack)) != need.holds(value * (1 + slack)):
            return f"the margin is within the validation error of {100 * slack:.3g} %"
    return ""


def limit_text(need: Need) -> str:
    """Return the limit in the unit in which it was given, e.g. ``< 33 ms``."""
    sign = {"<=": "≤", ">=": "≥"}.get(need.relation, need.relation)
    given = _NUMBER.fullmatch(need.given)
    if given is not None:
        unit = given[2] or ""
        return f"{sign} {given[1]}×" if need.unit == "x" else f"{sign} {given[1]} {unit}".rstrip()
    if need.unit == "/s":
        return f"{sign} {format_value(need.limit, '')} /s"
    return f"{sign} {format_value(need.limit, need.unit)}"


def verdict_text(verdict: Verdict) -> str:
    """Return e.g. ``15.6 ms, 53 % to spare``, or ``4.82 s, 146 times the limit``."""
    if verdict.figure is None or verdict.margin_percent is None:
        return f"not known: {verdict.note}"
    said = _margin(verdict.need, verdict.margin_percent, passed=verdict.status == "pass")
    return f"{value_text(verdict.figure)}, {said}"


def _margin(need: Need, percent: float, *, passed: bool) -> str:
    """Return a margin as a percentage as long as that says something, else as a factor."""
    share = 1.0 - percent / 100 if need.upper else 1.0 + percent / 100  # of the limit
    if need.upper and share >= 2:
        return f"{format_value(share, '')} times the limit"
    if not need.upper and share >= 10:
        return f"{format_value(share, '')} times what is needed"
    if not need.upper and 0 < share <= 0.1:
        return f"{format_value(1 / share, '')} times too little"
    return f"{abs(percent):.3g} % {'to spare' if passed else 'short'}"
