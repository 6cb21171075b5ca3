"""How a layer is split among parties: exclusive loops, at most one shared loop, how sums end.

Models:  exclusive loops are cut once and owned; a shared loop cuts an operand that the exclusive
         ones leave whole, and its parts rotate round a ring. A mesh of several exclusive loops.
Ignores: which strategy is good: that is a search's affair.
Judge:   every strategy that is listed executes to the layer's own result (tests/runtime).
Source:  the idea of exclusive and shared shards: Shen et al., "MARS: Exploiting Multi-Level
         Parallelism for DNN Workloads on Adaptive Multi-Accelerator Systems", DAC 2023; the rules
         here are a reconstruction.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import combinations, product

from orrery.errors import SpecError, did_you_mean
from orrery.graph import Region

from .._cost import Refusal
from ._nest import Nest, Operand
from ._operators import nest_of

#: What becomes of partial sums: everybody gets the sum, each gets a piece of it, or they stay.
COMBINES = ("all_reduce", "reduce_scatter", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A loop whose parts of one operand rotate round a ring.

    Attributes
    ----------
    loop : the loop
    operand : position among the node's inputs of the tensor that rotates
    """

    loop: str
    operand: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How a layer is split.

    Attributes
    ----------
    exclusive : (loop, factor) pairs, the first outermost in the numbering of parties; none for a
        layer that everybody computes whole
    shared : the rotating loop, if any
    combine : one of `COMBINES`; matters only where a summed loop is split exclusively
    """

    exclusive: tuple[tuple[str, int], ...] = ()
    shared: Shared | None = None
    combine: str = "all_reduce"

    def __post_init__(self) -> None:
        where = f"strategy {self}"
        if self.combine not in COMBINES:
            raise SpecError(where, found=self.combine, wanted=f"one of {', '.join(COMBINES)}"
                            + did_you_mean(self.combine, COMBINES), fix="correct it")  # fmt: skip
        names = [name for name, _ in self.exclusive]
        if len(set(names)) != len(names):
            raise SpecError(where, found="a loop named twice", wanted="each loop once",
                            fix="multiply its factors")  # fmt: skip
        for name, factor in self.exclusive:
            if factor < 2:
                raise SpecError(where, found=f"{name} in {factor}", wanted="factors of 2 or more",
                                fix="leave the loop out")  # fmt: skip

    @property
    def factors(self) -> tuple[int, ...]:
        return tuple(factor for _, factor in self.exclusive)

    @property
    def parties(self) -> int:
        """Parties that the exclusive loops make."""
        return math.prod(self.factors)

    def __str__(self) -> str:
        text = "×".join(f"{name}/{factor}" for name, factor in self.exclusive) or "replicated"
        if self.shared is not None:
            text += f" + ring {self.shared.loop} (operand {self.shared.operand})"
        return text if self.combine == "all_reduce" else f"{text}, {self.combine}"


def ring_size(operand: Operand, strategy: Strategy) -> int:
    """Return how many parties would hold the same part of an operand."""
    return math.prod(f for name, f in strategy.exclusive if name not in operand.loops)


def strategy_problem(nest: Nest, strategy: Strategy, parties: int) -> str | None:
    """Return why a layer cannot be split like this among so many parties, or None."""
    if strategy.exclusive and strategy.parties != parties:
        return f"factors multiply to {strategy.parties}, not to {parties} parties"
    for name, factor in strategy.exclusive:
        problem = _loop_problem(nest, name, factor)
        if problem is not None:
            return problem
    sums = [n for n, _ in strategy.exclusive if (loop := nest.loop(n)) is not None and loop.sums]
    if strategy.combine != "all_reduce" and not sums:
        return f"{strategy.combine}: no summed loop is split exclusively, so nothing is partial"
    if strategy.shared is not None:
        return _shared_problem(nest, strategy, strategy.shared)
    return None


def _loop_problem(nest: Nest, name: str, parts: int) -> str | None:
    if name in nest.fixed:
        return f"{name} cannot be split: {nest.fixed[name]}"
    loop = nest.loop(name)
    if loop is None:
        known = [loop.name for loop in nest.loops]
        return (f"no loop {name!r}{did_you_mean(name, known)}; {nest.node.operator} has "
                f"{', '.join(known) or 'none'}")  # fmt: skip
    if loop.extent < parts:
        return f"{name} has an extent of {loop.extent}, too short for {parts} parts"
    return None


def _shared_problem(nest: Nest, strategy: Strategy, shared: Shared) -> str | None:
    operand = next((o for o in nest.operands if o.index == shared.operand), None)
    if operand is None:
        return f"no operand {shared.operand}"
    if operand.once:
        return f"{operand.tensor!r} is an addend that only some read; it does not rotate"
    if not strategy.exclusive:
        return "a ring without exclusive loops: everybody would compute everything"
    if shared.loop in dict(strategy.exclusive):
        return f"{shared.loop} is both exclusive and shared"
    ring = ring_size(operand, strategy)
    if ring < 2:
        return f"the exclusive loops leave nobody with the same part of {operand.tensor!r}"
    if (
        shared.loop not in operand.loops
        and shared.loop not in nest.fixed
        and nest.loop(shared.loop)
    ):
        return f"{shared.loop} does not occur in {operand.tensor!r}, which would rotate"
    return _loop_problem(nest, shared.loop, ring)


def strategies(
    region: Region,
    parties: int,
    *,
    dimensions: int = 2,
    shared: bool = True,
    combines: tuple[str, ...] = ("all_reduce", "reduce_scatter"),
    without: Collection[str] = (),
    mesh_rings: bool = True,
) -> tuple[Strategy, ...] | Refusal:
    """List every valid way of splitting a region among parties, in a fixed order.

    Parameters
    ----------
    dimensions : most loops that are split exclusively at once
    shared : whether to list rotating operands too
    combines : ends of partial sums to list
    without : loops to leave whole
    mesh_rings : whether to list rotating operands in meshes of several exclusive loops too

    Returns
    -------
    the strategies, at least the replicated one; or why the region cannot be sharded at all
    """
    if parties < 1:
        raise SpecError("strategies: parties", found=parties, wanted="1 or more",
                        fix="correct the number")  # fmt: skip
    nest = nest_of(region)
    if isinstance(nest, Refusal):
        return nest
    found = [Strategy()]
    open_loops = [loop for loop in nest.loops if loop.name not in without]
    for width in range(1, dimensions + 1):
        for loops in combinations(open_loops, width):
            for factors in _factorings(parties, width):
                exclusive = tuple((loop.name, f) for loop, f in zip(loops, factors))
                if strategy_problem(nest, Strategy(exclusive=exclusive), parties) is not None:
                    continue
                ends = combines if any(loop.sums for loop in loops) else ("all_reduce",)
                rings: list[Shared | None] = [None]
                if shared and (mesh_rings or width == 1):
                    rings += [Shared(loop=loop.name, operand=operand.index)
                              for operand in nest.operands for loop in open_loops]  # fmt: skip
                for ring, end in product(rings, ends):
                    candidate = Strategy(exclusive=exclusive, shared=ring, combine=end)
                    if strategy_problem(nest, candidate, parties) is None:
                        found.append(candidate)
    return tuple(found)


def _factorings(number: int, width: int) -> Iterator[tuple[int, ...]]:
    """Yield every ordered way to write a number as a product of factors of 2 or more."""
    if width == 1:
        if number > 1:
            yield (number,)
        return
    for first in range(2, number // 2 + 1):
        if number % first == 0:
            for rest in _factorings(number // first, width - 1):
                yield (first, *rest)
