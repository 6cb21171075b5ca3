"""Nests in other tools' files, and their results on the page; no other tool is run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from orrery import api
from orrery.cli import main
from orrery.errors import SpecError, UnknownNameError
from orrery.graph import Graph, build_model, write_onnx
from orrery.report import Table, Text

from .arrays import SMALL

FILES = {
    "accelerator.yaml",
    "workload.yaml",
    "mapping.yaml",
    "levels.json",
    "price.py",
    "NOTES.md",
    "orrery.json",
}


@pytest.fixture
def network() -> Graph:
    return build_model("alexnet", image=64, width=0.1)


def _said(layer: Any, factor: float) -> dict[str, Any]:
    """Return a layer in ZigZag's form, dearer and slower than ours by a factor."""
    return {
        "outputs": {
            "energy": {"energy_total": layer.energy_j * factor * 1e12, "operational_energy": 0.0,
                       "memory_energy_breakdown_per_level": {"O": [0.0, 5.0], "W": [0, 7.0]}},
            "latency": {"data_onloading": 0, "computation": layer.cycles * factor,
                        "data_offloading": 0},
        },
        "inputs": {
            "accelerator": {"mem_hierarchy_dict": {}},
            "layer": {"name": layer.layer, "loop_dimensions": {"K": layer.operations},
                      "memory_operand_links": {"O": "O"}},
        },
    }  # fmt: skip


