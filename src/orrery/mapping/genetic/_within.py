"""The lower level of the two-level search: how one set shares the units that it takes.

Models:  per unit a priority for every loop, for rotating an operand and for not sharing at all;
         decoded to the choice that matches best. Or a choice named outright.
Ignores: how tensors arrive from other sets (the upper level's local search sees to that).
Judge:   the exact optimum of one set (tests).

After the second level of the genetic search of MARS (DAC 2023), reconstructed from its outline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sets._choices import Choice
from ..sets._fast import Evaluator
from ..sets._mapping import Placed, SetMapping
from ..sets._problem import Problem
from ..sets._routes import NEVER, Ints
from ._engine import HOPELESS, Evolution, evolve

Floats = NDArray[np.float64]

#: share of units that a mutation changes
_MUTATED = 0.03


class Features:
    """What every choice looks like: its share of each loop, whether it rotates, whether alone.

    Attributes
    ----------
    loops : their names; two columns follow them
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.loops = sorted({
            name
            for choices in {id(c): c for c in problem.choices}.values()
            for listed in choices.values()
            for choice in listed
            for name in _loops(choice)
        })  # fmt: skip
        self._known: dict[int, Floats] = {}

    @property
    def columns(self) -> int:
        return len(self.loops) + 2

    def of(self, parties: int) -> Floats:
        """Return units × choices × columns; -1e9 in the last column where no choice stands."""
        if parties not in self._known:
            listed = [choices.get(parties, ()) for choices in self.problem.choices]
            table = np.zeros((len(listed), max(map(len, listed)), self.columns))
            for u, choices in enumerate(listed):
                for c, choice in enumerate(choices):
                    table[u, c] = self._row(choice, parties)
            self._known[parties] = table
        return self._known[parties]

    def _row(self, choice: Choice, parties: int) -> Floats:
        row = np.zeros(self.columns)
        strategy = choice.strategies[0]
        if strategy is None:
            row[-1] = 1.0
            return row
        for loop, factor in strategy.exclusive:
            row[self.loops.index(loop)] = log2(factor) / log2(parties)
        if strategy.shared is not None:
            row[-2] = 1.0
            row[self.loops.index(strategy.shared.loop)] += 0.5
        return row


def _loops(choice: Choice) -> list[str]:
    strategy = choice.strategies[0]
    if strategy is None:
        return []
    ring = [] if strategy.shared is None else [strategy.shared.loop]
    return [*(loop for loop, _ in strategy.exclusive), *ring]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """The genome: units × columns of priorities, and per unit a choice by number or -1."""

    priorities: Floats
    direct: Ints


