"""A cost model that chooses the loop nest which the model below it needs.

Models:  the nest of least cycles that the search finds within its budget, the one of least energy
         of these, the same for equal layers and for the parts of a shared one; found nests are
         kept on disk.
Ignores: energy where it would cost cycles.
Judge:   the price of the nest itself (`orrery.cost.nest`); tests compare the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast

from orrery.cost import Cost, CostModel, Refusal, plan_regions
from orrery.cost.nest import nest_problem
from orrery.graph import Graph, Region, Statistics
from orrery.hardware import Architecture, Device, System
from orrery.plan import Infeasible, KernelSchedule, Plan
from orrery.store import Cache

#: evaluations per layer: seconds at most; beyond them the best nest so far stands
BUDGET = 20_000_000

#: key of a layer on an architecture -> its nest
_FOUND: dict[str, KernelSchedule | Infeasible] = {}


class _NeedsNest(Protocol):
    """A cost model that prices a region under a loop nest only."""

    @property
    def name(self) -> str: ...
    @property
    def architecture(self) -> Architecture: ...
    def refuses(self, region: Region, device: Device) -> Refusal | None: ...
    def cost(
        self, region: Region, device: Device, schedule: KernelSchedule | None = None,
        statistics: Statistics | None = None,
    ) -> Cost: ...  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested:
    """The model below with a nest of its choice wherever a plan names none."""

    model: _NeedsNest

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def reads_values(self) -> bool:
        """Whether the model below prices by what constants hold."""
        return bool(getattr(self.model, "reads_values", False))

    def refuses(self, region: Region, device: Device) -> Refusal | None:
        """Return why not: what the model below refuses, or that no nest fits."""
        refusal = self.model.refuses(region, device)
        if refusal is not None:
            return refusal
        found = self.nest(region)
        return Refusal(reason=f"{self.name}: {found}") if isinstance(found, Infeasible) else None

    def cost(
        self, region: Region, device: Device, schedule: KernelSchedule | None = None,
        statistics: Statistics | None = None,
    ) -> Cost:  # fmt: skip
        """Price the region under the plan's nest, or else under the one found here."""
        if schedule is None:
            found = self.nest(region)
            schedule = None if isinstance(found, Infeasible) else found
        return self.model.cost(region, device, schedule, statistics)

    def nest(self, region: Region) -> KernelSchedule | Infeasible:
        """Return the nest of a region that the model does not refuse."""
        from orrery.mapping.nest import nest_key, nest_network

        problems = nest_problem(region)
        if not isinstance(problems, tuple) or len(problems) != 1:
            raise ValueError(f"{self.name}: {region.name}; ask `refuses` first")
        architecture = self.model.architecture
        key = nest_key(problems[0], architecture, "latency", most=BUDGET, settle=True)
        if key not in _FOUND:
            found = nest_network({"": problems[0]}, architecture, "latency", most=BUDGET,
                                 settle=True, cache=Cache("nests"))[""]  # fmt: skip
            _FOUND[key] = (
                found if isinstance(found, Infeasible) else found.mapping.schedule(architecture)
            )
        return _FOUND[key]


def nested(model: CostModel) -> CostModel:
    """Return a model that needs no schedule: the given one, or one that finds nests for it."""
    if not getattr(model, "needs_schedule", False):
        return model
    return Nested(model=cast(_NeedsNest, model))


def with_nests(
    plan: Plan, graphs: Sequence[Graph], system: System, models: Mapping[str, CostModel]
) -> Plan:
    """Write the nests into a plan, so that it is priced the same wherever it is read."""
    if not any(isinstance(models.get(a.design or ""), Nested) for a in plan.assignments):
        return plan
    regions = plan_regions(plan, graphs)
    assignments = []
    for assignment in plan.assignments:
        model = models.get(assignment.design or "")
        if isinstance(model, Nested) and assignment.split is None and assignment.schedule is None:
            region, device = regions[assignment.region].region, system.device(assignment.device)
            nest = None if model.refuses(region, device) else model.nest(region)
            if isinstance(nest, KernelSchedule):
                assignment = replace(assignment, schedule=nest)
        assignments.append(assignment)
    return replace(plan, assignments=tuple(assignments))
