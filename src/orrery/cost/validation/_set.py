"""A reference set: figures that others measured or computed, and how far ours are from them.

Models:  the relative error |ours / reference - 1| per row; of a set its median, its 90th
         percentile, the worst, and the median of the signed error (which way we are off); and the
         reference as multiples of ours, which says what to expect of a figure.
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

#: sets of more rows are recorded without them
MOST_ROWS = 40
#: sets of fewer rows have no percentiles worth the name
FEW_ROWS = 10


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
    adapted : what was fitted or changed for the set, or why it speaks for no figure; empty: the
        engine prices the array as the catalogue has it
    reserve : what a reader must know wherever the set speaks: how the machine compared is not quite
        the catalogue's, or the figure not quite the whole one
    explained : what the errors that remain come from
    source : where the references stand
    count, median, p90, worst, bias : rows and their relative errors; `bias` has a sign
    multiples : the reference as multiples of ours: tenth percentile, median, ninetieth; of fewer
        than ten rows the least and the largest in place of the percentiles
    least_operations, most_operations : of a row, or where rows are whole networks, of their layers
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
    reserve: str = ""
    explained: str
    source: str
    count: int
    median: float
    p90: float
    worst: float
    bias: float
    multiples: tuple[float, ...] = ()
    least_operations: int
    most_operations: int
    rows: tuple[ValidationRow, ...] = ()

    @property
    def unconfirmed(self) -> bool:
        """Whether references come from memory or a doubtful transcription, as the source says."""
        return "unconfirmed" in self.source.casefold()


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
    reserve: str = "",
    layers: tuple[int, int] | None = None,
) -> ValidationSet:
    """Return a set with the errors of its rows.

    Parameters
    ----------
    layers : least and most multiplications of a layer, where rows are whole networks

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
    sizes = layers or [row.operations for row in rows]
    ratios = 1 / (1 + errors)
    low, high = (10, 90) if len(rows) >= FEW_ROWS else (0, 100)
    return ValidationSet(
        name=name, study=study, quantity=quantity, unit=unit, against=against,
        architecture=architecture, dataflow=dataflow, operators=tuple(operators),
        bits=tuple(bits), covers=covers, adapted=adapted, reserve=reserve,
        explained=explained, source=source,
        count=len(rows), median=float(np.median(off)), p90=float(np.percentile(off, 90)),
        worst=float(off.max()), bias=float(np.median(errors)), rows=tuple(rows),
        multiples=tuple(float(np.percentile(ratios, at)) for at in (low, 50, high)),
        least_operations=min(sizes), most_operations=max(sizes),
    )  # fmt: skip
