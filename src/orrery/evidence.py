"""A claim about a subject, with its unit, interval, source and context."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .errors import SpecError
from .provenance import Basis, Source

__all__ = ["Evidence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One value of one metric of one subject; ``value=None`` says *not known* and why.

    Attributes
    ----------
    subject : what the claim is about, e.g. ``resnet18 on aws-f1``
    metric : e.g. ``latency``, ``energy``, ``throughput``, ``peak memory``
    value : in `unit`, or None when not known
    unit : e.g. ``s``, ``J``, ``inference/s``, ``bytes``
    source : how the value came to be; its note says why when the value is None
    interval : lower and upper bound in `unit`, at the confidence given in `context`
    validation_error : relative error of the nearest validation set, None outside every set
    validation_range : references of that set as multiples of ours, the middle 80 % of them;
        skewed, so no interval around the value
    bound : ``lower`` or ``upper`` when the true value is at least, or at most, this one
    rests_on : the weakest basis among the constants that went in, None when that is not tracked
    context : batch, phase, precision, process node, off-chip counted or not, …

    Raises
    ------
    SpecError : a value or bound that is NaN or infinite, an interval that is upside down
    """

    subject: str
    metric: str
    value: float | None
    unit: str
    source: Source
    interval: tuple[float, float] | None = None
    validation_error: float | None = None
    context: Mapping[str, str] = field(default_factory=dict)
    bound: Literal["", "lower", "upper"] = ""
    rests_on: Basis | None = None
    validation_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        where = f"evidence: {self.metric} of {self.subject}"
        for number in (self.value, self.validation_error, *(self.interval or ()),
                       *(self.validation_range or ())):  # fmt: skip
            if number is not None and not math.isfinite(number):
                raise SpecError(
                    where, found=number, wanted="a finite number, or None when not known",
                    fix="give None and say why in source.note",
                )  # fmt: skip
        if self.interval is not None and self.interval[0] > self.interval[1]:
            raise SpecError(
                f"{where}: interval", found=self.interval,
                wanted="the lower bound first", fix="swap the two bounds",
            )  # fmt: skip
