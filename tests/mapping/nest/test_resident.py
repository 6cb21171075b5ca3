"""Nests of networks together: the same as all subsets of tensors, priced one by one."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from math import inf, isclose
from pathlib import Path
from random import Random

import pytest

from orrery.cost.nest import (
    NestProblem,
    Stage,
    Stages,
    Tail,
    Zeros,
    footprint_bits,
    keep_on_chip,
    tail_cost,
    tensor_bits,
)
from orrery.errors import SpecError
from orrery.hardware import Architecture, ArrayAxis, Level
from orrery.mapping.nest import NestFound, StagedNests, best_nest, nest_stages
from orrery.plan import Infeasible
from orrery.store import Cache
from tests.mapping.nest.cases import HAND, axis, conv, layer


def level(name: str, holds: tuple[str, ...], scale: float, **numbers: object) -> Level:
    numbers = {"word_bits": 16, "read_energy_j": 2e-12 * scale, "write_energy_j": 3e-12 * scale,
               "static_power_w": 0.0, **numbers}  # fmt: skip
    return Level(name=name, holds=holds, sources=dict.fromkeys(numbers, HAND), **numbers)  # type: ignore[arg-type]  # a test's table


def array(room_bits: int, *, sums: int = 8, way: float = 8.0) -> Architecture:
    numbers = {"clock_hz": 1e9, "macs_per_cycle": 1, "mac_energy_j": 1e-12,
               "idle_mac_energy_j": 1e-13, "hop_energy_j_per_bit": 0.0, "static_power_w": 1e-4,
               "partial_sum_bits": sums}  # fmt: skip
    return Architecture(
        name="small",
        axes=(ArrayAxis(name="x", size=2, loops=("K",), sources={"size": HAND}),),
        levels=(
            level("dram", ("input", "weight", "output"), 100, read_bits_per_cycle=way,
                  one_port=True),
            level("buffer", ("input", "output"), 5, capacity_bits=room_bits,
                  read_bits_per_cycle=64, write_bits_per_cycle=64,
                  double_buffered=("input", "output"), reduces=("x",), multicast=("x",)),
            level("sums", ("output",), 0.1, per=("x",), capacity_bits=2 * sums),
        ),
        bits={"input": 8, "weight": 8, "output": 8},
        sources=dict.fromkeys((*numbers, "bits"), HAND), **numbers,  # type: ignore[arg-type]
    )  # fmt: skip


def network(draw: Random) -> Stages:
    """Draw a chain with one tensor that is read again later, by a nest or by a tail."""
    channels = [draw.choice((1, 2, 3)) for _ in range(4)]
    channels[2] = channels[1]
    size, problems = draw.choice((2, 3, 4)), []
    for number in range(3):
        k, c = channels[number + 1], channels[number]
        taps = draw.choice((1, 3))
        problems.append(conv(k, c, size, 1, taps, 1, padding=0))
    stages = [
        Stage(name=f"s{n}", operator="Conv", problems=(p,), reads=(f"t{n}",), writes=(f"t{n + 1}",),
              reads_kept=True, makes_kept=True) for n, p in enumerate(problems)
    ]  # fmt: skip
    again = draw.randrange(3)
    if again:
        adds = Tail(operators=(("add", "Add", size * channels[2]),), reads=("t1",),
                    also=("t2 raw",) if again == 2 else ())  # fmt: skip
        made = ("t2", "t2 raw") if again == 2 else ("t2",)
        stages[1] = Stage(name="s1", operator="Conv", problems=(problems[1],), reads=("t1",),
                          writes=made, tail=adds, reads_kept=True, makes_kept=True)  # fmt: skip
    last = Stage(name="s3", operator="Conv", problems=(problems[0],), reads=("t1",),
                 writes=("t4",), reads_kept=draw.random() < 0.7, makes_kept=True)  # fmt: skip
    sizes = {f"t{n}": size * channels[n] for n in range(4)} | {
        "t4": 9,
        "t2 raw": size * channels[2],
    }
    return Stages(stages=(*stages, last), sizes=sizes, outputs=frozenset(("t3", "t4")))


def every_subset(stages: Stages, machine: Architecture) -> list[tuple[int, float, int, float]]:
    """Return (cycles of the fastest nests, joules of the most frugal) of every choice."""
    readers = stages.readers()
    makers = {name: n for n, stage in enumerate(stages.stages) for name in stage.writes}

    @cache
    def once(
        problem: NestProblem, roles: tuple[str, ...], taken: int, objective: str
    ) -> NestFound | Infeasible:
        return best_nest(problem, keep_on_chip(machine, "buffer", roles, taken), objective)

    found = []
    for untils in product(*((-1, *readers.get(name, ())) for name in makers)):
        until = dict(zip(makers, untils, strict=True))
        cycles, joules = 0, 0.0
        for place, stage in enumerate(stages.stages):
            here = {n for n, u in until.items() if makers[n] <= place <= u}
            kept = [n for n in stage.reads if n in here and makers[n] < place]
            if kept and (len(kept) < len(stage.reads) or not stage.reads_kept):
                cycles = -1
                break
            written = frozenset(n for n in stage.writes if n in here and (
                n in stages.outputs or readers[n][-1] > until[n]))  # fmt: skip
            inside = stage.writes[0] in here and stage.writes[0] not in written
            taken = sum(tensor_bits(machine, stages.sizes[n]) for n in here)
            if taken >= machine.levels[1].capacity_bits:
                cycles = -1
                break
            roles = ("input",) * bool(kept) + ("output",) * inside
            fast = once(stage.problems[0], roles, taken, "latency")
            frugal = once(stage.problems[0], roles, taken, "energy")
            if isinstance(fast, Infeasible) or isinstance(frugal, Infeasible):
                cycles = -1
                break
            tail = tail_cost(stage.tail, stages.sizes, machine, "buffer", kept=frozenset(here),
                             written=written)  # fmt: skip
            cycles += int(fast.value) + tail.cycles
            joules += frugal.value + tail.energy_j
        if cycles >= 0:
            found.append((cycles, joules))
    return found


@pytest.mark.parametrize("seed", (0, 3, 4))
def test_least_of_all_subsets_of_tensors(seed: int) -> None:
    draw = Random(seed)
    stages, machine = network(draw), array(draw.choice((80, 200, 360, 2000)))
    every = every_subset(stages, machine)
    fast, frugal = nest_stages(stages, machine), nest_stages(stages, machine, "energy")
    assert isinstance(fast, StagedNests) and isinstance(frugal, StagedNests)
    assert fast.cycles == min(cycles for cycles, _ in every) == fast.bound
    assert isclose(frugal.energy_j, min(joules for _, joules in every), rel_tol=1e-9)
    assert isclose(frugal.bound, frugal.value, rel_tol=1e-8)
    apart = nest_stages(stages, machine, "energy", keep=False)
    assert frugal.energy_j <= apart.energy_j * (1 + 1e-12)
    assert not apart.kept and apart.offchip_bytes >= frugal.offchip_bytes


def test_ceilings_hold_and_bounds_are_below(tmp_path: Path) -> None:
    draw, once = Random(7), Cache("nests", folder=tmp_path)
    for room in (360,):
        stages, machine = network(draw), array(room)
        fast, frugal = (
            nest_stages(stages, machine, cache=once),
            nest_stages(stages, machine, "energy", cache=once),
        )
        middle = (fast.cycles + frugal.cycles) // 2
        between = nest_stages(stages, machine, "energy", most_cycles=middle, cache=once)
        assert between.cycles <= middle
        assert frugal.value <= between.bound <= between.value <= fast.energy_j * (1 + 1e-12)
        quick = nest_stages(stages, machine, most_energy_j=between.energy_j, cache=once)
        assert quick.energy_j <= between.energy_j and quick.cycles <= between.cycles
        assert fast.cycles <= quick.bound <= quick.value
        both = nest_stages(stages, machine, "edp", cache=once)
        others = min(one.energy_j * one.cycles / 1e9 for one in (fast, frugal, between))
        assert both.bound <= both.value <= others * (1 + 1e-12)
        short = nest_stages(stages, machine, "energy", most_cycles=fast.cycles - 1, cache=once)
        assert isinstance(short, Infeasible) and short.need == fast.cycles
        joules = between.bound * (1 - 1e-6)
        neither = nest_stages(
            stages, machine, "edp", most_cycles=middle, most_energy_j=joules, cache=once
        )
        if joules >= frugal.energy_j:
            assert isinstance(neither, Infeasible) and neither.proved and neither.need > joules
        poor = nest_stages(stages, machine, most_energy_j=frugal.energy_j / 2, cache=once)
        assert isinstance(poor, Infeasible) and isclose(poor.need, frugal.energy_j)


def test_what_stays_fits_next_to_the_tiles_and_sums_are_wide() -> None:
    draw, wide = Random(7), 0
    for room in (120, 200):
        stages, machine = network(draw), array(room, sums=16, way=64.0)
        found = nest_stages(stages, machine, "energy")
        assert found.value <= nest_stages(stages, machine, "energy", keep=False).value * (1 + 1e-12)
        for one in found.parts:
            nest = one.nest.cost
            extra = 0
            if "output" in one.roles and nest.counts.partial[1]:
                wide += 1
                extra = 8 * stages.sizes[one.stage.writes[0]]
            assert (
                one.taken_bits + nest.peak_bits["buffer"] + extra <= machine.levels[1].capacity_bits
            )
            outside = one.tail.traffic.get("dram", {})  # all that goes there is the tail's
            for role in one.roles:
                assert nest.traffic["dram"].get(role) == outside.get(role)
    assert wide


def test_a_stage_that_does_not_fit_is_told_and_left_out() -> None:
    stages = network(Random(1))
    machine = array(8)
    found = nest_stages(stages, machine)
    assert isinstance(found, StagedNests)
    assert set(found.failed) == {stage.name for stage in stages.stages} and not found.parts
    assert all(isinstance(one, Infeasible) for one in found.failed.values())


def test_unknown_objective_offers_the_nearest() -> None:
    with pytest.raises(SpecError, match="energy"):
        nest_stages(network(Random(1)), array(200), "enrgy")


def test_found_nests_are_those_of_the_stages() -> None:
    stages, machine = network(Random(2)), array(2000)
    found = nest_stages(stages, machine, "energy")
    assert [one.stage.name for one in found.parts] == ["s0", "s1", "s2", "s3"]
    assert all(isinstance(one.nest, NestFound) for one in found.parts)
    assert found.cycles == sum(one.nest.cost.cycles for one in found.parts)
    assert {kept.tensor for kept in found.kept} >= {"t1"} and found.level == "buffer"
    assert found.gap < 1e-8 < inf


def strip(made: int, read: int, first: int, rows: int, size: int, taps: int, stride: int, pad: int,
          ) -> NestProblem:  # fmt: skip
    """Return the rows from `first` on of a convolution of a column of `size` pixels."""
    begin = first * stride - pad
    lines = [begin + stride * h + k for h in range(rows) for k in range(taps)]
    inside = [line for line in lines if 0 <= line < size]
    low, high = min(inside), max(inside) + 1
    return layer(
        {"K": made, "C": read, "H": rows, "Kh": taps},
        x=("input", (axis(read, ("C", 1)),
                     axis(high - low, ("H", stride), ("Kh", 1), offset=begin - low))),
        w=("weight", (axis(made, ("K", 1)), axis(read, ("C", 1)), axis(taps, ("Kh", 1)))),
        y=("output", (axis(made, ("K", 1)), axis(rows, ("H", 1)))),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_a_chain_that_does_not_fit_runs_tile_by_tile(seed: int) -> None:
    """All heights of tiles, every tile priced on its own, with the rows that it needs."""
    draw = Random(seed)
    taps, stride, pad = draw.choice(((3, 1, 1), (3, 2, 1), (2, 2, 0)))
    high = 7 if stride == 1 else 13 if pad else 14
    rows = (high + 2 * pad - taps) // stride + 1
    stages = Stages(
        stages=(
            Stage(name="a", operator="Conv", problems=(strip(3, 1, 0, high, high, 3, 1, 1),),
                  reads=("t0",), writes=("t1",), reads_kept=True, makes_kept=True,
                  tail=Tail(operators=(("relu", "Relu", 3 * high),), constants=3)),
            Stage(name="b", operator="Conv", reads=("t1",), writes=("t2",), reads_kept=True,
                  problems=(strip(2, 3, 0, rows, high, taps, stride, pad),), makes_kept=True),
        ),
        sizes={"t0": high, "t1": 3 * high, "t2": 2 * rows}, outputs=frozenset(("t2",)),
    )  # fmt: skip
    machine = array(8 * 3 * high, way=4.0)  # t1 and nothing beside it
    room, every = machine.levels[1].capacity_bits, []
    for height in range(1, rows):
        total, fits = 0.0, True
        for start in range(0, rows, height):
            own = min(height, rows - start)
            second = strip(2, 3, start, own, high, taps, stride, pad)
            begin = max(0, start * stride - pad)
            needed = second.tensors[0].axes[1].size
            first = strip(3, 1, begin, needed, high, 3, 1, 1)
            taken = 8 * 3 * needed
            if taken >= room:
                fits = False
                break
            tail = tail_cost(
                Tail(operators=(("relu", "Relu", 3 * needed),), constants=3), stages.sizes, machine
            )
            total += tail.energy_j
            for problem, role in ((first, "output"), (second, "input")):
                seen = keep_on_chip(machine, "buffer", (role,), taken)
                nest = best_nest(problem, seen, "energy")
                total += inf if isinstance(nest, Infeasible) else nest.value
        if fits:
            every.append(total)
    plain = tail_cost(stages.stages[0].tail, stages.sizes, machine).energy_j + sum(
        best_nest(stage.problems[0], machine, "energy").value for stage in stages.stages
    )
    found = nest_stages(stages, machine, "energy")
    assert isclose(found.energy_j, min(plain, *every), rel_tol=1e-9)
    assert min(every) < plain and any(one.rows for one in found.parts)
    assert not found.kept
    assert "output" not in found.parts[0].nest.cost.traffic["dram"]
    own = [one for one in found.parts if one.stage.name == "b"]
    assert sum(one.problem.times * one.rows for one in own) == rows


def test_what_runs_take_beside_their_cycles_counts() -> None:
    """Tiles of rows are runs: fast without an overhead of runs, slow with a large one."""
    stages = Stages(
        stages=tuple(
            Stage(name=name, operator="Conv", reads=(f"t{n}",), writes=(f"t{n + 1}",),
                  problems=(strip(made, read, 0, 7, 7, 3, 1, 1),), reads_kept=True,
                  makes_kept=True)
            for n, (name, made, read) in enumerate((("a", 3, 1), ("b", 2, 3)))
        ),
        sizes={"t0": 7, "t1": 21, "t2": 14}, outputs=frozenset(("t2",)),
    )  # fmt: skip
    plain = array(8 * 21, way=4.0)
    cut = nest_stages(stages, plain)
    assert cut.runs > 2 and cut.value == cut.cycles
    for beside in (1, 20.5, 1000):  # cycles at 1 GHz
        slow = replace(plain, overhead_s=beside * 1e-9,
                       sources={**plain.sources, "overhead_s": HAND})  # fmt: skip
        found = nest_stages(stages, slow)
        assert isclose(found.value, found.cycles + beside * found.runs)
        assert isclose(found.latency_s, found.value / 1e9)
        assert found.value <= cut.cycles + beside * cut.runs and found.gap < 1e-12
        edp = nest_stages(stages, slow, "edp")
        assert isclose(edp.value, edp.energy_j * edp.latency_s)
        assert nest_stages(stages, slow, "energy", most_cycles=found.value).value > 0
        short = nest_stages(stages, slow, "energy", most_cycles=found.value - 0.25)
        assert isinstance(short, Infeasible) and isclose(short.need, found.value)
    assert found.runs == 2 and found.cycles > cut.cycles


def test_more_room_is_never_worse() -> None:
    """Chains are cut as long as whole tensors would leave tiles little room."""
    stages = Stages(
        stages=tuple(
            Stage(name=name, operator="Conv", reads=(f"t{n}",), writes=(f"t{n + 1}",),
                  reads_kept=True, makes_kept=True,
                  problems=(strip(made, read, 0, 7, 7, taps, 1, taps // 2),))
            for n, (name, made, read, taps) in enumerate(
                (("a", 3, 1, 3), ("b", 3, 3, 3), ("c", 1, 3, 1)))
        ),
        sizes={"t0": 7, "t1": 21, "t2": 21, "t3": 7}, outputs=frozenset(("t3",)),
    )  # fmt: skip
    rooms = (168, 184, 460)
    found = [nest_stages(stages, array(room, way=4.0), "energy") for room in rooms]
    values = [one.value for one in found]
    assert values == sorted(values, reverse=True) and len(set(values)) == len(values)
    assert any(one.rows for one in found[1].parts) and found[1].tried == {"buffer": (4, 3, 2, 1)}
    assert not any(one.rows for one in found[-1].parts)


@pytest.mark.parametrize("seed", (6, 7))
def test_of_equally_frugal_nests_the_fastest(seed: int) -> None:
    stages, machine = network(Random(seed)), replace(array(200), static_power_w=0.0)
    found = nest_stages(stages, machine, "energy")
    faster = nest_stages(stages, machine, "energy", most_cycles=found.cycles - 1)
    assert isinstance(faster, Infeasible) or faster.energy_j > found.energy_j * (1 + 1e-9)
    assert found.gap < 1e-12


@pytest.mark.parametrize("objective", ("latency", "energy"))
def test_of_several_levels_each_is_tried(objective: str) -> None:
    """The roomier level is the dearer and slower one; taken away, the other is found alone."""
    stages, plain = network(Random(1)), array(2000)
    outer = level("outer", ("input", "output"), 50, capacity_bits=8000, read_bits_per_cycle=16,
                  write_bits_per_cycle=16)  # fmt: skip
    both = replace(plain, levels=(plain.levels[0], outer, *plain.levels[1:]))
    found = nest_stages(stages, both, objective)
    assert isinstance(found, StagedNests) and found.kept and found.gap < 1e-8
    assert found.level == "buffer" and set(found.tried) == {"outer", "buffer"}
    split = replace(plain.levels[1], shares_bits={"input": 1000, "output": 1000},
                    sources=plain.levels[1].sources | {"shares_bits": HAND})  # fmt: skip
    first = nest_stages(stages, replace(both, levels=(*both.levels[:2], split, both.levels[3])),
                        objective)  # fmt: skip
    assert isinstance(first, StagedNests) and first.level == "outer"
    assert found.value < first.value
    short = nest_stages(stages, both, objective, most_cycles=1)
    assert isinstance(short, Infeasible) and short.proved
    assert short.need == nest_stages(stages, both).cycles


def test_zeros_are_those_of_each_stage() -> None:
    """Equal layers of different zeros are told apart; nothing kept: the sum of each alone."""
    stages, machine = network(Random(1)), array(2000)
    stages = replace(stages, stages=(*stages.stages[:3], replace(
        stages.stages[3], problems=stages.stages[0].problems)))  # fmt: skip
    zeros = {"s0": Zeros(density={"input": 0.25}, skips=("input",)),
             "s3": Zeros(density={"input": 0.5}, gates=("input",))}  # fmt: skip
    apart = nest_stages(stages, machine, "energy", keep=False, zeros=zeros)
    assert isinstance(apart, StagedNests)
    alone = [best_nest(s.problems[0], machine, "energy", zeros=zeros.get(s.name))
             for s in stages.stages]  # fmt: skip
    tails = [tail_cost(s.tail, stages.sizes, machine).energy_j for s in stages.stages]
    assert isclose(apart.value, sum(one.value for one in alone) + sum(tails))
    worked = [one.nest.cost.operations.worked for one in apart.parts]
    assert worked[0] < worked[3] < stages.stages[0].problems[0].operations
    dense = nest_stages(stages, machine, "energy")
    found = nest_stages(stages, machine, "energy", zeros=zeros)
    assert found.kept and found.value < min(dense.value, apart.value) and found.gap < 1e-8


def test_a_share_of_weights_is_no_room_of_tensors() -> None:
    draw = Random(5)
    stages, plain = network(draw), array(120)
    buffer = plain.levels[1]
    shared = replace(
        buffer, holds=(*buffer.holds, "weight"), capacity_bits=120 + 4096, sources=buffer.sources
        | {"shares_bits": HAND}, shares_bits={"weight": 4096}, double_buffered=(),
    )  # fmt: skip
    machine = replace(plain, levels=(plain.levels[0], shared, plain.levels[2]))
    found = nest_stages(stages, machine, "energy")
    assert found.kept and found.value < nest_stages(stages, machine, "energy", keep=False).value
    tiles = [footprint_bits(one.nest.cost.counts, machine)[1] for one in found.parts]
    assert all(one.taken_bits + bits.get("input", 0) + bits.get("output", 0) <= 120
               for one, bits in zip(found.parts, tiles, strict=True))  # fmt: skip
    assert any(one.taken_bits + sum(bits.values()) > 120
               for one, bits in zip(found.parts, tiles, strict=True))  # fmt: skip
