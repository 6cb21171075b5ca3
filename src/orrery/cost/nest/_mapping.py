"""How a layer's loops run on a spatial accelerator: which part where, in which order.

    temporal  per level, outermost first: loops (name, factor), outer to inner, that step through
              what this level holds
    spatial   per array axis: loops (name, factor) whose parts run side by side, the first outermost

The part of a loop that a level sees at a time is the product of the factors further in, its own
included. Factors need not divide: the last pass over a loop is shorter, at its end only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orrery.errors import SpecError
from orrery.hardware import Architecture
from orrery.plan import KernelSchedule

#: name of this space of schedules in plans
SPACE = "loop nest"

Factors = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NestMapping:
    """A point of the space.

    Attributes
    ----------
    temporal : one tuple of (loop, factor) per level of the architecture
    spatial : array axis -> (loop, factor), …
    """

    temporal: tuple[Factors, ...]
    spatial: Mapping[str, Factors] = field(default_factory=dict)

    def schedule(self, architecture: Architecture) -> KernelSchedule:
        """Return it as a schedule that a plan can carry."""
        parameters: dict[str, tuple[str, ...]] = {}
        for level, loops in zip(architecture.levels, self.temporal, strict=True):
            parameters[f"at {level.name}"] = tuple(f"{name}={n}" for name, n in loops)
        for axis, loops in self.spatial.items():
            parameters[f"along {axis}"] = tuple(f"{name}={n}" for name, n in loops)
        return KernelSchedule(space=SPACE, parameters=parameters)

    @staticmethod
    def read(schedule: KernelSchedule, architecture: Architecture) -> NestMapping:
        """Read a schedule back.

        Raises
        ------
        SpecError : another space, an unknown level or axis, a factor that is no whole number
        """
        where = f"schedule for {architecture.name}"
        if schedule.space != SPACE:
            raise SpecError(where, found=f"space {schedule.space!r}", wanted=repr(SPACE),
                            fix="map the layer anew")  # fmt: skip
        known = [f"at {level.name}" for level in architecture.levels]
        along = [f"along {axis.name}" for axis in architecture.axes]
        for key in schedule.parameters:
            if key not in (*known, *along):
                raise SpecError(where, found=key, wanted=f"one of {', '.join((*known, *along))}",
                                fix="map the layer anew for this architecture")  # fmt: skip
        return NestMapping(
            temporal=tuple(_factors(schedule, key, where) for key in known),
            spatial={key.removeprefix("along "): _factors(schedule, key, where)
                     for key in along if key in schedule.parameters},
        )  # fmt: skip


def _factors(schedule: KernelSchedule, key: str, where: str) -> Factors:
    values = schedule.parameters.get(key, ())
    found: list[tuple[str, int]] = []
    for value in values if isinstance(values, tuple) else (values,):
        name, _, number = str(value).partition("=")
        if not number.isdecimal() or int(number) < 1:
            raise SpecError(f"{where}: {key}", found=value, wanted="loop=factor, 1 or more",
                            fix="correct the factor")  # fmt: skip
        found.append((name, int(number)))
    return tuple(found)
