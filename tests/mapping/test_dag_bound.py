"""Bounds against exhaustive search, closed forms, and every way to split that is tried."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from orrery.cost import CostModel
from orrery.graph import Graph
from orrery.hardware import System
from orrery.mapping import dag_bound, greedy, split_bound
from orrery.mapping._solver import share_out
from orrery.mapping._tables import Tables, fill_tables, number_workload
from orrery.plan import Plan

from .brute import durations, fastest
from .cases import Rate, chain, dags, device, full_system, graph, link, systems
from .random_graphs import MODELS, random_system, residual_graph
from .test_dag_exact import replayed_s

RATE: Mapping[str, CostModel] = {"": Rate()}
CLOSE = 1 + 1e-9


def tables_of(g: Graph, on: System, models: Mapping[str, CostModel] = RATE) -> Tables:
    return fill_tables(number_workload([g]), on, models)


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_no_schedule_undercuts_the_bounds(first: int) -> None:
    for seed in range(first, first + 20):
        g, system = residual_graph(seed, most=4), random_system(seed)
        tables = tables_of(g, system, MODELS)
        whole, split = dag_bound(tables), split_bound(tables)
        assert whole.value_s == max(whole.parts.values()) == whole.parts[whole.reason]
        # The bound of whole layers is for a clock of whole picoseconds.
        assert split.parts["critical path"] <= whole.parts["critical path"] * CLOSE + 1e-11
        best = fastest(g, system, MODELS)
        assert whole.value_s <= best * CLOSE, (seed, whole)
        assert split.value_s <= best * CLOSE, (seed, split)


@pytest.mark.parametrize("seed", range(0, 200, 5))
def test_no_replay_undercuts_the_bound(seed: int) -> None:
    """Replay shares links fairly: a bound for one transfer at a time would not do."""
    g, system = residual_graph(seed), random_system(seed)
    plan = greedy([g], system, MODELS)
    assert isinstance(plan, Plan)
    bound = dag_bound(tables_of(g, system, MODELS))
    rounding_s = 1e-12 * (len(plan.assignments) + len(plan.transfers) + 1)
    assert replayed_s(plan, g, system, MODELS) >= bound.value_s - rounding_s


@settings(max_examples=40)
@given(dags(most=4), systems())
def test_bounds_hold_where_work_and_sizes_may_be_zero(g: Graph, s: System) -> None:
    s = replace(s, devices=s.devices[:3]) if s.name == "full" else s
    if len(s.devices) > 3:
        return
    tables = tables_of(g, s)
    assert max(dag_bound(tables).value_s, split_bound(tables).value_s) <= (
        fastest(g, s, RATE) * CLOSE + 1e-12
    )


def test_closed_forms() -> None:
    s = full_system([device("a"), device("b", 3.0)], bandwidth=2.0, latency=0.25)
    bound = dag_bound(tables_of(chain([6, 9], [4, 10, 8]), s))
    # In over 2 B/s, both on b, out: 2.25 + 2 + 3 + 4.25.
    assert bound.parts["critical path"] == pytest.approx(11.5)
    assert bound.parts["host inputs"] == pytest.approx(4 / 4 + 2 + 3 + 4.25)
    assert bound.parts["host results"] == pytest.approx(2.25 + 5 + 8 / 4)
    assert bound.parts["host bytes"] == pytest.approx(12 / 8)
    # All work at four times the first one's rate, between the first arrival and the last way.
    assert bound.parts["work"] == pytest.approx(2.25 + 15 / 4 + 4.25)
    split = split_bound(tables_of(chain([6, 9], [4, 10, 8]), s))
    assert split.parts["critical path"] == pytest.approx(15 / 4)
    assert split.parts["host results"] == pytest.approx(8 / 4)


def test_memory_that_needs_several_devices_makes_tensors_travel() -> None:
    g = graph(
        [("a", ["x", "wa"], 3, 10), ("b", ["a", "wb"], 3, 6), ("c", ["b", "wc"], 3, 8)],
        inputs={"x": 0}, outputs=["c"], weights={"wa": 5, "wb": 5, "wc": 5},
    )  # fmt: skip

    def bound_for(size: int) -> float:
        devices = [device(name, size_bytes=size) for name in "abc"]
        return dag_bound(tables_of(g, full_system(devices, bandwidth=2.0, host=False))).parts[
            "memory"
        ]

    assert bound_for(15) == 0.0
    assert bound_for(10) == pytest.approx(9 + 6 / 2)  # one change, of the smaller tensor
    assert bound_for(5) == pytest.approx(9 + 6 / 2 + 10 / 2)
    assert bound_for(4) == math.inf
    half = [device(name, size_bytes=20) for name in "abc"]
    shared = tables_of(g, full_system(half, bandwidth=2.0, host=False))
    assert dag_bound(shared, memory_share=0.5).parts["memory"] == pytest.approx(12.0)


def test_a_half_duplex_host_link_carries_both_ways_together() -> None:
    g = chain([0], [20, 30])
    one = replace(link("l", "host", "a"), duplex=False)
    s = System(name="one", devices=(device("a"),), links=(one,), host="host")
    assert dag_bound(tables_of(g, s)).parts["host bytes"] == pytest.approx(50.0)
    both = replace(s, links=(replace(one, duplex=True),))
    assert dag_bound(tables_of(g, both)).parts["host bytes"] == pytest.approx(25.0)


def test_split_bound_is_not_the_mixed_rate_formula() -> None:
    """A device that is fast for one region only must not count for all; brute force decides."""
    seconds = np.array([[1.0, 10.0], [10.0, 1.0]])
    tables = tables_of(chain([1, 1], [0, 0, 0]), full_system([device("a"), device("b")]))
    bound = split_bound(replace(tables, seconds=seconds))
    together = 1 / (1 / 1 + 1 / 10)
    assert bound.parts["critical path"] == pytest.approx(2 * together)
    # Each region over both devices, shares on a grid: begin and end together, one after the other.
    shares = np.linspace(0.0, 1.0, 1001)
    lasts = [np.maximum(shares * w[0], (1 - shares) * w[1]).min() for w in seconds.T]
    assert bound.value_s <= sum(lasts) == pytest.approx(2 * together, rel=1e-2)


@pytest.mark.parametrize("seed", range(30))
def test_no_split_schedule_undercuts_the_split_bound(seed: int) -> None:
    """Random shares, orders by number, all parties together, links free: far from clever, valid."""
    chance = random.Random(seed)
    g, system = residual_graph(seed), random_system(seed)
    tables = tables_of(g, system, MODELS)
    bound = split_bound(tables).value_s
    seconds = durations(g, system, MODELS)
    for _ in range(50):
        design = {d.name: chance.choice(["", *d.designs]) for d in system.devices}
        free = dict.fromkeys(design, 0.0)
        end: dict[str, float] = {}
        for node in g.nodes:
            able = [d for d in design if (node.name, d, design[d]) in seconds]
            if not able:
                break
            rates = {d: 1 / seconds[node.name, d, design[d]] for d in able}
            if chance.random() < 0.5:  # in proportion to speed, the best there is
                weight = dict(rates)
            else:
                weight = {d: chance.choice([0.0, 1.0, 2.0]) for d in able}
            total = sum(weight.values()) or math.inf
            parts = {d: weight[d] / total for d in able if weight[d]} or {able[0]: 1.0}
            needs = [end[p.name] for t in node.inputs if (p := g.producer(t))]
            begin = max([*needs, *(free[d] for d in parts)], default=0.0)
            stop = begin + max(share / rates[d] for d, share in parts.items())
            end[node.name] = stop
            free.update(dict.fromkeys(parts, stop))
        else:
            without_host = {k: v for k, v in split_bound(tables).parts.items() if "host" not in k}
            assert max(without_host.values()) <= max(end.values()) * CLOSE
    assert bound > 0


@pytest.mark.needs("scipy")
@pytest.mark.parametrize("seed", range(20))
def test_the_linear_program_is_between_the_simple_duals_and_a_real_sharing_out(seed: int) -> None:
    generator = np.random.default_rng(seed)
    seconds = generator.uniform(1.0, 9.0, (3, 7))
    seconds[generator.random((3, 7)) < 0.2] = np.inf
    seconds[0, np.isinf(seconds).all(axis=0)] = 5.0
    count = [1, 2, 1]
    value = share_out(seconds, count)
    assert value is not None
    least = seconds.min(axis=0)
    assert value >= least.sum() / sum(count) * (1 - 1e-9)
    machines = np.repeat(seconds, count, axis=0)
    # Any whole assignment is a sharing out; the best of them is no less.
    for _ in range(300):
        chosen = [generator.choice(np.flatnonzero(np.isfinite(column))) for column in machines.T]
        loads = np.bincount(chosen, machines[chosen, np.arange(7)], minlength=len(machines))
        assert value <= loads.max() * CLOSE


@pytest.mark.needs("scipy")
def test_two_machines_share_out_as_ibarra_and_kim_would() -> None:
    """Judge: for two machines, jobs sorted by ratio and cut at one place are optimal."""
    generator = np.random.default_rng(5)
    for _ in range(20):
        seconds = generator.uniform(1.0, 9.0, (2, 6))
        order = np.argsort(seconds[0] / seconds[1])
        best = math.inf
        for cut in range(6):
            first, second = order[:cut], order[cut + 1 :]
            a, b = seconds[0, first].sum(), seconds[1, second].sum()
            p, q = seconds[:, order[cut]]
            share = min(1.0, max(0.0, (b + q - a) / (p + q)))
            best = min(best, max(a + share * p, b + (1 - share) * q))
        assert share_out(seconds, [1, 1]) == pytest.approx(best, rel=1e-9)


def test_without_the_linear_program_the_bound_still_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    g, system = residual_graph(16), random_system(16)
    tables = tables_of(g, system, MODELS)
    full = dag_bound(tables)
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    plain = dag_bound(tables)
    assert 0 < plain.parts["work"] <= full.parts["work"] * CLOSE
