"""From what a user types to a system, and to the cost models of its devices."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from pathlib import Path

from orrery.accel import resolve
from orrery.cost import CostModel, roofline
from orrery.errors import SpecError, did_you_mean
from orrery.graph import operator_names
from orrery.hardware import THIS_MACHINE, System
from orrery.hardware import load_system as load
from orrery.runtime import this_machine, worker_processes


def load_system(system: object) -> System:
    """Return a system from a YAML file, a catalogue name, ``this-machine``, or a system."""
    if isinstance(system, System):
        return system
    if not isinstance(system, str | Path):
        raise SpecError(
            "system",
            found=type(system).__name__,
            wanted="a path or a name",
            fix="see `orrery systems`",
        )

    loaded = load(system, probes={THIS_MACHINE: this_machine}, check_design=resolve)
    _check_operators(loaded)
    return loaded


def _check_operators(system: System) -> None:
    """Refuse operators that no network can have: hardware itself does not know them."""
    known = operator_names()
    for device in system.devices:
        for name in device.operators or ():
            if name not in known:
                raise SpecError(
                    f"{system.name}: device {device.name!r}: operators",
                    found=name,
                    wanted="operators of `orrery show --operators`",
                    fix=f"correct it{did_you_mean(name, known)}",
                )


def cost_models(system: System) -> Mapping[str, CostModel]:
    """Return the cost models a system's devices need, by the names that stand in plans."""
    from .nests import nested

    models: dict[str, CostModel] = {"": roofline}
    for device in system.devices:
        for design in device.designs:
            if design not in models:
                models[design] = nested(resolve(design).cost)
    return models


def workers(jobs: int, system: System) -> AbstractContextManager[Executor | None]:
    """Return a block in which a search has so many processes; one where there is nothing to split.

    Parameters
    ----------
    jobs : processes, this one included; 0 for one per core
    """
    needed = ("orrery.runtime", "orrery.mapping.genetic", "orrery.accel")
    return worker_processes(jobs if jobs < 0 or len(system.devices) > 1 else 1, preload=needed)
