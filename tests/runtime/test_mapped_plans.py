"""What the mapper plans, the executor obeys: equal to the whole network, designs close to it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from orrery.accel import plan_evaluators, resolve
from orrery.cost import CostModel, roofline
from orrery.graph import MODELS, Graph, build_model
from orrery.graph.models import example_inputs
from orrery.hardware import System, load_system
from orrery.mapping import greedy
from orrery.plan import Plan
from orrery.runtime import execute, reference_evaluator


@cache
def _network(name: str) -> Graph:
    return build_model(name, **MODELS[name].small)


def _planned(system: System, *graphs: Graph) -> Plan:
    texts = sorted({text for device in system.devices for text in device.designs})
    models: dict[str, CostModel] = {"": roofline, **{t: resolve(t).cost for t in texts}}
    plan = greedy(list(graphs), system, models)
    assert isinstance(plan, Plan), str(plan)
    return plan


@pytest.mark.parametrize("network", ["resnet18", "googlenet", "wide-deep", "casia-surf"])
def test_a_mapped_network_equals_the_whole_one(network: str) -> None:
    graph, system = _network(network), load_system("aws-f1")
    inputs = example_inputs(graph)
    plan = _planned(system, graph)
    evaluators = dict.fromkeys({a.device for a in plan.assignments}, reference_evaluator)
    outputs = execute(plan, [graph], inputs, evaluators, system=system).outputs
    for name, want in graph.evaluate(inputs).items():
        assert outputs[name].tobytes() == want.tobytes()


def test_two_mapped_networks_run_together() -> None:
    graphs, system = [_network("resnet18"), _network("wide-deep")], load_system("aws-f1")
    plan = _planned(system, *graphs)
    inputs = {
        model.prefix + name: value
        for model, graph in zip(plan.models, graphs)
        for name, value in example_inputs(graph).items()
    }
    evaluators = dict.fromkeys({a.device for a in plan.assignments}, reference_evaluator)
    outputs = execute(plan, graphs, inputs, evaluators, system=system).outputs
    for model, graph in zip(plan.models, graphs):
        for name, want in graph.evaluate(example_inputs(graph)).items():
            assert outputs[model.prefix + name].tobytes() == want.tobytes()


def test_a_network_on_its_designs_gives_nearly_the_same() -> None:
    graph, system = build_model("resnet18"), load_system("aws-f1")
    inputs = example_inputs(graph)
    plan = _planned(system, graph)
    assert any(assignment.design for assignment in plan.assignments)
    outputs = execute(
        plan, [graph], inputs, plan_evaluators(plan, reference_evaluator), system=system
    ).outputs
    for name, want in graph.evaluate(inputs).items():
        error = np.abs(outputs[name] - want).max() / np.abs(want).max()
        assert 0 < error < 1e-3  # 16-bit arithmetic: not equal, and not far
        assert np.array_equal(outputs[name].argmax(-1), want.argmax(-1))
