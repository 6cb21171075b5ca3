"""A network as stages: layers with loop nests, each with the element-wise tail its results pass.

Models:  operators that make one number of one (activations, scales and shifts, additions of another
         tensor of the same shape) run on results as they leave the nest before them, if what else
         they read is there by then. A result on the way that others read too is written as well.
         Views are the tensor that they look at. A chain of layers can be cut into tiles of rows
         that pass through all of them, one tile after the other.
Ignores: operators that make fewer or more elements than they read; several tails of one nest.
Judge:   every node is in one stage; what stages read and write is what the graph's regions do
         (tests).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from orrery.graph import Graph, Node, Region

from .._cost import Refusal
from ..sharding._operators import _ELEMENTWISE
from ._layers import nest_problem
from ._problem import Index, NestProblem

#: why a stage has no nest that could have one: `stages_of` was asked to leave out passes
OTHER_UNIT = "a pass over data, left to another unit"

_UNARY = frozenset(("CastLike", "DequantizeLinear", "Dropout", "QuantizeLinear"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """Element-wise operators that results pass on their way out of a nest.

    Attributes
    ----------
    operators : (node, operator, operations), first to last
    reads : computed tensors that are read besides, each once per operator
    constants : elements of constants that are read, once
    also : results on the way that others read too
    """

    operators: tuple[tuple[str, str, int], ...] = ()
    reads: tuple[str, ...] = ()
    constants: int = 0
    also: tuple[str, ...] = ()

    @property
    def operations(self) -> int:
        """Element-wise operations of all operators."""
        return sum(operations for _, _, operations in self.operators)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A layer and its tail.

    Attributes
    ----------
    problems : its nests, in order; none where there is a reason
    reads : computed tensors that the nests read, views resolved
    writes : tensors that it makes, the last result of the tail first
    reads_kept, makes_kept : whether its operands, its result may live in a buffer: it is one nest,
        run once, and they are all that the nest knows as inputs, as output
    reason : why it has no nest
    """

    name: str
    operator: str
    problems: tuple[NestProblem, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    tail: Tail = field(default_factory=Tail)
    reads_kept: bool = False
    makes_kept: bool = False
    reason: str = ""

    def left_out(self, reason: str) -> Stage:
        """Return it without nests: what it reads and writes is off chip, and in no total."""
        return replace(self, problems=(), tail=Tail(reads=self.tail.reads), reads_kept=False,
                       makes_kept=False, reason=reason)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """A network's stages in the order in which they run.

    Attributes
    ----------
    sizes : tensor -> elements
    outputs : tensors that must be off chip in the end
    """

    stages: tuple[Stage, ...]
    sizes: Mapping[str, int]
    outputs: frozenset[str]

    def readers(self) -> dict[str, tuple[int, ...]]:
        """Return tensor -> places of the stages that read it."""
        found: dict[str, list[int]] = {}
        for place, stage in enumerate(self.stages):
            for tensor in dict.fromkeys((*stage.reads, *stage.tail.reads)):
                found.setdefault(tensor, []).append(place)
        return {tensor: tuple(places) for tensor, places in found.items()}


def stages_of(graph: Graph, *, tails: bool = True, passes: bool = True) -> Stages:
    """Return a network's stages.

    Parameters
    ----------
    tails : whether element-wise operators join the nest before them; else each is a stage
    passes : whether stages without a multiply-accumulate have nests; else another unit does them,
        from and to the outermost memory
    """
    found = _Reading(graph, tails).all()
    if passes:
        return found
    return replace(found, stages=tuple(
        s if any(problem.macs for problem in s.problems) else
        s.left_out(s.reason or OTHER_UNIT)
        for s in found.stages
    ))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A few rows of a stage's results, as often as there are such.

    Attributes
    ----------
    problem : `times` says how often
    reads, makes : elements of the rows that are read and made
    """

    stage: int
    rows: int
    problem: NestProblem
    tail: Tail
    reads: int
    makes: int


def row_tiles(stages: Stages, first: int, last: int, rows: int) -> tuple[Tile, ...]:
    """Cut a chain of stages into tiles of rows, each done by all of them before the next.

    A tile makes the rows that the next stage's tile reads: what two tiles share is made twice.
    Empty where the chain cannot be cut: a tensor in it is read by others too, a tail reads a
    computed tensor, or an operator does not go row by row.

    Parameters
    ----------
    rows : of the last stage's results
    """
    chain = stages.stages[first : last + 1]
    readers = stages.readers()
    ways = [_rows(stage) for stage in chain]
    for place, (stage, following) in enumerate(pairwise(chain), first):
        made = stage.writes[0] if stage.makes_kept and len(stage.writes) == 1 else ""
        if following.reads != (made,) or readers.get(made) != (place + 1,):
            return ()
        if made in stages.outputs or not following.reads_kept:
            return ()
    if None in ways or any(stage.tail.reads or stage.tail.also for stage in chain):
        return ()
    axes = [way for way in ways if way is not None]
    if any(after[1].size != before[0] for before, after in pairwise(axes)):
        return ()
    found: Counter[Tile] = Counter()
    for start in range(0, axes[-1][0], rows):
        low, high = start, min(start + rows, axes[-1][0])
        for place in range(last, first - 1, -1):
            height, axis = axes[place - first]
            extents = dict(chain[place - first].problems[0].loops)
            ends = [axis.offset, axis.offset]
            for loop, stride in axis.terms:
                ends[0] += stride * (low if loop == "H" else 0)
                ends[1] += stride * ((high if loop == "H" else extents[loop]) - 1)
            begin, end = max(0, ends[0]), min(axis.size, ends[1] + 1)
            if begin >= end:
                return ()
            moved = replace(axis, size=end - begin, offset=ends[0] - begin)
            found[_tile(stages, place, high - low, height, axis, moved)] += 1
            low, high = begin, end
    return tuple(sorted(
        (replace(tile, problem=replace(tile.problem, times=times))
         for tile, times in found.items()), key=lambda tile: tile.stage,
    ))  # fmt: skip


def _rows(stage: Stage) -> tuple[int, Index] | None:
    """Return a stage's rows and the axis of its operand that follows them."""
    if not (stage.reads_kept and stage.makes_kept and len(stage.reads) == 1):
        return None
    problem = stage.problems[0]
    height = dict(problem.loops).get("H", 0)
    follow: dict[str, list[Index]] = {}
    for tensor in problem.tensors:
        follow.setdefault(tensor.role, []).extend(
            axis for axis in tensor.axes if "H" in dict(axis.terms))  # fmt: skip
    made = Index(size=height, terms=(("H", 1),))
    if follow.get("output") != [made] or follow.get("weight") or len(follow["input"]) != 1:
        return None
    return height, follow["input"][0]


def _tile(
    stages: Stages, place: int, rows: int, height: int, axis: Index, moved: Index
) -> Tile:  # fmt: skip
    stage = stages.stages[place]
    problem = stage.problems[0]
    cut = {"input": (axis, moved), "output": (Index(size=height, terms=(("H", 1),)),
                                              Index(size=rows, terms=(("H", 1),)))}  # fmt: skip
    tensors = tuple(
        replace(t, axes=tuple(cut[t.role][1] if a == cut[t.role][0] else a for a in t.axes))
        if t.role in cut else t for t in problem.tensors
    )  # fmt: skip
    loops = tuple((loop, rows if loop == "H" else n) for loop, n in problem.loops)
    tail = replace(stage.tail, operators=tuple(
        (name, operator, operations // height * rows)
        for name, operator, operations in stage.tail.operators))  # fmt: skip
    return Tile(
        stage=place, rows=rows, problem=replace(problem, loops=loops, tensors=tensors), tail=tail,
        reads=stages.sizes[stage.reads[0]] // axis.size * moved.size,
        makes=stages.sizes[stage.writes[0]] // height * rows,
    )  # fmt: skip


class _Reading:
    """What is known while the graph's nodes are read in their order."""

    def __init__(self, graph: Graph, tails: bool) -> None:
        self.graph, self.tails = graph, tails
        self.views: dict[str, str] = {}
        self.stages: list[Stage] = []
        self.made: dict[str, int] = {}
        self.readers: dict[str, int] = {}
        self.outputs: frozenset[str] = frozenset()

    def all(self) -> Stages:
        graph = self.graph
        regions = graph.regions()
        found = {region.name: nest_problem(region) for region in regions}
        for region in regions:
            if found[region.name] == () and len(region.inputs) == 1:
                for made in region.outputs:
                    if graph.type(made).elements == graph.type(region.inputs[0]).elements:
                        self.views[made] = self.root(region.inputs[0])
        self.outputs = frozenset(self.root(name) for name in graph.outputs)
        for region in regions:
            if not self.is_view(region):
                for name in {self.root(name) for name in region.inputs}:
                    self.readers[name] = self.readers.get(name, 0) + 1
        for region in regions:
            if not self.is_view(region):
                self.add(region, found[region.name])
        sizes = {
            name: elements
            for stage in self.stages
            for name in (*stage.reads, *stage.tail.reads, *stage.writes)
            if (elements := _elements(graph, name)) is not None
        }
        return Stages(stages=tuple(self.stages), sizes=sizes, outputs=self.outputs)

    def root(self, name: str) -> str:
        return self.views.get(name, name)

    def is_view(self, region: Region) -> bool:
        return bool(region.outputs) and all(name in self.views for name in region.outputs)

    def add(self, region: Region, problems: tuple[NestProblem, ...] | Refusal) -> None:
        """Let a region join the stage before it, or begin one."""
        reads = tuple(
            self.root(name)
            for node in region.members
            for name in node.inputs
            if name and name not in self.graph.constants
        )
        joined = None if isinstance(problems, Refusal) else self.joins(region, problems, reads)
        place = len(self.stages) if joined is None else joined
        if isinstance(problems, Refusal):
            self.stages.append(Stage(
                name=region.name, operator=region.members[0].operator, problems=(), reads=reads,
                writes=region.outputs, reason=problems.reason,
            ))  # fmt: skip
        elif joined is None:
            self.begin(region, problems, reads)
        else:
            self.extend(joined, region.members[0], problems[0].operations, reads)
        for name in region.outputs:
            self.made[name] = place

    def begin(
        self, region: Region, problems: tuple[NestProblem, ...], reads: tuple[str, ...]
    ) -> None:
        one = len(problems) == 1 and problems[0].times == 1
        roles = [t.role for t in problems[0].tensors] if one else []
        constant = [name in self.graph.constants for name in region.members[0].inputs]
        # A copy gathers constants under the role of inputs; all others have a role of their own.
        gathers = constant[:1] == [True] or (region.members[0].op == "Concat" and any(constant))
        own = "weight" in roles or not gathers
        self.stages.append(Stage(
            name=region.name, operator=region.members[0].operator, problems=problems, reads=reads,
            writes=region.outputs, reads_kept=own and roles.count("input") == len(reads) > 0,
            makes_kept=one and len(region.outputs) == 1,
        ))  # fmt: skip

    def joins(
        self, region: Region, problems: tuple[NestProblem, ...], reads: tuple[str, ...]
    ) -> int | None:
        """Return the place of the stage whose results a region's operator can take as they come."""
        node = region.members[0]
        if not self.tails or not _one_of_one(node) or len(problems) != 1 or not reads:
            return None
        places = {name: self.made.get(name, -1) for name in reads}  # -1: there from the start
        last = max(places.values())
        if last < 0 or len(region.outputs) != 1:
            return None
        stage = self.stages[last]
        current = [name for name, place in places.items() if place == last]
        if not stage.makes_kept or current != [stage.writes[0]] or reads.count(current[0]) > 1:
            return None
        shape = self.graph.type(node.outputs[0]).shape
        taken = next(name for name in node.inputs if self.root(name) == current[0])
        return last if self.graph.type(taken).shape == shape else None

    def extend(self, place: int, node: Node, operations: int, reads: tuple[str, ...]) -> None:
        """Add an operator to the tail of a stage."""
        stage = self.stages[place]
        taken = stage.writes[0]
        also = (taken,) if self.readers[taken] > 1 or taken in self.outputs else ()
        constants = [n for n in node.inputs if n in self.graph.constants]
        if node.op == "BatchNormalization":  # four numbers a channel are a scale and a shift
            constants = constants[:2]
        tail = stage.tail
        self.stages[place] = Stage(
            name=stage.name, operator=stage.operator, problems=stage.problems, reads=stage.reads,
            writes=(node.outputs[0], *also, *stage.writes[1:]), reads_kept=stage.reads_kept,
            makes_kept=True,
            tail=Tail(
                operators=(*tail.operators, (node.name, node.operator, operations)),
                reads=(*tail.reads, *(name for name in reads if name != taken)),
                constants=tail.constants + sum(_elements(self.graph, n) or 0 for n in constants),
                also=(*also, *tail.also),
            ),
        )  # fmt: skip


def _one_of_one(node: Node) -> bool:
    return not node.domain and (
        node.op in _ELEMENTWISE or node.op in _UNARY or node.op == "BatchNormalization"
    )


def _elements(graph: Graph, name: str) -> int | None:
    known = graph.types.get(name)
    return known.elements if known is not None and known.is_bound else None
