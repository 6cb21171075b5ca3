"""What a sharded layer takes on the devices of a system.

Models:  operands brought where they are needed, then rounds, then sums. A round lasts as long as
         its slowest party or, where an operand rotates meanwhile, as its messages if these take
         longer. Phases follow each other; messages of a phase share links. Every shard is priced
         by the cost model that is given, equal shards on equal devices once.
Ignores: the additions of sums; overlap of arrivals and sums with computing; contention between the
         rotating messages and a party's own memory traffic.
Judge:   closed forms on rings of equal devices; a sum by hand of one shard's price
         (tests/cost/test_sharding_price.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from orrery.errors import SpecError
from orrery.hardware import Device, System
from orrery.plan import Infeasible

from .._cost import Cost, CostModel, Refusal
from .._transfer import NOTHING, Movement, moves_cost
from .._work import reads_values
from ._layout import Layout, Phase, reshard
from ._sharding import Sharding, combining, shard_region, transitions


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardedCost:
    """What a sharded layer takes, and which part of it is what.

    Attributes
    ----------
    cost : the whole; its peak is per ``device.memory``
    arrival, combine : bringing operands to where they are needed, and summing results
    compute_s : per round, seconds of the slowest party
    rotate_s : per round, seconds of the rotating messages; 0.0 where none move
    infeasible : memories that are too small
    """

    cost: Cost
    arrival: Movement
    combine: Movement
    compute_s: tuple[float, ...]
    rotate_s: tuple[float, ...]
    infeasible: tuple[Infeasible, ...]


def phases_cost(
    system: System, devices: Sequence[str], phases: Iterable[Phase], *, staged: bool = False
) -> Movement:
    """Return what phases take, one after the other.

    Parameters
    ----------
    devices : name per party
    staged : whether the host stores what passes through it before it sends it on (source → host
        memory → target, as between groups of accelerators); else messages cut through
    """
    total = NOTHING
    for phase in phases:
        here, onward = [], []
        for message in phase.messages:
            source, target = devices[message.source], devices[message.target]
            if staged and system.host is not None and _passes(system, source, target):
                here.append((source, system.host, message.size_bytes))
                onward.append((system.host, target, message.size_bytes))
            else:
                here.append((source, target, message.size_bytes))
        total = total.then(moves_cost(system, here))
        if onward:
            total = total.then(moves_cost(system, onward))
    return total


def _passes(system: System, source: str, target: str) -> bool:
    """Whether the route between two others leads through the host."""
    route = system.route(source, target) or ()
    return system.host not in (source, target) and any(
        system.host in a.ends and system.host in b.ends for a, b in pairwise(route)
    )


def resharding_seconds(
    befores: Sequence[Layout], afters: Sequence[Layout], tensor: str, system: System,
    devices: Sequence[str], algorithm: str = "ring", *, staged: bool = False,
) -> NDArray[np.float64]:  # fmt: skip
    """Return seconds from each layout to each other, shape (befores, afters); 0 for equal ones."""
    return np.array([
        [phases_cost(system, devices, reshard(a, b, tensor, algorithm).phases,
                     staged=staged).latency_s for b in afters] for a in befores
    ], dtype=np.float64).reshape(len(befores), len(afters))  # fmt: skip


def sharded_cost(
    sharding: Sharding, system: System, devices: Sequence[str], model: CostModel,
    arrivals: Mapping[str, Layout] | None = None, *, algorithm: str = "ring",
    staged: bool = False,
) -> ShardedCost | Refusal:  # fmt: skip
    """Price a sharded layer.

    Parameters
    ----------
    devices : name per party
    model : prices every shard
    arrivals : tensor -> layout in which it is there (see `transitions`)
    algorithm, staged : see `reshard` and `phases_cost`

    Returns
    -------
    the cost, or why the model refuses one of the shards
    """
    if len(devices) != sharding.parties or len(set(devices)) != len(devices):
        raise SpecError(f"sharded {sharding.region.name}", found=", ".join(devices) or "no device",
                        wanted=f"{sharding.parties} different devices",
                        fix="name one per party")  # fmt: skip
    machines = [system.device(name) for name in devices]
    found = _compute(sharding, machines, model)
    if isinstance(found, Refusal):
        return found
    arrival, combine = NOTHING, NOTHING
    for change in transitions(sharding, arrivals, algorithm):
        arrival = arrival.then(phases_cost(system, devices, change.phases, staged=staged))
    for change in combining(sharding):
        combine = combine.then(phases_cost(system, devices, change.phases, staged=staged))
    total = _moved(arrival)
    compute_s, rotate_s = [], []
    turns: dict[tuple[tuple[int, int, int], ...], Movement] = {}  # most rounds pass equal parts
    for turn, costs in enumerate(found):
        both = costs[0]
        for cost in costs[1:]:
            both = both.in_parallel(cost)
        moved = sharding.rotation[turn : turn + 1]
        passed = tuple((m.source, m.target, m.size_bytes) for p in moved for m in p.messages)
        rotating = turns.get(passed)
        if rotating is None:
            rotating = turns[passed] = phases_cost(system, devices, moved, staged=staged)
        compute_s.append(both.latency_s)
        rotate_s.append(rotating.latency_s)
        total = total.in_series(both.in_parallel(_moved(rotating)))
    total = total.in_series(_moved(combine))
    peaks, infeasible = _memory(sharding, machines)
    whole = Cost(
        latency_s=total.latency_s, energy_j=total.energy_j, offchip_bytes=total.offchip_bytes,
        peak_bytes=peaks, charges=total.charges, macs_nominal=total.macs_nominal,
        macs_performed=total.macs_performed,
    )  # fmt: skip
    return ShardedCost(cost=whole, arrival=arrival, combine=combine, compute_s=tuple(compute_s),
                       rotate_s=tuple(rotate_s), infeasible=infeasible)  # fmt: skip


def _moved(movement: Movement) -> Cost:
    """Return a movement as a cost; links carry no off-chip traffic of a device's own."""
    return Cost(latency_s=movement.latency_s, energy_j=movement.energy_j, offchip_bytes=0,
                charges=movement.charges)  # fmt: skip


