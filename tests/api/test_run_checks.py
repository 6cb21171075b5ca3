"""Verdicts of ``orrery run --check``: designs by what they state, outputs that say nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orrery import api
from orrery.api.checking import judge_designs, judge_outputs
from orrery.cli import main
from orrery.graph import Graph, Node, TensorType, build_model, example_inputs, write_onnx
from orrery.hardware import load_system
from orrery.mapping import GreedySearch, greedy
from orrery.plan import Infeasible, Plan, write_plan
from orrery.runtime import reference_evaluator

from ..runtime.split_plans import split_plan


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan, Graph]:
    """A small network whose convolutions are planned on designs in 16-bit fixed point."""
    from orrery.api._machines import cost_models

    folder = tmp_path_factory.mktemp("designs")
    graph = build_model("squeezenet1_1", image=64, width=0.25)
    write_onnx(graph, folder / "m.onnx")
    graph = api.load_model(folder / "m.onnx")
    system = load_system("aws-f1")
    plan = greedy([graph], system, cost_models(system), GreedySearch())
    assert not isinstance(plan, Infeasible)
    plan = replace(plan, models=(replace(plan.models[0], origin="./m.onnx"),))
    plan = replace(plan, system=replace(plan.system, origin="aws-f1"))
    write_plan(folder / "plan.json", plan)
    assert any(assignment.design for assignment in plan.assignments)
    return folder / "plan.json", plan, graph


def test_fixed_point_designs_are_judged_by_what_they_state(
    planned: tuple[Path, Plan, Graph], capsys: pytest.CaptureFixture[str]
) -> None:
    path, plan, _ = planned
    arguments = ["run", str(path), "--designs", "--check", "--backend", "reference"]
    assert main(arguments) == 0
    said = " ".join(capsys.readouterr().out.split())
    on_designs = sum(assignment.design is not None for assignment in plan.assignments)
    assert f"regions on designs: {on_designs}" in said
    assert "verdict: agrees, every design within its own stated tolerance" in said
    # Without --designs the same plan is judged by rounding alone.
    assert main(["run", str(path), "--check", "--backend", "reference"]) == 0
    assert "verdict: agrees, at most 1e-03" in " ".join(capsys.readouterr().out.split())


def _judged(planned: tuple[Path, Plan, Graph], outputs: object = None) -> object:
    _, plan, graph = planned
    given = example_inputs(graph, seed=0)
    if outputs is None:
        outputs = api.run(planned[0], backend="reference", designs=True, inputs=given).outputs
    return judge_designs(
        plan, [graph], given, outputs, otherwise=reference_evaluator, rounding=1e-3,  # type: ignore[arg-type]
    )  # fmt: skip


def test_an_execution_that_mixes_tensors_up_is_found(planned: tuple[Path, Plan, Graph]) -> None:
    """Every region alone is right, and yet the outputs are not."""
    given = example_inputs(planned[2], seed=0)
    outputs = api.run(planned[0], backend="reference", designs=True, inputs=given).outputs
    assert _judged(planned, outputs).agrees  # type: ignore[attr-defined]
    wrong = {name: np.roll(value, 1) + 0.5 for name, value in outputs.items()}
    judged = _judged(planned, wrong)
    assert not judged.agrees  # type: ignore[attr-defined]
    assert judged.lines[-1] == "verdict: differs from what the designs compute"  # type: ignore[attr-defined]


def test_a_design_beyond_its_own_tolerance_is_named(
    planned: tuple[Path, Plan, Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    from orrery import accel

    honest = accel.resolve

    def tighter(text: str) -> accel.Accelerator:
        made = honest(text)
        return replace(made, tolerance=replace(made.tolerance, bound=None))

    monkeypatch.setattr(accel, "resolve", tighter)
    judged = _judged(planned)
    assert not judged.agrees  # type: ignore[attr-defined]
    assert "is beyond the tolerance of its design" in judged.failures[0]  # type: ignore[attr-defined]
    assert judged.lines[-1].startswith("verdict: differs: ")  # type: ignore[attr-defined]


def test_a_split_plan_on_designs_is_judged_too(
    planned: tuple[Path, Plan, Graph], tmp_path: Path
) -> None:
    _, plan, graph = planned
    split = split_plan([graph], load_system("aws-f1"), 3, fuse=False)
    design = next(a.design for a in plan.assignments if a.design)
    convolutions = {node.name for node in graph.nodes if node.op == "Conv"}
    split = replace(
        split,
        models=(replace(split.models[0], origin=str(planned[0].parent / "m.onnx")),),
        system=replace(split.system, origin="aws-f1"),
        assignments=tuple(
            replace(a, design=design) if set(a.nodes) <= convolutions and a.split is None else a
            for a in split.assignments
        ),
    )
    write_plan(tmp_path / "plan.json", split)
    result = api.run(tmp_path / "plan.json", backend="reference", designs=True, check=True)
    assert result.agrees, result.judgement


def test_outputs_that_are_nothing_but_nan_are_not_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = Graph(
        name="nan",
        nodes=(
            Node(name="e", op="Exp", inputs=("x",), outputs=("a",)),
            Node(name="n", op="Neg", inputs=("a",), outputs=("b",)),
            Node(name="r", op="Sqrt", inputs=("b",), outputs=("y",)),
        ),
        inputs=("x",),
        outputs=("y", "a"),
        types={"x": TensorType(dtype="float32", shape=(4,))},
    ).infer()
    write_onnx(graph, tmp_path / "nan.onnx")
    arguments = ["run", str(tmp_path / "nan.onnx"), "--backend", "reference", "--repeats", "2"]
    assert main([*arguments, "--check"]) == 1
    assert "every element of y is NaN" in " ".join(capsys.readouterr().out.split())
    assert main([*arguments, "--check", "--json"]) == 1
    json.loads(capsys.readouterr().out)
    assert main(arguments) == 0


def test_the_verdict_names_its_limit() -> None:
    one = {"y": np.ones(3, np.float32)}
    assert judge_outputs(one, one, 1e-3).lines[-1].startswith("verdict: agrees, at most 1e-03")
    other = judge_outputs({"y": np.full(3, 1.1)}, one, 1e-3)
    assert not other.agrees
    assert other.lines[-1].startswith("verdict: differs, by more than 1e-03")
    some = {"y": np.array([1.0, np.nan])}
    assert judge_outputs(some, some, 1e-3).agrees
    assert judge_outputs({"y": np.zeros(0)}, {"y": np.zeros(0)}, 1e-3).agrees
