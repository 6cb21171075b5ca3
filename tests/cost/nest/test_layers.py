"""Loop nests of operators: run as they stand they compute what the operators compute."""

from __future__ import annotations

import numpy as np
import pytest

from orrery.cost import Refusal, work_of
from orrery.cost.nest import (
    Index,
    NestMapping,
    NestProblem,
    NestTensor,
    count_nest,
    nest_problem,
    operand_density,
)
from orrery.errors import SpecError, UnknownNameError
from orrery.graph import TRAINING_DOMAIN, Statistics, build_model, evaluate_node
from tests.cost.layers import LAYERS, layer
from tests.cost.nest.draws import HAND
from tests.cost.nest.test_price import level, machine
from tests.cost.training_layers import EXACT, FLOATS

EVERY = {**LAYERS, **EXACT, **FLOATS}


def run(nest: NestProblem, operands: list[np.ndarray], made: int) -> np.ndarray:
    """Do every operation of a nest of two operands."""
    grid = np.indices([n for _, n in nest.loops]).reshape(len(nest.loops), -1)
    index = {name: row for (name, _), row in zip(nest.loops, grid, strict=True)}
    flat, there = {}, np.ones(grid.shape[1], bool)
    for tensor in nest.tensors:
        at = np.zeros(grid.shape[1], int)
        for axis in tensor.axes:
            place = axis.offset + sum(index[loop] * stride for loop, stride in axis.terms)
            if axis.terms:
                there &= (place >= 0) & (place < axis.size)
            at = at * axis.size + (place if axis.terms else 0)
        flat[tensor.name] = at
    x, w, y = (tensor.name for tensor in nest.tensors)
    result = np.zeros(made)
    a, b = (operand.ravel() for operand in operands)
    np.add.at(result, flat[y][there], a[flat[x][there]] * b[flat[w][there]])
    return result


CASES = {
    "conv": layer("Conv", (2, 3, 7, 6), (4, 3, 3, 2), strides=(2, 1), pads=(1, 0, 2, 1)),
    "dilated": layer("Conv", (1, 2, 9), (3, 2, 3), dilations=(2,), strides=(3,), pads=(1, 1)),
    "groups": layer("Conv", (2, 6, 5, 5), (4, 3, 3, 3), group=2, auto_pad="SAME_UPPER"),
    "depthwise": layer("Conv", (1, 4, 5, 4, 3), (4, 1, 2, 2, 2), group=4),
    "pointwise": layer("Conv", (2, 5, 3, 3), (4, 5, 1, 1), strides=(2, 2)),
    "transposed": layer("ConvTranspose", (2, 4, 4, 3), (4, 3, 3, 2), strides=(2, 3),
                        pads=(1, 0, 1, 1), group=2, dilations=(1, 2), dtype="float32"),
    "transposed-same": layer("ConvTranspose", (1, 2, 5), (2, 3, 3), strides=(2,),
                             auto_pad="SAME_LOWER", dtype="float32"),
    "product": layer("MatMul", (2, 3, 4, 5), (2, 3, 5, 6)),
    "rows": layer("MatMul", (2, 3, 4, 5), (5, 6)),
    "vector": layer("MatMul", (4, 5), (5,)),
    "einsum": layer("Einsum", (3, 4, 5), (3, 5, 2), equation="bik,bkj->bij"),
    "weights": layer("ConvGradWeight", (2, 4, 7, 6), (2, 6, 4, 3), domain=TRAINING_DOMAIN,
                     strides=(2, 2), pads=(1, 0, 1, 1), kernel_shape=(3, 3), group=2,
                     dtype="float32"),
    "pixels": layer("ConvGradInput", (2, 6, 4, 3), (6, 2, 3, 3), (4,), domain=TRAINING_DOMAIN,
                    values={2: np.array([2, 4, 7, 6])}, strides=(2, 2), pads=(1, 0, 1, 1),
                    group=2, dtype="float32"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_nest_computes_what_its_operator_does(name: str) -> None:
    region = CASES[name]
    node, graph = region.members[0], region.graph
    (nest,) = nest_problem(region)
    rng = np.random.default_rng(0)
    values = {x: graph.constants[x].array() if x in graph.constants else
              rng.integers(-4, 5, graph.type(x).sizes).astype(graph.type(x).dtype)
              for x in node.inputs}  # fmt: skip
    (wanted,) = evaluate_node(graph, node, values).values()
    operands = [values[x] for x in node.inputs[:2]]
    assert np.array_equal(run(nest, operands, wanted.size), wanted.ravel())


@pytest.mark.parametrize("name", EVERY)
def test_macs_and_elements_are_those_of_the_layer(name: str) -> None:
    region = EVERY[name]
    found = nest_problem(region)
    if isinstance(found, Refusal):
        assert found.reason.startswith(f"{region.members[0].operator}: ")
        return
    assert sum(p.operations * p.times for p in found if p.macs) == work_of(region).total_macs
    if not found:
        return
    outputs = [region.graph.type(t).elements for t in region.members[0].outputs if t]
    (made,) = (t.name for t in found[-1].tensors if t.role == "output")
    whole = NestMapping(temporal=(found[-1].loops,))
    written = count_nest(found[-1], whole, machine(level("dram"))).tiles[0][made]
    if region.members[0].op == "ConvGradInput":  # pixels that no window saw are not written
        assert 0 < written <= outputs[0]
    else:
        assert written in (outputs[0], outputs[-1], sum(outputs))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "gpt2-124m", "cnn-lstm"])
