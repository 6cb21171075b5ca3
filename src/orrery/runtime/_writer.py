"""From shardings and changes of layout to a program for every process.

A tensor lies in one layout at a time, its home. What moves it is decided elsewhere; here every
message of a phase becomes a send of one process and a receive of another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.cost import Box, Layout, Phase, Resharding, Sharding, combining
from orrery.errors import SpecError
from orrery.graph import ArrayConstant, Constant, Graph, Region, TensorType, numpy_dtype, subgraph

from ._evaluator import Evaluator
from ._steps import FREE, Change, Drop, Key, Program, Round, Turn

Array = NDArray[Any]

#: (tensor, layout it is needed in, among all ends) -> how it gets there, None if it need not move
Arrive = Callable[[str, Layout], Resharding | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Who computes a region: ends in the order of its parties, what each is, and its evaluator."""

    ends: tuple[int, ...]
    names: tuple[str, ...]
    evaluators: tuple[Evaluator, ...]


class Writer:
    """Programs under construction, one per end.

    Parameters
    ----------
    ends : number of ends that layouts speak of
    processes : number of the process that plays each; their own numbers when None
    """

    def __init__(self, ends: int, processes: Mapping[int, int] | None = None) -> None:
        self._process = processes or {end: end for end in range(ends)}
        self.programs = [Program() for _ in range(ends)]
        self.homes: dict[str, Layout] = {}
        self._kept: dict[tuple[int, Box | None], ArrayConstant] = {}

    def start(self, tensor: str, layout: Layout, whole: Array) -> None:
        """Let a tensor be there before the first step."""
        self.homes[tensor] = layout
        for program, box in zip(self.programs, layout.boxes):
            if box.volume:
                program.buffers[-1, tensor] = piece(whole, box)

    def move(self, change: Resharding, name: str) -> None:
        """Bring a tensor into another layout, for a region; it lies there from then on."""
        self.change(change, (-1, change.tensor), (-1, change.tensor), name)
        self.homes[change.tensor] = change.after

    def change(self, change: Resharding, source: Key, target: Key, name: str) -> None:
        """Make a buffer in another layout; layouts and phases are among all ends."""
        dtype = numpy_dtype(change.before.type.dtype)
        turns: dict[int, list[Turn]] = {}
        for phase in change.phases:
            for end in sorted({e for m in phase.messages for e in (m.source, m.target)}):
                turns.setdefault(end, []).append(self._turn(phase, end))
        for end, program in enumerate(self.programs):
            before, after = change.before.boxes[end], change.after.boxes[end]
            if end in turns or before.volume or before != after:
                program.steps.append(Change(
                    name=name, source=source, target=target, before=before, after=after,
                    settled=change.settled.boxes[end], dtype=dtype,
                    turns=tuple(turns.get(end, ())),
                ))  # fmt: skip

    def spread(self, tensor: str, source: int, targets: Sequence[int], name: str) -> None:
        """Send a scalar to who will read it."""
        layout, key = self.homes[tensor], (-1, tensor)
        for end in (source, *targets):
            box = layout.boxes[end]
            sends = tuple((self._process[t], box) for t in targets) if end == source else ()
            receives = () if end == source else ((self._process[source], box),)
            self.programs[end].steps.append(Change(
                name=name, source=key, target=key, before=box, settled=box, after=box,
                dtype=numpy_dtype(layout.type.dtype),
                turns=(Turn(kind=FREE, sends=sends, receives=receives, adds=False),),
            ))  # fmt: skip
        self._pair((source, target) for target in targets)

    def sharded(
        self, number: int, sharding: Sharding, crew: Crew, arrive: Arrive,
        given: Mapping[str, Array], prefix: str = "",
    ) -> None:  # fmt: skip
        """Append a split region: its arrivals, rounds and sums.

        Parameters
        ----------
        given : tensors that lie where they are needed, whole
        prefix : before the names of its tensors everywhere but in `sharding`
        """
        graph, name = sharding.region.graph, sharding.region.name
        operands = [(number, f"operand {i}") for i in range(len(sharding.nest.operands))]
        for i, (operand, need) in enumerate(zip(sharding.nest.operands, sharding.needs)):
            constant = graph.constants.get(operand.tensor)
            if constant is not None and i != sharding.rotating:
                continue  # part of what each round computes
            whole = given.get(prefix + operand.tensor) if constant is None else constant.array()
            self._fetch(prefix + operand.tensor, operands[i], need, crew, arrive, whole, name)
        made = [(number, f"result {i}") for i in range(len(sharding.nest.results))]
        for turn in range(sharding.rounds):
            for party, end in enumerate(crew.ends):
                step = self._round(sharding, turn, party, crew, operands, made)
                self.programs[end].steps.append(step)
        everybody = len(self.programs)
        for result, key, change in zip(sharding.nest.results, made, combining(sharding)):
            home = prefix + result.tensor
            self.homes[home] = _placed(change.after, crew.ends, everybody)
            wide = Resharding(
                tensor=home, before=_placed(change.before, crew.ends, everybody),
                settled=_placed(change.settled, crew.ends, everybody), after=self.homes[home],
                phases=tuple(phase.placed(crew.ends) for phase in change.phases),
            )  # fmt: skip
            if change.before.type.rank == 0:
                self._rename(crew.ends, key, (-1, home), change.before, name)
            else:
                self.change(wide, key, (-1, home), name)
        for end in crew.ends:
            self.programs[end].steps.append(Drop(keys=(*operands, *made)))

    def whole(
        self, number: int, region: Region, crew: Crew, arrive: Arrive, needs: Mapping[str, Layout],
        outputs: Mapping[str, Layout], given: Mapping[str, Array], prefix: str = "",
    ) -> None:  # fmt: skip
        """Append a region that one device computes whole."""
        (end,) = crew.ends
        operands, results = [], []
        for i, tensor in enumerate(region.inputs):
            full, key = prefix + tensor, (number, f"operand {i}")
            need = needs[full]
            box = need.boxes[end]
            self._fetch(full, key, replace(need, boxes=(box,)), crew, arrive, given.get(full),
                        region.name)  # fmt: skip
            operands.append((tensor, key, box, box))
        for tensor in region.outputs:
            full = prefix + tensor
            self.homes[full] = outputs[full]
            box = outputs[full].boxes[end]
            results.append((tensor, (-1, full), box, box))
        alone = subgraph(region)
        alone = replace(alone, constants={n: self._constant(c) for n, c in alone.constants.items()})
        self.programs[end].steps += [
            Round(name=region.name, device=crew.names[0], evaluator=crew.evaluators[0],
                  region=Region(graph=alone, nodes=region.nodes, label=region.name),
                  operands=tuple(operands), results=tuple(results)),
            Drop(keys=tuple(key for _, key, _, _ in operands)),
        ]  # fmt: skip

    def take(self, tensor: str, end: int, key: Key) -> None:
        """Keep a party's part of a tensor apart, as it is now."""
        layout = self.homes[tensor]
        self._rename((end,), (-1, tensor), key, replace(layout, boxes=(layout.boxes[end],)), tensor)

    def drop(self, tensors: Sequence[str]) -> None:
        """Let go of tensors, everywhere."""
        for program in self.programs:
            program.steps.append(Drop(keys=tuple((-1, tensor) for tensor in tensors)))
        for tensor in tensors:
            del self.homes[tensor]

    # -- parts ------------------------------------------------------------------------------------

    def _fetch(
        self, tensor: str, key: Key, need: Layout, crew: Crew, arrive: Arrive,
        whole: Array | None, name: str,
    ) -> None:  # fmt: skip
        """Put an operand into buffers of its own: others may move or replace what it was."""
        home = self.homes.get(tensor)
        if home is None:
            if whole is None:
                raise SpecError(f"region {name!r}: input {tensor!r}", found="no value",
                                wanted=str(need.type), fix="give it")  # fmt: skip
            for end, box in zip(crew.ends, need.boxes):
                self.programs[end].buffers[key] = piece(whole, box)
            return
        change = arrive(tensor, _placed(need, crew.ends, len(self.programs)))
        if change is not None:
            self.move(change, name)
            home = change.after
        for end, after in zip(crew.ends, need.boxes):
            before = home.boxes[end]
            self.programs[end].steps.append(Change(
                name=name, source=(-1, tensor), target=key, before=before, settled=before,
                after=after, dtype=numpy_dtype(home.type.dtype),
            ))  # fmt: skip

    def _rename(
        self, ends: Sequence[int], source: Key, target: Key, layout: Layout, name: str
    ) -> None:
        for end, box in zip(ends, layout.boxes):
            self.programs[end].steps.append(Change(
                name=name, source=source, target=target, before=box, settled=box, after=box,
                dtype=numpy_dtype(layout.type.dtype),
            ))  # fmt: skip

    def _round(
        self, sharding: Sharding, turn: int, party: int, crew: Crew, keys: Sequence[Key],
        made: Sequence[Key],
    ) -> Round:  # fmt: skip
        part = sharding.shards[turn][party]
        region = self._local(sharding, turn, party)
        operands = {}
        for i, (operand, box) in enumerate(zip(sharding.nest.operands, part.operands)):
            name = part.node.inputs[operand.index] if box is not None else ""
            if box is not None and name in region.inputs:
                held = box if i == sharding.rotating else sharding.needs[i].boxes[party]
                if not held.holds(box):
                    raise SpecError(f"region {sharding.region.name!r}: operand {operand.tensor!r}",
                                    found=f"{box} read, {held} held", wanted="a part of it",
                                    fix="split the region in another way")  # fmt: skip
                operands[name] = (name, keys[i], held, box)
        results = tuple(
            (result.tensor, made[i], sharding.partials[i].boxes[party], part.results[i])
            for i, result in enumerate(sharding.nest.results)
        )
        # Rounds over a summed loop touch the same results: all but the first add to them.
        again = turn > 0 and part.results == sharding.shards[0][party].results
        rotating, pass_on = None, None
        if sharding.rotating is not None and turn < len(sharding.rotation):
            rotating = keys[sharding.rotating]
            phase = sharding.rotation[turn].placed(crew.ends)
            pass_on = self._turn(phase, crew.ends[party])
        return Round(
            name=sharding.region.name, device=crew.names[party], region=region,
            evaluator=crew.evaluators[party], operands=tuple(operands.values()), results=results,
            adds=again, rotating=rotating, turn=pass_on,
        )  # fmt: skip

    def _local(self, sharding: Sharding, turn: int, party: int) -> Region:
        """Return a shard as a network of one node; what rotates comes from outside."""
        part, graph = sharding.shards[turn][party], sharding.region.graph
        constants: dict[str, Constant] = {n: ArrayConstant(v) for n, v in part.values.items()}
        for i, (operand, box) in enumerate(zip(sharding.nest.operands, part.operands)):
            if box is not None and i != sharding.rotating and operand.tensor in graph.constants:
                name = part.node.inputs[operand.index]
                constants[name] = self._constant(graph.constants[operand.tensor], box)
        local = Graph(
            name=f"{graph.name}/{sharding.region.name}/{party}", nodes=(part.node,),
            inputs=tuple(dict.fromkeys(n for n in part.node.inputs if n and n not in constants)),
            outputs=tuple(n for n in part.node.outputs if n), types=part.types,
            constants=constants,
        )  # fmt: skip
        return Region(graph=local, nodes=(part.node.name,), label=sharding.region.name)

    def _constant(self, constant: Constant, box: Box | None = None) -> ArrayConstant:
        """Return (a part of) a constant in memory; regions that read the same share it."""
        found = self._kept.get((id(constant), box))
        if found is None:
            whole = constant.array()
            value = np.asarray(whole) if box is None else piece(whole, box)
            found = self._kept[id(constant), box] = ArrayConstant(value)
        return found

    def _turn(self, phase: Phase, end: int) -> Turn:
        self._pair((m.source, m.target) for m in phase.messages if end in (m.source, m.target))
        return Turn(
            kind=phase.kind, adds=phase.adds,
            sends=tuple((self._process[m.target], m.box)
                        for m in phase.messages if m.source == end),
            receives=tuple((self._process[m.source], m.box)
                           for m in phase.messages if m.target == end),
        )  # fmt: skip

    def _pair(self, pairs: Iterable[tuple[int, int]]) -> None:
        for source, target in pairs:
            a, b = sorted((self._process[source], self._process[target]))
            self.programs[source].pairs.add((a, b))
            self.programs[target].pairs.add((a, b))


