"""The waterfall of a layer: never rising, exact where all factors can be tried."""

from __future__ import annotations

import itertools
import math
from random import Random

import pytest

from orrery.cost.nest import NestMapping, explain_nest, nest_bounds, nest_cost
from tests.cost.nest import draws
from tests.cost.nest.test_price import level, machine, product, spread

NAMES = ("layer", "dataflow", "number of PEs", "array shape", "storage", "bandwidth",
         "access pattern")  # fmt: skip


def least(extents: dict[str, int], axes: list[tuple[int, tuple[str, ...]]]) -> int:
    """Try every factor of every loop along every axis."""
    ways = [[f for f in itertools.product(*(range(1, size + 1) if loop in loops else (1,)
                                            for loop in extents)) if math.prod(f) <= size]
            for size, loops in axes]  # fmt: skip
    return min(
        math.prod(-(-n // math.prod(way[i] for way in found))
                  for i, n in enumerate(extents.values()))
        for found in itertools.product(*ways)
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_best_factors_are_those_of_all_factors(seed: int) -> None:
    draw = Random(seed)
    n, m, k = (draw.randint(1, 7) for _ in range(3))
    layer = product(n, m, k)
    axes = [(draw.randint(1, 6), tuple(draw.sample(("N", "Cout", "Cin"), draw.randint(1, 3))))
            for _ in range(2)]  # fmt: skip
    array = machine(level("dram"), axes=tuple(
        spread(f"a{i}", size, loops=loops) for i, (size, loops) in enumerate(axes)))  # fmt: skip
    cost = nest_cost(layer, NestMapping(temporal=(layer.loops,)), array)
    found = {b.name: b.operations_per_cycle for b in nest_bounds(layer, array, cost)}
    extents, every = dict(layer.loops), layer.operations
    either = tuple({loop for _, loops in axes for loop in loops})
    pool = math.prod(size for size, _ in axes)
    assert found["dataflow"] == math.prod(extents[loop] for loop in either)
    assert found["number of PEs"] == every / least(extents, [(pool, either)])
    assert found["array shape"] == every / least(extents, axes)


@pytest.mark.parametrize("seed", range(3))
def test_the_waterfall_never_rises(seed: int) -> None:
    draw = Random(seed)
    for _ in range(60):
        layer = draws.problem(draw, 60)
        mapping, array = draws.nest(draw, layer)
        cost = nest_cost(layer, mapping, array)
        bounds = nest_bounds(layer, array, cost)
        assert tuple(b.name for b in bounds) == NAMES
        for before, after in itertools.pairwise(bounds):
            assert after.operations_per_cycle <= before.operations_per_cycle
            kept = after.operations_per_cycle / before.operations_per_cycle
            assert after.loss == pytest.approx(1 - kept)
        # Nothing had to be cut down to the step before it: each is a bound by itself.
        assert bounds[-1].operations_per_cycle == layer.operations / cost.time.cycles
        assert bounds[4].operations_per_cycle == layer.operations / len_steps(cost)


def len_steps(cost) -> int:
    return cost.counts.steps


def test_a_wired_axis_takes_what_it_is_wired_for() -> None:
    layer = product(5, 6, 7)
    array = machine(level("dram"), axes=(spread("rows", 4, fixed={"Cin": 4}),))
    nest = NestMapping(temporal=((("N", 5), ("Cout", 6), ("Cin", 2)),),
                       spatial={"rows": (("Cin", 4),)})  # fmt: skip
    bounds = nest_bounds(layer, array, nest_cost(layer, nest, array))
    assert [b.operations_per_cycle for b in bounds[:5]] == [210, 7, 3.5, 3.5, 3.5]
    assert bounds[1].reason == "the array takes Cin"


def test_explanations_name_the_narrow_port() -> None:
    """Weights come one by one through a narrow port; the array is too small when it is wide."""
    layer = product(8, 8, 8)
    nest = NestMapping(temporal=((("Cout", 8), ("N", 8)), (("Cin", 4),)),
                       spatial={"rows": (("Cin", 2),)})  # fmt: skip

    def said(bits: int):
        return explain_nest(layer, nest, machine(
            level("dram", read_bits_per_cycle=bits, write_bits_per_cycle=bits),
            level("pads", per=("rows",), capacity_bits=800),
            axes=(spread("rows", 2, loops=("Cin",)),),
        ))  # fmt: skip

    narrow, wide = said(4), said(4096)
    assert narrow.bound_by in ("dram", "pads") and narrow.share > 0.5
    assert narrow.changes[0].what == "2 x read port of dram"
    assert 1.5 < narrow.changes[0].speedup <= 2
    assert wide.bound_by == "array" and wide.share > 0.9
    assert wide.changes[0].what == "2 x axis rows"
    assert {change.what for change in wide.changes} == {
        "2 x axis rows", "2 x read port of dram", "2 x write port of dram",
        "2 x capacity of pads, as second buffers",
    }  # fmt: skip
