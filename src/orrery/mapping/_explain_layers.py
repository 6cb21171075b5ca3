"""What every other place for a layer would cost, in a plan of whole layers.

Models:  everything else held (places, designs, order), one region at a time goes to every other
         device, under the design that this has, or under each where nothing else of the plan is
         there; where the region is alone on its device, under its other designs too. Each time the
         list schedule places all again in the plan's order, and so it does for the plan as it is.
         Memories are limits.
Ignores: changes of several regions at once; other orders; links shared at one time.
Judge:   the same schedule of each changed mapping, found by brute force (tests).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from orrery.errors import SpecError
from orrery.plan import Plan
from orrery.progress import SILENT, Progress

from ._memory import Shortage
from ._schedule import Scheduler, Trial
from ._tables import Tables


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReason:
    """The best other place of a region; no device where there is none that works.

    Attributes
    ----------
    region : its name
    device, design : where it would go, and as what that device would be configured
    makespan_s : of the whole plan then
    """

    region: str
    device: str | None = None
    design: str | None = None
    makespan_s: float = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersExplained:
    """The regions of a plan, in its order; `makespan_s` is that of the plan by the same clock."""

    makespan_s: float
    reasons: tuple[LayerReason, ...]


def explain_layers(
    tables: Tables, plan: Plan, *, capacity_bytes: Sequence[int] = (), progress: Progress = SILENT
) -> LayersExplained:
    """Return the cheapest other place of every region of a plan of whole regions.

    Parameters
    ----------
    capacity_bytes : per device, what may be used of its memory; empty: all

    Raises
    ------
    SpecError : split regions, or not a plan of these networks and devices
    CancelledError : the user asked to stop
    """
    trial = _trial_of(tables, plan)
    scheduler = Scheduler(tables, capacity_bytes or tables.capacity_bytes)
    names = tables.workload.names
    try:
        now = scheduler.schedule(trial).makespan_s
    except Shortage:
        raise _foreign("more than the memories hold", "a plan that fits") from None
    reasons = []
    for place, region in enumerate(trial.order):
        progress.step("what other choices cost", place, len(trial.order))
        best = LayerReason(region=names[region])
        for other in _others(tables, trial, region):
            try:
                makespan = scheduler.schedule(other).makespan_s
            except Shortage:
                continue
            if makespan < best.makespan_s and other.mapping is not None:
                row = tables.configurations[other.configuration[other.mapping[region]]]
                best = LayerReason(
                    region=names[region], device=tables.ends[row.device], design=row.design,
                    makespan_s=makespan,
                )  # fmt: skip
        reasons.append(best)
    return LayersExplained(makespan_s=now, reasons=tuple(reasons))


def _others(tables: Tables, trial: Trial, region: int) -> Iterator[Trial]:
    """Yield the trial with one region elsewhere, or its device configured otherwise."""
    mapping = list(trial.mapping or ())
    home = mapping[region]
    for device, rows in enumerate(tables.of_device):
        in_force = trial.configuration[device]
        free = not any(d == device for r, d in enumerate(mapping) if r != region)
        for row in rows if free else (in_force,):
            if (device, row) == (home, in_force) or tables.seconds[row, region] == float("inf"):
                continue
            moved = [*mapping[:region], device, *mapping[region + 1 :]]
            rest = (*trial.configuration[:device], row, *trial.configuration[device + 1 :])
            yield replace(trial, configuration=rest, mapping=moved)


def _trial_of(tables: Tables, plan: Plan) -> Trial:
    """Return who is where under which configuration, in the plan's order."""
    w = tables.workload
    number = {name: region for region, name in enumerate(w.names)}
    devices = {name: device for device, name in enumerate(tables.ends[: len(tables.of_device)])}
    if plan.is_split or {a.region for a in plan.assignments} != set(number):
        raise _foreign("other regions, or split ones", "whole regions of these networks")
    mapping = [-1] * len(number)
    designs: list[dict[int, str | None]] = [{} for _ in devices]
    for assignment in plan.assignments:
        device, region = devices.get(assignment.device, -1), number[assignment.region]
        if device < 0:
            raise _foreign(repr(assignment.device), "devices of this system")
        mapping[region] = device
        designs[device][region] = assignment.design
    configuration = []
    for device, rows in enumerate(tables.of_device):
        fits = [
            row for row in rows
            if all(tables.seconds[row, region] < float("inf") and design == (
                None if tables.own_units[row, region] else tables.configurations[row].design
            ) for region, design in designs[device].items())
        ]  # fmt: skip
        if not fits:
            raise _foreign(f"{tables.ends[device]!r} under several designs", "one per device")
        configuration.append(fits[0])
    order = tuple(number[assignment.region] for assignment in plan.assignments)
    return Trial(configuration=tuple(configuration), order=order, mapping=mapping)


def _foreign(found: str, wanted: str) -> SpecError:
    return SpecError("plan of whole layers", found=found, wanted=wanted,
                     fix="explain a plan with the networks and system it was made for")  # fmt: skip
