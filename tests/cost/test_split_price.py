"""Prices of split plans: closed forms, sums of `sharded_cost`, the unsplit plan's price, limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orrery.cost import (
    ImplausibleCostError,
    Layout,
    Refusal,
    Roofline,
    Shared,
    Strategy,
    expand,
    price,
    roofline,
    shard,
    sharded_cost,
    strategy_of,
)
from orrery.errors import SpecError
from orrery.graph import ArrayConstant, Graph, Node, Region, TensorType, build_model
from orrery.hardware import System

from .small import chain, device, full, link, ring
from .splits import by_loop, split, split_plan
from .test_plan_cost import SIZE, plan_of

_B = 1e9  #: bytes a second of every link


def _convs(count: int = 3, channels: int = 64, side: int = 16) -> Graph:
    """Convolutions of equal shape, one after the other."""
    shape = (channels, channels, 3, 3)
    weights = {f"w{i}": ArrayConstant(np.ones(shape, np.float32)) for i in range(count)}
    nodes = tuple(
        Node(name=f"conv{i}", op="Conv", inputs=(f"x{i}", f"w{i}"), outputs=(f"x{i + 1}",),
             attributes={"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]})
        for i in range(count)
    )  # fmt: skip
    types = {"x0": TensorType(dtype="float32", shape=(1, channels, side, side))}
    return Graph(name="convs", nodes=nodes, inputs=("x0",), outputs=(f"x{count}",),
                 types=types | {n: c.type for n, c in weights.items()},
                 constants=weights).infer()  # fmt: skip


_IMAGE = 64 * 16 * 16 * 4
_WEIGHTS = 64 * 64 * 9 * 4
_MACS = 64 * 64 * 9 * 16 * 16


def _slow(p: int, **settings: object) -> System:
    """A ring on which arithmetic alone limits a shard: 1 GMAC/s, fast memory."""
    rates = {"macs_per_s": {"float32": 1e9}, "bandwidth": 1e13, **settings}
    base = ring(p, bandwidth=_B)
    return replace(base, devices=tuple(device(d.name, **rates) for d in base.devices))


def _names(system: System) -> list[str]:
    return [device.name for device in system.devices]


@pytest.mark.parametrize("p", [2, 4])
def test_channels_gathered_before_every_layer(p: int) -> None:
    graph, system = _convs(), _slow(p)
    plan = split_plan([graph], system, by_loop(_names(system), "Cout"))
    result = price(plan, [graph], system, {"": roofline})
    gather = (p - 1) / p * _IMAGE / _B
    compute = _MACS / 1e9 / p
    assert result.total.latency_s == pytest.approx(3 * compute + 2 * gather, rel=1e-6)
    assert result.feasible and result.coverage.complete and not result.transfers
    steps = [result.steps[name] for name in ("conv0", "conv1", "conv2")]
    assert [step.arrival_s for step in steps] == [
        0, pytest.approx(gather, rel=1e-6), pytest.approx(gather, rel=1e-6)]  # fmt: skip
    assert steps[1].moved_bytes == (p - 1) * _IMAGE
    assert steps[1].devices == tuple(_names(system)) and steps[1].critical == "compute"
    assert steps[1].link_share == pytest.approx(gather / (gather + compute), rel=1e-4)
    assert result.busy_s == dict.fromkeys(_names(system), result.total.latency_s)
    assert result.starts_s["conv1"] == pytest.approx(compute, rel=1e-6)
    # Its part of the weights, the whole operand, its part of the operand before and of the result.
    parts = 3 * _WEIGHTS // p + _IMAGE + 2 * _IMAGE // p
    assert result.peak_bytes == dict.fromkeys(_names(system), parts)
    assert result.total.macs_nominal == result.total.macs_performed == 3 * _MACS
    hops = 2 * (p - 1) * _IMAGE
    joules = 3 * _MACS * 1e-12 + hops * 1e-10 + result.total.offchip_bytes * 1e-11
    assert result.total.energy_j == pytest.approx(joules)
    reads = 3 * (p * _IMAGE + _IMAGE + _WEIGHTS)
    assert result.total.offchip_bytes == reads + 2 * hops


@pytest.mark.parametrize("p", [2, 4])
def test_rows_exchange_halos_alone(p: int) -> None:
    graph, system = _convs(), _slow(p)
    plan = split_plan([graph], system, by_loop(_names(system), "H"))
    result = price(plan, [graph], system, {"": roofline})
    halo = 64 * 16 * 4
    assert result.total.latency_s == pytest.approx(
        3 * _MACS / 1e9 / p + 2 * halo / _B, rel=1e-6)  # fmt: skip
    assert result.steps["conv2"].moved_bytes == 2 * (p - 1) * halo
    assert result.peak_bytes["d0"] > 3 * _WEIGHTS  # all weights everywhere


@pytest.mark.parametrize(("combine", "hops"), [("all_reduce", 2), ("reduce_scatter", 1)])
def test_partial_sums(combine: str, hops: int) -> None:
    graph, system = _convs(1), _slow(4)
    strategy = Strategy(exclusive=(("Cin", 4),), combine=combine)
    plan = split_plan([graph], system, lambda _: (split(_names(system), strategy), "d0"))
    result = price(plan, [graph], system, {"": roofline})
    step = result.steps["conv0"]
    assert step.combine_s == pytest.approx(hops * 3 / 4 * _IMAGE / _B, rel=1e-6)
    assert result.total.latency_s == pytest.approx(_MACS / 4e9 + step.combine_s, rel=1e-6)
    # A quarter of weights and operand, and the whole partial sum.
    assert result.peak_bytes["d3"] == _WEIGHTS // 4 + _IMAGE // 4 + _IMAGE


def test_a_ring_hides_the_shorter_of_computing_and_passing_on() -> None:
    graph, system = _convs(1), _slow(4)
    strategy = Strategy(exclusive=(("H", 4),), shared=Shared(loop="Cout", operand=1))
    plan = split_plan([graph], system, lambda _: (split(_names(system), strategy), "d0"))
    step = price(plan, [graph], system, {"": roofline}).steps["conv0"]
    assert step.compute_s == pytest.approx([_MACS / 16e9] * 4, rel=1e-6)
    assert step.rotate_s == pytest.approx([_WEIGHTS / 4 / _B] * 4, rel=1e-6)
    assert step.duration_s == pytest.approx(_MACS / 4e9, rel=1e-6)
    peak = price(plan, [graph], system, {"": roofline}).peak_bytes["d1"]
    rows = 64 * 6 * 16 * 4  # four and a halo on both sides
    assert peak == _WEIGHTS // 4 + rows + _IMAGE // 4 + _WEIGHTS // 4


@pytest.mark.parametrize("loop", ["Cout", "Cin", "H", "W", "Kh"])
def test_chains_are_sums_of_sharded_costs(loop: str) -> None:
    p = 3
    graph, system = _convs(), full(p, bandwidth=_B)
    plan = split_plan([graph], system, by_loop(_names(system), loop, weights=(1.0, 2.0, 1.5)))
    result = price(plan, [graph], system, {"": roofline})
    here: dict[str, Layout] = {}
    seconds = 0.0
    for assignment in plan.assignments:
        region = Region(graph=graph, nodes=assignment.nodes)
        sharding = shard(region, strategy_of(assignment), (1.0, 2.0, 1.5))
        assert not isinstance(sharding, Refusal)
        alone = sharded_cost(sharding, system, _names(system), roofline, here)
        assert not isinstance(alone, Refusal)
        here = {result.tensor: layout
                for result, layout in zip(sharding.nest.results, sharding.outputs)}  # fmt: skip
        step = result.steps[assignment.region]
        assert step.duration_s == pytest.approx(alone.cost.latency_s, rel=1e-6)
        assert step.arrival_s == pytest.approx(alone.arrival.latency_s, abs=1e-10)
        assert step.compute_s == pytest.approx(alone.compute_s, rel=1e-6)
        seconds += alone.cost.latency_s
    assert result.total.latency_s == pytest.approx(seconds, rel=1e-6)


def _pair() -> System:
    return System(
        name="pair", devices=(device("d0"), device("d1")), host="host",
        links=(link("d0", "d1"), link("host", "d0"), link("host", "d1")),
    )  # fmt: skip


@pytest.mark.parametrize("where", [["d0"] * 6, ["d0"] * 3 + ["d1"] * 3, ["d0", "d1"] * 3])
def test_sets_of_one_cost_what_the_unsplit_plan_costs(where: list[str]) -> None:
    graph, system = chain(), _pair()
    plain = price(plan_of(graph, system, where), [graph], system, {"": roofline})
    devices = iter(where)
    plan = split_plan([graph], system, lambda _: (split([d := next(devices)]), d))
    result = price(plan, [graph], system, {"": roofline})
    assert result.total.latency_s == pytest.approx(plain.total.latency_s, rel=1e-9)
    assert result.total.energy_j == pytest.approx(plain.total.energy_j)
    assert result.total.offchip_bytes == plain.total.offchip_bytes
    assert result.peak_bytes == plain.peak_bytes
    assert result.coverage == plain.coverage and result.priced_by == plain.priced_by
    for name, cost in plain.per_region.items():
        assert result.steps[name].party_s == ((cost.latency_s,),)
    arrivals = sum(step.moved_bytes for step in result.steps.values())
    assert arrivals == sum(t.size_bytes for t, _ in plain.transfers)


def test_a_set_hands_over_to_another_while_a_third_waits_for_nothing() -> None:
    graph, system = chain(1), full(4, bandwidth=_B)
    sets = {"MatMul": ["d0", "d1"], "Relu": ["d2", "d3"]}
    strategies = {"MatMul": Strategy(exclusive=(("M", 2),)),
                  "Relu": Strategy(exclusive=(("axis0", 2),))}  # fmt: skip

    def choose(region: Region):
        (op,) = region.operators
        return split(sets[op], strategies[op]), sets[op][0]

    result = price(split_plan([graph], system, choose), [graph], system, {"": roofline})
    relu = result.steps["relu0"]
    assert relu.arrival_s == pytest.approx(SIZE / 2 / _B, rel=1e-6)  # two links at once
    assert set(result.busy_s) == {"d0", "d1", "d2", "d3"}
    assert result.starts_s["relu0"] == pytest.approx(result.steps["matmul0"].duration_s)
    assert result.peak_bytes["d2"] == SIZE  # a half arrives, a half is made


def test_two_networks_on_two_sets_run_side_by_side() -> None:
    graph, system = chain(), full(4)
    sets = iter([["d0", "d1"]] * 6 + [["d2", "d3"]] * 6)

    def choose(region: Region):
        devices = next(sets)
        loop = "M" if region.operators == {"MatMul"} else "axis0"
        return split(devices, Strategy(exclusive=((loop, 2),))), devices[0]

    plan = split_plan([graph, graph], system, choose, prefixes=("a/", "b/"))
    result = price(plan, [graph, graph], system, {"": roofline})
    assert result.starts_s["a/matmul0"] == result.starts_s["b/matmul0"] == 0
    assert result.total.latency_s == pytest.approx(result.steps["a/relu2"].duration_s
                                                   + result.starts_s["a/relu2"])  # fmt: skip


def test_results_return_to_the_host_and_hold_no_device() -> None:
    graph, system = chain(1), _pair()
    plan = split_plan([graph], system,
                      by_loop(["d0", "d1"], {"MatMul": "M", "Relu": "axis0"}))  # fmt: skip
    result = price(plan, [graph], system, {"": roofline})
    relu = result.steps["relu0"]
    assert relu.return_s == pytest.approx(SIZE / 2 / _B, rel=1e-6)
    end = result.starts_s["relu0"] + relu.duration_s
    assert result.total.latency_s == pytest.approx(end + relu.return_s)
    assert result.busy_s["d0"] < result.total.latency_s


def test_idle_power_is_charged_for_every_device_of_a_set() -> None:
    graph = chain(1)
    system = replace(_pair(), devices=(device("d0", idle_power_w=5.0),
                                       device("d1", idle_power_w=2.0)))  # fmt: skip
    plan = split_plan([graph], system, by_loop(["d0", "d1"], {"MatMul": "M", "Relu": "axis0"}))
    result = price(plan, [graph], system, {"": roofline})
    idle = result.total.energy_j - result.dynamic_energy_j
    assert idle == pytest.approx(7.0 * result.total.latency_s, rel=1e-6)
    later = result.at_makespan(1.0)
    assert later.total.latency_s == 1.0
    assert later.total.energy_j == pytest.approx(result.dynamic_energy_j + 7.0)
    with pytest.raises(SpecError, match="makespan"):
        result.at_makespan(result.busy_s["d0"] / 2)


def test_too_little_memory() -> None:
    graph, system = _convs(), _slow(2, size_bytes=220_000)
    halves = price(split_plan([graph], system, by_loop(["d0", "d1"], "Cout")), [graph], system,
                   {"": roofline})  # fmt: skip
    assert not halves.feasible
    short = halves.infeasible[0]
    assert short.need == halves.peak_bytes["d0"] and short.have == 220_000
    assert short.remedies[0] == "split weights among more devices, or let them rotate"
    four = _slow(4, size_bytes=220_000)
    quarters = price(split_plan([graph], four, by_loop(_names(four), "Cout")), [graph], four,
                     {"": roofline})  # fmt: skip
    assert quarters.feasible


class _Picky:
    """A roofline that refuses what has fewer than so many output channels."""

    name = "picky"
    cost = staticmethod(roofline.cost)

    def __init__(self, least: int) -> None:
        self.least = least

    def refuses(self, region, device):
        shape = region.graph.type(region.outputs[0]).sizes
        return Refusal(reason="too few channels") if shape[1] < self.least else None


def test_a_design_that_refuses_the_region_leaves_it_to_own_units_a_shard_has_no_price() -> None:
    graph = _convs(1)
    base = _slow(2)
    system = replace(base, devices=tuple(replace(d, designs=("picky",)) for d in base.devices))
    plan = split_plan([graph], system, by_loop(["d0", "d1"], "Cout"), design="picky")
    result = price(plan, [graph], system, {"": roofline, "picky": _Picky(65)})
    assert result.priced_by == {"conv0": "roofline"}
    result = price(plan, [graph], system, {"": roofline, "picky": _Picky(33)})
    assert not result.coverage.complete and "conv0" not in result.per_region
    assert "part 1 of 2: picky: too few channels" in result.coverage.unpriced[0].reason
    assert result.total.energy_j is None and result.steps["conv0"].compute_s == ()
    assert any("Lower bounds" in note for note in result.notes)
    with pytest.raises(SpecError, match="hand in a cost model"):
        price(plan, [graph], system, {"": roofline})


def test_impossible_answers_of_shards_are_refused() -> None:
    class Free(Roofline):
        def cost(self, region, device, schedule=None, statistics=None):
            return replace(super().cost(region, device), latency_s=1e-15)

    graph, system = _convs(1), _slow(2)
    plan = split_plan([graph], system, by_loop(["d0", "d1"], "Cout"))
    with pytest.raises(ImplausibleCostError, match="conv0 on d0"):
        price(plan, [graph], system, {"": Free()})


def test_a_region_that_cannot_be_split_stays_whole_between_splits() -> None:
    graph, system = chain(2), full(2, bandwidth=_B)

    def choose(region: Region):
        if len(region.nodes) > 1:
            return None, "d1"
        loop = "M" if region.operators == {"MatMul"} else "axis0"
        return split(["d0", "d1"], Strategy(exclusive=((loop, 2),))), "d0"

    groups = [("matmul0",), ("relu0", "matmul1"), ("relu1",)]
    plan = split_plan([graph], system, choose, groups=groups)
    steps = expand(plan, [graph], system).steps
    assert steps[1].sharding is None and steps[1].parties == (1,)
    result = price(plan, [graph], system, {"": roofline})
    whole = plan.assignments[1].region
    assert result.steps[whole].arrival_s == pytest.approx(SIZE / 2 / _B)
    assert result.steps[whole].compute_s == pytest.approx(
        [roofline.cost(Region(graph=graph, nodes=groups[1]), system.devices[1]).latency_s]
    )
    assert result.steps["relu1"].arrival_s == pytest.approx(SIZE / 2 / _B)
    with pytest.raises(SpecError, match="2 nodes; shard them one by one"):
        split_plan(
            [graph],
            system,
            lambda region: (split(["d0", "d1"]) if len(region.nodes) > 1 else None, "d0"),
            groups=groups,
        )


def test_networks_on_one_device_cost_the_same_in_both_kinds_of_plans() -> None:
    for name in ("memn2n", "squeezenet1_1"):
        graph = build_model(name)
        system = System(name="one", devices=(device("d0"),))
        plan = split_plan([graph], system, lambda _: (split(["d0"]), "d0"))
        unsplit = tuple(replace(a, split=None) for a in plan.assignments)
        plain = price(replace(plan, assignments=unsplit), [graph], system, {"": roofline})
        result = price(plan, [graph], system, {"": roofline})
        assert result.total.latency_s == pytest.approx(plain.total.latency_s, rel=1e-6)
        assert result.total.energy_j == pytest.approx(plain.total.energy_j)
        assert result.total.offchip_bytes == plain.total.offchip_bytes
        assert result.peak_bytes == plain.peak_bytes  # views share the bytes they look at
        assert result.coverage == plain.coverage
