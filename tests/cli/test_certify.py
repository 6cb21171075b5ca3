"""``orrery certify``: what `map` wrote holds; what somebody changed does not, and it says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.api.split_plans import plan_on_sets

from orrery import api
from orrery.api.judging import judge_plan
from orrery.certificate import read_certificate
from orrery.cli import main
from orrery.graph import build_model, write_onnx
from orrery.plan import write_plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mapped")
    write_onnx(build_model("squeezenet1_1", image=64), out / "net.onnx")
    assert main(["map", str(out / "net.onnx"), "--on", "aws-f1", "--out", str(out)]) == 0
    return out


def test_a_mapping_says_that_its_certificate_holds(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "certificate: holds" in (folder / "report.html").read_text()
    assert main(["certify", str(folder)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("certificate: holds\n")
    assert "lower bound" in text and "gap" in text
    assert "sets of 1, 2, 4, 8 equal devices" in text or "whole layers" in text
    assert main(["certify", str(folder / "certificate.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["holds"] is True
    assert main(["simulate", str(folder / "plan.json")]) == 0
    assert "certificate: holds" in capsys.readouterr().out


def test_a_changed_certificate_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("plan.json", "system.yaml", "net.onnx"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    document = json.loads((folder / "certificate.json").read_text())
    document["certificate"]["makespan_ps"] -= 1
    (tmp_path / "certificate.json").write_text(json.dumps(document))
    assert main(["certify", str(tmp_path)]) == 1
    text = capsys.readouterr().out
    assert "does not hold" in text and "makespan: certificate: found" in text
    (tmp_path / "certificate.json").unlink()
    assert main(["certify", str(tmp_path)]) == 2


def test_a_split_plan_is_judged_written_and_certified(tmp_path: Path) -> None:
    graph = build_model("resnet18", image=32)
    write_onnx(graph, tmp_path / "net.onnx")
    graph, system = api.load_model(str(tmp_path / "net.onnx")), api.load_system("aws-f1")
    names = [device.name for device in system.devices]
    plan = plan_on_sets(graph, system, [tuple(names[:4]), tuple(names[4:6])])
    result = judge_plan([graph], system, plan)
    assert result.report.holds, str(result.report)
    result.write(tmp_path / "out")
    write_plan(tmp_path / "out" / "plan.json", plan)
    checked = api.certify(tmp_path / "out", models=[str(tmp_path / "net.onnx")])
    assert checked.report.holds, checked.text
    assert checked.certificate == read_certificate(tmp_path / "out" / "certificate.json")
    assert checked.certificate.makespan_ps == result.timeline.makespan_ps
