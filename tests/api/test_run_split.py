"""``orrery run`` of a plan with split regions: as the whole network, with what was sent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orrery import api
from orrery.cli import main
from orrery.cost import expand
from orrery.graph import MODELS, Graph, build_model, read_onnx, write_onnx
from orrery.hardware import load_system
from orrery.plan import Plan, write_plan

from ..runtime.split_plans import announced, split_plan


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan, Graph]:
    """A small residual network spread at random over the sets of eight devices."""
    folder = tmp_path_factory.mktemp("split")
    write_onnx(build_model("resnet18", **MODELS["resnet18"].small), folder / "m.onnx")
    graph, system = read_onnx(folder / "m.onnx"), load_system("aws-f1")
    plan = split_plan([graph], system, 3, fuse=False)
    plan = replace(
        plan, models=(replace(plan.models[0], origin=str(folder / "m.onnx")),),
        system=replace(plan.system, origin="aws-f1"),
    )  # fmt: skip
    write_plan(folder / "plan.json", plan)
    return folder / "plan.json", plan, graph


def test_a_split_plan_runs_and_says_what_was_sent(planned: tuple[Path, Plan, Graph]) -> None:
    path, plan, graph = planned
    result = api.run(path, backend="reference", check=True)
    assert result.agrees
    assert result.worst_error is not None
    assert result.worst_error < 1e-5
    figures = {figure.metric: figure for figure in result.evidence}
    assert list(figures) == ["latency", "processes", "messages", "message bytes"]
    table = announced(expand(plan, [graph], load_system("aws-f1")))
    assert figures["messages"].value == sum(count for count, _ in table.values())
    assert figures["message bytes"].value == sum(size for _, size in table.values())
    ends = {device for a in plan.assignments for device in a.devices} | {"host"}
    assert figures["processes"].value == len(ends)
    assert "processes" in figures["latency"].source.note
    assert result.timeline is not None
    assert {span.resource for span in result.timeline.spans} == ends


@pytest.mark.needs("onnxruntime")
def test_the_command_checks_and_writes(
    planned: tuple[Path, Plan, Graph], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _, graph = planned
    assert main(["run", str(path), "--check", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "messages: " in said
    assert "message bytes: " in said
    with np.load(tmp_path / "out" / "outputs.npz") as outputs:
        assert set(outputs) == set(graph.outputs)
    evidence = json.loads((tmp_path / "out" / "evidence.json").read_text())
    assert "message bytes" in json.dumps(evidence)


def test_a_split_plan_of_another_network_is_refused(
    planned: tuple[Path, Plan, Graph], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _, _ = planned
    write_onnx(
        build_model("resnet18", **MODELS["resnet18"].small | {"classes": 11}), tmp_path / "m.onnx"
    )
    other = str(tmp_path / "m.onnx")
    assert main(["run", str(path), "--plan-model", other, "--backend", "reference"]) == 2
    assert "plan" in capsys.readouterr().err
