"""What happened when a plan was replayed as Chakra execution traces, one per device.

Models:  a computation becomes a COMP node; a delivery a COMM_SEND at its source and a COMM_RECV at
         its target with one tag; what a set of devices exchanges to add up a region's sums one
         COMM_COLL node at each of them. A node has as `data_deps` what made, on its device, the
         parts of tensors that it needs, and as `ctrl_deps` the computation before it.
Ignores: links and their contention (a trace says what is sent, its reader how fast); what lies on
         devices before the clock starts. Times are whole microseconds in the format; attributes
         ``start_ps`` and ``duration_ps`` keep them exact.
Judge:   Google's decoder by the published schema; played anew, a trace without contention ends when
         the replay did (tests).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from orrery.certificate import Box, Certificate, Computation, Delivery
from orrery.timeline import Timeline

from ._chakra_wire import COLLECTIVES, ChakraNode, ChakraTrace, Value

_PS_PER_MICRO = 10**6
#: at one instant what arrives comes first, what leaves last
_RANKED = {"COMM_RECV": 0, "COMP": 1, "COMM_COLL": 2, "COMM_SEND": 3}


@dataclass(slots=True, kw_only=True)
class _Event:
    """A node before it has a number."""

    type: str
    name: str
    start: int
    end: int
    needs: tuple[tuple[str, Box], ...] = ()
    makes: tuple[tuple[str, Box], ...] = ()
    attributes: dict[str, Value] = field(default_factory=dict)


def chakra_traces(
    certificate: Certificate,
    timeline: Timeline,
    *,
    operations: Mapping[str, int],
    tensors: Mapping[str, tuple[int, int]],
) -> tuple[dict[str, ChakraTrace], dict[str, tuple[int, ...]]]:
    """Return device -> trace, in the order of ranks, and group -> ranks of its collectives.

    Parameters
    ----------
    certificate, timeline : of one replay
    operations : region -> scalar operations (two for a multiply-accumulate)
    tensors : tensor -> its elements and its bytes; what is absent counts as no bytes
    """
    devices = dict.fromkeys(c.device for c in certificate.computations)
    devices |= dict.fromkeys(end for d in certificate.deliveries for end in (d.source, d.target))
    ranks = {name: rank for rank, name in enumerate(devices)}
    events: dict[str, list[_Event]] = {name: [] for name in devices}
    shares = _shares(certificate.computations)
    for one, share in zip(certificate.computations, shares, strict=True):
        parts = (*one.reads, *one.writes)
        events[one.device].append(_Event(
            type="COMP", name=one.region if not one.round else f"{one.region} round {one.round}",
            start=one.start_ps, end=one.end_ps, needs=one.reads, makes=one.writes,
            attributes={
                "num_ops": round(operations.get(one.region, 0) * share),
                "tensor_size": sum(_bytes(tensors, *part) for part in parts),
                **({"design": one.design} if one.design else {}),
            },
        ))  # fmt: skip
    groups: dict[str, tuple[int, ...]] = {}
    together, alone = _sums(certificate, timeline)
    for region, deliveries in together:
        _collective(region, deliveries, ranks, tensors, groups, events)
    for tag, d in enumerate(alone):
        attributes: dict[str, Value] = {
            "comm_src": ranks[d.source], "comm_dst": ranks[d.target], "comm_tag": tag,
            "comm_size": d.size_bytes, "tensor": d.tensor,
        }  # fmt: skip
        part = ((d.tensor, d.box),)
        events[d.source].append(_Event(type="COMM_SEND", name=f"send {d.tensor} to {d.target}",
                                       start=d.start_ps, end=d.end_ps, needs=part,
                                       attributes=attributes))  # fmt: skip
        events[d.target].append(_Event(type="COMM_RECV", name=f"receive {d.tensor} from {d.source}",
                                       start=d.start_ps, end=d.end_ps, makes=part,
                                       attributes=attributes))  # fmt: skip
    traces = {
        name: ChakraTrace(nodes=_numbered(mine), attributes={
            "device": name, "rank": ranks[name], "plan": certificate.plan})
        for name, mine in events.items()
    }  # fmt: skip
    return traces, groups


def _shares(computations: tuple[Computation, ...]) -> list[float]:
    """Return which share of its region's operations each computation does."""
    whole: dict[str, int] = {}
    extents: dict[tuple[str, str], int] = {}
    for one in computations:
        for tensor, box in one.writes:
            size = math.prod(stop for _, stop in box)
            whole[tensor] = max(whole.get(tensor, 1), size)
        for loop, _, stop in one.partial:
            extents[one.region, loop] = max(extents.get((one.region, loop), 1), stop)
    found = []
    for one in computations:
        share = max((_volume(box) / whole[tensor] for tensor, box in one.writes), default=1.0)
        for loop, start, stop in one.partial:
            share *= (stop - start) / extents[one.region, loop]
        found.append(share)
    return found


