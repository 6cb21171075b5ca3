"""Hand-made plans: regions spread over devices, with the transfers that this needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from orrery.graph import Graph, Region
from orrery.plan import Assignment, ModelReference, Plan, SystemReference, Transfer


def spread(
    graphs: Sequence[Graph],
    place: Callable[[int], str],
    *,
    host: str | None = "host",
    sizes: Mapping[str, int] | None = None,
) -> Plan:
    """Put region i on ``place(i)``; inputs start on the host, outputs stay where they are made."""
    models, assignments, transfers = [], [], []
    count = 0
    for index, graph in enumerate(graphs):
        prefix = f"{graph.name}{index}/" if len(graphs) > 1 else ""
        models.append(ModelReference(name=graph.name, digest=graph.digest, prefix=prefix))
        device: dict[str, str] = {}
        maker: dict[str, Region] = {}
        wants: dict[tuple[str, str], dict[str, list[str]]] = {}
        for region in graph.regions():
            device[region.name] = place(count)
            count += 1
            for tensor in region.inputs:
                source = device[maker[tensor].name] if tensor in maker else host
                if source is not None and source != device[region.name]:
                    targets = wants.setdefault((tensor, source), {})
                    targets.setdefault(device[region.name], []).append(region.name)
            maker |= dict.fromkeys(region.outputs, region)
            assignments.append(
                Assignment(
                    region=prefix + region.name, device=device[region.name],
                    nodes=tuple(prefix + n for n in region.nodes),
                    after=tuple(dict.fromkeys(
                        prefix + maker[t].name for t in region.inputs if t in maker)),
                )
            )  # fmt: skip
        for (tensor, source), targets in wants.items():
            made = maker.get(tensor)
            transfers.append(
                Transfer(
                    tensor=prefix + tensor, source=source,
                    size_bytes=(sizes or {}).get(tensor) or graph.type(tensor).size_bytes,
                    targets=tuple(targets), links=tuple(("wire",) for _ in targets),
                    producer=None if made is None else prefix + made.name,
                    consumers=tuple(prefix + r for mine in targets.values() for r in mine),
                )
            )  # fmt: skip
    return Plan(
        models=tuple(models), system=SystemReference(name="desk", digest="d" * 40),
        assignments=tuple(assignments), transfers=tuple(transfers), objective="latency",
        searcher="by hand",
    )  # fmt: skip
