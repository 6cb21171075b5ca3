"""Events per second of plan replay on a synthetic plan; prints one JSON line.

A ring of devices, each with a queue of equal length; every assignment but the first needs what its
neighbour made in the round before, so every round moves one tensor over every link.

Run: python bench/replay_events.py [--devices 16] [--assignments 100000]
"""

from __future__ import annotations

import argparse
import json
import platform
import time

from orrery.hardware import Compute, Device, Link, Memory, System
from orrery.plan import Assignment, ModelReference, Plan, SystemReference, Transfer
from orrery.provenance import Basis, Source
from orrery.sim import Replayer

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=16)
    parser.add_argument("--assignments", type=int, default=100_000)
    options = parser.parse_args()
    system = ring(options.devices)
    plan = rounds(system, options.assignments)
    replayer = Replayer(plan, system)
    seconds = {a.region: 1e-6 * (1 + i % 7) for i, a in enumerate(plan.assignments)}
    started = time.perf_counter()
    replayer.run(lambda a: seconds[a.region], compile_from=0)  # loads, on a first use compiles
    first_s = time.perf_counter() - started
    started = time.perf_counter()
    timeline = Replayer(plan, system).run(lambda a: seconds[a.region])
    whole_s = time.perf_counter() - started
    started = time.perf_counter()
    replayer.run(lambda a: seconds[a.region])
    run_s = time.perf_counter() - started
    print(
        json.dumps(
            {
                "bench": "replay_events", "machine": platform.machine(),
                "python": platform.python_version(), "devices": options.devices,
                "assignments": len(plan.assignments), "transfers": len(plan.transfers),
                "events": replayer.events, "makespan_s": timeline.makespan_s,
                "first_run_s": round(first_s, 3), "check_and_run_s": round(whole_s, 3),
                "run_s": round(run_s, 3),
                "events_per_s_checked": round(replayer.events / whole_s),
                "events_per_s": round(replayer.events / run_s),
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
