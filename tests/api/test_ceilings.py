"""Ceilings and objectives hold whatever else is asked, and against every single device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orrery import api
from orrery.graph import build_model

SYSTEM = Path(__file__).parent / "four-boards.yaml"


def test_a_need_that_mapping_cannot_know_gives_no_ceiling_away() -> None:
    graph = build_model("memn2n")
    free = api.map(graph, on=SYSTEM)
    joules = free.price.total.energy_j
    assert joules is not None
    least = api.map(graph, on=SYSTEM, search=api.MapSearch(objective="energy"))
    limit = 0.5 * (joules + (least.price.total.energy_j or 0.0))
    for more in ((), ("accuracy>70%",), ("throughput>1e12/s",)):
        result = api.map(graph, on=SYSTEM, needs=(f"energy<={limit:.9g}J", *more))
        assert result.verdicts[0].status == "pass", more


def test_under_the_energy_objective_no_single_device_takes_less() -> None:
    system = api.load_system(SYSTEM)
    graph = build_model("memn2n")
    kept = api.map(graph, on=system, search=api.MapSearch(objective="energy"))
    assert kept.price.total.energy_j is not None
    for device in system.devices:
        links = tuple(x for x in system.links if device.name in x.ends and system.host in x.ends)
        if not links:
            continue
        alone = replace(system, devices=(device,), links=links)
        joules = api.map(graph, on=alone, search=api.MapSearch(search="greedy")).price.total
        assert kept.price.total.energy_j <= (joules.energy_j or 0.0) * (1 + 1e-9)
