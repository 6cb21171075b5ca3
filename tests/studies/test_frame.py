"""Records that claim nothing they cannot bear out, and studies as a user conducts them."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import orrery
from orrery.cli import main
from orrery.errors import CancelledError, SpecError, UnknownNameError
from orrery.progress import Progress, Step
from orrery.provenance import Basis
from orrery.registry import Registry
from orrery.report import render_text
from orrery.studies import CATALOGUE, Record, Study, StudyResult, compared, conduct
from orrery.studies import _conduct as frame

FIELDS = ["study", "name", "unit", "published", "ours", "basis", "source", "judge", "judge_value",
          "status", "note", "seconds"]  # fmt: skip


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    studies = [
        Study(name=name, question=f"Is the {name} right?", source="Euclid, book 2",
              place=f"tests.studies.fakes:{name}")
        for name in ("broken", "square")
    ]  # fmt: skip
    monkeypatch.setattr(frame, "CATALOGUE", tuple(studies))


def _record(**changes: Any) -> Record:
    plain: dict[str, Any] = {
        "name": "gain", "unit": "%", "published": 32.2, "ours": 32.2, "basis": Basis.ESTIMATED,
        "source": "table 4", "judge": "", "judge_value": None, "status": "match", "note": "",
    }  # fmt: skip
    return Record(**(plain | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"basis": Basis.PUBLISHED}, "a copied constant is no result"),
        ({"ours": float("nan")}, "ours: found nan"),
        ({"status": "mach"}, "did you mean 'match'"),
        ({"published": None}, "nothing to hold against"),
        ({"ours": None}, "nothing to hold against"),
        ({"status": "differs"}, "wanted the reason"),
        ({"status": "not reproducible", "ours": None}, "wanted the reason"),
    ],
)
def test_a_record_claims_nothing_it_cannot_bear_out(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        _record(**changes)


def test_status_is_worked_out() -> None:
    common = {"basis": Basis.SIMULATED, "source": "table 4"}
    near = compared("gain", "%", ours=32.4, published=32.2, **common)
    assert (near.status, near.note) == ("match", "0.621 % from the published, within 1 %")
    far = compared("gain", "%", ours=40.0, published=32.2, note="link rates unknown", **common)
    assert far.status == "differs"
    assert far.note.endswith("beyond 1 %; link rates unknown")
    assert far.ratio == pytest.approx(40 / 32.2)
    judged = compared("cost", "s", ours=2.0, judge="brute force", judge_value=2.0, **common)
    assert (judged.status, judged.ratio) == ("match", None)
    assert compared("faults", "", ours=0, published=0, **common).status == "match"
    assert compared("faults", "", ours=1, published=0, **common).status == "differs"
    with pytest.raises(SpecError, match="something to compare with"):
        compared("gain", "%", ours=1.0, **common)


def test_names_of_records_differ() -> None:
    with pytest.raises(SpecError, match="'gain' twice"):
        StudyResult(records=(_record(), _record()))


def test_every_study_of_the_catalogue_can_be_loaded() -> None:
    names = [study.name for study in CATALOGUE]
    assert len(set(names)) == len(names)
    for study in CATALOGUE:
        assert isinstance(Registry("study", {study.name: study.place})[study.name], Callable)
        assert study.question.endswith("?")


@pytest.mark.usefixtures("fakes")
def test_a_study_is_conducted_from_python(tmp_path: Path) -> None:
    run = orrery.study("square", scale=2.0)
    assert [d["status"] for d in run.documents] == ["match", "not reproducible"]
    assert run.page.title == "Study square"
    files = run.write(tmp_path / "out")
    assert all(path.is_file() for path in files.values())
    written = json.loads(files["records"].read_text())
    assert written["orrery"]["kind"] == "study"
    assert written["study"]["records"] == [
        {k: v for k, v in document.items() if k != "study"} for document in run.documents
    ]
    with pytest.raises(UnknownNameError, match="did you mean 'square'"):
        orrery.study("squares")
    for scale in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(SpecError, match="--scale"):
            conduct("square", scale=scale)


@pytest.mark.usefixtures("fakes")
def test_a_study_says_how_far_it_is_and_loses_nothing_at_the_end() -> None:
    seen: list[Step] = []
    asked = iter([False, False])  # once before it begins, once by the study; then nobody asks
    conduct("square", progress=Progress(report=seen.append, cancelled=lambda: next(asked)))
    assert [(step.task, step.done) for step in seen] == [
        ("study square", 0), ("square", 1), ("study square", 1)]  # fmt: skip
    with pytest.raises(CancelledError):
        conduct("square", progress=Progress(cancelled=lambda: True))


@pytest.mark.usefixtures("fakes")
def test_the_command_prints_the_published_beside_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "square", "--scale", "3"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "1 differs, 1 not reproducible" in text
    assert "area: differs. 125 % from the published, beyond 1 %" in text
    assert "It has four sides." in text
    assert main(["study", "square", "--out", str(tmp_path), "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [list(record) for record in records] == [FIELDS, FIELDS]
    assert records[0]["ours"] == 1.0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"records.json", "report.html", "report.json", "report.txt"}


@pytest.mark.usefixtures("fakes")
def test_all_goes_on_past_a_study_that_cannot_be_conducted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "--all", "--out", str(tmp_path), "--json"]) == 2
    captured = capsys.readouterr()
    assert {record["study"] for record in json.loads(captured.out)} == {"square"}
    assert "study broken: the exact search: found no package 'unobtainium'" in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["square"]
    assert main(["study", "broken"]) == 2
    capsys.readouterr()
    assert main(["study", "broken", "square", "--json"]) == 2
    assert {r["study"] for r in json.loads(capsys.readouterr().out)} == {"square"}
    assert main(["study", "square", "sqare"]) == 2
    assert capsys.readouterr().out == ""  # nothing ran before the name was found wrong


@pytest.mark.usefixtures("fakes")
def test_studies_are_listed_with_their_question(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study"]) == 0
    assert "Is the square right?" in capsys.readouterr().out
    assert main(["study", "square", "--all"]) == 2
    assert "one of the two" in capsys.readouterr().err
    assert main(["study", "square", "--out", __file__]) == 2
    assert "--out: found 'a file at" in capsys.readouterr().err
    assert main(["study", "sqare"]) == 2
    assert "did you mean 'square'" in capsys.readouterr().err


@pytest.mark.usefixtures("fakes")
def test_full_size_runs_keep_their_records_with_machine_and_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(__file__).parents[2] / "scripts" / "full_size.py"
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("full_size", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "full_size", script)
    spec.loader.exec_module(script)
    monkeypatch.setattr("bench._record.RESULTS", tmp_path)
    assert script.main(["square"]) == 0
    assert "area" in capsys.readouterr().out
    (written,) = tmp_path.iterdir()
    assert written.name.endswith("-study-square.json")
    body = json.loads(written.read_text())
    assert {"date", "machine", "study", "scale", "seconds", "records"} == set(body)
    assert [list(record) for record in body["records"]] == [FIELDS, FIELDS]
    assert script.main(["sqare"]) == 2


def test_what_was_never_published_agrees_with_its_judge() -> None:
    common: dict[str, Any] = {"unit": "s", "published": None, "ours": 1.0, "judge_value": 1.0}
    records = (
        _record(name="a", judge="brute force", **common),
        _record(name="b", judge="brute force", **{**common, "ours": 2.0}, status="differs",
                note="slower"),
        _record(name="c"),
    )  # fmt: skip
    run = frame.StudyRun(study=CATALOGUE[0], scale=1.0, seconds=1.0,
                         result=StudyResult(records=records))  # fmt: skip
    assert [d["status"] for d in run.documents] == ["match", "differs", "match"]
    text = " ".join(render_text(run.page).split())
    assert "1 agreeing with the judge, nothing published" in text
    assert "1 differing from the judge, nothing published, 1 match" in text
    assert "agrees with brute force" in text
    assert "b: differs from brute force. slower" in text
