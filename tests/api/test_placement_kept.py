"""Placements that are kept as plans and run again; plans that do not fit where they are run."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orrery import api
from orrery.api.keeping import WHOLE, WORKER, backend_version, machine_facts, machine_here
from orrery.cli import main
from orrery.errors import PlanMismatchError, SpecError
from orrery.graph import Graph, example_inputs, write_onnx
from orrery.plan import (
    Assignment,
    KernelSchedule,
    ModelReference,
    Plan,
    Transfer,
    read_plan,
    write_plan,
)
from orrery.report import Page, Text
from orrery.runtime.processes import why_not
from orrery.runtime.together import core_sets

from .test_run_here import towers

pytestmark = pytest.mark.needs("onnxruntime")

SETS = list(core_sets())  #: all processors, and the halves where there are two


def on(worker: str, **other: Any) -> tuple[str, KernelSchedule]:
    """Return a worker's name, and the schedule that a plan has for it."""
    said = {"backend": "onnxruntime", "version": backend_version("onnxruntime"), "device": worker,
            "processors": core_sets().get(worker, ()), "phase": 1, **other}  # fmt: skip
    return f"{worker} {said['backend']}", KernelSchedule(space=WORKER, parameters=said)


def plan_for(graph: Graph, **other: Any) -> Plan:
    """Return a plan with a tower on each half of the processors, as the command writes them."""
    left, right = on(SETS[-1], **other), on(SETS[-2] if len(SETS) > 1 else SETS[-1])
    towers_ = {side: tuple(n.name for n in graph.nodes if n.name[0] == side and n.name != "sum")
               for side in "lr"}  # fmt: skip
    return Plan(
        models=(ModelReference(name=graph.name, digest=graph.digest),), system=machine_here(),
        assignments=(
            Assignment(region="p0a", nodes=towers_["l"], device=left[0], schedule=left[1]),
            Assignment(region="p0b", nodes=towers_["r"], device=right[0], schedule=right[1]),
            Assignment(region="p1", nodes=("sum",), device=right[0], schedule=right[1],
                       after=("p0a", "p0b")),
        ),
        transfers=(), objective="latency", searcher="by hand", predicted_latency_s=1e-4,
        settings={**machine_facts(), "rounds": 9, "measured_s": 2e-9, "measured_low_s": 1e-9,
                  "measured_high_s": 3e-9, f"{WHOLE}{SETS[0]} onnxruntime": 1e-3},
    )  # fmt: skip


@pytest.fixture
def graph() -> Graph:
    return towers(layers=2, size=32)


@pytest.fixture
def kept(graph: Graph, tmp_path: Path) -> Path:
    write_onnx(graph, tmp_path / "towers.onnx")
    plan = plan_for(graph)
    path = tmp_path / "out/plan.json"
    write_plan(path, replace(plan, models=(replace(plan.models[0], origin="../towers.onnx"),)))
    return path


def changed(path: Path, **other: Any) -> Path:
    write_plan(path, replace(read_plan(path), **other))
    return path


def said(page: Page, title: str) -> str:
    found = [s for s in page.sections if isinstance(s, Text) and s.title == title]
    return "\n".join(line for section in found for line in section.paragraphs)


