"""A reference set: figures that others measured or computed, and how far ours are from them.

Models:  the relative error |ours / reference - 1| per row; of a set its median, its 90th
         percentile, the worst, and the median of the signed error (which way we are off).
Ignores: the uncertainty of the references themselves.
Judge:   quantiles by their definition on small sets (tests); every set is replayed from the study
         that it names (`orrery validate`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orrery.errors import SpecError

__all__ = ["ValidationRow", "ValidationSet", "measured_set"]

#: sets of more rows are recorded without them
MOST_ROWS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationRow:
    """One figure of a set.

    Attributes
    ----------
    reference, ours : in the unit of the set
    operations : multiplications that the figure is of
    note : why they differ, where that is known of this row alone
    """

    name: str
    reference: float
    ours: float
    operations: int
    note: str = ""

    @property
    def error(self) -> float:
        """Ours over the reference, less one."""
        return self.ours / self.reference - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationSet:
    """What our figures of one kind were held against, and how far they were off.

    Attributes
    ----------
    study : whose replay makes the set
    quantity : ``latency``, ``energy``, ``off-chip traffic``, ``on-chip traffic`` or ``power``
    unit : of reference and ours
    against : who says so: silicon, RTL, a simulator, a published model
    architecture : the array as the catalogue has it; empty: one made for the set
    dataflow : as `dataflow_of` names it
    operators : whose layers were measured
    bits : widths of weights; empty: the references do not depend on it
    covers : shapes, batches and mappings, in words
    adapted : what was fitted or changed for the set; empty: the engine prices the array as the
        catalogue has it
    explained : what the errors that remain come from
    source : where the references stand
    count, median, p90, worst, bias : rows and their relative errors; `bias` has a sign
    least_operations, most_operations : of a row
    rows : all of them when replayed; as recorded, those of sets of at most 40
    """

    name: str
    study: str
    quantity: str
    unit: str
    against: str
    architecture: str = ""
    dataflow: str
    operators: tuple[str, ...]
    bits: tuple[int, ...] = ()
    covers: str
    adapted: str = ""
    explained: str
    source: str
    count: int
    median: float
    p90: float
    worst: float
    bias: float
    least_operations: int
    most_operations: int
    rows: tuple[ValidationRow, ...] = ()


def measured_set(
    name: str,
    rows: Sequence[ValidationRow],
    *,
    study: str,
    quantity: str,
    unit: str,
    against: str,
    dataflow: str,
    operators: Sequence[str],
    covers: str,
    explained: str,
    source: str,
    architecture: str = "",
    bits: Sequence[int] = (),
    adapted: str = "",
) -> ValidationSet:
    """Return a set with the errors of its rows.

    Raises
    ------
    SpecError : no rows, two of one name, a reference or figure that is no number above zero
    """
    where = f"validation set {name!r}"
    if not rows or len({row.name for row in rows}) < len(rows):
        raise SpecError(f"{where}: rows", found="none" if not rows else "a name twice",
                        wanted="rows of different names", fix="correct the study")  # fmt: skip
    for row in rows:
        for value in (row.reference, row.ours):
            if not (math.isfinite(value) and value > 0):
                raise SpecError(f"{where}: {row.name}", found=value,
                                wanted="a finite number above zero",
                                fix="leave the row out and say why")  # fmt: skip
    errors = np.array([row.error for row in rows])
    off = np.abs(errors)
    operations = [row.operations for row in rows]
    return ValidationSet(
        name=name, study=study, quantity=quantity, unit=unit, against=against,
        architecture=architecture, dataflow=dataflow, operators=tuple(operators),
        bits=tuple(bits), covers=covers, adapted=adapted, explained=explained, source=source,
        count=len(rows), median=float(np.median(off)), p90=float(np.percentile(off, 90)),
        worst=float(off.max()), bias=float(np.median(errors)), rows=tuple(rows),
        least_operations=min(operations), most_operations=max(operations),
    )  # fmt: skip
