"""What regions and parts of them take, asked of their cost models one by one.

No price of a plan, no replay and no search is asked: the checker of certificates is handed these.
A part is priced as the network of one node that `shard_region` writes for it, whose boxes have to
be those that the certificate says; that these make up the whole, the checker sees for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orrery.certificate import Certificate, Computation, Part
from orrery.certify import Report, check_certificate
from orrery.cost import (
    CostModel,
    PlannedRegion,
    Refusal,
    Sharding,
    Strategy,
    plan_regions,
    reads_values,
    shard,
    shard_region,
    signature,
    strategy_of,
)
from orrery.graph import Graph, Region
from orrery.hardware import System
from orrery.mapping.sets import PATH_BOUND, PROOF
from orrery.plan import Assignment, Plan

from .._machines import cost_models


def check(
    certificate: Certificate, plan: Plan, graphs: Sequence[Graph], system: System
) -> Report:  # fmt: skip
    """Check a certificate; the checker is told what parts take and believes nothing else."""
    told = Durations(plan, graphs, system, cost_models(system))
    return check_certificate(
        certificate, plan, graphs, system, told.of, told.whole, (PATH_BOUND, PROOF)
    )


class Durations:
    """Seconds by cost models, each different question asked once."""

    def __init__(
        self, plan: Plan, graphs: Sequence[Graph], system: System, models: Mapping[str, CostModel]
    ) -> None:
        self._regions = plan_regions(plan, graphs)
        self._texts = {name: signature(p.region, models) for name, p in self._regions.items()}
        self._plan = {assignment.region: assignment for assignment in plan.assignments}
        self._models, self._by_value = models, reads_values(models)
        self._devices = {device.name: device for device in system.devices}
        self._kinds = {d.name: repr(replace(d, name="", group="")) for d in system.devices}
        self._asked: dict[tuple[object, ...], float | None] = {}
        self._shardings: dict[str, Sharding | None] = {}

    def whole(self, region: str, device: str, design: str | None) -> float | None:
        """Return seconds of a whole region; None where the device does not run it so."""
        key = (self._texts[region], self._kinds[device], design,
               repr(self._plan[region].schedule))  # fmt: skip
        if key not in self._asked:
            planned = self._regions[region].region
            self._asked[key] = self._ask(planned, planned, region, device, design)
        return self._asked[key]

    def of(self, computation: Computation) -> float | None:
        """Return seconds of a computation; None for one that is no part of the plan.

        What nobody can price takes no time.
        """
        assignment = self._plan.get(computation.region)
        if assignment is None or computation.device not in assignment.devices:
            return None
        design, party = assignment.design, assignment.devices.index(computation.device)
        sharding = self._sharding(assignment)
        if sharding is None:
            if computation.round != 0:
                return None
            ways = (self.whole(computation.region, computation.device, d) for d in (design, None))
            return next((s for s in ways if s is not None), 0.0)
        if not 0 <= computation.round < sharding.rounds:
            return None
        planned = self._regions[computation.region]
        if _said(computation) != _part(sharding, planned, party, computation.round):
            return None
        return self._part_seconds(sharding, assignment, party, computation.round)

    def _sharding(self, assignment: Assignment) -> Sharding | None:
        name, split = assignment.region, assignment.split
        if name not in self._shardings:
            strategy = strategy_of(assignment)
            self._shardings[name] = None
            if split is not None and (len(split.devices) > 1 or strategy != Strategy()):
                found = shard(self._regions[name].region, strategy, split.weights)
                self._shardings[name] = None if isinstance(found, Refusal) else found
        return self._shardings[name]

    def _part_seconds(
        self, sharding: Sharding, assignment: Assignment, party: int, turn: int
    ) -> float:
        """Price a part under the design that runs the whole region on all of the set's devices."""
        name, part = assignment.region, sharding.shards[turn][party]
        for design in dict.fromkeys((assignment.design, None)):
            if all(self.whole(name, device, design) is not None for device in assignment.devices):
                device = assignment.devices[party]
                like = sharding.holding(turn, party) if self._by_value else part.signature
                key = (self._texts[name], like, self._kinds[device], design)
                if key not in self._asked:
                    region = shard_region(sharding, party, turn)
                    whole = self._regions[name].region
                    self._asked[key] = self._ask(region, whole, name, device, design)
                return self._asked[key] or 0.0
        return 0.0

    def _ask(
        self, region: Region, whole: Region, name: str, device: str, design: str | None
    ) -> float | None:
        machine, own = self._devices[device], self._models[""].refuses(whole, self._devices[device])
        if own is not None and own.uncountable:
            return 0.0
        model = self._models.get(design or "")
        if model is None or model.refuses(region, machine) is not None:
            return None
        return model.cost(region, machine, self._plan[name].schedule).latency_s


def _said(c: Computation) -> tuple[object, ...]:
    return set(c.reads), c.writes, set(c.partial)


def _part(sharding: Sharding, planned: PlannedRegion, party: int, turn: int) -> tuple[object, ...]:
    """Return what a party reads and writes in a round, and which part of which sums."""
    part, nest, prefix = sharding.shards[turn][party], sharding.nest, planned.prefix
    reads = {(prefix + o.tensor, box.spans) for o, box in zip(nest.operands, part.operands)
             if box is not None and box.volume}  # fmt: skip
    writes: tuple[Part, ...] = tuple(
        (prefix + r.tensor, box.spans) for r, box in zip(nest.results, part.results) if box.volume
    )
    sums = {
        (loop.name, *part.spans[loop.name]) for loop in nest.loops
        if loop.sums and part.spans[loop.name] != (0, loop.extent)
    }  # fmt: skip
    return reads, writes, sums
