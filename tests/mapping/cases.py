"""Small graphs, systems and cost models; a validity checker and a brute-force optimum."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from orrery.cost import Cost, Refusal
from orrery.graph import ArrayConstant, Graph, Node, Region, Statistics, TensorType
from orrery.hardware import Compute, Device, Link, Memory, System
from orrery.plan import KernelSchedule, Plan
from orrery.provenance import Basis, Source
from orrery.sim import replay
from orrery.timeline import Timeline

MADE_UP = Source(basis=Basis.ASSUMED, where="test")


@dataclass(frozen=True)
class Rate:
    """Takes ``work`` over the device's rate; accepts some operators, or all."""

    name: str = "rate"
    accepts: frozenset[str] | None = None
    speedup: float = 1.0

    def refuses(self, region: Region, device: Device) -> Refusal | None:
        wrong = {n.op for n in region.members} - (self.accepts or {n.op for n in region.members})
        return Refusal(reason=f"cannot do {', '.join(sorted(wrong))}") if wrong else None

    def cost(
        self, region: Region, device: Device, schedule: KernelSchedule | None = None,
        statistics: Statistics | None = None,
    ) -> Cost:  # fmt: skip
        work = sum(float(node.attributes["work"]) for node in region.members)
        return Cost(latency_s=work / device.compute.macs_per_s["float32"] / self.speedup)


def device(
    name: str, rate: float = 1.0, *, size_bytes: int = 2**40, designs: Sequence[str] = (),
    operators: tuple[str, ...] | None = None,
) -> Device:  # fmt: skip
    return Device(
        name=name, kind="asic", designs=tuple(designs), operators=operators,
        compute=Compute(macs_per_s={"float32": rate}, sources={"macs_per_s": MADE_UP}),
        memories=(
            Memory(name="dram", size_bytes=size_bytes, offchip=True,
                   sources={"size_bytes": MADE_UP}),
        ),
    )  # fmt: skip


def link(name: str, *ends: str, bandwidth: float = 1.0, latency: float = 0.0) -> Link:
    return Link(
        name=name, ends=ends, bandwidth_bytes_per_s=bandwidth, latency_s=latency,
        sources={"bandwidth_bytes_per_s": MADE_UP, "latency_s": MADE_UP},
    )  # fmt: skip


def full_system(
    devices: Sequence[Device], *, bandwidth: float = 1.0, latency: float = 0.0, host: bool = True
) -> System:
    """Every pair of devices has its link; so have the host and each device."""
    names = [d.name for d in devices] + (["host"] if host else [])
    links = [
        link(f"{a}-{b}", a, b, bandwidth=bandwidth, latency=latency)
        for a, b in itertools.combinations(names, 2)
    ]
    return System(
        name="full", devices=tuple(devices), links=tuple(links), host="host" if host else ""
    )


def graph(
    nodes: Iterable[tuple[str, Sequence[str], float, int]], *, inputs: Mapping[str, int],
    outputs: Sequence[str], weights: Mapping[str, int] | None = None,
    states: Mapping[str, str] | None = None, name: str = "net",
    ops: Mapping[str, str] | None = None,
) -> Graph:  # fmt: skip
    """Return a graph of (name, input tensors, work, bytes of its one output, named as it is)."""
    nodes, weights = list(nodes), weights or {}
    sizes = {**inputs, **weights, **{name: size for name, _, _, size in nodes}}
    return Graph(
        name=name,
        nodes=tuple(
            Node(name=n, op=(ops or {}).get(n, "Relu"), inputs=tuple(i), outputs=(n,),
                 attributes={"work": work})
            for n, i, work, _ in nodes
        ),
        inputs=tuple(inputs), outputs=tuple(outputs), states=states or {},
        types={t: TensorType(dtype="int8", shape=(size,)) for t, size in sizes.items()},
        constants={w: ArrayConstant(np.zeros(size, np.int8)) for w, size in weights.items()},
    )  # fmt: skip


def chain(works: Sequence[float], sizes: Sequence[int]) -> Graph:
    """Return ``x -> n0 -> n1 -> …``; `sizes` are those of x and of each output."""
    nodes = [
        (f"n{i}", [f"n{i - 1}" if i else "x"], work, sizes[i + 1]) for i, work in enumerate(works)
    ]
    return graph(nodes, inputs={"x": sizes[0]}, outputs=[f"n{len(works) - 1}"])


@st.composite
def dags(draw: st.DrawFn, *, most: int = 8) -> Graph:
    """Random graphs: any earlier tensor may be an input; what nobody reads is an output."""
    count = draw(st.integers(1, most))
    nodes: list[tuple[str, list[str], float, int]] = []
    for i in range(count):
        known = ["x", *(f"n{j}" for j in range(i))]
        inputs = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
        if draw(st.booleans()):
            inputs.append(f"w{draw(st.integers(0, 2))}")
        nodes.append((f"n{i}", inputs, draw(st.integers(0, 9)), draw(st.integers(0, 9))))
    read = {name for _, inputs, _, _ in nodes for name in inputs}
    outputs = [f"n{i}" for i in range(count) if f"n{i}" not in read or draw(st.booleans())]
    weights = {f"w{i}": 3 + i for i in range(3)}
    return graph(nodes, inputs={"x": draw(st.integers(0, 9))}, outputs=outputs, weights=weights)


