"""Signed digits against Python integers: the value stays, the lanes change, the floor holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.accel import resolve
from orrery.accel.bitlet import (
    BitletArray,
    BitletCost,
    Engine,
    array_power,
    bit_statistics,
    count_layer,
    expected_cycles,
    number_format,
    weight_cycles,
)
from orrery.accel.bitlet._bits import lane_cycles
from orrery.accel.bitlet._digits import (
    DIGITS,
    digit_lanes,
    digit_shares,
    digit_sums,
    floor_cycles,
    lane_places,
    lane_words,
    recoded,
    running_lanes,
)
from orrery.accel.bitlet._format import FLOATS, FixedFormat
from orrery.errors import SpecError
from orrery.provenance import Basis

from . import slow
from .test_engine import given_words, groups
from .test_function import product_region

PRECISIONS = ("fixed4", "fixed8", "fixed16", "fp32", "fp16", "bf16")


def digits_of(x: int) -> list[int]:
    """The non-adjacent form from its definition: what is left after an odd step is even twice."""
    found = []
    while x:
        digit = 2 - x % 4 if x % 2 else 0
        found.append(digit)
        x = (x - digit) // 2
    return found


def test_every_short_word_is_recoded_as_defined() -> None:
    words = np.arange(1 << 13)
    plus, minus = recoded(words)
    for x, up, down in zip(words.tolist(), plus.tolist(), minus.tolist()):
        wanted = digits_of(x)
        assert [(up >> k & 1) - (down >> k & 1) for k in range(len(wanted))] == wanted
        assert up - down == x and up | down < 1 << len(wanted)


@given(st.integers(0, 2**24 - 1))
def test_digits_keep_the_value_apart_from_one_another_and_are_least(x: int) -> None:
    plus, minus = (int(word[0]) for word in recoded([x]))
    used = plus | minus
    assert plus - minus == x
    assert plus & minus == 0 and used & used >> 1 == 0 and used < 2**25
    assert used.bit_count() <= x.bit_count()
    assert used & 1 == x & 1  # the floor: no recoding can do otherwise


@given(st.integers(1, 24), st.integers(0, 2**20), st.data())
@settings(max_examples=60, deadline=None)
def test_lane_by_lane_the_fixed_sum_is_the_engines(bits: int, seed: int, data: Any) -> None:
    form = FixedFormat(bits=bits)
    mask = data.draw(st.just(-1) | st.integers(1, 2**bits - 1))
    random = np.random.default_rng(seed)
    size = data.draw(st.integers(1, 70))
    w = random.integers(-form.weight_limit, form.weight_limit + 1, (2, size))
    a = random.integers(-form.activation_limits[1], form.activation_limits[1] + 1, (2, size))
    plain = Engine(format=form, group=70, enabled=mask)
    for digits in DIGITS[1:]:
        engine = Engine(format=form, group=70, enabled=mask, digits=digits)
        kept = np.abs(w) & engine.mask
        folded = np.where(w < 0, -a, a)
        want = plain.run(w, a).accumulator
        np.testing.assert_array_equal(digit_sums(kept, folded, digits), want)
        np.testing.assert_array_equal(engine.run(w, a).accumulator, want)
        exact = [sum((abs(x) & plain.mask) * (-y if x < 0 else y) for x, y in zip(r, s))
                 for r, s in zip(w.tolist(), a.tolist())]  # fmt: skip
        assert want.tolist() == exact


@given(groups())
@settings(max_examples=60, deadline=None)
def test_lane_by_lane_the_floating_sum_is_the_engines(
    given_group: tuple[str, str, int, list[int], list[int]],
) -> None:
    kind, out, mask, w, a = given_group
    form = FLOATS[kind]
    for mode in ("faithful", "correct"):
        plain = Engine(format=form, mode=mode, enabled=mask, result=FLOATS[out])  # type: ignore[arg-type]
        want = plain.run(given_words(w, kind), given_words(a, kind))
        fields = slow.aligned(w, a, kind, faithful=mode == "faithful")
        odd = any(word >> form.fraction_bits & slow.LAYOUTS[kind].top == slow.LAYOUTS[kind].top
                  for word in (*w, *a))  # fmt: skip
        for digits in DIGITS[1:]:
            engine = Engine(format=form, mode=mode, enabled=mask, digits=digits,  # type: ignore[arg-type]
                            result=FLOATS[out])  # fmt: skip
            got = engine.run(given_words(w, kind), given_words(a, kind))
            np.testing.assert_array_equal(got.accumulator, want.accumulator)
            np.testing.assert_array_equal(got.result, want.result)
            if mode == "faithful" or not odd:
                kept = np.array([fields[0]]) & plain.mask
                sums = digit_sums(kept, np.array([fields[1]]), digits)
                np.testing.assert_array_equal(sums, want.accumulator)


def slow_cycles(magnitudes: list[int], mask: int, bits: int, window: int, split: bool) -> int:
    """The slowest lane, from digits by their definition."""
    low = (mask & -mask).bit_length() - 1
    columns = {k: [0] * len(magnitudes) for k in range(low, mask.bit_length() + 1)}
    spare = [0] * len(magnitudes)
    for i, x in enumerate(magnitudes):
        for place, digit in enumerate(digits_of(x & mask)):
            if digit:
                column = spare if split and place == low and i % 2 else columns[place]
                column[i] = 1
    lanes = [*columns.values(), *([spare] if split else [])]
    return max(len(slow.window_cycles(c, len(c), window)) for c in lanes)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_compiled_groups_take_as_long_as_the_slowest_lane_of_digits(data: st.DataObject) -> None:
    bits = data.draw(st.integers(1, 24))
    group, window = data.draw(st.sampled_from([1, 5, 16, 64])), data.draw(st.sampled_from([8, 3]))
    mask = data.draw(st.just(2**bits - 1) | st.integers(1, 2**bits - 1))
    random = np.random.default_rng(data.draw(st.integers(0, 2**20)))
    rows = random.integers(0, 2**bits, (2, data.draw(st.integers(1, 90))))
    for digits in ("signed", "split"):
        engine = Engine(format=FixedFormat(bits=bits), group=group, enabled=mask, digits=digits)  # type: ignore[arg-type]
        got = weight_cycles(rows, BitletArray(engine=engine, window=window))
        floor = floor_cycles(rows & mask, bits + 1, group, window)
        for row, g in np.ndindex(*got.shape):
            part = [int(v) for v in rows[row, g * group : (g + 1) * group]]
            assert got[row, g] == slow_cycles(part, mask, bits, window, digits == "split")
        if digits == "signed":
            assert (got >= floor).all()


@pytest.mark.parametrize("digits", ["signed", "split"])
@pytest.mark.parametrize("mode", ["faithful", "correct"])
def test_floating_layers_are_counted_group_by_group(digits: Any, mode: Any) -> None:
    random = np.random.default_rng(5)
    engine = Engine(format=FLOATS["bf16"], mode=mode, group=16, enabled=0b11111100, digits=digits)
    array = BitletArray(engine=engine, elements=3)
    region = product_region("MatMul", (4, 40), (40, 5))
    a = np.maximum(random.standard_normal((4, 40)), 0).astype(np.float32)
    found = count_layer(region, {"a": a}, array)
    held = region.graph.constants[region.members[0].inputs[1]].array().T
    from orrery.accel.bitlet._format import to_bits

    total = 0
    for filt in to_bits(held, FLOATS["bf16"]).tolist():
        for row in to_bits(a, FLOATS["bf16"]).tolist():
            for g in range(0, 40, 16):
                shifted, _, _ = slow.aligned(filt[g : g + 16], row[g : g + 16], "bf16",
                                             faithful=mode == "faithful")  # fmt: skip
                total += slow_cycles(shifted, 0b11111100, 8, 8, digits == "split")
    assert found.element_cycles == total


@pytest.mark.parametrize("digits", ["signed", "split"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_expected_cycles_stand_near_counted_ones(precision: str, digits: str) -> None:
    made = resolve(f"bitlet(precision={precision!r}, digits={digits!r})")
    plain = resolve(f"bitlet(precision={precision!r})")
    assert isinstance(made.cost, BitletCost) and isinstance(plain.cost, BitletCost)
    region = product_region("MatMul", (8, 200), (200, 70))
    values = {"a": np.random.default_rng(3).standard_normal((8, 200)).astype(np.float32)}
    found, expected = count_layer(region, values, made.cost.array), made.cost.expected(region)
    assert expected.array_cycles == pytest.approx(found.array_cycles, rel=0.08)
    assert expected.element_cycles == pytest.approx(found.element_cycles, rel=0.05)
    assert found.element_cycles < count_layer(region, values, plain.cost.array).element_cycles
    got, want = made.evaluate(region, values), plain.evaluate(region, values)
    for name in want:
        np.testing.assert_array_equal(got[name], want[name])


def test_shares_of_digits_are_those_of_drawn_bits() -> None:
    ones = np.array([0.5, 0.2, 0.9, 0.6, 0.5, 0.5])
    random = np.random.default_rng(0)
    words = ((random.random((200_000, 6)) < ones) << np.arange(6)).sum(1)
    used = np.bitwise_or(*recoded(words))
    counted = np.array([np.mean(used >> k & 1) for k in range(7)])
    np.testing.assert_allclose(digit_shares(ones), counted, atol=0.005)
    assert digit_shares([0.5] * 40)[20] == pytest.approx(1 / 3, abs=1e-6)


def test_statistics_count_digits_when_asked() -> None:
    values = np.array([7, -3, 0, 5])
    found = bit_statistics(values, "fixed3", digits=True)
    assert found.zero_digits == (3, 2, 4, 1)  # 100-1, 10-1, 0, 101
    assert bit_statistics(values, "fixed3").zero_digits == ()


def test_a_place_that_two_lanes_share_is_expected_as_walked() -> None:
    random = np.random.default_rng(1)
    bits = random.random((4000, 64)) < 0.5
    bits[:, ::2] = False
    walked = lane_cycles(bits).mean()
    one = expected_cycles([1.0], halved=[0.5])
    two = np.maximum(lane_cycles(bits), lane_cycles(np.roll(bits[::-1], 1, axis=1))).mean()
    assert expected_cycles([1.0]) == 8
    assert walked < two == pytest.approx(one, rel=0.01)


def test_lanes_are_numbered_as_they_run() -> None:
    for digits in DIGITS:
        assert running_lanes(0b1111, 4, digits).bit_count() == digit_lanes(4, digits)
    assert lane_places(2, 3, "plain") == (2, 3, 4)
    assert lane_places(2, 3, "signed") == (2, 3, 4, 5)
    assert lane_places(2, 3, "split") == (2, 3, 4, 5, 2)
    words = lane_words([[3, 3, 3]], 0b11, 2, "split", 64)
    assert words.tolist() == [[0b101, 0b1100, 0b101]]


def test_plain_is_the_usual_and_what_is_unknown_is_refused() -> None:
    assert resolve("bitlet(digits='plain')") == resolve("bitlet")
    assert "digits='signed'" in resolve("bitlet(digits='signed')").name
    with pytest.raises(SpecError, match="did you mean 'signed'"):
        resolve("bitlet(digits='sined')")
    with pytest.raises(SpecError, match="plain, signed, split"):
        Engine(format=number_format("fixed8"), digits="booth")  # type: ignore[arg-type]


def test_energy_is_scaled_by_area_and_called_assumed() -> None:
    plain, signed, split = (
        array_power(number_format("fixed8"), 8, elements=32, process_nm=28, digits=d)  # type: ignore[arg-type]
        for d in DIGITS
    )
    assert plain is not None and signed is not None and split is not None
    assert plain[1].basis is Basis.PUBLISHED
    assert plain[0] < signed[0] < split[0]
    assert signed[0] / plain[0] == pytest.approx(1.212, abs=1e-3)
    assert signed[1].basis is split[1].basis is Basis.ASSUMED
    made = resolve("bitlet(digits='split')")
    cost = made.cost.cost(product_region("MatMul", (8, 200), (200, 70)), made.device)
    assert cost.energy_j is not None
    assert {c.source.basis for c in cost.charges if c.resource == "array"} == {Basis.ASSUMED}
