"""What reuse is worth: accesses of off-chip memory by one image of AlexNet, without and with it.

Models:  without any memory on chip, every multiplication reads an image, a weight and a sum and
         writes the sum; with one that holds all, every element crosses once. Both are nests that
         the engine counts.
Ignores: reuse between layers.
Judge:   the published counts; four accesses a multiplication.
"""

from __future__ import annotations

from dataclasses import replace

from orrery.cost.nest import LOOPS, NestMapping, nest_cost
from orrery.hardware import ROLES, Architecture, load_architecture
from orrery.provenance import Basis

from .._frame import Record, compared
from ._layers import ALEXNET, ALEXNET_FC, conv_problem
from ._published import BEST_ACCESSES, WORST_ACCESSES

SOURCE = "lecture notes of V. Sze et al. on the 724 million multiplications of AlexNet"


def accesses(machine: Architecture) -> int:
    """Return the words that one image of AlexNet moves off chip, loops in the innermost memory."""
    total = 0
    for layer in (*ALEXNET, *ALEXNET_FC):
        problem = conv_problem(layer, 1)
        loops = tuple((name, extent) for name, extent in problem.loops if extent > 1)
        outer: tuple[tuple[tuple[str, int], ...], ...] = ((),) * (len(machine.levels) - 1)
        moved = nest_cost(problem, NestMapping(temporal=(*outer, loops)), machine).traffic["dram"]
        total += sum(sum(bits) for bits in moved.values())
    return total // machine.bits["input"]


def reuse_records() -> tuple[Record, ...]:
    """Return the two counts beside the published ones."""
    machine = load_architecture("row-stationary-256", loops=tuple(LOOPS))
    dram, buffer = machine.levels[:2]
    one = tuple(replace(axis, size=1) for axis in machine.axes)
    bare = replace(machine, axes=one, levels=(replace(dram, multicast=()),))
    holding = replace(buffer, holds=ROLES, capacity_bits=None, multicast=(), reduces=())
    whole = replace(machine, axes=one, levels=(*bare.levels, holding))
    return (
        compared(
            "AlexNet: off-chip accesses without reuse", "", published=WORST_ACCESSES,
            ours=float(accesses(bare)), basis=Basis.ESTIMATED, source=SOURCE, tolerance=0.01,
            note="ours reads no sum that starts from zero and counts padding as read",
        ),
        compared(
            "AlexNet: off-chip accesses with all reuse", "", published=BEST_ACCESSES,
            ours=float(accesses(whole)), basis=Basis.ESTIMATED, source=SOURCE, tolerance=0.05,
            note="weights alone are 61.0 million; ours counts images and results too",
        ),
    )  # fmt: skip
