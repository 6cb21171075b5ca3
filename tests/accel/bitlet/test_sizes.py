"""Groups that neither 8 nor 16 divides make circuits all the same, and the same bits."""

from __future__ import annotations

from typing import Any

import pytest

from orrery.accel.bitlet import bitlet
from orrery.accel.bitlet._design import BitletCircuit
from orrery.accel.bitlet._pipeline import Pipeline, vectors
from orrery.errors import SpecError

from .test_circuit import check, made, operands, play


def stages(**parameters: Any) -> Pipeline:
    circuit = bitlet(**parameters).generate
    assert isinstance(circuit, BitletCircuit)
    return circuit.stages


@pytest.mark.parametrize(
    ("parameters", "beat", "align"),
    [
        ({}, 16, 8),
        ({"group": 16}, 16, 8),
        ({"group": 20}, 10, 10),
        ({"group": 17}, 17, 17),
        ({"group": 12, "precision": "fixed12"}, 12, 12),
        ({"group": 34}, 17, 17),
        ({"group": 40, "window": 3}, 10, 8),
        ({"group": 64, "window": 20}, 16, 32),
        ({"group": 4, "window": 4}, 4, 4),
    ],
)
def test_a_group_is_loaded_in_parts_that_divide_it(
    parameters: dict[str, Any], beat: int, align: int
) -> None:
    found = stages(**parameters)
    assert (found.beat, found.align) == (beat, align)
    assert found.align >= found.window


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"group": 6}, "bitlet: window: found 8, wanted 2 to 6 bits, the weights of a group"),
        ({"group": 1}, "bitlet: group: found 1, wanted 2 weights or more"),
        ({"group": 101}, r"bitlet: group: found 101, wanted a group with a divisor.*take 104"),
        ({"window": 1}, "window: found 1"),
    ],
)
def test_what_makes_no_circuit_is_said_in_words_of_the_caller(
    parameters: dict[str, Any], match: str
) -> None:
    with pytest.raises(SpecError, match=match):
        stages(**parameters)


@pytest.mark.rtl
@pytest.mark.needs("amaranth", "pyosys", "verilator", "g++")
@pytest.mark.parametrize("group", [11, 20])
def test_odd_groups_compute_the_same_bits_in_as_many_cycles(group: int) -> None:
    from orrery.rtl import simulation

    sizes = stages(precision="fixed3", group=group)
    own = {"group": group, "window": 8, "beat": sizes.beat, "align": sizes.align, "lanes": 3}
    circuit = made("fixed3", "correct", **own)
    w, a = operands(sizes.format, (60, group), seed=group)
    v = vectors(sizes, "correct", w, a)
    check(sizes.format, v, play(circuit, v, simulation(circuit, "verilator")), cycles=True)
