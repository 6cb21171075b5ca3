"""What a layer takes on a spatial array under a given loop nest.

Models:  one product (Conv, MatMul, Gemm) under one loop nest, priced by `orrery.cost.nest`.
Ignores: layers without multiplications, which an array of multipliers leaves to its host; zeros
         in the data (statistics change nothing).
Judge:   see `orrery.cost.nest`.
"""

from __future__ import annotations

from dataclasses import dataclass

from orrery.cost import Cost, Refusal
from orrery.cost.nest import SPACE, NestMapping, NestProblem, nest_cost, nest_problem
from orrery.errors import SpecError
from orrery.graph import Region, Statistics
from orrery.hardware import Architecture, Device
from orrery.plan import KernelSchedule

#: operators that are one product of two operands, and so one nest
OPERATORS = ("Conv", "MatMul", "Gemm")

#: float64, in which sums are held exactly, has so many bits
_EXACT_BITS = 53


def product_of(region: Region, architecture: Architecture) -> NestProblem | str:
    """Return the region's one loop nest, or why an array of multipliers does not run it."""
    if len(region.nodes) == 1 and region.members[0].op not in OPERATORS:
        return f"{region.members[0].operator}; the array runs {', '.join(OPERATORS)}"
    found = nest_problem(region)
    if isinstance(found, Refusal):
        return found.reason
    if len(found) != 1:
        return f"{len(found)} loop nests; the array runs one at a time"
    node, (problem,) = region.members[0], found
    strange = {region.graph.type(name).dtype for name in (*node.inputs, *node.outputs) if name}
    if strange != {"float32"}:
        return f"tensors of {', '.join(sorted(strange))}; float32 is rounded to the array's format"
    widest = terms_of(problem).bit_length() + architecture.bits["input"]
    if widest + architecture.bits["weight"] - 2 > _EXACT_BITS:
        return f"sums of {terms_of(problem)} products; more than can be summed exactly"
    return problem


def terms_of(problem: NestProblem) -> int:
    """Return how many products make one result."""
    kept = next(tensor.loops for tensor in problem.tensors if tensor.role == "output")
    terms = 1
    for loop, extent in problem.loops:
        terms *= 1 if loop in kept else extent
    return terms


@dataclass(frozen=True, slots=True, kw_only=True)
class SpatialCost:
    """Prices products on one architecture; a loop nest must be given.

    Attributes
    ----------
    needs_schedule : a region is priced under a schedule only; a search chooses it
    """

    name: str
    architecture: Architecture

    @property
    def needs_schedule(self) -> bool:
        """Always: the model knows no default nest."""
        return True

    def refuses(self, region: Region, device: Device) -> Refusal | None:
        """Return why no nest of the region could be priced there, or None."""
        if device.kind != "asic":
            return Refusal(reason=f"{self.name} is an asic; {device.name} is {device.kind}")
        found = product_of(region, self.architecture)
        return Refusal(reason=f"{self.name}: {found}") if isinstance(found, str) else None

    def cost(
        self,
        region: Region,
        device: Device,
        schedule: KernelSchedule | None = None,
        statistics: Statistics | None = None,
    ) -> Cost:
        """Price one product under a loop nest; `statistics` change nothing (dense).

        Raises
        ------
        SpecError : no schedule, one of another space or architecture, a nest that does not fit
        ValueError : the region is one that `refuses` refuses
        """
        del statistics
        found = product_of(region, self.architecture)
        if isinstance(found, str) or device.kind != "asic":
            raise ValueError(f"{self.name}: {found}; ask `refuses` first")
        if schedule is None:
            raise SpecError(f"{self.name}: region {region.name!r}", found="no schedule",
                            wanted=f"a schedule of space {SPACE!r}",
                            fix="it needs a loop nest: map it first")  # fmt: skip
        mapping = NestMapping.read(schedule, self.architecture)
        return nest_cost(found, mapping, self.architecture).cost