def _sums(
    certificate: Certificate, timeline: Timeline
) -> tuple[list[tuple[str, list[Delivery]]], list[Delivery]]:
    """Return what sets exchange to add up a region's sums, region by region, and all else."""
    combining = {(span.name, span.start_ps) for span in timeline.spans
                 if span.details.get("for") == "combine"}  # fmt: skip
    region_of = {tensor: c.region for c in certificate.computations for tensor, _ in c.writes}
    together: dict[str, list[Delivery]] = {}
    alone = []
    for d in certificate.deliveries:
        if (d.tensor, d.start_ps) in combining and d.tensor in region_of:
            together.setdefault(region_of[d.tensor], []).append(d)
        else:
            alone.append(d)
    return list(together.items()), alone


def _collective(
    region: str, deliveries: list[Delivery], ranks: Mapping[str, int],
    tensors: Mapping[str, tuple[int, int]], groups: dict[str, tuple[int, ...]],
    events: dict[str, list[_Event]],
) -> None:  # fmt: skip
    """Add one node to each device of every group that exchanges among itself."""
    group = {end: {end} for d in deliveries for end in (d.source, d.target)}
    for d in deliveries:
        if group[d.source] is not group[d.target]:
            group[d.source] |= group[d.target]
            for end in group[d.source]:
                group[end] = group[d.source]
    for members in {id(ends): ends for ends in group.values()}.values():
        mine = [d for d in deliveries if d.source in members]
        adds = [d.adds for d in mine]
        kind = "REDUCE_SCATTER" if all(adds) else "ALL_REDUCE" if any(adds) else "ALL_GATHER"
        hulls = {d.tensor: _hull([e.box for e in mine if e.tensor == d.tensor]) for d in mine}
        numbers = tuple(sorted(ranks[end] for end in members))
        name = next((n for n, known in groups.items() if known == numbers), str(len(groups)))
        groups[name] = numbers
        parts = tuple(hulls.items())
        for end in members:
            events[end].append(_Event(
                type="COMM_COLL", name=f"{kind.lower()} {region}",
                start=min(d.start_ps for d in mine), end=max(d.end_ps for d in mine),
                needs=parts, makes=parts,
                attributes={"comm_type": COLLECTIVES.index(kind), "pg_name": name,
                            "comm_size": sum(_bytes(tensors, *part) for part in parts)},
            ))  # fmt: skip


def _numbered(events: list[_Event]) -> tuple[ChakraNode, ...]:
    """Return nodes in the order of their starts, with what each waits for."""
    ordered = sorted(events, key=lambda e: (e.start, e.end, _RANKED[e.type]))
    made: dict[str, list[tuple[Box, int]]] = {}
    nodes, before = [], None
    for number, one in enumerate(ordered):
        waits = set()
        for tensor, box in one.needs:
            for other_box, other in made.get(tensor, ()):
                maker = ordered[other]
                crossing = maker.type == "COMM_RECV" and one.type == "COMM_SEND"
                in_time = maker.end <= one.start and not (crossing and maker.start == one.start)
                if in_time and _meet(box, other_box):
                    waits.add(other)
        for tensor, box in one.makes:
            made.setdefault(tensor, []).append((box, number))
        start, end = one.start // _PS_PER_MICRO, one.end // _PS_PER_MICRO
        nodes.append(ChakraNode(
            id=number, name=one.name, type=one.type, data_deps=tuple(sorted(waits)),
            ctrl_deps=(before,) if one.type == "COMP" and before is not None else (),
            start_micros=start, duration_micros=end - start,
            attributes={"is_cpu_op": False, **one.attributes, "start_ps": one.start,
                        "duration_ps": one.end - one.start},
        ))  # fmt: skip
        before = number if one.type == "COMP" else before
    return tuple(nodes)


def _volume(box: Box) -> int:
    return math.prod(stop - start for start, stop in box)


def _hull(boxes: list[Box]) -> Box:
    return tuple((min(s for s, _ in spans), max(e for _, e in spans))
                 for spans in zip(*boxes, strict=True))  # fmt: skip


def _meet(one: Box, other: Box) -> bool:
    return all(a < d and c < b for (a, b), (c, d) in zip(one, other, strict=False))


def _bytes(tensors: Mapping[str, tuple[int, int]], tensor: str, box: Box) -> int:
    elements, size = tensors.get(tensor, (0, 0))
    return -(-size * _volume(box) // elements) if elements else size
