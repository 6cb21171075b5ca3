"""Energies that physics makes unlikely are doubted, each by its row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orrery.hardware import doubts, load_architecture


@pytest.mark.parametrize(("change", "said"), [
    ({"hop_energy_j_per_bit": 1e-6}, "hop"),
    ({"idle_mac_energy_j": 1e-9, "mac_energy_j": 1e-12}, "idle multiplier"),
    ({"static_power_w": 1e6}, "static power"),
])  # fmt: skip
def test_hops_idle_multipliers_and_static_power_are_looked_at(
    change: dict[str, float], said: str
) -> None:
    array = replace(load_architecture("eyeriss-v1"), **change)
    assert any(said in doubt for doubt in doubts(array))
