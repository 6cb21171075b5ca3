"""What the cost models say of the shards of a step, each question asked once.

Models:  a region on one device is priced as it is; a shard as a network of its own node. A design
         that refuses the whole region on any device of the set leaves it to the devices' own units.
Ignores: that an in-place cache grows in place on a shard (it is made anew there).
Judge:   equality with `sharded_cost` and with the unsplit plan's price (tests).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orrery.errors import SpecError
from orrery.graph import Region
from orrery.hardware import Device, System
from orrery.store import content_hash, encode

from .._cost import Cost, CostModel
from .._expand import Step
from .._guards import check_cost
from .._work import Work, count_problem, reads_values, signature, unpriceable, work_of
from ..sharding import Sharding, shard_region


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a step's computing costs, or why nobody can say.

    Attributes
    ----------
    rounds : per round, per party; none where there is no price
    model : who answered
    work : of the whole region; None where that cannot be counted
    """

    rounds: tuple[tuple[Cost, ...], ...]
    model: str
    reason: str
    work: Work | None


class ShardPrices:
    """Prices of steps; equal work on equal devices under one design is priced once.

    Parameters
    ----------
    models : cost model by design text; ``""`` for a device as it is
    """

    def __init__(self, system: System, models: Mapping[str, CostModel]) -> None:
        self._models, self._by_value = models, reads_values(models)
        self._machines = {device.name: device for device in system.devices}
        self._kinds = {device.name: kind_of(device) for device in system.devices}
        self._costs: dict[tuple[str, ...], Cost | str] = {}
        self._chosen: dict[tuple[object, ...], tuple[str | None, str]] = {}
        self._works: dict[str, tuple[Work | None, str]] = {}

    def answer(self, step: Step) -> Answer:
        """Price every shard of a step.

        Raises
        ------
        SpecError : a design for which there is no cost model
        ImplausibleCostError : a cost model answered what no machine can do
        """
        assignment, region = step.assignment, step.region.region
        text, work, problem = self._known(step)
        if problem:
            return Answer(rounds=(), model="", reason=problem, work=None)
        machines = [self._machines[name] for name in assignment.devices]
        kinds = tuple(self._kinds[name] for name in assignment.devices)
        key = (text, assignment.design or "", tuple(dict.fromkeys(kinds)))
        if key not in self._chosen:
            self._chosen[key] = self._choose(step, machines)
        design, reason = self._chosen[key]
        if design is None:
            return Answer(rounds=(), model="", reason=reason, work=work)
        sharding = step.sharding
        if sharding is None:
            cost = self._cost((text, "", kinds[0], design), region, step, machines[0])
            if isinstance(cost, str):
                return Answer(rounds=(), model="", reason=cost, work=work)
            return Answer(rounds=((cost,),), model=self._models[design].name, reason="", work=work)
        rounds = []
        for turn, row in enumerate(sharding.shards):
            costs = []
            for party, part in enumerate(row):
                name = sharding.holding(turn, party) if self._by_value else part.signature
                what = (text, name, kinds[party], design)
                cost = self._cost(what, (sharding, party, turn), step, machines[party])
                if isinstance(cost, str):
                    why = f"part {party + 1} of {len(row)}: {cost}"
                    return Answer(rounds=(), model="", reason=why, work=work)
                costs.append(cost)
            rounds.append(tuple(costs))
        return Answer(rounds=tuple(rounds), model=self._models[design].name, reason="", work=work)

    def _known(self, step: Step) -> tuple[str, Work | None, str]:
        """Return a region's signature, its work, and why it cannot be priced (empty: it can)."""
        region = step.region.region
        text = signature(region, self._models)
        if text not in self._works:
            problem = unpriceable(region) or count_problem(region)
            self._works[text] = (work_of(region) if problem is None else None, problem or "")
        return text, *self._works[text]

    def _choose(self, step: Step, machines: list[Device]) -> tuple[str | None, str]:
        """Return the design that computes a region (``""``: own units), or None and why."""
        reasons = []
        for design in dict.fromkeys((step.assignment.design or "", "")):
            if design not in self._models:
                raise SpecError(
                    f"plan: region {step.assignment.region!r}: design", found=design,
                    wanted=f"one of {', '.join(sorted(filter(None, self._models)))}",
                    fix="hand in a cost model for this design",
                )  # fmt: skip
            model = self._models[design]
            refusals = [model.refuses(step.region.region, machine) for machine in machines]
            refusal = next((found for found in refusals if found is not None), None)
            if refusal is None:
                return design, ""
            reasons.append(f"{model.name}: {refusal.reason}")
        return None, "; ".join(reasons)

    def _cost(
        self, what: tuple[str, str, str, str], of: Region | tuple[Sharding, int, int], step: Step,
        device: Device,
    ) -> Cost | str:  # fmt: skip
        """Return the cost of a region or a shard, or why it has none; `what` tells it apart."""
        key = (*what, repr(step.assignment.schedule))
        if key not in self._costs:
            region = of if isinstance(of, Region) else shard_region(*of)
            self._costs[key] = self._ask(region, step, device, what[-1])
        return self._costs[key]

    def _ask(self, region: Region, step: Step, device: Device, design: str) -> Cost | str:
        problem = unpriceable(region) or count_problem(region)
        if problem is not None:
            return problem
        model = self._models[design]
        refusal = model.refuses(region, device)
        if refusal is not None:
            return f"{model.name}: {refusal.reason}"
        cost = model.cost(region, device, step.assignment.schedule)
        check_cost(cost, work_of(region), row=step.assignment.region, device=device,
                   as_is=not design)  # fmt: skip
        return cost


def kind_of(device: Device) -> str:
    """Return a text that devices share when they differ by name or group alone."""
    fields = encode(device)
    return content_hash(repr({k: v for k, v in fields.items() if k not in ("name", "group")}))
