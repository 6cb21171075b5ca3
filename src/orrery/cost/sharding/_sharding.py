"""A layer split among parties: what each holds, computes and sends.

Models:  per party and round the part of every loop, the boxes of operands and results, and the
         node that computes them as a network of its own, so that any cost model prices it. A
         rotating operand passes from each party to the next of its ring while the round computes;
         a constant goes once more round, home for the next inference.
Ignores: time (see pricing); reuse of one buffer by two layers.
Judge:   executed by processes that exchange exactly these messages (tests/runtime).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import SpecError
from orrery.graph import ArrayConstant, Constant, Graph, Node, Region, TensorType
from orrery.store import content_hash

from .._cost import Refusal
from ._box import Box, Span, cut
from ._layout import Layout, Message, Phase, Resharding, mesh_weights, reshard, sums_into
from ._nest import Nest, Operand
from ._operators import nest_of
from ._strategy import Strategy, strategy_problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """What one party computes in one round.

    Attributes
    ----------
    spans : loop -> the part of it
    operands : per operand of the nest its box; None where this part does not read it
    results : per result its box
    node : the computation; operands and results bear their own names, a second part of the same
        tensor a numbered one
    types : of the node's tensors
    values : inputs of the node that are this part's own, by name
    """

    spans: Mapping[str, Span]
    operands: tuple[Box | None, ...]
    results: tuple[Box, ...]
    node: Node
    types: Mapping[str, TensorType]
    values: Mapping[str, NDArray[np.int64]]

    @property
    def signature(self) -> str:
        """A text that shards share when they ask for the same work."""
        shapes = [None if box is None else box.sizes for box in self.operands]
        return repr((shapes, [box.sizes for box in self.results],
                     sorted((k, repr(v)) for k, v in self.node.attributes.items())))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharding:
    """A layer under a strategy.

    Attributes
    ----------
    weights : speed per party; equal ones split evenly
    shards : per round, per party
    needs : per operand, what each party must hold before the first round
    partials : per result, what each party has computed after the last round
    outputs : per result, what each holds once sums are made as the strategy says
    rotation : what moves while each round computes; one phase fewer than rounds for activations
    rotating : position in the nest's operands of the one that rotates, or None
    """

    region: Region
    nest: Nest
    strategy: Strategy
    weights: tuple[float, ...]
    shards: tuple[tuple[Shard, ...], ...]
    needs: tuple[Layout, ...]
    partials: tuple[Layout, ...]
    outputs: tuple[Layout, ...]
    rotation: tuple[Phase, ...]
    rotating: int | None

    @property
    def parties(self) -> int:
        return len(self.weights)

    @property
    def rounds(self) -> int:
        return len(self.shards)

    def output(self, tensor: str) -> Layout:
        """Return the final layout of a result."""
        for operand, layout in zip(self.nest.results, self.outputs):
            if operand.tensor == tensor:
                return layout
        raise SpecError(f"sharding of {self.region.name}", found=f"result {tensor!r}",
                        wanted="one of " + ", ".join(o.tensor for o in self.nest.results),
                        fix="correct the name")  # fmt: skip

    def holding(self, turn: int, party: int) -> str:
        """Return a text that shards share when they do the same work with the same constants."""
        part = self.shards[turn][party]
        fixed = self.region.graph.constants
        held = [str(box) for operand, box in zip(self.nest.operands, part.operands)
                if operand.tensor in fixed]  # fmt: skip
        return f"{part.signature} {held}"

    def resident_bytes(self, party: int) -> int:
        """Return the most bytes a party holds at once for this layer alone.

        Operands as needed, results as computed, and, where an operand rotates, a second buffer for
        the part that is arriving.
        """
        held = {(o.tensor, layout.boxes[party]): layout.held_bytes(party)
                for o, layout in zip(self.nest.operands, self.needs)}  # fmt: skip
        total = sum(held.values()) + sum(layout.held_bytes(party) for layout in self.partials)
        if self.rotating is not None:
            arriving = [m.size_bytes for phase in self.rotation for m in phase.messages
                        if m.target == party]  # fmt: skip
            total += max(arriving, default=0)
        return total


def shard(region: Region, strategy: Strategy, parties: int | Sequence[float]) -> Sharding | Refusal:
    """Split a region among parties.

    Parameters
    ----------
    parties : how many equal ones, or a speed for each; loops are cut in proportion. In a mesh of
        two loops, each is cut by the sums of speeds along it

    Returns
    -------
    the sharding, or why this layer cannot be split like this
    """
    weights = (1.0,) * parties if isinstance(parties, int) else tuple(map(float, parties))
    if not weights:
        raise SpecError("shard: parties", found="none", wanted="1 or more", fix="name some")
    nest = nest_of(region)
    if isinstance(nest, Refusal):
        return nest
    problem = strategy_problem(nest, strategy, len(weights))
    if problem is not None:
        return Refusal(reason=f"{region.name}: {strategy}: {problem}")
    homes = _exclusive_spans(nest, strategy, weights)
    rings, chunks = _rings(nest, strategy, len(weights))
    rounds = max((len(ring) for ring in rings), default=1)
    places = {party: (ring, rank) for ring in rings for rank, party in enumerate(ring)}
    boxes = _Boxes()
    known: dict[tuple[Span, ...], Shard] = {}  # in rings, parties take each other's parts in turns
    shards = []
    for turn in range(rounds):
        row = []
        for party, spans in enumerate(homes):
            if strategy.shared is not None:
                ring, rank = places[party]
                spans = {**spans, strategy.shared.loop: chunks[(rank - turn) % len(ring)]}
            key = tuple(spans.values())
            if key not in known:
                known[key] = _shard(region, nest, spans, boxes)
            row.append(known[key])
        shards.append(tuple(row))
    turning = None if strategy.shared is None else strategy.shared.operand
    rotating = next((i for i, o in enumerate(nest.operands) if o.index == turning), None)
    needs = tuple(
        _needs(region, operand, shards, homes, i, rotating == i, boxes)
        for i, operand in enumerate(nest.operands)
    )  # fmt: skip
    sums = {loop.name for loop in nest.loops if loop.sums}
    partial = any(name in sums for name, _ in strategy.exclusive)
    partials = tuple(
        Layout(type=region.graph.type(result.tensor), partial=partial,
               boxes=tuple(boxes.of(result, spans) for spans in homes))
        for result in nest.results
    )  # fmt: skip
    rotation: tuple[Phase, ...] = ()
    if rotating is not None:
        rotation = _rotation(region, nest.operands[rotating], rotating, shards, rings)
    return Sharding(
        region=region, nest=nest, strategy=strategy, weights=weights, shards=tuple(shards),
        needs=needs, partials=partials, rotation=rotation, rotating=rotating,
        outputs=tuple(_combined(layout, strategy.combine) for layout in partials),
    )  # fmt: skip


def transitions(
    sharding: Sharding, arrivals: Mapping[str, Layout] | None = None, algorithm: str = "ring"
) -> tuple[Resharding, ...]:
    """Return, per operand, how it gets from where it is to where it is needed.

    A tensor that is read twice is moved for the first reading, and lies there for the second.

    Parameters
    ----------
    arrivals : tensor -> layout in which it is there; a tensor that is not named is where it is
        needed (weights, which are placed before the clock starts)
    """
    here = dict(arrivals or {})
    changes = []
    for operand, need in zip(sharding.nest.operands, sharding.needs):
        change = reshard(here.get(operand.tensor, need), need, operand.tensor, algorithm)
        if change.phases and operand.tensor in here:
            here[operand.tensor] = need
        changes.append(change)
    return tuple(changes)


def combining(sharding: Sharding) -> tuple[Resharding, ...]:
    """Return, per result, how partial sums become what the strategy leaves."""
    return tuple(
        reshard(partial, output, result.tensor)
        for result, partial, output in zip(sharding.nest.results, sharding.partials,
                                           sharding.outputs)
    )  # fmt: skip


def shard_region(sharding: Sharding, party: int, turn: int = 0) -> Region:
    """Return what a party computes in a round as a network of one node."""
    part, graph = sharding.shards[turn][party], sharding.region.graph
    constants: dict[str, Constant] = {n: ArrayConstant(v) for n, v in part.values.items()}
    for operand, box in zip(sharding.nest.operands, part.operands):
        if box is not None and operand.tensor in graph.constants:
            name = part.node.inputs[operand.index]
            constants[name] = _Slice(base=graph.constants[operand.tensor], box=box)
    inputs = tuple(dict.fromkeys(n for n in part.node.inputs if n and n not in constants))
    local = Graph(
        name=f"{graph.name}/{sharding.region.name}/{party}", nodes=(part.node,), inputs=inputs,
        outputs=tuple(n for n in part.node.outputs if n), types=part.types, constants=constants,
    )  # fmt: skip
    return Region(graph=local, nodes=(part.node.name,), label=sharding.region.name)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Slice:
    """A part of a constant, read when somebody asks."""

    base: Constant
    box: Box

    @property
    def type(self) -> TensorType:
        return replace(self.base.type, shape=self.box.sizes)

    def array(self) -> NDArray[Any]:
        part: NDArray[Any] = self.base.array()[self.box.slices]
        return part

    def digest(self) -> str:
        return content_hash("slice", self.base.digest(), str(self.box))


# -- geometry -------------------------------------------------------------------------------------


def _exclusive_spans(
    nest: Nest, strategy: Strategy, weights: Sequence[float]
) -> list[dict[str, Span]]:
    """Return every party's part of every loop, shared ones whole."""
    if not strategy.exclusive:
        return [nest.whole for _ in weights]
    extents = {loop.name: loop.extent for loop in nest.loops}
    along = mesh_weights(strategy.factors, weights)
    cuts = [cut(extents[name], w) for (name, _), w in zip(strategy.exclusive, along)]
    return [
        {**nest.whole, **{name: span for (name, _), span in zip(strategy.exclusive, picked)}}
        for picked in product(*cuts)
    ]