class _Range:
    """Genomes of one set over its units."""

    def __init__(self, evaluator: Evaluator, features: Features, placed: Placed) -> None:
        problem = evaluator.problem
        self.units = np.arange(placed.first, placed.last)
        parties = problem.classes[placed.set_class].parties
        self.columns = features.columns
        self.features = features.of(parties)[placed.first : placed.last]
        self.steps = np.full(self.features.shape[:2], NEVER, np.int64)
        for i, u in enumerate(self.units):
            steps = problem.step_ps[u][placed.set_class][placed.design]
            self.steps[i, : len(steps)] = steps
        #: refused choices, and those that are none, match nothing
        self.barred = np.where(self.steps < NEVER, 0.0, -np.inf)
        self.barred[(self.steps >= NEVER).all(axis=1), 0] = 0.0
        quickest = [0] * len(problem.units)
        self.quickest: Ints = self.steps.argmin(axis=1)
        quickest[placed.first : placed.last] = map(int, self.quickest)
        mapping = SetMapping(sets=(placed,), choices=tuple(quickest))
        self.running = evaluator.start(mapping)

    def decode(self, genome: Ways) -> Ints:
        """Return the choice of every unit: the named one, or that of the best match."""
        scores = np.einsum("ucf,uf->uc", self.features, genome.priorities) + self.barred
        found: Ints = np.where(genome.direct >= 0, genome.direct, scores.argmax(axis=1))
        return found

    def create(self, random: np.random.Generator) -> Ways:
        common = random.standard_normal(self.columns)
        own = 0.5 * random.standard_normal((len(self.units), self.columns))
        return Ways(priorities=common + own, direct=np.full(len(self.units), -1))

    def kinds(self) -> list[Ways]:
        """Return, per loop and with or without a rotating operand, genomes that want just that."""
        found = []
        for column in range(self.columns - 2):
            for ring in (-0.25, 0.25):
                row = np.zeros(self.columns)
                row[column], row[-2], row[-1] = 1.0, ring, -0.25
                found.append(Ways(priorities=np.tile(row, (len(self.units), 1)),
                                  direct=np.full(len(self.units), -1)))  # fmt: skip
        return found

    def named(self, choices: Ints) -> Ways:
        """Return a genome that names every choice."""
        shape = (len(self.units), self.columns)
        return Ways(priorities=np.zeros(shape), direct=np.array(choices, np.int64))

    def cross(self, one: Ways, other: Ways, random: np.random.Generator) -> Ways:
        a, b = np.sort(random.integers(0, len(self.units) + 1, size=2))
        priorities, direct = one.priorities.copy(), one.direct.copy()
        priorities[a:b], direct[a:b] = other.priorities[a:b], other.direct[a:b]
        return Ways(priorities=priorities, direct=direct)

    def mutate(self, genome: Ways, random: np.random.Generator) -> Ways:
        priorities, direct = genome.priorities.copy(), genome.direct.copy()
        count = len(self.units)
        if random.random() < 0.5:  # a run of units gets one wish
            a = int(random.integers(count))
            b = min(count, a + 1 + int(random.geometric(0.2)))
            priorities[a:b], direct[a:b] = random.standard_normal(self.columns), -1
        else:
            hit = random.random(count) < max(_MUTATED, 1.0 / count)
            priorities[hit] += random.standard_normal((int(hit.sum()), self.columns))
            direct[hit] = -1
            for i in np.flatnonzero(hit & (random.random(count) < 0.5)):
                allowed = np.flatnonzero(self.steps[i] < NEVER)
                if len(allowed):
                    direct[i] = random.choice(allowed)
        return Ways(priorities=priorities, direct=direct)

    def improve(self, genome: Ways) -> Ways:
        self.running.reset(self.units, self.decode(genome))
        self.running.descend(self.units, 4, 0)
        found = self.running.state.choice[self.units].copy()
        if np.array_equal(found, genome.direct):
            return genome
        return Ways(priorities=genome.priorities, direct=found)

    def values(self, genomes: Sequence[Ways]) -> list[int]:
        return list(map(self.value, genomes))

    def value(self, genome: Ways) -> int:
        makespan = self.running.reset(self.units, self.decode(genome))
        excess = self.running.excess_bytes
        return makespan if not excess else HOPELESS + min(excess, HOPELESS - 1)

    def write(self, genome: Ways) -> Any:
        return {"priorities": genome.priorities.tolist(), "direct": genome.direct.tolist()}

    def read(self, body: Any) -> Ways:
        return Ways(priorities=np.array(body["priorities"], np.float64),
                    direct=np.array(body["direct"], np.int64))  # fmt: skip


def share_range(
    evaluator: Evaluator, features: Features, placed: Placed, settings: Evolution, *,
    genetic: bool = True, communication: bool = True,
) -> Ints:  # fmt: skip
    """Return the choice of every unit of a set.

    Parameters
    ----------
    genetic : search; else unit by unit what is fastest as those before stand
    communication : weigh fetches; else each unit's fastest choice by itself
    """
    genomes = _Range(evaluator, features, placed)
    if not communication:
        return genomes.quickest
    running = genomes.running
    running.greedy(genomes.units, 0)
    forward: Ints = running.state.choice[genomes.units].copy()
    if not genetic:
        if running.excess_bytes:  # greed does not see memories; mend what it filled too far
            running.descend(genomes.units, 1, 0)
            forward = running.state.choice[genomes.units].copy()
        return forward
    greedy = genomes.named(forward)
    seeds = sorted([greedy, genomes.named(genomes.quickest), *genomes.kinds()], key=genomes.value)[
        : max(2, settings.population // 2)
    ]
    seeds = [genomes.improve(seed) for seed in seeds[:3]] + seeds[3:]
    found = evolve(genomes, settings, seeds=seeds)
    return genomes.decode(found.best)


def least_steps(problem: Problem) -> Mapping[tuple[int, int], Ints]:
    """Return per class and design what units take at least, summed up: units + 1 numbers."""
    found = {}
    for k, designs in enumerate(problem.designs):
        for d in range(len(designs)):
            least = [int(problem.step_ps[u][k][d].min()) for u in range(len(problem.units))]
            found[k, d] = np.concatenate([[0], np.cumsum(least)]).astype(np.int64)
    return found
