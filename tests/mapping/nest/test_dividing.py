"""Nests of dividing factors: whole, within memory, and near the best of all such nests."""

from __future__ import annotations

from itertools import product as cuts
from math import prod
from random import Random

import pytest

from orrery.cost.interchange import covers_exactly
from orrery.cost.nest import NestMapping, check_mapping, nest_cost
from orrery.mapping.nest import NestFound, best_nest, dividing_nest

from .cases import random_array, random_layer


@pytest.mark.parametrize("objective", ["latency", "energy"])
def test_factors_divide_and_memories_hold(objective: str) -> None:
    draw, changed, seen = Random(5), 0, 0
    while seen < 12 or (not changed and seen < 60):
        problem, architecture = random_layer(draw), random_array(draw)
        found = best_nest(problem, architecture, objective)
        if not isinstance(found, NestFound):
            continue
        seen += 1
        nest = dividing_nest(problem, found.mapping, architecture, objective)
        if nest is None:
            continue
        changed += nest != found.mapping
        assert covers_exactly(problem, nest) == ()
        assert check_mapping(problem, nest, architecture) is None
        cost = nest_cost(problem, nest, architecture)
        worth = cost.cycles if objective == "latency" else cost.energy_j
        assert worth is not None
        assert worth >= found.value * (1 - 1e-9)
        assert dividing_nest(problem, nest, architecture, objective) is nest
    assert changed > 0


def test_no_cut_of_one_loop_is_better() -> None:
    draw, seen = Random(5), 0
    while seen < 2:
        problem, architecture = random_layer(draw), random_array(draw)
        found = best_nest(problem, architecture)
        if not isinstance(found, NestFound) or not covers_exactly(problem, found.mapping):
            continue
        nest = dividing_nest(problem, found.mapping, architecture)
        if nest is None:
            continue
        seen += 1
        reached = nest_cost(problem, nest, architecture).cycles
        for loop, extent in problem.loops:
            side = prod(f for v in nest.spatial.values() for name, f in v if name == loop)
            for factors in cuts(range(1, extent + 1), repeat=len(nest.temporal)):
                if prod(factors) != -(-extent // side):
                    continue
                temporal = tuple(
                    tuple({**dict(level), loop: factor}.items())  # in its place, or innermost
                    for level, factor in zip(nest.temporal, factors, strict=True)
                )
                tried = NestMapping(temporal=temporal, spatial=nest.spatial)
                if check_mapping(problem, tried, architecture) is None:
                    assert nest_cost(problem, tried, architecture).cycles >= reached
