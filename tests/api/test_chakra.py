"""`orrery simulate --chakra` and `orrery chakra`: out and back, ending when the replay did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orrery import api
from orrery.cli import main
from orrery.errors import SpecError
from orrery.graph import build_model
from orrery.sim import ChakraNode, ChakraTrace, encode_chakra, read_chakra

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


def _write(folder: Path, *names: str, **more: object) -> None:
    folder.mkdir(exist_ok=True)
    node = ChakraNode(id=0, name="n", type="COMP", duration_micros=3)
    for name in names:
        (folder / name).write_bytes(encode_chakra(ChakraTrace(nodes=(node,), **more)))  # type: ignore[arg-type]


def test_files_of_another_run_or_rank_are_refused(tmp_path: Path) -> None:
    _write(tmp_path / "gap", "x.0.et", "x.2.et")
    with pytest.raises(SpecError, match="rank 1 missing"):
        api.chakra([tmp_path / "gap"])
    _write(tmp_path / "twice", "x.0.et", "x.00.et")
    with pytest.raises(SpecError, match="rank 0 twice"):
        api.chakra([tmp_path / "twice"])
    _write(tmp_path / "two", "a.0.et", "b.0.et")
    with pytest.raises(SpecError, match=r"2 runs: a.RANK.et, b.RANK.et"):
        api.chakra([tmp_path / "two"])
    _write(tmp_path / "rank", "a.0.et", attributes={"rank": 3})
    with pytest.raises(SpecError, match="the trace of rank 3"):
        api.chakra([tmp_path / "rank"])


@pytest.mark.parametrize("text", ["{", "[]", '{"g": [7]}', '{"g": 1}', '{"g": [true]}'])
def test_groups_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    _write(tmp_path, "a.0.et")
    (tmp_path / "groups.json").write_text(text)
    with pytest.raises(SpecError, match=r"groups.json.*groups by name"):
        api.chakra([tmp_path])


def test_the_page_tells_of_links_and_of_unknown_versions(tmp_path: Path) -> None:
    _write(tmp_path, "a.0.et", version="9.9.9")
    text = str(api.chakra([tmp_path]).page.sections[0])
    assert "a.0.et: schema version 9.9.9" in text and "Links and their contention" in text
