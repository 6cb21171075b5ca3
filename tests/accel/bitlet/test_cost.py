"""The cost against counts of the same weights, the published tables and closed forms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orrery.accel import Accelerator, resolve
from orrery.accel._products import filled_share, matrices, require_layer
from orrery.accel.bitlet import BitletCost, count_layer, number_format
from orrery.accel.bitlet._cost import PUBLISHED_ZEROS, array_power, weight_statistics
from orrery.accel.bitlet._cycles import BitletSimulator
from orrery.cost import Cost
from orrery.errors import SpecError
from orrery.graph import (
    ArrayConstant,
    Graph,
    Node,
    Region,
    Statistics,
    TensorType,
    build_model,
    read_safetensors,
    with_weights,
)
from orrery.provenance import Basis, Source
from tests.conformance.kit import conv_region

from .test_function import conv_of_rank, product_region


def design(**parameters: Any) -> tuple[Accelerator, BitletCost, BitletSimulator]:
    """An array with its cost model and its simulator."""
    text = ", ".join(f"{k}={v!r}" for k, v in parameters.items())
    made = resolve(f"bitlet({text})")
    assert isinstance(made.cost, BitletCost)
    assert isinstance(made.simulate, BitletSimulator)
    return made, made.cost, made.simulate


@pytest.mark.parametrize("precision", ["fixed4", "fixed8", "fixed16", "fp32", "bf16"])
def test_expected_cycles_stand_near_counted_ones(precision: str) -> None:
    _, cost, simulate = design(precision=precision)
    region = product_region("MatMul", (16, 200), (200, 70))
    values = {"a": np.random.default_rng(3).standard_normal((16, 200)).astype(np.float32)}
    found, expected = count_layer(region, values, simulate.array), cost.expected(region)
    assert expected.array_cycles == pytest.approx(found.array_cycles, rel=0.05)
    assert expected.element_cycles == pytest.approx(found.element_cycles, rel=0.05)
    assert (expected.macs, expected.groups) == (found.macs, found.groups)
    assert np.array_equal(expected.weight_bytes, found.weight_bytes)


@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
def test_few_weights_are_counted(op: str) -> None:
    _, cost, simulate = design(precision="fixed6", elements=4)
    region = product_region(op, (3, 70), (70, 9))
    found = count_layer(region, {"a": np.ones((3, 70), np.float32)}, simulate.array)
    assert np.array_equal(cost.expected(region).steps, found.steps)


def test_fewer_lanes_take_fewer_cycles() -> None:
    region = product_region("MatMul", (8, 128), (128, 64))
    cycles = [design(precision="fp32", lanes=n)[1].expected(region).array_cycles for n in (24, 8)]
    values = {"a": np.random.default_rng(3).standard_normal((8, 128)).astype(np.float32)}
    counted = count_layer(region, values, design(precision="fp32", lanes=8)[2].array)
    assert cycles[1] < 0.95 * cycles[0]
    assert cycles[1] == pytest.approx(counted.array_cycles, rel=0.05)


def test_weights_that_are_not_known_are_the_published_average() -> None:
    _, cost, _ = design()
    region = product_region("MatMul", (8, 640), (640, 320), constant="")
    assert weight_statistics(region, require_layer(region), number_format("fixed8")) is None
    assert PUBLISHED_ZEROS[8] == pytest.approx(0.727775)
    # Bits drawn with that share of zeros, eight lanes, thirty-two groups beside each other.
    draw = np.random.default_rng(0).random((300, 32, 64, 8)) >= PUBLISHED_ZEROS[8]
    held = (draw << np.arange(8)).sum(-1).reshape(-1, 64)
    from orrery.accel.bitlet import weight_cycles

    worst = weight_cycles(held, cost.array)[:, 0].reshape(-1, 32).max(1).mean()
    assert cost.expected(region).array_cycles == pytest.approx(worst * 8 * 10 * 10, rel=0.01)


def product_with(weights: np.ndarray) -> Region:
    node = Node(name="product", op="MatMul", inputs=("a", "b"), outputs=("y",))
    return Graph(name="one", nodes=(node,), inputs=("a",), outputs=("y",),
                 types={"a": TensorType(dtype="float32", shape=(512, len(weights)))},
                 constants={"b": ArrayConstant(weights)}).infer().regions()[0]  # fmt: skip


@pytest.mark.parametrize("storage", ["plain", "columns"])
@pytest.mark.parametrize("precision", ["fixed8", "fp32"])
def test_a_price_that_depends_on_weights_says_so(precision: str, storage: str) -> None:
    accelerator, cost, _ = design(precision=precision, storage=storage)
    dense = np.random.default_rng(0).integers(1, 100, (64, 64)).astype(np.float32)
    sparse = np.where(np.arange(64)[:, None] % 4, 0, dense).astype(np.float32)
    for zeros in (None, 0.5):
        model = replace(cost, zeros=zeros)
        first, second = (
            model.cost(product_with(held), accelerator.device) for held in (dense, sparse)
        )
        assert model.reads_values == (first != second)


def test_known_zeros_of_activations_save_time_in_floating_point_only() -> None:
    region = product_region("MatMul", (128, 640), (640, 32))
    thin = Statistics(source=Source(basis=Basis.ASSUMED, where="a test", note="half are zero"),
                      density={"a": 0.5})  # fmt: skip
    for precision, saves in (("fp32", True), ("fixed8", False)):
        made, cost, _ = design(precision=precision)
        dense = cost.cost(region, made.device).latency_s
        assert (cost.cost(region, made.device, None, thin).latency_s < 0.95 * dense) is saves


@pytest.mark.parametrize(("left", "within"), [(0.5, 0.05), (0.2, 0.1)])
def test_pruned_weights_have_zeros_of_their_own_in_every_element(
    left: float, within: float
) -> None:
    """The slowest of 32 elements is the one with the fewest zeros, not one with the mean number."""
    draw = np.random.default_rng(5)
    weights = draw.standard_normal((64, 64, 3, 3)) * (draw.random((64, 64, 3, 3)) < left)
    region = conv_region(channels=64, filters=64, height=4, width=4,
                         weights=weights.astype(np.float32))  # fmt: skip
    _, cost, _ = design(precision="fp32")
    values = {"x": draw.standard_normal((1, 64, 4, 4)).astype(np.float32)}
    found = count_layer(region, values, cost.array)
    dense = count_layer(conv_region(channels=64, filters=64, height=4, width=4), values, cost.array)
    assert found.array_cycles < 0.95 * dense.array_cycles
    assert cost.expected(region).array_cycles == pytest.approx(found.array_cycles, rel=within)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_filled_share_is_that_of_the_gathered_terms(rank: int) -> None:
    region = conv_of_rank(rank)
    layer = require_layer(region)
    ones = {"x": np.ones(region.graph.type("x").sizes, np.float32)}
    taken = matrices(region, ones, layer).take(0, np.arange(layer.positions))
    assert filled_share(region) == pytest.approx(taken.mean())


def test_published_power_and_what_lies_between() -> None:
    for name, lanes, milliwatts in (("fp32", 24, 570.15), ("fixed16", 16, 432.08),
                                    ("fixed8", 8, 365.49), ("fixed4", 4, 332.2)):  # fmt: skip
        found = array_power(number_format(name), lanes, elements=32, process_nm=28)
        assert found is not None
        assert found[0] == pytest.approx(1e-3 * milliwatts)
        assert found[1].basis is Basis.PUBLISHED
        # Another array of half the size: the blocks added up are the published total.
        half = array_power(number_format(name), lanes, elements=16, process_nm=28)
        assert half is not None
        # (at 16 bits the printed blocks add up to 431.06 mW, the printed total is 432.08)
        assert half[0] == pytest.approx(found[0] / 2, rel=3e-3)
        assert half[1].basis is Basis.ESTIMATED
    assert array_power(number_format("fp32"), 24, elements=32, process_nm=7) is None
    # The variant with eight lanes at work: 438 mW published.
    found = array_power(number_format("fp32"), 8, elements=32, process_nm=28)
    assert found is not None
    assert found[0] == pytest.approx(0.438, rel=0.01)


def test_energy_is_power_times_time_and_bytes() -> None:
    made, cost, _ = design()
    found = cost.cost(product_region("MatMul", (8, 640), (640, 320)), made.device)
    assert found.energy_j is not None
    assert found.offchip_bytes is not None
    assert found.energy_j == pytest.approx(
        0.36549 * found.latency_s + 560e-12 * found.offchip_bytes, rel=1e-4
    )
    other = replace(made.device, process_nm=7.0)
    assert cost.cost(product_region("MatMul", (8, 640), (640, 320)), other).energy_j is None


def test_a_slower_memory_is_felt() -> None:
    made, cost, _ = design()
    region = product_region("MatMul", (1, 640), (640, 320))
    memory = made.device.offchip
    slow = replace(made.device, memories=(replace(memory, bandwidth_bytes_per_s=1e9),))

    def bound(found: Cost) -> float:
        return found.latency_s * 0.5e9 / (640 * 320)

    assert bound(cost.cost(region, slow)) > 1
    assert cost.cost(region, slow).latency_s > 2 * cost.cost(region, made.device).latency_s


def test_weights_that_are_not_finite_are_refused() -> None:
    made, cost, _ = design()
    region = product_region("MatMul", (2, 3), (3, 2))
    held = {"b": ArrayConstant(np.float32([[1, 2], [np.nan, 3], [4, 5]]))}
    broken = Region(graph=replace(region.graph, constants=held), nodes=region.nodes)
    answer = cost.refuses(broken, made.device)
    assert answer is not None
    assert "not finite" in answer.reason


@pytest.mark.parametrize(
    ("text", "match"),
    [("precision='fixed25'", "fixed1 to fixed24"), ("precision='fixed0'", "fixed1 to fixed24"),
     ("lanes=25", "1 to 24"), ("lanes=0", "above zero"), ("window=65", "window"),
     ("mode='exact'", "faithful"), ("elements=0", "above zero"), ("group=5000", "4096")],
)  # fmt: skip
def test_parameters_that_make_no_array_are_refused(text: str, match: str) -> None:
    with pytest.raises(SpecError, match=match):
        resolve(f"bitlet({text})")


def test_what_the_caller_chose_is_not_called_published() -> None:
    usual, chosen = design()[0].device, design(elements=16, clock_mhz=500)[0].device
    assert usual.compute.sources["clock_hz"].basis is Basis.PUBLISHED
    assert usual.sources["area_mm2"].basis is Basis.PUBLISHED
    assert usual.area_mm2 == 1.54
    assert usual.compute.macs_per_s == {"int8": 256e9}
    assert chosen.compute.sources["clock_hz"].basis is Basis.ASSUMED
    assert chosen.sources["area_mm2"].basis is Basis.ESTIMATED
    assert chosen.area_mm2 == pytest.approx(0.77)
    assert design(window=4)[0].device.area_mm2 is None


@pytest.mark.shared_data
@pytest.mark.parametrize("precision", ["fixed8", "fixed16"])
def test_trained_weights_take_what_was_expected(precision: str, shared_data: Path) -> None:
    made, cost, simulate = design(precision=precision)
    graph = with_weights(build_model("resnet20"),
                         read_safetensors(shared_data / "cifar10/resnet20.safetensors"),
                         where="resnet20")  # fmt: skip
    counted = expected = 0.0
    for region in graph.regions():
        if cost.refuses(region, made.device) is None:
            shapes = {n: np.zeros(graph.type(n).sizes, np.float32) for n in region.inputs}
            counted += count_layer(region, shapes, simulate.array).array_cycles
            expected += cost.expected(region).array_cycles
    assert expected == pytest.approx(counted, rel=0.05)
