"""Quantities at the border: judged by arithmetic and by there-and-back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.errors import SpecError
from orrery.units import DIMENSIONS, format_quantity, format_si, read_quantity


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("24 MiB", "size", 24 * 2**20),
        ("24MB", "size", 24e6),
        ("8 Gbit/s", "bandwidth", 1e9),
        ("1.25 GB/s", "bandwidth", 1.25e9),
        ("33ms", "time", 0.033),
        ("200 MHz", "frequency", 2e8),
        ("4.6 pJ/MAC", "energy per operation", 4.6e-12),
        ("1 pJ/bit", "energy per byte", 8e-12),
        ("75 W", "power", 75.0),
        ("1e3 um2", "area", 1e-3),
        ("7 TMAC/s", "macs", 7e12),
        (" .5 us ", "time", 5e-7),
    ],
)
def test_reads(text: str, dimension: str, value: float) -> None:
    assert read_quantity(text, dimension, where="x") == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("24", "a size with a unit"),
        (24, "a size with a unit"),
        (2.5, "a size with a unit"),
        (None, "a size with a unit"),
        ("24 MIB", "did you mean 'MiB'"),
        ("24 ms", "one of"),
        ("-1 B", "above zero"),
        ("0 B", "above zero"),
        ("nan B", "above zero"),
        ("inf B", "above zero"),
        ("1e999 B", "above zero"),
        ("", "a size with a unit"),
        ("MiB", "a size with a unit"),
        ("1 2 B", "a size with a unit"),
    ],
)
def test_refuses_with_place_and_remedy(text: object, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_quantity(text, "size", where="edge.yaml: memories.dram.size")
    assert message in str(caught.value)
    assert str(caught.value).startswith("edge.yaml: memories.dram.size: found ")


def test_the_message_is_whole() -> None:
    with pytest.raises(SpecError) as caught:
        read_quantity("24", "size", where="edge.yaml: size")
    assert str(caught.value) == (
        "edge.yaml: size: found '24', wanted a size with a unit; write e.g. '24 kB'"
    )


def test_zero_where_it_has_a_meaning() -> None:
    assert read_quantity("0 s", "time", where="x", zero_allowed=True) == 0


@given(st.sampled_from(sorted(DIMENSIONS)), st.data())
def test_every_unit_of_every_dimension(dimension: str, data: st.DataObject) -> None:
    unit = data.draw(st.sampled_from(sorted(DIMENSIONS[dimension])))
    number = data.draw(st.floats(1e-6, 1e9))
    read = read_quantity(f"{number!r} {unit}", dimension, where="x")
    assert read == pytest.approx(number * DIMENSIONS[dimension][unit], rel=1e-12)


@given(st.floats(1e-14, 1e17))
def test_si_text_reads_back_to_three_digits(value: float) -> None:
    text = format_si(value, "J")
    number, unit = text.split(" ")
    factor = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "µ": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6,
              "G": 1e9, "T": 1e12, "P": 1e15}.get(unit[0], 1.0) if unit != "J" else 1.0  # fmt: skip
    assert float(number) * factor == pytest.approx(value, rel=6e-3)
    assert 1 <= float(number) < 1000 or not 1e-12 < value < 1e15


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.00125, "s", "1.25 ms"),
        (999.96, "J", "1.00 kJ"),
        (999.96, "s", "16.7 min"),
        (7190.0, "s", "120 min"),
        (7199.0, "s", "2 h"),
        (4.5e6, "s", "52.1 d"),
        (1e12, "s", "31,688 years"),
        (1e25, "s", "3.17e+17 years"),
        (8, "MAC", "8 MAC"),
        (8.5, "MAC", "8.50 MAC"),
        (1e21, "MAC", "1.00 ZMAC"),
        (1.5e40, "MAC", "1.50e+40 MAC"),
        (64, "", "64"),
        (3 * 2**60, "bytes", "3 EiB"),
        (2.0**75, "bytes", "3.78e+22 B"),
        (0, "J", "0 J"),
        (25165824, "bytes", "24 MiB"),
        (512, "bytes", "512 B"),
        (999.7 * 2**20, "bytes", "1000 MiB"),
        (1023 * 2**20, "bytes", "1023 MiB"),
        (math.inf, "s", "inf s"),
    ],
)
def test_formats(value: float, unit: str, text: str) -> None:
    assert format_quantity(value, unit) == text
