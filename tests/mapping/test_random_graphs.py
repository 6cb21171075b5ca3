"""The generator gives networks that compute and systems that can run them, the same per seed."""

from __future__ import annotations

import numpy as np

from orrery.mapping import greedy
from orrery.plan import Infeasible

from .random_graphs import MODELS, TOPOLOGIES, random_system, residual_graph


def test_networks_compute_and_have_skips() -> None:
    joins = 0
    for seed in range(60):
        g = residual_graph(seed)
        assert g.digest == residual_graph(seed).digest
        assert 1 <= len(g.nodes) <= 6
        inputs = {n: np.ones(g.type(n).shape, np.float32) for n in g.inputs}
        for name, value in g.evaluate(inputs).items():
            assert value.shape == g.type(name).shape
        joins += any(node.op == "Add" for node in g.nodes)
    assert joins > 10


def test_systems_run_every_network() -> None:
    seen = set()
    for seed in range(60):
        system = random_system(seed)
        assert system.digest == random_system(seed).digest
        plan = greedy([residual_graph(seed)], system, MODELS)
        assert not isinstance(plan, Infeasible), plan
        seen.add(system.name.rstrip("0123456789"))
    assert seen == set(TOPOLOGIES)
