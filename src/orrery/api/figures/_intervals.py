"""Intervals of latency on devices whose constants were fitted to measurements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from orrery.cost import PlanCost, roofline
from orrery.evidence import Evidence
from orrery.hardware import Device

_NOTE = (
    "interval of one layer taken for all at once: wider than needed where errors cancel; its "
    "confidence is one of layers, not of their sum; an end below a proven bound stands for "
    "layers measured faster than their price, not for a plan that beats the bound"
)


def with_intervals(
    figures: Iterable[Evidence], used: Sequence[Device], price: PlanCost
) -> list[Evidence]:
    """Return figures, latencies with an interval where every layer ran on calibrated devices.

    The widest interval of the devices counts, at the least confidence; links stay as described.
    """
    found = [device.calibration for device in used if device.calibration is not None]
    ends = [(c.low_ratio, c.high_ratio, c.interval_share, c.left_out_error or 0.0) for c in found
            if c.low_ratio is not None and c.high_ratio is not None
            and c.interval_share is not None]  # fmt: skip
    as_is = set(price.priced_by.values()) <= {roofline.name}
    if not ends or len(ends) < len(used) or not as_is:
        return list(figures)
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    share, error = min(end[2] for end in ends), max(end[3] for end in ends)
    return [with_ends(f, low, high, share, error) if f.metric == "latency" else f for f in figures]


def with_ends(
    figure: Evidence,
    low: float | None,
    high: float | None,
    share: float | None,
    error: float | None,
) -> Evidence:
    """Return a figure with an interval from ratios measured / computed of single layers."""
    if figure.value is None or figure.bound or low is None or high is None or share is None:
        return figure
    sure = {"confidence": f"{share:.0%} of layers"}
    if error:
        sure["validation set"] = "measured layers of networks left out"
    note = "; ".join(part for part in (figure.source.note, _NOTE) if part)
    return replace(
        figure, interval=(figure.value * low, figure.value * high),
        source=replace(figure.source, note=note), context={**figure.context, **sure},
        validation_error=error or None,
    )  # fmt: skip
