"""A loop nest whose factors divide the loops, near one whose factors do not.

Models:  one loop after the other is cut anew in time, in every way that comes to its passes
         exactly, until no such change makes the nest better. Parts along the array stay.
Ignores: changes of two loops at once: another nest of dividing factors may be better still.
Judge:   the price of every nest tried is `nest_cost`; tests compare with all cuts of small layers.

Other tools know no factors but these. Before: H = 28 cut 6 x 5; after: 7 x 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

from orrery.cost.nest import NestMapping, NestProblem, check_mapping, nest_cost
from orrery.hardware import Architecture

from ._program import worth_of

__all__ = ["dividing_nest"]

#: the loops of a level: (loop, factor)
Factors = tuple[tuple[str, int], ...]


def dividing_nest(
    problem: NestProblem, mapping: NestMapping, architecture: Architecture,
    objective: str = "latency",
) -> NestMapping | None:  # fmt: skip
    """Return a nest whose factors in time come to each loop's passes exactly.

    Parameters
    ----------
    mapping : any nest that fits; returned as it is where its factors do so already

    Returns
    -------
    NestMapping | None
        None where no cut of a loop alone fits the memories.
    """
    passes = {loop: _passes(mapping, loop, extent) for loop, extent in problem.loops}
    uneven = [loop for loop, n in passes.items() if _cut(mapping, loop) != n]
    if not uneven:
        return mapping
    best = mapping
    for loop in uneven:  # those not yet cut anew still fit as they are
        found = _best(problem, best, architecture, objective, loop, passes[loop])
        if found is None:
            return None
        best, worth = found
    better = True
    while better:
        better = False
        for loop, n in passes.items():
            found = _best(problem, best, architecture, objective, loop, n)
            if found is not None and found[1] < worth:
                best, worth = found
                better = True
    return best


def _passes(mapping: NestMapping, loop: str, extent: int) -> int:
    along = prod(f for loops in mapping.spatial.values() for name, f in loops if name == loop)
    return -(-extent // along)


def _cut(mapping: NestMapping, loop: str) -> int:
    return prod(f for loops in mapping.temporal for name, f in loops if name == loop)


def _best(
    problem: NestProblem, mapping: NestMapping, architecture: Architecture, objective: str,
    loop: str, passes: int,
) -> tuple[NestMapping, float] | None:  # fmt: skip
    """Return the best nest with one loop cut anew, and its worth."""
    best: tuple[NestMapping, float] | None = None
    for temporal in _recut(mapping.temporal, loop, passes):
        tried = NestMapping(temporal=temporal, spatial=mapping.spatial)
        if check_mapping(problem, tried, architecture) is not None:
            continue
        worth = worth_of(nest_cost(problem, tried, architecture), objective)
        if best is None or worth < best[1]:
            best = tried, worth
    return best


def _recut(temporal: tuple[Factors, ...], loop: str, passes: int) -> Iterator[tuple[Factors, ...]]:
    """Yield every cut of a loop; where it had no place at a level, outermost and innermost."""
    for factors in _products(passes, len(temporal)):
        choices: list[tuple[Factors, ...]] = []
        for level, factor in zip(temporal, factors, strict=True):
            rest = tuple(pair for pair in level if pair[0] != loop)
            own = ((loop, factor),)
            at = next((n for n, (name, _) in enumerate(level) if name == loop), None)
            if factor == 1:
                choices.append((rest,))
            elif at is not None:
                choices.append((rest[:at] + own + rest[at:],))
            else:
                choices.append(tuple(dict.fromkeys((own + rest, rest + own))))
        yield from product(*choices)


def _products(number: int, places: int) -> Iterator[tuple[int, ...]]:
    """Yield every ordered way to write a number as a product of so many factors."""
    if places == 1:
        yield (number,)
        return
    for first in range(1, number + 1):
        if number % first == 0:
            for rest in _products(number // first, places - 1):
                yield (first, *rest)
