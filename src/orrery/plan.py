"""A plan: who does what, when and where, as a letter that any room can read.

Plans speak of tensors, regions and devices by name only. Searchers write them, simulators replay
them, executors obey them; none of the three knows the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .errors import PlanMismatchError, SpecError, did_you_mean
from .provenance import PROGRAM_VERSION

__all__ = [
    "Assignment",
    "Infeasible",
    "KernelSchedule",
    "ModelReference",
    "Plan",
    "Split",
    "SystemReference",
    "Transfer",
    "check_plan",
    "read_plan",
    "write_plan",
]

PLAN_SCHEMA = 3

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
    several networks; it is empty in a plan for one. `origin` is where the network came from (a
    file or a library name) and `options` how it was taken, so that a reader can get it again.
    """

    name: str
    digest: str
    prefix: str = ""
    origin: str = ""
    options: Mapping[str, Scalar | tuple[Scalar, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemReference:
    """A system by name and content hash; `origin` is the file or catalogue entry it came from."""

    name: str
    digest: str
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How several devices, a set, share one region.

    Attributes
    ----------
    devices : in the order of their numbers as parties; the first is the assignment's device
    weights : speed of each, in proportion to which loops are cut
    exclusive : (loop, factor), first outermost in the numbering; the factors multiply to the
        number of devices; none where everybody computes everything
    shared : (loop, position of the operand) whose parts rotate round a ring
    combine : what becomes of partial sums: ``all_reduce`` or ``reduce_scatter``
    """

    devices: tuple[str, ...]
    weights: tuple[float, ...]
    exclusive: tuple[tuple[str, int], ...] = ()
    shared: tuple[str, int] | None = None
    combine: str = "all_reduce"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One region on one device, or split over several.

    `design` names what a configurable device is configured with; None is the device as it is.
    `after` names the assignments (by region) whose outputs this one needs. All devices of a `split`
    begin and end the region together.
    """

    region: str
    nodes: tuple[str, ...]
    device: str
    design: str | None = None
    schedule: KernelSchedule | None = None
    after: tuple[str, ...] = ()
    split: Split | None = None

    @property
    def devices(self) -> tuple[str, ...]:
        """All devices that work on it."""
        return (self.device,) if self.split is None else self.split.devices


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
    transfers : in the order in which they are issued; none in a plan with a split assignment, whose
        messages follow from what each set holds and needs (`orrery.cost.expand`)
    objective : what the searcher made small, e.g. ``latency``
    searcher, settings, seed : how to make the same plan again
    predicted_latency_s : what the searcher expects, to be judged by replay
    resident_bytes : per device, the bytes of weights and resident tensors placed there
    lower_bound_s, bound : what no plan can be faster than, and of which plans that is proved
    lower_bound_j : what no plan takes less energy than; `bound` says of which, without a bound in
        seconds
    lower_bound_period_s : what no plan lets inputs follow each other in less than, in the same way
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
    lower_bound_s: float | None = None
    bound: str = ""
    notes: tuple[str, ...] = ()
    lower_bound_j: float | None = None
    lower_bound_period_s: float | None = None

    @property
    def is_split(self) -> bool:
        """Whether any region is split, so that messages are derived and not listed."""
        return any(assignment.split is not None for assignment in self.assignments)

    def device_of(self) -> dict[str, str]:
        """Return the device of each region."""
        return {assignment.region: assignment.device for assignment in self.assignments}


@dataclass(frozen=True, slots=True, kw_only=True)
class Infeasible:
    """Why no plan exists: what is short, how much is needed, how much there is, what would help.

    Without `proved` there may be one that was not found.
    """

    what: str
    need: float
    have: float
    unit: str
    remedies: tuple[str, ...]
    proved: bool = True

    @property
    def document(self) -> dict[str, Any]:
        """The same as plain data with a header; what is without end is None."""
        plain = {name: getattr(self, name) for name in ("what", "need", "have", "unit")}
        plain |= {n: None for n in ("need", "have") if not math.isfinite(plain[n])}
        return {
            "orrery": {"kind": "infeasible", "schema": 1, "program": PROGRAM_VERSION},
            "infeasible": {**plain, "remedies": list(self.remedies)},
        }

    def __str__(self) -> str:
        from .units import format_quantity

        need, have = format_quantity(self.need, self.unit), format_quantity(self.have, self.unit)
        return f"{self.what}: need {need}, have {have}; remedies: {'; '.join(self.remedies)}"


class _Named(Protocol):
    """Anything with a name and a content hash: a graph, a system."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...


def check_plan(plan: Plan, graphs: Sequence[_Named], system: _Named) -> None:
    """Refuse a plan that was made for other networks or another system.

    Networks are compared in the order in which the plan lists them.

    Raises
    ------
    SpecError : another number of networks, or one of another name
    PlanMismatchError : the same name and other content
    """
    if len(graphs) != len(plan.models):
        raise SpecError(
            "plan: models", found=f"{len(graphs)} networks",
            wanted=f"{len(plan.models)}: {', '.join(model.name for model in plan.models)}",
            fix="give the networks that the plan was made for, in this order",
        )  # fmt: skip
    kinds = ["model"] * len(graphs) + ["system"]
    everything: list[tuple[_Named, _Named]] = [*zip(plan.models, graphs), (plan.system, system)]
    for kind, (planned, found) in zip(kinds, everything, strict=True):
        if planned.name != found.name:
            near = did_you_mean(found.name, [planned.name])
            raise SpecError(
                f"plan: {kind}", found=found.name, wanted=f"{planned.name!r}{near}",
                fix=f"give the {kind} that the plan was made for, or make the plan again",
            )  # fmt: skip
        if planned.digest != found.digest:
            raise PlanMismatchError(
                kind, name=planned.name, planned=planned.digest, found=found.digest
            )


def write_plan(path: Path, plan: Plan) -> None:
    """Write a plan as a JSON file: whole or not at all."""
    from .store import write_record

    write_record(path, "plan", PLAN_SCHEMA, plan)


def read_plan(path: Path) -> Plan:
    """Read what `write_plan` wrote.

    Raises
    ------
    SpecError : no such file, not a plan, another schema, unknown or missing keys, a time or a size
        that is negative or no number
    """
    from .store import read_record

    # Schema 1 had neither splits nor bounds, 2 none of energy; all are absent by default.
    plan = read_record(path, "plan", Plan, PLAN_SCHEMA,
                       upgrade={1: lambda body: body, 2: lambda body: body})  # fmt: skip
    _refuse_impossible(plan, str(path))
    return plan


def _refuse_impossible(plan: Plan, where: str) -> None:
    """Refuse times and sizes that nothing can take: whoever wrote the file may have erred."""
    amounts: dict[str, float | None] = {
        "predicted_latency_s": plan.predicted_latency_s,
        "lower_bound_s": plan.lower_bound_s,
        "lower_bound_j": plan.lower_bound_j,
        "lower_bound_period_s": plan.lower_bound_period_s,
        **{f"resident_bytes: {name}": size for name, size in plan.resident_bytes.items()},
        **{f"transfers[{n}]: size_bytes": t.size_bytes for n, t in enumerate(plan.transfers)},
    }
    for key, amount in amounts.items():
        if amount is not None and not (math.isfinite(amount) and amount >= 0):
            raise SpecError(f"{where}: {key}", found=amount, wanted="zero or more",
                            fix="correct this entry, or make the plan again")  # fmt: skip