def test_files_of_all_products_are_written(array: str, network: Graph, tmp_path: Path) -> None:
    result = api.nest(network, on=array, objective="energy")
    exported = api.export_nests(network, result, f"zigzag:{tmp_path / 'out'}")
    assert {path.name for path in exported.files} == FILES
    layers = yaml.safe_load((tmp_path / "out" / "workload.yaml").read_text())
    products = [one.layer for one in result.layers if one.operator in ("Conv", "Gemm")]
    assert [layer["name"] for layer in layers] == products
    mappings = yaml.safe_load((tmp_path / "out" / "mapping.yaml").read_text())
    for layer, mapping in zip(layers, mappings[1:], strict=True):
        left = dict(zip(layer["loop_dims"], layer["loop_sizes"], strict=True))
        for pairs in mapping["spatial_mapping"].values():
            for dimension, _, factor in (pair.partition(", ") for pair in pairs):
                left[dimension] = -(-left[dimension] // int(factor))
        for dimension, factor in mapping["temporal_ordering"]:
            assert left[dimension] % factor == 0
            left[dimension] //= factor
        assert set(left.values()) == {1}
    last = exported.result.page.sections[-1]
    assert isinstance(last, Text)
    assert last.paragraphs == exported.notes
    notes = (tmp_path / "out" / "NOTES.md").read_text()
    assert all(note in notes for note in exported.notes)
    assert any("passes over data" in note for note in exported.notes)


def test_another_tool_stands_beside_ours(array: str, network: Graph, tmp_path: Path) -> None:
    result = api.nest(network, on=array)
    first, second = [one for one in result.layers if one.operator == "Conv"][:2]
    for layer, factor in ((first, 2.0), (second, 1.0)):
        path = tmp_path / f"{layer.layer}_complete.json"
        path.write_text(json.dumps(_said(layer, factor)))
    page = api.with_opinion(network, result, f"zigzag:{tmp_path}").page
    table = next(s for s in page.sections if s.title == "Second opinion: zigzag")
    assert isinstance(table, Table)
    rows = {row[0]: row[1:] for row in table.rows}
    assert first.cycles is not None and first.energy_j is not None
    assert rows[first.layer] == pytest.approx(
        (first.cycles, 2 * first.cycles, 2, first.energy_j, 2 * first.energy_j, 2)
    )
    assert rows[second.layer][2] == pytest.approx(1)
    total = rows["all of these"]
    assert total[0] == first.cycles + (second.cycles or 0)
    parts = next(s for s in page.sections if s.title == "Where the two part")
    assert isinstance(parts, Text)
    (line,) = parts.paragraphs
    assert line.startswith(f"{first.layer}: cycles there: way in 0")
    assert "most of the difference is" in line
    alone = next(s for s in page.sections if s.title == "Not compared")
    assert isinstance(alone, Text)
    assert alone.paragraphs[0].startswith("not said there: ")


def test_wrong_words_are_refused(array: str, network: Graph, tmp_path: Path) -> None:
    result = api.nest(network, on=array)
    with pytest.raises(SpecError, match="wanted TOOL:PATH"):
        api.export_nests(network, result, "zigzag")
    with pytest.raises(UnknownNameError, match="did you mean 'zigzag'"):
        api.export_nests(network, result, f"zigzg:{tmp_path}")
    with pytest.raises(UnknownNameError, match="tool"):
        api.with_opinion(network, result, f"timeloop:{tmp_path}")
    stranger = _said(result.layers[0], 1.0)
    stranger["inputs"]["layer"]["name"] = "nobody"
    (tmp_path / "x_complete.json").write_text(json.dumps(stranger))
    with pytest.raises(UnknownNameError, match="nobody"):
        api.with_opinion(network, result, f"zigzag:{tmp_path}")


def test_the_shell_writes_and_reads(
    array: str, network: Graph, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_onnx(network, tmp_path / "network.onnx")
    model = ["nest", str(tmp_path / "network.onnx"), "--on", array]
    assert main([*model, "--export", f"accelforge:{tmp_path / 'out'}"]) == 0
    assert "Not told to AccelForge" in capsys.readouterr().out
    names = json.loads((tmp_path / "out" / "layers.json").read_text())
    priced = [{"layer": name, "energy_J": 1e-6, "latency_s": 1e-3, "energy_by_component_J": {}}
              for name in names.values()]  # fmt: skip
    (tmp_path / "results.json").write_text(json.dumps({"layers": priced}))
    assert main([*model, "--opinion", f"accelforge:{tmp_path}", "--json"]) == 0
    page = json.loads(capsys.readouterr().out)["report"]
    assert any(s["title"] == "Second opinion: accelforge" for s in page["sections"])


def _priced(folder: Path, result: api.NestResult) -> Path:
    """Write what the tool and the exported price.py would, of all that was exported."""
    priced = folder / "results"
    priced.mkdir(exist_ok=True)
    for layer in result.layers:
        if layer.operator in ("Conv", "Gemm"):
            (priced / f"{layer.layer}_complete.json").write_text(json.dumps(_said(layer, 1.0)))
    (priced / "orrery.json").write_text((folder / "orrery.json").read_text())
    return priced


OF_WHAT = "Second opinion: of what?"


def test_results_of_something_else_are_told_apart(
    array: str, network: Graph, tmp_path: Path
) -> None:
    result = api.nest(network, on=array, objective="energy")
    api.export_nests(network, result, f"zigzag:{tmp_path / 'out'}")
    priced = _priced(tmp_path / "out", result)
    opinion = f"zigzag:{priced}"
    page = api.with_opinion(network, result, opinion).page
    assert OF_WHAT not in [section.title for section in page.sections]

    faster = tmp_path / "faster.yaml"
    faster.write_text(SMALL.replace("clock:", "clock: 2 GHz #", 1))
    assert "2 GHz" in faster.read_text()
    with pytest.raises(SpecError, match="results of another array: clock_hz differ"):
        api.with_opinion(network, api.nest(network, on=str(faster)), opinion)

    zeros = api.ZeroOptions(skip=("input",), density=("input=0.5",))
    with pytest.raises(SpecError, match=r"zeros made use of.*leave out --gate"):
        api.with_opinion(network, api.nest(network, on=array, zeros=zeros), opinion)

    wider = build_model("alexnet", image=64, width=0.2)
    with pytest.raises(SpecError, match="other layers of the name"):
        api.with_opinion(wider, api.nest(wider, on=array), opinion)

    quick = api.nest(network, on=array)
    moved = [a.layer for a, b in zip(quick.layers, result.layers, strict=True)
             if a.schedule != b.schedule and a.operator in ("Conv", "Gemm")]  # fmt: skip
    first = api.with_opinion(network, quick, opinion).page.sections[0]
    assert isinstance(first, Text) and first.tone == "warning" and moved
    assert first.paragraphs == (f"The results are of other nests than these: {', '.join(moved)}.",)


def test_results_made_by_hand_are_called_unchecked(
    array: str, network: Graph, tmp_path: Path
) -> None:
    result = api.nest(network, on=array)
    api.export_nests(network, result, f"zigzag:{tmp_path / 'out'}")
    priced = _priced(tmp_path / "out", result)
    prints = priced / "orrery.json"
    kept = json.loads(prints.read_text())
    name = next(one.layer for one in result.layers if one.operator == "Conv")
    del kept["layers"][name]
    prints.write_text(json.dumps(kept))
    first = api.with_opinion(network, result, f"zigzag:{priced}").page.sections[0]
    assert isinstance(first, Text) and "not written by the export" in first.paragraphs[0]
    assert name in first.paragraphs[0]
    prints.write_text('{"array": 1}')
    with pytest.raises(SpecError, match=r"orrery.json.*hashes as an export writes them"):
        api.with_opinion(network, result, f"zigzag:{priced}")
    prints.unlink()
    first = api.with_opinion(network, result, f"zigzag:{priced}").page.sections[0]
    assert isinstance(first, Text) and first.title == OF_WHAT
    assert first.paragraphs[0].startswith("Nobody has checked")


CUT = re.compile(r"(\S+): cut anew so that factors divide: ([\d,]+) -> ([\d,]+) cycles")


def test_a_nest_that_was_cut_anew_is_compared_as_it_was_cut(
    array: str, network: Graph, tmp_path: Path
) -> None:
    result = api.nest(network, on=array)
    exported = api.export_nests(network, result, f"zigzag:{tmp_path / 'out'}")
    cut = {m[1]: (int(m[2].replace(",", "")), int(m[3].replace(",", "")))
           for note in exported.notes if (m := CUT.match(note))}  # fmt: skip
    products = [one.layer for one in result.layers if one.operator in ("Conv", "Gemm")]
    cut = {name: cut[name] for name in products if name in cut and len({*cut[name]}) > 1}
    assert cut
    priced = _priced(tmp_path / "out", result)

    def rows() -> tuple[dict[str, tuple[object, ...]], str]:
        page = api.with_opinion(network, result, f"zigzag:{priced}").page
        (table,) = [s for s in page.sections if s.title == "Second opinion: zigzag"]
        (parts,) = [s for s in page.sections if s.title == "Where the two part"]
        assert isinstance(table, Table) and isinstance(parts, Text)
        return {str(row[0]): row[1:] for row in table.rows}, "\n".join(parts.paragraphs)

    found, said = rows()
    for name, (before, after) in cut.items():
        assert found[name][:3] == (after, before, pytest.approx(before / after))
        assert f"takes {after:,} cycles, the one before {before:,}" in said
    assert found["all of these"][0] == sum(row[0] for name, row in found.items()  # type: ignore[misc]  # numbers
                                           if name != "all of these")  # fmt: skip

    prints = json.loads((priced / "orrery.json").read_text())
    name, (before, _) = next(iter(cut.items()))
    prints["layers"][name]["given"] = "0" * 40
    (priced / "orrery.json").write_text(json.dumps(prints))
    found, said = rows()
    assert found[name][0] == before
    assert "by a nest that is not known here" in said
