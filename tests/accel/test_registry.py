"""Calls are parsed, never executed; what is wrong is refused with the nearest right thing."""

from __future__ import annotations

import contextlib
import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.accel import ACCELERATORS, describe, resolve
from orrery.errors import OrreryError, SpecError, UnknownNameError
from orrery.provenance import Basis


def test_a_name_alone_takes_the_defaults() -> None:
    assert resolve("systolic") == ACCELERATORS["systolic"]()


def test_the_canonical_name_holds_every_parameter() -> None:
    for name in ACCELERATORS.names():
        parameters = inspect.signature(ACCELERATORS[name]).parameters
        canonical = ACCELERATORS[name]().name
        assert canonical == describe(name, {k: p.default for k, p in parameters.items()})


def test_spaces_and_order_do_not_matter() -> None:
    assert resolve(" tiled( tn = 5 ,tm=8 ) ") == resolve("tiled(tm=8, tn=5)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sistolic(rows=4)", "did you mean 'systolic'"),
        ("systolic(row=4)", "did you mean 'rows'"),
        ("systolic(4)", "without a name"),
        ("systolic(**{'rows': 4})", "name=literal"),
        ("systolic(rows=2*4)", "name=literal"),
        ("systolic(rows=-4)", "rows: found -4, wanted a number above zero"),
        ("systolic(rows=-True)", "name=literal"),
        ("systolic(rows=--4)", "name=literal"),
        ("systolic(rows=4.0)", "a whole number"),
        ("systolic(rows=True)", "a whole number"),
        ("systolic(rows='4')", "a whole number"),
        ("systolic(rows=0)", "above zero"),
        ("systolic(clock_mhz=0)", "above zero"),
        ("systolic(clock_mhz=1e400)", "above zero"),
        ("tiled(overlap=1)", "True or False"),
        ("tiled(precision='fixd16')", "did you mean 'fixed16'"),
        ("tiled(part='vu9')", "did you mean 'vu9p'"),
        ("winograd(tile=3)", "2 or 4"),
        ("systolic(rows=4, rows=5)", "each parameter once"),
        ("__import__('os').system('true')", "a call such as"),
        ("systolic(rows=4)(cols=4)", "a call such as"),
        ("lambda: 0", "a call such as"),
        ("", "a call such as"),
        ("systolic(rows=" + "(" * 300 + ")", "a call such as"),
        ("systolic(rows=" + "9" * 500 + ")", "stay below"),
        ("\0", "a call such as"),
    ],
)
def test_bad_calls_are_refused(text: str, message: str) -> None:
    with pytest.raises((SpecError, UnknownNameError), match=message):
        resolve(text)


@given(st.text(max_size=60))
def test_any_text_is_refused_or_read(text: str) -> None:
    with contextlib.suppress(OrreryError):
        resolve(text)


@pytest.mark.parametrize(
    "text",
    [
        "tiled(tm=64, tn=9)",  # 576 float32 MACs of 5 slices, 2800 on the part
        "systolic(rows=32, cols=32, vector=8)",  # 8192 of 6840
        "winograd(tile=4, pm=16, pn=16)",  # 9216 of 6840
    ],
)
def test_more_multipliers_than_the_part_has_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match="DSP slices"):
        resolve(text)


def test_more_buffer_than_the_part_has_is_refused() -> None:
    with pytest.raises(SpecError, match="at most 44280 on vu9p"):
        resolve("systolic(buffer_kib=50000)")


def test_only_the_published_point_is_called_published() -> None:
    assert resolve("tiled").device.compute.sources["clock_hz"].basis is Basis.PUBLISHED
    for text in ("tiled(tm=32)", "tiled(clock_mhz=150)", "systolic", "winograd"):
        sources = resolve(text).device.compute.sources
        assert {s.basis for s in sources.values()} == {Basis.ASSUMED}


def test_energy_is_known_only_on_the_published_board() -> None:
    from tests.conformance.kit import conv_region

    region, published = conv_region(), resolve("tiled")
    cost = published.cost.cost(region, published.device)
    # 18.61 W while it runs, to within the last clock cycle.
    assert cost.energy_j == pytest.approx(18.61 * cost.latency_s, rel=1e-3)
    assert published.cost.cost(region, resolve("systolic").device).energy_j is None
    for text in ("tiled(tm=32)", "systolic", "winograd"):
        other = resolve(text)
        assert other.cost.cost(region, other.device).energy_j is None