def _rings(
    nest: Nest, strategy: Strategy, parties: int
) -> tuple[list[list[int]], tuple[Span, ...]]:
    """Return who passes the rotating operand to whom, and how the shared loop is cut."""
    if strategy.shared is None:
        return [], ()
    shared = strategy.shared
    operand = next(o for o in nest.operands if o.index == shared.operand)
    groups: dict[tuple[int, ...], list[int]] = {}
    for party, place in enumerate(product(*(range(factor) for factor in strategy.factors))):
        key = tuple(c for c, (name, _) in zip(place, strategy.exclusive) if name in operand.loops)
        groups.setdefault(key, []).append(party)
    rings = list(groups.values())
    extent = next(loop.extent for loop in nest.loops if loop.name == shared.loop)
    return rings, cut(extent, (1.0,) * (parties // len(rings)))


def _reads(nest: Nest, operand: Operand, spans: Mapping[str, Span]) -> bool:
    """Whether these parts of the loops read an operand: addends only where every sum starts."""
    return not operand.once or all(spans[loop.name][0] == 0 for loop in nest.loops if loop.sums)


class _Boxes:
    """Remembers which part of a tensor parts of the loops touch: most parties ask for the same."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[tuple[str, ...], dict[tuple[Span, ...], Box]]] = {}
        self._types: dict[tuple[str, tuple[int, ...]], TensorType] = {}

    def type_of(self, graph: Graph, tensor: str, box: Box) -> TensorType:
        """Return the type of a part of a tensor."""
        key = (tensor, box.sizes)
        type_ = self._types.get(key)
        if type_ is None:
            type_ = self._types[key] = replace(graph.type(tensor), shape=box.sizes)
        return type_

    def of(self, operand: Operand, spans: Mapping[str, Span]) -> Box:
        """Return ``operand.box(spans)``."""
        found = self._known.get(id(operand))
        if found is None:
            found = self._known[id(operand)] = (tuple(sorted(operand.loops)), {})
        loops, known = found
        key = tuple(map(spans.__getitem__, loops))
        box = known.get(key)
        if box is None:
            box = known[key] = operand.box(spans)
        return box


def _shard(region: Region, nest: Nest, spans: Mapping[str, Span], touched: _Boxes) -> Shard:
    node, graph = nest.node, region.graph
    inputs = [""] * len(node.inputs)
    boxes: list[Box | None] = []
    types: dict[str, TensorType] = {}
    parts: dict[str, list[Box]] = {}
    for operand in nest.operands:
        if not _reads(nest, operand, spans):
            boxes.append(None)
            continue
        box = touched.of(operand, spans)
        boxes.append(box)
        known = parts.setdefault(operand.tensor, [])
        if box not in known:
            known.append(box)
        number = known.index(box)
        name = operand.tensor if number == 0 else f"{operand.tensor}#{number + 1}"
        inputs[operand.index] = name
        types[name] = touched.type_of(graph, operand.tensor, box)
    own: dict[str, NDArray[np.int64]] = {}
    for index, numbers in nest.values(spans).items():
        name = inputs[index] = node.inputs[index]
        own[name] = np.array(numbers, np.int64)
        types[name] = TensorType(dtype="int64", shape=(len(numbers),))
    while inputs and not inputs[-1]:
        inputs.pop()
    results = tuple(touched.of(result, spans) for result in nest.results)
    for result, box in zip(nest.results, results):
        types[result.tensor] = touched.type_of(graph, result.tensor, box)
    attributes = {**node.attributes, **nest.attributes(spans)}
    return Shard(spans=spans, operands=tuple(boxes), results=results, types=types, values=own,
                 node=replace(node, inputs=tuple(inputs), attributes=attributes))  # fmt: skip


def _needs(
    region: Region, operand: Operand, shards: Sequence[Sequence[Shard]],
    homes: Sequence[Mapping[str, Span]], position: int, rotates: bool, touched: _Boxes,
) -> Layout:  # fmt: skip
    """Return what everybody must hold: the first part if it rotates, else what all rounds read."""
    type_ = region.graph.type(operand.tensor)
    boxes = []
    for party, spans in enumerate(homes):
        read = [row[party].operands[position] for row in shards]
        if all(box is None for box in read):
            boxes.append(Box(spans=((0, 0),) * type_.rank))
        else:
            first = read[0] if rotates else None
            boxes.append(first if first is not None else touched.of(operand, spans))
    return Layout(type=type_, boxes=tuple(boxes))


def _combined(partial: Layout, combine: str) -> Layout:
    if not partial.partial or combine == "none":
        return partial
    if combine == "reduce_scatter":
        return sums_into(partial)
    return replace(partial, partial=False)


def _rotation(
    region: Region, operand: Operand, position: int, shards: Sequence[Sequence[Shard]],
    rings: Sequence[Sequence[int]],
) -> tuple[Phase, ...]:  # fmt: skip
    """Return a phase per round in which every party passes on the part it computes with."""
    layout = Layout.replicated(region.graph.type(operand.tensor), len(shards[0]))
    constant = operand.tensor in region.graph.constants
    phases = []
    for row in shards if constant else shards[:-1]:
        messages = []
        for ring in rings:
            for rank, party in enumerate(ring):
                box = row[party].operands[position]
                if box is not None and box.volume:
                    messages.append(Message(source=party, target=ring[(rank + 1) % len(ring)],
                                            box=box, size_bytes=layout.bytes_of(box)))  # fmt: skip
        phases.append(Phase(kind="rotate", tensor=operand.tensor, messages=tuple(messages)))
    return tuple(phases)
