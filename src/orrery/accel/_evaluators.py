"""From a plan to what evaluates its regions: the bound designs, and something for the rest."""

from __future__ import annotations

from dataclasses import dataclass

from orrery.graph import Region
from orrery.plan import Plan

from ._record import Evaluator, Tensors
from ._registry import resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class _Device:
    """Evaluates a region on the design that the plan gives it, else with `otherwise`."""

    designs: dict[str, Evaluator]
    otherwise: Evaluator

    def __call__(self, region: Region, inputs: Tensors) -> Tensors:
        return self.designs.get(region.name, self.otherwise)(region, inputs)


def plan_evaluators(plan: Plan, otherwise: Evaluator) -> dict[str, Evaluator]:
    """Return an evaluator per device of a plan: its regions compute as their designs would.

    Parameters
    ----------
    plan : names regions, devices and designs; regions are told apart by the plan's names
    otherwise : evaluates regions without a design, e.g. with NumPy

    Raises
    ------
    UnknownNameError, SpecError : a design that cannot be resolved
    """
    texts = {a.design for a in plan.assignments if a.design is not None}
    functions = {text: resolve(text).evaluate for text in sorted(texts)}
    designs: dict[str, dict[str, Evaluator]] = {d: {} for a in plan.assignments for d in a.devices}
    for assignment in plan.assignments:
        if assignment.design is not None:
            for device in assignment.devices:
                designs[device][assignment.region] = functions[assignment.design]
    return {
        device: _Device(designs=regions, otherwise=otherwise) for device, regions in designs.items()
    }
