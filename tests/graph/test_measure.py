"""Densities, judged by closed forms and by counting bits in plain Python."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from orrery.graph import ArrayConstant, Graph, Node, TensorType, measure_statistics
from orrery.graph._measure import bit_density


@given(st.lists(st.floats(width=32), min_size=1, max_size=40))
def test_float_bits_equal_a_count_in_python(values: list[float]) -> None:
    words = [struct.unpack(">I", struct.pack(">f", v))[0] for v in values]
    wanted = [sum(w >> (31 - i) & 1 for w in words) / len(words) for i in range(32)]
    found = bit_density(np.array(values, np.float32))
    np.testing.assert_allclose(found, wanted)


def test_known_tensors() -> None:
    constants = {
        "half": ArrayConstant(np.array([0.0, 1.0, -0.0, 2.0], np.float32)),
        "int": ArrayConstant(np.array([-1, 0], np.int8)),
        "empty": ArrayConstant(np.zeros((0, 3), np.float32)),
    }
    graph = Graph(
        name="g", nodes=(Node(name="n", op="Identity", inputs=("x",), outputs=("y",)),),
        inputs=("x",), outputs=("y",), constants=constants,
        types={"x": TensorType(dtype="float32", shape=(1,))},
    )  # fmt: skip
    found = measure_statistics(graph)
    assert found.density == {"half": 0.5, "int": 0.5}
    assert found.bit_density["int"] == (0.5,) * 8
    assert found.source.basis.value == "measured"


def test_many_blocks(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from orrery.graph import _measure

    values = np.arange(1000, dtype=np.uint16)
    whole = bit_density(values)
    monkeypatch.setattr(_measure, "_BLOCK", 7)
    assert bit_density(values) == whole
