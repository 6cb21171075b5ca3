"""Valid certificates with everything in them, for tests that corrupt them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from orrery.certificate import Certificate
from orrery.certify import Report, check_certificate
from orrery.cost import PlanCost, price
from orrery.graph import ArrayConstant, Graph, Node, TensorType
from orrery.hardware import Compute as Arithmetic
from orrery.hardware import Device, Link, Memory, System
from orrery.mapping import greedy
from orrery.mapping.sets import PROOF
from orrery.plan import Assignment, Infeasible, ModelReference, Plan, Split, SystemReference
from orrery.sim import replay_certified
from tests.mapping.random_graphs import MADE_UP, MODELS

from .plans import placed

F32 = "float32"


@dataclass(frozen=True, repr=False)
class Case:
    """A plan, what it was made for, and its certificate."""

    graph: Graph
    system: System
    plan: Plan
    cost: PlanCost
    certificate: Certificate

    def check(
        self, certificate: Certificate | None = None, *, plan: Plan | None = None,
        system: System | None = None,
    ) -> Report:  # fmt: skip
        """Check another certificate, plan or system in place of this one's."""
        return check_certificate(certificate or self.certificate, plan or self.plan, [self.graph],
                                 system or self.system, self.seconds, proofs=[PROOF])  # fmt: skip

    def seconds(self, c) -> float | None:
        """Return what the price says of a computation that the plan has."""
        assignment = next((a for a in self.plan.assignments if a.region == c.region), None)
        if assignment is None or c.device not in assignment.devices:
            return None
        return party_seconds(self.cost, assignment, assignment.devices.index(c.device), c.round)


def party_seconds(cost: PlanCost, assignment: Assignment, party: int, turn: int) -> float | None:
    """Return the price of a part; nothing where there is none, None for a round that is not."""
    if assignment.region not in cost.steps:
        return cost.per_region[assignment.region].latency_s
    rounds = cost.steps[assignment.region].party_s
    if not rounds:
        return 0.0
    return rounds[turn][party] if 0 <= turn < len(rounds) else None


def case(graph: Graph, system: System, plan: Plan) -> Case:
    cost = price(plan, [graph], system, MODELS)
    _, certificate = replay_certified(
        plan,
        [graph],
        system,
        lambda a, p, r: party_seconds(cost, a, p, r),
        expansion=cost.expansion,
    )
    return Case(graph, system, plan, cost, certificate)


def machine(size_bytes: int = 2**20, host: str = "host") -> System:
    """Four devices, two of which can be configured, all joined by duplex links."""
    rates = {"macs_per_s": {F32: 1e9}, "others_per_s": 1e9}
    memory = {"size_bytes": size_bytes, "bandwidth_bytes_per_s": 4e9}
    devices = tuple(
        Device(
            name=f"d{i}", kind="asic", designs=("dense", "even") if i < 2 else (),
            compute=Arithmetic(**rates, sources=dict.fromkeys(rates, MADE_UP)),
            memories=(Memory(name="dram", offchip=True, **memory,
                             sources=dict.fromkeys(memory, MADE_UP)),),
        ) for i in range(4)
    )  # fmt: skip
    ends = ["d0", "d1", "d2", "d3", *([host] if host else [])]
    numbers = {"bandwidth_bytes_per_s": 1e9, "latency_s": 1e-6}
    links = tuple(
        Link(name=f"{a}-{b}", ends=(a, b), **numbers, sources=dict.fromkeys(numbers, MADE_UP))
        for i, a in enumerate(ends) for b in ends[i + 1 :]
    )  # fmt: skip
    return System(name="four", devices=devices, links=links, host=host)


def network() -> Graph:
    """Three convolutions, one with a bias, and a skip."""
    shapes = {"w0": (8, 4, 3, 3), "w1": (8, 8, 3, 3), "b1": (8,), "w2": (8, 8, 1, 1)}
    weights = {name: ArrayConstant(np.ones(shape, np.float32)) for name, shape in shapes.items()}
    same = {"kernel_shape": [3, 3], "pads": [1] * 4}
    nodes = (
        Node(name="c0", op="Conv", inputs=("x", "w0"), outputs=("c0",), attributes=same),
        Node(name="r", op="Relu", inputs=("c0",), outputs=("r",)),
        Node(name="c1", op="Conv", inputs=("r", "w1", "b1"), outputs=("c1",), attributes=same),
        Node(name="c2", op="Conv", inputs=("c1", "w2"), outputs=("c2",)),
        Node(name="a", op="Add", inputs=("c2", "r"), outputs=("a",)),
    )
    types = {"x": TensorType(dtype=F32, shape=(1, 4, 8, 8))}
    types |= {name: constant.type for name, constant in weights.items()}
    return Graph(name="net", nodes=nodes, inputs=("x",), outputs=("a",), types=types,
                 constants=weights).infer()  # fmt: skip


def on(region: str, *devices: str, after: Sequence[str] = (), design: str | None = None,
       **how: object) -> Assignment:  # fmt: skip
    split = Split(devices=devices, weights=(1.0,) * len(devices), **how) if how else None
    return Assignment(region=region, nodes=(region,), device=devices[0], design=design,
                      after=tuple(after), split=split)  # fmt: skip


def plan_of(graph: Graph, system: System, assignments: Sequence[Assignment]) -> Plan:
    plan = Plan(
        models=(ModelReference(name=graph.name, digest=graph.digest),),
        system=SystemReference(name=system.name, digest=system.digest),
        assignments=tuple(assignments), transfers=(), objective="latency", searcher="by hand",
    )  # fmt: skip
    return placed(plan, graph, system)


@cache
def split_case(host: str = "host") -> Case:
    """Output channels split, a sum split (with its addend), a ring, hand-overs between sets."""
    graph, system = network(), machine(host=host)
    plan = plan_of(graph, system, [
        on("c0", "d0", "d1", design="dense", exclusive=(("Cout", 2),)),
        on("r", "d0", after=["c0"]),
        on("c1", "d0", "d1", after=["r"], design="dense", exclusive=(("Cin", 2),)),
        on("c2", "d2", "d3", after=["c1"], exclusive=(("H", 2),), shared=("Cout", 1)),
        on("a", "d2", "d3", after=["c2", "r"], exclusive=(("axis2", 2),)),
    ])  # fmt: skip
    return case(graph, system, plan)


@cache
def state_case() -> Case:
    """A state that lies on two devices and whose next value is made on a third."""
    sizes = {name: TensorType(dtype=F32, shape=(4, 8)) for name in ("x", "s")}
    nodes = (Node(name="sum", op="Add", inputs=("s", "x"), outputs=("sum",)),
             Node(name="next", op="Relu", inputs=("sum",), outputs=("next",)))  # fmt: skip
    graph = Graph(name="kept", nodes=nodes, inputs=("x", "s"), outputs=("next",), types=sizes,
                  states={"s": "next"}).infer()  # fmt: skip
    system = machine()
    plan = plan_of(graph, system, [on("sum", "d0", "d1", exclusive=(("axis0", 2),)),
                                   on("next", "d2", after=["sum"])])  # fmt: skip
    return case(graph, system, plan)


@cache
def whole_case() -> Case:
    """What the greedy search makes of the network: whole regions, listed transfers."""
    graph, system = network(), machine()
    plan = greedy([graph], system, MODELS)
    assert not isinstance(plan, Infeasible)
    return case(graph, system, plan)


__all__ = ["Case", "case", "machine", "split_case", "state_case", "whole_case"]
