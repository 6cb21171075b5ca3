"""Figures of a network whose layers run one after the other on one array."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from orrery.evidence import Evidence
from orrery.graph import Graph
from orrery.hardware import Architecture
from orrery.mapping.nest import NestFound
from orrery.provenance import PROGRAM_VERSION, Basis, Source, weakest

from ..figures import counts_as, is_training, shared_context, with_ends

_WHERE = f"orrery {PROGRAM_VERSION} loop nests"


def nest_figures(
    graph: Graph, architecture: Architecture, objective: str, found: Mapping[str, NestFound],
    missing: Sequence[str],
) -> list[Evidence]:  # fmt: skip
    """Return the figures of all layers, one after the other, and those of the array.

    Parameters
    ----------
    missing : layers that no nest stands for: with any, times and energies are lower bounds
    """
    notes = [f"{len(missing)} layers have no loop nest and are in no sum"] if missing else []
    told = [one.cost.operations for one in found.values()]
    if even := any(operations.performed < operations.nominal for operations in told):
        notes.append("zeros that multipliers skip are taken as perfectly even")
    note = "; ".join(notes)
    widths = sorted(set(architecture.bits.values()))
    formats = (
        [
            f"{' and '.join(r for r in architecture.bits if architecture.bits[r] == n)} {n} bit"
            for n in widths
        ]
        if len(widths) > 1
        else [f"{widths[0]} bit"]
    )
    plain = Evidence(
        subject=f"{graph.name} on {architecture.name}", metric="", value=None, unit="",
        source=Source(basis=Basis.ESTIMATED, where=_WHERE, note=note),
        rests_on=weakest_of(architecture), bound="lower" if missing or even else "",
        context=dict(shared_context([graph], formats, f"loop nests, {objective}")),
    )  # fmt: skip
    costs = [one.cost for one in found.values()]
    seconds = sum(cost.latency_s for cost in costs)
    yielded = [with_ends(_say(plain, "latency", seconds, "s"), architecture.low_ratio,
                         architecture.high_ratio, architecture.interval_share,
                         architecture.left_out_error)]  # fmt: skip
    batch = int(plain.context["batch"])
    unit = "sample/s" if is_training(graph) else "inference/s"
    rate = _say(plain, "throughput", batch / seconds if seconds else None, unit,
                counts_as=counts_as([graph]))  # fmt: skip
    yielded.append(replace(rate, bound="upper" if plain.bound else ""))
    cycles = sum(cost.cycles for cost in costs)
    peak = cycles * architecture.elements * architecture.macs_per_cycle
    done = sum(cost.operations.performed for cost in costs)
    share = _say(plain, "utilisation", 100 * done / peak if peak else None, "%",
                 of=f"{architecture.elements} elements, while the layers run")  # fmt: skip
    yielded.append(replace(share, bound=""))
    unpriced = sorted({name for cost in costs for name in cost.unpriced})
    if unpriced:
        why = f"no price for {', '.join(unpriced[:3])}"
        why += f" and {len(unpriced) - 3} more" if len(unpriced) > 3 else ""
        yielded += [_unknown(plain, metric, unit, why) for metric, unit in
                    (("energy", "J"), ("power", "W"))]  # fmt: skip
    else:
        joules = sum(cost.energy_j or 0.0 for cost in costs)
        yielded.append(_say(plain, "energy", joules, "J", offchip="counted"))
        power = _say(plain, "power", joules / seconds if seconds else None, "W", offchip="counted")
        yielded.append(replace(power, bound=""))
    traffic = sum(cost.cost.offchip_bytes or 0 for cost in costs)
    yielded.append(_say(plain, "off-chip traffic", traffic, "bytes"))
    certain = replace(plain, bound="", rests_on=None, context={},
                      source=replace(plain.source, note=""))  # fmt: skip
    return [*yielded, *array_figures(architecture, certain)]


def array_figures(architecture: Architecture, plain: Evidence) -> Iterator[Evidence]:
    """Yield what the array costs to build: elements, memories, link, area, price."""
    array = architecture.sources.get("macs_per_cycle", plain.source)
    yield replace(plain, metric="processing elements", value=architecture.elements, unit="",
                  source=_brief(array))  # fmt: skip
    inner = architecture.levels[1:]
    sizes = [level.capacity_bits for level in inner]
    if inner and None not in sizes:
        total = sum((level.capacity_bits or 0) * architecture.instances(level) for level in inner)
        found = [level.sources.get("capacity_bits", plain.source) for level in inner]
        yield replace(plain, metric="on-chip memory", value=total / 8, unit="bytes",
                      source=_weakest(found))  # fmt: skip
    else:
        lacking = ", ".join(level.name for level in inner if level.capacity_bits is None)
        why = f"no size is known of {lacking}" if lacking else "no memory on chip"
        yield _unknown(plain, "on-chip memory", "bytes", why)
    outer = architecture.levels[0]
    if outer.read_bits_per_cycle is not None:
        rate = outer.read_bits_per_cycle / 8 * architecture.clock_hz
        rated = outer.sources.get("read_bits_per_cycle", plain.source)
        clock = architecture.sources.get("clock_hz", plain.source)
        yield replace(plain, metric="off-chip bandwidth", value=rate, unit="bytes/s",
                      source=_weakest([rated, clock]))  # fmt: skip
    for metric, field, unit in (("area", "area_mm2", "mm2"), ("price", "price_usd", "USD")):
        value = getattr(architecture, field)
        if value is None:
            yield _unknown(plain, metric, unit, f"not in the description of {architecture.name}")
            continue
        node = architecture.process_nm
        process = {"process": f"{node:g} nm" if node else "not stated"} if unit == "mm2" else {}
        yield replace(plain, metric=metric, value=value, unit=unit,
                      source=architecture.sources[field],
                      context={**plain.context, **process})  # fmt: skip


def weakest_of(architecture: Architecture) -> Basis | None:
    """Return ``assumed`` when any number of the description is, else None."""
    records: tuple[Any, ...] = (architecture, *architecture.axes, *architecture.levels)
    found = weakest(s.basis for record in records for s in record.sources.values())
    return found if found is Basis.ASSUMED else None


def _weakest(sources: Sequence[Source]) -> Source:
    basis = weakest(source.basis for source in sources)
    return _brief(next(source for source in sources if source.basis is basis))


def _brief(source: Source) -> Source:
    """Return a source without a note that tells of other numbers, unless it casts a doubt."""
    doubtful = source.basis is Basis.ASSUMED or "unconfirmed" in source.note
    return source if doubtful else replace(source, note="")


def _say(
    plain: Evidence, metric: str, value: float | None, unit: str, **context: str
) -> Evidence:  # fmt: skip
    return replace(plain, metric=metric, value=value, unit=unit,
                   context={**plain.context, **context})  # fmt: skip


def _unknown(plain: Evidence, metric: str, unit: str, why: str) -> Evidence:
    return replace(plain, metric=metric, value=None, unit=unit, bound="",
                   source=replace(plain.source, note=why))  # fmt: skip
