"""A claim about a subject, with its unit, interval, source and context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .provenance import Source

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
    context : batch, phase, precision, process node, off-chip counted or not, …
    """

    subject: str
    metric: str
    value: float | None
    unit: str
    source: Source
    interval: tuple[float, float] | None = None
    validation_error: float | None = None
    context: Mapping[str, str] = field(default_factory=dict)
