"""Reference sets replayed: what is cheap to replay comes out as recorded; worse is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from orrery.cli import main
from orrery.cost.validation import ValidationSet, read_sets, recorded_sets
from orrery.errors import SpecError, UnknownNameError
from orrery.report import render_text
from orrery.studies import StudyResult, ValidationRun, _validate, validate
from orrery.studies._validate import compare
from orrery.studies.gemmini import _study as gemmini

SYSTOLIC = ("systolic-input", "systolic-output", "systolic-weight")


@pytest.fixture(scope="module")
def systolic() -> ValidationRun:
    return validate(SYSTOLIC)


def _known(name: str) -> ValidationSet:
    return next(one for one in recorded_sets() if one.name == name)


def _better(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that a set was recorded with smaller errors."""
    sets = [replace(one, median=one.median - 0.01) for one in recorded_sets()]
    monkeypatch.setattr(_validate, "recorded_sets", lambda: tuple(sets))


def test_cheap_sets_come_out_as_recorded(systolic: ValidationRun) -> None:
    assert sorted(one.now.name for one in systolic.replays) == sorted(SYSTOLIC)
    assert {one.verdict for one in systolic.replays} == {"as recorded"}
    assert systolic.worse == ()
    assert not systolic.skipped


def test_the_chip_comes_out_as_recorded_at_a_small_scale() -> None:
    names = ("eyeriss-silicon-latency", "eyeriss-silicon-energy", "eyeriss-silicon-total",
             "eyeriss-silicon-power", "tpu-silicon-latency", "tpu-silicon-convolution",
             "row-stationary-energy-convolution", "row-stationary-energy-dense")  # fmt: skip
    run = validate(names, scale=0.01)
    found = {one.now.name: one for one in run.replays}
    assert {one.verdict for one in found.values()} == {"as recorded"}
    assert found["eyeriss-silicon-total"].now.count == _known("eyeriss-silicon-total").count
    assert found["eyeriss-silicon-latency"].now.count == 2  # our own nests, of one layer a network
    for one in found.values():  # what is said of a set is the study's, not typed into the file
        known = _known(one.now.name)
        for field in ("study", "quantity", "unit", "against", "architecture", "dataflow",
                      "operators", "bits", "covers", "adapted", "reserve", "explained",
                      "source"):  # fmt: skip
            assert getattr(one.now, field) == getattr(known, field)
    # only the first layer's energies are looked for: compared over its rows
    assert found["row-stationary-energy-convolution"].now.count == 1
    assert run.skipped == {"row-stationary-energy-dense": "no rows at scale 0.01"}


def test_a_set_whose_data_are_not_here_is_skipped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gemmini, "data_file", lambda: None)
    run = validate(["gemmini-rtl-product"])
    assert not run.replays
    assert "firesim_results.csv" in run.skipped["gemmini-rtl-product"]
    assert "Skipped" in render_text(run.page)
    assert run.missed == ("gemmini-rtl-product",)
    assert main(["validate", "--set", "gemmini-rtl-product", "--fail-if-worse"]) == 1
    assert main(["validate", "--set", "gemmini-rtl-product"]) == 0
    missing = ["validate", "--set", "gemmini-rtl-product", "--allow-missing"]
    assert main([*missing, "--fail-if-worse"]) == 0
    assert main(missing) == 2
    run.record(tmp_path / "sets.yaml")
    assert read_sets(tmp_path / "sets.yaml") == recorded_sets()  # and so kept


def test_sets_that_are_not_the_engine_on_the_catalogue_speak_for_nothing() -> None:
    speaking = {one.name for one in recorded_sets() if not one.adapted and one.study == "eyeriss"}
    assert speaking == {
        *(f"eyeriss-silicon-{name}" for name in ("latency", "energy", "off-chip-traffic")),
        *(f"eyeriss-v2-layout-{name}" for name in (
            "latency", "energy", "convolution-energy", "depthwise-energy")),
    }  # fmt: skip
    for name in ("eyeriss-v2-layout-latency", "tpu-silicon-latency", "tpu-silicon-convolution"):
        assert _known(name).unconfirmed
    assert _known("eyeriss-v2-layout-latency").most_operations < 10**9
    assert all(len(one.multiples) == 3 for one in recorded_sets())


