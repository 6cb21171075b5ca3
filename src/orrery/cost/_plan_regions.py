"""The regions that a plan speaks of, found again in the networks it was made for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orrery.errors import SpecError
from orrery.graph import Graph, Region
from orrery.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRegion:
    """A region, the number of its network in the plan, and the prefix of that network's names.

    One graph may stand in a plan several times: the number tells the copies apart.
    """

    region: Region
    network: int
    prefix: str


def plan_regions(plan: Plan, graphs: Sequence[Graph]) -> dict[str, PlannedRegion]:
    """Return the region of each assignment of a plan.

    Raises
    ------
    SpecError : another number of networks, or a name with no network's prefix
    UnknownNameError : a node that its network does not have
    """
    if len(graphs) != len(plan.models):
        raise SpecError(
            "plan", found=f"{len(plan.models)} networks", wanted=f"{len(graphs)} as given",
            fix="give the networks the plan was made for, in order",
        )  # fmt: skip
    regions: dict[str, PlannedRegion] = {}
    # The longest prefix decides: an empty one fits every name.
    owners = sorted(enumerate(plan.models), key=lambda pair: -len(pair[1].prefix))
    for assignment in plan.assignments:
        names = (assignment.region, *assignment.nodes)
        for network, model in owners:
            if assignment.nodes and all(name.startswith(model.prefix) for name in names):
                nodes = tuple(node[len(model.prefix) :] for node in assignment.nodes)
                for node in nodes:
                    graphs[network].node(node)
                regions[assignment.region] = PlannedRegion(
                    region=Region(graph=graphs[network], nodes=nodes, label=assignment.region),
                    network=network, prefix=model.prefix,
                )  # fmt: skip
                break
        else:
            raise SpecError(
                f"plan: region {assignment.region!r}", found="no nodes, or no network's prefix",
                wanted="nodes of a network of the plan", fix="make the plan again",
            )  # fmt: skip
    return regions
