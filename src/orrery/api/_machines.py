"""From what a user types to a system, and to the cost models of its devices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from orrery.errors import SpecError

if TYPE_CHECKING:
    from orrery.cost import CostModel
    from orrery.hardware import System

__all__ = ["cost_models", "load_system"]


def load_system(system: object) -> System:
    """Return a system from a YAML file, a catalogue name, ``this-machine``, or a system."""
    from orrery.hardware import System
    from orrery.hardware import load_system as load

    if isinstance(system, System):
        return system
    if system == "this-machine":
        from orrery.runtime import probe_machine

        return probe_machine()
    if not isinstance(system, str | Path):
        raise SpecError(
            "system",
            found=type(system).__name__,
            wanted="a path or a name",
            fix="see `orrery systems`",
        )
    return load(system)


def cost_models(system: System) -> Mapping[str, CostModel]:
    """Return the cost models a system's devices need, by the names that stand in plans."""
    from orrery.accel import resolve
    from orrery.cost import roofline

    models: dict[str, CostModel] = {"": roofline}
    for device in system.devices:
        for design in device.designs:
            if design not in models:
                models[design] = resolve(design).cost
    return models
