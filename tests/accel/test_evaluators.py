"""A plan with designs, executed: regions compute as their design would, the rest as told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orrery.accel import plan_evaluators, resolve
from orrery.errors import UnknownNameError
from orrery.graph import Graph, Node
from orrery.runtime import execute, reference_evaluator
from tests.conformance.kit import conv_region
from tests.runtime.plans import spread

DESIGN = "systolic(rows=4, cols=4)"


def _network(name: str) -> Graph:
    plain = conv_region().graph
    relu = Node(name="relu", op="Relu", inputs=("y",), outputs=("z",))
    return replace(plain, name=name, nodes=(*plain.nodes, relu), outputs=("z",)).infer()


def test_regions_compute_as_their_design_would() -> None:
    graphs = [_network("one"), _network("two")]
    plan = spread(graphs, lambda index: "fpga")
    # Only the first network's convolution is on the array; the other has the same node name.
    first = replace(plan.assignments[0], design=DESIGN)
    plan = replace(plan, assignments=(first, *plan.assignments[1:]))
    image = np.random.default_rng(2).standard_normal((1, 4, 8, 8)).astype(np.float32)
    inputs = {f"{model.prefix}x": image for model in plan.models}
    outputs = execute(plan, graphs, inputs, plan_evaluators(plan, reference_evaluator)).outputs
    exact = graphs[1].evaluate({"x": image})["z"]
    array = resolve(DESIGN).evaluate(graphs[0].regions()[0], {"x": image})["y"]
    assert np.array_equal(outputs["one0/z"], np.maximum(array, 0))
    assert np.array_equal(outputs["two1/z"], exact)
    assert not np.array_equal(outputs["one0/z"], exact)


def test_an_unknown_design_is_refused_before_anything_runs() -> None:
    plan = spread([_network("one")], lambda index: "fpga")
    first = replace(plan.assignments[0], design="sistolic(rows=4)")
    with pytest.raises(UnknownNameError, match="did you mean 'systolic'"):
        plan_evaluators(replace(plan, assignments=(first,)), reference_evaluator)
