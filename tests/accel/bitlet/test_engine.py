"""Bits against a slow engine in Python integers; values against exact rationals."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orrery.accel.bitlet._engine import MOST_GROUP, Engine
from orrery.accel.bitlet._format import FLOATS, FixedFormat, from_bits, number_format
from orrery.errors import SpecError

from . import slow

KINDS = tuple(FLOATS)
#: The worked example of the paper: six weights, 20 ones, 3 passes.
SIX = (12.625, 5.15625, 9.75, 1.625, 0.25, 76.25)


def words(kind: str) -> st.SearchStrategy[int]:
    """Any word of a format, the odd ones often."""
    layout = slow.LAYOUTS[kind]
    bits = layout.exponent + layout.fraction
    inf = layout.top << layout.fraction
    odd = [0, 1, 2**layout.fraction - 1, 2**layout.fraction, inf - 1, inf, inf + 1]
    signed = [w | s << bits for w in odd for s in (0, 1)]
    middle = st.builds(
        lambda s, e, f: s << bits | e << layout.fraction | f,
        st.integers(0, 1), st.integers(layout.bias - 9, layout.bias + 9),
        st.integers(0, 2**layout.fraction - 1),
    )  # fmt: skip
    return middle | st.sampled_from(signed) | st.integers(0, 2 ** (bits + 1) - 1)


@st.composite
def groups(draw: st.DrawFn) -> tuple[str, str, int, list[int], list[int]]:
    kind, out = draw(st.sampled_from(KINDS)), draw(st.sampled_from(KINDS))
    size = draw(st.integers(1, 9))
    mask = draw(st.just(-1) | st.integers(1, 2 ** (slow.LAYOUTS[kind].fraction + 1) - 1))
    pairs = draw(st.lists(st.tuples(words(kind), words(kind)), min_size=size, max_size=size))
    return kind, out, mask, [w for w, _ in pairs], [a for _, a in pairs]


def given_words(values: list[int], kind: str) -> np.ndarray:
    """One group whose words are exactly these (NaN payloads kept), as the format's own type."""
    word = np.uint32 if kind == "fp32" else np.uint16
    array = np.array([values], word)
    return array.view({"fp32": np.float32, "fp16": np.float16}.get(kind, _bf16()))


def _bf16() -> Any:
    import ml_dtypes

    return ml_dtypes.bfloat16


@example(("fp32", "fp32", -1, [0x00000001], [0x3F800000]))  # a subnormal weight
@example(("fp32", "fp32", -1, [0x3F800000, 0], [0x00800000, 0x7F000000]))  # zero weight, large A
@example(("fp32", "fp32", -1, [0x20000000], [0x1FFFFFFF]))  # a stored exponent of exactly 0
@given(groups())
@settings(max_examples=120)
def test_faithful_bits_equal_the_slow_engine(case: tuple[Any, ...]) -> None:
    kind, out, mask, w, a = case
    engine = Engine(format=FLOATS[kind], mode="faithful", result=FLOATS[out], enabled=mask)
    got = engine.run(given_words(w, kind), given_words(a, kind))
    total, largest = slow.float_group(w, a, kind, faithful=True, mask=mask)
    assert (int(got.accumulator[0]), int(got.exponent[0])) == (total, largest)
    assert int(got.result[0]) == slow.pack(total, largest, kind, out, faithful=True)


def _special(w: list[int], a: list[int], kind: str) -> bool:
    top = slow.LAYOUTS[kind]
    return any(x >> top.fraction & top.top == top.top for x in (*w, *a))


@example(("fp32", "fp32", -1, [0x00000001], [0x3F800000]))
@example(("fp32", "fp32", -1, [0x20000000], [0x1FFFFFFF]))
@given(groups())
@settings(max_examples=160)
def test_correct_bits_equal_the_slow_engine_and_stay_in_the_bound(case: tuple[Any, ...]) -> None:
    kind, out, mask, w, a = case
    engine = Engine(format=FLOATS[kind], result=FLOATS[out], enabled=mask)
    left, right = given_words(w, kind), given_words(a, kind)
    got = engine.run(left, right)
    layout = slow.LAYOUTS[kind]
    terms = [(slow.exact(x, layout), slow.exact(y, layout)) for x, y in zip(w, a)]
    if _special(w, a, kind):
        odd = sum(float(x) * float(y) for x, y in terms
                  if isinstance(x, float) or isinstance(y, float))  # fmt: skip
        value = float(engine.dot(left, right)[0])
        assert value == odd or (np.isnan(value) and np.isnan(odd))
        return
    total, largest = slow.float_group(w, a, kind, faithful=False, mask=mask)
    assert (int(got.accumulator[0]), int(got.exponent[0])) == (total, largest)
    word = int(got.result[0])
    assert word == slow.pack(total, largest, kind, out, faithful=False)
    value = slow.exact(word, slow.LAYOUTS[out])
    bound = float(engine.error_bound(left, right)[0])
    if isinstance(value, Fraction):
        error = abs(value - sum(x * y for x, y in terms))  # type: ignore[misc]
        assert bound == np.inf or error <= Fraction(bound)
    else:
        assert bound == np.inf


