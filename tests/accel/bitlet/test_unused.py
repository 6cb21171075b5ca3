"""Bits of weights that have no lane are declared to synthesis, which checks that it is so."""

from __future__ import annotations

import pytest

from orrery.accel.bitlet._design import _unused
from orrery.accel.bitlet._format import number_format
from orrery.accel.bitlet._pipeline import Pipeline


def _stages(precision: str, lanes: int) -> Pipeline:
    form = number_format(precision)
    return Pipeline(format=form, lanes=lanes, group=4, window=2, beat=4, align=4)


def test_the_lowest_bits_of_each_weight_are_named() -> None:
    assert list(_unused(_stages("fixed4", 2), "correct")) == [
        f"i__w_magnitude[{4 * k + 1}:{4 * k}]" for k in range(4)
    ]
    assert list(_unused(_stages("fp16", 5), "faithful"))[1] == "i__w_magnitude[16:11]"
    assert _unused(_stages("fp16", 5), "correct") == {}
    assert _unused(_stages("fp16", 11), "faithful") == {}


@pytest.mark.rtl
@pytest.mark.needs("amaranth", "pyosys", "g++")
def test_an_element_with_fewer_lanes_than_bits_is_synthesised() -> None:
    from orrery.accel.bitlet.circuit import circuit
    from orrery.rtl import MiscompiledError, synthesise

    made = circuit(precision="fixed4", group=4, lanes=2, window=2, beat=4, align=4)
    found = synthesise(made, unused=_unused(_stages("fixed4", 2), "faithful"), by_module=False)
    assert found.area > 0
    with pytest.raises(MiscompiledError, match=r"i__w_magnitude.13:12, 9:8, 5:4, 1:0"):
        synthesise(made, by_module=False)
