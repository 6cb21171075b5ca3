"""The search's energy of random mappings against the price of their plans."""

from __future__ import annotations

from random import Random

import pytest

from orrery.cost import price
from orrery.mapping._tables import fill_tables, number_workload
from orrery.mapping.sets import evaluate, fill_problem, plan_of
from orrery.mapping.sets._routes import NEVER
from orrery.mapping.trade import fill_joules

from .energy_cases import METERED, powered
from .random_graphs import random_system, residual_graph
from .sets_cases import random_mapping


@pytest.mark.parametrize("seed", range(12))
def test_the_energy_is_that_of_the_plans_price(seed: int) -> None:
    random = Random(seed)
    graphs = [residual_graph(seed, most=6)]
    system = powered(random_system(seed), seed)
    if seed % 3 == 0 and len(system.devices) > 1:
        graphs.append(residual_graph(seed + 1000, most=4))
    tables = fill_tables(number_workload(graphs), system, METERED)
    problem = fill_problem(tables, METERED, tables.capacity_bytes)
    joules = fill_joules(problem, METERED)
    for _ in range(4):
        mapping = random_mapping(problem, random)
        if evaluate(problem, mapping).makespan_ps >= NEVER:
            continue
        cost = price(plan_of(problem, mapping, searcher="random"), graphs, system, METERED)
        assert cost.dynamic_energy_j == pytest.approx(joules.dynamic_j(mapping), rel=1e-9)
        assert cost.total.energy_j == pytest.approx(joules.energy_j(mapping), rel=1e-9)
