"""A layer and a mapping in Timeloop's files as a nest of ours.

Models:  the problem as it stands there: axes as long as the loops touch (padding is part of the
         extent, as Timeloop counts it). A mapping's factors and orders place by place; factors
         need not divide.
Ignores: nothing that the reader has let through.
Judge:   steps and accesses that Timeloop prints for its shipped example (tests).
"""

from __future__ import annotations

from orrery.errors import SpecError, did_you_mean
from orrery.hardware import Timeloop, TimeloopDirective, TimeloopProblem

from ._mapping import NestMapping
from ._problem import Index, NestProblem, NestTensor


def problem_of_timeloop(problem: TimeloopProblem) -> NestProblem:
    """Return a layer of Timeloop's as a problem of loops and tensors."""
    extents = dict(problem.extents)
    tensors = tuple(
        NestTensor(name=tensor.name, role=tensor.role, axes=tuple(
            Index(size=1 + sum(stride * (extents[loop] - 1) for loop, stride in axis), terms=axis)
            for axis in tensor.axes))
        for tensor in problem.tensors
    )  # fmt: skip
    return NestProblem(loops=problem.extents, tensors=tensors)


def nest_of_timeloop(said: Timeloop) -> NestMapping | None:
    """Return the mapping of the files, None where there is none.

    Raises
    ------
    SpecError : a directive for a part that is not there, or for one that holds nothing and fans
        out to nothing, with a factor above 1; factors that do not come to a loop's extent
    """
    if said.directives is None:
        return None
    places = {level.name: i for i, level in enumerate(said.architecture.levels)}
    temporal: list[tuple[tuple[str, int], ...]] = [() for _ in places]
    spatial: dict[str, tuple[tuple[str, int], ...]] = {}
    for one in said.directives:
        loops = tuple((loop, factor) for loop, factor in one.factors if factor > 1)
        if one.spatial and (axes := said.axes_of.get(one.target)):
            for axis, part in zip(axes, _split(one, len(axes)), strict=True):
                spatial[axis] = part
        elif not one.spatial and one.target in places:
            temporal[places[one.target]] = loops
        elif loops:
            names = said.axes_of if one.spatial else places
            raise SpecError(
                one.where, found=f"{_shown(loops)} at {one.target}", wanted="a fan-out of the "
                "array" if one.spatial else "a memory that holds something",
                fix=f"name one of {', '.join(names)}{did_you_mean(one.target, names)}",
            )  # fmt: skip
    _covered(said)
    return NestMapping(temporal=tuple(temporal), spatial=spatial)


def _covered(said: Timeloop) -> None:
    """Refuse factors that come to more, or to less, than a loop has, as Timeloop does.

    Outwards, a place whose last round is `r` of `f` passes adds r - 1 of what lies inside it.
    """
    array, problem = said.architecture, said.problem
    below = array.fans_out_below()
    order = {level.name: (place, 0) for place, level in enumerate(array.levels)}
    for number, axis in enumerate(array.axes, 1):
        for target, axes in said.axes_of.items():
            if axis.name in axes:
                order[f"along {target}"] = (below[axis.name], number)
    given = [(order.get(f"along {one.target}" if one.spatial else one.target, (0, 0)), one)
             for one in said.directives or ()]  # fmt: skip
    inward = [one for _, one in sorted(given, key=lambda pair: pair[0], reverse=True)]
    names = {loop: name for name, loop in problem.loops.items()} if problem else {}
    for loop, extent in problem.extents if problem else ():
        inside, steps, said_so, where = 1, 1, [], ""
        for one in inward:
            factor = dict(one.factors).get(loop, 1)
            last = one.last.get(loop, factor)
            if factor > 1:
                said_so.append(f"{factor}" if last == factor else f"{factor},{last}")
                where = one.where
            steps += (last - 1) * inside
            inside *= factor
        if steps != extent:
            raise SpecError(
                where or inward[0].where if inward else array.name,
                found=f"{names[loop]}: factors {' x '.join(said_so) or 1} come to {steps}, of "
                f"{extent}", wanted="a mapping that fits: as many passes as the dimension has",
                fix="correct the factors; one that leaves a remainder is written with it, "
                f"{names[loop]}=4,3",
            )  # fmt: skip


def _split(one: TimeloopDirective, ways: int) -> list[tuple[tuple[str, int], ...]]:
    """Return what runs along x and y, or all of it where there is one way."""
    y = len(one.factors) if one.in_y is None else one.in_y
    parts = [one.factors] if ways == 1 else [one.factors[y:], one.factors[:y]]
    if ways == 2 and one.in_y is None:
        parts = [one.factors, ()]
    return [tuple((loop, factor) for loop, factor in part if factor > 1) for part in parts]


def _shown(loops: tuple[tuple[str, int], ...]) -> str:
    return ", ".join(f"{loop}={factor}" for loop, factor in loops)