def check_travels(where: str, tensor: str, type_: TensorType) -> None:
    """Refuse elements that are packed on a link and a byte each in memory, or text.

    What is counted would not be what is sent.
    """
    element_bytes = replace(type_, shape=(1,)).size_bytes
    if (
        numpy_dtype(type_.dtype).itemsize != element_bytes
        or replace(type_, shape=(8,)).size_bytes != 8 * element_bytes
    ):
        raise SpecError(f"{where}: {tensor!r}", found=type_.dtype, wanted="numbers of whole bytes",
                        fix="leave the node whole, where the tensor is")  # fmt: skip


def piece(whole: Array, box: Box) -> Array:
    """Return a part of an array, contiguous."""
    return np.ascontiguousarray(whole[box.slices]).reshape(box.sizes)


def joined(layout: Layout, pieces: Mapping[int, Array], whole: Array | None = None) -> Array:
    """Put the parts of parties together; addends are summed, copies written over each other.

    `whole` is what to write over, if anything is there already.
    """
    if whole is None:
        whole = np.zeros(layout.type.sizes, numpy_dtype(layout.type.dtype))
    for party, held in pieces.items():
        index: tuple[Any, ...] = (..., *layout.boxes[party].slices)
        part = whole[index]
        if layout.partial:
            part += held
        else:
            part[...] = held
    return whole


def _placed(layout: Layout, ends: Sequence[int], count: int) -> Layout:
    """Return a layout of a crew among all ends; scalars are everywhere."""
    if layout.type.rank == 0:
        return Layout.replicated(layout.type, count)
    return layout.placed(ends, count)
