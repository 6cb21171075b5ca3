"""Signed digits as a circuit: the plain engine's bits, the digits' cycles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orrery.accel.bitlet._digits import recoded
from orrery.accel.bitlet._engine import Engine
from orrery.accel.bitlet._format import FloatFormat, number_format
from orrery.accel.bitlet._pipeline import vectors
from orrery.rtl import cosimulate, simulation

from .test_circuit import check, made, operands, play, stages_of

pytestmark = [
    pytest.mark.needs("amaranth", "pyosys", "verilator", "g++"),
    pytest.mark.rtl,
]

SMALL = {"group": 8, "window": 2, "beat": 2, "align": 2}
#: Groups of twelve and batches of three: the parity of a weight changes from batch to batch.
ODD = {"group": 12, "window": 3, "beat": 3, "align": 3}


def test_one_weight_is_recoded() -> None:
    from orrery.accel.bitlet.circuit._recode import Recode
    from orrery.rtl.parts import part_circuit

    words = np.arange(1 << 7)
    plus, minus = recoded(words)
    run = simulation(part_circuit(Recode(7)), "verilator").cycles({"value": words})
    np.testing.assert_array_equal(run["some"], plus | minus)
    np.testing.assert_array_equal(run["minus"], minus)


@pytest.mark.parametrize(
    ("precision", "mode", "digits", "sizes", "both"),
    [
        ("fixed5", "faithful", "signed", {**SMALL, "lanes": 4}, False),
        ("fixed4", "correct", "split", ODD, True),
        ("bf16", "correct", "signed", {**SMALL, "lanes": 5}, False),
    ],
)
def test_every_bit_and_every_cycle(
    precision: str, mode: Any, digits: Any, sizes: dict[str, Any], both: bool
) -> None:
    sizes = {**sizes, "digits": digits}
    stages, form = stages_of(precision, sizes), number_format(precision)
    circuit = made(precision, mode, **sizes)
    engine: Any = cosimulate(circuit) if both else simulation(circuit, "verilator")
    w, a = operands(form, (300, stages.group), seed=1)
    v = vectors(stages, mode, w, a)
    check(form, v, play(circuit, v, engine), cycles=True)
    check(form, v, play(circuit, v, engine, stalls=0.4), cycles=False)
    last = np.random.default_rng(2).integers(0, stages.group, len(w))
    beyond = np.arange(stages.group) > last[:, None]
    w[beyond], a[beyond] = 0, 0
    v = vectors(stages, mode, w, a, last=last)
    check(form, v, play(circuit, v, engine), cycles=True)


def test_the_widest_activation_can_be_taken_away() -> None:
    """24 bits: -2^24 under a digit -1 of a plus weight, and its wrapped negative."""
    sizes = {"group": 4, "window": 2, "beat": 4, "align": 4, "digits": "signed"}
    stages = stages_of("fixed24", sizes)
    w = np.array([[3, -3, 7, 1 << 23], [-((1 << 24) - 1), 3, 0, 0]])
    a = np.array([[-(1 << 24), -(1 << 24), (1 << 24) - 1, -5], [-(1 << 24), -(1 << 24), 9, 0]])
    v = vectors(stages, "faithful", w, a, quant=3)
    plain = Engine(format=number_format("fixed24"), mode="faithful", group=4)
    np.testing.assert_array_equal(v.expected["o__accumulator"], plain.run(w, a).accumulator)
    circuit = made("fixed24", "faithful", **sizes)
    run = play(circuit, v, simulation(circuit, "verilator"), quant=3)
    check(stages.format, v, run, cycles=True)


def test_names_say_what_is_popped_and_the_plain_ones_stay() -> None:
    circuit = made("fixed4", "correct", **{**ODD, "digits": "split"})
    assert circuit.parameters["digits"] == "split"
    assert circuit.modules["lane_g12_b3_w3_signed"] == 6
    plain = made("fixed4", "correct", **ODD)
    assert "digits" not in plain.parameters and circuit.name == f"{plain.name}_split"
    assert not isinstance(number_format("fixed4"), FloatFormat)
