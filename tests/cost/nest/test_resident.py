"""What stays on chip: counts by the interpreter, tails by hand."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from orrery.cost.nest import (
    LOOPS,
    Tail,
    count_nest,
    keep_on_chip,
    keeping_levels,
    room_bits,
    tail_cost,
)
from orrery.errors import SpecError
from orrery.hardware import load_architecture
from tests.cost.nest import draws
from tests.cost.nest.test_count import compare


@pytest.mark.parametrize("seed", range(3))
def test_counts_of_what_stays_equal_the_interpreter_s(seed: int) -> None:
    draw, kept = Random(seed), 0
    while kept < 60:
        layer = draws.problem(draw)
        mapping, architecture = draws.nest(draw, layer)
        for level in keeping_levels(architecture):
            roles = draw.choice((("input",), ("output",), ("input", "output")))
            seen = keep_on_chip(architecture, level, roles)
            compare(layer, mapping, seen)
            place = [x.name for x in seen].index(level)
            assert all(flow.parent >= place for flow in count_nest(layer, mapping, seen).flows
                       if flow.tensor.role in roles)  # fmt: skip
            kept += 1


def test_levels_that_can_keep() -> None:
    found = {name: keeping_levels(load_architecture(name, loops=tuple(LOOPS)))
             for name in ("tpu-like-32", "eyeriss-v1", "gemmini-16", "eyeriss-v2")}  # fmt: skip
    assert found == {"tpu-like-32": ("sram",), "eyeriss-v1": ("buffer",), "gemmini-16": (),
                     "eyeriss-v2": ()}  # fmt: skip
    machine = load_architecture("eyeriss-v1", loops=tuple(LOOPS))
    assert room_bits(machine, "buffer") == 8 * 1024 * 100
    seen = keep_on_chip(machine, "buffer", ("input",), 8000)
    assert (seen.levels[0].holds, room_bits(seen, "buffer")) == (
        ("weight", "output"), 8 * 1024 * 100 - 8000)  # fmt: skip


def test_only_a_memory_for_all_keeps() -> None:
    machine = load_architecture("gemmini-16", loops=tuple(LOOPS))
    levels = (replace(machine.levels[0], holds=("input", "output")), *machine.levels[1:3],
              replace(machine.levels[3], holds=("weight",)))  # fmt: skip
    levels = tuple(replace(x, holds=tuple(r for r in x.holds if r != "weight" or x.per))
                   for x in levels)  # fmt: skip
    with pytest.raises(SpecError, match="one for all"):
        replace(machine, levels=levels, kept=("weight",))


def test_tails_by_hand() -> None:
    machine = load_architecture("tpu-like-32", loops=tuple(LOOPS))
    tail = Tail(operators=(("bn", "BatchNormalization", 4096), ("add", "Add", 4096)),
                reads=("r",), constants=128, also=("t",))  # fmt: skip
    sizes = {"r": 4096, "t": 4096}
    off = tail_cost(tail, sizes, machine)
    assert off.traffic == {
        "dram": {"input": (32768, 0), "weight": (1024, 0), "output": (0, 32768)},
        "sram": {"input": (32768, 32768), "output": (32768, 32768)},
    }
    assert off.cycles == (32768 + 1024 + 32768) // 64  # the one port off chip is the busiest
    words = {(c.resource, c.action): c.count for c in off.charges}
    assert words["dram", "read input"] == 512 and words["sram", "write output"] == 16
    assert words["post-processor", "Add"] == 4096
    on = tail_cost(tail, sizes, machine, "sram", kept=frozenset(("r", "t")))
    assert on.traffic == {"dram": {"weight": (1024, 0)},
                          "sram": {"input": (32768, 0), "output": (0, 32768)}}  # fmt: skip
    assert on.cycles == 16 and on.energy_j < off.energy_j
    through = tail_cost(tail, sizes, machine, "sram", kept=frozenset(("r", "t")),
                        written=frozenset(("t",)))  # fmt: skip
    assert through.traffic["dram"]["output"] == (0, 32768)
    unknown = tail_cost(tail, sizes, replace(machine, mac_energy_j=None))
    assert unknown.unpriced == ("post-processor: BatchNormalization", "post-processor: Add")
    plain = tail_cost(Tail(operators=(("r", "Relu", 10),)), {}, machine)
    assert (plain.cycles, plain.traffic) == (0, {})
    dram = machine.levels[0]
    sources = {**dram.sources, "network_bits_per_cycle": dram.sources["read_bits_per_cycle"]}
    wires = replace(dram, network_bits_per_cycle={"input": 0.25}, sources=sources)
    slow = replace(machine, levels=(wires, *machine.levels[1:]))
    assert tail_cost(tail, sizes, slow).cycles == 4 * 32768  # a wire of one operand alone
