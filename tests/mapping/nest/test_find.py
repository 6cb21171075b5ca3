"""The search of loop nests against every nest priced on its own."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isclose
from random import Random

import pytest

from orrery.cost.nest import check_mapping, nest_cost
from orrery.errors import SpecError
from orrery.mapping.nest import OBJECTIVES, NestFound, best_nest
from orrery.mapping.nest._space import mappings_of, options_of, places_of
from orrery.plan import Infeasible

from .cases import DENSE, conv, exhaustive, keeping_array, random_array, random_layer, random_zeros


@pytest.mark.parametrize("seed", (*range(40), *range(1000, 1028), *range(2000, 2040)))
def test_the_optimum_is_that_of_all_nests(seed: int) -> None:
    """From 1000 on arrays are as a layer sees them whose operands live on chip; then zeros."""
    draw = Random(seed)
    while True:
        problem = random_layer(draw)
        architecture = keeping_array(draw) if 1000 <= seed < 2000 else random_array(draw)
        zeros = DENSE if seed < 2000 else random_zeros(draw)
        if seed >= 2000:
            problem = replace(problem, macs=draw.random() < 0.8)
        columns = [n for n, p in enumerate(places_of(architecture)) if p.axis is None]
        number = mappings_of(options_of(problem, architecture), columns)
        if 2 <= number <= 250:
            break
    best, counted = exhaustive(problem, architecture, zeros)
    assert counted == number
    for objective in OBJECTIVES:
        found = best_nest(problem, architecture, objective, zeros=zeros)
        if best[objective] == inf:
            assert isinstance(found, Infeasible)
            continue
        assert isinstance(found, NestFound)
        assert found.mappings == number
        assert isclose(found.value, best[objective], rel_tol=1e-8)
        assert found.proven and found.gap <= 1e-8
        assert check_mapping(problem, found.mapping, architecture) is None
        assert found.cost == nest_cost(problem, found.mapping, architecture, zeros=zeros)


def test_a_search_cut_short_bounds_what_it_has_not_seen() -> None:
    draw = Random(3)
    problem = conv(6, 4, 5, 5, 3, 3, padding=1)
    architecture = random_array(draw)
    whole = best_nest(problem, architecture, "energy")
    short = best_nest(problem, architecture, "energy", most=1)
    assert isinstance(whole, NestFound) and isinstance(short, NestFound)
    assert whole.proven
    assert short.bound <= whole.value * (1 + 1e-9) <= short.value * (1 + 2e-9)


def test_an_unknown_objective_is_named() -> None:
    draw = Random(0)
    with pytest.raises(SpecError, match="did you mean 'latency'"):
        best_nest(random_layer(draw), random_array(draw), "latencies")


def test_the_least_energy_among_the_fastest() -> None:
    problem, architecture = conv(6, 4, 5, 1, 3, 1, padding=1), random_array(Random(3))
    fastest = best_nest(problem, architecture, "latency")
    assert isinstance(fastest, NestFound)
    cycles = fastest.cost.cycles
    both = best_nest(problem, architecture, "energy", most_cycles=cycles)
    frugal = best_nest(problem, architecture, "energy")
    assert isinstance(both, NestFound) and isinstance(frugal, NestFound)
    assert both.cost.cycles == cycles and both.proven
    assert fastest.cost.energy_j is not None
    assert frugal.value <= both.value <= fastest.cost.energy_j
    refused = best_nest(problem, architecture, "energy", most_cycles=cycles - 1)
    assert isinstance(refused, Infeasible)
    assert (refused.need, refused.have) == (cycles, cycles - 1)
