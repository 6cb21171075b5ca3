"""The best loop nest of a layer: complete search with a proof, or the best so far with a bound.

Models:  all nests of `_space` on the architecture; the price is `orrery.cost.nest.nest_cost`.
Ignores: nests that cover a loop's extent more than once over; sharing between layers.
Judge:   exhaustive enumeration of small layers, every nest priced on its own (tests, bench).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.cost.nest import NestCost, NestMapping, NestProblem, Zeros, check_mapping, nest_cost
from orrery.errors import check_choice
from orrery.hardware import Architecture
from orrery.plan import Infeasible

from ..groups import engine
from ._patterns import Pattern, distinct, patterns_of
from ._program import Program, program_of, unpriced, worth_of
from ._space import mappings_of
from ._terms import Space

#: What can be sought: least cycles, least joules, least joules times cycles.
OBJECTIVES = ("latency", "energy", "edp")

#: A nest must be better than the best so far by this share; closer ones count as equal.
TOLERANCE = 1e-9

#: Which measure tells nests apart that are equally good by the other.
_OTHER = {"latency": "energy", "energy": "latency"}
#: Evaluations for that besides four times those of the search before: a second. Trap: where no
#: port is a limit the first search ends at once and its ties are many.
_SETTLING = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NestFound:
    """A nest and what is known about the others.

    Attributes
    ----------
    cost : what `nest_cost` says of the mapping
    value : the objective, from `cost`: cycles, joules, or joules times cycles
    bound : no nest of the space has less; equal to `value` where `proven`
    mappings : nests of the space: tilings times orders, before any is found not to fit
    scored : nests whose price was computed; the others were ruled out together
    patterns : kinds of orders that the search told apart
    settled : no nest as good has fewer joules where cycles were sought, fewer cycles where joules
    """

    mapping: NestMapping
    objective: str
    cost: NestCost
    value: float
    bound: float
    mappings: int
    scored: int
    patterns: int
    settled: bool = False

    @property
    def proven(self) -> bool:
        """Whether no nest of the space is better."""
        return self.bound >= self.value * (1 - 2 * TOLERANCE)

    @property
    def gap(self) -> float:
        """Share of the value by which a better nest could be less."""
        return max(0.0, 1 - self.bound / self.value) if self.value else 0.0


def best_nest(
    problem: NestProblem, architecture: Architecture, objective: str = "latency", *,
    zeros: Zeros | None = None, most_cycles: int | None = None, most: int = 2_000_000_000,
    dividing: bool = False, settle: bool = False,
) -> NestFound | Infeasible:  # fmt: skip
    """Return the best nest of a layer on an architecture.

    Parameters
    ----------
    objective : one of `OBJECTIVES`
    zeros : as `nest_cost` takes it
    most_cycles : of all runs; to seek the least energy among the fastest nests, say
    most : evaluations of (partial) nests before the search gives up the proof
    dividing : of those nests alone whose factors divide the loops, as other tools know them
    settle : of equally good nests the one of least energy, or of fewest cycles where energy was
        sought, where prices are known: a second search, at most about four times as long and a
        second. Bound and proof stay those of the objective, or become better

    Raises
    ------
    SpecError : an unknown objective; an energy objective where a price is not known
    """
    check_choice("objective", objective, OBJECTIVES)
    space = Space(problem, architecture, dividing=dividing)
    zeros = zeros or Zeros()
    program = program_of(space, objective, zeros, most_cycles)
    patterns = distinct(patterns_of(problem, architecture), program.matters)
    search = _Search(space, program, patterns)
    search.run(most)
    mapping = search.mapping()
    columns = [n for n, place in enumerate(space.places) if place.axis is None]
    if mapping is None:
        mapping = _smallest(space)
        reason = check_mapping(problem, mapping, architecture)
        if reason is None and most_cycles is not None:
            fastest = best_nest(problem, architecture, "latency", zeros=zeros, most=most,
                                dividing=dividing)  # fmt: skip
            if isinstance(fastest, Infeasible):
                return fastest
            reason = Infeasible(
                what=f"cycles of a loop nest on {architecture.name}", need=fastest.value,
                have=most_cycles, unit="cycles", remedies=("allow more cycles",),
            )  # fmt: skip
        if reason is not None:
            return reason
    cost = nest_cost(problem, mapping, architecture, zeros=zeros)
    value = worth_of(cost, objective)
    found = NestFound(
        mapping=mapping, objective=objective, cost=cost, value=value,
        bound=min(value, search.bound), mappings=mappings_of(space.options, columns),
        scored=search.scored, patterns=len(patterns),
    )  # fmt: skip
    most = min(most, 4 * search.spent + _SETTLING)
    return _settled(found, space, zeros, most) if settle else found


def _settled(found: NestFound, space: Space, zeros: Zeros, most: int) -> NestFound:
    """Return the nest that is best by the other measure of those as good as the one found."""
    problem, architecture = space.problem, space.architecture
    other = _OTHER.get(found.objective)
    if other is None or found.cost.energy_j is None or unpriced(architecture):
        return found
    fast = found.objective == "latency"
    ceiling = found.value if fast else found.value * (1 + TOLERANCE)
    program = program_of(space, other, zeros, found.cost.cycles if fast else None,
                         None if fast else ceiling)  # fmt: skip
    search = _Search(space, program, distinct(patterns_of(problem, architecture), program.matters))
    reached = worth_of(found.cost, other)
    search.run(most, reached)
    scored = found.scored + search.scored
    mapping = search.mapping()
    if mapping is not None:
        cost = nest_cost(problem, mapping, architecture, zeros=zeros)
        value = worth_of(cost, found.objective)
        # The formula rounds; the price decides.
        if value <= ceiling and worth_of(cost, other) < reached:
            reached = worth_of(cost, other)
            found = replace(found, mapping=mapping, cost=cost, value=value,
                            bound=min(value, found.bound))  # fmt: skip
    return replace(found, scored=scored, settled=search.bound >= reached * (1 - 2 * TOLERANCE))


class _Search:
    """The incumbent, and what the search of all patterns has seen."""

    def __init__(self, space: Space, program: Program, patterns: Sequence[Pattern]) -> None:
        self.space, self.patterns = space, patterns
        asked = question(space, program, patterns)
        self.arguments, self.masks, self.masked = asked, asked[3], asked[4]
        self.found: tuple[Pattern, list[NDArray[np.int64]]] | None = None

    def run(self, most: int, beat: float = np.inf) -> None:
        """Search the patterns for less than `beat`, the most promising first."""
        best, winner, chosen, scored, spent, left = engine()(
            *self.arguments, beat, TOLERANCE, most, False
        )
        self.bound, self.scored = min(float(best), float(left)), int(scored)
        self.spent = int(spent)
        if winner < 0:
            return
        rows: list[NDArray[np.int64]] = [options[0] for options in self.space.options]
        for group, place in zip(self.space.groups, chosen, strict=True):
            for loop, row in zip(group.loops, group.choices[place], strict=True):
                rows[loop] = self.space.options[loop][row]
        self.found = self.patterns[winner], rows

    def mapping(self) -> NestMapping | None:
        """Return the best nest so far."""
        if self.found is None:
            return None
        space = self.space
        pattern, rows = self.found
        columns = {(place.level, place.axis): n for n, place in enumerate(space.places)}
        temporal = []
        for level in range(space.depth):
            inside_out = list(pattern.orders[level]) if level < len(pattern.orders) else []
            inside_out += [n for n in range(len(space.names)) if n not in inside_out]
            factors = [(n, int(rows[n][columns[level, None]])) for n in reversed(inside_out)]
            temporal.append(tuple((space.names[n], f) for n, f in factors if f > 1))
        spatial = {}
        for place, n in zip(space.places, range(len(space.places)), strict=True):
            if place.axis is not None:
                parts = tuple(
                    (name, int(row[n])) for name, row in zip(space.names, rows, strict=True)
                )
                spatial[place.axis] = tuple((name, f) for name, f in parts if f > 1)
        return NestMapping(temporal=tuple(temporal), spatial=spatial)


def question(space: Space, program: Program, patterns: Sequence[Pattern]) -> tuple[Any, ...]:
    """Return what the engine needs to know of patterns: its arguments up to the value to beat."""
    columns, constants, uses = space.columns(program.terms, patterns)
    masks, masked = space.masks(patterns)
    starts = np.cumsum([0, *(len(group.choices) for group in space.groups)])
    # What a bound begins with: the best of all choices, allowed or not.
    least, most = constants.copy(), constants.copy()
    for start, end in pairwise(starts.tolist()):
        if start < end:
            least *= columns[:, start:end].min(axis=1)
            most *= columns[:, start:end].max(axis=1)
    ways = np.stack([least, most, constants])
    roots = ways[program.enters, uses]
    return (columns, constants, uses, masks, masked, starts, roots, program.enters,
            program.compared, program.tape)  # fmt: skip


def _smallest(space: Space) -> NestMapping:
    """Return the nest that cuts everything outermost: no tile could be smaller."""
    outer = next(n for n, place in enumerate(space.places) if place.axis is None)
    temporal: list[tuple[str, int]] = []
    spatial: dict[str, list[tuple[str, int]]] = {}
    for name, options in zip(space.names, space.options, strict=True):
        row = options[np.argmax(options[:, outer])]
        temporal.append((name, int(row[outer])))
        for place, factor in zip(space.places, row.tolist(), strict=True):
            if place.axis is not None and factor > 1:
                spatial.setdefault(place.axis, []).append((name, factor))
    return NestMapping(
        temporal=(tuple(temporal), *((),) * (space.depth - 1)),
        spatial={axis: tuple(parts) for axis, parts in spatial.items()},
    )
