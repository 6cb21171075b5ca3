"""Sweeps against a plain double loop over `api.nest`, and runs that are cut short."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from orrery import api
from orrery.api.sweeping import _price, _sweep, _task, _work
from orrery.api.sweeping._kept import FILE
from orrery.errors import OrreryError, SpecError, UnknownNameError
from orrery.graph import ArrayConstant, Graph, Node, TensorType, build_model, write_onnx
from orrery.hardware import EnergyTable, energy_table, load_architecture
from orrery.hardware.spatial import _yaml
from orrery.progress import Progress
from orrery.provenance import Basis
from orrery.report import Table, Text

SMALL = """\
name: small
clock: "100 MHz"
static_power: "1 mW"
source: sheet
sources: {sheet: {basis: published, where: data sheet}}
area: "1 mm2"
array: [{axis: rows, size: 4, fixed: {Cin: 4}}, {axis: cols, size: 4, loops: [Cout]}]
bits: {input: 8, weight: 8, output: 8, partial_sum: 16}
energy: {mac: "1 pJ", idle_mac: "0.1 pJ", hop: "0.01 pJ/bit"}
levels:
  - {name: dram, holds: [input, weight, output], word: "64 bit", read: "500 pJ", write: "500 pJ",
     read_bandwidth: "16 bit/cycle", one_port: true}
  - {name: buffer, holds: [input, weight, output], size: "4 KiB", word: "16 bit", read: "2 pJ",
     write: "2 pJ", double_buffered: [input, weight], multicast: [rows, cols], reduces: [rows]}
