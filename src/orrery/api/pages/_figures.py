"""From a priced and replayed plan to figures that say what they rest on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from orrery.evidence import Evidence
from orrery.provenance import PROGRAM_VERSION, Basis, Source

from ._doubts import doubts

if TYPE_CHECKING:
    from orrery.cost import PlanCost
    from orrery.graph import Graph
    from orrery.hardware import Device, System
    from orrery.plan import Plan
    from orrery.timeline import Timeline

__all__ = ["WHY_UNKNOWN", "batch_of", "plan_figures"]

#: metric -> why a mapping alone cannot tell
WHY_UNKNOWN = {
    "accuracy": "mapping does not run the network on labelled data",
    "flexibility": "only the networks given were priced on this system",
}


def plan_figures(
    graphs: Sequence[Graph], system: System, plan: Plan, price: PlanCost, timeline: Timeline
) -> list[Evidence]:
    """Return every figure that a plan, its price and its replay give, with source and context."""
    subject = f"{', '.join(graph.name for graph in graphs)} on {system.name}"
    used = [d for d in system.devices if any(a.device == d.name for a in plan.assignments)]
    doubt = doubts(used, system, plan)
    if not price.coverage.complete:
        doubt = "; ".join(x for x in ("a lower bound: not everything was priced", doubt) if x)
    context = {
        "batch": ", ".join(dict.fromkeys(str(batch_of(graph)) for graph in graphs)),
        "precision": ", ".join(dict.fromkeys(t for graph in graphs for t in _precisions(graph))),
        "searcher": plan.searcher,
    }

    def source(basis: Basis, where: str, note: str = "") -> Source:
        return Source(basis=basis, where=where, note="; ".join(x for x in (note, doubt) if x))

    def absent(why: str) -> Source:
        return Source(basis=Basis.ESTIMATED, where=f"orrery {PROGRAM_VERSION}", note=why)

    def figure(
        metric: str, value: float | None, unit: str, source: Source, **more: str
    ) -> Evidence:
        return Evidence(
            subject=subject,
            metric=metric,
            value=value,
            unit=unit,
            source=source,
            context=context | more,
        )

    seconds = timeline.makespan_s
    replayed = source(
        Basis.SIMULATED,
        f"orrery {PROGRAM_VERSION} plan replay",
        "region durations from the cost models; links shared by transfers",
    )
    inferences = sum(batch_of(graph) for graph in graphs)
    figures = [
        figure("latency", seconds, "s", replayed),
        figure(
            "throughput",
            inferences / seconds if seconds else None,
            "inference/s",
            source(Basis.SIMULATED, replayed.where, "one batch at a time, none overlapping")
            if seconds
            else absent("the plan takes no time"),
        ),
    ]
    estimated = source(Basis.ESTIMATED, f"orrery {PROGRAM_VERSION} plan price")
    energy = price.total.energy_j
    if energy is None:
        missing = absent(_why_no_energy(used, price))
        figures += [figure("energy", None, "J", missing), figure("power", None, "W", missing)]
    else:
        figures.append(figure("energy", energy, "J", estimated, offchip="counted"))
        if seconds:
            figures.append(figure("power", energy / seconds, "W", estimated, offchip="counted"))
    if price.total.offchip_bytes is not None:
        figures.append(figure("off-chip traffic", price.total.offchip_bytes, "bytes", estimated))
    figures += list(_hardware(used, price, figure, estimated))
    return figures


def _hardware(used, price, figure, estimated) -> Iterator[Evidence]:  # type: ignore[no-untyped-def]
    if price.peak_bytes:
        name, most = max(price.peak_bytes.items(), key=lambda item: item[1])
        yield figure("peak memory", most, "bytes", estimated, memory=name)
    counted = Source(basis=Basis.ESTIMATED, where="devices that the plan uses")
    yield figure("devices", len(used), "", counted)
    for metric, field, unit in (("price", "price_usd", "USD"), ("area", "area_mm2", "mm2")):
        values = [getattr(device, field) for device in used]
        lacking = [d.name for d, value in zip(used, values) if value is None]
        if lacking:
            note = f"not in the description of {', '.join(lacking[:3])}"
            note += f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
            yield figure(metric, None, unit, Source(basis=Basis.ESTIMATED, where=metric, note=note))
            continue
        nodes = ", ".join(sorted({f"{d.process_nm:g} nm" for d in used if d.process_nm}))
        more = {"process": nodes or "not stated"} if metric == "area" else {}
        yield figure(metric, sum(values), unit, used[0].sources[field], **more)


def batch_of(graph: Graph) -> int:
    """Return the leading dimension of the first input, 1 when it has none."""
    shape = graph.type(graph.inputs[0]).shape if graph.inputs else ()
    return shape[0] if shape and isinstance(shape[0], int) else 1


def _precisions(graph: Graph) -> list[str]:
    # Weights of a training step are states.
    types = [c.type for c in graph.constants.values()] + [graph.type(n) for n in graph.states]
    kinds = {type_.dtype: 0 for type_ in types}
    for type_ in types:
        kinds[type_.dtype] += type_.elements
    kinds |= {} if kinds else {graph.type(name).dtype: 1 for name in graph.inputs}
    return [max(kinds, key=kinds.__getitem__)] if kinds else []


def _why_no_energy(used: Sequence[Device], price: PlanCost) -> str:
    lacking = [
        device.name
        for device in used
        if device.offchip.energy_j_per_byte is None or not device.compute.mac_energy_j
    ]
    if lacking:
        return f"no energy per operation or per off-chip byte is known for {lacking[0]}"
    return "the cost models of these regions know no energy"
