"""A network in another precision: judged by bits, closed forms and round trips."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.errors import SpecError
from orrery.graph import (
    ArrayConstant,
    Graph,
    Node,
    TensorType,
    build_model,
    count_macs,
    in_precision,
)
from orrery.graph._precision import ConvertedConstant


@pytest.mark.parametrize(("dtype", "bits"), [("float16", 16), ("int8", 8), ("int4", 4)])
def test_bytes_follow_the_bits_and_operations_stay(dtype: str, bits: int) -> None:
    graph = build_model("squeezenet1_1", image=64)
    turned = in_precision(graph, dtype)
    assert count_macs(turned) == count_macs(graph)
    for name, type_ in graph.types.items():
        if type_.dtype == "float32":
            assert turned.type(name).dtype == dtype
            assert turned.type(name).size_bytes == -(-type_.elements * bits // 8)
        else:
            assert turned.type(name) == type_


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_integers_are_within_half_a_step(values: list[float]) -> None:
    array = np.array(values)
    type_ = TensorType(dtype="int8", shape=array.shape)
    codes = ConvertedConstant(original=ArrayConstant(array), type=type_).array()
    step = np.abs(array).max() / 127 or 1.0
    assert np.all(np.abs(codes.astype(float) * step - array) <= step / 2 * (1 + 1e-9))


@pytest.mark.filterwarnings("error")
def test_what_is_too_large_for_a_float_is_infinite() -> None:
    mask = ArrayConstant(np.array([0.0, -3e38], np.float32))
    turned = ConvertedConstant(original=mask, type=TensorType(dtype="float16", shape=(2,)))
    assert turned.array().tolist() == [0.0, -np.inf]


def test_what_has_no_code_is_refused() -> None:
    type_ = TensorType(dtype="int8", shape=(1,))
    with pytest.raises(SpecError, match="no code"):
        ConvertedConstant(original=ArrayConstant(np.array([np.nan])), type=type_).array()
    with pytest.raises(SpecError, match="did you mean 'int8'"):
        in_precision(build_model("memn2n"), "imt8")


def test_bodies_are_converted_too() -> None:
    square = TensorType(dtype="float32", shape=(4, 4))
    body = Graph(
        name="body", inputs=("i", "going", "s"), outputs=("going", "t"),
        nodes=(Node(name="m", op="MatMul", inputs=("s", "w"), outputs=("t",)),),
        constants={"w": ArrayConstant(np.ones((4, 4), np.float32))},
        types={"i": TensorType(dtype="int64", shape=()),
               "going": TensorType(dtype="bool", shape=()), "s": square},
    )  # fmt: skip
    loop = Graph(
        name="loop", inputs=("x",), outputs=("y",), types={"x": square},
        nodes=(Node(name="loop", op="Loop", inputs=("n", "", "x"), outputs=("y",),
                    attributes={"body": body, "captured": 0}),),
        constants={"n": ArrayConstant(np.array(5))},
    ).infer()  # fmt: skip
    turned = in_precision(loop, "float16")
    assert turned.macs_by_type(turned.nodes[0]) == {"float16": 5 * 64}
    assert sorted(str(c.type) for c in turned.all_constants()) == ["float16[4×4]", "int64[]"]
