"""What figures claim: batches are stated, bounds are bounds, assumptions are marked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import orrery
from orrery.api import MapSearch, ModelOptions
from orrery.errors import SpecError
from orrery.graph import Graph, Node, TensorType, build_model, write_onnx
from orrery.hardware import Device, System, load_system


def _figure(result: object, metric: str):  # type: ignore[no-untyped-def]
    return next(e for e in result.evidence if e.metric == metric)  # type: ignore[attr-defined]


def _image(*shape: int | str) -> Graph:
    return Graph(
        name="g",
        nodes=(Node(name="relu", op="Relu", inputs=("x",), outputs=("y",)),),
        inputs=("x",),
        outputs=("y",),
        types={"x": TensorType(dtype="float32", shape=shape)},
    ).infer()


def test_a_leading_dimension_is_not_taken_for_a_batch(tmp_path: Path) -> None:
    write_onnx(_image(3, 224, 224), tmp_path / "one.onnx")
    result = orrery.map(tmp_path / "one.onnx", on="v100")
    rate, latency = _figure(result, "throughput"), _figure(result, "latency")
    assert rate.context["batch"] == "1"
    assert rate.value == pytest.approx(1 / latency.value)


def test_a_stated_batch_counts(tmp_path: Path) -> None:
    write_onnx(_image("N", 3, 8, 8), tmp_path / "many.onnx")
    for options in (ModelOptions(batch=4), ModelOptions(shape=("N=4",))):
        result = orrery.map(tmp_path / "many.onnx", on="v100", options=options)
        assert _figure(result, "throughput").context["batch"] == "4"
    assert _figure(orrery.map("alexnet", on="v100", options=ModelOptions(batch=2)), "latency")
    with pytest.raises(SpecError, match="leading size"):
        orrery.load_model(_image(3, 8, 8), ModelOptions(batch=5))


def _changed(system: System, **fields: object) -> System:
    device: Device = replace(system.devices[0], **fields)  # type: ignore[arg-type]
    return replace(system, devices=(device,))


def test_energy_without_idle_power_is_a_lower_bound_and_power_is_not_known() -> None:
    result = orrery.map("alexnet", on="v100", needs=["power<1000W", "energy<1000J", "energy<1nJ"])
    energy, power = _figure(result, "energy"), _figure(result, "power")
    assert energy.bound == "lower"
    assert "idle power" in energy.source.note
    assert power.value is None
    assert [v.status for v in result.verdicts] == ["not known", "not known", "fail"]
    assert "≥" in result.text


def test_average_power_is_never_below_idle_power() -> None:
    v100 = load_system("v100")
    source = next(iter(v100.devices[0].sources.values()))
    sources = {**v100.devices[0].sources, "idle_power_w": source}
    system = _changed(v100, idle_power_w=40.0, sources=sources)
    result = orrery.map(["alexnet", "squeezenet1_1", "resnet18"], on=system)
    assert _figure(result, "power").value >= 40.0
    assert _figure(result, "energy").bound == ""


def test_assumed_constants_mark_every_figure_that_rests_on_them() -> None:
    text = orrery.map("alexnet", on="aws-f1", search=MapSearch(set_sizes=(1, 8))).text
    latency = next(line for line in text.splitlines() if line.startswith("Latency"))
    assert "on assumed" in " ".join(text.split(latency)[1].split()[:20]) or "on assumed" in latency


def test_networks_of_one_inner_name_go_by_their_files(tmp_path: Path) -> None:
    for name in ("left", "right"):
        write_onnx(_image(1, 3, 8, 8), tmp_path / f"{name}.onnx")
    files = [tmp_path / "left.onnx", tmp_path / "right.onnx"]
    result = orrery.map(files, on="aws-f1")
    assert [m.name for m in result.plan.models] == ["left", "right"]
    result.write(tmp_path / "out")
    assert orrery.simulate(tmp_path / "out/plan.json").timeline == result.timeline


def test_a_plan_finds_its_network_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_onnx(_image(1, 3, 8, 8), tmp_path / "net.onnx")
    orrery.map("net.onnx", on="aws-f1").write("out")
    moved = tmp_path / "elsewhere"
    (tmp_path / "out").rename(moved)
    (tmp_path / "net.onnx").rename(moved / "net.onnx")
    monkeypatch.chdir("/")
    assert orrery.simulate(moved / "plan.json").plan.models[0].name == "g"
    (moved / "net.onnx").unlink()
    with pytest.raises(SpecError, match="--model"):
        orrery.simulate(moved / "plan.json")


def test_this_machine_is_written_beside_its_plan(tmp_path: Path) -> None:
    desktop = replace(load_system("desktop-cpu"), name="this-machine")
    result = orrery.map("alexnet", on=desktop)
    result.write(tmp_path)
    assert orrery.simulate(tmp_path / "plan.json").timeline == result.timeline


def test_files_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    result = orrery.map("alexnet", on="v100")
    with pytest.raises(SpecError, match="a folder"):
        result.write(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    fresh = tmp_path / "new"
    (tmp_path / "new").write_text("a file")
    with pytest.raises(OSError):
        result.write(fresh)
    assert fresh.read_text() == "a file"


def test_operators_of_a_device_must_exist(tmp_path: Path) -> None:
    system = _changed(load_system("v100"), operators=("Conv", "Cnv"))
    path = tmp_path / "mine.yaml"
    from orrery.hardware import write_system

    path.write_text(write_system(system))
    with pytest.raises(SpecError, match="did you mean 'Conv'"):
        orrery.load_system(path)


@pytest.mark.needs("onnxruntime")
def test_outputs_of_any_name_are_written(tmp_path: Path) -> None:
    import numpy as np

    graph = replace(
        _image(2, 3),
        nodes=(Node(name="n", op="Relu", inputs=("x",), outputs=("file",)),),
        outputs=("file",),
    ).infer()
    result = orrery.run(graph, repeats=1)
    files = result.write(tmp_path)
    with np.load(files["outputs"]) as archive:
        np.testing.assert_array_equal(archive["file"], result.outputs["file"])


def test_a_reduced_network_of_the_library_trains_on_a_machine() -> None:
    step = orrery.load_model(
        build_model("resnet18", image=32, width=0.125), ModelOptions(training=True)
    )
    result = orrery.map(step, on="a100")
    assert result.price.coverage.complete
    forward = orrery.map(build_model("resnet18", image=32, width=0.125), on="a100")
    assert result.price.total.macs_nominal > 2 * forward.price.total.macs_nominal
