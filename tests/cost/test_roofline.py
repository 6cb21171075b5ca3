"""Judges: closed forms worked out by hand; monotonicity; guards violated on purpose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.cost import (
    Cost,
    ImplausibleCostError,
    bounds,
    check_cost,
    roofline,
    signature,
    work_of,
)
from orrery.graph import ArrayConstant, Graph, Node, Region, TensorType

from .small import chain, device


def one(op: str, shapes: list[tuple[int | str, ...]], dtype: str = "float32", **attributes):
    names = tuple(f"x{i}" for i in range(len(shapes)))
    graph = Graph(
        name="one", nodes=(Node(name="n", op=op, inputs=names, outputs=("y",),
                                attributes=attributes),),
        inputs=names, outputs=("y",),
        types={n: TensorType(dtype=dtype, shape=s) for n, s in zip(names, shapes)},
    )  # fmt: skip
    return graph.infer().regions()[0]


def test_a_matrix_product_limited_by_bandwidth() -> None:
    # 64³ MACs at 1 TMAC/s take 0.26 µs; 3 · 64² · 4 bytes at 100 GB/s take 0.49 µs.
    region = one("MatMul", [(64, 64), (64, 64)])
    cost = roofline.cost(region, device())
    assert cost.offchip_bytes == 3 * 64 * 64 * 4
    assert cost.latency_s == pytest.approx(3 * 64 * 64 * 4 / 1e11)
    assert cost.macs_nominal == cost.macs_performed == 64**3
    assert cost.energy_j == pytest.approx(64**3 * 1e-12 + 3 * 64 * 64 * 4 * 1e-11)
    assert bounds(work_of(region), device()).limit == "off-chip bandwidth"


def test_a_large_matrix_product_limited_by_macs() -> None:
    region = one("MatMul", [(512, 512), (512, 512)])
    cost = roofline.cost(region, device())
    assert cost.latency_s == pytest.approx(512**3 / 1e12)
    assert bounds(work_of(region), device()).limit == "MACs"


def test_the_bill_adds_up() -> None:
    for region in chain().regions():
        cost = roofline.cost(region, device())
        assert cost.energy_j == pytest.approx(sum(charge.energy_j for charge in cost.charges))
        assert any(charge.action == "byte off-chip" for charge in cost.charges)


def test_energy_is_not_known_without_every_price() -> None:
    region = one("MatMul", [(8, 8), (8, 8)])
    for missing in ({"mac_energy_j": {}}, {"energy_j_per_byte": None}):
        cost = roofline.cost(region, device(**missing))
        assert cost.energy_j is None and cost.charges == ()
    assert roofline.cost(region, device(other_energy_j=None)).energy_j is not None
    relu = one("Relu", [(8,)])
    assert roofline.cost(relu, device(other_energy_j=None)).energy_j is None


def test_refusals_name_what_is_missing() -> None:
    product = one("MatMul", [(8, 8), (8, 8)], dtype="float16")
    refusal = roofline.refuses(product, device())
    assert refusal is not None
    assert refusal.reason == "d0 has no MAC rate for float16; known: float32"
    relu = one("Relu", [(8,)])
    assert "not MACs" in roofline.refuses(relu, device(others_per_s=None)).reason
    assert "bandwidth of dram" in roofline.refuses(relu, device(bandwidth=None)).reason
    assert "does not run Relu" in roofline.refuses(relu, device(operators=("Conv",))).reason
    open_ = one("Relu", [("batch", 8)])
    assert "--shape batch=8" in roofline.refuses(open_, device()).reason
    strange = Graph(
        name="s", nodes=(Node(name="n", op="Magic", inputs=("x",), outputs=("y",)),),
        inputs=("x",), outputs=("y",), types={"x": TensorType(dtype="float32", shape=(2,))},
    )  # fmt: skip
    refusal = roofline.refuses(strange.regions()[0], device())
    assert refusal is not None and "unknown operators: Magic (n)" in refusal.reason


def test_views_move_nothing_and_are_priced() -> None:
    graph = Graph(
        name="v", nodes=(Node(name="n", op="Reshape", inputs=("x", "s"), outputs=("y",)),),
        inputs=("x",), outputs=("y",), types={"x": TensorType(dtype="float32", shape=(4, 4))},
        constants={"s": ArrayConstant(np.array([16]))},
    )  # fmt: skip
    graph = graph.with_types({**graph.types, "s": graph.constants["s"].type}).infer()
    region = graph.regions()[0]
    assert roofline.refuses(region, device()) is None
    cost = roofline.cost(region, device(energy_j_per_byte=None))
    assert (cost.latency_s, cost.energy_j, cost.offchip_bytes) == (0.0, 0.0, 0)


def test_an_embedding_table_is_not_read_from_end_to_end() -> None:
    table = ArrayConstant(np.zeros((50_000, 64), "float32"))
    graph = Graph(
        name="e", nodes=(Node(name="n", op="Gather", inputs=("t", "i"), outputs=("y",)),),
        inputs=("i",), outputs=("y",), constants={"t": table},
        types={"i": TensorType(dtype="int64", shape=(3,)), "t": table.type},
    ).infer()  # fmt: skip
    work = work_of(graph.regions()[0])
    assert work.weight_bytes == work.output_bytes == 3 * 64 * 4


def test_a_fused_region_keeps_what_is_inside() -> None:
    graph = chain(layers=1)
    fused = Region(graph=graph, nodes=("matmul0", "relu0"))
    assert work_of(fused).traffic_bytes == 3 * 64 * 64 * 4
    assert work_of(fused).total_macs == 64**3
    assert work_of(fused).others == 64 * 64


def test_equal_work_has_one_signature() -> None:
    regions = chain(layers=4).regions()
    assert len({signature(region, {}) for region in regions}) == 2
    assert signature(one("MatMul", [(8, 8), (8, 8)]), {}) != signature(
        one("MatMul", [(8, 8), (8, 16)]), {}
    )
    # An input is not a weight: the traffic is equal but residency is not.
    assert signature(one("MatMul", [(64, 64), (64, 64)]), {}) != signature(regions[0], {})


@given(st.tuples(*[st.integers(1, 96)] * 3), st.integers(0, 2))
def test_no_dimension_makes_it_cheaper_when_it_grows(sizes: tuple[int, int, int], which: int):
    m, k, n = sizes
    grown = [s * 2 if i == which else s for i, s in enumerate(sizes)]
    small = roofline.cost(one("MatMul", [(m, k), (k, n)]), device())
    large = roofline.cost(one("MatMul", [(grown[0], grown[1]), (grown[1], grown[2])]), device())
    assert large.latency_s >= small.latency_s > 0
    assert large.energy_j >= small.energy_j > 0
    assert large.offchip_bytes >= small.offchip_bytes


GOOD = {"latency_s": 1e-3, "energy_j": 1e-5, "offchip_bytes": 3 * 64 * 64 * 4,
        "macs_nominal": 64**3, "macs_performed": 64**3}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"latency_s": 1e-9}, "at the peak rate"),
        ({"latency_s": 2.7e-7}, "bytes off-chip in"),
        ({"latency_s": float("nan")}, "a finite time"),
        ({"energy_j": float("inf")}, "a finite energy"),
        ({"energy_j": 1e-12}, "at least 1 fJ per operation"),
        ({"energy_j": 1e6}, "at most 100000 W"),
        ({"offchip_bytes": None}, "an energy without off-chip traffic"),
        ({"offchip_bytes": 100}, "at least the compulsory 49152"),
    ],
)
def test_each_guard_bites_and_names_the_row(change: dict[str, object], text: str) -> None:
    region = one("MatMul", [(64, 64), (64, 64)])
    check_cost(Cost(**GOOD), work_of(region), row="layer7", device=device())
    with pytest.raises(ImplausibleCostError, match=text) as caught:
        check_cost(Cost(**{**GOOD, **change}), work_of(region), row="layer7", device=device())
    assert "layer7 on d0" in str(caught.value)


def test_skipped_operations_are_no_magic() -> None:
    # Half the MACs performed may take half the time, not less.
    work = work_of(one("MatMul", [(512, 512), (512, 512)]))
    cost = Cost(latency_s=512**3 / 1e12 / 2, offchip_bytes=work.traffic_bytes,
                macs_nominal=512**3, macs_performed=512**3 // 2)  # fmt: skip
    check_cost(cost, work, row="r", device=device())
    with pytest.raises(ImplausibleCostError):
        check_cost(replace(cost, latency_s=cost.latency_s * 0.99), work, row="r", device=device())


def test_a_body_is_priced_under_its_own_types_with_its_own_weights() -> None:
    """The judge is the same loop unrolled: MACs and, since it reads them once, weights."""
    weight = ArrayConstant(np.ones((64, 64), np.float32))
    square = TensorType(dtype="float32", shape=(64, 64))
    body = Graph(
        name="body", inputs=("i", "going", "s"), outputs=("going", "t"), constants={"w": weight},
        nodes=(Node(name="m", op="MatMul", inputs=("s", "w"), outputs=("t",)),),
        types={"i": TensorType(dtype="int64", shape=()),
               "going": TensorType(dtype="bool", shape=()), "s": square},
    )  # fmt: skip
    loop = Graph(
        name="loop", inputs=("x",), outputs=("y",), types={"x": square},
        nodes=(Node(name="loop", op="Loop", inputs=("n", "", "x"), outputs=("y",),
                    attributes={"body": body, "captured": 0}),),
        constants={"n": ArrayConstant(np.array(10))},
    ).infer()  # fmt: skip
    (region,) = loop.regions()
    work = work_of(region)
    assert work.macs == {"float32": 10 * 64**3}
    assert work.weight_bytes == weight.type.size_bytes + 8
    assert roofline.refuses(region, device()) is None
    assert roofline.cost(region, device()).macs_nominal == 10 * 64**3
    refusal = roofline.refuses(region, device(operators=("Loop",)))
    assert refusal is not None and refusal.reason == "d0 does not run MatMul"