def test_the_bound_is_not_vain() -> None:
    draw = np.random.default_rng(0)
    w, a = draw.standard_normal((2, 500, 64)).astype(np.float32)
    engine = Engine(format=FLOATS["fp32"])
    error = np.abs(engine.dot(w, a) - np.einsum("gi,gi->g", w.astype(float), a.astype(float)))
    share = error / engine.error_bound(w, a)
    assert share.max() > 0.1
    # All exponents but one are one below the largest, all dropped bits are ones: nearly all of it.
    weights = np.full((1, 64), np.float32(2 - 2.0**-23))
    values = np.full((1, 64), np.float32(0.5) * np.float32(2 - 2.0**-23))
    values[0, 0] = 1
    got = engine.run(weights, values)
    exact = sum(Fraction(float(x)) * Fraction(float(y)) for x, y in zip(weights[0], values[0]))
    kept = Fraction(int(got.accumulator[0])) * Fraction(2) ** (int(got.exponent[0]) - 300)
    assert abs(kept - exact) > Fraction(63) * Fraction(2) ** (int(got.exponent[0]) - 276) * 49 / 100


def test_a_faithful_zero_weight_may_hide_everything() -> None:
    """0 · 2^100 has the larger exponent sum, so the released engine shifts the others away."""
    w = np.array([[0, 2.0**-60]], np.float32)
    a = np.array([[2.0**100, 1]], np.float32)
    assert Engine(format=FLOATS["fp32"], mode="faithful").dot(w, a)[0] == 0
    assert Engine(format=FLOATS["fp32"]).dot(w, a)[0] == np.float32(2.0**-60)


def test_golden_six_weights_have_twenty_ones_in_lanes_of_three() -> None:
    exponents = [int(np.frexp(w)[1]) - 1 for w in SIX]
    assert exponents == [3, 2, 3, 0, -2, 6]
    aligned = [int(w * 2**17) for w in SIX]  # 2^6 in the highest of 24 lanes
    lanes = [[i + 1 for i, m in enumerate(aligned) if m >> b & 1] for b in range(24)]
    assert sum(map(len, lanes)) == 20
    assert max(map(len, lanes)) == 3
    by_place = {6 - (23 - b): lane for b, lane in enumerate(lanes) if lane}
    assert by_place == {6: [6], 3: [1, 3, 6], 2: [1, 2, 6], 0: [2, 3, 4], -1: [1, 3, 4],
                        -2: [3, 5, 6], -3: [1, 2, 4], -5: [2]}  # fmt: skip
    values = np.array([[1.5, 1.25, 1.0, 1.75, 1.125, 1.375]], np.float32)  # of one exponent
    engine = Engine(format=FLOATS["fp32"], group=6)
    got = engine.run(np.array([SIX], np.float32), values)
    assert int(got.exponent[0]) == 127 + 127 + 6
    folded = [int(v * 2**23) for v in values[0]]
    assert int(got.accumulator[0]) == sum(m * a for m, a in zip(aligned, folded))
    assert engine.dot(np.array([SIX]), values)[0] == np.dot(np.array(SIX), values[0].astype(float))


# -- fixed point ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 2])
@pytest.mark.parametrize("mode", ["correct", "faithful"])
def test_every_small_fixed_point_group_is_the_integer_dot_product(bits: int, mode: Any) -> None:
    engine = Engine(format=FixedFormat(bits=bits), mode=mode, group=2)
    weights = range(-(2**bits) + 1, 2**bits)
    values = range(-(2**bits), 2**bits)
    pairs = list(itertools.product(weights, values))
    cases = np.array(list(itertools.product(pairs, pairs)))
    got = engine.run(cases[:, :, 0], cases[:, :, 1])
    want = (cases[:, :, 0] * cases[:, :, 1]).sum(1)
    assert np.array_equal(got.accumulator, want)
    assert np.array_equal(got.result, want)


@given(st.data())
@settings(max_examples=100)
def test_fixed_point_of_any_precision_equals_python_integers(data: st.DataObject) -> None:
    bits = data.draw(st.integers(1, 24))
    weight = st.integers(-(2**bits) + 1, 2**bits - 1)
    value = st.integers(-(2**bits), 2**bits - 1)
    pairs = data.draw(st.lists(st.tuples(weight, value), min_size=1, max_size=70))
    w, a = [p[0] for p in pairs], [p[1] for p in pairs]
    quant = data.draw(st.integers(0, 24))
    faithful = Engine(format=FixedFormat(bits=bits), mode="faithful", group=70)
    got = faithful.run([w], [a], quant=quant)
    total = slow.fixed_group(w, a, bits)
    assert int(got.accumulator[0]) == total
    assert int(got.result[0]) == slow.pack_fixed(total, quant, faithful=True)
    if bits == 24 and min(a) == -(2**24):
        return
    got = Engine(format=FixedFormat(bits=bits), group=70).run([w], [a], quant=quant)
    assert int(got.accumulator[0]) == sum(x * y for x, y in pairs)
    assert int(got.result[0]) == slow.pack_fixed(total, quant, faithful=False)


