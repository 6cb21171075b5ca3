"""A network in another precision: judged by bits, closed forms and round trips."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.errors import SpecError
from orrery.graph import ArrayConstant, TensorType, build_model, count_macs, in_precision
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


def test_what_has_no_code_is_refused() -> None:
    type_ = TensorType(dtype="int8", shape=(1,))
    with pytest.raises(SpecError, match="no code"):
        ConvertedConstant(original=ArrayConstant(np.array([np.nan])), type=type_).array()
    with pytest.raises(SpecError, match="did you mean 'int8'"):
        in_precision(build_model("memn2n"), "imt8")