@st.composite
def systems(draw: st.DrawFn) -> System:
    """Random devices, joined directly, over the host, or in a line."""
    devices = [
        device(f"d{i}", draw(st.sampled_from([1.0, 2.0, 5.0])))
        for i in range(draw(st.integers(1, 4)))
    ]
    bandwidth, latency = draw(st.sampled_from([0.5, 4.0])), draw(st.sampled_from([0.0, 0.25]))
    shape = draw(st.sampled_from(["full", "star", "line", "no host"]))
    if shape == "full":
        return full_system(devices, bandwidth=bandwidth, latency=latency)
    if shape == "no host":
        return full_system(devices, bandwidth=bandwidth, latency=latency, host=False)
    names = [d.name for d in devices]
    if shape == "star":
        pairs = [("host", name) for name in names]
    else:
        pairs = list(itertools.pairwise(["host", *names]))
    links = [link(f"{a}-{b}", a, b, bandwidth=bandwidth, latency=latency) for a, b in pairs]
    return System(name=shape, devices=tuple(devices), links=tuple(links), host="host")


def way_s(system: System, source: str, target: str, size_bytes: int) -> float:
    """Seconds of a transfer alone: latencies plus bytes at the narrowest link."""
    route = system.route(source, target) or ()
    width = min((x.bandwidth_bytes_per_s for x in route), default=float("inf"))
    return sum(x.latency_s for x in route) + size_bytes / width


def lower_bound_of(mapping: Mapping[str, str], order: Sequence[str], g: Graph, s: System) -> float:
    """Makespan of a mapping and an order when no transfer waits for a link."""
    model, end, free = Rate(), dict[str, float](), dict.fromkeys((d.name for d in s.devices), 0.0)
    last = 0.0
    for name in order:
        node, where = g.node(name), mapping[name]
        arrive = free[where]
        for tensor in node.inputs:
            if tensor in g.constants:
                continue
            producer = g.producer(tensor)
            source = mapping[producer.name] if producer else (s.host or where)
            made = end[producer.name] if producer else 0.0
            arrive = max(arrive, made + way_s(s, source, where, g.type(tensor).size_bytes))
        region = Region(graph=g, nodes=(name,))
        end[name] = free[where] = arrive + model.cost(region, s.device(where)).latency_s
        back = way_s(s, where, s.host, g.type(name).size_bytes) if s.host else 0.0
        last = max(last, end[name] + (back if name in g.outputs else 0.0))
    return last


def orders(g: Graph) -> Iterable[tuple[str, ...]]:
    """All topological orders."""
    names = [node.name for node in g.nodes]
    for order in itertools.permutations(names):
        place = {name: i for i, name in enumerate(order)}
        if all(
            place[p.name] < place[n.name] for n in g.nodes for t in n.inputs if (p := g.producer(t))
        ):
            yield order


def optimum(g: Graph, s: System) -> float:
    """The least makespan of all mappings and orders when no transfer waits for a link."""
    names = [d.name for d in s.devices]
    return min(
        lower_bound_of(dict(zip((n.name for n in g.nodes), choice, strict=True)), order, g, s)
        for order in orders(g)
        for choice in itertools.product(names, repeat=len(g.nodes))
    )


def best_single_s(g: Graph, s: System) -> float:
    """Best of all single devices: inputs in (sharing the way), all work, results out."""
    order = [node.name for node in g.nodes]
    return min(lower_bound_of(dict.fromkeys(order, d.name), order, g, s) for d in s.devices)


def check_valid(plan: Plan, graphs: Sequence[Graph], s: System) -> Timeline:
    """Check a plan by the definition; return its replay with the `Rate` model."""
    prefixes = [model.prefix for model in plan.models]
    wanted = [p + n.name for p, g in zip(prefixes, graphs, strict=True) for n in g.nodes]
    assert sorted(n for a in plan.assignments for n in a.nodes) == sorted(wanted)
    where, model = plan.device_of(), Rate()
    seconds: dict[str, float] = {}
    held: dict[str, dict[str, int]] = {}
    for prefix, g in zip(prefixes, graphs, strict=True):
        for node in g.nodes:
            region = Region(graph=g, nodes=(node.name,))
            mine = where[prefix + node.name]
            seconds[prefix + node.name] = model.cost(region, s.device(mine)).latency_s
            for tensor in node.inputs:
                if tensor in g.constants:
                    held.setdefault(mine, {})[prefix + tensor] = g.type(tensor).size_bytes
                    continue
                producer = g.producer(tensor)
                source = where[prefix + producer.name] if producer else s.host
                carriers = [
                    t for t in plan.transfers
                    if t.tensor == prefix + tensor and mine in t.targets
                    and prefix + node.name in t.consumers
                ]  # fmt: skip
                if source and source != mine:
                    assert len(carriers) == 1 and carriers[0].source == source, (tensor, carriers)
                else:
                    assert len(carriers) <= 1
        for tensor in set(g.outputs) - set(g.states.values()):
            producer = g.producer(tensor)
            if s.host and producer and where[prefix + producer.name] != s.host:
                back = [
                    t for t in plan.transfers if t.tensor == prefix + tensor and s.host in t.targets
                ]
                assert len(back) == 1
    for name, weights in held.items():
        assert plan.resident_bytes[name] >= sum(weights.values())
        assert plan.resident_bytes[name] <= s.device(name).offchip.size_bytes
    assert len({(t.tensor, t.source) for t in plan.transfers}) == len(plan.transfers)
    timeline = replay(plan, s, lambda a: seconds[a.region])
    times = {x.name: (x.start_ps, x.end_ps) for x in timeline.spans if x.kind == "compute"}
    for assignment in plan.assignments:
        for name in assignment.after:
            assert times[name][1] <= times[assignment.region][0]
    for one in s.devices:
        spans = sorted((x.start_ps, x.end_ps) for x in timeline.spans if x.resource == one.name)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    return timeline
