"""Plans with split regions, executed by processes: equal to the whole, messages as announced."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orrery.cost import expand
from orrery.runtime import PartyPool, execute, reference_evaluator

from ..mapping.random_graphs import TOPOLOGIES, random_system
from .split_plans import announced, counted, random_inputs, residual, split_plan, whole


@pytest.fixture(scope="module")
def pool() -> Iterator[PartyPool]:
    with PartyPool(6, timeout_s=60) as opened:
        yield opened


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_random_plans_equal_the_whole_and_send_what_is_announced(
    topology: str, pool: PartyPool
) -> None:
    kinds: set[str] = set()
    for seed in range(25):
        graphs = [residual(100 * len(topology) + seed)]
        if seed % 5 == 4:
            graphs.append(residual(1000 + seed))
        system = random_system(seed, least=2, most=5, designs=False, topology=topology)
        plan = split_plan(graphs, system, seed)
        if not plan.is_split:
            continue
        inputs = random_inputs(graphs, plan, seed)
        evaluators = dict.fromkeys((d.name for d in system.devices), reference_evaluator)
        done = execute(plan, graphs, inputs, evaluators, system=system, pool=pool)
        want = whole(graphs, plan, inputs)
        assert list(done.outputs) == list(want), seed
        for name, value in want.items():
            assert done.outputs[name].dtype == value.dtype
            assert done.outputs[name].tobytes() == value.tobytes(), (seed, name)
        table = announced(expand(plan, graphs, system))
        assert counted(done) == table, seed
        assert done.sent_bytes == sum(size for _, size in table.values())
        kinds |= {kind for kind, _, _ in table}
    assert kinds == {"exchange", "all-gather", "reduce-scatter", "rotate"}
