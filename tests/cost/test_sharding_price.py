"""Prices of sharded layers: the sheet's closed forms, sums by hand, other models, limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orrery.accel import resolve
from orrery.cost import (
    Layout,
    Refusal,
    ShardedCost,
    Shared,
    Strategy,
    roofline,
    shard,
    shard_region,
    sharded_cost,
    strategies,
)
from orrery.errors import SpecError
from orrery.graph import Region
from orrery.hardware import System

from .layers import layer
from .small import device, link, ring

_B = 1e9  #: bytes a second of every link
_CONV = layer("Conv", (1, 64, 32, 32), (64, 64, 3, 3), weights=(1,), dtype="float32",
              pads=(1, 1, 1, 1))  # fmt: skip
_IMAGE, _WEIGHTS, _OUTPUT = 64 * 32 * 32 * 4, 64 * 64 * 9 * 4, 64 * 32 * 32 * 4
_MACS = 64 * 64 * 9 * 32 * 32


def _system(p: int, **settings: object) -> System:
    """A ring on which arithmetic alone limits a shard: 1 GMAC/s, fast memory."""
    base = ring(p, bandwidth=_B)
    slow = {"macs_per_s": {"float32": 1e9}, "bandwidth": 1e13, **settings}
    return replace(base, devices=tuple(device(d.name, **slow) for d in base.devices))


def _price(
    strategy: Strategy, p: int, arrivals: dict[str, Layout] | None = None,
    system: System | None = None, region: Region = _CONV, model: object = roofline,
) -> ShardedCost:  # fmt: skip
    system = system or _system(p)
    sharding = shard(region, strategy, p)
    assert not isinstance(sharding, Refusal), sharding
    names = [d.name for d in system.devices]
    found = sharded_cost(sharding, system, names, model, arrivals)  # type: ignore[arg-type]
    assert isinstance(found, ShardedCost), found
    return found


@pytest.mark.parametrize("p", [2, 4, 8])
def test_the_sheets_table(p: int) -> None:
    compute = _MACS / 1e9
    image = _CONV.graph.type("x0")
    channels = Layout.split(image, {1: p}, [1.0] * p)
    rows = Layout.split(image, {2: p}, [1.0] * p)

    cout = Strategy(exclusive=(("Cout", p),))
    assert _price(cout, p).cost.latency_s == pytest.approx(compute / p)
    gathered = _price(cout, p, {"x0": channels})
    assert gathered.arrival.latency_s == pytest.approx((p - 1) / p * _IMAGE / _B)
    assert gathered.cost.latency_s == pytest.approx(
        compute / p + (p - 1) / p * _IMAGE / _B)  # fmt: skip

    halo = _price(Strategy(exclusive=(("H", p),)), p, {"x0": rows})
    assert halo.arrival.latency_s == pytest.approx(32 * 64 * 4 / _B)
    assert sum(halo.arrival.link_bytes.values()) == 2 * (p - 1) * 32 * 64 * 4
    assert halo.cost.latency_s == pytest.approx(compute / p + 32 * 64 * 4 / _B)

    cin = _price(Strategy(exclusive=(("Cin", p),)), p, {"x0": channels})
    assert cin.arrival.latency_s == 0
    assert cin.combine.latency_s == pytest.approx(2 * (p - 1) / p * _OUTPUT / _B)
    half = _price(Strategy(exclusive=(("Cin", p),), combine="reduce_scatter"), p)
    assert half.combine.latency_s == pytest.approx((p - 1) / p * _OUTPUT / _B)


@pytest.mark.parametrize("p", [2, 4, 8])
@pytest.mark.parametrize("macs_per_s", [1e9, 1e13])
def test_a_ring_of_p_phases_takes_the_longer_of_computing_and_passing(
    p: int, macs_per_s: float
) -> None:
    system = _system(p, macs_per_s={"float32": macs_per_s}, bandwidth=1e15)
    compute = _MACS / macs_per_s
    weights = Strategy(exclusive=(("H", p),), shared=Shared(loop="Cout", operand=1))
    found = _price(weights, p, system=system)
    assert found.compute_s == pytest.approx([compute / p**2] * p)
    assert found.rotate_s == pytest.approx([_WEIGHTS / p / _B] * p)
    assert found.cost.latency_s == pytest.approx(p * max(compute / p**2, _WEIGHTS / (p * _B)))
    image = Strategy(exclusive=(("Cout", p),), shared=Shared(loop="Cin", operand=0))
    found = _price(image, p, system=system)
    assert found.rotate_s == pytest.approx([_IMAGE / p / _B] * (p - 1) + [0.0])
    assert found.cost.latency_s == pytest.approx(
        (p - 1) * max(compute / p**2, _IMAGE / (p * _B)) + compute / p**2
    )


def test_a_mesh_sums_in_its_own_groups() -> None:
    """Cin × H on a ring: pairs that sum are neighbours, each has half of the rows."""
    found = _price(Strategy(exclusive=(("H", 2), ("Cin", 2))), 4)
    assert found.combine.latency_s == pytest.approx(2 * 1 / 2 * (_OUTPUT / 2) / _B)
    assert found.cost.macs_performed == _MACS


def test_energy_is_everybodys_and_the_links() -> None:
    p = 4
    strategy = Strategy(exclusive=(("Cin", p),))
    sharding = shard(_CONV, strategy, p)
    assert not isinstance(sharding, Refusal)
    found, system = _price(strategy, p), _system(p)
    parts = [roofline.cost(shard_region(sharding, i), system.devices[i]) for i in range(p)]
    assert all(part.energy_j is not None for part in parts)
    links = 2 * (p - 1) * _OUTPUT * 1e-10
    assert found.cost.energy_j == pytest.approx(sum(part.energy_j or 0 for part in parts) + links)
    assert found.cost.energy_j == pytest.approx(sum(c.energy_j for c in found.cost.charges))
    assert found.cost.offchip_bytes == sum(part.offchip_bytes or 0 for part in parts)
    mute = replace(system, links=tuple(replace(x, energy_j_per_byte=None) for x in system.links))
    assert _price(strategy, p, system=mute).cost.energy_j is None


def test_the_slowest_party_sets_the_time_and_water_filling_evens_it_out() -> None:
    speeds = [4.0, 1.0, 2.0, 1.0]
    base = ring(4, bandwidth=_B)
    system = replace(base, devices=tuple(
        device(d.name, macs_per_s={"float32": s * 1e9}, bandwidth=1e13)
        for d, s in zip(base.devices, speeds)
    ))  # fmt: skip
    names = [d.name for d in base.devices]
    strategy = Strategy(exclusive=(("Cout", 4),))

    def latency(parties: object) -> float:
        sharding = shard(_CONV, strategy, parties)  # type: ignore[arg-type]
        assert not isinstance(sharding, Refusal)
        found = sharded_cost(sharding, system, names, roofline)
        assert isinstance(found, ShardedCost)
        return found.cost.latency_s

    assert latency(4) == pytest.approx(_MACS / 4 / 1e9)
    assert latency(speeds) == pytest.approx(_MACS / 8 / 1e9)


@pytest.mark.parametrize("design", ["tiled", "systolic", "winograd"])
def test_configured_designs_price_shards_too(design: str) -> None:
    accelerator = resolve(design)
    system = replace(_system(4), devices=tuple(
        replace(accelerator.device, name=d.name) for d in _system(4).devices
    ))  # fmt: skip
    whole = accelerator.cost.cost(_CONV, accelerator.device).latency_s
    found = _price(Strategy(exclusive=(("H", 4),)), 4, system=system, model=accelerator.cost)
    assert whole / 8 < found.cost.latency_s < whole
    listed = strategies(_CONV, 4)
    assert not isinstance(listed, Refusal)
    priced = 0
    for strategy in listed:
        sharding = shard(_CONV, strategy, 4)
        assert not isinstance(sharding, Refusal)
        names = [d.name for d in system.devices]
        one = sharded_cost(sharding, system, names, accelerator.cost)
        priced += isinstance(one, ShardedCost)
    assert priced > 1


def test_a_model_that_refuses_a_shard_says_whose() -> None:
    system = _system(2, operators=frozenset({"MatMul"}))
    sharding = shard(_CONV, Strategy(exclusive=(("H", 2),)), 2)
    assert not isinstance(sharding, Refusal)
    found = sharded_cost(sharding, system, ["d0", "d1"], roofline)
    assert isinstance(found, Refusal)
    assert found.reason == "party 0 of H/2: d0 does not run Conv"


def test_a_memory_that_is_too_small_is_named_with_what_it_lacks() -> None:
    need = _WEIGHTS + _OUTPUT // 2 + 64 * 17 * 32 * 4
    found = _price(Strategy(exclusive=(("H", 2),)), 2, system=_system(2, size_bytes=need))
    assert found.infeasible == ()
    assert found.cost.peak_bytes == {"d0.dram": need, "d1.dram": need}
    short = _price(Strategy(exclusive=(("H", 2),)), 2, system=_system(2, size_bytes=need - 1))
    assert [(x.need, x.have, x.unit) for x in short.infeasible] == [(need, need - 1, "bytes")] * 2
    assert "layer" not in short.infeasible[0].what and "conv under H/2" in short.infeasible[0].what


@pytest.mark.parametrize("names", [["d0"], ["d0", "d0"], []])
def test_parties_are_different_devices(names: list[str]) -> None:
    sharding = shard(_CONV, Strategy(exclusive=(("H", 2),)), 2)
    assert not isinstance(sharding, Refusal)
    with pytest.raises(SpecError, match="2 different devices"):
        sharded_cost(sharding, _system(2), names, roofline)


def test_groups_without_a_direct_link_pay_every_link_on_the_way() -> None:
    """Two pairs joined by one slow link: what crosses it bounds the all-gather."""
    devices = tuple(device(f"d{i}", macs_per_s={"float32": 1e9}, bandwidth=1e13) for i in range(4))
    links = (link("d0", "d1"), link("d2", "d3"), link("d1", "d2", bandwidth=1e8), link("d3", "d0"))
    system = System(name="two pairs", devices=devices, links=links)
    image = _CONV.graph.type("x0")
    channels = Layout.split(image, {1: 4}, [1.0] * 4)
    found = _price(Strategy(exclusive=(("Cout", 4),)), 4, {"x0": channels}, system=system)
    assert found.arrival.latency_s == pytest.approx(3 / 4 * _IMAGE / 1e8)