def _compute(
    sharding: Sharding, machines: Sequence[Device], model: CostModel
) -> list[list[Cost]] | Refusal:
    """Price every shard, per round and party; equal work on one device is priced once."""
    known: dict[tuple[str, str], Cost] = {}
    speeds = [_speeds(machine) for machine in machines]
    by_value = reads_values({"": model})
    rounds = []
    for turn, row in enumerate(sharding.shards):
        costs = []
        for party, part in enumerate(row):
            name = sharding.holding(turn, party) if by_value else part.signature
            key = (name, speeds[party])
            if key not in known:
                region = shard_region(sharding, party, turn)
                refusal = model.refuses(region, machines[party])
                if refusal is not None:
                    return Refusal(reason=f"party {party} of {sharding.strategy}: {refusal.reason}",
                                   uncountable=refusal.uncountable)  # fmt: skip
                known[key] = model.cost(region, machines[party])
            costs.append(known[key])
        rounds.append(costs)
    return rounds


def _speeds(machine: Device) -> str:
    """Return a text that devices share when they differ by name alone."""
    return repr(replace(machine, name="device"))


def _memory(
    sharding: Sharding, machines: Sequence[Device]
) -> tuple[dict[str, int], tuple[Infeasible, ...]]:
    peaks, short = {}, []
    for party, machine in enumerate(machines):
        memory = machine.offchip
        need = peaks[f"{machine.name}.{memory.name}"] = sharding.resident_bytes(party)
        if need > memory.size_bytes:
            short.append(Infeasible(
                what=f"{sharding.region.name} under {sharding.strategy} in "
                f"{machine.name}.{memory.name}", need=need, have=memory.size_bytes, unit="bytes",
                remedies=("split among more devices", "let an operand rotate instead of being "
                          "replicated", "use a device with more memory"),
            ))  # fmt: skip
    return peaks, tuple(short)
