"""Files for ZigZag against the same written by hand from its schema."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from orrery.cost.interchange import export_zigzag
from orrery.cost.nest import NestMapping
from orrery.errors import SpecError

from .small import ARRAY, CONVOLUTION, PRODUCT, STRIDED, array, convolution, product, strided

#: Pads have no limit: the widest port of all stands for it, and the price goes with the width.
ACCELERATOR = """
name: tiny
memories:
  pads:
    {size: 128, r_cost: 0.8, w_cost: 0.8, area: 0, latency: 1, operands: [I2], ports: [
      {name: r_port_1, type: read, bandwidth_min: 8, bandwidth_max: 64,
       allocation: ["I2, tl"]},
      {name: w_port_1, type: write, bandwidth_min: 8, bandwidth_max: 64,
       allocation: ["I2, fh"]}],
     served_dimensions: [], force_double_buffering: false}
  buffer:
    {size: 8192, r_cost: 8, w_cost: 6, area: 0, latency: 1, operands: [I1, O], ports: [
      {name: r_port_1, type: read, bandwidth_min: 8, bandwidth_max: 64,
       allocation: ["I1, tl", "O, tl", "O, th"]},
      {name: w_port_1, type: write, bandwidth_min: 8, bandwidth_max: 32,
       allocation: ["I1, fh", "O, fh", "O, fl"]}],
     served_dimensions: [D1, D2], force_double_buffering: true}
  dram:
    {size: 10000000000, r_cost: 320, w_cost: 320, area: 0, latency: 1, operands: [I1, I2, O],
     ports: [{name: rw_port_1, type: read_write, bandwidth_min: 8, bandwidth_max: 32,
       allocation: ["I1, fh", "I2, fh", "O, fh", "O, fl", "I1, tl", "I2, tl", "O, tl", "O, th"]}],
     served_dimensions: [D1, D2], force_double_buffering: false}
operational_array: {unit_energy: 0.5, unit_area: 0, dimensions: [D1, D2], sizes: [2, 3]}
"""

WORKLOAD = """
- {id: 0, name: conv, operator_type: Conv, equation: "O[k][oy][ox]+=W[k][c][fy][fx]*I[c][iy][ix]",
   dimension_relations: ["iy=1*oy+1*fy", "ix=1*ox+1*fx"], loop_dims: [K, C, OY, OX, FY, FX],
   loop_sizes: [4, 2, 7, 7, 2, 3], operand_precision: {W: 8, I: 8, O: 16, O_final: 8},
   operand_source: {W: 0, I: 0}, pr_loop_dims: [IY, IX], pr_loop_sizes: [6, 9],
   padding: [[1, 1], [0, 0]]}
- {id: 1, name: product, operator_type: Gemm, equation: "O[b][k]+=W[c][k]*I[b][c]",
   dimension_relations: [], loop_dims: [B, K, C], loop_sizes: [5, 6, 4],
   operand_precision: {W: 8, I: 8, O: 16, O_final: 8}, operand_source: {W: 1, I: 1}}
- {id: 2, name: strided, operator_type: Conv, equation: "O[k][ox]+=W[k]*I[ix]",
   dimension_relations: ["ix=2*ox+1*fx"], loop_dims: [K, OX, FX], loop_sizes: [2, 4, 1],
   operand_precision: {W: 8, I: 8, O: 16, O_final: 8}, operand_source: {W: 2, I: 2},
   pr_loop_dims: [IX], pr_loop_sizes: [7], padding: [[0, 0]]}
"""

MAPPING = """
- {name: default, spatial_mapping: {D1: ["K, 1"], D2: ["K, 1"]},
   memory_operand_links: {O: O, W: I2, I: I1}}
- {name: conv, spatial_mapping: {D1: ["K, 2"], D2: ["C, 2"]},
   temporal_ordering: [[FY, 2], [FX, 3], [OY, 7], [OX, 7], [K, 2]],
   memory_operand_links: {O: O, W: I2, I: I1}}
- {name: product, spatial_mapping: {D1: ["C, 2"], D2: ["K, 3"]},
   temporal_ordering: [[C, 2], [K, 2], [B, 5]], memory_operand_links: {O: O, W: I2, I: I1}}
- {name: strided, spatial_mapping: {D1: ["K, 2"], D2: ["OX, 1"]},
   temporal_ordering: [[OX, 4]], memory_operand_links: {O: O, W: I2, I: I1}}
