"""Layers of one shape, other weights: prediction, price, replay, bound, certificate agree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orrery import api
from orrery.accel import resolve
from orrery.api.nests import nested
from orrery.cost import reads_values
from orrery.errors import SpecError
from orrery.graph import ArrayConstant, Graph, Node, TensorType, write_onnx
from orrery.hardware import load_system

DESIGN = "bitlet(precision='fixed8')"
SIZE = 128


def layers(order: str) -> Graph:
    """Products of one shape: ``l`` with a row and a column of ones, ``d`` with nothing else."""
    light = np.zeros((SIZE, SIZE), np.float32)
    light[0] = light[:, 0] = 1
    dense = np.where(np.random.default_rng(0).integers(0, 2, (SIZE, SIZE)), 1, -1)
    held = {"l": light, "d": dense.astype(np.float32)}
    nodes = [Node(name=f"n{i}", op="MatMul", inputs=(f"t{i}", f"w{i}"), outputs=(f"t{i + 1}",))
             for i in range(len(order))]  # fmt: skip
    return Graph(
        name=f"of-{order}", nodes=tuple(nodes), inputs=("t0",), outputs=(f"t{len(order)}",),
        types={"t0": TensorType(dtype="float32", shape=(1024, SIZE))},
        constants={f"w{i}": ArrayConstant(held[kind]) for i, kind in enumerate(order)},
    ).infer()  # fmt: skip


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A system of one array."""
    path = tmp_path / "one.yaml"
    four = load_system("bitlet-x4", check_design=resolve)
    path.write_text(api.system_yaml(replace(four, devices=four.devices[:1], links=four.links[:1])))
    return path


def agree(result: api.MapResult) -> None:
    """Check that nobody who asked for the prices of the plan's layers says something else."""
    assert result.report.holds, result.report
    seconds = result.timeline.makespan_s
    assert result.plan.predicted_latency_s == pytest.approx(seconds, rel=1e-9)
    assert result.price.total.latency_s == pytest.approx(seconds, rel=1e-9)
    assert result.plan.lower_bound_s is None or result.plan.lower_bound_s <= seconds * (1 + 1e-9)


@dataclass(frozen=True)
class NeedsNest:
    """As much of a cost model as is asked here."""

    reads_values: bool
    needs_schedule: bool = True


@pytest.mark.parametrize("reads", [False, True])
def test_a_model_whose_nests_are_found_says_itself_whether_it_reads_weights(reads: bool) -> None:
    found = nested(NeedsNest(reads_values=reads))  # type: ignore[arg-type]
    assert not isinstance(found, NeedsNest)
    assert reads_values({"": found}) == reads


@pytest.mark.parametrize("search", ["greedy", "single", "exact-layers", "exact-sets"])
@pytest.mark.parametrize("order", ["ldl", "dld"])
def test_every_layer_is_priced_by_its_own_weights(
    one: Path, tmp_path: Path, order: str, search: str
) -> None:
    graph = layers(order)
    write_onnx(graph, tmp_path / "net.onnx")
    result = api.map(tmp_path / "net.onnx", on=one, search=api.MapSearch(search=search))
    model, device = resolve(DESIGN).cost, result.system.devices[0]
    alone = {r.name: model.cost(r, device).latency_s for r in graph.regions()}
    assert max(alone.values()) > 2 * min(alone.values())
    priced = {n: c.latency_s for n, c in result.price.per_region.items()}
    if search == "exact-sets":  # the messages of a layer are in its price
        assert priced["n1"] == pytest.approx(alone["n1"])
        assert all(priced[n] >= alone[n] * (1 - 1e-12) for n in alone)
    else:
        assert priced == pytest.approx(alone)
    agree(result)
    result.write(tmp_path / "out")
    assert api.certify(tmp_path / "out").report.holds
    assert api.simulate(tmp_path / "out/plan.json").timeline == result.timeline


def test_shared_layers_are_priced_by_their_own_weights() -> None:
    result = api.map(layers("ld"), on="bitlet-x4", search=api.MapSearch(search="exact-sets"))
    split = {a.region for a in result.plan.assignments if len(a.devices) > 1}
    assert split, "no layer is shared"
    agree(result)


def test_a_kept_sweep_is_not_one_of_other_weights(one: Path, tmp_path: Path) -> None:
    net, out = tmp_path / "net.onnx", tmp_path / "out"
    settings: dict[str, Any] = {"on": one, "vary": ["objective=latency"], "out": out}
    found = []
    for order in ("l", "d"):
        write_onnx(replace(layers(order), name="same"), net)
        if found:
            with pytest.raises(SpecError, match="net"):
                api.sweep(net, **settings)
            settings.pop("out")
        [row] = api.sweep(net, **settings).rows
        found.append(row.value("latency"))
    assert found[1] > 2 * found[0]
