"""What moves between the memories when a loop nest runs: integer counts, exact.

Models:  every memory keeps its tile while only loops that the tensor does not follow advance
         directly outside of it; when any other loop outside advances, the tile is fetched anew.
         A level that slides fetches what the tile just before did not hold. Padding never moves.
         Multipliers read their operands each step. Results leave a level tile by tile and come
         back before they are added to, unless they start from zero there; where instances hold
         parts of the same result and the level above adds them up, one of them takes the part
         that comes back. A result is final when it leaves for the last time and nobody else
         holds a part of it.
Ignores: luck at the ends of loops (a loop with one pass left keeps nothing); values (zeros).
Judge:   a brute-force interpreter that walks the loops with a set of elements per memory (tests).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from orrery.hardware import Architecture

from ._mapping import NestMapping
from ._problem import Index, NestProblem, NestTensor
from ._reach import (
    EACH,
    FREE,
    INSIDE,
    ONCE,
    SLIDE,
    WHICH,
    Digits,
    Reach,
    axis_reach,
    distinct,
    loop_reach,
    passes,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What moves of one tensor between a level and the next one inwards that holds it, a run.

    Attributes
    ----------
    parent, child : places of the levels; the child is the number of levels for the multipliers
    outer : elements at the parent's port, per instance of it: reads going in, writes coming out
    inner : elements at the child's ports: writes going in, reads coming out (drains)
    first_outer, first_inner : elements of the first fetch at the busiest parent and child
    back : elements read at the parent and written at the child because their sums go on
    final_outer, final_inner : elements of `outer` and `inner` that are final results
    """

    tensor: NestTensor
    parent: int
    child: int
    outer: Reach
    inner: Reach
    first_outer: int = 0
    first_inner: int = 0
    back: int = 0
    final_outer: int = 0
    final_inner: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NestCounts:
    """A nest, counted; everything for one run of the problem.

    Attributes
    ----------
    steps : combinations of temporal indices with work: cycles at one operation each
    operations : combinations of indices, padding included
    active : processing elements that ever work
    flows : per tensor, outermost first
    tiles : per level: tensor -> most elements of a tile
    partial : per level: whether sums that go on are written there
    """

    steps: int
    operations: int
    active: int
    flows: tuple[Flow, ...]
    tiles: tuple[dict[str, int], ...]
    partial: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class _Digit:
    """A factor: where it stands (the place of its level), its order there and its array axis."""

    factor: int
    place: int
    order: int
    axis: str | None


#: an axis of a tensor, the loops it follows, their extents
_Axis = tuple[Index, tuple[str, ...], tuple[int, ...]]