"""

LEVELS = {
    "conv": {
        "O": [[["FY", 2], ["FX", 3], ["OY", 7]], [["OX", 7], ["K", 2]]],
        "W": [[["FY", 2], ["FX", 3]], [["OY", 7], ["OX", 7], ["K", 2]]],
        "I": [[["FY", 2], ["FX", 3], ["OY", 7]], [["OX", 7], ["K", 2]]],
    },
    "product": {
        "O": [[["C", 2], ["K", 2]], [["B", 5]]],
        "W": [[["C", 2]], [["K", 2], ["B", 5]]],
        "I": [[["C", 2], ["K", 2]], [["B", 5]]],
    },
    "strided": {"O": [[["OX", 4]], []], "W": [[], [["OX", 4]]], "I": [[["OX", 4]], []]},
}

NESTS = {
    "conv": (convolution(), CONVOLUTION),
    "product": (product(), PRODUCT),
    "strided": (strided(), STRIDED),
}


def test_files_say_what_a_person_would_write(tmp_path: Path) -> None:
    made = export_zigzag(NESTS, array(tmp_path)).files
    assert yaml.safe_load(made["accelerator.yaml"]) == yaml.safe_load(ACCELERATOR)
    assert yaml.safe_load(made["workload.yaml"]) == yaml.safe_load(WORKLOAD)
    assert yaml.safe_load(made["mapping.yaml"]) == yaml.safe_load(MAPPING)
    assert json.loads(made["levels.json"]) == LEVELS


def test_equations_and_relations_fit_its_schema(tmp_path: Path) -> None:
    layers = yaml.safe_load(export_zigzag(NESTS, array(tmp_path)).files["workload.yaml"])
    # From its workload validator.
    equation = r"^O(\[\w+\])+\s*\+?\s*=\s*\w(\[\w+\])+\s*[*+]\s*\w(\[(?:\w+)?\])+\s*$"
    relation = r"^(\w+)\s*=\s*(?:(\w+)\s*\*\s*)?(\w+)\s*\+\s*(?:(\w+)\s*\*\s*)?(\w+)$"
    for layer in layers:
        assert re.match(equation, layer["equation"])
        assert all(re.match(relation, said) for said in layer["dimension_relations"])


def test_what_it_has_no_words_for_is_listed(tmp_path: Path) -> None:
    text = ARRAY.replace('hop: "0 pJ/bit"', 'hop: "0.25 pJ/bit"')
    text = text.replace("holds: [weight], size", "slides: [weight], holds: [weight], size")
    text = text.replace('"64 bit/cycle"', '"19.5 bit/cycle"').replace("reduces: [rows, cols]", "")
    text = text.replace("double_buffered: [input, output],", "double_buffered: [input],")
    text = text.replace("  - {name: dram,", '  - {name: dram, static_power: "1 mW",')
    architecture = replace(array(tmp_path, text.replace(", }", "}")), macs_per_cycle=2)
    uneven = replace(CONVOLUTION, temporal=(
        (("Cout", 2), ("W", 7)), (("H", 4),), (("H", 2), ("Kw", 3), ("Kh", 2)),
    ))  # fmt: skip
    nests = {"conv": (convolution(), uneven), "twice": (replace(product(), times=2), PRODUCT),
             "pool": (replace(product(), macs=False), PRODUCT)}  # fmt: skip
    said = "\n".join(export_zigzag(nests, architecture).notes)
    for part in ("multipliers that wait", "0.25 pJ a bit", "weight alone arrive", "19.5 bit",
                 "static power", "2 multiply-accumulates", "output along rows, cols is added up",
                 "second buffer for input alone", "conv: factors of H", "one of 2 equal runs",
                 "pool: left out, passes over data"):  # fmt: skip
        assert part in said


def test_nothing_left_to_say_is_an_error(tmp_path: Path) -> None:
    pool = replace(product(), macs=False)
    with pytest.raises(SpecError, match="no layer that is a product"):
        export_zigzag({"pool": (pool, PRODUCT)}, array(tmp_path))


def test_all_files_are_written_with_the_notes(tmp_path: Path) -> None:
    paths = export_zigzag(NESTS, array(tmp_path)).write(tmp_path / "out")
    assert [path.name for path in paths] == [
        "accelerator.yaml", "workload.yaml", "mapping.yaml", "levels.json", "price.py", "NOTES.md",
    ]  # fmt: skip
    assert "multipliers that wait" in paths[-1].read_text()


def test_a_nest_of_one_pass_has_an_order_still(tmp_path: Path) -> None:
    alone = NestMapping(temporal=((), (("W", 4), ("Cout", 2)), ()))
    made = export_zigzag({"strided": (strided(), alone)}, array(tmp_path)).files["mapping.yaml"]
    entry = yaml.safe_load(made)[1]
    assert entry["temporal_ordering"] == [["K", 2], ["OX", 4]]
    assert entry["spatial_mapping"] == {"D1": ["K, 1"], "D2": ["K, 1"]}
