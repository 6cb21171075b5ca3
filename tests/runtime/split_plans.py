"""Random networks of whole numbers, and random plans that split them over changing sets."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from orrery.cost import Expansion, Refusal, strategies
from orrery.graph import ArrayConstant, Graph, Node, Region, TensorType
from orrery.hardware import System
from orrery.plan import Assignment, ModelReference, Plan, Split, SystemReference
from orrery.runtime import Execution

#: (kind, source, target) -> messages, bytes
Table = dict[tuple[str, str, str], tuple[int, int]]


def residual(seed: int, *, most: int = 7) -> Graph:
    """Convolutions, pooling and additions over any earlier tensor; perhaps a head; perhaps states.

    All numbers differ, so that a part in the wrong place is seen.
    """
    rng = random.Random(f"split {seed}")
    numbers = np.random.default_rng(seed)
    shape = (rng.choice([1, 2]), 8, rng.choice([8, 9]), 8)
    shapes: dict[str, tuple[int, ...]] = {"x": shape}
    if rng.random() < 0.3:
        shapes["z"] = shape
    constants: dict[str, ArrayConstant] = {}
    nodes: list[Node] = []

    def add(op: str, inputs: Sequence[str], shape: tuple[int, ...], **attributes: object) -> str:
        name = f"{op.lower()}{len(nodes)}"
        nodes.append(Node(name=name, op=op, inputs=tuple(inputs), outputs=(name,),
                          attributes=attributes))  # fmt: skip
        shapes[name] = shape
        return name

    def weight(*sizes: int) -> str:
        same = [n for n, c in constants.items() if c.type.shape == sizes]
        if same and rng.random() < 0.3:  # two layers read one constant
            return rng.choice(same)
        constants[name := f"w{len(constants)}"] = ArrayConstant(numbers.integers(-5, 6, sizes))
        return name

    for _ in range(rng.randint(3, most)):
        source = rng.choice(list(shapes)[-3:])
        shape = shapes[source]
        like = [name for name, other in shapes.items() if other == shape]
        kind = rng.choice(["Conv", "Conv", "Conv", "Add", "Relu", "MaxPool", "Mul"])
        if kind == "Conv":
            out, k, stride = rng.choice([8, 8, 12]), rng.choice([1, 3]), rng.choice([1, 1, 2])
            inputs = [source, weight(out, shape[1], k, k)]
            if rng.random() < 0.5:
                inputs.append(weight(out))
            spatial = (((s - 1) // stride + 1) for s in shape[2:])
            add("Conv", inputs, (shape[0], out, *spatial), kernel_shape=(k, k),
                pads=(k // 2,) * 4, strides=(stride, stride))  # fmt: skip
        elif kind == "MaxPool":
            add("MaxPool", [source], shape, kernel_shape=(3, 3), pads=(1, 1, 1, 1))
        elif kind == "Relu":
            add("Relu", [source], shape)
        else:
            add(kind, [source, rng.choice(like)], shape)
    last = list(shapes)[-1]
    head = rng.choice(["none", "scalar", "matrix", "matrix"])
    if head == "scalar":
        largest = add("ReduceMax", [last], (), keepdims=0)
        add("Mul", [rng.choice(list(shapes)[:-1]), largest], shapes[last])
    elif head == "matrix":
        constants["axes"] = ArrayConstant(np.array([2, 3]))
        pooled = add("ReduceSum", [last, "axes"], shapes[last][:2], keepdims=0)
        add("MatMul", [pooled, weight(shapes[last][1], 10)], (shapes[last][0], 10))
    read = {tensor for node in nodes for tensor in node.inputs}
    shapes = {name: shape for name, shape in shapes.items() if name in read or name not in "xz"}
    inputs = tuple(name for name in shapes if name in "xz")
    outputs = [n.name for n in nodes if n.name not in read or rng.random() < 0.15]
    types = {n: TensorType(dtype="int64", shape=shapes[n]) for n in inputs}
    types |= {n: c.type for n, c in constants.items()}
    states = {}
    alike = [n.name for n in nodes if shapes[n.name] == shapes[inputs[-1]]]
    if alike and rng.random() < 0.3:
        states = {inputs[-1]: (following := rng.choice(alike))}
        outputs = list(dict.fromkeys([*outputs, following]))
    return Graph(
        name=f"residual{seed}", nodes=tuple(nodes), inputs=inputs, outputs=tuple(outputs),
        types=types, constants=constants, states=states,
    ).infer()  # fmt: skip


def split_plan(graphs: Sequence[Graph], system: System, seed: int, *, fuse: bool = True) -> Plan:
    """Spread regions over random sets of devices, split in random ways, unequal ones too."""
    rng = random.Random(f"plan {seed}")
    devices = [device.name for device in system.devices]
    models, assignments = [], []
    for index, graph in enumerate(graphs):
        prefix = f"{graph.name}.{index}/" if len(graphs) > 1 else ""
        models.append(ModelReference(name=graph.name, digest=graph.digest, prefix=prefix))
        crew = rng.sample(devices, rng.randint(1, len(devices)))
        for region in _regions(graph, rng if fuse else None):
            if rng.random() < 0.4:
                crew = rng.sample(devices, rng.randint(1, len(devices)))
            found = strategies(region, len(crew))
            split = None
            if isinstance(found, Refusal):
                crew = crew[:1]
            elif len(crew) > 1 or rng.random() < 0.5:
                chosen = rng.choice(found)
                weights = tuple(rng.choice([1.0, 1.0, 2.5]) for _ in crew)
                ring = chosen.shared
                split = Split(
                    devices=tuple(crew), weights=weights, exclusive=chosen.exclusive,
                    shared=None if ring is None else (ring.loop, ring.operand),
                    combine=chosen.combine,
                )  # fmt: skip
            assignments.append(
                Assignment(region=prefix + region.name, device=crew[0], split=split,
                           nodes=tuple(prefix + name for name in region.nodes))
            )  # fmt: skip
    return Plan(
        models=tuple(models), system=SystemReference(name=system.name, digest=system.digest),
        assignments=tuple(assignments), transfers=(), objective="latency", searcher="by chance",
    )  # fmt: skip


def _regions(graph: Graph, rng: random.Random | None) -> list[Region]:
    """One region per node, some of two nodes in a row, which can only be computed whole."""
    regions: list[Region] = []
    rest = list(graph.nodes)
    while rest:
        taken = [rest.pop(0)]
        if rng and rest and taken[0].outputs[0] in rest[0].inputs and rng.random() < 0.2:
            taken.append(rest.pop(0))
        regions.append(Region(graph=graph, nodes=tuple(node.name for node in taken)))
    return regions


def random_inputs(graphs: Sequence[Graph], plan: Plan, seed: int) -> dict[str, np.ndarray]:
    """Whole numbers, by the plan's names."""
    rng = np.random.default_rng(seed)
    return {
        model.prefix + name: rng.integers(-9, 10, graph.type(name).sizes)
        for model, graph in zip(plan.models, graphs)
        for name in graph.inputs
    }


def whole(
    graphs: Sequence[Graph], plan: Plan, inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The networks by the reference, one after the other."""
    return {
        model.prefix + name: value
        for model, graph in zip(plan.models, graphs)
        for name, value in graph.evaluate(
            {name: inputs[model.prefix + name] for name in graph.inputs}
        ).items()
    }


def announced(expansion: Expansion) -> Table:
    """Messages and bytes of every phase of a plan."""
    phases = [p for step in expansion.steps for change in step.arrivals for p in change.phases]
    phases += [p for step in expansion.steps for p in (*step.rotation, *step.combines)]
    phases += [p for _, change in expansion.returns for p in change.phases]
    table: Table = {}
    for phase in phases:
        for m in phase.messages:
            key = (phase.kind, expansion.ends[m.source], expansion.ends[m.target])
            messages, size = table.get(key, (0, 0))
            table[key] = (messages + 1, size + m.size_bytes)
    return table


def counted(done: Execution) -> Table:
    """Messages and bytes that the senders counted; scalars, which no formula counts, left out."""
    return {
        (t.kind, done.ends[t.source], done.ends[t.target]): (t.messages, t.size_bytes)
        for t in done.traffic if not t.is_free
    }  # fmt: skip
