"""Which orders of loops need telling apart: the patterns of stationarity.

What a nest takes depends on the order of its loops in one way alone: for a tensor and a level c,
the innermost run of loops outside c that are irrelevant to the tensor is *free*, and the loop
right outside that run may *slide*. So a pattern says, per tensor, level c and irrelevant loop, the
outermost level from which on the loop's factors are free, and per sliding boundary which factor
slides.

Why these patterns cover all orders. Read the loops of one level inside out and call a tensor alive
as long as all loops so far are irrelevant to it. (1) A loop irrelevant to all that are alive may
be moved inwards to this point: it becomes free for more tensors, no other loop's place in a run
changes. So an order is, at no loss, a falling chain of sets of tensors alive, each step made by a
killing loop; two killing loops that leave the same set alive differ only in which of them slides.
(2) Tensors alive after the last loop are *through*: their run goes on further out. Loops with
factor 1 have no place in an order, so a tensor is through exactly when all factors at the level
that are relevant to it are 1; a pattern that lets a tensor through demands it. (3) A nest is
priced at least as high under any pattern whose demands it meets as under the pattern of its own
order, since skipping loops of factor 1 only lengthens runs; hence the least price over patterns is
the least price over nests. Patterns that demand more and free less than another are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise, product

from orrery.cost.nest import NestProblem
from orrery.hardware import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """A tensor's way between two levels that hold it; the arithmetic is level `len(levels)`."""

    tensor: int
    parent: int
    child: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """An order of the loops, as far as it matters.

    Attributes
    ----------
    orders : per level the loops, innermost first; those not named may stand anywhere outside
    free_from : per boundary and loop the outermost level whose factors are free; the child's own
        level: none
    slides : per boundary the (loop, level) whose factor slides, or None
    ones : (loop, level) whose factor must be 1
    """

    orders: tuple[tuple[int, ...], ...]
    free_from: tuple[tuple[int, ...], ...]
    slides: tuple[tuple[int, int] | None, ...]
    ones: frozenset[tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """One level: loops inside out, per tensor what is free and which loop ends the run."""

    loops: tuple[int, ...]
    free: tuple[frozenset[int], ...]
    ends: tuple[int | None, ...]  # None: through
    ones: frozenset[int]


def boundaries_of(problem: NestProblem, architecture: Architecture) -> tuple[Boundary, ...]:
    """Return all steps of all tensors on their way to the arithmetic."""
    found = []
    for t, tensor in enumerate(problem.tensors):
        chain = (*architecture.chain(tensor.role), len(architecture.levels))
        for parent, child in pairwise(chain):
            found.append(Boundary(tensor=t, parent=parent, child=child))
    return tuple(found)


def patterns_of(problem: NestProblem, architecture: Architecture) -> tuple[Pattern, ...]:
    """Return the patterns among which one is best for every nest."""
    loops = [name for name, _ in problem.loops]
    relevant = [frozenset(loops.index(n) for n in t.loops) for t in problem.tensors]
    last = len(architecture.levels)
    boundaries = boundaries_of(problem, architecture)
    # The arithmetic keeps nothing, so nothing is free on the last step.
    ordered = [n for n, b in enumerate(boundaries) if b.child < last]
    haloes = [
        frozenset(loops.index(n) for axis in t.axes if len(axis.terms) > 1 for n, _ in axis.terms)
        for t in problem.tensors
    ]
    sliding = [
        haloes[b.tensor]
        if b.child < last
        and problem.tensors[b.tensor].role != "output"
        and problem.tensors[b.tensor].role in architecture.levels[b.child].slides
        else frozenset()
        for b in boundaries
    ]
    told_apart = [
        frozenset().union(*(s for b, s in zip(boundaries, sliding, strict=True) if b.tensor == t))
        for t in range(len(relevant))
    ]
    real = tuple(n for n, (_, extent) in enumerate(problem.loops) if extent > 1)
    return _patterns(boundaries, tuple(ordered), tuple(relevant), tuple(sliding),
                     tuple(told_apart), real, len(loops))  # fmt: skip


@lru_cache(maxsize=128)
def _patterns(
    boundaries: tuple[Boundary, ...], ordered: tuple[int, ...],
    relevant: tuple[frozenset[int], ...], sliding: tuple[frozenset[int], ...],
    told_apart: tuple[frozenset[int], ...], real: tuple[int, ...], loops: int,
) -> tuple[Pattern, ...]:  # fmt: skip
    one_level = _orders(real, relevant, told_apart)
    depth = max((boundaries[n].child for n in ordered), default=0)
    found: dict[object, Pattern] = {}
    for orders in product(one_level, repeat=depth):
        pattern = _joined(orders, boundaries, ordered, relevant, sliding, loops)
        found.setdefault((pattern.free_from, pattern.slides, pattern.ones), pattern)
    return tuple(_undominated(list(found.values())))


@lru_cache(maxsize=128)
def distinct(patterns: tuple[Pattern, ...], matters: frozenset[int]) -> tuple[Pattern, ...]:
    """Return the patterns that differ in what is moved over the boundaries that matter."""
    found: dict[object, tuple[Pattern, Pattern]] = {}
    for pattern in patterns:
        plain = replace(
            pattern,
            free_from=tuple(f if n in matters else () for n, f in enumerate(pattern.free_from)),
            slides=tuple(s if n in matters else None for n, s in enumerate(pattern.slides)),
        )
        found.setdefault((plain.free_from, plain.slides, plain.ones), (plain, pattern))
    kept = _undominated([plain for plain, _ in found.values()])
    return tuple(found[p.free_from, p.slides, p.ones][1] for p in kept)


def _orders(
    loops: tuple[int, ...],
    relevant: tuple[frozenset[int], ...],
    told_apart: tuple[frozenset[int], ...],
) -> list[_Order]:
    """Return the orders of one level that need telling apart, for any set of loops present."""
    everyone = frozenset(range(len(relevant)))
    deaf = {i: frozenset(t for t in everyone if i not in relevant[t]) for i in loops}
    found: dict[tuple[object, ...], _Order] = {}

    def grow(
        present: list[int], alive: frozenset[int], order: tuple[int, ...],
        free: tuple[frozenset[int], ...], ends: tuple[int | None, ...],
    ) -> None:  # fmt: skip
        inside = tuple(i for i in present if i not in order and alive <= deaf[i])
        order = order + inside
        free = tuple(f | frozenset(inside) if t in alive else f for t, f in enumerate(free))
        rest = [i for i in present if i not in order]
        if not rest:
            ones = frozenset(i for i in loops if i not in present)
            # A loop is absent only so that a tensor gets through.
            needed = frozenset().union(*(relevant[t] for t in alive)) if alive else frozenset()
            if ones == needed & frozenset(loops):
                done = _Order(loops=order, free=free, ends=ends, ones=ones)
                found.setdefault((free, tuple(_kind(ends)), ones), done)
            return
        seen = set()
        for i in rest:
            after = alive & deaf[i]
            killed = alive - after
            kind = (after, *(i if i in told_apart[t] else None for t in sorted(killed)))
            if kind in seen:
                continue
            seen.add(kind)
            grow(present, after, (*order, i),
                 tuple(f | {i} if t in after else f for t, f in enumerate(free)),
                 tuple(i if t in killed else e for t, e in enumerate(ends)))  # fmt: skip

    def _kind(ends: tuple[int | None, ...]) -> list[int | None]:
        return [None if e is None else e if e in told_apart[t] else -1 for t, e in enumerate(ends)]

    presences = {frozenset(loops)}
    while True:  # sets of loops that are all some group of tensors is deaf to
        more = {
            s & frozenset(i for i in loops if t in deaf[i]) for s in presences for t in everyone
        }
        if more <= presences:
            break
        presences |= more
    for present in sorted(presences, key=lambda s: (-len(s), sorted(s))):
        nothing: tuple[int | None, ...] = (None,) * len(relevant)
        grow(sorted(present), everyone, (), (frozenset(),) * len(relevant), nothing)
    return list(found.values())


def _joined(
    orders: tuple[_Order, ...], boundaries: tuple[Boundary, ...], ordered: tuple[int, ...],
    relevant: tuple[frozenset[int], ...], sliding: tuple[frozenset[int], ...], loops: int,
) -> Pattern:  # fmt: skip
    free_from = []
    slides: list[tuple[int, int] | None] = []
    for n, b in enumerate(boundaries):
        starts = [b.child] * loops
        slide = None
        if n in ordered:
            for level in range(b.child - 1, -1, -1):
                order = orders[level]
                for i in order.free[b.tensor]:
                    if starts[i] == level + 1:
                        starts[i] = level
                for i in order.ones:  # a factor of 1 is as good as free
                    if starts[i] == level + 1 and i not in relevant[b.tensor]:
                        starts[i] = level
                end = order.ends[b.tensor]
                if end is not None:
                    slide = (end, level) if end in sliding[n] else None
                    break
        free_from.append(tuple(starts))
        slides.append(slide)
    ones = frozenset((i, level) for level, order in enumerate(orders) for i in order.ones)
    return Pattern(orders=tuple(o.loops for o in orders), free_from=tuple(free_from),
                   slides=tuple(slides), ones=ones)  # fmt: skip


def _undominated(patterns: list[Pattern]) -> list[Pattern]:
    """Leave out patterns that demand at least as much as another and free no more."""
    patterns = sorted(patterns, key=lambda p: (len(p.ones), sum(map(sum, p.free_from))))
    kept: list[Pattern] = []
    for p in patterns:
        if not any(
            q.ones <= p.ones
            and all(a is None or a == b for a, b in zip(p.slides, q.slides, strict=True))
            and all(
                x <= y
                for a, b in zip(q.free_from, p.free_from, strict=True)
                for x, y in zip(a, b, strict=True)
            )
            for q in kept
        ):
            kept.append(p)
    return kept
