"""Reference sets replayed: our errors now, beside those that were recorded."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from orrery.cost.validation import ValidationSet, measured_set, recorded_sets, sets_text
from orrery.errors import SpecError, UnknownNameError
from orrery.progress import SILENT, Progress
from orrery.report import Column, Page, Section, Table, Text, format_value, write_result
from orrery.store import encode, write_record, write_text

from ._conduct import CATALOGUE, conduct

Verdict = Literal["as recorded", "better", "worse", "new", "not compared"]

#: an error may grow by so much (a tenth of a percentage point) before it is worse
SLACK = 1e-3
#: sets of at most so many rows are shown row by row
SHOWN_ROWS = 40
#: why a set is skipped that its study, at its full size, does not make any more
GONE = "its study makes it no more"
_FIGURES = ("median", "p90", "worst")
_UNITS = {"s", "J", "W", "bytes"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A set made anew, and the recorded one over the same rows (None: nothing to compare).

    Attributes
    ----------
    recorded : rows of the recorded set
    """

    now: ValidationSet
    before: ValidationSet | None
    verdict: Verdict
    recorded: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationRun:
    """What a replay found.

    Attributes
    ----------
    skipped : set -> why it was not replayed
    """

    scale: float
    seconds: float
    replays: tuple[Replay, ...]
    skipped: Mapping[str, str]

    @property
    def missed(self) -> tuple[str, ...]:
        """Sets that cannot be replayed here: no data, no rows at the scale, or rows are gone."""
        skipped = tuple(name for name, why in self.skipped.items() if why != GONE)
        return (*skipped, *(one.now.name for one in self.short))

    @property
    def short(self) -> tuple[Replay, ...]:
        """Sets of other rows than recorded although none were asked to be left out."""
        if self.scale < 1:
            return ()
        return tuple(one for one in self.replays
                     if one.recorded > one.now.count or one.verdict == "not compared")  # fmt: skip

    @property
    def gone(self) -> tuple[str, ...]:
        """Sets that are recorded, and that their studies make no more."""
        return tuple(name for name, why in self.skipped.items() if why == GONE)

    @property
    def worse(self) -> tuple[str, ...]:
        """Sets on which we are further off than recorded, or off on the other side."""
        return tuple(one.now.name for one in self.replays if one.verdict == "worse")

    @property
    def documents(self) -> list[dict[str, Any]]:
        """Every set as plain data, with all rows, what was recorded, and the verdict."""
        said: list[dict[str, Any]] = []
        for one in self.replays:
            before = one.before
            said.append({
                **encode(one.now), "status": one.verdict,
                "recorded": None if before is None else
                {figure: getattr(before, figure) for figure in ("count", *_FIGURES, "bias")},
            })  # fmt: skip
        return said + [{"name": name, "status": "skipped", "why": why}
                       for name, why in self.skipped.items()]  # fmt: skip

    @property
    def page(self) -> Page:
        """The report: all sets in one table, small ones row by row, what explains the rest."""
        sections: list[Section] = []
        if self.worse:
            sections.append(Text(title="Worse than recorded", tone="warning",
                                 paragraphs=tuple(_worse(one) for one in self.replays
                                                  if one.verdict == "worse")))  # fmt: skip
        if self.replays:
            sections.append(_table(self.replays))
        if self.skipped:
            sections.append(Text(
                title="Skipped", tone="warning", paragraphs=(
                    *(f"{name}: {why}" for name, why in self.skipped.items()),
                    "--fail-if-worse fails for these" + (
                        "." if self.gone else "; with --allow-missing it does not."))))  # fmt: skip
        if self.short:
            sections.append(Text(title="Rows are missing", tone="warning", paragraphs=(
                *(f"{one.now.name}: {one.now.count:,} rows, recorded were {one.recorded:,}: data "
                  "were cut, or layers map no more" for one in self.short),
                "--fail-if-worse fails for these; with --allow-missing it does not.")))  # fmt: skip
        blind = [one.now for one in self.replays
                 if one.verdict == "not compared" and one not in self.short]  # fmt: skip
        if blind:
            sections.append(Text(title="Not compared", tone="warning", paragraphs=tuple(
                f"{one.name}: recorded without its rows, so that {one.count:,} of them cannot be "
                "held against it and it cannot fail; leave out --scale"
                for one in blind)))  # fmt: skip
        if self.replays:
            sections.append(Text(title="What explains the errors that remain", paragraphs=tuple(
                f"{one.now.name}: {one.now.explained}." for one in self.replays)))  # fmt: skip
            sections.append(_covers(self.replays))
        sections += [_rows(one.now) for one in self.replays if one.now.count <= SHOWN_ROWS]
        return Page(
            title="Our error on every reference set", sections=tuple(sections),
            subtitle="Ours over the reference, less one; nothing is tuned to a set unless it says "
            "so",
            provenance={"scale": f"{self.scale:g} (1 is the size of the published cases)",
                        "took": format_value(self.seconds, "s")},
        )  # fmt: skip

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write sets and report: all files, or none."""
        body = {"scale": self.scale, "seconds": self.seconds, "sets": self.documents}
        return write_result(folder, self.page, {
            "sets": ("validation.json", lambda path: write_record(path, "validation", 1, body)),
        })  # fmt: skip

    def record(self, file: Path) -> None:
        """Write the sets as the package carries them; those not replayed stay as recorded.

        One that its study makes no more is dropped.

        Raises
        ------
        SpecError : a replay at another scale than 1
        """
        if self.scale != 1:
            raise SpecError("--record", found=f"scale {self.scale:g}", wanted="scale 1",
                            fix="leave out --scale: fewer rows would pass for all")  # fmt: skip
        sets = {one.name: one for one in recorded_sets() if self.skipped.get(one.name) != GONE}
        sets |= {one.now.name: one.now for one in self.replays}
        write_text(file, sets_text(list(sets.values())))


def set_names() -> tuple[str, ...]:
    """Return the names of all recorded sets."""
    return tuple(one.name for one in recorded_sets())


def validate(
    names: Sequence[str] = (), *, scale: float = 1.0, progress: Progress = SILENT
) -> ValidationRun:
    """Replay the studies that have reference sets.

    Parameters
    ----------
    names : sets wanted; none: all
    scale : 1 is the size of the published cases; less takes fewer rows

    Raises
    ------
    UnknownNameError : no such set; offers the nearest
    SpecError : a scale that is not a number above zero
    """
    recorded = {one.name: one for one in recorded_sets()}
    for name in names:
        if name not in recorded:
            raise UnknownNameError("validation set", name, recorded)
    if not (math.isfinite(scale) and scale > 0):
        raise SpecError("--scale", found=scale, wanted="a finite number above zero",
                        fix="1 is the size of the published cases")  # fmt: skip
    asked = {recorded[name].study for name in names}
    studies = [one for one in CATALOGUE if one.validates and (not names or one.name in asked)]
    start = time.perf_counter()
    replays: list[Replay] = []
    missing: dict[str, str] = {}
    for study in studies:
        result = conduct(study.name, scale=scale, progress=progress).result
        made = {one.name: one for one in result.sets}
        replays += [compare(one, recorded.get(one.name)) for one in made.values()
                    if not names or one.name in names]  # fmt: skip
        notes = [record.note for record in result.records if record.status == "not reproducible"]
        why = GONE if scale >= 1 else f"no rows at scale {scale:g}"
        if notes and not made:
            why = notes[0]
        missing |= {name: why for name, one in recorded.items()
                    if one.study == study.name and name not in made
                    and (not names or name in names)}  # fmt: skip
    return ValidationRun(scale=scale, seconds=time.perf_counter() - start,
                         replays=tuple(replays), skipped=missing)  # fmt: skip


def compare(now: ValidationSet, recorded: ValidationSet | None) -> Replay:
    """Hold a set against the recorded one, over the rows that both have.

    Worse is an error that has grown, and references that lie further from ours, or on its other
    side: what stands beside figures would mislead.
    """
    if recorded is None:
        return Replay(now=now, before=None, verdict="new")
    before: ValidationSet | None = recorded
    mine = now
    if now.count != recorded.count:
        mine, before = (_over(one, now, recorded) for one in (now, recorded))  # type: ignore[assignment]  # both or none
    if before is None:
        return Replay(now=now, before=None, verdict="not compared", recorded=recorded.count)
    grown = [getattr(mine, name) - getattr(before, name) for name in _FIGURES]
    sides = [(mine.bias, before.bias)]
    if len(mine.multiples) == len(before.multiples):
        sides += [(math.log(a), math.log(b))
                  for a, b in zip(mine.multiples, before.multiples, strict=True)]  # fmt: skip
    grown += [abs(a) - abs(b) for a, b in sides]
    crossed = any(a * b < 0 and min(abs(a), abs(b)) > SLACK for a, b in sides)
    verdict: Verdict = "as recorded"
    if crossed or max(grown) > SLACK:
        verdict = "worse"
    elif min(grown) < -SLACK:
        verdict = "better"
    return Replay(now=now, before=before, verdict=verdict, recorded=recorded.count)


def _over(one: ValidationSet, now: ValidationSet, recorded: ValidationSet) -> ValidationSet | None:
    """Return a set over the rows that both have; None where the recorded one kept none."""
    shared = {row.name for row in now.rows} & {row.name for row in recorded.rows}
    rows = [row for row in one.rows if row.name in shared]
    if not rows:
        return None
    again = measured_set(
        one.name, rows, study=one.study, quantity=one.quantity, unit=one.unit, against=one.against,
        dataflow=one.dataflow, operators=one.operators, covers=one.covers, source=one.source,
        explained=one.explained,
    )  # fmt: skip
    return replace(
        again,
        architecture=one.architecture,
        bits=one.bits,
        adapted=one.adapted,
        reserve=one.reserve,
        least_operations=one.least_operations,
        most_operations=one.most_operations,
    )


def _worse(one: Replay) -> str:
    before = one.before
    if before is None:
        return one.now.name
    said = ", ".join(f"{name} {100 * getattr(before, name):.3g} % recorded, now "
                     f"{100 * getattr(one.now, name):.3g} %"
                     for name in (*_FIGURES, "bias"))  # fmt: skip
    ends = [" ".join(f"{value:.3g}x" for value in s.multiples) for s in (before, one.now)]
    return f"{one.now.name}: {said}, references {ends[0]} of ours recorded, now {ends[1]}"


def _table(replays: Sequence[Replay]) -> Table:
    def percent(name: str, help: str = "") -> Column:
        return Column.number(name, "%", help=help)

    def times(name: str, help: str = "") -> Column:
        return Column.number(name, "x", help=help)

    rows = tuple(
        (one.now.name, one.now.quantity, one.now.against, one.now.count, 100 * one.now.median,
         100 * one.now.p90, 100 * one.now.worst, 100 * one.now.bias,
         *(one.now.multiples[at] for at in (1, 0, 2)),
         "nothing" if one.now.adapted else "figures",
         None if one.before is None else 100 * one.before.median, one.verdict)
        for one in replays
    )  # fmt: skip
    return Table(
        title="Reference sets", rows=rows,
        columns=(Column(name="set"), Column(name="of"), Column(name="against"),
                 Column.number("rows"), percent("median"),
                 percent("P90", "nine rows of ten are at most so far off"), percent("worst"),
                 percent("bias", "median of the signed error: below zero, ours is too little"),
                 times("reference", "as multiple of ours, median over the rows"),
                 times("from", "tenth percentile; of fewer than ten rows the least"),
                 times("to", "ninetieth; of fewer than ten rows the largest"),
                 Column(name="speaks for"), percent("recorded", "median over the same rows"),
                 Column(name="verdict")),
        caption="Errors are relative. A set speaks for figures of its quantity, dataflow, operator "
        "and width; sets whose array was changed, whose constants were fitted or that are of no "
        "layers speak for nothing.",
    )  # fmt: skip


def _covers(replays: Sequence[Replay]) -> Table:
    return Table(
        title="What the sets cover",
        columns=tuple(Column(name=name) for name in (
            "set", "dataflow", "operators", "bits", "covers", "adapted", "reserve", "source")),
        rows=tuple((s.name, s.dataflow, ", ".join(s.operators),
                    ", ".join(map(str, s.bits)) or "any", s.covers, s.adapted or "nothing",
                    s.reserve or "none", s.source) for s in (one.now for one in replays)),
    )  # fmt: skip


def _rows(one: ValidationSet) -> Table:
    unit = one.unit if one.unit in _UNITS else ""
    kind = f" ({one.unit})" if one.unit and not unit else ""
    noted = any(row.note for row in one.rows)
    return Table(
        title=one.name,
        columns=(Column(name="of"), Column.number(f"reference{kind}", unit),
                 Column.number(f"ours{kind}", unit), Column.number("error", "%"),
                 *((Column(name="note"),) if noted else ())),
        rows=tuple((row.name, row.reference, row.ours, 100 * row.error,
                    *((row.note or None,) if noted else ())) for row in one.rows),
    )  # fmt: skip
