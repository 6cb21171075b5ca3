"""Order, dominance and likeness of choices, against their definitions."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.mapping.groups import ranked
from orrery.mapping.groups._choices import arrange, front


@given(st.lists(st.integers(0, 9), max_size=40))
def test_ranked_is_a_stable_sort(keys: list[int]) -> None:
    wanted = np.argsort(np.array(keys, np.int64), kind="stable")
    assert ranked(np.array(keys, np.int64), len(keys)).tolist() == wanted.tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_every_choice_left_out_is_dominated_by_one_that_stays(seed: int, number: int) -> None:
    table = np.random.default_rng(seed).integers(0, 4, (4, number)).astype(float)
    compared = np.array([1, 0, -1, 1])
    active = np.arange(number)
    kept = active[: front(table, np.arange(4), active, 0, number, compared)].tolist()
    signed = (table * compared[:, None])[compared != 0]
    for one in range(number):
        better = [k for k in kept if k != one and (signed[:, k] <= signed[:, one]).all()]
        assert (one in kept) != bool(better)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 80))
def test_arranging_loses_no_choice(seed: int, number: int) -> None:
    table = np.random.default_rng(seed).integers(0, 50, (3, number)).astype(float)
    which = np.arange(number)
    arrange(table, np.arange(3), which, 0, number)
    assert sorted(which.tolist()) == list(range(number))
