"""From a priced and replayed plan to figures that say what they rest on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from orrery.cost import PlanCost
from orrery.evidence import Evidence
from orrery.graph import Graph
from orrery.hardware import Device, System
from orrery.plan import Plan
from orrery.provenance import PROGRAM_VERSION, Basis, Source, weakest
from orrery.timeline import Timeline

from ._context import shared_context
from ._doubts import doubts, rests_on, why_no_energy
from ._formats import formats_of
from ._intervals import with_intervals
from ._times import ends_s, times

#: metric -> why a mapping alone cannot tell
WHY_UNKNOWN = {
    "flexibility": "only the networks given were priced on this system",
}
_NOT_RUN = "mapping does not run the network on labelled data"
_WHERE = f"orrery {PROGRAM_VERSION}"


def plan_figures(
    graphs: Sequence[Graph], system: System, plan: Plan, price: PlanCost, timeline: Timeline
) -> list[Evidence]:
    """Return every figure that a plan, its price and its replay give, with source and context.

    Where something was not priced, times and traffic are lower bounds, rates upper ones; where an
    idle power is not known, energy is one and power is not known. Of several networks the first
    figures are those of all together; each has latency and throughput of its own as well.
    """
    used = [d for d in system.devices if any(d.name in a.devices for a in plan.assignments)]
    subject = f"{', '.join(graph.name for graph in graphs)} on {system.name}"
    formats = formats_of(graphs, plan, price)
    plain = Evidence(
        subject=subject,
        metric="",
        value=None,
        unit="",
        source=Source(basis=Basis.ESTIMATED, where=_WHERE),
        rests_on=rests_on(used, system, plan),
        bound="" if price.coverage.complete else "lower",
        context=shared_context(graphs, [n for f in formats for n in f.names], plan.searcher),
    )
    doubt = doubts(used, system, plan)
    figures = list(times(graphs, plain, timeline, ends_at_s=timeline.makespan_s))
    if len(graphs) > 1:
        for graph, mine, end in zip(graphs, formats, ends_s(plan, timeline), strict=True):
            alone = replace(
                plain,
                subject=f"{graph.name} on {system.name}",
                context=shared_context([graph], mine.names, plan.searcher),
            )
            figures += times([graph], alone, timeline, ends_at_s=end, note="beside the others")
    figures += _energy(used, plain, price, timeline, idle=f"{len(used)} of {len(system.devices)}")
    if price.total.offchip_bytes is not None:
        figures.append(_say(plain, "off-chip traffic", price.total.offchip_bytes, "bytes"))
    if price.peak_bytes:
        name, most = max(price.peak_bytes.items(), key=lambda item: item[1])
        figures.append(_say(plain, "peak memory", most, "bytes", memory=name))
    figures = [_noted(f, doubt) if f.value is not None else f for f in figures]
    figures = with_intervals(figures, used, price)
    certain = replace(plain, bound="", rests_on=None)
    rounding = [
        f.approximation if len(graphs) == 1 else f"{graph.name}: {f.approximation}"
        for graph, f in zip(graphs, formats, strict=True)
        if f.approximation
    ]
    unknown = _say(certain, "accuracy", None, "%", "; ".join((_NOT_RUN, *rounding)))
    return [*figures, unknown, *_hardware(used, certain)]


def _say(
    plain: Evidence,
    metric: str,
    value: float | None,
    unit: str,
    note: str = "",
    basis: Basis = Basis.ESTIMATED,
    **context: str,
) -> Evidence:
    where = f"{_WHERE} plan {'replay' if basis is Basis.SIMULATED else 'price'}"
    return replace(
        plain,
        metric=metric,
        value=value,
        unit=unit,
        source=Source(basis=basis, where=where, note=note),
        context={**plain.context, **context},
    )


def _noted(figure: Evidence, doubt: str) -> Evidence:
    note = "; ".join(text for text in (figure.source.note, doubt) if text)
    return replace(figure, source=replace(figure.source, note=note))


def _energy(
    used: Sequence[Device], plain: Evidence, price: PlanCost, timeline: Timeline, *, idle: str
) -> Iterator[Evidence]:
    """Yield energy and power; `idle` says of how many devices idle power is charged."""
    energy, seconds = price.total.energy_j, timeline.makespan_s
    if energy is None:
        why = why_no_energy(used, price)
        yield _say(plain, "energy", None, "J", why)
        yield _say(plain, "power", None, "W", why)
        return
    if price.idle_unknown:
        why = f"idle power is not known of {', '.join(price.idle_unknown)}"
        dynamic = _say(plain, "energy", energy, "J", f"dynamic only: {why}", offchip="counted")
        yield replace(dynamic, bound="lower")
        yield _say(plain, "power", None, "W", why)
        return
    idle = f"of {idle} devices"
    yield _say(plain, "energy", energy, "J", offchip="counted", idle_power=idle)
    if seconds:
        yield _say(plain, "power", energy / seconds, "W", offchip="counted", idle_power=idle)


def _hardware(used: Sequence[Device], plain: Evidence) -> Iterator[Evidence]:
    yield _say(plain, "devices", len(used), "", "devices that the plan uses")
    for metric, field, unit in (("price", "price_usd", "USD"), ("area", "area_mm2", "mm2")):
        values = [getattr(device, field) for device in used]
        lacking = [d.name for d, value in zip(used, values, strict=True) if value is None]
        if lacking:
            more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
            note = f"not in the description of {', '.join(lacking[:3])}{more}"
            yield _say(plain, metric, None, unit, note)
            continue
        nodes = ", ".join(sorted({f"{d.process_nm:g} nm" for d in used if d.process_nm}))
        figure = _say(plain, metric, sum(values), unit)
        if metric == "area":
            process = {"process": nodes or "not stated"}
            figure = replace(figure, context={**figure.context, **process})
        sources = [device.sources[field] for device in used]
        basis = weakest(source.basis for source in sources)
        worst = next(source for source in sources if source.basis is basis)
        yield replace(figure, source=worst)
