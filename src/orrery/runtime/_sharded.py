"""Sharded layers executed by processes that send each other exactly their sharding's messages.

Models:  a sequence of sharded layers: operands change layout, rounds compute and rotate, sums are
         made; tensors between layers stay with the parties.
Ignores: speed; see `_parties`.
Judge:   results bit-equal to the unsharded layer, bytes equal to the formula's messages
         (tests/runtime/test_sharded.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.cost import Box, Layout, Phase, Resharding, Sharding, combining, reshard
from orrery.errors import SpecError
from orrery.graph import numpy_dtype

from ._backend import Tensors
from ._executor import Evaluator
from ._parties import Change, Drop, Key, PartyPool, Program, Round, Traffic, Turn
from ._reference import reference_evaluator

__all__ = ["ShardedLayer", "ShardedRun", "run_sharded"]

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
        """Payload bytes of all messages."""
        return sum(one.size_bytes for one in self.traffic)


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
    programs = [Program() for _ in range(parties)]
    homes: dict[str, Layout] = {}
    for tensor, layout in arrivals.items():
        homes[tensor] = layout
        whole = np.asarray(inputs[tensor])
        for party, program in enumerate(programs):
            program.buffers[-1, tensor] = _part(whole, layout.boxes[party])
    for number, layer in enumerate(layers):
        _plan_layer(programs, number, layer, homes, inputs)
        later = {o.tensor for rest in layers[number + 1 :] for o in rest.sharding.nest.operands}
        made = {o.tensor for done in layers[: number + 1] for o in done.sharding.nest.results}
        dead = tuple((-1, t) for t in homes if t not in later and t not in made)
        read = {o.tensor for done in layers[: number + 1] for o in done.sharding.nest.operands}
        dead += tuple((-1, t) for t in made if t in read and t not in later)
        for program in programs:
            program.steps.append(Drop(keys=dead))
    read = {o.tensor for layer in layers for o in layer.sharding.nest.operands}
    wanted = tuple(o.tensor for layer in layers for o in layer.sharding.nest.results
                   if o.tensor not in read)  # fmt: skip
    for program in programs:
        program.wanted = wanted
    pieces, traffic = pool.run(programs)
    layouts = {tensor: homes[tensor] for tensor in wanted}
    outputs = {t: _joined(layout, [held[t] for held in pieces]) for t, layout in layouts.items()}
    return ShardedRun(outputs=outputs, pieces=pieces, layouts=layouts, traffic=traffic)


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
            type_ = graph.type(operand.tensor)
            # Packed on a link, a byte each in memory: what is counted would not be what is sent.
            element_bytes = replace(type_, shape=(1,)).size_bytes
            if (
                numpy_dtype(type_.dtype).itemsize != element_bytes
                or replace(type_, shape=(8,)).size_bytes != 8 * element_bytes
            ):
                raise SpecError(f"sharded {nest.node.name}: {operand.tensor!r}",
                                found=type_.dtype, wanted="numbers of whole bytes",
                                fix="leave the node whole")  # fmt: skip
    lacking = sorted(set(arrivals) - set(inputs))
    if lacking:
        raise SpecError("sharded layers: arrivals", found=f"{lacking[0]!r} without a value",
                        wanted="a layout of an input", fix="give the input")  # fmt: skip
    return parties


def _plan_layer(
    programs: Sequence[Program], number: int, layer: ShardedLayer, homes: dict[str, Layout],
    inputs: Tensors,
) -> None:  # fmt: skip
    """Append a layer's steps to every party's program; `homes` learns where results lie."""
    sharding, places = layer.sharding, layer.processes
    mine = [programs[place] for place in places]
    graph = sharding.region.graph
    keys = [(number, f"operand{i}") for i in range(len(sharding.nest.operands))]
    for operand, need, key in zip(sharding.nest.operands, sharding.needs, keys):
        home = homes.get(operand.tensor)
        if home is not None:
            target = need.placed(places, len(programs))
            change = reshard(home, target, operand.tensor, layer.algorithm)
            _plan_change(programs, change, (-1, operand.tensor), key)
            continue
        whole = (np.asarray(inputs[operand.tensor]) if operand.tensor in inputs
                 else graph.constants[operand.tensor].array())  # fmt: skip
        for program, box in zip(mine, need.boxes):
            program.buffers[key] = _part(whole, box)
    made = [(number, f"result{i}") for i in range(len(sharding.nest.results))]
    for turn in range(sharding.rounds):
        for party, program in enumerate(mine):
            program.steps.append(_round(layer, turn, party, keys, made))
    for result, key, change in zip(sharding.nest.results, made, combining(sharding)):
        _plan_change(mine, change, key, (-1, result.tensor), places)
        homes[result.tensor] = change.after.placed(places, len(programs))
        for process, program in enumerate(programs):
            if process not in places:  # who takes no part holds an empty piece
                program.buffers[-1, result.tensor] = _nothing(change.after)
    for program in programs:
        program.steps.append(Drop(keys=(*keys, *made)))


def _round(
    layer: ShardedLayer, turn: int, party: int, keys: Sequence[Key], made: Sequence[Key]
) -> Round:
    sharding = layer.sharding
    part = sharding.shards[turn][party]
    operands = []
    for i, (operand, box) in enumerate(zip(sharding.nest.operands, part.operands)):
        if box is not None:
            held = box if i == sharding.rotating else sharding.needs[i].boxes[party]
            operands.append((part.node.inputs[operand.index], keys[i], held, box))
    results = tuple(
        (result.tensor, made[i], sharding.partials[i].boxes[party], part.results[i])
        for i, result in enumerate(sharding.nest.results)
    )
    # Rounds over a summed loop touch the same results: all but the first add to them.
    again = turn > 0 and part.results == sharding.shards[0][party].results
    phase = sharding.rotation[turn] if turn < len(sharding.rotation) else None
    return Round(
        node=part.node, types=dict(part.types), values=dict(part.values),
        operands=tuple(operands), results=results,
        adds=again, evaluator=layer.evaluator,
        rotating=None if phase is None or sharding.rotating is None else keys[sharding.rotating],
        turn=None if phase is None else _turn(phase.placed(layer.processes),
                                              layer.processes[party]),
    )  # fmt: skip


def _plan_change(
    programs: Sequence[Program], change: Resharding, source: Key, target: Key,
    places: Sequence[int] | None = None,
) -> None:  # fmt: skip
    """Append a change of layout; `places` are the processes of the programs, if not the first."""
    places = range(len(programs)) if places is None else places
    phases = [phase.placed(places) for phase in change.phases]
    for party, program in enumerate(programs):
        program.steps.append(Change(
            source=source, target=target, before=change.before.boxes[party],
            settled=change.settled.boxes[party], after=change.after.boxes[party],
            turns=tuple(_turn(phase, places[party]) for phase in phases),
        ))  # fmt: skip


def _turn(phase: Phase, party: int) -> Turn:
    return Turn(
        kind=phase.kind, adds=phase.adds,
        sends=tuple((m.target, m.box) for m in phase.messages if m.source == party),
        receives=tuple((m.source, m.box) for m in phase.messages if m.target == party),
    )  # fmt: skip


def _nothing(layout: Layout) -> Array:
    return np.empty((0,) * layout.type.rank, numpy_dtype(layout.type.dtype))


def _part(whole: Array, box: Box) -> Array:
    return np.ascontiguousarray(whole[box.slices]).reshape(box.sizes)


def _joined(layout: Layout, pieces: Sequence[Array]) -> Array:
    """Put parts together; addends are summed, copies written over each other."""
    whole = np.zeros(layout.type.sizes, numpy_dtype(layout.type.dtype))
    for box, piece in zip(layout.boxes, pieces):
        if layout.partial:
            whole[box.slices] += piece
        else:
            whole[box.slices] = piece
    return whole
