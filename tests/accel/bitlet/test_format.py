"""Names, widths, rounding and fields against Python integers."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.accel.bitlet._format import (
    ABSENT,
    FLOATS,
    FixedFormat,
    FloatFormat,
    Mode,
    exponents,
    from_bits,
    number_format,
    split,
    to_bits,
)
from orrery.errors import SpecError

from . import slow


@pytest.mark.parametrize("kind", ["fp16", "bf16", "fp32"])
@pytest.mark.parametrize("mode", ["correct", "faithful"])
def test_exponents_alone_are_those_of_the_fields(kind: str, mode: Mode) -> None:
    form = FLOATS[kind]
    words = np.arange(2**16, dtype=np.uint32) * (65537 if kind == "fp32" else 1)
    words = words.astype(np.uint32 if kind == "fp32" else np.uint16).reshape(256, -1)
    assert np.array_equal(exponents(words, form, mode), split(words, form, mode).exponent)


@pytest.mark.parametrize("bits", [0, 25, 32, -1, True, 2.5])
def test_bits_that_have_no_lanes_are_refused(bits: Any) -> None:
    with pytest.raises(SpecError, match="a whole number, 1 to 24"):
        FixedFormat(bits=bits)


def test_names_are_read_and_written() -> None:
    for bits in range(1, 25):
        assert number_format(f"fixed{bits}") == FixedFormat(bits=bits)
        assert number_format(FixedFormat(bits=bits).name).lanes == bits
    for name, form in FLOATS.items():
        assert number_format(name) is form


@pytest.mark.parametrize(
    ("name", "fix"),
    [("fixed0", "take 'fixed1'"), ("fixed25", "take 'fixed24'; the engine has 24 lanes"),
     ("fixed-1", "correct the name"), ("fixed08", "take 'fixed8'"), ("fp23", "'fp32'"),
     ("", "correct the name"), ("fixed٣", "correct the name")],
)  # fmt: skip
def test_precisions_that_are_none_are_refused(name: str, fix: str) -> None:
    with pytest.raises(SpecError, match="wanted one of fp32, fp16, bf16, fixed1 to fixed24") as e:
        number_format(name)
    assert fix in e.value.fix


def test_the_widths_of_binary32_are_those_of_the_release() -> None:
    form = FLOATS["fp32"]
    widths = (form.lanes, form.exponent_sum_bits, form.activation_bits, form.sum_bits,
              form.accumulator_bits, form.storage_bits)  # fmt: skip
    assert widths == (24, 9, 25, 52, 64, 32)


@pytest.mark.parametrize("form", FLOATS.values(), ids=FLOATS)
def test_no_width_can_overflow(form: FloatFormat) -> None:
    most = 2**form.lanes - 1
    one_pass = most * most  # every lane adds a largest activation at its weight
    assert one_pass < 2 ** (form.sum_bits - 1)
    assert 2**15 * one_pass < 2 ** (form.accumulator_bits - 1)
    assert most < 2 ** (form.activation_bits - 1)
    assert 2 * (2**form.exponent_bits - 1) < 2**form.exponent_sum_bits


def _nearest(value: Fraction, layout: slow.Layout) -> Fraction | float:
    """Round to nearest, ties to even, by trying the neighbours on the grid."""
    if value == 0:
        return Fraction(0)
    exponent = max(math.floor(math.log2(abs(value))), 1 - layout.bias)
    while exponent > 1 - layout.bias and abs(value) < Fraction(2) ** exponent:
        exponent -= 1
    while abs(value) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    step = Fraction(2) ** (exponent - layout.fraction)
    rounded = round(value / step) * step
    limit = Fraction(2) ** (layout.top - layout.bias)
    return rounded if abs(rounded) < limit else math.copysign(math.inf, value)


@given(st.sampled_from(tuple(FLOATS)), st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_values_are_rounded_to_nearest_even(kind: str, value: float) -> None:
    want = _nearest(Fraction(value), slow.LAYOUTS[kind])
    word = to_bits(np.float32([value]), FLOATS[kind])
    assert slow.exact(int(word[0]), slow.LAYOUTS[kind]) == want
    assert float(from_bits(word, FLOATS[kind])[0]) == float(want)


@given(st.sampled_from(tuple(FLOATS)), st.integers(0, 2**32 - 1))
def test_fields_are_those_of_the_slow_unpacker(kind: str, word: int) -> None:
    form, layout = FLOATS[kind], slow.LAYOUTS[kind]
    word &= 2**form.storage_bits - 1
    words = np.array([word], np.uint32 if kind == "fp32" else np.uint16)
    got = split(words, form, "faithful")
    sign, stored, magnitude = slow.unpack(word, layout, True)
    fields = (int(got.sign[0]), int(got.exponent[0]), int(got.magnitude[0]))
    assert fields == (1 - 2 * sign, stored, magnitude)
    got = split(words, form, "correct")
    value = slow.exact(word, layout)
    if isinstance(value, float):
        special = got.special
        assert special is not None
        assert float(special[0]) == value or math.isnan(value)
        assert int(got.magnitude[0]) == 0
        return
    assert got.special is None
    scale = Fraction(2) ** (int(got.exponent[0]) - layout.bias - layout.fraction)
    assert int(got.signed[0]) * scale == value
    assert (int(got.exponent[0]) == ABSENT) == (value == 0)
