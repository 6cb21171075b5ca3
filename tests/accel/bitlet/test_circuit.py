"""The processing element as a circuit: the engine's bits, the pipeline's cycles, on two engines."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from orrery.accel.bitlet._format import FixedFormat, FloatFormat, number_format
from orrery.accel.bitlet._pipeline import Pipeline, Vectors, vectors
from orrery.errors import SpecError
from orrery.rtl import Circuit, StreamRun, cosimulate, simulation

from .test_engine import SIX

pytestmark = [
    pytest.mark.needs("amaranth", "pyosys", "verilator", "g++"),
    pytest.mark.rtl,
]

SMALL = {"group": 16, "window": 4, "beat": 4, "align": 4}


@cache
def made(precision: str, mode: str, **sizes: int) -> Circuit:
    from orrery.accel.bitlet.circuit import circuit

    return circuit(precision=precision, mode=mode, **sizes)  # type: ignore[arg-type]


def stages_of(precision: str, sizes: dict[str, int]) -> Pipeline:
    form = number_format(precision)
    return Pipeline(format=form, **{"lanes": form.lanes, **sizes})


def operands(form: FloatFormat | FixedFormat, shape: tuple[int, int], seed: int) -> Any:
    """Return pairs of arrays: any bits, near exponents, zeros, edges."""
    random = np.random.default_rng(seed)
    if isinstance(form, FixedFormat):
        limit, (least, most) = form.weight_limit, form.activation_limits
        w, a = random.integers(-limit, limit + 1, shape), random.integers(least, most + 1, shape)
        w[random.random(shape) < 0.3] = 0
        w[0], w[1], w[2], a[1], a[2] = 0, limit, -limit, most, least
        return w, a
    kind = np.uint32 if form.storage_bits == 32 else np.uint16
    pair = [random.integers(0, 1 << form.storage_bits, shape) for _ in "wa"]
    field = ((1 << form.exponent_bits) - 1) << form.fraction_bits
    for words in pair:
        near = random.integers(form.bias - 6, form.bias + 6, (shape[0] // 2, shape[1]))
        words[: shape[0] // 2] &= ~field
        words[: shape[0] // 2] |= near << form.fraction_bits
        words[random.random(shape) < 0.1] = 0
    ones = (1 << form.storage_bits) - 1
    greatest = field - 1  # largest exponent but infinity's, every fraction bit
    edges = [0, ones, ones >> 1, field, greatest, 1, (1 << form.fraction_bits) - 1]
    for row, word in enumerate(edges):
        pair[0][row] = word
        pair[1][row] = random.choice(edges, shape[1])
    return pair[0].astype(kind), pair[1].astype(kind)


def play(circuit: Circuit, v: Vectors, engine: Any, *, stalls: float = 0.0, quant: int = 0) -> Any:
    held = {"quant": quant} if any(p.name == "quant" for p in circuit.ports) else None
    return engine.stream({"i": v.items}, outputs={"o": len(v.lengths)}, stalls=stalls, held=held)


def check(form: Any, v: Vectors, run: StreamRun, *, cycles: bool) -> None:
    for port, wanted in v.expected.items():
        got, want = run.outputs["o"][port].astype(np.int64), np.asarray(wanted).astype(np.int64)
        if port == "o__result" and isinstance(form, FloatFormat):  # one NaN is as good as another
            got, want = (_one_nan(words, form) for words in (got, want))
        np.testing.assert_array_equal(got, want, err_msg=port)
    if cycles:
        np.testing.assert_array_equal(run.given["o"], v.given)


def _one_nan(words: Any, form: FloatFormat) -> Any:
    infinity = ((1 << form.exponent_bits) - 1) << form.fraction_bits
    size = words & ((1 << (form.storage_bits - 1)) - 1)
    return np.where(size > infinity, infinity + 1, words)


@pytest.mark.parametrize(
    ("precision", "mode", "sizes", "quant"),
    [
        ("fp16", "faithful", {**SMALL, "lanes": 11}, 0),
        ("bf16", "correct", {"group": 8, "window": 2, "beat": 2, "align": 2, "lanes": 5}, 0),
        ("fixed5", "faithful", {"group": 12, "window": 3, "beat": 3, "align": 4}, 2),
    ],
)
def test_every_bit_and_every_cycle(
    precision: str, mode: Any, sizes: dict[str, int], quant: int
) -> None:
    stages, form = stages_of(precision, sizes), number_format(precision)
    circuit = made(precision, mode, **sizes)
    # CXXRTL takes long to compile the floating formats, so both engines play the fixed one.
    engine: Any = simulation(circuit, "verilator") if quant == 0 else cosimulate(circuit)
    w, a = operands(form, (400, stages.group), seed=1)
    v = vectors(stages, mode, w, a, quant=quant)
    check(form, v, play(circuit, v, engine, quant=quant), cycles=True)
    check(form, v, play(circuit, v, engine, stalls=0.4, quant=quant), cycles=False)
    # Groups that end early: the lanes stop at the last weight.
    last = np.random.default_rng(2).integers(0, stages.group, len(w))
    beyond = np.arange(stages.group) > last[:, None]
    w[beyond], a[beyond] = 0, 0
    v = vectors(stages, mode, w, a, last=last, quant=quant)
    assert v.lengths.min() < v.lengths.max()
    check(form, v, play(circuit, v, engine, quant=quant), cycles=True)


def test_the_six_weights_take_three_passes() -> None:
    """20 ones in 24 lanes, the longest of which holds three: three cycles, not six."""
    sizes = {"group": 8, "window": 8, "beat": 8, "align": 8}
    stages = stages_of("fp32", sizes)
    weights = np.zeros((2, 8), np.float32)
    weights[0, :6] = SIX
    weights[1, 0] = 1.0
    activations = np.where(weights != 0, np.float32(1), np.float32(0))
    activations[0, :6] = 1 + np.arange(6) * 2.0**-20
    v = vectors(
        stages, "faithful", weights.view(np.uint32), activations.view(np.uint32), last=[5, 0]
    )
    assert list(v.lengths) == [3, 1]
    circuit = made("fp32", "faithful", **sizes)
    run = simulation(circuit, "verilator").stream({"i": v.items}, outputs={"o": 2})
    check(stages.format, v, run, cycles=True)
    exact = float((weights[0].astype(np.float64) * activations[0]).sum())
    got = run.outputs["o"]["o__result"].astype(np.uint32).view(np.float32)
    assert exact - 8 * 2.0 ** (6 - 23) <= got[0] <= exact


@pytest.mark.shared_data
def test_real_weights(shared_data: Path) -> None:
    """Groups of a trained network's weights, rounded to bfloat16."""
    from safetensors.numpy import load_file

    held = load_file(shared_data / "cifar10" / "resnet20.safetensors")
    weights = max(held.values(), key=lambda w: w.size).ravel()[: 200 * 8]
    random = np.random.default_rng(3)
    sizes = {"group": 8, "window": 2, "beat": 2, "align": 2, "lanes": 5}
    stages = stages_of("bf16", sizes)
    w = weights.reshape(-1, 8).astype(ml_dtypes.bfloat16).view(np.uint16)
    a = np.maximum(random.standard_normal(w.shape), 0).astype(ml_dtypes.bfloat16).view(np.uint16)
    circuit = made("bf16", "correct", **sizes)
    v = vectors(stages, "correct", w, a)
    check(stages.format, v, play(circuit, v, simulation(circuit, "verilator")), cycles=True)


def test_a_module_stands_once() -> None:
    circuit = made("fp16", "faithful", **SMALL, lanes=11)
    assert circuit.modules["lane_g16_b4_w4"] == 11
    assert circuit.verilog.count("module lane_g16_b4_w4") == 1
    assert circuit.parameters["lanes"] == 11


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"precision": "fixed25"}, "fixed24"),
        ({"precision": "fp16", "lanes": 12}, "1 to 11 lanes"),
        ({"group": 60}, "a divisor of the group, 60"),
        ({"window": 16}, "2 bits to 8"),
        ({"group": 2, "beat": 2, "align": 2}, "4 to 1024"),
        ({"mode": "fast"}, "faithful, correct"),
        ({"group": 64.0}, "whole numbers"),
    ],
)
def test_what_makes_no_circuit_is_refused(wrong: dict[str, Any], words: str) -> None:
    from orrery.accel.bitlet.circuit import circuit

    with pytest.raises(SpecError, match=words):
        circuit(**wrong)
