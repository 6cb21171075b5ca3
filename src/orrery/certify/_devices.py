"""Computations against the devices: one at a time, in order, of the design, as long as they take.

Models:  a device that computes one part of one region at a time, with at most one design.
Ignores: what is computed (see `_flow`).
Judge:   corruptions of valid certificates (tests).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from orrery.certificate import Computation
from orrery.hardware import System
from orrery.plan import Plan

from ._report import Violations

_PS = 10**12


def check_devices(
    computations: Sequence[Computation],
    plan: Plan,
    system: System,
    seconds: Callable[[Computation], float | None],
    found: Violations,
) -> None:
    """Check what every device does against the plan, its designs and the cost models."""
    place = {assignment.region: i for i, assignment in enumerate(plan.assignments)}
    by_device: dict[str, list[Computation]] = {}
    for c in computations:
        by_device.setdefault(c.device, []).append(c)
        takes = seconds(c)
        where = f"{c.region!r} on {c.device!r}, round {c.round}"
        if takes is None:
            found.add("part", where, "a part that the plan does not give it", "the plan's part")
        elif not abs(c.end_ps - c.start_ps - takes * _PS) <= 1 + 1e-9 * takes * _PS:
            found.add("duration", where, f"{c.end_ps - c.start_ps} ps", f"{takes * _PS:.0f} ps")
    for device, mine in by_device.items():
        mine.sort(key=lambda c: (c.start_ps, c.end_ps, place[c.region], c.round))
        _check_sequence(device, mine, place, found)
        _check_design(device, mine, system, found)
    _check_rounds(computations, plan, found)


def _check_sequence(
    device: str, mine: Sequence[Computation], place: dict[str, int], found: Violations
) -> None:
    for before, after in pairwise(mine):
        where = f"{after.region!r} after {before.region!r} on {device!r}"
        if after.start_ps < before.end_ps:
            found.add("overlap", where, f"a start at {after.start_ps} ps",
                      f"{before.end_ps} ps or later")  # fmt: skip
        if (place[after.region], after.round) < (place[before.region], before.round):
            found.add("order", where, "the other way round than in the plan", "the plan's order")


def _check_design(
    device: str, mine: Iterable[Computation], system: System, found: Violations
) -> None:
    offered = system.device(device).designs
    used = dict.fromkeys(c.design for c in mine if c.design is not None)
    for design in used:
        if design not in offered:
            found.add("design", f"{device!r}", design, f"one of {', '.join(offered) or 'none'}")
    if len(used) > 1:
        found.add("design", f"{device!r}", " and ".join(used), "one design")


def _check_rounds(computations: Iterable[Computation], plan: Plan, found: Violations) -> None:
    """Every device of a region computes it, in as many rounds as the others, each once."""
    done: dict[str, dict[str, list[int]]] = {}
    for c in computations:
        done.setdefault(c.region, {}).setdefault(c.device, []).append(c.round)
    for assignment in plan.assignments:
        rounds = done.get(assignment.region, {})
        if not rounds:
            found.add("region", f"{assignment.region!r}", "no computation of it", "one or more")
            continue
        most = max(len(mine) for mine in rounds.values())
        for device in assignment.devices:
            if sorted(rounds.get(device, [])) != list(range(most)):
                found.add("part", f"{assignment.region!r} on {device!r}",
                          f"rounds {sorted(rounds.get(device, []))}",
                          f"each of {most} rounds once")  # fmt: skip
