"""Small systems and plans for the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence

from orrery.hardware import Compute, Device, Link, Memory, System
from orrery.plan import Assignment, Plan, SystemReference, Transfer
from orrery.provenance import Basis, Source

MADE_UP = Source(basis=Basis.ASSUMED, where="test")


def device(name: str, *, size_bytes: int = 2**40) -> Device:
    compute = Compute(macs_per_s={"float32": 1e12}, sources={"macs_per_s": MADE_UP})
    memory = Memory(
        name="dram", size_bytes=size_bytes, offchip=True, sources={"size_bytes": MADE_UP}
    )
    return Device(name=name, kind="asic", compute=compute, memories=(memory,))


def link(
    name: str, *ends: str, bandwidth: float = 1e9, latency: float = 0.0, duplex: bool = True
) -> Link:
    return Link(
        name=name, ends=ends, bandwidth_bytes_per_s=bandwidth, latency_s=latency, duplex=duplex,
        sources={"bandwidth_bytes_per_s": MADE_UP, "latency_s": MADE_UP},
    )  # fmt: skip


def system(devices: Sequence[str], links: Sequence[Link], *, host: str = "") -> System:
    return System(name="test", devices=tuple(map(device, devices)), links=tuple(links), host=host)


def run(region: str, where: str, *after: str) -> Assignment:
    return Assignment(region=region, nodes=(region,), device=where, after=after)


def send(
    tensor: str, size: int, source: str, target: str, *links: str,
    producer: str | None = None, consumers: Sequence[str] = (),
) -> Transfer:  # fmt: skip
    return Transfer(
        tensor=tensor, size_bytes=size, source=source, targets=(target,), producer=producer,
        consumers=tuple(consumers), links=(links,),
    )  # fmt: skip


def plan(assignments: Sequence[Assignment], transfers: Sequence[Transfer] = ()) -> Plan:
    return Plan(
        models=(), system=SystemReference(name="test", digest=""), assignments=tuple(assignments),
        transfers=tuple(transfers), objective="latency", searcher="test",
    )  # fmt: skip
