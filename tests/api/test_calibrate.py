"""From a table of measured layers to a device with intervals: a made-up truth is the judge."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orrery import api
from orrery.api.calibrating import read_calibration
from orrery.api.calibrating._samples import read_tables, regions_of
from orrery.cli import main
from orrery.cost import roofline, work_of
from orrery.errors import SpecError, UnknownNameError
from orrery.graph import build_model, write_onnx
from orrery.hardware import (
    Calibration,
    load_architecture,
    load_system,
    read_system_text,
    write_system,
)
from orrery.plan import Infeasible, ModelReference, Plan, SystemReference, write_plan
from orrery.progress import SILENT
from orrery.provenance import Basis, Source

from ..cost.small import chain

NETWORKS = ("squeezenet1_1", "resnet20", "resnet56")
SOURCE = Source(basis=Basis.MEASURED, where="made up")
TRUTH = Calibration(
    mac_share={"convolution": 0.45, "matrix-product": 0.6}, others_share=0.2, bandwidth_share=0.7,
    overhead_s=4e-6, sources=dict.fromkeys(
        ("mac_share", "others_share", "bandwidth_share", "overhead_s"), SOURCE),
)  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    true = replace(load_system("desktop-cpu").devices[0], calibration=TRUTH)
    path = tmp_path_factory.mktemp("measured") / "layers.csv"
    write_onnx(build_model("resnet56"), path.parent / "resnet56.onnx")
    with path.open("w", newline="", encoding="utf-8") as handle:
        rows = csv.writer(handle)
        rows.writerow(("network", "layer", "latency_us"))
        for name in NETWORKS:
            for region in build_model(name).regions():
                seconds = roofline.cost(region, true).latency_s
                noisy = 1e6 * seconds * np.exp(0.1 * random.standard_normal())
                if seconds:
                    rows.writerow(("resnet56.onnx" if name == "resnet56" else name, region.name,
                                   f"{noisy:.4f}"))  # fmt: skip
    return path


@pytest.fixture(scope="module")
def result(table: Path) -> api.CalibrationResult:
    return api.calibrate("desktop-cpu", table)


def test_the_device_is_written_with_its_constants(result: api.CalibrationResult) -> None:
    system = read_system_text(result.yaml)
    found = system.devices[0].calibration
    assert found is not None
    assert found.mac_share["convolution"] == pytest.approx(0.45, rel=0.15)
    assert found.overhead_s == pytest.approx(4e-6, rel=0.15)
    assert found.sources["overhead_s"].basis is Basis.MEASURED
    assert "layers.csv (content " in found.sources["overhead_s"].where
    assert write_system(system) == result.yaml
    assert system.digest != load_system("desktop-cpu").digest


def test_the_report_says_errors_coverage_and_what_is_open(result: api.CalibrationResult) -> None:
    text = api.page_text(result.page, width=110, rows=50)
    assert "before" in text
    assert "80% intervals" in text
    assert "networks left out" in text
    assert "resnet56.onnx" in text
    latency = result.file.latency
    assert latency.errors["median error after"] < 0.2 < latency.errors["median error before"]
    assert [one.network for one in latency.networks] == sorted(
        "resnet56.onnx" if name == "resnet56" else name for name in NETWORKS)  # fmt: skip


def test_plans_on_the_device_are_slower_and_have_an_interval(
    result: api.CalibrationResult, tmp_path: Path
) -> None:
    files = result.write(tmp_path / "out")
    assert read_calibration(files["calibration"]) == result.file
    plain = api.map("resnet20", on="desktop-cpu")
    mapped = api.map("resnet20", on=files["device"])
    before, after = (next(f for f in m.evidence if f.metric == "latency") for m in (plain, mapped))
    assert before.interval is None
    assert after.value > before.value
    assert after.interval is not None
    assert after.interval[0] < after.value < after.interval[1]
    assert after.context["confidence"] == "80% of layers"
    assert after.context["validation set"] == "measured layers of networks left out"
    assert after.validation_error == pytest.approx(0.07, abs=0.05)
    assert "interval of one layer" in after.source.note


def test_the_command_writes_and_prints(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["calibrate", "desktop-cpu", str(table), "--out", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["report"]["title"] == "cpu of desktop-cpu, calibrated"
    assert {path.name for path in out.iterdir()} == {
        "calibrated.yaml", "calibration.json", "report.html", "report.json", "report.txt",
    }  # fmt: skip


def _refused(path: Path, text: str, said: str, device: str = "desktop-cpu") -> None:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as error:
        api.calibrate(device, path)
    assert said in str(error.value)


def test_bad_tables_are_refused_with_the_line(tmp_path: Path) -> None:
    path, head = tmp_path / "m.csv", "network,layer,latency_s\n"
    _refused(path, head + "resnet20,conv9,1\n", "m.csv:2: layer: found 'conv9'")
    _refused(path, head + "resnet20,conv9,1\n", "did you mean 'conv1'")
    _refused(path, head + "resnet2,conv1,1\n", "m.csv:2: network: found 'resnet2'")
    _refused(path, head + "resnet20,conv1,1\n", "1 network', wanted 3 or more")
    work = "network,layer,operator,dtype,macs,other_operations,bytes,latency_s\n"
    _refused(path, work + "a,b,convolution,int2,9,9,9,1\n", "without rate of MACs in int2")


def test_other_bad_input_is_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="wanted a readable file"):
        api.calibrate("desktop-cpu", tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(b"network,layer,latency_s\nn\xe9t,a,1\n")
    with pytest.raises(SpecError, match="not UTF-8"):
        api.calibrate("desktop-cpu", tmp_path / "latin.csv")
    with pytest.raises(SpecError, match="and below 1"):
        api.calibrate("desktop-cpu", table, confidence=1.0)
    with pytest.raises(UnknownNameError):
        api.calibrate("desktop-cpu", table, of="gpu")
    with pytest.raises(SpecError, match="kinds of devices"):
        api.calibrate("h2h", table)


@pytest.mark.needs("onnxruntime")
def test_a_profile_of_this_machine_is_such_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["run", "resnet20", "--profile", "--repeats", "2", "--out", str(out)]) == 0
    assert "Layers" in capsys.readouterr().out
    rows = list(csv.DictReader((out / "layers.csv").read_text(encoding="utf-8").splitlines()))
    layers = {region.name for region in build_model("resnet20").regions()}
    assert {row["layer"] for row in rows} <= layers
    assert {row["network"] for row in rows} == {"resnet20"}
    with pytest.raises(SpecError, match="wanted 3 or more"):
        api.calibrate("desktop-cpu", [out / "layers.csv"])


@pytest.mark.needs("onnxruntime")
def test_a_profile_states_its_batch_and_is_read_with_it(tmp_path: Path) -> None:
    tables = []
    for batch in (None, 4):
        options = api.ModelOptions(batch=batch)
        ran = api.run("resnet20", profile=True, repeats=2, options=options)
        tables.append(ran.write(tmp_path / str(batch))["layers"])
    rows, _ = read_tables(tables, None)
    taken = {dict(row.taken).get("batch") for row in rows}
    assert taken == {None, "4"}
    regions = regions_of(rows, None, SILENT)
    work = {
        row.taken: sum(work_of(region).macs.values())
        for row, region in regions
        if row.layer == "conv1"
    }
    assert work[(("batch", "4"),)] == 4 * work[()]
    with pytest.raises(SpecError, match="state the options in both tables, or in neither"):
        regions_of(rows, api.ModelOptions(batch=4), SILENT)
    with pytest.raises(SpecError, match="leave out --batch"):
        regions_of(rows, api.ModelOptions(batch=2), SILENT)


def test_options_of_tables_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    _refused(
        path, "network,layer,batch,latency_s\nresnet20,conv1,0,1\n", "m.csv:2: batch: found '0'"
    )
    _refused(
        path, "network,layer,phase,latency_s\nresnet20,conv1,decod,1\n", "did you mean 'decode'"
    )
    _refused(path, "network;layer;latency_s\nresnet20;conv1;1\n", "cells with semicolons between")
    path.write_text("network,layer,latency_s\nresnet20,conv1,1\n", encoding="utf-8")
    with pytest.raises(SpecError, match="each table once"):
        api.calibrate("desktop-cpu", [path, path])
    with pytest.raises(
        UnknownNameError, match=r"no system or array named 'gemini-16', .*gemmini-16"
    ):
        api.calibrate("gemini-16", path)


def test_only_networks_on_onnxruntime_are_profiled(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="leave out --profile"):
        api.run("resnet20", backend="reference", profile=True)
    path = tmp_path / "plan.json"
    write_plan(path, Plan(
        models=(ModelReference(name="resnet20", digest="0"),),
        system=SystemReference(name="laptop", digest="0"), assignments=(), transfers=(),
        objective="latency", searcher="nobody",
    ))  # fmt: skip
    with pytest.raises(SpecError, match="leave out --profile"):
        api.run(path, profile=True)


def test_an_array_is_fitted_and_its_nests_have_an_interval(tmp_path: Path) -> None:
    """Cycles of the array itself, a little noise, 500 cycles more per layer."""
    random = np.random.default_rng(1)
    path = tmp_path / "cycles.csv"
    rows = ["network,layer,latency_cycles"]
    for size in (32, 64, 128):
        graph = chain(4, size)
        write_onnx(graph, tmp_path / f"{size}.onnx")
        for one in api.nest(graph, on="weight-stationary-32").layers:
            if one.operator == "MatMul" and one.cycles is not None:
                cycles = (one.cycles + 500) * np.exp(0.05 * random.standard_normal())
                rows.append(f"{size}.onnx,{one.layer},{cycles:.0f}")
    path.write_text("\n".join(rows), encoding="utf-8")
    result = api.calibrate("weight-stationary-32", path)
    overhead = next(c for c in result.constants if c.name == "overhead of a run")
    clock_hz = load_architecture("weight-stationary-32").clock_hz
    assert overhead.value == pytest.approx(500 / clock_hz, rel=0.15)
    text = api.page_text(result.page, width=110, rows=50)
    assert "In %" not in text  # no constant of an array is a share
    assert "if the price has the right form" in " ".join(text.split())
    files = result.write(tmp_path / "out")
    mapped = api.nest(graph, on=str(files["device"]))
    latency = next(figure for figure in mapped.evidence if figure.metric == "latency")
    assert mapped.architecture.overhead_s == pytest.approx(overhead.value)
    assert not latency.bound  # every layer has a nest
    assert latency.interval is not None
    assert latency.interval[0] < latency.value < latency.interval[1]
    assert latency.context["confidence"] == "80% of layers"
    work = "network,layer,operator,dtype,macs,other_operations,bytes,latency_s\n"
    _refused(path, work + "a,b,convolution,int8,9,9,9,1\n", "work without shapes",
             "weight-stationary-32")  # fmt: skip


def test_layers_that_an_array_has_no_nest_for_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers of one size fit nowhere: their rows are left out, and the report says so."""
    from orrery.mapping import nest as searching

    search = searching.nest_network

    def narrow(problems: Any, *args: Any, **options: Any) -> dict[str, Any]:
        found = search(problems, *args, **options)
        none = Infeasible(what="words", need=2, have=1, unit="word", remedies=())
        return {key: none if 48 in dict(problems[key].loops).values() else nest
                for key, nest in found.items()}  # fmt: skip

    monkeypatch.setattr(searching, "nest_network", narrow)
    rows = ["network,layer,latency_us"]
    for number, size in enumerate((32, 48, 64, 96)):
        graph = chain(5, size)
        write_onnx(graph, tmp_path / f"{size}.onnx")
        rows += [f"{size}.onnx,{region.name},{10 * number + place + 1}"
                 for place, region in enumerate(graph.regions())]  # fmt: skip
    path = tmp_path / "m.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    result = api.calibrate("weight-stationary-32", path)
    assert {one.network for one in result.file.latency.networks} == {
        "32.onnx", "64.onnx", "96.onnx",
    }  # fmt: skip
    assert any("no nest, e.g. 48.onnx: " in said for said in result.file.warnings)
