"""Eyeriss v2 in the study: totals of a network are sums over its layers."""

from __future__ import annotations

import pytest

from orrery.cost.nest import LOOPS
from orrery.hardware import load_architecture
from orrery.progress import SILENT
from orrery.studies.eyeriss import _mesh, _sets
from orrery.studies.eyeriss._layers import Conv, conv_problem

LAYERS = (
    Conv(name="conv1", made=8, read=4, size=4, kernel=1),
    Conv(name="conv13 depthwise", made=8, read=8, size=4, kernel=3, pad=1, groups=8),
    Conv(name="fc", made=10, read=8, size=1, kernel=1),
)


def test_a_network_is_the_sum_of_its_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_mesh, "MESH_NETWORKS", {"AlexNet": LAYERS})
    monkeypatch.setattr(_mesh, "BUDGET", 20_000)
    records = {record.name: record for record in _mesh.mesh_records(SILENT)}
    chip = load_architecture("eyeriss-v2", loops=tuple(LOOPS))
    costs = [_mesh._best(conv_problem(layer, 1), layer, chip) for layer in LAYERS]
    rate = records["Eyeriss v2, AlexNet: inferences per second"]
    assert rate.ours == pytest.approx(1 / sum(cost.latency_s for cost in costs))
    moved = [cost.cost.offchip_bytes or 0 for cost in costs]
    assert records["Eyeriss v2, AlexNet: off-chip traffic"].ours == sum(moved)
    assert records["Eyeriss v2, AlexNet: off-chip traffic of convolutions"].ours == sum(moved[:2])
    first = records["Eyeriss v2, AlexNet: conv1: 10^9 operations/J"].ours
    outside = sum(c.energy_j for c in costs[0].charges if c.resource == "dram")
    assert first == pytest.approx(2e-9 * LAYERS[0].macs / ((costs[0].energy_j or 0) - outside))
    known = {name: r for name, r in records.items() if r.status != "not reproducible"}
    sets = {one.name: one for one in _sets._mesh_sets(known)}
    (row,) = sets["eyeriss-v2-layout-latency"].rows
    assert row.ours == pytest.approx(sum(cost.latency_s for cost in costs))
    assert records["Eyeriss v2: sparse AlexNet and sparse MobileNet"].ours is None