"""


@pytest.fixture
def array(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return str(path)


@pytest.fixture(scope="module")
def network() -> Graph:
    return build_model("alexnet", image=64, width=0.05)


VARY = ["levels.buffer.size=1KiB,4KiB", "array.cols=2,4", "objective=latency,energy"]


def test_the_grid_is_a_double_loop_over_nest(array: str, network: Graph, tmp_path: Path) -> None:
    result = api.sweep(network, on=array, vary=VARY)
    assert len(result.rows) == 8 and result.page.title.startswith("Sweep of alexnet")
    for row, (size, cols, objective) in zip(
        result.rows, product(("1KiB", "4KiB"), ("2", "4"), ("latency", "energy")), strict=True
    ):
        path = tmp_path / "edited.yaml"
        text = SMALL.replace('"4 KiB"', f'"{size}"').replace(
            "axis: cols, size: 4", f"axis: cols, size: {cols}"
        )
        path.write_text(text)
        alone = api.nest(network, on=str(path), objective=objective)
        assert row.choices == {
            "levels.buffer.size": size, "array.cols": cols, "objective": objective,
        }  # fmt: skip
        said = {one.metric: one for one in reversed(alone.evidence)}
        for metric in ("latency", "energy", "utilisation", "off-chip traffic", "on-chip memory"):
            assert row.value(metric) == said[metric].value
        assert row.figures["latency"].validation_set == said["latency"].context["validation set"]
        # a data sheet speaks of the chip as it is
        same = (size, cols) == ("4KiB", "4")
        assert row.value("area") == (1.0 if same else None)
        assert row.figures["latency"].rests_on == (None if same else Basis.ASSUMED)
        assert row.figures["on-chip memory"].basis == (Basis.PUBLISHED if same else Basis.ASSUMED)


def test_the_front_is_what_no_point_beats(array: str, network: Graph) -> None:
    result = api.sweep(network, on=array, vary=VARY)
    names = [m.name for m in result.compared.objectives]
    assert names == ["latency", "energy", "processing elements", "on-chip memory"]
    values = [tuple(row.value(name) or 0.0 for name in names) for row in result.rows]

    def beats(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    keys = {row.key for row in result.front}
    for number, (row, mine) in enumerate(zip(result.rows, values, strict=True)):
        first = mine not in values[:number]
        assert (row.key in keys) == (first and not any(beats(other, mine) for other in values))
    assert "area" in result.compared.unknown and "price" in result.compared.unknown
    best = min(result.rows, key=lambda row: row.value("latency") or 0.0)
    tables = {s.title: s for s in result.page.sections if isinstance(s, Table)}
    least = {line[0]: line for line in tables["Least of each measure"].rows}
    assert least["latency"][-3:] == tuple(best.choices.values())
    heads = [column.name for column in tables["Least of each measure"].columns[-3:]]
    assert heads == ["buffer.size", "cols", "objective"]


def test_files_can_be_read_again(array: str, network: Graph, tmp_path: Path) -> None:
    result = api.sweep("squeezenet1_1", on=array, vary=VARY[:2], out=tmp_path / "o")
    files = result.write(tmp_path / "o")
    assert api.read_sweep(files["sweep"]) == result.file
    with files["table"].open() as handle:
        lines = list(csv.DictReader(handle))
    assert [float(line["latency (s)"]) for line in lines] == [
        row.value("latency") for row in result.rows
    ]
    # the best machine is a file that `nest` takes
    architecture = load_architecture(files["best"])
    best = min(result.rows, key=lambda row: row.value("latency") or 0.0)
    assert str(architecture.axes[1].size) == best.choices["array.cols"]


class Stop(Exception):
    """Stands for a power cut."""


def counting(monkeypatch: pytest.MonkeyPatch, *, dies_after: int = 1000) -> list[str]:
    """Let points be counted, and the program die after some."""
    keys: list[str] = []
    price = _work.price_point

    def counted(task, choice, labels, key, progress):
        if len(keys) == dies_after:
            raise Stop
        keys.append(key)
        return price(task, choice, labels, key, progress)

    monkeypatch.setattr(_work, "price_point", counted)
    return keys


def test_a_killed_run_goes_on_where_it_was(
    array: str, network: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = api.sweep(network, on=array, vary=VARY)
    out = tmp_path / "o"
    with monkeypatch.context() as patched:
        counting(patched, dies_after=3)
        with pytest.raises(Stop):
            api.sweep(network, on=array, vary=VARY, out=out)
    table = out / FILE
    assert len(table.read_bytes().splitlines()) == 1 + 3
    table.write_bytes(table.read_bytes()[:-40])  # the last line was not written whole
    with monkeypatch.context() as patched:
        keys = counting(patched)
        again = api.sweep(network, on=array, vary=VARY, out=out)
    assert len(keys) == 6 and again.kept == 2
    assert again.file == whole.file and again.page == whole.page
    texts = [run.write(tmp_path / name)["table"].read_text()
             for name, run in (("first", whole), ("second", again))]  # fmt: skip
    assert texts[0] == texts[1]
    lines = table.read_bytes().splitlines()
    assert len(lines) == 1 + 8 and all(json.loads(line) for line in lines)
    with monkeypatch.context() as patched:
        keys = counting(patched)
        wider = [*VARY[:1], "array.cols=2,4,8", VARY[2]]
        assert len(api.sweep(network, on=array, vary=wider, out=out).rows) == 12
    assert len(keys) == 4


def test_a_stop_keeps_what_is_finished(array: str, network: Graph, tmp_path: Path) -> None:
    done: list[int] = []
    progress = Progress(
        report=lambda step: done.append(step.done), cancelled=lambda: len(done) >= 3
    )
    result = api.sweep(network, on=array, vary=VARY, out=tmp_path / "o", progress=progress)
    assert result.interrupted and 0 < len(result.rows) < 8
    assert any(s.title == "Interrupted" for s in result.page.sections)
    again = api.sweep(network, on=array, vary=VARY, out=tmp_path / "o")
    assert again.kept == len(result.rows) and len(again.rows) == 8
    assert again.rows[: len(result.rows)] == result.rows


def test_a_folder_of_another_sweep_is_refused(array: str, network: Graph, tmp_path: Path) -> None:
    out = tmp_path / "o"
    api.sweep(network, on=array, vary=VARY[:1], out=out)
    with pytest.raises(SpecError, match="objective latency there, energy here"):
        api.sweep(network, on=array, vary=VARY[:1], out=out, objective="energy")
    with pytest.raises(SpecError, match=r"1 points that are not asked for, as .*=1KiB"):
        api.sweep(network, on=array, vary=["levels.buffer.size=4KiB,8KiB"], out=out)
    with pytest.raises(SpecError, match="the network alexnet has changed"):
        api.sweep(build_model("alexnet", image=64, width=0.1), on=array, vary=VARY[:1], out=out)
    Path(array).write_text(SMALL.replace("500 pJ", "400 pJ"))
    with pytest.raises(SpecError, match=r"the description of .* has changed"):
        api.sweep(network, on=array, vary=VARY[:1], out=out)
    (out / FILE).write_text("something else\n")
    with pytest.raises(SpecError, match="a table of a sweep"):
        api.sweep(network, on=array, vary=VARY[:1], out=out)


def test_one_bad_point_is_a_row_with_its_reason(array: str, network: Graph) -> None:
    vary = ["levels.buffer.size=4KiB,1 B", "array.rows=2,4,8", "array.rows.fixed.Cin=2,4"]
    result = api.sweep(network, on=array, vary=vary)
    reasons = {tuple(row.choices.values()): row.reason for row in result.rows}
    assert not reasons["4KiB", "4", "4"] and not reasons["4KiB", "2", "2"]
    assert "buffer" in reasons["1 B", "4", "4"]
    assert "4 positions" in reasons["4KiB", "2", "4"]
    result = api.sweep(network, on=array, vary=["array.rows=4,8", "levels.buffer.size=4KiB,8KiB"])
    warned = " ".join(p for s in result.page.sections if isinstance(s, Text) for p in s.paragraphs)
    assert "'array.rows.size&array.rows.fixed.Cin=16,32,64'" in warned
    assert "read, write of buffer stay" in warned
    together = api.sweep(network, on=array, vary=["array.rows&array.rows.fixed.Cin=2,8"])
    assert [row.reason for row in together.rows] == ["", ""]


def test_steps_around_the_base_know_it(array: str, network: Graph) -> None:
    result = api.sweep(
        network, on=array, vary=["array.cols=2,8", "levels.buffer.size=1KiB,4KiB"],
        one_at_a_time=True,
    )  # fmt: skip
    assert [tuple(row.choices.values()) for row in result.rows] == [
        ("4", "4KiB"), ("2", "4KiB"), ("8", "4KiB"), ("4", "1KiB"),
    ]  # fmt: skip
    tables = {s.title: s for s in result.page.sections if isinstance(s, Table)}
    effects = {line[:2]: line[3] for line in tables["Which parameter matters most"].rows}
    latency = [row.value("latency") or 0.0 for row in result.rows]
    assert effects["latency", "cols"] == pytest.approx(max(latency[:3]) / min(latency[:3]))
    assert effects["latency", "buffer.size"] == pytest.approx(
        max(latency[0], latency[3]) / min(latency[0], latency[3])
    )


def test_a_search_cut_short_says_how_far_it_may_be_off(array: str, network: Graph) -> None:
    vary = ["array.cols=2,4"]
    whole, short = (
        api.sweep(network, on=array, vary=vary, budget=budget) for budget in (None, 100)
    )
    for proved, cut in zip(whole.rows, short.rows, strict=True):
        best, found = proved.value("latency"), cut.value("latency")
        gap = cut.value("gap")
        assert best is not None and found is not None and gap is not None
        assert proved.value("gap") == pytest.approx(0, abs=1e-9) and gap > 0
        assert found * (1 - gap / 100) * (1 - 1e-9) <= best <= found
    assert "Not proved best" not in [s.title for s in whole.page.sections]
    assert "Not proved best" in [s.title for s in short.page.sections]


def test_a_subset_is_part_of_the_grid(array: str, network: Graph) -> None:
    whole = api.sweep(network, on=array, vary=VARY)
    some = api.sweep(network, on=array, vary=VARY, samples=3, seed=5)
    keys = {row.key: row for row in whole.rows}
    assert len(some.rows) == 3 and all(keys[row.key] == row for row in some.rows)
    assert some.rows == api.sweep(network, on=array, vary=VARY, samples=3, seed=5).rows


def test_workloads_are_compared_apart(array: str) -> None:
    result = api.sweep("alexnet", on=array, vary=["model=squeezenet1_1,resnet20", "array.cols=2,4"])
    assert list(result.compared.groups) == ["model=squeezenet1_1", "model=resnet20"]
    fronts = [row.choices["model"] for row in result.front]
    assert {"squeezenet1_1", "resnet20"} == set(fronts)
    assert not result.best


def test_systems_are_swept_by_mapping() -> None:
    result = api.sweep(
        "squeezenet1_1", on="desktop-cpu", vary=["batch=1,2", "devices.cpu.idle_power=1 W,2 W"]
    )
    assert not [row.reason for row in result.rows if row.reason]
    alone = api.map(
        "squeezenet1_1", on="desktop-cpu", options=api.ModelOptions(batch=2),
        search=api.MapSearch(search="greedy"), jobs=1,
    )  # fmt: skip
    latency = next(e.value for e in alone.evidence if e.metric == "latency")
    assert [row.value("latency") for row in result.rows if row.batch == 2] == [latency] * 2
    energies = [row.value("energy") for row in result.rows]
    assert energies[0] != energies[1]


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ([], "nothing to vary"),
        (["batches=1"], "did you mean 'batch'"),
        (["batch=0"], "a whole number, 1 or more"),
        (["phase=training"], "prefill or decode"),
        (["objective=throughput"], "one of latency, energy, edp on arrays"),
        (["levels.bufer.size=1KiB"], "did you mean 'buffer'"),
        (["levels.buffer.sise=1KiB"], "did you mean 'size'"),
        (["batch=1", "batch=2"], "batch twice"),
        (["levels.buffer.size=4KiB,x", "array.cols=2,4"], "size=x: .*a width with a unit"),
        (["array.cols=4,-4"], "cols=-4: "),
        (["clock=1 GHz,1 mW"], "clock=1 mW: "),
        (["precision=float16,flot32"], "did you mean 'float32'"),
        # fixed wiring does not follow its axis unless it is told to
        (["array.rows=4,2"], r"--vary 'array.rows.size&array.rows.fixed.Cin=…'"),
        (["levels.buffer.one_port=true", "array.rows=4..8"], r"4..8\*2"),
    ],
)
def test_slips_are_refused_before_anything_is_priced(
    array: str, network: Graph, vary: list[str], message: str
) -> None:
    with pytest.raises(OrreryError, match=message):
        api.sweep(network, on=array, vary=vary)


def test_what_is_swept_is_found_out(array: str, network: Graph, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="--kind array or --kind system"):
        api.sweep(network, on="tpu-v1", vary=["batch=1"])
    with pytest.raises(UnknownNameError, match="did you mean 'tpu-v1'"):
        api.sweep(network, on="tpu-v11", vary=["batch=1"])
    with pytest.raises(SpecError, match="a file of an array"):
        api.sweep(network, on=array, vary=["clock=1 GHz"], kind="system")
    with pytest.raises(SpecError, match="a base to step"):
        api.sweep(network, on=array, vary=["levels.buffer.one_port=true,false"],
                  one_at_a_time=True)  # fmt: skip
    with pytest.raises(SpecError, match="--one-at-a-time too"):
        api.sweep(network, on=array, vary=VARY, one_at_a_time=True, samples=2)
    with pytest.raises(UnknownNameError, match="greedy"):
        api.sweep(network, on="desktop-cpu", vary=["batch=1"], search="greedi")


def test_a_sweep_of_a_system_or_with_shapes_goes_on_too(
    array: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = Node(name="fc", op="MatMul", inputs=("x", "w"), outputs=("y",))
    open_ended = Graph(
        name="open", nodes=(product,), inputs=("x",), outputs=("y",),
        types={"x": TensorType(dtype="float32", shape=("n", 8))},
        constants={"w": ArrayConstant(np.ones((8, 4), np.float32))},
    )  # fmt: skip
    cases: list[tuple[object, str, list[str], api.ModelOptions | None]] = [
        ("squeezenet1_1", "desktop-cpu", ["devices.cpu.idle_power=1 W,2 W"], None),
        (open_ended, array, ["array.cols=2,4"], api.ModelOptions(shape=("n=2",))),
    ]
    for number, (model, on, vary, options) in enumerate(cases):
        out = tmp_path / str(number)
        first = api.sweep(model, on=on, vary=vary, options=options, out=out)
        assert not [row.reason for row in first.rows if row.reason]
        with monkeypatch.context() as patched:
            keys = counting(patched)
            again = api.sweep(model, on=on, vary=vary, options=options, out=out)
        assert not keys and again.kept == 2 and again.file == first.file
        assert api.read_sweep(again.write(out)["sweep"]) == again.file


def test_a_file_that_changes_is_read_anew(array: str, tmp_path: Path) -> None:
    onnx = tmp_path / "net.onnx"
    vary = ["array.cols=2,4"]
    found = []
    for width in (0.05, 0.1):
        write_onnx(build_model("alexnet", image=64, width=width), onnx)
        found.append(api.sweep(onnx, on=array, vary=vary))
    assert found[0].file.header.network != found[1].file.header.network
    assert found[0].rows[0].value("latency") != found[1].rows[0].value("latency")


def test_a_network_that_is_not_there_yet(array: str, network: Graph, tmp_path: Path) -> None:
    onnx, out = tmp_path / "late.onnx", tmp_path / "o"
    vary = [f"model={onnx},resnet20"]
    first = api.sweep("resnet20", on=array, vary=vary, out=out)
    assert "late.onnx" in first.rows[0].reason and not first.rows[1].reason
    write_onnx(network, onnx)
    again = api.sweep("resnet20", on=array, vary=vary, out=out)
    assert again.kept == 1 and not again.rows[0].reason
    write_onnx(build_model("alexnet", image=64, width=0.1), onnx)
    with pytest.raises(SpecError, match=r"has changed since, as model=.*late\.onnx"):
        api.sweep("resnet20", on=array, vary=vary, out=out)


def test_a_network_that_changes_meanwhile_stops_the_sweep(
    array: str, network: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = tmp_path / "net.onnx"
    write_onnx(network, onnx)

    def changed(*args: object) -> object:
        write_onnx(build_model("alexnet", image=64, width=0.1), onnx)
        _task.forget()  # as a process that has not read it yet
        return _price.price_point(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(_work, "price_point", changed)
    with pytest.raises(SpecError, match="another network than at the beginning"):
        api.sweep(onnx, on=array, vary=["array.cols=2,4"])


def test_points_of_another_program_or_table_are_refused(
    network: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, vary = tmp_path / "o", ["array.rows=6,12"]
    api.sweep(network, on="eyeriss-v1", kind="array", vary=vary, out=out)
    with monkeypatch.context() as patched:
        patched.setattr(_sweep, "engine", lambda: "another")
        with pytest.raises(SpecError, match="the program, or a table of its own, has changed"):
            api.sweep(network, on="eyeriss-v1", kind="array", vary=vary, out=out)
    given = energy_table

    def dearer(name: str) -> EnergyTable:
        table = given(name)
        rows = {key: replace(row, energy_j=2 * (row.energy_j or 0.0), per_mac=None)
                for key, row in table.rows.items()}  # fmt: skip
        return replace(table, rows=rows)

    monkeypatch.setattr(_yaml, "energy_table", dearer)
    with pytest.raises(SpecError, match="the description of eyeriss-v1 has changed"):
        api.sweep(network, on="eyeriss-v1", kind="array", vary=vary, out=out)


def test_by_products_are_shown_and_weigh_nothing(array: str, network: Graph) -> None:
    said = {}
    for objective in ("latency", "energy", "edp"):
        result = api.sweep(network, on=array, vary=["levels.buffer.size=1KiB,4KiB"],
                           objective=objective)  # fmt: skip
        tables = {s.title: s for s in result.page.sections if isinstance(s, Table)}
        ranked = {line[0] for line in tables["Which parameter matters most"].rows}
        shown = [column.name for column in tables["All points"].columns]
        said[objective] = ([m.name for m in result.compared.pure], ranked)
        aside = [m.name for m in result.compared.measures if m.by_product]
        assert all(f"{name} (by-product)" in shown for name in aside)
        assert ("By-products" in [s.title for s in result.page.sections]) == bool(aside)
    assert said["latency"] == (["latency"], {"latency"})
    assert said["energy"] == (["energy"], {"energy"})
    assert said["edp"] == (["latency", "energy"], {"latency", "energy", "energy-delay product"})


def test_layers_that_do_not_fit_leave_lower_bounds(tmp_path: Path, network: Graph) -> None:
    path = tmp_path / "tight.yaml"
    path.write_text(SMALL.replace('"4 KiB"', '"16 B"'))
    vary = ["levels.buffer.size=16 B,4KiB"]
    tight, whole = (result := api.sweep("resnet20", on=str(path), vary=vary)).rows
    alone = api.nest("resnet20", on=str(path))
    assert set(tight.lacking) == {one.layer for one in alone.layers if one.schedule is None}
    for metric in ("latency", "energy"):
        said = next(one for one in alone.evidence if one.metric == metric)
        assert (tight.value(metric), tight.figures[metric].bound) == (said.value, "lower")
    assert tight.lacking and not whole.lacking
    # fewer layers take less, and are no better for it
    assert (tight.value("latency") or 0.0) < (whole.value("latency") or 0.0)
    assert [row.key for row in result.front] == [whole.key] and not tight.reason
    texts = {s.title: s.paragraphs for s in result.page.sections if isinstance(s, Text)}
    assert "not compared" in texts["Layers without a nest that fits"][0]


def test_a_value_that_some_point_can_have_is_no_slip(array: str, network: Graph) -> None:
    # rows of 2 take the wiring of 2, which is one of many values of another parameter
    cols = "array.cols=" + ",".join(map(str, range(1, 41)))
    vary = ["array.rows=4,2", "array.rows.fixed.Cin=4,2", cols]
    result = api.sweep(network, on=array, vary=vary, samples=8, budget=10)
    assert len(result.rows) == 8 and any("positions" in row.reason for row in result.rows)


def test_only_the_machine_as_it_is_was_measured() -> None:
    network = build_model("alexnet", image=64, width=0.5)
    result = api.sweep(network, on="gemmini-16", vary=["clock=1 GHz,2 GHz"])
    as_it_is, faster = (row.figures["latency"] for row in result.rows)
    assert "changed" not in as_it_is.validation_set
    assert faster.validation_set.endswith("; a changed gemmini-16")
    assert as_it_is.validation_set in faster.validation_set
    (grounds,) = [s for s in result.page.sections if s.title == "What the figures rest on"]
    assert isinstance(grounds, Table)
    said = [str(row[4]) for row in grounds.rows if row[0] == "latency"]
    assert ["a changed gemmini-16" in one for one in said].count(True) == 1


def test_a_parameter_of_workload_and_machine_splits_workloads_by_its_own_part(array: str) -> None:
    network = build_model("alexnet", image=64, width=0.1)
    joined = ("int8:1KiB", "int8:4KiB", "int16:4KiB")
    result = api.sweep(network, on=array, vary=[
        f"precision&levels.buffer.size={','.join(joined)}"])  # fmt: skip
    assert list(result.compared.groups) == ["precision=int8", "precision=int16"]
    assert result.compared.groups["precision=int8"] == [0, 1]
    alone = api.sweep(network, on=array, vary=["precision=int8", "levels.buffer.size=1KiB,4KiB"])
    assert result.compared.front[:2] == alone.compared.front
    assert result.compared.objectives == alone.compared.objectives
