"""`orrery score --out`: files that `score` reads back to the same card; all or none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orrery import api
from orrery.cli import main
from orrery.errors import SpecError
from orrery.evidence import Evidence
from orrery.graph import build_model, write_onnx
from orrery.report import Page
from orrery.store import read_record

FOUR = str(Path(__file__).parent / "four-boards.yaml")
FILES = {"evidence.json", "report.html", "report.json", "report.txt"}


@pytest.fixture
def network(tmp_path: Path) -> str:
    path = tmp_path / "net.onnx"
    write_onnx(build_model("alexnet", image=64, width=0.05), path)
    return str(path)


def test_what_is_written_scores_the_same(
    network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["score", network, "--on", FOUR, "--out", str(out), "--need", "latency<9s"]) == 0
    assert f"report: {out / 'report.html'}" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == FILES
    first = json.loads((out / "report.json").read_text())["report"]
    two = tmp_path / "two"
    assert main(["score", str(out / "evidence.json"), "--json", "--out", str(two)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["report"]["scorecard"] == first["scorecard"]
    assert set(document["files"]) == {"evidence", "report", "report data", "report text"}
    kind = tuple[Evidence, ...]
    once = read_record(out / "evidence.json", "evidence", kind, 1)
    again = read_record(two / "evidence.json", "evidence", kind, 1)
    assert once == again and any(figure.metric == "latency" for figure in once)


def test_a_need_that_is_not_met_is_written_too(network: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["score", network, "--on", FOUR, "--need", "latency<1ps", "--out", str(out)]) == 1
    assert {path.name for path in out.iterdir()} == FILES


def test_nothing_is_written_where_one_file_cannot_be(network: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "report.txt").mkdir(parents=True)
    assert main(["score", network, "--on", FOUR, "--out", str(out)]) == 2
    assert [path.name for path in out.iterdir()] == ["report.txt"]
    with pytest.raises(SpecError, match="no scorecard"):
        api.write_card(Page(title="plain"), tmp_path)
