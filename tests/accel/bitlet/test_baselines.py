"""Other machines' cycles, product by product in Python integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.accel.bitlet.baselines import (
    NETWORKS,
    PUBLISHED_CYCLES,
    baseline_cycles,
    signed_digits,
)
from orrery.errors import SpecError

from . import slow


def digits(value: int) -> int:
    """Fewest powers of two that add up to a number, signs free."""
    best = {0: 0}
    reach = [0]
    while value not in best:
        fresh = []
        for one in reach:
            for k in range(8):
                for sign in (-1, 1):
                    if abs(other := one + sign * (1 << k)) < 512 and other not in best:
                        best[other] = best[one] + 1
                        fresh.append(other)
        reach = fresh
    return best[value]


def test_signed_digits_are_the_fewest() -> None:
    values = np.arange(-127, 128)
    assert signed_digits(values).tolist() == [digits(abs(int(v))) for v in values]


@given(st.integers(1, 40), st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_cycles_are_those_of_the_products_one_by_one(size: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    w, a = draw.integers(-15, 16, (2, 3, size)) * draw.integers(0, 2, (2, 3, size))
    wanted = dict.fromkeys(PUBLISHED_CYCLES, 0)
    for row, other in zip(w.tolist(), a.tolist()):
        wanted["dense"] += size
        wanted["scnn"] += sum(1 for x, y in zip(row, other) if x and y)
        for first in range(0, size, 16):
            pairs = list(zip(row, other))[first : first + 16]
            wanted["stripes"] += 4
            wanted["laconic"] += max(1, *(digits(abs(x)) * digits(abs(y)) for x, y in pairs))
        wanted["bitlet"] += slow.group_cycles([abs(x) for x in row], range(4), 8)
    assert baseline_cycles(w, a, 4) == pytest.approx({k: v / 3 for k, v in wanted.items()})


def test_published_rows_are_whole_and_bitlet_is_the_fastest() -> None:
    assert {len(row) for row in PUBLISHED_CYCLES.values()} == {len(NETWORKS)}
    columns = zip(*(PUBLISHED_CYCLES[name] for name in ("bitlet", "laconic", "stripes")))
    assert all(one < two < three for one, two, three in columns)


@pytest.mark.parametrize(
    ("w", "a", "match"),
    [([[1]], [[1, 2]], "shapes"), ([[8]], [[1]], "weights"), ([[1]], [[1.5]], "activations"),
     (np.zeros((0, 4), int), np.zeros((0, 4), int), "shapes")],
)  # fmt: skip
def test_groups_that_cannot_be_are_refused(w: Any, a: Any, match: str) -> None:
    with pytest.raises(SpecError, match=match):
        baseline_cycles(np.asarray(w), np.asarray(a), 3)


@pytest.mark.parametrize("bits", [0, 25, True])
def test_bits_beyond_the_lanes_are_refused(bits: int) -> None:
    with pytest.raises(
        SpecError, match=r"baselines: bits: found .* wanted a whole number, 1 to 24"
    ):
        baseline_cycles(np.ones((1, 4), int), np.ones((1, 4), int), bits)
