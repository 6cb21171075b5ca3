"""Sharded layers executed by processes that send each other exactly their sharding's messages.

Models:  a sequence of sharded layers: operands change layout, rounds compute and rotate, sums are
         made; tensors between layers stay with the parties, in the layout that the last reader
         that had to move them needed.
Ignores: speed; see `_parties`.
Judge:   results bit-equal to the unsharded layer, bytes equal to the formula's messages
         (tests/runtime/test_sharded.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.cost import Layout, Resharding, Sharding, reshard
from orrery.errors import SpecError
from orrery.graph import numpy_dtype

from ._backend import Tensors
from ._evaluator import Evaluator
from ._parties import PartyPool, Traffic, traffic_of
from ._reference import reference_evaluator
from ._writer import Crew, Writer, check_travels, joined

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardedRun:
    """What a sharded execution gave.

    Attributes
    ----------
    outputs : results that no later layer reads, put together; a partial one is summed
    pieces : per party, its part of each of these
    layouts : of these
    traffic : counted by the senders, in a fixed order
    """

    outputs: dict[str, Array]
    pieces: tuple[dict[str, Array], ...]
    layouts: dict[str, Layout]
    traffic: tuple[Traffic, ...]

    @property
    def sent_bytes(self) -> int:
        """Payload bytes of all messages, scalars left out."""
        return sum(one.size_bytes for one in self.traffic if not one.is_free)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardedLayer:
    """A sharding made ready to execute.

    Attributes
    ----------
    evaluator : computes a shard in its process; must be importable there
    algorithm : of changes of layout, see `orrery.cost.sharding.reshard`
    places : which processes are its parties; the first ones when empty
    """

    sharding: Sharding
    evaluator: Evaluator = reference_evaluator
    algorithm: str = "ring"
    places: tuple[int, ...] = ()

    @property
    def processes(self) -> tuple[int, ...]:
        """The process of each party."""
        return self.places or tuple(range(self.sharding.parties))

    def run(
        self, pool: PartyPool, inputs: Tensors, arrivals: Mapping[str, Layout] | None = None
    ) -> ShardedRun:
        """Execute this layer alone; see `run_sharded`."""
        return run_sharded(pool, [self], inputs, arrivals)


def run_sharded(
    pool: PartyPool,
    layers: Sequence[ShardedLayer],
    inputs: Tensors,
    arrivals: Mapping[str, Layout] | None = None,
) -> ShardedRun:
    """Execute layers one after the other; tensors between them stay with the parties.

    Parameters
    ----------
    layers : of one graph, in topological order; each on a set of processes of its own
    inputs : whole tensors that the layers read and none of them makes; constants are taken from
        the graph
    arrivals : input -> layout, among all processes that take part, in which they have it at first;
        others lie where they are needed

    Raises
    ------
    SpecError : no layer, places that do not fit, too small a pool, or a missing input
    PartyFailedError : a process failed; the pool is closed then
    """
    arrivals = dict(arrivals or {})
    parties = _check(pool, layers, inputs, arrivals)
    values = {name: np.asarray(value) for name, value in inputs.items()}
    writer = Writer(parties)
    for tensor, layout in arrivals.items():
        writer.start(tensor, layout, values[tensor])
    read = {o.tensor for layer in layers for o in layer.sharding.nest.operands}
    wanted = [o.tensor for layer in layers for o in layer.sharding.nest.results
              if o.tensor not in read]  # fmt: skip
    for number, layer in enumerate(layers):
        _write(writer, number, layer, values)
        later = {o.tensor for rest in layers[number + 1 :] for o in rest.sharding.nest.operands}
        writer.drop([t for t in writer.homes if t not in later and t not in wanted])
    for tensor in wanted:
        for program, box in zip(writer.programs, writer.homes[tensor].boxes):
            if box.volume:
                program.wanted.append((-1, tensor))
    answers = pool.run(writer.programs)
    layouts = {tensor: writer.homes[tensor] for tensor in wanted}
    pieces: tuple[dict[str, Array], ...] = tuple(
        {tensor: answer.parts.get((-1, tensor), np.empty(layout.boxes[party].sizes,
                                                          numpy_dtype(layout.type.dtype)))
         for tensor, layout in layouts.items()}
        for party, answer in enumerate(answers)
    )  # fmt: skip
    outputs = {
        tensor: joined(layout, {party: held[tensor] for party, held in enumerate(pieces)})
        for tensor, layout in layouts.items()
    }
    return ShardedRun(outputs=outputs, pieces=pieces, layouts=layouts, traffic=traffic_of(answers))


def _write(writer: Writer, number: int, layer: ShardedLayer, values: Tensors) -> None:
    """Append a layer; a reader that had to move an operand leaves it where it needed it."""

    def arrive(tensor: str, need: Layout) -> Resharding | None:
        change = reshard(writer.homes[tensor], need, tensor, layer.algorithm)
        return change if change.phases else None

    sharding, places = layer.sharding, layer.processes
    crew = Crew(
        ends=places, names=tuple(f"party {place}" for place in places),
        evaluators=(layer.evaluator,) * len(places),
    )  # fmt: skip
    writer.sharded(number, sharding, crew, arrive, values)


def _check(
    pool: PartyPool, layers: Sequence[ShardedLayer], inputs: Tensors,
    arrivals: Mapping[str, Layout],
) -> int:  # fmt: skip
    if not layers:
        raise SpecError("sharded layers", found="none", wanted="one or more", fix="give some")
    parties = max(max(layer.processes) for layer in layers) + 1
    parties = max([parties, *(layout.parties for layout in arrivals.values())])
    if parties > pool.parties:
        raise SpecError("sharded layers", found=f"a pool of {pool.parties}",
                        wanted=f"{parties} parties or more", fix="open a larger one")  # fmt: skip
    for tensor, layout in arrivals.items():
        if layout.parties != parties:
            raise SpecError(f"sharded layers: arrival of {tensor!r}",
                            found=f"a layout among {layout.parties}", wanted=f"one among {parties}",
                            fix="place it: layout.placed(…)")  # fmt: skip
    for layer in layers:
        places, count = layer.processes, layer.sharding.parties
        if len(set(places)) != len(places) or len(places) != count or min(places) < 0:
            raise SpecError(f"sharded {layer.sharding.region.name}: places", found=places,
                            wanted=f"{count} different processes", fix="correct them")  # fmt: skip
    made: set[str] = set()
    for layer in layers:
        nest, graph = layer.sharding.nest, layer.sharding.region.graph
        for operand in nest.operands:
            if operand.tensor in made:
                continue
            if operand.tensor not in inputs and operand.tensor not in graph.constants:
                raise SpecError(f"sharded {nest.node.name}: input {operand.tensor!r}",
                                found="no value", wanted=str(graph.type(operand.tensor)),
                                fix="give it")  # fmt: skip
        made.update(result.tensor for result in nest.results)
        for operand in (*nest.operands, *nest.results):
            check_travels(f"sharded {nest.node.name}", operand.tensor, graph.type(operand.tensor))
    lacking = sorted(set(arrivals) - set(inputs))
    if lacking:
        raise SpecError("sharded layers: arrivals", found=f"{lacking[0]!r} without a value",
                        wanted="a layout of an input", fix="give the input")  # fmt: skip
    return parties
