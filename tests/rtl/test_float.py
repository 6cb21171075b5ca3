"""Floating-point parts against NumPy, ml_dtypes and gmpy2, bit for bit."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any

import gmpy2
import ml_dtypes
import numpy as np
import pytest

from orrery.errors import SpecError
from orrery.rtl import cosimulate, simulation
from orrery.rtl.parts import (
    BF16,
    FP16,
    FP32,
    FloatAdd,
    FloatFormat,
    FloatMultiply,
    Part,
    Streamed,
    part_circuit,
)

from .together import delayed, together

pytestmark = [pytest.mark.needs("amaranth", "pyosys", "g++"), pytest.mark.rtl]

E4M3 = FloatFormat(name="e4m3", exponent_bits=4, fraction_bits=3)
E5M2 = FloatFormat(name="e5m2", exponent_bits=5, fraction_bits=2)
E3M4 = FloatFormat(name="e3m4", exponent_bits=3, fraction_bits=4)
E3M1 = FloatFormat(name="e3m1", exponent_bits=3, fraction_bits=1)
TYPES: dict[FloatFormat, Any] = {
    FP16: np.float16, BF16: ml_dtypes.bfloat16, FP32: np.float32, E4M3: ml_dtypes.float8_e4m3,
    E5M2: ml_dtypes.float8_e5m2, E3M4: ml_dtypes.float8_e3m4,
}  # fmt: skip
BITS = {5: np.uint8, 8: np.uint8, 16: np.uint16, 32: np.uint32}
KINDS = {"sum": (FloatAdd, np.add), "product": (FloatMultiply, np.multiply)}
ROWS = 1 << 17


def special(form: FloatFormat) -> list[int]:
    """Zeros, least and greatest of every class, infinities, quiet and other NaN, ones, halves."""
    field = form.fraction_bits
    ones = (1 << field) - 1
    top = form.greatest_exponent
    found = [0, 1, 2, ones - 1, ones, 1 << field, (1 << field) + 1, (2 << field) - 1, 2 << field]
    found += [(top - 1) << field, ((top - 1) << field) + ones, top << field, form.nan]
    found += [(top << field) + 1, (top << field) + ones, form.bias << field]
    found += [(form.bias << field) + 1, (form.bias - 1) << field, (form.bias + field) << field]
    found += [(form.bias << field) + (ones ^ (ones >> 1)), 1 << (field - 1)]
    return [sign << (form.width - 1) | number for number in found for sign in (0, 1)]


def patterns(form: FloatFormat, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of a small format; else all special pairs, near opposites, and random bits."""
    whole = 1 << form.width
    if form.width <= 8:
        rows = np.arange(ROWS)
        return rows % whole, rows // whole % whole
    pairs = np.array(list(product(special(form), repeat=2)), dtype=np.int64).T
    left = ROWS - pairs.shape[1]
    a = rng.integers(0, whole, left)
    b = rng.integers(0, whole, left)
    near = left // 2  # b is about -a: up to two steps of the exponent away, so bits cancel
    steps = rng.integers(-2, 3, near) << form.fraction_bits
    low = rng.integers(0, 1 << rng.integers(0, form.fraction_bits + 1, near))
    b[:near] = ((a[:near] ^ (whole >> 1)) + steps ^ low) & (whole - 1)
    tiny = left // 8  # products about the least normal number
    exponents = form.bias + 1 - (a[near : near + tiny] >> form.fraction_bits & (whole // 2 - 1))
    exponents = np.clip(exponents + rng.integers(-form.precision - 2, 3, tiny), 0, None)
    b[near : near + tiny] &= (1 << form.fraction_bits) - 1 | whole >> 1
    b[near : near + tiny] |= np.minimum(exponents, form.greatest_exponent - 1) << form.fraction_bits
    return np.concatenate([pairs[0], a]), np.concatenate([pairs[1], b])


def judged(form: FloatFormat, kind: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the patterns that NumPy or ml_dtypes gives, NaN made canonical."""
    bits, kept = BITS[form.width], TYPES[form]
    with np.errstate(all="ignore"):
        found = KINDS[kind][1](a.astype(bits).view(kept), b.astype(bits).view(kept)).astype(kept)
        nan = np.isnan(found.astype(np.float32))
    return np.where(nan, form.nan, found.view(bits)).astype(np.uint64)


@cache
def run() -> dict[tuple[FloatFormat, str], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Every format's adder and multiplier in one circuit: (format, kind) -> a, b, result."""
    forms = [*TYPES, E3M1]
    rng = np.random.default_rng(20)
    parts = {f"{f.name}_{kind}": KINDS[kind][0](f) for f in forms for kind in KINDS}
    pairs = {form: patterns(form, rng) for form in forms}
    inputs = {
        f"{f.name}_{kind}_{port}": pairs[f][k]
        for f in forms for kind in KINDS for k, port in enumerate("ab")
    }  # fmt: skip
    found = simulation(together(parts), "cxxrtl").cycles(inputs)
    return {
        (f, kind): (*pairs[f], found[f"{f.name}_{kind}_{kind}"]) for f in forms for kind in KINDS
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", TYPES, ids=lambda form: form.name)
def test_bits_equal_the_judge(form: FloatFormat, kind: str) -> None:
    a, b, found = run()[form, kind]
    wanted = judged(form, kind, a, b)
    wrong = np.flatnonzero(found != wanted)
    assert not len(wrong), [hex(int(x[wrong[0]])) for x in (a, b, wanted, found)]


def exact(form: FloatFormat, pattern: int) -> Any:
    """Return a pattern as gmpy2's number, by the definition of the format."""
    sign = -1 if pattern >> (form.width - 1) else 1
    exponent = pattern >> form.fraction_bits & form.greatest_exponent
    fraction = pattern & ((1 << form.fraction_bits) - 1)
    if exponent == form.greatest_exponent:
        return gmpy2.mpfr("nan") if fraction else sign * gmpy2.inf()
    unit = Fraction(2) ** (max(exponent, 1) - form.bias - form.fraction_bits)
    whole = fraction + (bool(exponent) << form.fraction_bits)
    return gmpy2.mpfr(sign * Fraction(whole) * unit) if whole else gmpy2.mpfr(sign * 0.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [E3M1, E4M3], ids=lambda form: form.name)
def test_every_pair_of_a_small_format_equals_gmpy2(form: FloatFormat, kind: str) -> None:
    """gmpy2 rounds once, at the format's precision and exponents, subnormals included."""
    least = 1 - form.bias - form.fraction_bits + 1
    here = gmpy2.context(
        precision=form.precision, emin=least, emax=form.bias + 1, subnormalize=True,
        round=gmpy2.RoundToNearest,
    )  # fmt: skip
    whole = 1 << form.width
    with gmpy2.context(here):
        numbers = [exact(form, pattern) for pattern in range(whole)]
        results = {
            (a, b): numbers[a] + numbers[b] if kind == "sum" else numbers[a] * numbers[b]
            for a in range(whole) for b in range(whole)
        }  # fmt: skip
        wanted = {number: pattern for pattern, number in enumerate(numbers) if number != 0}
    a, b, found = run()[form, kind]
    for x, y, ours in zip(a.tolist()[: whole**2], b.tolist(), found.tolist()):
        result = results[x, y]
        if gmpy2.is_nan(result):
            assert ours == form.nan
        elif result == 0:
            assert ours == int(gmpy2.is_signed(result)) << (form.width - 1), (x, y)
        else:
            assert ours == wanted[result], (x, y)


def test_a_pipeline_gives_the_same_after_its_registers() -> None:
    rng = np.random.default_rng(3)
    parts: dict[str, Part] = {f"add{k}": FloatAdd(FP16, registers=k) for k in (1, 4)}
    parts |= {f"mul{k}": FloatMultiply(BF16, registers=k) for k in (2, 3)}
    rows = 20_000
    enable = rng.random(rows) < 0.7
    a, b = rng.integers(0, 1 << 16, (2, rows))
    inputs = {f"{name}_{port}": x for name in parts for port, x in (("a", a), ("b", b))}
    inputs |= {f"{name}_enable": enable for name in parts}
    found = simulation(together(parts), "cxxrtl").cycles(inputs)
    for name, part in parts.items():
        form, kind = (FP16, "sum") if name.startswith("add") else (BF16, "product")
        assert part.timing.latency == int(name[-1])
        where, wanted = delayed(judged(form, kind, a, b), enable, int(name[-1]))
        assert np.array_equal(found[f"{name}_{kind}"][where], wanted), name


@pytest.mark.needs("verilator")
def test_a_pipeline_behind_a_handshake_on_both_engines() -> None:
    """Verilator reads the Verilog, CXXRTL the RTLIL; stalls on both sides."""
    rng = np.random.default_rng(4)
    part = Streamed(FloatMultiply(FP16, registers=2))
    both = cosimulate(part_circuit(part, name="fp16_multiply_stream"))
    a, b = patterns(FP16, rng)
    items = {"i": {"i__a": a, "i__b": b}}
    wanted = judged(FP16, "product", a, b)
    for stalls in ({"i": 0.3, "o": 0.4}, {}):
        found = both.stream(items, outputs={"o": len(a)}, stalls=stalls)
        assert np.array_equal(found.outputs["o"]["o__product"], wanted)
    assert np.array_equal(found.given["o"] - found.taken["i"], np.full(len(a), 2))
    assert np.array_equal(np.diff(found.taken["i"]), np.ones(len(a) - 1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FloatAdd(FP16, registers=5), r"FloatAdd: registers: found 5, wanted .* 0 to 4"),
        (lambda: FloatMultiply(FP32, registers=-1), r"FloatMultiply: registers: found -1"),
        (
            lambda: FloatFormat(name="x", exponent_bits=2, fraction_bits=3),
            r"FloatFormat x: exponent_bits: found 2, wanted a whole number from 3",
        ),
        (
            lambda: FloatFormat(name="x", exponent_bits=5, fraction_bits=0),
            r"FloatFormat x: fraction_bits: found 0",
        ),
    ],
)
def test_what_makes_no_circuit_is_refused(make: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()
