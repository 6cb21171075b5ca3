"""A plan: who does what, when and where, as a letter that any room can read.

Plans speak of tensors, regions and devices by name only. Searchers write them, simulators replay
them, executors obey them; none of the three knows the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "Assignment",
    "Infeasible",
    "KernelSchedule",
    "ModelReference",
    "Plan",
    "SystemReference",
    "Transfer",
]

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSchedule:
    """How one region runs on one device: a named space and a point in it.

    The owner of the space (loop nests, compiler schedules, …) gives the parameters their meaning
    and validates them.
    """

    space: str
    parameters: Mapping[str, Scalar | tuple[Scalar, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReference:
    """A network by name and content hash.

    `prefix` stands before the name of each of its regions, nodes and tensors in a plan that holds
    several networks; it is empty in a plan for one.
    """

    name: str
    digest: str
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemReference:
    """A system by name and content hash."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One region on one device.

    `design` names what a configurable device is configured with; None is the device as it is.
    `after` names the assignments (by region) whose outputs this one needs.
    """

    region: str
    nodes: tuple[str, ...]
    device: str
    design: str | None = None
    schedule: KernelSchedule | None = None
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One tensor from one device to others, once: a fan-out is one transfer with several targets.

    `producer` is the region that makes the tensor, None for a network input that starts on
    `source`. `consumers` are the regions that wait for it. `links` names the route to each target,
    in target order.
    """

    tensor: str
    size_bytes: int
    source: str
    targets: tuple[str, ...]
    producer: str | None
    consumers: tuple[str, ...]
    links: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A whole network (or several) on a system.

    Attributes
    ----------
    assignments : in the order in which each device runs them (per device, order of appearance)
    transfers : in the order in which they are issued
    objective : what the searcher made small, e.g. ``latency``
    searcher, settings, seed : how to make the same plan again
    predicted_latency_s : what the searcher expects, to be judged by replay
    resident_bytes : per device, the bytes of weights and resident tensors placed there
    notes : what a reader should know, one sentence each
    """

    models: tuple[ModelReference, ...]
    system: SystemReference
    assignments: tuple[Assignment, ...]
    transfers: tuple[Transfer, ...]
    objective: str
    searcher: str
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    seed: int = 0
    predicted_latency_s: float | None = None
    resident_bytes: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def device_of(self) -> dict[str, str]:
        """Return the device of each region."""
        return {assignment.region: assignment.device for assignment in self.assignments}


@dataclass(frozen=True, slots=True, kw_only=True)
class Infeasible:
    """Why no plan exists: what is short, how much is needed, how much there is, what would help."""

    what: str
    need: float
    have: float
    unit: str
    remedies: tuple[str, ...]

    def __str__(self) -> str:
        from .units import format_quantity

        need, have = format_quantity(self.need, self.unit), format_quantity(self.have, self.unit)
        return f"{self.what}: need {need}, have {have}; remedies: {'; '.join(self.remedies)}"
