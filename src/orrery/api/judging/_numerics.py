"""A network computed as designs compute it: those of a plan, or one wherever it takes a node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from orrery.accel import Accelerator, resolve
from orrery.cost import plan_regions
from orrery.errors import SpecError
from orrery.graph import Graph, Region
from orrery.runtime import Tensors, chained, usual_backend

from .._result import MapResult
from ..figures import precisions


@dataclass(frozen=True, slots=True, kw_only=True)
class Numerics:
    """One way to compute a network.

    Attributes
    ----------
    subject, name : of a figure about it, in full and in a table
    run : the network's inputs -> its outputs
    how : who computes what, in words
    formats : number formats
    """

    subject: str
    name: str
    run: Callable[[Tensors], Tensors]
    how: str
    formats: str


def whole_numerics(graph: Graph) -> Numerics:
    """Return the network in its own formats."""
    backend, formats = usual_backend(graph), ", ".join(precisions(graph))
    return Numerics(
        subject=f"{graph.name} in {formats}", name=f"{formats} ({backend.name})",
        run=backend.prepare(graph).run, how=f"the whole network by {backend.name}",
        formats=formats,
    )  # fmt: skip


def plan_numerics(graph: Graph, planned: MapResult) -> Numerics:
    """Return what computes the network as its plan's designs would, and how, in words."""
    backend, plan = usual_backend(graph), planned.plan
    placed = plan_regions(plan, [graph])
    designs = {a.design: resolve(a.design).evaluate for a in plan.assignments if a.design}
    parts = [
        (placed[a.region].region.nodes, designs.get(a.design) if a.design else None)
        for a in plan.assignments
    ]
    counts = Counter(a.design or f"devices as they are ({backend.name})" for a in plan.assignments)
    how = "; ".join(f"{number} regions on {name}" for name, number in counts.items())
    if any(a.design for a in plan.assignments):
        how += ", bit for bit as the designs compute"
        how += ", split regions whole and so with one scale" if plan.is_split else ""
    said = planned.evidence[0]
    return Numerics(subject=said.subject, name="as planned", run=chained(graph, parts, backend),
                    how=how, formats=said.context["precision"])  # fmt: skip


def design_numerics(graph: Graph, text: str, design: Accelerator | None = None) -> Numerics:
    """Return what computes a network on one design, the rest as it is.

    Parameters
    ----------
    text : names the design
    design : it, where the text alone does not make it

    Raises
    ------
    UnknownNameError, SpecError : no such design, or one that refuses every node
    """
    design, backend = design or resolve(text), usual_backend(graph)
    regions = [Region(graph=graph, nodes=(node.name,)) for node in graph.nodes]
    refusals = [design.cost.refuses(region, design.device) for region in regions]
    taken, first = refusals.count(None), refusals[0]
    if not taken and first is not None:
        raise SpecError(
            f"{design.name} for {graph.name}", found=f"no node that it takes: {first.reason}",
            wanted="a network with nodes for it", fix="take another design or network",
        )  # fmt: skip
    parts = [
        (region.nodes, None if refusal else design.evaluate)
        for region, refusal in zip(regions, refusals, strict=True)
    ]
    rest = len(regions) - taken
    how = f"{taken} nodes on {design.name}, bit for bit; {rest} as they are ({backend.name})"
    held = precisions(graph) if rest else []
    formats = dict.fromkeys([design.precision or precisions(graph)[0], *held])
    return Numerics(subject=f"{graph.name} by {text}", name=text, how=how,
                    run=chained(graph, parts, backend), formats=" and ".join(formats))  # fmt: skip
