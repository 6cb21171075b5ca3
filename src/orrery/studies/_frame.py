"""What a study is: figures of a published system beside ours, each with its judge and its status.

A study wires one published system out of the other packages and says what comes out. It never
repeats a constant of the paper as a result: a record whose figure is merely published is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from orrery.cost.validation import ValidationSet
from orrery.errors import SpecError, did_you_mean
from orrery.provenance import Basis
from orrery.report import Section

Status = Literal["match", "differs", "not reproducible"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One figure of a paper, and ours.

    Attributes
    ----------
    name : what was measured on what, e.g. ``vlocnet at 0.5 GB/s: makespan``
    unit : internal unit of all values (``s``, ``J``, ``bytes``, ``%``, ``x``; empty for counts)
    published : what the paper says, None where it gives no number
    ours : what this program found, None where it could not
    basis : how ours came to be; ``published`` is refused, for a copy is no result
    source : where the published value stands, or what the figure follows
    judge : who or what says whether ours is right, e.g. ``exact search``, ``brute force``
    judge_value : the judge's value, None when it gives a verdict without a number
    status : ``match`` or ``differs`` when ours was held against the published value or, where the
        paper gives none, the judge's; ``not reproducible`` when no comparison is possible
    note : why it differs or cannot be reproduced; within what it matches
    seconds : what it took to find ours

    Raises
    ------
    SpecError : a number that is not finite, a status that the values do not bear out, a mismatch
        without a reason, a copied constant as ours
    """

    name: str
    unit: str
    published: float | None
    ours: float | None
    basis: Basis
    source: str
    judge: str = ""
    judge_value: float | None = None
    status: Status
    note: str = ""
    seconds: float | None = None

    def __post_init__(self) -> None:
        where = f"study record {self.name!r}"
        for field in ("published", "ours", "judge_value", "seconds"):
            value = getattr(self, field)
            if value is not None and not math.isfinite(value):
                raise SpecError(f"{where}: {field}", found=value, wanted="a finite number, or None",
                                fix="give None and say why in the note")  # fmt: skip
        if self.status not in get_args(Status):
            raise SpecError(f"{where}: status", found=self.status,
                            wanted=f"one of {', '.join(get_args(Status))}",
                            fix=f"correct it{did_you_mean(self.status, get_args(Status))}",
            )  # fmt: skip
        if self.basis is Basis.PUBLISHED:
            raise SpecError(f"{where}: basis", found="published",
                            wanted="measured, simulated, estimated or assumed",
                            fix="compute ours; a copied constant is no result")  # fmt: skip
        held = self.ours is not None and (
            self.published is not None or self.judge_value is not None
        )
        if self.status == "match" and not held and not (self.ours is not None and self.judge):
            raise SpecError(f"{where}: status", found="match with nothing to hold against",
                            wanted="ours, and a published value or a judge",
                            fix="give both, or say 'not reproducible' and why")  # fmt: skip
        if self.status != "match" and not self.note:
            raise SpecError(f"{where}: note", found=f"nothing, and status {self.status!r}",
                            wanted="the reason", fix="say why in one sentence")  # fmt: skip

    @property
    def ratio(self) -> float | None:
        """Ours as a multiple of the published value; None where there is no such number."""
        if self.ours is None or not self.published:
            return None
        return self.ours / self.published

    def to_document(self) -> dict[str, str | float | None]:
        """Return the record as plain data, its fields in order."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**values, "basis": self.basis.value}


def compared(
    name: str,
    unit: str,
    *,
    ours: float,
    basis: Basis,
    source: str,
    published: float | None = None,
    judge: str = "",
    judge_value: float | None = None,
    tolerance: float = 0.01,
    note: str = "",
    seconds: float | None = None,
) -> Record:
    """Return a record whose status is worked out and not claimed.

    Ours is held against the published value or, where there is none, the judge's.

    Parameters
    ----------
    tolerance : largest relative difference that still is a match; the note states it

    Raises
    ------
    SpecError : neither a published value nor a judge's
    """
    against = judge_value if published is None else published
    if against is None:
        raise SpecError(f"study record {name!r}", found="neither a published value nor a judge's",
                        wanted="something to compare with",
                        fix="put a figure of ours alone into a table of the study")  # fmt: skip
    off = abs(ours - against)
    matches = off <= tolerance * abs(against)
    whom = "the judge's" if published is None else "the published"
    share = f"{100 * off / abs(against):.3g} %" if against else f"{off:.3g}"
    said = f"{share} from {whom}, {'within' if matches else 'beyond'} {100 * tolerance:.3g} %"
    return Record(
        name=name, unit=unit, published=published, ours=ours, basis=basis, source=source,
        judge=judge, judge_value=judge_value, status="match" if matches else "differs",
        note=f"{said}; {note}" if note else said, seconds=seconds,
    )  # fmt: skip


def shared_data(*parts: str) -> Path | None:
    """Return a file or folder of the data that lie beside the checkout, None where it is not."""
    here = Path(__file__).resolve().parents
    found = here[4].joinpath("shared", "data", *parts) if len(here) > 4 else None
    return found if found is not None and found.exists() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult:
    """What a study found.

    Attributes
    ----------
    records : figures beside the published ones
    sections : of the report, that show more than single figures
    sets : reference sets of the engine, with all their rows
    """

    records: tuple[Record, ...]
    sections: tuple[Section, ...] = ()
    sets: tuple[ValidationSet, ...] = ()

    def __post_init__(self) -> None:
        names = [record.name for record in self.records]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise SpecError("study: records", found=f"{twice!r} twice", wanted="different names",
                            fix="say in the name what differs")  # fmt: skip


#: scale (1 is the size of the published cases), progress and the files given -> what was found
StudyFunction = Callable[..., StudyResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study by name; nothing of it is loaded before it is conducted.

    Attributes
    ----------
    name : on the command line
    question : one line that a newcomer understands
    source : the paper
    place : ``package.module:function``, a `StudyFunction`
    validates : it replays reference sets of the engine
    files : names of files that a caller may give, passed on as keywords
    usual : scale where none is asked for; below 1 where the published size takes an hour
    """

    name: str
    question: str
    source: str
    place: str
    validates: bool = False
    files: tuple[str, ...] = ()
    usual: float = 1.0
