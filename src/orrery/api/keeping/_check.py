"""Whether a kept placement contradicts itself, or its network, before anything of it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orrery.errors import SpecError
from orrery.graph import Graph, Region
from orrery.plan import Assignment, Plan

from ._kept import WHOLE, worker_of

#: Nothing that was ever compared took longer, and clocks end somewhere.
_LONGEST_S = 1e6


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
        if one.design is not None or one.split is not None:
            raise _wrong(path, f"{where}: design, split", one.design or "a split", "none here")
        phase = {} if one.schedule is None else one.schedule.parameters
        if not _is_count(phase.get("phase", 0)):
            raise _wrong(path, f"{where}: phase", phase["phase"], "a whole number, 0 or more")
    if len(plan.models) != 1 or plan.models[0].prefix:
        raise _wrong(path, "models", f"{len(plan.models)}, or with a prefix", "one network alone")
    if plan.objective != "latency":
        raise _wrong(path, "objective", plan.objective, "latency")
    _check_times(path, plan.settings)


def check_parts(path: Path, plan: Plan, graph: Graph) -> None:
    """Refuse a placement that says of its network what is not so.

    Raises
    ------
    SpecError : a region said to run after others than those whose tensors it reads, a transfer of
        something that its worker does not hand to those workers, weights of a worker without any
    """
    regions = {a.region: Region(graph=graph, nodes=a.nodes, label=a.region)
               for a in plan.assignments}  # fmt: skip
    makers = {t: name for name, region in regions.items() for t in region.outputs}
    for number, one in enumerate(plan.assignments):
        needs = {makers[t] for t in regions[one.region].inputs if t in makers}
        if set(one.after) != needs:
            where, wanted = f"assignments[{number}]: region {one.region!r}", sorted(needs)
            raise _wrong(path, f"{where}: after", ", ".join(one.after) or "none",
                         ", ".join(wanted) or "none")  # fmt: skip
    at = plan.device_of()
    for number, move in enumerate(plan.transfers):
        readers = {n for n in regions if move.tensor in regions[n].inputs}
        if (
            makers.get(move.tensor) != move.producer or at.get(move.producer or "") != move.source
            or not set(move.consumers) <= readers
            or set(move.targets) != {at[n] for n in move.consumers}
        ):  # fmt: skip
            raise _wrong(path, f"transfers[{number}]: {move.tensor!r}",
                         f"from {move.source} to {', '.join(move.targets)}",
                         "what one worker makes and others read")  # fmt: skip
    if strange := sorted(set(plan.resident_bytes) - set(at.values())):
        raise _wrong(path, "resident_bytes", ", ".join(strange), "workers of the plan")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


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
        if not (number and 0 < float(str(value)) <= _LONGEST_S):
            raise _wrong(path, f"settings: {key}", value,
                         f"seconds, more than 0 and at most {_LONGEST_S:,.0f}")  # fmt: skip
    low, middle, high = (settings.get(f"measured{key}_s") for key in ("_low", "", "_high"))
    ends = [float(str(v)) for v in (low, middle, high) if v is not None]
    if ends != sorted(ends):
        raise _wrong(path, "settings: measured_low_s, measured_s, measured_high_s", ends, "rising")
    if not (_is_count(settings.get("rounds", 1)) and settings.get("rounds", 1)):
        raise _wrong(path, "settings: rounds", settings["rounds"], "a whole number, 1 or more")


def _wrong(path: Path, where: str, found: object, wanted: str) -> SpecError:
    return SpecError(f"{path}: {where}", found=found, wanted=wanted,
                     fix="make the plan again (--fresh places its network anew)")  # fmt: skip
