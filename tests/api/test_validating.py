"""The error of the nearest reference set stands beside figures, or that there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orrery.api.validating import Part, beside, error_table, known_errors
from orrery.cost.validation import OUTSIDE, recorded_sets
from orrery.evidence import Evidence
from orrery.hardware import load_architecture
from orrery.provenance import Basis, Source
from orrery.report import make_scorecard, render_card

ERRORS = {one.name: one.median for one in recorded_sets()}


def _part(operator: str = "Conv", array: str | None = "eyeriss-v1", **changed: float) -> Part:
    architecture = None if array is None else load_architecture(array)
    one = Part(operator=operator, operations=500_000_000, latency_s=1.0, energy_j=1.0,
               offchip_bytes=10.0, architecture=architecture)  # fmt: skip
    return replace(one, **changed)


def _figure(metric: str = "latency", unit: str = "s", **more: str) -> Evidence:
    return Evidence(subject="net on chip", metric=metric, value=2.0, unit=unit,
                    source=Source(basis=Basis.ESTIMATED, where="a model"),
                    context={"batch": "1", **more})  # fmt: skip


def test_a_figure_takes_the_error_of_the_set_that_speaks_for_most_of_it() -> None:
    known = known_errors([_part(latency_s=9.0), _part("Relu")])
    latency = beside(_figure(), known)
    assert latency.validation_error == ERRORS["eyeriss-silicon-latency"]
    assert latency.context["validation set"] == "eyeriss-silicon-latency (90 % of it)"
    low, high = latency.validation_range or (0.0, 0.0)
    assert 0 < low < high
    rate = beside(_figure("throughput", "inference/s"), known)
    assert rate.validation_error == latency.validation_error
    assert rate.context["validation"].startswith("measured ")
    traffic = beside(_figure("off-chip traffic", "bytes"), known)
    assert traffic.context["validation set"].startswith("eyeriss-silicon-off-chip-traffic (50 %")


def test_energy_off_chip_is_outside_every_set() -> None:
    energy = known_errors([_part(energy_j=4.0, offchip_j=1.0)])["energy"]
    assert energy.name == "eyeriss-silicon-energy (75 % of it)"
    assert "without off-chip memory" in energy.said
    assert known_errors([_part(energy_j=4.0, offchip_j=3.0)])["energy"].name == OUTSIDE


def test_what_no_set_speaks_for_says_so_once() -> None:
    known = known_errors([_part(array=None)])
    figures = [beside(_figure(), known), beside(_figure("throughput", "inference/s"), {})]
    assert all(f.validation_error is None for f in figures)
    assert all(f.context["validation set"] == OUTSIDE for f in figures)
    text = render_card(make_scorecard("net on chip", figures))
    assert text.count("reference set") == 1
    assert "no reference set speaks for throughput, latency" in text
    assert OUTSIDE not in text


def test_a_fitted_array_keeps_the_error_of_its_own_measurements() -> None:
    chip = load_architecture("eyeriss-v1")
    rows = Source(basis=Basis.MEASURED, where="rows of a user")
    fitted = replace(chip, left_out_error=0.07, sources={**chip.sources, "left_out_error": rows})
    known = known_errors([replace(_part(), architecture=fitted)])
    assert known["latency"].name == OUTSIDE
    own = replace(_figure(), validation_error=0.07)
    assert beside(own, known) == own


def test_figures_of_nothing_checkable_stay_as_they_are() -> None:
    area = replace(_figure("area", "mm2", process="65 nm"))
    unknown = replace(_figure("energy", "J"), value=None)
    assert beside(area, {}) == area
    assert beside(unknown, {}) == unknown


def test_the_card_names_the_set_beside_its_error() -> None:
    figure = beside(_figure(), known_errors([_part()]))
    text = " ".join(render_card(make_scorecard("net on chip", [figure])).split())
    known = next(one for one in recorded_sets() if one.name == "eyeriss-silicon-latency")
    low, middle, high = (f"{value:.2g}x" for value in known.multiples)
    assert f"measured {middle} this ({low} to {high}) on {known.name}, 18 rows" in text
    assert "±" not in text
    assert "reference set" not in text


def test_the_table_has_a_row_for_every_set_and_one_for_what_is_outside() -> None:
    table = error_table([_part(), _part(), _part("Relu", latency_s=2.0), _part("MaxPool")])
    rows = [row for row in table.rows if row[0] == "latency"]
    assert [row[1:5] for row in rows] == [
        ("Conv", 2, pytest.approx(40.0), "eyeriss-silicon-latency"),
        ("Relu, MaxPool", 2, pytest.approx(60.0), OUTSIDE),
    ]
    assert rows[0][5] == pytest.approx(100 * ERRORS["eyeriss-silicon-latency"])
    assert rows[0][7] < rows[0][6] < rows[0][8]
    assert rows[1][5:9] == (None, None, None, None)
    assert {row[0] for row in table.rows} == {"latency", "energy", "off-chip traffic"}


def test_a_changed_machine_of_the_name_has_not_been_measured() -> None:
    chip = load_architecture("eyeriss-v1")
    bus = replace(chip.levels[0], read_bits_per_cycle=1920.0)
    wider = replace(chip, levels=(bus, *chip.levels[1:]))
    figure = beside(_figure(), known_errors([replace(_part(), architecture=wider)]))
    assert "this (" not in figure.context["validation"]
    assert figure.context["validation"].endswith("a changed eyeriss-v1")
    assert figure.context["validation set"] == "eyeriss-silicon-latency; a changed eyeriss-v1"
    how = error_table([replace(_part(), architecture=wider)]).rows[0][-1]
    assert "a changed eyeriss-v1" in str(how)