@given(st.integers(-(2**60), 2**60), st.integers(0, 24))
@example(3 << 48, 0)  # two ones above bit 47: even parity, an overflow the release overlooks
def test_the_packers_take_the_same_bits_as_the_slow_ones(total: int, quant: int) -> None:
    for mode in ("correct", "faithful"):
        engine = Engine(format=FixedFormat(bits=24), mode=mode)  # type: ignore[arg-type]
        got = int(engine.pack_fixed(np.array([total]), quant)[0])
        assert got == slow.pack_fixed(total, quant, faithful=mode == "faithful")


def test_resting_lanes_take_no_part() -> None:
    engine = Engine(format=FixedFormat(bits=8), enabled=0b11110000)
    assert engine.dot([[0x35, -0x1F]], [[1, 1]])[0] == 0x30 - 0x10


def test_the_negative_of_the_least_activation_wraps_or_is_refused() -> None:
    least = -(2**24)
    faithful = Engine(format=FixedFormat(bits=24), mode="faithful")
    assert faithful.run([[-1]], [[least]]).accumulator[0] == least  # not 2^24
    with pytest.raises(SpecError, match=f"found {least}, wanted integers from {least + 1}"):
        Engine(format=FixedFormat(bits=24)).run([[-1]], [[least]])


# -- groups and refusals --------------------------------------------------------------------------


@given(st.integers(1, 20), st.integers(0, 9))
def test_zeros_that_fill_a_group_change_no_bit(size: int, more: int) -> None:
    draw = np.random.default_rng(size)
    w, a = draw.standard_normal((2, 3, size)).astype(np.float32)
    wide = [np.pad(x, ((0, 0), (0, more))) for x in (w, a)]
    for mode in ("correct", "faithful"):
        engine = Engine(format=FLOATS["fp32"], mode=mode)  # type: ignore[arg-type]
        assert engine.dot(w, a).tobytes() == engine.dot(*wide).tobytes()


def test_a_large_group_does_not_overflow() -> None:
    w = np.full((1, MOST_GROUP), 2**24 - 1)
    total = Engine(format=FixedFormat(bits=24), group=MOST_GROUP).run(w, w).accumulator[0]
    assert int(total) == MOST_GROUP * (2**24 - 1) ** 2


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"group": 0}, "group: found 0, wanted a whole number, 1 to 4096"),
        ({"group": 5000}, "group: found 5000"),
        ({"mode": "correkt"}, "did you mean 'correct'"),
        ({"enabled": 0}, "wanted at least one of 24 lanes"),
        ({"enabled": 1 << 24}, "wanted at least one of 24 lanes"),
    ],
)
def test_an_engine_that_cannot_be_is_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(SpecError, match=match):
        Engine(format=FLOATS["fp32"], **change)


@pytest.mark.parametrize(
    ("w", "a", "match"),
    [
        (np.zeros((3, 0)), np.zeros((3, 0)), "an empty group has no sum"),
        (np.zeros((3, 65)), np.zeros((3, 65)), "cut the sum into groups"),
        (np.zeros(3), np.zeros(3), r"wanted \(groups, 1 to 64\)"),
        (np.zeros((3, 4)), np.zeros((3, 5)), "one activation a weight"),
        ([[0.5]], [[1]], "bitlet: weights: found 0.5, wanted integers from -255 to 255"),
        ([[np.nan]], [[1]], "bitlet: weights: found nan"),
        ([[1]], [[np.inf]], "bitlet: activations: found inf"),
        ([[256]], [[1]], "bitlet: weights: found 256"),
        ([[1]], [[-257]], "bitlet: activations: found -257, wanted integers from -256 to 255"),
    ],
)
def test_operands_that_are_no_group_are_refused(w: Any, a: Any, match: str) -> None:
    with pytest.raises(SpecError, match=match):
        Engine(format=number_format("fixed8")).run(w, a)


@pytest.mark.parametrize("quant", [-1, 25])
def test_an_offset_beyond_the_packer_is_refused(quant: int) -> None:
    with pytest.raises(SpecError, match="quant"):
        Engine(format=number_format("fixed8")).run([[1]], [[1]], quant=quant)


def test_no_groups_give_no_results() -> None:
    assert Engine(format=FLOATS["fp32"]).dot(np.zeros((0, 4)), np.zeros((0, 4))).shape == (0,)


def test_the_round_trip_of_words_keeps_every_number() -> None:
    for kind in ("fp16", "bf16"):
        every = np.arange(2**16, dtype=np.uint32)
        values = from_bits(every, FLOATS[kind])
        layout = slow.LAYOUTS[kind]
        for word in range(0, 2**16, 37):
            want = slow.exact(word, layout)
            assert float(values[word]) == float(want) or np.isnan(float(want))
