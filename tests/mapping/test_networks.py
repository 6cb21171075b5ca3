"""Real networks on catalogue systems: plans hold in every room that reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from orrery.cost import CostModel, price, roofline
from orrery.graph import Graph, build_model
from orrery.hardware import System, load_system
from orrery.mapping import GreedySearch, greedy
from orrery.plan import Plan
from orrery.sim import replay

MODELS: Mapping[str, CostModel] = {"": roofline}


def undesigned(name: str) -> System:
    system = load_system(name)
    return replace(system, devices=tuple(replace(d, designs=()) for d in system.devices))


def judged(graphs: list[Graph], system: System) -> tuple[Plan, float, float]:
    plan = greedy(graphs, system, MODELS, GreedySearch(configurations=2))
    assert isinstance(plan, Plan), plan
    priced = price(plan, graphs, system, MODELS)
    assert priced.feasible and priced.coverage.complete
    timeline = replay(plan, system, lambda a: priced.per_region[a.region].latency_s)
    return plan, priced.total.latency_s, timeline.makespan_s


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "googlenet"])
def test_a_network_on_aws_f1(name: str) -> None:
    g = build_model(name)
    plan, alone_s, replayed_s = judged([g], undesigned("aws-f1"))
    assert len(plan.assignments) == len(g.nodes)
    # Three witnesses that share no code: the price without contention, replay, the scheduler.
    assert alone_s <= replayed_s * (1 + 1e-6)
    assert plan.predicted_latency_s == pytest.approx(replayed_s, rel=0.05)


def test_two_networks_on_aws_f1() -> None:
    graphs = [build_model("resnet18"), build_model("squeezenet1_1")]
    system = undesigned("aws-f1")
    plan, alone_s, replayed_s = judged(graphs, system)
    assert len(plan.assignments) == sum(len(g.nodes) for g in graphs)
    assert alone_s <= replayed_s * (1 + 1e-6)
    slowest = max(judged([g], system)[2] for g in graphs)
    assert replayed_s >= slowest * (1 - 1e-6)
