"""A network on the workers of this machine: right outputs, said gains, refused nonsense."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from orrery import api
from orrery.cli import main
from orrery.errors import SpecError
from orrery.graph import Graph, Node, TensorType, write_onnx
from orrery.report import Table, TimelineChart
from orrery.runtime import usable_cores
from orrery.timeline import read_timeline

pytestmark = pytest.mark.needs("onnxruntime")


def towers(layers: int = 3, size: int = 512) -> Graph:
    """Two towers of matrix products, long enough to be worth a subgraph each, and their sum."""
    rng = np.random.default_rng(0)
    nodes, constants, types = [], {}, {"x": TensorType(dtype="float32", shape=(64, size))}
    from orrery.graph import ArrayConstant

    for tower in "lr":
        before = "x"
        for k in range(layers):
            weight = rng.standard_normal((size, size)).astype(np.float32) / size**0.5
            constants[f"w{tower}{k}"] = ArrayConstant(weight)
            nodes.append(Node(name=f"{tower}{k}", op="MatMul", inputs=(before, f"w{tower}{k}"),
                              outputs=(f"{tower}y{k}",)))  # fmt: skip
            before = f"{tower}y{k}"
    last = f"y{layers - 1}"
    nodes.append(Node(name="sum", op="Add", inputs=(f"l{last}", f"r{last}"), outputs=("y",)))
    return Graph(name="towers", nodes=tuple(nodes), inputs=("x",), outputs=("y",), types=types,
                 constants=constants).infer()  # fmt: skip


def test_towers_are_placed_compared_and_right(
    hasty: None, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("ORRERY_CACHE", str(tmp_path / "cache"))
    write_onnx(towers(), tmp_path / "towers.onnx")
    arguments = [
        "run", str(tmp_path / "towers.onnx"), "--on", "this-machine", "--workers", "onnxruntime",
        "--repeats", "6", "--check", "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    # Where the subgraphs go is this machine's, at this hour; that the page says it is ours.
    assert re.search(
        r"Placed (on several workers|in subgraphs that all go to \S.*,) it takes", shown
    )
    assert "multi-path" in shown
    assert read_timeline(tmp_path / "out/timeline.json").spans
    assert np.load(tmp_path / "out/outputs.npz")["y"].shape == (64, 512)
    assert any((tmp_path / "cache/profiles").rglob("*"))


def test_the_page_and_the_figure_agree(hasty: None) -> None:
    found = api.run(towers(), on="this-machine", backends=("onnxruntime",), repeats=3, fresh=True)
    ways = next(s for s in found.page.sections if isinstance(s, Table) and "Ways" in s.title)
    medians = {row[0]: row[1] for row in ways.rows}
    # The placement, everything on all processors, and on half of them where that was quicker.
    assert len(medians) in (2, 3)
    assert found.evidence[0].value in medians.values()
    who = next(s for s in found.page.sections if isinstance(s, Table) and "Who" in s.title)
    assert sum(int(row[3]) for row in who.rows) == 7  # nodes
    workers = {row[4] for row in who.rows}
    assert len(who.rows) == 3
    assert all("onnxruntime" in str(worker) for worker in workers)
    assert any(isinstance(s, TimelineChart) for s in found.page.sections)
    assert usable_cores() >= 1


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    for wrong, message in (
        ({"on": "aws-f1"}, "run --on: found 'aws-f1', wanted this-machine; to plan for another "
         "machine, see `orrery map`"),
        ({"repeats": 0}, "run: repeats: found 0, wanted 1 or more; correct the number"),
        ({"profile": True}, "run --on: found '--profile', wanted none of these: --profile times "
         "single layers, and workers run whole subgraphs; leave them out"),
        ({"designs": True, "backend": "torch"}, "run --on: found '--backend, --designs', wanted "
         "none of these: --backend is of one back end, and each worker has its own (--workers "
         "chooses); --designs computes as the devices of a system would, and workers run as they "
         "are; leave them out"),
        ({"plan_models": ("towers.onnx",)}, "run --on: found '--plan-model', wanted none of these: "
         "--plan-model says where the network of a plan.json is, and this is a network; leave "
         "them out"),
    ):  # fmt: skip
        with pytest.raises(SpecError) as refusal:
            api.run(towers(), **{"on": "this-machine", **wrong})  # type: ignore[arg-type]
        assert str(refusal.value) == message
    with pytest.raises(SpecError, match="no such file"):
        api.run(tmp_path / "plan.json", on="this-machine")
    for wrong, named in (
        ({"backends": ("onnxruntime",)}, "--workers"),
        ({"fresh": True}, "--fresh"),
    ):
        with pytest.raises(SpecError) as refusal:
            api.run(towers(), **wrong)  # type: ignore[arg-type]
        assert str(refusal.value) == (
            f"run: found {named!r}, wanted --on this-machine with it; add it"
        )
