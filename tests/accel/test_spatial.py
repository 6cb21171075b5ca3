"""Spatial arrays as accelerators: numbers as Python integers give them, cost under a nest only."""

from __future__ import annotations

import numpy as np
import pytest

from orrery.accel import resolve
from orrery.accel.spatial import spatial, spatial_of
from orrery.cost.nest import LOOPS, NestMapping, nest_problem
from orrery.errors import SpecError, UnknownNameError
from orrery.graph import Graph, Node, Region, TensorType
from orrery.hardware.spatial import architecture_names, load_architecture, read_architecture_text
from orrery.mapping.nest import best_nest
from orrery.plan import Infeasible, KernelSchedule


def _matmul(rows: int, inner: int, cols: int, op: str = "MatMul") -> Region:
    types = {"a": TensorType(dtype="float32", shape=(rows, inner)),
             "b": TensorType(dtype="float32", shape=(inner, cols))}  # fmt: skip
    node = Node(name="product", op=op, inputs=("a", "b"), outputs=("c",))
    graph = Graph(name="one", nodes=(node,), inputs=("a", "b"), outputs=("c",), types=types)
    return graph.infer().regions()[0]


def _integers(values: np.ndarray, bits: int) -> tuple[np.ndarray, float]:
    """Round to integers of so many bits by trying steps, as a person would."""
    step = 2.0**-60
    while np.max(np.abs(np.rint(values.astype(np.float64) / step))) > 2 ** (bits - 1) - 1:
        step *= 2
    return np.rint(values.astype(np.float64) / step), step


@pytest.mark.parametrize("name", ["tpu-v1", "eyeriss-v1", "eyeriss-v2"])
def test_products_are_sums_of_integers(name: str) -> None:
    accelerator, draw = spatial(name), np.random.default_rng(3)
    architecture = load_architecture(name, loops=tuple(LOOPS))
    a = draw.standard_normal((3, 5)).astype(np.float32)
    b = draw.standard_normal((5, 4)).astype(np.float32)
    (left, step), (right, other) = (
        _integers(a, architecture.bits["input"]), _integers(b, architecture.bits["weight"])
    )  # fmt: skip
    sums = [[sum(int(left[i, k]) * int(right[k, j]) for k in range(5)) for j in range(4)]
            for i in range(3)]  # fmt: skip
    wide, grid = _integers(np.array(sums) * (step * other), architecture.partial_sum_bits)
    want, last = _integers(wide * grid, architecture.bits["output"])
    got = accelerator.evaluate(_matmul(3, 5, 4), {"a": a, "b": b})["c"]
    assert got.dtype == np.float32
    assert np.array_equal(got, (want * last).astype(np.float32))


@pytest.mark.parametrize("name", architecture_names())
def test_every_array_of_the_catalogue_is_an_accelerator(name: str) -> None:
    accelerator = resolve(f"spatial(architecture={name!r})")
    assert accelerator == spatial(name)
    assert accelerator.device.offchip.name == "dram"
    region = _matmul(8, 8, 8)
    assert accelerator.cost.refuses(region, accelerator.device) is None
    assert accelerator.device.compute.macs_per_s


def test_without_a_nest_there_is_no_cost() -> None:
    accelerator = spatial()
    with pytest.raises(SpecError, match="needs a loop nest: map it first"):
        accelerator.cost.cost(_matmul(2, 2, 2), accelerator.device)
    other = KernelSchedule(space="tiles", parameters={})
    with pytest.raises(SpecError, match="loop nest"):
        accelerator.cost.cost(_matmul(2, 2, 2), accelerator.device, other)


def test_the_nest_that_a_search_finds_is_priced_as_it_says() -> None:
    accelerator, region = spatial("weight-stationary-32"), _matmul(16, 64, 32)
    architecture = load_architecture("weight-stationary-32", loops=tuple(LOOPS))
    (problem,) = nest_problem(region)  # type: ignore[misc]  # one product, one nest
    found = best_nest(problem, architecture, "latency")
    assert not isinstance(found, Infeasible)
    cost = accelerator.cost.cost(region, accelerator.device, found.mapping.schedule(architecture))
    assert cost.latency_s == found.cost.latency_s
    assert cost.energy_j == found.cost.energy_j
    plain = NestMapping(temporal=(problem.loops, (), (), ()))
    slow = accelerator.cost.cost(region, accelerator.device, plain.schedule(architecture))
    assert cost.latency_s < slow.latency_s


@pytest.mark.parametrize(("op", "said"), [("Add", "Add; the array runs Conv, MatMul, Gemm")])
def test_what_does_not_multiply_is_refused(op: str, said: str) -> None:
    accelerator = spatial()
    refusal = accelerator.cost.refuses(_matmul(4, 4, 4, op), accelerator.device)
    assert refusal is not None
    assert said in refusal.reason


def test_names_and_arrays_of_ones_own() -> None:
    with pytest.raises(UnknownNameError, match="eyeriss-v1"):
        spatial("eyeris-v1")
    text = """\
name: mine
clock: "100 MHz"
source: guess
sources: {guess: {basis: assumed, where: sketch, note: "orders of magnitude"}}
array: [{axis: rows, size: 2}]
bits: {input: 8, weight: 4, output: 8, partial_sum: 24}
levels:
  - {name: ram, holds: [input, weight, output], word: "8 bit"}
  - {name: pads, per: [rows], holds: [input, weight, output], size: "64 B", word: "8 bit"}
"""
    mine = spatial_of(read_architecture_text(text, loops=tuple(LOOPS)))
    assert mine.paper.basis.value == "published"
    assert "4 bits" in mine.tolerance.reason
    assert mine.device.compute.macs_per_s == {"int8": 2e8}