class _Nest:
    """The digits of every loop, outermost first, and the order of temporal loops."""

    def __init__(
        self, problem: NestProblem, mapping: NestMapping, architecture: Architecture
    ) -> None:
        self.problem = problem
        self.depth = len(architecture.levels)
        self.loops: dict[str, list[_Digit]] = {name: [] for name, _ in problem.loops}
        self.extents = dict(problem.loops)
        self.temporal: list[tuple[str, int, int]] = []
        self.spaces: set[int] = set()
        below = _fan_out(architecture)
        for place in range(self.depth):
            for loop, factor in mapping.temporal[place]:
                if factor > 1:
                    order = len(self.temporal)
                    self.loops[loop].append(_Digit(factor, place, order, None))
                    self.temporal.append((loop, place, order))
            for axis in below[place]:
                for loop, factor in mapping.spatial.get(axis, ()):
                    if factor > 1:
                        self.loops[loop].append(_Digit(factor, place, -1, axis))
                        self.spaces.add(place)

        self.parts = {tensor.name: self._parts(tensor) for tensor in problem.tensors}

    def _parts(self, tensor: NestTensor) -> tuple[list[_Axis], list[tuple[str, int]]]:
        """Return a tensor's axes with their loops and extents, and the other loops that are cut."""
        axes = []
        for axis in tensor.axes:
            names = tuple([loop for loop, _ in axis.terms])
            axes.append((axis, names, tuple([self.extents[name] for name in names])))
        own = tensor.loops
        others = [(name, self.extents[name]) for name, digits in self.loops.items()
                  if digits and name not in own]  # fmt: skip
        return axes, others

    def free(self, tensor: NestTensor, child: int) -> tuple[frozenset[int], int]:
        """Return the temporal loops outside a level during which its tile stays, and the next."""
        stay: set[int] = set()
        own = tensor.loops
        for loop, place, order in reversed(self.temporal):
            if place >= child:
                continue
            if loop in own:
                return frozenset(stay), order
            stay.add(order)
        return frozenset(stay), -1

    def reach(self, tensor: NestTensor, kinds: dict[str, Digits]) -> Reach:
        """Return the elements of a tensor that digits of these kinds move."""
        total = busiest = largest = 1
        axes, others = self.parts[tensor.name]
        for axis, names, extents in axes:
            found = axis_reach(axis, extents, tuple([kinds[name] for name in names]))
            total *= found[0]
            busiest *= found[1]
            largest *= found[2]
        for name, extent in others:
            found = loop_reach(extent, kinds[name])
            total *= found[0]
            busiest *= found[1]
        return Reach(total, busiest, largest)

    def kinds(
        self, child: int, owner: int, free: frozenset[int] | None, slide: int,
        joins: tuple[str, ...],
    ) -> dict[str, Digits]:  # fmt: skip
        """Say what the digits of every loop do to the tile of a level.

        Parameters
        ----------
        child : the level whose tile moves
        owner : the level whose instances are told apart
        free : temporal loops during which it stays; None: all, for its first fetch
        joins : array axes inside the owner along which elements move once
        """
        found = {}
        for name, digits in self.loops.items():
            row = []
            for digit in digits:
                if digit.place >= child:
                    kind = INSIDE
                elif digit.axis is None:
                    stays = free is None or digit.order in free
                    kind = FREE if stays else SLIDE if digit.order == slide else EACH
                elif digit.place < owner:
                    kind = WHICH
                else:
                    kind = ONCE if digit.axis in joins else EACH
                row.append((digit.factor, kind))
            found[name] = tuple(row)
        return found

    def first(
        self, tensor: NestTensor, parent: int, child: int, joins: tuple[str, ...]
    ) -> tuple[int, int]:
        """Return the elements of the first fetch at the busiest parent and child."""
        outer = self.reach(tensor, self.kinds(child, parent, None, -1, joins)).busiest
        if not self.spread(parent, child):
            return outer, outer
        return outer, self.reach(tensor, self.kinds(child, child, None, -1, ())).busiest

    def spread(self, parent: int, child: int) -> bool:
        """Return whether loops run along axes between two levels."""
        return any(parent <= place < child for place in self.spaces)

    def ever(self, tensor: NestTensor, level: int) -> int:
        """Return the elements that the instances of a level ever hold, added up."""
        kinds = {
            name: tuple((d.factor, EACH if d.axis is not None and d.place < level else INSIDE)
                        for d in digits)
            for name, digits in self.loops.items()
        }  # fmt: skip
        return self.reach(tensor, kinds).total