def test_a_kept_plan_is_run_as_it_is(
    kept: Path, graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise RuntimeError("a kept plan must be neither timed nor searched")

    monkeypatch.setattr("orrery.api.placing._ready.choose", never)
    given = {"x": np.random.default_rng(1).standard_normal((64, 32)).astype(np.float32)}
    for where in (None, "this-machine"):
        found = api.run(kept, on=where, inputs=given, repeats=3, check=True)
        assert found.agrees
        assert found.timeline is not None
        spans = {span.name: span.resource for span in found.timeline.spans}
        assert spans == read_plan(kept).device_of()
        np.testing.assert_allclose(found.outputs["y"], graph.evaluate(given)["y"], atol=1e-4)
    text = said(found.page, "Then and now")
    assert "3 rounds). Nothing was compared" in text
    assert "When it was placed it took 2.00 ns (1.00 ns to 3.00 ns, 9 rounds)" in text
    assert "outside what both intervals allow" in text
    assert found.evidence[0].context["backend"] == "a kept placement"


@pytest.mark.parametrize("here", [True, False])
def test_a_kept_plan_on_processes_is_run_on_them_where_there_can_be_any(
    kept: Path, graph: Graph, here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not here:
        monkeypatch.setattr("orrery.runtime.processes._network.why_not", lambda: "told so")
    elif (reason := why_not()) is not None:
        pytest.skip(reason)
    first, *others = read_plan(kept).assignments
    schedule = on(SETS[-1], kind="process")[1]
    apart = replace(first, device=f"{first.device} process", schedule=schedule)
    changed(kept, assignments=(apart, *others))
    given = {"x": np.random.default_rng(1).standard_normal((64, 32)).astype(np.float32)}
    found = api.run(kept, inputs=given, repeats=3)
    np.testing.assert_allclose(found.outputs["y"], graph.evaluate(given)["y"], atol=1e-4)
    assert found.timeline is not None
    spans = {span.name: span.resource for span in found.timeline.spans}
    assert spans["p0a"] == (apart if here else first).device
    assert ("Its workers are threads now" in said(found.page, "Then and now")) is not here


def test_what_is_written_again_is_the_same_plan(kept: Path, tmp_path: Path) -> None:
    again = tmp_path / "elsewhere"
    assert main(["run", str(kept), "--repeats", "2", "--onnx", "--out", str(again)]) == 0
    written = {path.name for path in again.iterdir()}
    assert written == {
        "outputs.npz", "evidence.json", "timeline.json", "plan.json", "nodes.csv", "report.html",
        "report.json", "report.txt", "placed.onnx",
    }  # fmt: skip
    old, new = read_plan(kept), read_plan(again / "plan.json")
    assert new.models[0].origin == "../towers.onnx"
    assert replace(new, models=old.models) == old
    spans = json.loads((again / "timeline.json").read_text())["traceEvents"]
    assert {e["name"] for e in spans if e["ph"] == "X"} == {"p0a", "p0b", "p1"}
    rows = list(csv.DictReader((again / "nodes.csv").open()))
    assert [row["node"] for row in rows] == ["l0", "l1", "r0", "r1", "sum"]
    assert rows[0]["worker"] == old.assignments[0].device
    assert rows[-1] == {
        "node": "sum", "operator": "Add", "worker": old.assignments[2].device, "region": "p1",
        "back end": "onnxruntime", "version": backend_version("onnxruntime"), "phase": "1",
        "device": SETS[-2] if len(SETS) > 1 else SETS[-1],
    }  # fmt: skip
    assert main(["run", str(again / "plan.json"), "--repeats", "1"]) == 0
    # Other commands take the evidence.
    assert main(["score", str(again / "evidence.json")]) == 0
    assert main(["diff", str(again), str(again)]) == 0


def test_another_network_is_refused(kept: Path, tmp_path: Path) -> None:
    write_onnx(towers(layers=2, size=64), tmp_path / "towers.onnx")
    with pytest.raises(PlanMismatchError, match="plan: model 'towers': found content") as refusal:
        api.run(kept)
    assert "make the plan again or give the original model" in str(refusal.value)


def test_another_machine_is_refused_and_said(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = read_plan(kept)
    elsewhere = {**plan.settings, "machine": "far: another processor", "processors": "0-63"}
    changed(kept, system=replace(plan.system, digest="0" * 40), settings=elsewhere)
    here = machine_facts()
    with pytest.raises(SpecError) as refusal:
        api.run(kept)
    assert str(refusal.value) == (
        f"{kept}: machine: found {here['machine'] + ', processors ' + here['processors']!r}, "
        "wanted the machine that the plan was made on (far: another processor, processors 0-63); "
        "place the network anew here with --fresh, or run the plan there"
    )
    # A machine of the same making and another name is said, and used.
    changed(kept, system=replace(plan.system, name="twin"), settings=plan.settings)
    text = said(api.run(kept, repeats=1).page, "Then and now")
    assert f"The plan was made on twin; this is {plan.system.name}" in text


def test_another_version_of_a_back_end_is_said(kept: Path, graph: Graph) -> None:
    changed(kept, assignments=plan_for(graph, version="0.9").assignments)
    text = said(api.run(kept, repeats=1).page, "Then and now")
    assert f"onnxruntime was 0.9 when the plan was made and is {backend_version('onnxruntime')} " \
        "now" in text  # fmt: skip


def test_without_a_worker_the_whole_network_runs_and_it_is_said(kept: Path, graph: Graph) -> None:
    changed(kept, assignments=plan_for(graph, backend="openvino-of-old").assignments)
    found = api.run(kept, repeats=1, check=True)
    assert found.agrees
    assert found.evidence[0].context["backend"] == f"{SETS[0]} onnxruntime"
    text = said(found.page, "Then and now")
    assert (
        f"The plan's worker '{SETS[-1]} openvino-of-old' is not here: no back end named "
        "'openvino-of-old', did you mean 'openvino'?; known: onnxruntime, openvino, reference, "
        "torch."
    ) in text
    assert f"So the whole network runs on {SETS[0]} onnxruntime; --fresh places it anew." in text
    assert found.timeline is not None
    assert {span.name for span in found.timeline.spans} == {"whole"}
    assert found.placed is not None  # one story: what is written says what ran
    assert set(found.placed.plan.device_of().values()) == {f"{SETS[0]} onnxruntime"}
    assert "openvino-of-old" not in found.placed.nodes()
    assert found.placed.plan.settings["rounds"] == 1


def test_without_any_worker_it_is_refused(kept: Path, graph: Graph) -> None:
    plan = read_plan(kept)
    settings = {k: v for k, v in plan.settings.items() if not k.startswith(WHOLE)}
    changed(kept, assignments=plan_for(graph, backend="gone").assignments, settings=settings)
    with pytest.raises(SpecError) as refusal:
        api.run(kept)
    assert str(refusal.value) == (
        f"plan of towers: workers: found \"The plan's worker '{SETS[-1]} gone' is not here: no "
        "back end named 'gone'; known: onnxruntime, openvino, reference, torch\", wanted them, or "
        "a worker that the whole network was timed on; install what is missing, or place the "
        "network anew with --fresh"
    )


def test_a_back_end_that_was_uninstalled_is_named_with_what_installs_it(
    kept: Path, graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orrery.api.placing import _replay

    real = backend_version
    changed(kept, assignments=plan_for(graph, backend="openvino").assignments)
    monkeypatch.setattr(_replay, "backend_version", lambda n: "" if n == "openvino" else real(n))
    text = said(api.run(kept, repeats=1).page, "Then and now")
    assert (
        f"The plan's worker '{SETS[-1]} openvino' is not here: a kept placement: found no package "
        "'openvino', wanted it installed; run: pip install 'orrery[openvino]'."
    ) in text


def test_a_device_that_is_gone_is_named(kept: Path, graph: Graph) -> None:
    changed(kept, assignments=tuple(
        replace(a, device="cuda:9 torch", schedule=on("cuda:9", backend="torch")[1])
        if a.region == "p0a" else a for a in read_plan(kept).assignments
    ))  # fmt: skip
    text = said(api.run(kept, repeats=1).page, "Then and now")
    assert "The plan's worker 'cuda:9 torch' is not here: worker 'torch@cuda:9': device: found " \
        "'cuda:9', wanted one that is here: " in text  # fmt: skip
    assert f"So the whole network runs on {SETS[0]} onnxruntime" in text


def test_a_plan_that_leaves_nodes_out_is_refused(kept: Path) -> None:
    changed(kept, assignments=read_plan(kept).assignments[:2])
    with pytest.raises(SpecError, match="found 'nobody for sum', wanted every node once"):
        api.run(kept)


def test_a_plan_that_does_not_name_its_back_end_is_refused(kept: Path) -> None:
    parts = read_plan(kept).assignments
    nameless = replace(parts[0], schedule=KernelSchedule(space=WORKER))
    changed(kept, assignments=(nameless, *parts[1:]))
    with pytest.raises(SpecError, match=r"region 'p0a': backend: found 'nothing', wanted text"):
        api.run(kept)


ALTERED = {
    "no assignments": (r"assignments: found 'none', wanted one or more", {}),
    "another back end": (
        r"assignments\[0\]: region 'p0a': worker: found '(.*) onnxruntime', wanted \1 tvm, as its",
        {"backend": "tvm"},
    ),
    "another device": (r"worker: found '.*', wanted cpu7 onnxruntime, as its", {"device": "cpu7"}),
    "other processors": (r"processors: found \[7\], wanted those of its device, cpu",
                         {"processors": (7,)}),
    "no numbers": (r"processors: found \('a',\), wanted a list of whole numbers",
                   {"processors": ("a",)}),
    "schedule": (r"region 'p0a': backend: found 'nothing', wanted text", {}),
    "another kind": (r"'p0a': kind: found 'ghost', wanted thread or process", {"kind": "ghost"}),
    "kind": (r"'p0a': worker: found '.*', wanted .* process, as its", {"kind": "process"}),
    "after": (r"'p0a': after: found 'p1', wanted regions that come before it", {}),
    "no after": (r"'p1': after: found 'none', wanted p0a, p0b", {}),
    "phase": (r"'p0a': phase: found 'zzz', wanted a whole number", {"phase": "zzz"}),
    "no network": (r"models: found 'none', wanted one network", {}),
    "energy": (r"objective: found 'energy', wanted latency", {}),
    "a design": (r"'p0a': design, split: found 'made up', wanted none here", {}),
    "a transfer": (r"transfers\[0\]: 'x': found 'from .*', wanted what one worker makes", {}),
    "weights": (r"resident_bytes: found 'nobody', wanted workers of the plan", {}),
    "turned times": (r"measured_s, measured_high_s: found .*, wanted rising",
                     {"measured_low_s": 1000.0}),
    "rounds": (r"settings: rounds: found 'many', wanted a whole number", {"rounds": "many"}),
    "a long time": (r"settings: measured_s: found 1e\+300, wanted seconds", {"measured_s": 1e300}),
}  # fmt: skip


@pytest.mark.parametrize("what", ALTERED)
def test_a_plan_that_contradicts_itself_is_refused(kept: Path, what: str) -> None:
    message, other = ALTERED[what]
    plan = read_plan(kept)
    first, rest = plan.assignments[0], plan.assignments[1:]
    if what == "no assignments":
        changed(kept, assignments=())
    elif what == "no after":
        changed(kept, assignments=(*plan.assignments[:-1], replace(rest[-1], after=())))
    elif what == "no network":
        changed(kept, models=())
    elif what == "energy":
        changed(kept, objective="energy")
    elif what == "a design":
        changed(kept, assignments=(replace(first, design="made up"), *rest))
    elif what == "a transfer":
        changed(kept, transfers=(Transfer(
            tensor="x", size_bytes=1, source=first.device, targets=(rest[-1].device,),
            producer="p0a", consumers=("p1",), links=((),)),))  # fmt: skip
    elif what == "weights":
        changed(kept, resident_bytes={"nobody": 5})
    elif what in ("turned times", "rounds", "a long time"):
        changed(kept, settings={**plan.settings, **other})
    elif what == "after":
        changed(kept, assignments=(replace(first, after=("p1",)), *rest))
    elif what == "schedule":
        changed(kept, assignments=(replace(first, schedule=None), *rest))
    else:
        assert first.schedule is not None
        said = {**first.schedule.parameters, **other}
        altered = replace(first, schedule=KernelSchedule(space=WORKER, parameters=said))
        changed(kept, assignments=(altered, *rest))
    with pytest.raises(SpecError, match=message):
        api.run(kept)


@pytest.mark.parametrize("value", ["abc", "NaN", -1.0, 0, True])
@pytest.mark.parametrize("key", [f"{WHOLE}{SETS[0]} onnxruntime", "measured_s"])
def test_a_time_that_is_none_is_refused(kept: Path, key: str, value: object) -> None:
    changed(kept, settings={**read_plan(kept).settings, key: value})
    with pytest.raises(SpecError, match=f"settings: {key}: found .*, wanted seconds, more than 0"):
        api.run(kept)


def test_two_machines_that_sound_alike_are_told_apart(kept: Path) -> None:
    plan = read_plan(kept)
    changed(kept, system=replace(plan.system, digest="0" * 40))
    with pytest.raises(SpecError) as refusal:
        api.run(kept)
    here = plan.system.digest[:12]
    assert f", fingerprint {here} (processor, caches, vector units, GPUs)'" in str(refusal.value)
    assert ", fingerprint 000000000000)" in str(refusal.value)


def test_a_plan_for_a_system_is_not_placed_here(kept: Path) -> None:
    changed(
        kept,
        assignments=tuple(replace(a, schedule=None) for a in read_plan(kept).assignments),
        settings={},
    )
    with pytest.raises(SpecError) as refusal:
        api.run(kept, on="this-machine")
    assert str(refusal.value) == (
        f"{kept} with --on this-machine: found 'a plan for the devices of {machine_here().name}', "
        "wanted a network, or a plan that was made with --on this-machine; leave out --on: this "
        "machine then plays those devices"
    )


def test_fresh_places_anew(kept: Path, hasty: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from orrery.api.placing import _open

    asked: list[Mapping[str, Any]] = []
    real = _open.place_now

    def noted(*arguments: Any, **options: Any) -> Any:
        asked.append(options)
        return real(*arguments, **options)

    monkeypatch.setattr(_open, "place_now", noted)
    plan = read_plan(kept)
    changed(kept, system=replace(plan.system, digest="0" * 40))  # no matter where it came from
    found = api.run(kept, backends=("reference",), repeats=1, fresh=True)
    assert len(asked) == 1
    assert asked[0]["fresh"]
    assert found.plan is not None
    assert found.plan.models[0].origin.endswith("towers.onnx")
    assert found.plan.system == machine_here()
    assert "placed anew: its own placement is not used" in said(found.page, "Placed anew")


def test_options_that_a_kept_plan_does_not_take(kept: Path) -> None:
    for wrong, named in (
        ({"backend": "torch"}, "--backend"), ({"designs": True}, "--designs"),
        ({"profile": True}, "--profile"), ({"backends": ("torch",)}, "--workers"),
        ({"options": api.ModelOptions(batch=2)}, "network options"),
    ):  # fmt: skip
        with pytest.raises(SpecError) as refusal:
            api.run(kept, **wrong)  # type: ignore[arg-type]
        assert str(refusal.value) == (
            f"run {kept}: found {named!r}, wanted none of these: the plan knows its network and "
            "workers; leave them out, or place the network anew with --fresh"
        )


def test_other_commands_say_whose_plan_it_is(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", str(kept)]) == 2
    assert capsys.readouterr().err.strip() == (
        f"orrery: {kept}: found 'a plan for the workers of {machine_here().name}', wanted one for "
        f"the devices of a system, as `orrery map` makes it; run it: orrery run {kept}"
    )


def test_the_exported_network_says_where_each_node_runs(
    kept: Path, graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx
    import onnxruntime

    from orrery.api.keeping import _files, plan_digest

    found, plan = api.run(kept, repeats=1), read_plan(kept)
    for most, name in ((1 << 30, "one"), (0, "two")):
        monkeypatch.setattr(_files, "_EMBEDDED", most)
        files = found.write(tmp_path / name, onnx=True)
        path = files["network"]
        assert ("weights" in files) == (most == 0) == (path.parent / "placed.onnx.data").exists()
        onnx.checker.check_model(str(path), full_check=True)
        model = onnx.load(path)
        assert {p.key: p.value for p in model.metadata_props}["orrery.plan"] == plan_digest(plan)
        said = {n.name: {p.key: p.value for p in n.metadata_props} for n in model.graph.node}
        rows = {row["node"]: row for row in csv.DictReader(files["nodes"].open())}
        assert said.keys() == rows.keys() == {node.name for node in graph.nodes}
        for node, row in rows.items():
            assert said[node].pop("layer_ann") == f"{row['device']}.{row['region']}"
            assert said[node] == {
                f"orrery.{key.replace(' ', '_')}": row[key]
                for key in ("worker", "back end", "version", "device", "region", "phase")
            }
        session = onnxruntime.InferenceSession(path)
        with np.load(files["outputs"]) as outputs:
            (y,) = session.run(["y"], example_inputs(graph, seed=0))
            np.testing.assert_allclose(y, outputs["y"], atol=1e-4)


def test_an_export_needs_a_placement_and_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, found in (
        (["squeezenet1_1", "--onnx", "--out", str(tmp_path / "out")], "no --on"),
        (["squeezenet1_1", "--onnx", "--on", "this-machine"], "no --out"),
    ):
        assert main(["run", *arguments]) == 2
        assert capsys.readouterr().err.strip() == (
            f"orrery: --onnx: found {found!r}, wanted --on this-machine and --out; add it"
        )
    assert not (tmp_path / "out").exists()
