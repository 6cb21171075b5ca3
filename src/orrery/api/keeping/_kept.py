"""A plan for the workers of a machine as it is read: whether it is one, and what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from orrery.errors import SpecError
from orrery.plan import Assignment, Plan
from orrery.store import content_hash, encode

WORKER = "worker of this machine"  #: the space of schedules whose points are workers
WHOLE = "whole: "  #: settings: the whole network on one worker -> its median seconds


def is_placement(plan: Plan) -> bool:
    """Whether a plan places regions on workers of one machine, and not on devices of a system.

    One that has lost assignments or schedules still is one, for `check_placement` to refuse.
    """
    spaces = {a.schedule.space for a in plan.assignments if a.schedule is not None}
    return WORKER in spaces or (not spaces and {"machine", "processors"} <= set(plan.settings))


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
