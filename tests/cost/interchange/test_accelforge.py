"""Files for AccelForge against the same written by hand in its words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from orrery.cost.interchange import export_accelforge
from orrery.errors import SpecError

from .small import CONVOLUTION, PRODUCT, STRIDED, array, convolution, product, strided

ARCHITECTURE = """
arch:
  nodes:
  - !Memory {name: dram, size: inf, area: 0, leak_power: 0,
      tensors: {keep: input | weight | output, may_keep: Nothing}, bits_per_value: {T0: 8},
      total_latency: sum(a.n_calls / a.throughput for a in actions), actions: [
        {name: read, energy: 6.4e-10, bits_per_action: 64, throughput: 5.0e+7},
        {name: write, energy: 6.4e-10, bits_per_action: 64, throughput: 5.0e+7}]}
  - !Memory {name: buffer, size: 8192, area: 0, leak_power: 0,
      tensors: {keep: input | output, may_keep: Nothing},
      total_latency: max(a.n_calls / a.throughput for a in actions), actions: [
        {name: read, energy: 2.0e-12, bits_per_action: 16, throughput: 4.0e+8},
        {name: write, energy: 3.0e-12, bits_per_action: 16, throughput: 2.0e+8}]}
  - !Container {name: array_rows, spatial: [
      {name: rows, fanout: 2, may_reuse: input | output}]}
  - !Container {name: array_cols, spatial: [
      {name: cols, fanout: 3, may_reuse: input | output}]}
  - !Memory {name: pads, size: 128, area: 0, leak_power: 0,
      tensors: {keep: weight, may_keep: Nothing},
      total_latency: max(a.n_calls / a.throughput for a in actions), actions: [
        {name: read, energy: 1.0e-13, bits_per_action: 8, throughput: inf},
        {name: write, energy: 1.0e-13, bits_per_action: 8, throughput: inf}]}
  - !Compute {name: MAC, leak_power: 0, area: 0, actions: [
      {name: compute, energy: 5.0e-13, throughput: 1.0e+8}]}
"""

WORKLOAD = """
workload:
  bits_per_value: {I0: 8, W0: 8, T0: 16}
  einsums:
  - einsum: "T0[m, p, q] = I0[c, X1: p + r, X2: q + s] * W0[m, c, r, s]"
    iteration_space_shape: [0 <= m < 4, 0 <= c < 2, 0 <= p < 7, 0 <= q < 7, 0 <= r < 2, 0 <= s < 3]
    renames: {input: I0, weight: W0, output: T0}
"""

MAPPING = """
mapping:
  nodes:
  - !Storage {component: dram, tensors: [I0]}
  - !Storage {component: dram, tensors: [W0]}
  - !Storage {component: dram, tensors: [T0]}
  - !Temporal {rank_variable: m, tile_shape: 2}
  - !Temporal {rank_variable: q, tile_shape: 1}
  - !Storage {component: buffer, tensors: [I0]}
  - !Storage {component: buffer, tensors: [T0]}
  - !Spatial {rank_variable: m, tile_shape: 1, name: rows, component: array_rows}
  - !Spatial {rank_variable: c, tile_shape: 1, name: cols, component: array_cols}
  - !Storage {component: pads, tensors: [W0]}
  - !Temporal {rank_variable: p, tile_shape: 1}
  - !Temporal {rank_variable: s, tile_shape: 1}
  - !Temporal {rank_variable: r, tile_shape: 1}
  - !Compute {component: MAC, einsum: T0}
"""


class _Tagged(yaml.SafeLoader):
    """Reads a tagged mapping as the mapping with its tag."""


def _with_tag(loader: _Tagged, tag: str, node: yaml.Node) -> dict[str, Any]:
    assert isinstance(node, yaml.MappingNode)
    return {"tag": tag, **loader.construct_mapping(node, deep=True)}


_Tagged.add_multi_constructor("!", _with_tag)


def _read(text: str) -> Any:
    return yaml.load(text, Loader=_Tagged)  # a safe loader with one more tag


def _close(found: Any, wanted: Any) -> bool:
    """Compare documents, their numbers up to rounding."""
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_close(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_close, found, wanted))
    if isinstance(wanted, float):
        return bool(found == pytest.approx(wanted, rel=1e-12))
    return bool(found == wanted)


def test_files_say_what_a_person_would_write(tmp_path: Path) -> None:
    made = export_accelforge({"conv": (convolution(), CONVOLUTION)}, array(tmp_path)).files
    assert _close(_read(made["architecture.yaml"]), _read(ARCHITECTURE))
    assert _read(made["layer-000.workload.yaml"]) == _read(WORKLOAD)
    assert _read(made["layer-000.mapping.yaml"]) == _read(MAPPING)
    assert json.loads(made["layers.json"]) == {"layer-000": "conv"}
    compile(made["price.py"], "price.py", "exec")


def test_what_it_has_no_words_for_is_listed(tmp_path: Path) -> None:
    # Sums of one channel after the other go back to the buffer and even off chip.
    outside = replace(CONVOLUTION, temporal=((("Kw", 3), ("Cout", 2), ("W", 7)), (("Kh", 2),
                                             ("H", 7)), ()))  # fmt: skip
    cut = replace(CONVOLUTION, temporal=((("Cout", 2), ("W", 7)), (("H", 8),), outside.temporal[2]))
    nests = {
        "conv": (convolution(), outside), "cut": (convolution(), cut),
        "wide": (replace(product(), times=2), PRODUCT),
        "strided": (strided(), STRIDED), "pool": (replace(product(), macs=False), PRODUCT),
    }  # fmt: skip
    export = export_accelforge(nests, array(tmp_path))
    said = "\n".join(export.notes)
    for part in ("conv: padding is fetched", "cut: left out, factors of", "one of 2 equal runs",
                 "strided: elements between", "pool: left out", "16 bit in dram, buffer",
                 "no second buffer for input, output", "multipliers that wait"):  # fmt: skip
        assert part in said
    assert "bits_per_value" not in export.files["architecture.yaml"]


def test_an_array_filled_unevenly_is_said(tmp_path: Path) -> None:
    thirds = replace(PRODUCT, temporal=((("N", 5),), (("Cout", 3),), (("Cin", 2),)),
                     spatial={"rows": (("Cout", 2),), "cols": (("Cin", 3),)})  # fmt: skip
    export = export_accelforge({"product": (product(), thirds)}, array(tmp_path))
    assert "product: Cin fills the array unevenly; counted as full there" in export.notes


def test_nothing_left_to_say_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no layer that is a product"):
        export_accelforge({"pool": (replace(product(), macs=False), PRODUCT)}, array(tmp_path))
