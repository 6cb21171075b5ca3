"""Of equally good nests the one that is best by the other measure, against every nest priced."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from orrery.cost.nest import NestCost, NestProblem
from orrery.hardware import Architecture
from orrery.mapping.nest import NestFound, best_nest, nest_key, nest_network
from orrery.mapping.nest._space import mappings_of, options_of, places_of
from orrery.store import Cache

from .cases import all_costs, conv, random_array, random_layer

#: The search's own: closer values count as equal.
NEAR = 1e-9


def _drawn(seed: int) -> tuple[NestProblem, Architecture, list[NestCost]]:
    """Draw a layer and an array with ties that differ, and the price of every nest.

    Of the fastest nests some take more joules (even seeds), of the most frugal some more cycles
    (odd ones, where no joule is for time alone).
    """
    draw = Random(seed)
    while True:
        problem, architecture = random_layer(draw), random_array(draw)
        if seed % 2:
            levels = tuple(replace(level, static_power_w=0.0) for level in architecture.levels)
            architecture = replace(architecture, levels=levels, static_power_w=0.0,
                                   idle_mac_energy_j=0.0)  # fmt: skip
        columns = [n for n, p in enumerate(places_of(architecture)) if p.axis is None]
        if not 8 <= mappings_of(options_of(problem, architecture), columns) <= 200:
            continue
        costs, _ = all_costs(problem, architecture)
        least = min((cost.cycles for cost in costs), default=0)
        joules = [_joules(cost) for cost in costs if cost.cycles == least]
        thrift = min(map(_joules, costs), default=0.0)
        cycles = [cost.cycles for cost in costs if _joules(cost) <= thrift * (1 + 1e-12)]
        if costs and (len(set(cycles)) > 1 if seed % 2 else max(joules) > 1.01 * min(joules)):
            return problem, architecture, costs


def _joules(cost: NestCost) -> float:
    assert cost.energy_j is not None
    return cost.energy_j


@pytest.mark.parametrize("seed", range(16))
def test_ties_are_settled_as_all_nests_say(seed: int) -> None:
    problem, architecture, costs = _drawn(seed)
    plain = best_nest(problem, architecture, "latency")
    fast = best_nest(problem, architecture, "latency", settle=True)
    frugal = best_nest(problem, architecture, "energy", settle=True)
    assert isinstance(plain, NestFound) and isinstance(fast, NestFound)
    assert isinstance(frugal, NestFound)
    least = min(cost.cycles for cost in costs)
    assert fast.cost.cycles == least == fast.value == fast.bound
    fewest = min(_joules(cost) for cost in costs if cost.cycles == least)
    assert _joules(fast.cost) == pytest.approx(fewest, rel=2 * NEAR)
    thrift = min(map(_joules, costs))
    assert frugal.value == _joules(frugal.cost) <= thrift * (1 + 3 * NEAR)
    # who is within the tolerance counts as equal, who is just outside need not
    assert frugal.cost.cycles <= min(c.cycles for c in costs if _joules(c) <= thrift * (1 + 1e-12))
    assert frugal.cost.cycles >= min(
        c.cycles for c in costs if _joules(c) <= thrift * (1 + 3 * NEAR)
    )
    assert fast.proven and frugal.proven and fast.settled and frugal.settled
    assert not plain.settled and fast.mappings == plain.mappings and fast.scored >= plain.scored


def test_edp_and_unknown_prices_have_nothing_to_settle() -> None:
    problem, array = conv(6, 4, 5, 1, 3, 1, padding=1), random_array(Random(3))
    assert best_nest(problem, array, "edp", settle=True) == best_nest(problem, array, "edp")
    sources = {name: one for name, one in array.sources.items() if name != "mac_energy_j"}
    free = replace(array, mac_energy_j=None, sources=sources)
    assert best_nest(problem, free, settle=True) == best_nest(problem, free)


def test_a_settling_cut_short_is_no_worse_than_the_first_nest() -> None:
    problem, array = conv(6, 4, 5, 5, 3, 3, padding=1), random_array(Random(3))
    for most in (1, 300, 3000):
        first = best_nest(problem, array, most=most)
        again = best_nest(problem, array, most=most, settle=True)
        whole = best_nest(problem, array)
        assert isinstance(first, NestFound) and isinstance(again, NestFound)
        assert isinstance(whole, NestFound)
        assert again.value <= first.value and _joules(again.cost) <= _joules(first.cost)
        assert again.bound <= whole.value


def test_settled_nests_are_kept_apart(tmp_path: Path) -> None:
    problem, array = conv(6, 4, 5, 1, 3, 1, padding=1), random_array(Random(3))
    assert nest_key(problem, array, "latency") != nest_key(problem, array, "latency", settle=True)
    cache = Cache("nests", folder=tmp_path)
    for _ in range(2):
        plain = nest_network({"a": problem}, array, cache=cache)["a"]
        settled = nest_network({"a": problem}, array, cache=cache, settle=True)["a"]
        assert plain == best_nest(problem, array)
        assert settled == best_nest(problem, array, settle=True)
        assert isinstance(settled, NestFound) and settled.settled
