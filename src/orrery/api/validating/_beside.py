"""The error of the nearest reference set beside a figure, or that there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from orrery.cost.validation import OUTSIDE, Nearest, catalogued, dataflow_of, nearest_set
from orrery.evidence import Evidence
from orrery.hardware import Architecture

#: under tables of figures that `beside` does not reach
UNCHECKED = "No figure here was held against a reference set: errors are not known."

#: figures that a reference set could speak for
CHECKED = ("latency", "throughput", "utilisation", "energy", "power", "off-chip traffic")


def nearest_of(
    metric: str, architecture: Architecture, operator: str, operations: int | None
) -> Nearest:
    """Return what is known of the error of a layer's figure on an array."""
    return nearest_set(
        metric, dataflow=dataflow_of(architecture), operator=operator,
        bits=architecture.bits["weight"], operations=operations,
        architecture=architecture.name, same=lambda name: catalogued(architecture, name),
    )  # fmt: skip


def beside(figure: Evidence, known: Mapping[str, Nearest]) -> Evidence:
    """Return a figure with the error of its nearest set.

    Parameters
    ----------
    known : metric -> what is known of its error; what is not named is outside every set
    """
    if figure.metric not in CHECKED or figure.value is None:
        return figure
    near = known.get(figure.metric)
    if figure.validation_error is not None and (near is None or near.error is None):
        return figure  # the machine was measured itself
    named = OUTSIDE if near is None else near.name
    if near is not None and near.elsewhere:
        named += f"; {near.elsewhere}"
    context = {**figure.context, "validation set": named}
    context.pop("validation", None)
    if near is not None and near.said:
        context["validation"] = near.said
    span = None
    if near is not None and near.said:
        span = (near.multiples[0], near.multiples[-1])
    error = None if near is None else near.error
    return replace(figure, validation_error=error, validation_range=span, context=context)