def test_whole_networks_have_nests(name: str) -> None:
    """Nothing is refused, and MACs are conserved (the builder refuses what they are not of)."""
    graph = build_model(name)
    refused = [f.reason for r in graph.regions() if isinstance(f := nest_problem(r), Refusal)]
    assert refused == []


def test_what_has_no_nest_says_why() -> None:
    def why(*given: object, **more: object) -> str:
        found = nest_problem(layer(*given, **more))
        assert isinstance(found, Refusal)
        return found.reason

    assert why("Einsum", (2, 3), (2, 3), equation="ij,ij->ij") == (
        "Einsum: no product of matrices in 'ij,ij->ij'")  # fmt: skip
    assert why("Conv", (1, 2, 3, 3, 3, 3), (2, 2, 1, 1, 1, 1)) == (
        "Conv: 4 spatial axes; up to 3 have names")  # fmt: skip
    assert why("Det", (2, 2), dtype="float32") == "Det: its loops are not known"
    assert nest_problem(layer("Reshape", (2, 3), (1,), values={1: np.array([6])})) == ()


def test_densities_go_to_the_operands_roles() -> None:
    def found(*given: object, **more: object) -> dict[str, float]:
        density = {"x0": 0.5, "x1": 0.25, "x2": 0.125}
        return operand_density(layer(*given, **more), Statistics(source=HAND, density=density))

    assert found("Conv", (1, 2, 3), (2, 2, 1), weights=(1,)) == {"input": 0.5, "weight": 0.25}
    assert found("MatMul", (2, 3), (3, 4), weights=(1,)) == {"input": 0.5, "weight": 0.25}
    assert found("MatMul", (2, 3), (3, 4), weights=(0,)) == {"input": 0.25, "weight": 0.5}
    assert found("Relu", (2, 3)) == {}


def test_nests_that_make_no_sense_are_refused() -> None:
    def nest(*axes: Index, loops: tuple = (("N", 2), ("W", 3)), role: str = "output") -> None:
        NestProblem(loops=loops, tensors=(NestTensor(name="y", role=role, axes=axes),))

    with pytest.raises(SpecError, match="loops of different names"):
        nest(loops=(("N", 2), ("N", 3)))
    with pytest.raises(SpecError, match="found 'input', wanted one output"):
        nest(role="input")
    with pytest.raises(UnknownNameError, match="no loop that tensor y follows named 'M'"):
        nest(Index(size=2, terms=(("M", 1),)))
    with pytest.raises(SpecError, match="tensor y: found 'N, N', wanted every loop in one axis"):
        nest(Index(size=2, terms=(("N", 1),)), Index(size=2, terms=(("N", 1),)))
    with pytest.raises(SpecError, match="with strides above 0"):
        nest(Index(size=2, terms=(("N", -1),)))
