"""Judges: the laws of combination as identities on random costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.cost import Charge, Cost, bill, static_charge

from .small import HAND, device

# Whole numbers of nanoseconds and nanojoules add without rounding.
counts = st.integers(0, 10**6)
costs = st.builds(
    Cost, latency_s=counts.map(float), energy_j=st.none() | counts.map(float),
    offchip_bytes=st.none() | counts, macs_nominal=counts, macs_performed=counts,
    peak_bytes=st.dictionaries(st.sampled_from(["a", "b"]), counts),
)  # fmt: skip


@given(costs, costs, costs)
def test_both_laws_are_associative(a: Cost, b: Cost, c: Cost) -> None:
    assert a.in_series(b).in_series(c) == a.in_series(b.in_series(c))
    assert a.in_parallel(b).in_parallel(c) == a.in_parallel(b.in_parallel(c))


@given(costs, costs)
def test_series_adds_time_parallel_adds_memory(a: Cost, b: Cost) -> None:
    series, parallel = a.in_series(b), a.in_parallel(b)
    assert series == b.in_series(a) and parallel == b.in_parallel(a)
    assert series.latency_s == a.latency_s + b.latency_s
    assert parallel.latency_s == max(a.latency_s, b.latency_s)
    assert (series.energy_j, series.offchip_bytes) == (parallel.energy_j, parallel.offchip_bytes)
    for name in ("a", "b"):
        mine, other = a.peak_bytes.get(name, 0), b.peak_bytes.get(name, 0)
        assert series.peak_bytes.get(name, 0) == max(mine, other)
        assert parallel.peak_bytes.get(name, 0) == mine + other


@given(costs, costs)
def test_what_is_not_known_stays_not_known(a: Cost, b: Cost) -> None:
    for joined in (a.in_series(b), a.in_parallel(b)):
        assert (joined.energy_j is None) == (a.energy_j is None or b.energy_j is None)
        assert (joined.offchip_bytes is None) == (
            a.offchip_bytes is None or b.offchip_bytes is None
        )


def test_a_bill_joins_equal_lines_and_keeps_the_sum() -> None:
    lines = [Charge(resource="d", action=action, count=n, energy_j_each=2e-12, source=HAND)
             for action, n in (("MAC", 3), ("byte", 5), ("MAC", 4))]  # fmt: skip
    joined = bill(lines)
    assert [(line.action, line.count) for line in joined] == [("MAC", 7), ("byte", 5)]
    assert sum(x.energy_j for x in joined) == pytest.approx(sum(x.energy_j for x in lines))


def test_static_energy_is_power_times_time_or_not_known() -> None:
    charge = static_charge(device(idle_power_w=5.0), 2e-3)
    assert charge is not None and charge.energy_j == pytest.approx(10e-3)
    assert static_charge(device(), 2e-3) is None