def test_verdicts() -> None:
    known = _known("systolic-output")
    assert compare(known, None).verdict == "new"
    assert compare(known, replace(known, median=known.median - 0.002)).verdict == "worse"
    assert compare(known, replace(known, p90=known.p90 - 0.002)).verdict == "worse"
    assert compare(known, replace(known, worst=known.worst + 0.002)).verdict == "better"
    assert compare(known, replace(known, median=known.median - 0.0005)).verdict == "as recorded"
    chip = _known("eyeriss-silicon-latency")
    assert compare(chip, chip).verdict == "as recorded"
    assert compare(replace(chip, bias=-chip.bias), chip).verdict == "worse"
    low, middle, high = chip.multiples
    for moved in ((low, 1 / middle, high), (low / 1.01, middle, high), (low, middle, 1.01 * high)):
        assert compare(replace(chip, multiples=moved), chip).verdict == "worse"
    fewer = replace(known, rows=known.rows[:2], count=2)
    shared = compare(fewer, known)
    assert shared.verdict == "as recorded"
    assert shared.before is not None
    assert shared.before.count == 2
    blind = compare(fewer, replace(known, rows=()))
    assert blind.verdict == "not compared"
    run = ValidationRun(scale=0.5, seconds=1.0, replays=(blind,), skipped={})
    assert "it cannot fail" in " ".join(render_text(run.page).split())
    assert run.missed == ()
    for lost in (blind, shared):  # nobody asked for fewer rows
        run = ValidationRun(scale=1.0, seconds=1.0, replays=(lost,), skipped={})
        assert run.missed == (known.name,)
        assert "2 rows, recorded were 4" in " ".join(render_text(run.page).split())


def test_the_report_shows_every_row_and_what_explains_it(systolic: ValidationRun) -> None:
    text = render_text(systolic.page, width=160)
    assert "as recorded" in text
    assert "systolic-weight: no error remains" in text
    assert "32 x 32" in text
    row = next(d for d in systolic.documents if d["name"] == "systolic-output")
    assert (row["status"], len(row["rows"])) == ("as recorded", 4)
    assert row["recorded"]["median"] == pytest.approx(row["median"], abs=1e-6)


def test_unknown_names_and_strange_scales_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="systolic-output"):
        validate(["systolic-outputs"])
    for scale in (0.0, float("nan"), -1.0):
        with pytest.raises(SpecError, match="--scale"):
            validate(SYSTOLIC, scale=scale)


def test_only_a_full_replay_is_recorded(systolic: ValidationRun, tmp_path: Path) -> None:
    path = tmp_path / "sets.yaml"
    with pytest.raises(SpecError, match="scale"):
        replace(systolic, scale=0.5).record(path)
    assert not path.exists()
    systolic.record(path)
    assert {one.name for one in read_sets(path)} == {one.name for one in recorded_sets()}
    gone = replace(systolic, skipped={"eyeriss-silicon-latency": _validate.GONE})
    gone.record(path)
    assert "eyeriss-silicon-latency" not in {one.name for one in read_sets(path)}


def test_the_command_fails_where_it_got_worse(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked = ["validate", "--set", "systolic-output"]
    assert main([*asked, "--fail-if-worse", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["status"] == "as recorded"
    _better(monkeypatch)
    assert main([*asked, "--out", str(tmp_path / "found")]) == 0
    assert "Worse than recorded" in capsys.readouterr().out
    assert (tmp_path / "found" / "validation.json").is_file()
    assert main([*asked, "--fail-if-worse"]) == 1
    assert main(["validate", "--set", "systolic-outptu"]) == 2
    assert main([*asked, "--scale", "0.5", "--record", str(tmp_path / "sets.yaml")]) == 2
    assert "leave out --scale" in capsys.readouterr().err


def test_a_study_that_makes_a_set_no_more_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fewer(scale: float, progress: object) -> StudyResult:
        del scale, progress
        return StudyResult(records=(), sets=(_known("systolic-input"),))

    monkeypatch.setattr("orrery.studies.systolic.systolic_study", fewer)
    run = validate(SYSTOLIC)
    assert run.skipped == dict.fromkeys(SYSTOLIC[1:], _validate.GONE)


def test_a_set_that_is_skipped_fails_though_nobody_named_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def found(**skipped: str) -> None:
        run = ValidationRun(scale=1.0, seconds=1.0, replays=(), skipped=skipped)
        monkeypatch.setattr("orrery.api.validate", lambda *_, **__: run)

    found(one="no data")
    assert main(["validate", "--fail-if-worse"]) == 1
    assert "with --allow-missing it does not" in capsys.readouterr().out
    assert main(["validate", "--fail-if-worse", "--allow-missing"]) == 0
    found(one=_validate.GONE)
    assert main(["validate", "--fail-if-worse", "--allow-missing"]) == 1
    found()
    assert main(["validate", "--fail-if-worse"]) == 0
