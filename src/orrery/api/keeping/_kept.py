"""A plan for the workers of a machine as it is read: whether it is one, and what it says."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from orrery.errors import SpecError
from orrery.plan import Assignment, Plan
from orrery.store import content_hash, encode

__all__ = ["WHOLE", "WORKER", "check_placement", "is_placement", "plan_digest", "refuse_placement",
           "thread_name", "whole_ways", "worker_of"]  # fmt: skip

WORKER = "worker of this machine"  #: the space of schedules whose points are workers
WHOLE = "whole: "  #: settings: the whole network on one worker -> its median seconds


def is_placement(plan: Plan) -> bool:
    """Whether a plan places regions on workers of one machine, and not on devices of a system.

    One that has lost assignments or schedules still is one, for `check_placement` to refuse.
    """
    spaces = {a.schedule.space for a in plan.assignments if a.schedule is not None}
    return WORKER in spaces or (not spaces and {"machine", "processors"} <= set(plan.settings))


def check_placement(path: Path, plan: Plan) -> None:
    """Refuse a placement whose parts contradict each other, before anything of it is used.

    Raises
    ------
    SpecError : no assignments, a region that runs after one that does not come before it, a worker
        that is not the device, back end and processors beside it, a time that is none
    """
    from orrery.runtime.together import PROCESS

    if not plan.assignments:
        raise _wrong(path, "assignments", "none", "one or more")
    before: set[str] = set()
    for number, one in enumerate(plan.assignments):
        where = f"assignments[{number}]: region {one.region!r}"
        if late := [name for name in one.after if name not in before]:
            raise _wrong(path, f"{where}: after", ", ".join(late), "regions that come before it")
        before.add(one.region)
        said = worker_of(one)
        kind = said.get("kind", "thread")
        if kind not in ("thread", "process"):
            raise _wrong(path, f"{where}: kind", kind, "thread or process")
        wanted = f"{said['device']} {said['backend']}{'' if kind == 'thread' else PROCESS}"
        if one.device != wanted:
            raise _wrong(path, f"{where}: worker", one.device, f"{wanted}, as its schedule says")
        _check_processors(path, where, said["device"], one)
    _check_times(path, plan.settings)


def _check_processors(path: Path, where: str, device: str, one: Assignment) -> None:
    from orrery.runtime.together import core_sets

    given = {} if one.schedule is None else one.schedule.parameters
    found = given.get("processors", ())
    listed = list(found) if isinstance(found, list | tuple) else [found]
    numbers = [n for n in listed if isinstance(n, int) and not isinstance(n, bool) and n >= 0]
    if len(numbers) < len(listed):
        raise _wrong(path, f"{where}: processors", found, "a list of whole numbers")
    own = next(iter(core_sets(numbers))) if numbers else "none"
    if device.startswith("cpu") and own != device:
        raise _wrong(path, f"{where}: processors", numbers, f"those of its device, {device}")


def _check_times(path: Path, settings: Mapping[str, object]) -> None:
    for key, value in settings.items():
        if not key.startswith((WHOLE, "measured_")):
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and math.isfinite(float(str(value))) and float(str(value)) > 0):
            raise _wrong(path, f"settings: {key}", value, "seconds, more than 0")


def _wrong(path: Path, where: str, found: object, wanted: str) -> SpecError:
    return SpecError(f"{path}: {where}", found=found, wanted=wanted,
                     fix="make the plan again (--fresh places its network anew)")  # fmt: skip


def worker_of(assignment: Assignment) -> Mapping[str, str]:
    """Return what an assignment's schedule says of its worker: backend, version, device.

    Raises
    ------
    SpecError : it does not say so
    """
    said = {} if assignment.schedule is None else assignment.schedule.parameters
    for key in ("backend", "version", "device"):
        if not isinstance(said.get(key), str):
            raise SpecError(
                f"plan: region {assignment.region!r}: {key}", found=said.get(key, "nothing"),
                wanted="text, as `orrery run` writes it", fix="make the plan again",
            )  # fmt: skip
    return {key: str(value) for key, value in said.items()}


def thread_name(worker: str) -> str:
    """Return the name of a worker without what says that it is a process."""
    from orrery.runtime.together import PROCESS

    return worker.removesuffix(PROCESS)


def plan_digest(plan: Plan) -> str:
    """Return the hash of what a plan decides: for which network and machine, who runs what."""
    text = json.dumps(encode(plan.assignments), sort_keys=True)
    return content_hash(*(m.digest for m in plan.models), plan.system.digest, text)


def refuse_placement(path: Path, plan: Plan) -> None:
    """Refuse a plan for this machine's workers where one for a system is wanted."""
    if is_placement(plan):
        raise SpecError(
            str(path), found=f"a plan for the workers of {plan.system.name}",
            wanted="one for the devices of a system, as `orrery map` makes it",
            fix=f"run it: orrery run {path}",
        )  # fmt: skip


def whole_ways(plan: Plan) -> list[str]:
    """Return the workers that can run the whole network, the one that was quickest first."""
    ways = {key.removeprefix(WHOLE): float(seconds) for key, seconds in plan.settings.items()
            if key.startswith(WHOLE) and isinstance(seconds, int | float)}  # fmt: skip
    return sorted(ways, key=lambda name: (ways[name], name))
