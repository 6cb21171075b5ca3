"""Result files of other tools, written by hand, and what is said of the differences."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orrery.cost.interchange import (
    LayerOpinion,
    Part,
    differences,
    port_cycles,
    read_opinion,
)
from orrery.cost.nest import nest_cost
from orrery.errors import SpecError, UnknownNameError

from .small import ARRAY, PRODUCT, array, product

#: one layer as ZigZag writes it, with the keys that are read
ZIGZAG: dict[str, Any] = {
    "outputs": {
        "energy": {
            "energy_total": 4400.0,
            "operational_energy": 60.0,
            "memory_energy_breakdown_per_level": {
                "O": [340.0, 2000.0], "W": [40.0, 960.0], "I": [200.0, 800.0],
            },
        },
        "latency": {"data_onloading": 5.0, "computation": 40.0, "data_offloading": 8.0},
    },
    "inputs": {
        "accelerator": {"mem_hierarchy_dict": {
            "O": ["MemoryLevel(instance=buffer,operands=[I1, O], served_dimensions={D1})",
                  "MemoryLevel(instance=dram,operands=[I1, I2, O], served_dimensions={D1})"],
            "I2": ["MemoryLevel(instance=pads,operands=[I2], served_dimensions=set())",
                   "MemoryLevel(instance=dram,operands=[I1, I2, O], served_dimensions={D1})"],
        }},
        "layer": {
            "name": "product",
            "loop_dimensions": {"B": 5, "K": 6, "C": 4},
            "memory_operand_links": {"O": "O", "W": "I2", "I": "I1"},
        },
    },
}  # fmt: skip

ACCELFORGE = {"layers": [
    {"layer": "product", "energy_J": 4.4e-9, "latency_s": 5.3e-7,
     "energy_by_component_J": {"dram": 4e-9, "pads": 3e-10, "MAC": 1e-10}},
]}  # fmt: skip


def _written(folder: Path, name: str, document: object) -> Path:
    path = folder / name
    path.write_text(json.dumps(document))
    return path


def test_a_folder_of_zigzag_is_read(tmp_path: Path) -> None:
    other = copy.deepcopy(ZIGZAG)
    other["inputs"]["layer"]["name"] = "second"
    _written(tmp_path, "product_complete.json", ZIGZAG)
    _written(tmp_path, "second_complete.json", other)
    _written(tmp_path, "overall_complete.json", {"energy": 1})
    first, second = read_opinion("zigzag", tmp_path)
    assert second == replace(first, layer="second")
    assert (first.layer, first.operations, first.cycles) == ("product", 120, 53)
    assert first.energy_j == pytest.approx(4400e-12)
    assert first.cycles_by == (("way in", 5), ("computation and stalls", 40), ("way out", 8))
    assert first.parts[:3] == (
        Part(memory="array", energy_j=60e-12),
        Part(memory="buffer", role="output", energy_j=340e-12),
        Part(memory="dram", role="output", energy_j=2000e-12),
    )
    # Where the file does not name an operand's memories, their places stand for them.
    assert first.parts[-1] == Part(memory="level 1", role="input", energy_j=800e-12)


def test_a_file_of_accelforge_is_read(tmp_path: Path) -> None:
    path = _written(tmp_path, "results.json", ACCELFORGE)
    (one,) = read_opinion("accelforge", tmp_path)
    assert read_opinion("accelforge", path) == (one,)
    assert (one.layer, one.cycles, one.latency_s, one.energy_j) == ("product", None, 5.3e-7, 4.4e-9)
    assert one.parts[0] == Part(memory="dram", energy_j=4e-9)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.pop("inputs"), "wanted the key 'inputs'"),
        (lambda d: d["outputs"]["energy"].update(energy_total="much"),
         "energy: energy_total: found 'much', wanted a number"),
        (lambda d: d["outputs"]["latency"].update(computation=-1), "computation: found -1"),
        (lambda d: d["outputs"]["latency"].update(computation=True), "computation: found True"),
        (lambda d: d["inputs"]["layer"].update(name=3), "name: found 3, wanted a name"),
        (lambda d: d["inputs"]["layer"].update(loop_dimensions=[5]), "wanted names and values"),
        (lambda d: d["inputs"]["accelerator"]["mem_hierarchy_dict"].update(O="x"), "wanted a list"),
        (lambda d: d["outputs"].update(energy=None), "wanted the key 'operational_energy'"),
    ],
)  # fmt: skip
def test_a_file_in_another_form_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    document = copy.deepcopy(ZIGZAG)
    change(document)
    with pytest.raises(SpecError) as refused:
        read_opinion("zigzag", _written(tmp_path, "product_complete.json", document))
    assert said in str(refused.value)
    assert "product_complete.json" in str(refused.value)


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'zigzag'"):
        read_opinion("zigzga", tmp_path)
    with pytest.raises(SpecError, match="a folder without one"):
        read_opinion("zigzag", tmp_path)
    with pytest.raises(SpecError, match="no such file"):
        read_opinion("accelforge", tmp_path / "results.json")
    (tmp_path / "a_complete.json").write_text("{")
    with pytest.raises(SpecError, match="write the file anew"):
        read_opinion("zigzag", tmp_path)
    for name in ("a_complete.json", "b_complete.json"):
        _written(tmp_path, name, ZIGZAG)
    with pytest.raises(SpecError, match="product twice"):
        read_opinion("zigzag", tmp_path)


def test_equal_prices_need_no_words(tmp_path: Path) -> None:
    architecture = array(tmp_path)
    cost = nest_cost(product(), PRODUCT, architecture)
    same = LayerOpinion(layer="p", operations=120, cycles=cost.cycles, energy_j=cost.energy_j)
    assert differences(cost, same, architecture) == ()


def test_differences_are_named(tmp_path: Path) -> None:
    architecture = array(tmp_path)
    cost = nest_cost(product(), PRODUCT, architecture)
    assert cost.energy_j is not None
    # 20 + 24 + 30 elements of 8 bit over a port of 32 bit.
    assert port_cycles(cost, architecture) == 19
    by = (("way in", 1.0), ("computation and stalls", 2e6))
    far = LayerOpinion(layer="p", operations=100, cycles=2e6 + 1, cycles_by=by, energy_j=1.0)
    first, second = differences(cost, far, architecture)
    assert first == "another layer: 100 operations there, 120 here"
    assert second.startswith("cycles there: way in 1, computation and stalls 2,000,000; here: ")
    fast = LayerOpinion(layer="p", latency_s=12 / architecture.clock_hz)
    assert differences(cost, fast, architecture) == (
        "12 cycles there are fewer than the 19 that dram needs to move every operand once",
    )


def test_the_part_that_differs_most_is_named(tmp_path: Path) -> None:
    architecture = array(tmp_path)
    cost = nest_cost(product(), PRODUCT, architecture)
    _written(tmp_path, "a_complete.json", ZIGZAG)
    (theirs,) = read_opinion("zigzag", tmp_path)
    here = sum(c.energy_j for c in cost.charges
               if c.resource == "dram" and c.action.endswith("output"))  # fmt: skip
    dear = replace(theirs, energy_j=1e-6, cycles=cost.cycles, parts=tuple(
        replace(part, energy_j=1e-6) if (part.memory, part.role) == ("dram", "output") else part
        for part in theirs.parts))  # fmt: skip
    assert differences(cost, dear, architecture) == (
        f"most of the difference is output in dram: 1 uJ there, {here * 1e6:.4g} here",
    )
    by_memory = LayerOpinion(layer="p", energy_j=1.0, parts=(
        Part(memory="pads", energy_j=1.0), Part(memory="MAC", energy_j=5.0)))  # fmt: skip
    pads = sum(c.energy_j for c in cost.charges if c.resource == "pads")
    assert differences(cost, by_memory, architecture) == (
        f"most of the difference is pads: 1e+06 uJ there, {pads * 1e6:.4g} here",
    )


def test_a_port_without_limit_needs_no_cycles(tmp_path: Path) -> None:
    free = array(
        tmp_path, ARRAY.replace('\n     read_bandwidth: "32 bit/cycle", one_port: true', "")
    )
    assert port_cycles(nest_cost(product(), PRODUCT, free), free) == 0
