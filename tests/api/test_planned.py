"""Plan files: found again from anywhere, refused when impossible, predictions beside replays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from orrery import api
from orrery.errors import PlanMismatchError, SpecError
from orrery.graph import build_model, write_onnx
from orrery.plan import read_plan

#: sizes of sets, so that a search has less to list
FEW = api.MapSearch(set_sizes=(1, 8))


def _fill(folder: Path) -> None:
    """Put ``nets/m.onnx`` and ``f1.yaml`` into a folder."""
    (folder / "nets").mkdir()
    write_onnx(build_model("alexnet", image=64, width=0.125), folder / "nets/m.onnx")
    (folder / "f1.yaml").write_text(api.system_yaml("aws-f1"))


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``nets/m.onnx`` and ``f1.yaml``, which is the current one."""
    _fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a folder with the plan of the network on ``f1.yaml`` in ``out``; never changed."""
    folder = tmp_path_factory.mktemp("planned")
    _fill(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        api.map("nets/m.onnx", on="f1.yaml", search=FEW).write("out")
    return folder


@pytest.fixture
def copied(planned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `planned` as the current folder, to be changed at will."""
    folder = tmp_path / "copy"
    shutil.copytree(planned, folder)
    monkeypatch.chdir(folder)
    return folder


def test_a_plan_names_its_files_as_seen_from_its_folder(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = api.map("nets/m.onnx", on="f1.yaml", search=FEW)
    plan = result.write("a/out")["plan"]
    written = read_plan(plan)
    assert written.models[0].origin == "../../nets/m.onnx"
    assert written.system.origin == "../../f1.yaml"
    beside = read_plan(result.write("nets")["plan"])
    assert beside.models[0].origin == "./m.onnx"
    elsewhere = work / "else" / "where"
    elsewhere.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    again = api.simulate("../../a/out/plan.json")
    assert again.timeline == result.timeline
    assert again.report.holds
    # What is written anew is as seen from the new place, and found again from a third one.
    (work / "a/out/system.yaml").unlink()
    moved = again.write("new")["plan"].resolve()
    monkeypatch.chdir("/")
    assert read_plan(moved).models[0].origin == "../../../nets/m.onnx"
    assert api.simulate(moved).timeline == result.timeline
    assert api.certify(moved.parent).report.holds


def test_a_plan_finds_the_weights_of_its_network_again(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan's own record is all that names them; other weights are another network."""
    sizes = {n: c.type for n, c in build_model("resnet20").constants.items()}
    floats = {n: t for n, t in sizes.items() if t.dtype == "float32"}
    header, end = {}, 0
    for name, type_ in floats.items():
        header[name] = {"dtype": "F32", "shape": type_.sizes,
                        "data_offsets": [end, end + type_.size_bytes]}  # fmt: skip
        end += type_.size_bytes
    text = json.dumps(header).encode()
    head = len(text).to_bytes(8, "little") + text
    (work / "nets/w.safetensors").write_bytes(head + bytes(end))
    options = api.ModelOptions(weights="nets/w.safetensors")
    search = api.MapSearch(search="greedy")
    plan = api.map("resnet20", on="a100", options=options, search=search).write("a/out")["plan"]
    assert read_plan(plan).models[0].options["weights"] == "../../nets/w.safetensors"
    monkeypatch.chdir("/")
    assert api.simulate(work / plan).plan.models[0].name == "resnet20"
    assert api.certify(work / plan.parent).report.holds
    (work / "nets/w.safetensors").write_bytes(head + bytes(end - 4) + b"abcd")
    with pytest.raises(PlanMismatchError):
        api.simulate(work / plan)
    (work / "nets/w.safetensors").unlink()
    with pytest.raises(SpecError, match="no weights at"):
        api.simulate(work / plan)


def test_a_folder_with_plan_and_network_moves_as_a_whole(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeline = api.simulate("out/plan.json").timeline
    target = copied / "away"
    target.mkdir()
    for name in ("nets", "out"):
        shutil.move(copied / name, target / name)
    monkeypatch.chdir("/")
    assert api.certify(target / "out").report.holds
    # Without its tree the network may lie beside the plan.
    shutil.move(target / "nets/m.onnx", target / "out/m.onnx")
    assert api.simulate(target / "out/plan.json").timeline == timeline


def test_a_plan_of_an_earlier_version_is_as_seen_from_here(work: Path) -> None:
    search = api.MapSearch(search="greedy")
    path = api.map("nets/m.onnx", on="aws-f1", search=search).write("out")["plan"]
    document = json.loads(path.read_text())
    assert document["plan"]["system"]["origin"] == "aws-f1"
    document["plan"]["models"][0]["origin"] = "nets/m.onnx"
    path.write_text(json.dumps(document))
    assert api.simulate(path).report.holds


def test_a_network_that_is_nowhere_says_relative_to_what(copied: Path) -> None:
    path = Path("out/plan.json")
    (copied / "nets/m.onnx").rename(copied / "nets/n.onnx")
    with pytest.raises(SpecError) as caught:
        api.simulate(path)
    assert f"no model at ../nets/m.onnx, relative to {copied / 'out'}" in str(caught.value)
    assert "--model PATH" in str(caught.value)
    assert api.simulate(path, models=["nets/n.onnx"]).plan.models[0].origin == "nets/n.onnx"


def test_another_network_at_the_place_is_refused(copied: Path) -> None:
    path = copied / "out/plan.json"
    other = build_model("alexnet", image=64, width=0.125, classes=7)
    write_onnx(other, copied / "nets/m.onnx")
    with pytest.raises(PlanMismatchError):
        api.simulate(path)


def test_a_library_name_is_no_path(work: Path) -> None:
    (work / "alexnet").write_text("a file of that name")
    path = api.map("alexnet", on="a100").write("out")["plan"]
    assert read_plan(path).models[0].origin == "alexnet"


@pytest.mark.parametrize("key", ["predicted_latency_s", "lower_bound_s"])
@pytest.mark.parametrize("value", ["-1.0", "NaN", "Infinity"])
def test_an_impossible_time_is_refused(key: str, value: str, work: Path) -> None:
    path = api.map("alexnet", on="a100").write("out")["plan"]
    document = json.loads(path.read_text())
    document["plan"][key] = float(value)
    path.write_text(json.dumps(document))
    with pytest.raises(SpecError, match=f"{key}: found .*zero or more"):
        read_plan(path)


def test_the_prediction_stands_beside_the_replay(work: Path) -> None:
    result = api.map("alexnet", on="a100")
    assert "the replay takes as long." in " ".join(result.text.split())
    path = result.write("out")["plan"]
    document = json.loads(path.read_text())
    document["plan"]["predicted_latency_s"] = result.timeline.makespan_s / 2
    path.write_text(json.dumps(document))
    again = api.simulate(path)
    assert "100 % more." in " ".join(again.text.split())
    notes = next(s for s in again.page.sections if s.title == "What the figures cover")
    assert any("Predicted by" in paragraph for paragraph in notes.paragraphs)
