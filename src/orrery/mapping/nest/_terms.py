"""The numbers that decide what a nest takes, as products over groups of loops.

Loops that share an axis of a tensor (an output row and a filter row, say) form a group; groups are
independent: each *term* of a nest (how many steps, how many elements a level hands on, how large a
tile is) is a product of one number per group. A group's number depends on its own factors and on
the pattern (`_patterns`) alone, so a table per group, one row per choice of factors and one column
per term, holds all that a search needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from orrery.cost.nest import NestProblem
from orrery.hardware import Architecture

from ._counts import FIRST, KEEP, MERGE, MOST, SLIDE, WITHIN, element_counts, tile_counts
from ._patterns import Boundary, Pattern, boundaries_of
from ._space import Place, options_of, places_of

Roles = tuple[int, ...]
_Key = tuple[int, tuple[int, ...] | None, tuple[int, int] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One column: what is counted.

    Attributes
    ----------
    what : ``zero``; ``steps``; ``work``: steps times positions; ``positions`` of an axis; elements
        of a tensor ``moved`` over a boundary, at its `side` (``outer``, ``inner``), in all or by
        the busiest instance; of these the ``first`` fetch; the ``largest`` tile inside; elements
        that the instances ``ever`` hold
    enters : what a bound takes of a group that is not decided: the ``least``; the ``most``, as it
        is subtracted; or ``one``, nothing
    """

    what: str
    axis: str = ""
    boundary: int = -1
    side: str = ""
    busiest: bool = False
    enters: str = "least"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Loops that are decided together.

    Attributes
    ----------
    loops : their places in the problem
    choices : row of each loop's options, shape (choices, loops)
    """

    loops: tuple[int, ...]
    choices: NDArray[np.int64]


class Space:
    """All factor tuples of a layer's loops on an architecture, and the terms they yield."""

    def __init__(
        self, problem: NestProblem, architecture: Architecture, *, dividing: bool = False
    ) -> None:
        self.problem, self.architecture = problem, architecture
        self.depth = len(architecture.levels)
        self.places: tuple[Place, ...] = places_of(architecture)
        self.names = [name for name, _ in problem.loops]
        self.extents = [extent for _, extent in problem.loops]
        self.boundaries: tuple[Boundary, ...] = boundaries_of(problem, architecture)
        self.options = options_of(problem, architecture, dividing=dividing)
        self.relevant = [frozenset(map(self.names.index, t.loops)) for t in problem.tensors]
        self.groups = self._grouped()
        self._loops: dict[tuple[int, Roles], NDArray[np.int64]] = {}
        self._axes: dict[tuple[int, int, Roles, Roles], NDArray[np.int64]] = {}
        self._leave_out_too_large()

    def _grouped(self) -> tuple[Group, ...]:
        sets = [{n} for n, extent in enumerate(self.extents) if extent > 1]
        for tensor in self.problem.tensors:
            for axis in tensor.axes:
                joined = {self.names.index(loop) for loop, _ in axis.terms}
                touched = [s for s in sets if s & joined]
                if len(touched) > 1:
                    sets = [s for s in sets if s not in touched] + [set().union(*touched)]
        groups = []
        for loops in sorted(sets, key=min):
            order = tuple(sorted(loops))
            grids = np.meshgrid(*(np.arange(len(self.options[n])) for n in order), indexing="ij")
            choices = np.column_stack([grid.reshape(-1) for grid in grids])
            groups.append(Group(loops=order, choices=self._fitting(order, choices)))
        return tuple(groups)

    def _fitting(self, loops: tuple[int, ...], choices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Leave out choices that alone overfill an array axis."""
        fits = np.ones(len(choices), bool)
        for axis in self.architecture.axes:
            column = next(n for n, place in enumerate(self.places) if place.axis == axis.name)
            used = np.ones(len(choices), np.int64)
            for n, loop in enumerate(loops):
                used *= self.options[loop][choices[:, n], column]
            fits &= used <= axis.size
        return choices[fits]

    def _leave_out_too_large(self) -> None:
        """Leave out choices whose tiles fit nowhere, however small the other groups' are."""
        levels, bits = self.architecture.levels, self.architecture.bits
        tiles: dict[tuple[int, str], list[list[NDArray[np.float64]]]] = {}
        for n, b in enumerate(self.boundaries):
            if b.child == self.depth:
                continue
            role = self.problem.tensors[b.tensor].role
            term = Term(what="largest", boundary=n)
            roles = self._what_places_do(term, None)
            width = self._constant(term, roles) * bits[role]
            width *= 2 if role in levels[b.child].double_buffered else 1
            parts = [self._column(group, term, roles).astype(np.float64) for group in self.groups]
            if parts:
                parts[0] *= width
                tiles.setdefault((b.child, role), []).append(parts)
        for g, group in enumerate(self.groups):
            fits = np.ones(len(group.choices), bool)
            for place, level in enumerate(levels):
                shared = np.zeros(len(group.choices))
                for (child, role), tensors in tiles.items():
                    if child != place:
                        continue
                    need = np.zeros(len(group.choices))
                    for parts in tensors:
                        least = [float(p.min()) for n, p in enumerate(parts) if n != g and len(p)]
                        need += parts[g] * math.prod(least)
                    if role in level.shares_bits:
                        fits &= need <= level.shares_bits[role]
                    else:
                        shared += need
                if level.capacity_bits is not None and shared.any():
                    fits &= shared <= level.capacity_bits - sum(level.shares_bits.values())
            self.groups = (
                *self.groups[:g], replace(group, choices=group.choices[fits]), *self.groups[g + 1 :]
            )  # fmt: skip

    def columns(
        self, terms: Sequence[Term], patterns: Sequence[Pattern]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Return the terms of all choices under all patterns, each column that differs once.

        Returns
        -------
        columns, shape (columns, choices of all groups); what each begins with, decided by no
        group; the column that is each term under a pattern, shape (patterns, terms)
        """
        known: dict[_Key, int] = {}
        makers: list[tuple[Term, _Roles]] = []
        uses = np.empty((len(patterns), len(terms)), np.int64)
        for t, term in enumerate(terms):
            for p, pattern in enumerate(patterns):
                key = self._key(t, term, pattern)
                if key not in known:
                    known[key] = len(makers)
                    makers.append((term, self._what_places_do(term, pattern)))
                uses[p, t] = known[key]
        starts = np.cumsum([0, *(len(group.choices) for group in self.groups)]).tolist()
        columns = np.empty((len(makers), starts[-1]))
        for into, (term, roles) in zip(columns, makers, strict=True):
            for group, (start, end) in zip(self.groups, pairwise(starts), strict=True):
                into[start:end] = self._column(group, term, roles)
        constants = [self._constant(term, roles) for term, roles in makers]
        return columns, np.array(constants), uses

    def _constant(self, term: Term, roles: _Roles) -> float:
        """Return what no group decides: axes that are touched whole or along ones."""
        if term.what == "zero":
            return 0.0
        found = 1.0
        if term.boundary < 0:
            return found
        grouped = {loop for group in self.groups for loop in group.loops}
        t = self.boundaries[term.boundary].tensor
        for axis, index in enumerate(self.problem.tensors[t].axes):
            loops = [self.names.index(loop) for loop, _ in index.terms]
            if not loops:
                found *= index.size
            elif not grouped & set(loops):
                counts = self._axis(t, axis, [roles(loop) for loop in loops])
                found *= float(counts[(0,) * len(loops)])
        return found

    def masks(self, patterns: Sequence[Pattern]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return which choices of all groups demands of patterns leave, and whose is which."""
        demands = list({pattern.ones: None for pattern in patterns})
        starts = np.cumsum([0, *(len(group.choices) for group in self.groups)])
        found = np.ones((len(demands), starts[-1]), bool)
        for start, group in zip(starts[:-1].tolist(), self.groups, strict=True):
            for loop, chosen in zip(group.loops, group.choices.T, strict=True):
                wanted = {level for ones in demands for at, level in ones if at == loop}
                for level in wanted:
                    column = self.places.index(Place(level=level))
                    fits = (self.options[loop][:, column] == 1)[chosen]
                    for row, ones in zip(found, demands, strict=True):
                        if (loop, level) in ones:
                            row[start : start + len(chosen)] &= fits
        whose = np.array([demands.index(pattern.ones) for pattern in patterns])
        return found, whose

    def _column(self, group: Group, term: Term, roles: _Roles) -> NDArray[np.int64]:
        choices = group.choices
        found = np.ones(len(choices), np.int64)
        follows: frozenset[int] = frozenset()
        at = {loop: n for n, loop in enumerate(group.loops)}
        if term.boundary >= 0:
            t = self.boundaries[term.boundary].tensor
            follows = self.relevant[t]
            for axis, index in enumerate(self.problem.tensors[t].axes):
                loops = [self.names.index(loop) for loop, _ in index.terms]
                if any(loop in at for loop in loops):
                    counts = self._axis(t, axis, [roles(loop) for loop in loops])
                    found *= counts[tuple(choices[:, at[x]] if x in at else 0 for x in loops)]
        for loop in group.loops:
            if loop in follows:
                continue
            role = roles(loop)
            if term.what == "work":
                axes = tuple(MERGE if p.axis is None else KEEP for p in self.places)
                found *= self._loop(loop, axes)[choices[:, at[loop]]]
            if KEEP in role:
                found *= self._loop(loop, role)[choices[:, at[loop]]]
        return found

    def whole(self, tensor: int) -> int:
        """Return the distinct elements of a tensor that the layer touches."""
        found = 1
        for axis, index in enumerate(self.problem.tensors[tensor].axes):
            if not index.terms:
                found *= index.size
                continue
            roles = (WITHIN,) * len(self.places)
            counts = self._axis(tensor, axis, [roles] * len(index.terms))
            found *= int(counts.reshape(-1)[0])
        return found

    def _loop(self, loop: int, roles: Roles) -> NDArray[np.int64]:
        key = (loop, roles)
        if key not in self._loops:
            self._loops[key] = tile_counts(self.options[loop], self.extents[loop], roles)
        return self._loops[key]

    def _axis(self, tensor: int, axis: int, roles: list[Roles]) -> NDArray[np.int64]:
        """Return the elements along one axis per option of each loop of it."""
        index = self.problem.tensors[tensor].axes[axis]
        loops = [self.names.index(loop) for loop, _ in index.terms]
        key = (tensor, axis, roles[0], roles[-1])
        if key in self._axes:
            return self._axes[key]
        stride, extent = index.terms[0][1], self.extents[loops[0]]
        first = self.options[loops[0]]
        if len(loops) == 1:
            whole = index.offset >= 0 and index.offset + stride * (extent - 1) < index.size
            if whole:  # no two indices touch the same element: as many as there are indices
                kept = tuple(r if r in (MOST, FIRST) else KEEP for r in roles[0])
                found = tile_counts(first, extent, kept)
            else:
                sliding = tuple(KEEP if r == SLIDE else r for r in roles[0])
                one = np.ones((1, first.shape[1]), np.int64)
                nothing = (WITHIN,) * first.shape[1]
                found = element_counts(first, one, (extent, 1), (sliding, nothing), (stride, 0),
                                       index.offset, index.size)[:, 0]  # fmt: skip
        else:
            found = element_counts(
                first, self.options[loops[1]], (extent, self.extents[loops[1]]),
                (roles[0], roles[1]), (stride, index.terms[1][1]), index.offset, index.size,
            )  # fmt: skip
        self._axes[key] = found
        return found

    def _key(self, place: int, term: Term, pattern: Pattern) -> _Key:
        """Return a term's place and what of a pattern it depends on."""
        if term.what != "moved":
            return place, None, None
        return place, pattern.free_from[term.boundary], pattern.slides[term.boundary]

    def _what_places_do(self, term: Term, pattern: Pattern | None) -> _Roles:
        if term.what == "zero":
            return _Roles([MERGE for _ in self.places])
        if term.what in ("steps", "work"):
            return _Roles([KEEP if p.axis is None else MERGE for p in self.places])
        if term.what == "positions":
            return _Roles([KEEP if p.axis == term.axis else MERGE for p in self.places])
        boundary = self.boundaries[term.boundary]
        follows = self.relevant[boundary.tensor]
        parent, child = boundary.parent, boundary.child
        levels = self.architecture.levels
        if term.what == "ever":
            return _Roles([KEEP if p.axis is not None and p.level < child else MERGE
                           for p in self.places])  # fmt: skip
        outside = [p.level < child for p in self.places]
        if term.what == "largest":
            return _Roles([MOST if out else WITHIN for out in outside])
        output = self.problem.tensors[boundary.tensor].role == "output"
        joins = levels[parent].reduces if output else levels[parent].multicast
        owner = parent if term.side == "outer" else child
        base, special = [], {}
        for place, out in zip(self.places, outside, strict=True):
            if not out:
                base.append(WITHIN)
            elif place.axis is None:
                base.append(FIRST if term.what == "first" else KEEP)
            elif place.level < owner:
                base.append(MOST if term.busiest else KEEP)
            else:
                base.append(MERGE if term.side == "outer" and place.axis in joins else KEEP)
        if pattern is None or term.what == "first":
            return _Roles(base)
        for loop in range(len(self.names)):
            if loop not in follows:
                start = pattern.free_from[term.boundary][loop]
                special[loop] = tuple(
                    MERGE if p.axis is None and start <= p.level < child else r
                    for p, r in zip(self.places, base, strict=True)
                )
        slide = pattern.slides[term.boundary]
        if slide is not None:
            special[slide[0]] = tuple(
                SLIDE if p.axis is None and p.level == slide[1] else r
                for p, r in zip(self.places, base, strict=True)
            )
        return _Roles(base, special)


class _Roles:
    """What each place does to a loop."""

    def __init__(self, base: list[int], special: dict[int, Roles] | None = None) -> None:
        self.base, self.special = tuple(base), special or {}

    def __call__(self, loop: int) -> Roles:
        return self.special.get(loop, self.base)
