"""Prices of loop nests: bills against the interpreter, cycles against closed forms."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil
from random import Random

import numpy as np
import pytest

from orrery.cost.nest import NestMapping, NestProblem, Zeros, check_mapping, nest_cost
from orrery.errors import SpecError, UnknownNameError
from orrery.hardware import Architecture, ArrayAxis, Level
from tests.cost.nest import draws
from tests.cost.nest.draws import HAND, axis, tensors
from tests.cost.nest.interpreter import Interpreter


def level(name: str, holds: tuple[str, ...] = ("input", "weight", "output"), **more) -> Level:
    more = {"word_bits": 8, "read_energy_j": 1e-12, "write_energy_j": 1e-12,
            "static_power_w": 0.0, **more}  # fmt: skip
    return Level(name=name, holds=holds, sources=dict.fromkeys(more, HAND), **more)


def machine(*levels: Level, axes: tuple[ArrayAxis, ...] = (), **more) -> Architecture:
    more = {"clock_hz": 1e9, "mac_energy_j": 1e-12, "idle_mac_energy_j": 0.0,
            "hop_energy_j_per_bit": 0.0, "static_power_w": 0.0, "macs_per_cycle": 1,
            "bits": dict.fromkeys(("input", "weight", "output"), 8), "partial_sum_bits": 8,
            **more}  # fmt: skip
    return Architecture(name="m", axes=axes, levels=levels, sources=dict.fromkeys(more, HAND),
                        **more)  # fmt: skip


def spread(name: str, size: int, **more) -> ArrayAxis:
    return ArrayAxis(name=name, size=size, sources=dict.fromkeys(("size", "fixed"), HAND), **more)


def product(n: int, m: int, k: int, times: int = 1) -> NestProblem:
    """A[n, k] B[k, m]."""
    return NestProblem(loops=(("N", n), ("Cout", m), ("Cin", k)), times=times, tensors=tensors(
        (axis(n, ("N", 1)), axis(k, ("Cin", 1))),
        (axis(n, ("N", 1)), axis(m, ("Cout", 1))),
        (axis(k, ("Cin", 1)), axis(m, ("Cout", 1))),
    ))  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
def test_bills_are_counts_times_prices(seed: int) -> None:
    draw = Random(100 + seed)
    for _ in range(60):
        layer = replace(draws.problem(draw, 60), times=draw.choice((1, 3)))
        mapping, architecture = draws.nest(draw, layer)
        found = nest_cost(layer, mapping, architecture)
        judge = Interpreter(layer, mapping, architecture)
        joules, traffic = judged_energy(layer, architecture, judge, found.cycles)
        assert found.traffic == traffic
        assert found.energy_j == pytest.approx(joules, rel=1e-9)
        assert found.cycles >= layer.times * ceil(layer.operations / architecture.elements)
        least = sum(
            architecture.bits[t.role] * len({judge.element(t, i) for at in judge.steps.values()
                                             for _, i in at} - {None}) for t in layer.tensors
        )  # fmt: skip
        assert found.cost.offchip_bytes >= layer.times * least / 8
        wider = replace(architecture, levels=tuple(
            replace(m, read_bits_per_cycle=2 * m.read_bits_per_cycle) for m in architecture.levels
        ))  # fmt: skip
        assert nest_cost(layer, mapping, wider).cycles <= found.cycles


def judged_energy(layer, architecture, judge, cycles):
    """Work out a bill from what the interpreter saw, without the code under test."""
    depth = len(architecture.levels)
    traffic = {m.name: {} for m in architecture.levels}
    hops, below = Fraction(0), architecture.fans_out_below()

    def add(place: int, role: str, read: int, written: int) -> None:
        if place < depth:
            old = traffic[architecture.levels[place].name].get(role, (0, 0))
            traffic[architecture.levels[place].name][role] = (old[0] + read, old[1] + written)

    for tensor in layer.tensors:
        for (name, parent, child), seen in judge.traffic.items():
            if name != tensor.name:
                continue
            width, wide = architecture.bits[tensor.role], architecture.partial_sum_bits
            upper = architecture.levels[parent]
            if tensor.role == "output":
                out = seen.final_outer * width + (seen.outer - seen.final_outer) * wide
                drained = seen.final_inner * width + (seen.inner - seen.final_inner) * wide
                add(parent, "output", seen.back * wide, out)
                add(child, "output", drained, seen.back * wide)
                ways = [(out, upper.reduces), (seen.back * wide, ())]
            else:
                add(parent, tensor.role, seen.outer * width, 0)
                add(child, tensor.role, 0, seen.inner * width)
                ways = [(seen.outer * width, upper.multicast)]
            for a in architecture.axes:
                if parent <= below[a.name] < child:
                    for bits, joins in ways:
                        crossed = a.size - 1 if a.name in joins else Fraction(a.size - 1, 2)
                        hops += bits * crossed
    seconds = cycles / architecture.clock_hz
    joules = seconds * architecture.static_power_w + layer.times * (
        judge.operations * architecture.mac_energy_j
        + (architecture.elements * len(judge.steps) - judge.operations)
        * architecture.idle_mac_energy_j
        + ceil(hops) * architecture.hop_energy_j_per_bit
    )
    for m in architecture.levels:
        joules += seconds * m.static_power_w * architecture.instances(m)
        for read, written in traffic[m.name].values():
            joules += layer.times * (ceil(read / m.word_bits) * m.read_energy_j
                                     + ceil(written / m.word_bits) * m.write_energy_j)  # fmt: skip
    return joules, traffic


def test_one_memory_is_as_slow_as_its_port() -> None:
    """Every operation reads two operands and adds to a sum that is read but for its first time."""
    layer = product(2, 3, 4)
    nest = NestMapping(temporal=((("N", 2), ("Cout", 3), ("Cin", 4)),))
    free = machine(level("dram"))
    assert nest_cost(layer, nest, free).cycles == 24
    apart = machine(level("dram", read_bits_per_cycle=8, write_bits_per_cycle=8))
    assert nest_cost(layer, nest, apart).cycles == 24 * 2 + (24 - 6)
    one = machine(level("dram", read_bits_per_cycle=8, one_port=True))
    assert nest_cost(layer, nest, one).cycles == 24 * 2 + (24 - 6) + 24


def test_second_buffers_hide_transfers() -> None:
    """All of A, then B column by column: 4 elements for every 2 x 4 operations."""
    layer = product(2, 3, 4)
    nest = NestMapping(temporal=((("Cout", 3),), (("N", 2), ("Cin", 4))))

    def cycles(bits: int, *double: str) -> int:
        return nest_cost(layer, nest, machine(
            level("dram", read_bits_per_cycle=bits),
            level("buffer", ("weight",), double_buffered=double),
        )).cycles  # fmt: skip

    # A narrow port is busy for A's 24 reads, 18 sums that come back and B's 12 elements; before
    # it can begin, the first column's 4 are waited for where the others hide.
    assert cycles(8) == 24 + 18 + 12
    assert cycles(8, "weight") == 24 + 18 + 12 + 4
    # A wide one is waited for only where nothing hides it.
    assert cycles(80) == ceil(24 + 12 / 10)
    assert cycles(80, "weight") == ceil(24 + 4 / 10)


def test_streams_hide_like_second_buffers_and_take_their_size_once() -> None:
    layer = product(2, 3, 4)
    nest = NestMapping(temporal=((("Cout", 3),), (("N", 2), ("Cin", 4))))

    def found(**how):
        return nest_cost(layer, nest, machine(
            level("dram", read_bits_per_cycle=8), level("buffer", ("weight",), **how)))  # fmt: skip

    twice, once = found(double_buffered=("weight",)), found(streams=("weight",))
    assert twice.time == once.time != found().time
    assert twice.peak_bits["buffer"] == 2 * once.peak_bits["buffer"] == 2 * 4 * 8


def test_a_role_on_wires_of_its_own_keeps_nobody_else_waiting() -> None:
    """24 operations read A and B once each; 18 sums come back before they are added to."""
    layer = product(2, 3, 4)
    nest = NestMapping(temporal=((("N", 2), ("Cout", 3), ("Cin", 4)),))

    def cycles(**rates: float) -> int:
        return nest_cost(layer, nest, machine(level("dram", network_bits_per_cycle=rates))).cycles

    assert cycles() == cycles(input=8, weight=8, output=8) == 24
    assert cycles(input=4, weight=8) == cycles(input=4, weight=4) == 48  # side by side
    assert cycles(output=2) == 24 * 8 / 2  # as many sums go out as operations are done; 18 return


def test_wires_are_as_slow_where_a_tile_is_waited_for() -> None:
    """B column by column, 4 elements for every 2 x 4 operations, 12 in all."""
    layer = product(2, 3, 4)
    nest = NestMapping(temporal=((("Cout", 3),), (("N", 2), ("Cin", 4))))

    def cycles(**how) -> int:
        return nest_cost(layer, nest, machine(
            level("dram", network_bits_per_cycle={"weight": 2}),
            level("buffer", ("weight",), **how),
        )).cycles  # fmt: skip

    assert cycles() == 24 + 12 * 8 / 2
    assert cycles(streams=("weight",)) == 12 * 8 / 2 + 4 * 8 / 2  # the first column is waited for


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_a_systolic_array_takes_the_closed_forms(size: int) -> None:
    """N x N x N: 3N - 2 cycles with sums in place; 4N - 2 where the operand kept is shifted in."""
    layer, both = product(size, size, size), ("rows", "cols")
    axes = (spread("rows", size, systolic=True), spread("cols", size, systolic=True))
    sums = machine(
        level("dram", multicast=both),
        level("sums", ("output",), per=both, double_buffered=("output",)), axes=axes,
    )  # fmt: skip
    nest = NestMapping(temporal=((), (("Cin", size),)),
                       spatial={"rows": (("N", size),), "cols": (("Cout", size),)})  # fmt: skip
    assert nest_cost(layer, nest, sums).cycles == 3 * size - 2
    kept = machine(
        level("dram", multicast=both, reduces=("rows",)),
        level("edge", ("weight",), read_bits_per_cycle=8 * size, double_buffered=("weight",)),
        level("latch", ("weight",), per=both, double_buffered=("weight",)), axes=axes,
    )  # fmt: skip
    nest = NestMapping(temporal=((), (("N", size),), ()),
                       spatial={"rows": (("Cin", size),), "cols": (("Cout", size),)})  # fmt: skip
    cost = nest_cost(layer, nest, kept)
    assert cost.cycles == 4 * size - 2
    assert cost.time.wavefront == 2 * (size - 1)
    broadcast = replace(kept, axes=tuple(replace(axis, systolic=False) for axis in axes))
    assert nest_cost(layer, nest, broadcast).cycles == 2 * size


def test_a_tile_waited_for_inside_of_a_systolic_array_is_refused() -> None:
    with pytest.raises(SpecError, match="weight is waited for inside of systolic rows"):
        machine(level("dram"), level("latch", ("weight",), per=("rows",)),
                axes=(spread("rows", 4, systolic=True),))  # fmt: skip
    with pytest.raises(SpecError, match="input, which is double_buffered too"):
        level("dram", double_buffered=("input",), streams=("input",))


def test_results_leave_behind_the_work_but_for_the_last() -> None:
    """Two results a stay, three stays: six on their way, of which the last two are waited for."""
    layer = product(2, 3, 4)
    nest = NestMapping(temporal=((("Cout", 3),), (("N", 2), ("Cin", 4))))

    def found(bits: float):
        return nest_cost(layer, nest, machine(
            level("dram", write_bits_per_cycle=bits),
            level("buffer", ("output",), double_buffered=("output",)),
        ))  # fmt: skip

    wide, narrow = found(8), found(1)
    assert (wide.cycles, wide.time.drain, wide.time.stalls) == (24 + 2, 2, (0, 0))
    assert (narrow.cycles, narrow.time.drain, narrow.time.stalls) == (48 + 16, 16, (24, 0))
    assert wide.peak_bits["buffer"] == 2 * 2 * 8


def test_an_output_stationary_array_fills_and_drains() -> None:
    """4 x 4 sums stay in place; every step sends 4 rows and 4 columns, sums leave once."""
    layer = product(4, 4, 5)
    nest = NestMapping(temporal=((), (("Cin", 5),)),
                       spatial={"rows": (("N", 4),), "cols": (("Cout", 4),)})  # fmt: skip
    both = ("rows", "cols")
    found = nest_cost(layer, nest, machine(
        level("dram", multicast=both), level("sums", ("output",), per=both),
        axes=(spread("rows", 4), spread("cols", 4)), hop_energy_j_per_bit=1e-15,
    ))  # fmt: skip
    assert found.time.compute == 5
    assert found.traffic["dram"] == {"input": (20 * 8, 0), "weight": (20 * 8, 0),
                                     "output": (0, 16 * 8)}  # fmt: skip
    assert found.traffic["sums"] == {"output": ((80 - 16 + 16) * 8, 80 * 8)}
    assert found.utilisation == found.active_share == found.busy_share == 1
    hops = next(c.count for c in found.charges if c.action == "bit hop")
    # Each operand is broadcast along both axes; each sum crosses half of either on average.
    assert hops == 40 * 8 * (3 + 3) + 16 * 8 * (3 + 3) // 2


def test_what_has_no_price_leaves_no_energy() -> None:
    layer, nest = product(2, 2, 2), NestMapping(temporal=((("N", 2), ("Cout", 2), ("Cin", 2)),))
    found = nest_cost(layer, nest, machine(level("dram", write_energy_j=None), mac_energy_j=None))
    assert found.energy_j is None and found.cost.energy_j is None
    assert found.unpriced == ("dram: write output", "array: MAC")
    assert nest_cost(layer, nest, machine(level("dram"))).energy_j == pytest.approx(
        (8 * 2 + 8 + 4 + 8) * 1e-12)  # fmt: skip


def test_zeros_are_told_apart() -> None:
    """Densities measured on random operands give the products that are not zero."""
    rng = np.random.default_rng(1)
    a, b = rng.random((40, 30)) < 0.3, rng.random((30, 50)) < 0.5
    layer = product(40, 50, 30)
    nest = NestMapping(temporal=((("N", 40), ("Cout", 50), ("Cin", 30)),))
    spec = {"density": {"input": a.mean(), "weight": b.mean()}}
    plain = machine(level("dram", read_bits_per_cycle=8), idle_mac_energy_j=1e-13)
    dense = nest_cost(layer, nest, plain)
    looked = nest_cost(layer, nest, plain, zeros=Zeros(**spec))
    gated = nest_cost(layer, nest, plain, zeros=Zeros(**spec, gates=("input",)))
    skipped = nest_cost(layer, nest, plain, zeros=Zeros(**spec, skips=("input", "weight")))
    effectual = int(np.einsum("nk,km->", a.astype(int), b.astype(int)))
    assert looked.operations.effectual == pytest.approx(effectual, rel=0.02)
    assert looked.operations.worked == looked.operations.performed == dense.operations.nominal
    assert gated.operations.performed == dense.operations.nominal
    assert gated.operations.worked == ceil(60000 * Fraction(int(a.sum()), a.size))
    assert gated.time.compute == dense.time.compute
    assert skipped.operations.performed == skipped.operations.effectual == skipped.time.compute
    assert skipped.energy_j < gated.energy_j < dense.energy_j == looked.energy_j
    # Who gates on an operand sees all of it, and of the others what is not gated.
    reads = 60000 * 8
    share = Fraction(int(a.sum()), a.size)
    assert gated.traffic["dram"]["input"] == (reads, 0)
    assert gated.traffic["dram"]["weight"] == (ceil(reads * share), 0)
    seen = nest_cost(layer, nest, plain, zeros=Zeros(**spec, gates=("input", "weight")))
    assert seen.traffic["dram"]["input"] == seen.traffic["dram"]["weight"] == (reads, 0)
    # A gate spends the cycle: it saves energy and no time, whichever port is the limit.
    assert gated.time == seen.time == dense.time != skipped.time
    packed = nest_cost(layer, nest, plain,
                       zeros=Zeros(density={"weight": 0.25}, compressed={"weight": 4}))  # fmt: skip
    assert packed.traffic["dram"]["weight"] == (60000 * 12 // 4, 0)
    both = Zeros(density={"weight": 0.25}, compressed={"weight": 4}, skips=("weight",))
    packed = nest_cost(layer, nest, plain, zeros=both)
    assert packed.traffic["dram"]["weight"] == (60000 // 4 * 12, 0)
    with pytest.raises(SpecError, match=r"density of input: found 1\.5"):
        Zeros(density={"input": 1.5})
    with pytest.raises(SpecError, match="found 'output', wanted input or weight"):
        Zeros(skips=("output",))


def test_zeros_of_sums_and_passes_are_work() -> None:
    nest = NestMapping(temporal=((("N", 40), ("Cin", 30)),))
    layer = replace(product(40, 1, 30), macs=False)
    plain = machine(level("dram", read_bits_per_cycle=8), idle_mac_energy_j=1e-13)
    dense = nest_cost(layer, nest, plain)
    half = {"density": {"input": 0.5, "weight": 0.5}}
    for ways in ({"gates": ("input",)}, {"skips": ("input", "weight")}):
        found = nest_cost(layer, nest, plain, zeros=Zeros(**half, **ways))
        assert found == dense and found.operations.ineffectual == 0
    packed = nest_cost(layer, nest, plain, zeros=Zeros(**half, compressed={"input": 1}))
    assert packed.cycles < dense.cycles and packed.operations == dense.operations


def test_nests_that_do_not_fit_are_refused() -> None:
    layer = product(4, 6, 5)
    array = machine(level("dram"), level("pads", per=("rows",), capacity_bits=240,
                                         shares_bits={"weight": 64}),
                    axes=(spread("rows", 4, loops=("N", "Cin")),))  # fmt: skip

    def said(temporal, array=array, **spatial) -> str:
        return str(check_mapping(layer, NestMapping(temporal=temporal, spatial=spatial), array))

    every = (("N", 4), ("Cout", 6), ("Cin", 5))
    assert said((every,)) == (
        "levels of the nest on m: need 2 levels, have 1 levels; "
        "remedies: map the layer anew for this architecture")  # fmt: skip
    assert said(((("N", 4), ("Cout", 6), ("Cin", 4)), ())).startswith(
        "loop Cin: its factors cover too little: need 5 indices, have 4")  # fmt: skip
    assert said((every[1:], ()), rows=(("N", 4), ("Cin", 2))).startswith(
        "positions along axis rows: need 8 positions, have 4")  # fmt: skip
    assert said((every, ()), rows=(("Cout", 2),)).startswith(
        "loop Cout along axis rows, which takes N, Cin: need 2")  # fmt: skip
    assert said((every[:2], every[2:])) == "None"
    assert said((every[:1], every[1:])).startswith(
        "weight tile in its share of pads: need 30 B, have 8 B")  # fmt: skip
    assert said((every[1:2], (every[0], every[2]))).startswith(
        "tiles in pads (input 20 B, output 4 B): need 24 B, have 22 B")  # fmt: skip
    stepped = replace(array, levels=(array.levels[0], replace(array.levels[1], loops=("Cin",))))
    assert said((every[:1], every[1:]), stepped).startswith(
        "loop Cout at pads, which steps through Cin: need 6 steps, have 1 steps")  # fmt: skip
    assert said((every[:2], every[2:]), stepped) == "None"
    wired = replace(array, axes=(spread("rows", 4, fixed={"N": 4}),))
    assert said((every[1:], ()), array=wired, rows=(("N", 4),)) == "None"
    assert said((every, ()), array=wired).startswith("loop N along axis rows, where the wiring")
    with pytest.raises(UnknownNameError, match=r"no loop of the layer named 'Cot'.*'Cout'"):
        said(((("Cot", 2),), ()))
    with pytest.raises(UnknownNameError, match="no array axis of m named 'row', did you mean"):
        said((every, ()), row=(("N", 2),))
    with pytest.raises(SpecError, match="loop nest on m: found 'loop Cin: its factors cover"):
        nest_cost(layer, NestMapping(temporal=(every[:2], ())), array)


def test_partial_sums_are_wide_only_where_they_go_on() -> None:
    """The buffer sees sums that are done when Cin runs inside, unfinished ones when outside."""
    layer = product(2, 2, 4)
    array = machine(level("dram"), level("buffer", ("output",)), level("register", ("output",)),
                    partial_sum_bits=24)  # fmt: skip
    done = NestMapping(temporal=((), (("N", 2), ("Cout", 2), ("Cin", 4)), ()))
    found = nest_cost(layer, done, array)
    assert found.traffic["buffer"]["output"] == (4 * 8, 4 * 8)
    assert (found.peak_bits["buffer"], found.peak_bits["register"]) == (4 * 8, 24)
    open_ = NestMapping(temporal=((), (("Cin", 4), ("N", 2), ("Cout", 2)), ()))
    found = nest_cost(layer, open_, array)
    assert found.traffic["buffer"]["output"] == (12 * 24 + 4 * 8, 12 * 24 + 4 * 8)
    assert found.peak_bits["buffer"] == 4 * 24


def test_idle_elements_are_told_apart() -> None:
    """Five rows on four: all work in the first turn, one in the second."""
    nest = NestMapping(temporal=((("N", 2),),), spatial={"rows": (("N", 4),)})
    found = nest_cost(product(5, 1, 1), nest, machine(
        level("dram"), axes=(spread("rows", 8),), idle_mac_energy_j=1e-12))  # fmt: skip
    assert (found.active_share, found.busy_share, found.utilisation) == (4 / 8, 5 / 8, 5 / 16)
    waits = next(c.count for c in found.charges if c.action == "idle multiplier cycle")
    assert waits == 2 * 8 - 5