@lru_cache(maxsize=256)
def _below(axes: tuple[str, ...], per: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    places = [min((i for i, names in enumerate(per) if axis in names), default=len(per)) - 1
              for axis in axes]  # fmt: skip
    return tuple(tuple(a for a, p in zip(axes, places, strict=True) if p == place)
                 for place in range(len(per)))  # fmt: skip


def _fan_out(architecture: Architecture) -> tuple[tuple[str, ...], ...]:
    """Return per level the axes that are spread directly inside of it."""
    return _below(tuple(axis.name for axis in architecture.axes),
                  tuple(level.per for level in architecture.levels))  # fmt: skip


def count_nest(
    problem: NestProblem, mapping: NestMapping, architecture: Architecture
) -> NestCounts:
    """Count what a nest moves; `check_mapping` must have found nothing wrong with its loops."""
    nest = _Nest(problem, mapping, architecture)
    steps, active = 1, 1
    for name, extent in problem.loops:
        digits = nest.loops[name]
        cut = tuple([(d.factor, "t" if d.axis is None else "s") for d in digits])
        steps *= passes(extent, cut, "t")
        active *= passes(extent, cut, "s")
    flows: list[Flow] = []
    tiles: list[dict[str, int]] = [{} for _ in architecture.levels]
    partial = [False] * nest.depth
    for tensor in problem.tensors:
        chain = architecture.chain(tensor.role)
        whole = 1
        for axis in tensor.axes:
            whole *= distinct(axis, tuple((0, nest.extents[loop]) for loop, _ in axis.terms))
        tiles[0][tensor.name] = whole
        ends = tuple(zip(chain, (*chain[1:], nest.depth), strict=True))
        made = _results if tensor.role == "output" else _operands
        for flow, largest in made(nest, architecture, tensor, ends, whole):
            flows.append(flow)
            if flow.child < nest.depth:
                tiles[flow.child][tensor.name] = largest
            if tensor.role == "output":
                partial[flow.parent] = flow.final_outer < flow.outer.total
    return NestCounts(
        steps=steps, operations=problem.operations, active=active, flows=tuple(flows),
        tiles=tuple(tiles), partial=tuple(partial),
    )  # fmt: skip


def _operands(
    nest: _Nest, architecture: Architecture, tensor: NestTensor,
    ends: tuple[tuple[int, int], ...], whole: int,
) -> Iterator[tuple[Flow, int]]:  # fmt: skip
    for parent, child in ends:
        free, slide = nest.free(tensor, child)
        slides = False
        if child == nest.depth:
            free = frozenset()
        else:
            slides = tensor.role in architecture.levels[child].slides
        at = slide if slides else -1
        joins = architecture.levels[parent].multicast
        outer = nest.reach(tensor, nest.kinds(child, parent, free, at, joins))
        inner, largest, first = Reach(0, 0, 0), 0, (0, 0)
        if child < nest.depth:
            inner = outer
            if nest.spread(parent, child):
                inner = nest.reach(tensor, nest.kinds(child, child, free, at, ()))
            largest = inner.largest
            if slides:
                largest = nest.reach(tensor, nest.kinds(child, child, free, -1, ())).largest
            first = nest.first(tensor, parent, child, joins)
        yield Flow(tensor=tensor, parent=parent, child=child, outer=outer, inner=inner,
                   first_outer=first[0], first_inner=first[1]), largest  # fmt: skip


def _results(
    nest: _Nest, architecture: Architecture, tensor: NestTensor,
    ends: tuple[tuple[int, int], ...], whole: int,
) -> Iterator[tuple[Flow, int]]:  # fmt: skip
    """Count what leaves each level, what comes back, and what of it is final.

    Every stay of an element in a level begins with a part that comes back or from zero. What a
    level is given by its child, but for the first of a stay that began from zero, it adds to what
    it had: that it gave back before.
    """
    from_zero = whole
    sole = True  # no two instances of the parent hold parts of the same result
    for parent, child in ends:
        free, _ = nest.free(tensor, child)
        if child == nest.depth:
            free = frozenset()
        joins = architecture.levels[parent].reduces
        outer = nest.reach(tensor, nest.kinds(child, parent, free, -1, joins))
        back = outer.total - from_zero
        if child == nest.depth:
            flow = Flow(tensor=tensor, parent=parent, child=child, outer=outer,
                        inner=Reach(0, 0, 0), back=back, final_outer=whole * sole)  # fmt: skip
            yield flow, 0
            return
        inner = outer
        if nest.spread(parent, child):
            inner = nest.reach(tensor, nest.kinds(child, child, free, -1, ()))
        first = nest.first(tensor, parent, child, joins)
        sole_inside = sole and nest.ever(tensor, child) == whole
        yield Flow(
            tensor=tensor, parent=parent, child=child, outer=outer, inner=inner, back=back,
            first_outer=first[0], first_inner=first[1],
            final_outer=whole if sole else 0, final_inner=whole if sole_inside else 0,
        ), inner.largest  # fmt: skip
        sole = sole_inside
        from_zero = inner.total - back
