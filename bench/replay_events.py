"""Events per second of plan replay on a synthetic plan.

A ring of devices, each with a queue of equal length; every assignment but the first needs what its
neighbour made in the round before, so every round moves one tensor over every link. An event is
the start or the end of a region or a transfer.
"""

from __future__ import annotations

import time

from orrery.hardware import Compute, Device, Link, Memory, System
from orrery.plan import Assignment, ModelReference, Plan, SystemReference, Transfer
from orrery.provenance import Basis, Source
from orrery.sim import Replayer

from ._record import Figure, repeated

ASSUMED = Source(basis=Basis.ASSUMED, where="synthetic ring of the bench")


def ring(devices: int, *, bandwidth_bytes_per_s: float = 1e9) -> System:
    """Return a ring of equal devices with duplex links between neighbours."""
    compute = Compute(macs_per_s={"float32": 1e12}, sources={"macs_per_s": ASSUMED})
    memory = Memory(name="dram", size_bytes=2**40, offchip=True, sources={"size_bytes": ASSUMED})
    return System(
        name=f"ring-{devices}",
        devices=tuple(
            Device(name=f"d{i}", kind="asic", compute=compute, memories=(memory,))
            for i in range(devices)
        ),
        links=tuple(
            Link(
                name=f"l{i}", ends=(f"d{i}", f"d{(i + 1) % devices}"), latency_s=1e-6,
                bandwidth_bytes_per_s=bandwidth_bytes_per_s,
                sources={"bandwidth_bytes_per_s": ASSUMED, "latency_s": ASSUMED},
            )
            for i in range(devices)
        ),
    )  # fmt: skip


def rounds(system: System, assignments: int) -> Plan:
    """Return a plan in which every device sends each result to its right neighbour."""
    devices = len(system.devices)
    count = assignments // devices
    placed, transfers = [], []
    for step in range(count):
        for d in range(devices):
            name, left = f"r{step}.{d}", f"r{step - 1}.{(d - 1) % devices}"
            needs = (f"r{step - 1}.{d}", left) if step else ()
            placed.append(Assignment(region=name, nodes=(name,), device=f"d{d}", after=needs))
            if step + 1 < count:
                right = (d + 1) % devices
                transfers.append(
                    Transfer(
                        tensor=f"t{step}.{d}", size_bytes=1000 + 10 * d, source=f"d{d}",
                        targets=(f"d{right}",), producer=name, consumers=(f"r{step + 1}.{right}",),
                        links=((f"l{d}",),),
                    )
                )  # fmt: skip
    return Plan(
        models=(ModelReference(name="rounds", digest=""),),
        system=SystemReference(name=system.name, digest=system.digest),
        assignments=tuple(placed), transfers=tuple(transfers), objective="latency",
        searcher="bench",
    )  # fmt: skip


def figures(devices: int = 16, assignments: int = 100_000) -> list[Figure]:
    """Play a synthetic plan with all its spans; the compiled loop is loaded before."""
    system = ring(devices)
    plan = rounds(system, assignments)
    seconds = {a.region: 1e-6 * (1 + i % 7) for i, a in enumerate(plan.assignments)}
    replayer = Replayer(plan, system)
    started = time.perf_counter()
    replayer.run(lambda a: seconds[a.region], compile_from=0)
    first_s = time.perf_counter() - started

    def rate(whole: bool) -> float:
        start = time.perf_counter()
        mine = Replayer(plan, system) if whole else replayer
        mine.run(lambda a: seconds[a.region])
        return mine.events / (time.perf_counter() - start)

    size = f"{len(plan.assignments)} assignments, {len(plan.transfers)} transfers"
    return [
        repeated("replay, events to timeline", "events/s", lambda: rate(False), target=500_000,
                 better="higher", note=f"{size}, {replayer.events} events"),
        repeated("replay, plan checked each time", "events/s", lambda: rate(True),
                 better="higher"),
        Figure(name="replay, first run with the compiled loop loaded", value=first_s, unit="s",
               runs=(first_s,)),
    ]  # fmt: skip
