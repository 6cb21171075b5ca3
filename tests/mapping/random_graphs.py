"""Small random residual networks and systems of real graphs and devices, from a seed alone.

Networks have convolutions (or matrix products), activations and additions over any earlier tensors
of equal shape; systems have up to three devices on several topologies, some with designs of which
one may be configured. All numbers are round; work and transfers take times of the same size, so
that searches have something to weigh.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from orrery.cost import Cost, CostModel, Refusal, Roofline
from orrery.graph import ArrayConstant, Graph, Node, Region, Statistics, TensorType
from orrery.hardware import Compute, Device, Link, Memory, System
from orrery.plan import KernelSchedule
from orrery.provenance import Basis, Source

MADE_UP = Source(basis=Basis.ASSUMED, where="test")
TOPOLOGIES = ("full", "star", "line", "bus", "no host", "host computes")


@dataclass(frozen=True)
class Scaled:
    """The roofline, so many times slower, for some operators or all."""

    name: str
    factor: float = 1.0
    accepts: frozenset[str] | None = None

    def refuses(self, region: Region, device: Device) -> Refusal | None:
        wrong = region.operators - (self.accepts or region.operators)
        if wrong:
            return Refusal(reason=f"{self.name} does not run {', '.join(sorted(wrong))}")
        return Roofline().refuses(region, device)

    def cost(
        self, region: Region, device: Device, schedule: KernelSchedule | None = None,
        statistics: Statistics | None = None,
    ) -> Cost:  # fmt: skip
        alone = Roofline().cost(region, device, schedule, statistics)
        return Cost(latency_s=alone.latency_s * self.factor)


#: As they are, devices are slow; a design makes its operators fast, and some it cannot do.
MODELS: Mapping[str, CostModel] = {
    "": Scaled(name="own units", factor=4.0),
    "dense": Scaled(name="dense", accepts=frozenset({"Conv", "MatMul"})),
    "pointwise": Scaled(name="pointwise", accepts=frozenset({"Relu", "Sigmoid", "Add"})),
    "even": Scaled(name="even", factor=2.0),
}


def residual_graph(seed: int, *, least: int = 1, most: int = 6, dense: str | None = None) -> Graph:
    """Return a network of `least` to `most` nodes.

    Parameters
    ----------
    dense : ``Conv`` or ``MatMul``; None draws one
    """
    rng = random.Random(f"graph {seed}")
    op = dense or rng.choice(["Conv", "MatMul"])
    channels, side = rng.choice([2, 4]), rng.choice([4, 8])
    first = (1, channels, side, side) if op == "Conv" else (side, 4 * channels)
    names = [f"x{i}" for i in range(rng.choice([1, 1, 1, 2]))]
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(names, first)
    constants: dict[str, ArrayConstant] = {}
    nodes: list[Node] = []
    for number in range(rng.randint(least, most)):
        # Recent tensors are likelier, so that paths grow long and skips stay skips.
        recent = list(shapes)[-3:]
        source = rng.choice(recent if rng.random() < 0.7 else list(shapes))
        like = [name for name, shape in shapes.items() if shape == shapes[source]]
        kind = rng.choice([op, op, "Add", "Relu"])
        if kind == "Add" and len(like) < 2:
            kind = op
        name, shape = f"{kind.lower()}{number}", shapes[source]
        inputs, attributes = [source], {}
        if kind == "Add":
            inputs.append(rng.choice([other for other in like if other != source]))
        elif kind == "Relu":
            kind = rng.choice(["Relu", "Sigmoid"])
        else:
            weight, shape, attributes = _weights(rng, op, shape)
            shared = [n for n, c in constants.items() if c.type.shape == weight.type.shape]
            if shared and rng.random() < 0.2:
                weight_name = rng.choice(shared)
            else:
                constants[weight_name := f"w{number}"] = weight
            inputs.append(weight_name)
        nodes.append(Node(name=name, op=kind, inputs=tuple(inputs), outputs=(name,),
                          attributes=attributes))  # fmt: skip
        shapes[name] = shape
    read = {tensor for node in nodes for tensor in node.inputs}
    made = [node.name for node in nodes]
    outputs = [name for name in made if name not in read or rng.random() < 0.1]
    types = {n: TensorType(dtype="float32", shape=shapes[n]) for n in names if n in read}
    types |= {n: c.type for n, c in constants.items()}
    return Graph(
        name=f"residual{seed}", nodes=tuple(nodes), inputs=tuple(n for n in names if n in read),
        outputs=tuple(outputs), types=types, constants=constants,
    ).infer()  # fmt: skip


def _weights(
    rng: random.Random, op: str, shape: tuple[int, ...]
) -> tuple[ArrayConstant, tuple[int, ...], dict[str, list[int]]]:
    """Return weights, the shape of the result, and the attributes of the node."""
    if op == "MatMul":
        inner = shape[1]
        outer = rng.choice([inner, inner, 2 * inner])
        return ArrayConstant(np.ones((inner, outer), np.float32)), (shape[0], outer), {}
    inner, kernel = shape[1], rng.choice([1, 3])
    outer = rng.choice([inner, inner, 2 * inner])
    weight = ArrayConstant(np.ones((outer, inner, kernel, kernel), np.float32))
    attributes = {"kernel_shape": [kernel] * 2, "pads": [kernel // 2] * 4}
    return weight, (1, outer, *shape[2:]), attributes


def random_system(
    seed: int, *, least: int = 1, most: int = 3, designs: bool = True, size_bytes: int = 2**30,
    topology: str | None = None,
) -> System:  # fmt: skip
    """Return a system of `least` to `most` devices that together run every operator.

    Parameters
    ----------
    designs : whether some devices may be configured with the designs of `MODELS`
    size_bytes : off-chip memory of each device
    topology : one of `TOPOLOGIES`; None draws one
    """
    rng = random.Random(f"system {seed}")
    count = rng.randint(least, most)
    devices = [_device(rng, f"d{i}", designs, size_bytes) for i in range(count)]
    if count > 1 and rng.random() < 0.3:  # equal devices invite symmetric plans
        alike = devices[0]
        devices[1] = Device(
            name="d1", kind=alike.kind, designs=alike.designs, compute=alike.compute,
            memories=alike.memories, operators=alike.operators,
        )  # fmt: skip
    elif count > 1 and rng.random() < 0.3:
        last = devices[-1]
        devices[-1] = Device(
            name=last.name, kind=last.kind, compute=last.compute, memories=last.memories,
            operators=("Conv", "MatMul"),
        )  # fmt: skip
    shape = topology or rng.choice(TOPOLOGIES)
    names = [device.name for device in devices]
    host = {"no host": "", "host computes": names[0]}.get(shape, "host")
    ends = names if host in ("", *names) else [host, *names]
    if shape == "bus":
        links = [_link(rng, "bus", ends)]
    elif shape == "star":
        links = [_link(rng, f"host-{name}", [host, name]) for name in names]
    elif shape == "line":
        links = [_link(rng, f"{a}-{b}", [a, b]) for a, b in itertools.pairwise(ends)]
    else:
        links = [_link(rng, f"{a}-{b}", [a, b]) for a, b in itertools.combinations(ends, 2)]
    return System(name=f"{shape}{seed}", devices=tuple(devices), links=tuple(links), host=host)


def _device(rng: random.Random, name: str, designs: bool, size_bytes: int) -> Device:
    rates = {
        "macs_per_s": {"float32": rng.choice([1e9, 2e9, 5e9])},
        "others_per_s": rng.choice([2e8, 1e9]),
    }
    memory = {"size_bytes": size_bytes, "bandwidth_bytes_per_s": rng.choice([1e9, 4e9])}
    offered = ["dense", "pointwise", "even"] if designs and rng.random() < 0.5 else []
    return Device(
        name=name, kind="asic", designs=tuple(rng.sample(offered, min(len(offered), 2))),
        compute=Compute(**rates, sources=dict.fromkeys(rates, MADE_UP)),
        memories=(
            Memory(name="dram", offchip=True, **memory, sources=dict.fromkeys(memory, MADE_UP)),
        ),
    )  # fmt: skip


def _link(rng: random.Random, name: str, ends: Sequence[str]) -> Link:
    numbers = {"bandwidth_bytes_per_s": rng.choice([2e8, 1e9, 5e9]),
               "latency_s": rng.choice([0.0, 0.0, 1e-6])}  # fmt: skip
    return Link(name=name, ends=tuple(ends), duplex=rng.random() < 0.5, **numbers,
                sources=dict.fromkeys(numbers, MADE_UP))  # fmt: skip


def residual_graphs(*, least: int = 1, most: int = 6) -> st.SearchStrategy[Graph]:
    """Return a strategy of networks; a failure names the seed."""
    return st.integers(0, 10**6).map(lambda seed: residual_graph(seed, least=least, most=most))


def random_systems(*, least: int = 1, most: int = 3) -> st.SearchStrategy[System]:
    """Return a strategy of systems with designs; a failure names the seed."""
    return st.integers(0, 10**6).map(lambda seed: random_system(seed, least=least, most=most))
