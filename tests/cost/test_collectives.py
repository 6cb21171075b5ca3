"""Judges: the closed forms of collectives on rings and full meshes; bytes from the definition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.cost import (
    all_gather,
    all_reduce,
    all_to_all,
    broadcast,
    halo_exchange,
    host_hop,
    moves_cost,
    reduce_scatter,
    transfer_cost,
)
from orrery.errors import SpecError, UnknownNameError
from orrery.hardware import System, load_system

from .small import device, full, link, ring

V = 12 * 10**6  # divides by 2, 3, 4 and 6
B = 1e9


def names(system: System) -> list[str]:
    return [device.name for device in system.devices]


@pytest.mark.parametrize("p", [3, 4, 6])
@pytest.mark.parametrize("collective", [all_gather, reduce_scatter])
def test_all_gather_and_reduce_scatter_on_a_ring(p: int, collective) -> None:
    system = ring(p)
    result = collective(system, names(system), V, "ring")
    assert result.latency_s == pytest.approx((p - 1) / p * V / B)
    assert result.moved_bytes == (p - 1) * V
    assert result.energy_j == pytest.approx((p - 1) * V * 1e-10)


@pytest.mark.parametrize("p", [2, 3, 4, 6])
@pytest.mark.parametrize("collective", [all_gather, reduce_scatter])
def test_the_same_fully_connected(p: int, collective) -> None:
    system = full(p)
    by_ring = collective(system, names(system), V, "ring")
    directly = collective(system, names(system), V, "direct")
    # Direct: every pair has a link of its own, so all parts travel at once.
    assert by_ring.latency_s == pytest.approx((p - 1) / p * V / B)
    assert directly.latency_s == pytest.approx(V / p / B)
    assert by_ring.moved_bytes == directly.moved_bytes == (p - 1) * V
    assert collective(system, names(system), V).latency_s == min(
        by_ring.latency_s, directly.latency_s
    )


@pytest.mark.parametrize("p", [3, 4, 6])
def test_all_reduce_is_twice_that(p: int) -> None:
    system = ring(p)
    result = all_reduce(system, names(system), V, "ring")
    assert result.latency_s == pytest.approx(2 * (p - 1) / p * V / B)
    assert result.moved_bytes == 2 * (p - 1) * V


def test_latency_counts_once_per_phase() -> None:
    system = ring(4, latency_s=1e-3)
    bare = all_reduce(ring(4), names(system), V, "ring").latency_s
    assert all_reduce(system, names(system), V, "ring").latency_s == pytest.approx(bare + 6e-3)


def test_halo_between_neighbours() -> None:
    edge = 10**6
    shared = full(2, duplex=False)
    assert halo_exchange(shared, ["d0", "d1"], edge).latency_s == pytest.approx(2 * edge / B)
    both_ways = full(2)
    assert halo_exchange(both_ways, ["d0", "d1"], edge).latency_s == pytest.approx(edge / B)
    line = ring(4, duplex=False)
    result = halo_exchange(line, names(line), edge)
    assert result.latency_s == pytest.approx(2 * edge / B)
    assert result.moved_bytes == 3 * 2 * edge


def test_host_hop_goes_up_and_down() -> None:
    system = load_system("aws-f1")
    hop = host_hop(system, "fpga0", "fpga7", V)
    once = transfer_cost(system, "fpga0", "host", V)
    assert once.latency_s == pytest.approx(V / 250e6 + 1e-6)
    assert hop.latency_s == pytest.approx(2 * once.latency_s)
    assert hop.link_bytes == {"fpga0--host": V, "fpga7--host": V}
    with pytest.raises(SpecError, match="no host"):
        host_hop(ring(3), "d0", "d1", 1)


def test_a_route_runs_at_its_narrowest_link() -> None:
    system = System(
        name="line", devices=(device("a"), device("b"), device("c")),
        links=(link("a", "b", bandwidth=2e9, latency_s=1e-6),
               link("b", "c", bandwidth=1e9, latency_s=2e-6)),
    )  # fmt: skip
    result = transfer_cost(system, "a", "c", V)
    assert result.latency_s == pytest.approx(V / 1e9 + 3e-6)
    assert result.link_bytes == {"a--b": V, "b--c": V}
    assert transfer_cost(system, "a", "a", V).latency_s == 0


def test_broadcast_takes_the_faster_way() -> None:
    system = ring(4)
    others = ["d1", "d2", "d3"]
    directly = broadcast(system, "d0", others, V, "direct")
    assert directly.latency_s == pytest.approx(2 * V / B)  # d1 and d2 share the first link
    assert broadcast(system, "d0", others, V).latency_s <= directly.latency_s


def test_all_to_all_between_splits() -> None:
    system = full(4)
    result = all_to_all(system, names(system), 16 * 10**6)
    assert result.latency_s == pytest.approx(10**6 / B)
    assert result.moved_bytes == 12 * 10**6


def test_a_bus_is_shared_by_all() -> None:
    system = System(name="bus", devices=tuple(map(device, "abcd")),
                    links=(link("a", "b", "c", "d", duplex=False),))  # fmt: skip
    moves = [("a", "b", V), ("c", "d", V)]
    assert moves_cost(system, moves).latency_s == pytest.approx(2 * V / B)


def test_energy_is_not_known_when_a_link_has_no_price() -> None:
    assert all_gather(ring(3, energy_j_per_byte=None), ["d0", "d1", "d2"], V).energy_j is None


def test_mistakes_are_named() -> None:
    system = ring(4)
    with pytest.raises(SpecError, match="each once"):
        all_gather(system, ["d0", "d0"], V)
    with pytest.raises(SpecError, match="ring, direct"):
        all_gather(system, ["d0", "d1"], V, "tree")
    with pytest.raises(SpecError, match="-1 bytes"):
        all_gather(system, ["d0", "d1"], -1)
    with pytest.raises(UnknownNameError, match="known: d0, d1"):
        transfer_cost(system, "d0", "d9x", 1)
    with pytest.raises(SpecError, match="join the two ends"):
        moves_cost(system, [("d0", "d2", 1)], [["d0--d1"]])


@given(st.integers(2, 7), st.integers(0, 10_000), st.sampled_from(["ring", "direct"]))
def test_bytes_are_exact_for_any_size(p: int, size_bytes: int, algorithm: str) -> None:
    system = full(p)
    gathered = all_gather(system, names(system), size_bytes, algorithm)
    scattered = reduce_scatter(system, names(system), size_bytes, algorithm)
    assert gathered.moved_bytes == scattered.moved_bytes == (p - 1) * size_bytes
