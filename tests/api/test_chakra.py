"""`orrery simulate --chakra` and `orrery chakra`: out and back, ending when the replay did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orrery import api
from orrery.cli import main
from orrery.errors import SpecError
from orrery.graph import build_model
from orrery.sim import read_chakra

FOUR = str(Path(__file__).parent / "four-boards.yaml")


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from orrery.graph import write_onnx

    folder = tmp_path_factory.mktemp("plan")
    write_onnx(build_model("alexnet", image=64, width=0.1), folder / "net.onnx")
    search = api.read_search(None, api.MapSearch(set_sizes=(1,)))
    api.map(str(folder / "net.onnx"), on=FOUR, search=search).write(folder / "out")
    return folder / "out" / "plan.json"


def test_whole_layers_out_and_back_end_when_the_replay_did(planned: Path, tmp_path: Path) -> None:
    result = api.simulate(planned, chakra=tmp_path / "traces")
    assert not result.plan.is_split
    devices = json.loads((tmp_path / "traces" / "devices.json").read_text())
    assert {a.device for a in result.plan.assignments} <= set(devices)
    run = api.chakra([tmp_path / "traces"])
    assert len(run.traces) == len(devices)
    assert run.timeline.makespan_ps == result.timeline.makespan_ps
    computed = {s.name: (s.resource, s.end_ps - s.start_ps)
                for s in result.timeline.spans if s.kind == "compute"}  # fmt: skip
    again = {s.name: (s.resource, s.end_ps - s.start_ps)
             for s in run.timeline.spans if s.kind == "compute"}  # fmt: skip
    assert computed == again
    first = read_chakra(tmp_path / "traces" / "chakra.0.et")
    convolution = next(n for n in first.nodes if n.type == "COMP" and "conv1" in n.name)
    macs = result.price.per_region[convolution.name].macs_nominal
    assert convolution.attributes["num_ops"] >= 2 * macs > 0  # type: ignore[operator]


def test_the_commands(planned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    traces = tmp_path / "traces"
    assert main(["simulate", str(planned), "--chakra", str(traces)]) == 0
    assert f"traces: {traces}" in capsys.readouterr().out
    assert main(["chakra", str(traces), "--out", str(tmp_path / "played")]) == 0
    shown = capsys.readouterr().out
    assert "Chakra execution traces, played" in shown and "played/report.html" in shown
    assert (tmp_path / "played" / "timeline.json").is_file()
    assert main(["chakra", str(tmp_path / "played")]) == 2
    assert "no file NAME.RANK.et" in capsys.readouterr().err
    with pytest.raises(SpecError, match="wanted an execution trace"):
        api.chakra([planned])
