"""The look-up unit against exact rationals and the functions themselves."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
from amaranth import signed, unsigned

from orrery.errors import SpecError
from orrery.rtl import simulation
from orrery.rtl.parts import LookUpUnit

from .together import delayed, together

pytestmark = [pytest.mark.needs("amaranth", "pyosys", "g++"), pytest.mark.rtl]


def gelu(x: float) -> float:
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


CASES: dict[str, dict[str, Any]] = {
    "reciprocal": {
        "function": lambda u: 1 / (1 + u), "input": 10, "input_fraction": 10,
        "output": 12, "output_fraction": 11, "address_bits": 5, "interpolate": True,
    },
    "exp": {
        "function": math.exp, "input": signed(9), "input_fraction": 6,
        "output": 14, "output_fraction": 7, "address_bits": 4, "interpolate": True,
        "registers": 3,
    },
    "gelu": {
        "function": gelu, "input": signed(8), "input_fraction": 5,
        "output": signed(8), "output_fraction": 5, "address_bits": 6, "interpolate": True,
        "registers": 2,
    },
    "step": {
        "function": gelu, "input": signed(8), "input_fraction": 5,
        "output": signed(8), "output_fraction": 5, "address_bits": 5, "registers": 1,
    },
    "whole": {
        "function": math.tanh, "input": signed(6), "input_fraction": 3,
        "output": signed(7), "output_fraction": 6, "address_bits": 6, "interpolate": True,
        "registers": 1,
    },
    "nearest": {
        "function": math.sqrt, "input": 7, "input_fraction": 7,
        "output": 6, "output_fraction": 6, "address_bits": 7,
    },
}  # fmt: skip
ROWS = 1500


def unit(name: str) -> LookUpUnit:
    return LookUpUnit.of(**CASES[name], name=name)


@cache
def played() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(2)
    circuit = together({name: unit(name) for name in CASES})
    inputs = {}
    for port in circuit.ports:
        if port.direction == "in":
            low = -(1 << (port.width - 1)) if port.signed else 0
            every = low + np.arange(1 << port.width)
            inputs[port.name] = np.concatenate([every, rng.choice(every, ROWS - len(every))])
    return inputs, simulation(circuit, "cxxrtl").cycles(inputs)


@pytest.mark.parametrize("name", CASES)
def test_the_circuit_and_the_function_follow_the_stated_line(name: str) -> None:
    inputs, outputs = played()
    part, x = unit(name), inputs[f"{name}_x"]
    width = part.signature.members["x"].shape.width
    low = -(1 << (width - 1)) if part.signature.members["x"].shape.signed else 0
    length = 1 << (width - CASES[name]["address_bits"])
    table = part.samples
    wanted = []
    for code in x.tolist():
        j, place = divmod(code - low, length)
        value = Fraction(table[j])
        if CASES[name].get("interpolate"):
            value += Fraction((table[j + 1] - table[j]) * place, length)
        wanted.append(math.floor(value + Fraction(1, 2)))
    assert np.array_equal(part.evaluate(x), wanted)
    enable = inputs.get(f"{name}_enable", np.ones(ROWS, dtype=np.int64))
    rows, want = delayed(np.array(wanted), enable, int(part.parameters["registers"]))
    assert np.array_equal(outputs[f"{name}_y"][rows].astype(np.int64), want)


@pytest.mark.parametrize("name", CASES)
def test_samples_stand_where_the_docstring_says(name: str) -> None:
    case, part = CASES[name], unit(name)
    shape = part.signature.members["x"].shape
    length = 2 ** (shape.width - case["address_bits"])
    low = -(2 ** (shape.width - 1)) if shape.signed else 0
    for j in (0, 1, len(part.samples) - 1):
        at = low + j * length + (0 if case.get("interpolate") else (length - 1) / 2)
        exact = case["function"](at / 2 ** case["input_fraction"]) * 2 ** case["output_fraction"]
        out = part.signature.members["y"].shape
        top = (1 << (out.width - out.signed)) - 1
        assert part.samples[j] == min(round(exact), top)


def test_the_line_is_as_close_as_its_curvature_lets_it() -> None:
    """Half a unit of rounding twice, and h²/8 times the greatest second derivative, 2."""
    case = CASES["reciprocal"]
    part = unit("reciprocal")
    found = part.error(case["function"], input_fraction=10, output_fraction=11)
    assert found <= 2 * 2**-12 + (2**-5) ** 2 / 8 * 2
    nearest = LookUpUnit.of(**(case | {"interpolate": False}))
    assert nearest.error(case["function"], input_fraction=10, output_fraction=11) > 4 * found


def test_a_function_beyond_the_range_is_kept_within_it() -> None:
    part = LookUpUnit.of(
        lambda x: 100 * x, input=signed(4), input_fraction=0, output=signed(6), output_fraction=0,
        address_bits=4,
    )  # fmt: skip
    assert part.evaluate([-8, -1, 0, 1, 7]).tolist() == [-32, -32, 0, 31, 31]


def test_an_input_it_cannot_carry_is_refused() -> None:
    with pytest.raises(SpecError, match=r"found '-1 to 3', wanted numbers from 0 to 127"):
        unit("nearest").evaluate([3, -1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LookUpUnit([0] * 32, input=4, output=1), r"found '32 samples', .* k from 1 to 4"),
        (lambda: LookUpUnit([0] * 4, input=4, output=1, interpolate=True), r"wanted 2\*\*k \+ 1"),
        (lambda: LookUpUnit([0, 2], input=4, output=1), r"samples\[1\]: found 2, wanted .* 0 to 1"),
        (lambda: LookUpUnit([0, 1], input=4, output=1, registers=2), r"registers: found 2"),
        (lambda: LookUpUnit([0, 1], input=33, output=1), r"bits of input: found 33"),
        (
            lambda: LookUpUnit.of(
                lambda x: 1 / x, input=4, input_fraction=4, output=8,
                output_fraction=4, address_bits=4, name="inverse",
            ),
            r"inverse at 0: found .*division by zero.*, wanted a finite number; leave the pole out",
        ),
        (
            lambda: LookUpUnit.of(
                math.exp, input=unsigned(4), input_fraction=4, output=8, output_fraction=4,
                address_bits=5,
            ),
            r"address_bits: found 5, wanted .* 1 to 4",
        ),
    ],
)  # fmt: skip
def test_what_makes_no_circuit_is_refused(make: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()
