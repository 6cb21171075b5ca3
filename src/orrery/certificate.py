"""A certificate: everything that happens when a plan is obeyed, for somebody else to check.

Whoever replays a plan writes one; the checker (`orrery.certify`) believes none of it. A box is one
half-open span of indices per axis of a tensor; a scalar's box has no axis. Tensors bear the prefix
of their network, as in the plan.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .plan import ModelReference, Plan, SystemReference
from .store import content_hash, encode, read_record, write_record

__all__ = [
    "SAME_PLACES",
    "WHOLE_LAYERS",
    "Box",
    "Certificate",
    "Computation",
    "Delivery",
    "Part",
    "Resident",
    "gap_of",
    "plan_digest",
    "read_certificate",
    "write_certificate",
]

CERTIFICATE_SCHEMA = 1

#: of which plans the bound holds that follows from a certificate alone: no device is done before
#: its own computations, none before a chain of regions
SAME_PLACES = "plans that compute the same parts on the same devices"

#: of which plans the exact search over whole layers proves its bound
WHOLE_LAYERS = ("no plan of whole layers, tensors sent straight from where they are made, is "
                "faster, however links are shared")  # fmt: skip

Box = tuple[tuple[int, int], ...]
Part = tuple[str, Box]  #: a tensor and the part of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Computation:
    """One region, or one round of a part of it, on one device.

    Attributes
    ----------
    design : what the device is configured with while it computes; None for its own units
    reads, writes : what of which tensors
    partial : (loop, start, stop) of the summed loops of which it adds up a part only; empty where
        what it writes is complete. What a device writes of one region several times it adds up.
    """

    region: str
    device: str
    design: str | None
    round: int
    start_ps: int
    end_ps: int
    reads: tuple[Part, ...]
    writes: tuple[Part, ...]
    partial: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A part of a tensor on its way over links; `adds` where the target adds it to its own."""

    tensor: str
    box: Box
    source: str
    target: str
    links: tuple[str, ...]
    size_bytes: int
    start_ps: int
    end_ps: int
    adds: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """A part of a tensor that lies on a device before the clock starts.

    Constants and states; where there is no host, also network inputs on the devices that read them
    first.
    """

    device: str
    tensor: str
    box: Box
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a plan does, when, and how far that is from what no plan can beat.

    Attributes
    ----------
    models, system : as in the plan, by name and content hash
    plan : content hash of the plan (`plan_digest`)
    objective : what the plan makes small
    makespan_ps : the last end of anything
    lower_bound_ps, bound : what cannot be beaten, and by which plans
    gap : by which share of the bound the makespan is longer; None above a bound of zero
    period_ps : of a plan for throughput, after how long the next input can follow
    lower_bound_period_ps, period_bound : what no period is less than, and of which plans' periods
    """

    models: tuple[ModelReference, ...]
    system: SystemReference
    plan: str
    objective: str
    makespan_ps: int
    lower_bound_ps: int
    bound: str
    gap: float | None
    computations: tuple[Computation, ...]
    deliveries: tuple[Delivery, ...]
    residents: tuple[Resident, ...]
    period_ps: int | None = None
    lower_bound_period_ps: int | None = None
    period_bound: str = ""


def gap_of(makespan_ps: int, lower_bound_ps: int) -> float | None:
    """Return by which share of a bound a makespan is longer; None above a bound of zero."""
    return (makespan_ps - lower_bound_ps) / lower_bound_ps if lower_bound_ps else None


def plan_digest(plan: Plan) -> str:
    """Return the content hash of a plan; the same before it is written and after it is read.

    Where its networks, their weights and its system lie does not count: they are known by their
    own hashes (a network's covers its weights), and a plan is the same after its folder has moved.
    """
    here = replace(
        plan,
        models=tuple(_placeless(model) for model in plan.models),
        system=replace(plan.system, origin=""),
    )
    body = _plain(encode(here))
    for late in ("lower_bound_j", "lower_bound_period_s"):
        if body[late] is None:  # so that plans of older schemas keep their hashes
            del body[late]
    return content_hash(json.dumps(body, ensure_ascii=False))


def _placeless(model: ModelReference) -> ModelReference:
    options = {key: value for key, value in model.options.items() if key != "weights"}
    return replace(model, origin="", options=options)


def _plain(value: Any) -> Any:
    """Return plain data in which a whole number looks the same however it was given."""
    if isinstance(value, dict):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def write_certificate(path: Path, certificate: Certificate) -> None:
    """Write a certificate as a JSON file: whole or not at all, one line (it is long)."""
    write_record(path, "certificate", CERTIFICATE_SCHEMA, certificate, indent=None)


def read_certificate(path: Path) -> Certificate:
    """Read what `write_certificate` wrote.

    Raises
    ------
    SpecError : no such file, not a certificate, another schema, unknown or missing keys
    """
    return read_record(path, "certificate", Certificate, CERTIFICATE_SCHEMA)
