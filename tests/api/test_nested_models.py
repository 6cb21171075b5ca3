"""Mapping onto arrays: `map` finds the nests, the plan carries them, prices agree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orrery import api
from orrery.cost.nest import NestMapping, nest_cost, nest_problem
from orrery.graph import build_model
from orrery.hardware import load_architecture

SYSTEM = """\
name: two-arrays
host: host
source: guess
sources: {guess: {basis: assumed, where: sketch, note: "two arrays behind one switch"}}
devices:
  - name: "array{i}"
    count: 2
    kind: asic
    designs: ["spatial(architecture='tpu-like-32')"]
    compute: {macs: {float32: "204.8 GMAC/s"}, others: "6.4 Gop/s", clock: "200 MHz"}
    memories: [{name: dram, size: "1 GiB", bandwidth: "1.6 GB/s", offchip: true}]
links:
  - {switch: sw, ports: [host, array0, array1], bandwidth: "4 GB/s", latency: "1 us"}
"""


@pytest.fixture
def system(tmp_path: Path) -> Path:
    path = tmp_path / "two-arrays.yaml"
    path.write_text(SYSTEM)
    return path


def test_plans_carry_their_nests_and_are_priced_by_them(system: Path, tmp_path: Path) -> None:
    graph = build_model("alexnet", image=64, width=0.1)
    search = api.MapSearch(search="greedy")
    result = api.map(graph, on=system, search=search)
    architecture = load_architecture("tpu-like-32")
    nested = [a for a in result.plan.assignments if a.schedule is not None]
    assert nested, "no layer runs on the array"
    regions = {region.name: region for region in graph.regions()}
    for assignment in nested:
        (problem,) = nest_problem(regions[assignment.region])
        assert assignment.schedule is not None
        mapping = NestMapping.read(assignment.schedule, architecture)
        told = nest_cost(problem, mapping, architecture)
        assert result.price.per_region[assignment.region].latency_s == told.latency_s
    files = result.write(tmp_path / "out")
    assert api.certify(tmp_path / "out", models=[graph]).report.holds
    assert "loop nest" in json.dumps(json.loads(files["plan"].read_text()))


def test_a_layer_shared_by_two_arrays_is_priced_under_nests_of_its_parts(system: Path) -> None:
    graph = build_model("alexnet", image=64, width=0.1)
    result = api.map(graph, on=system, search=api.MapSearch(search="exact-sets", loops=1))
    assert any(a.split is not None for a in result.plan.assignments)
    single = api.map(graph, on=system, search=api.MapSearch(search="single"))
    assert result.plan.predicted_latency_s <= single.plan.predicted_latency_s
