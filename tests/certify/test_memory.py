"""What the checker counts and what the price counts is the same, to the byte, for most plans."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orrery.graph import Graph
from orrery.hardware import System
from orrery.mapping import greedy
from orrery.plan import Infeasible, Plan
from tests.mapping.random_graphs import MODELS, random_system, residual_graph

from .cases import case
from .plans import small_case


def holds(graph: Graph, system: System, plan: Plan, less: int) -> bool:
    """Whether a plan holds where every memory has the peak of its price, less some bytes."""
    peaks = case(graph, system, plan).cost.peak_bytes
    devices = tuple(
        replace(d, memories=tuple(replace(m, size_bytes=max(1, peaks.get(d.name, 1) - less))
                                  for m in d.memories))
        for d in system.devices
    )  # fmt: skip
    tight = replace(system, devices=devices)
    found = case(graph, tight, replace(plan, system=replace(plan.system, digest=tight.digest)))
    report = found.check()
    assert report.kinds <= {"memory"}, str(report)
    return report.holds


@pytest.mark.parametrize("split", [False, True])
def test_the_peak_of_the_price_is_enough_and_a_byte_less_mostly_is_not(split: bool) -> None:
    short = total = 0
    for seed in range(40):
        graph, system = residual_graph(seed), random_system(seed, designs=False)
        plan = greedy([graph], system, MODELS)
        assert not isinstance(plan, Infeasible)
        if split:
            graph, system, plan = small_case(seed)
            if not plan.is_split:
                continue
        assert holds(graph, system, plan, 0), seed
        short += not holds(graph, system, plan, 1)
        total += 1
    assert short > total / 3
