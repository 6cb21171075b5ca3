"""What is varied: read, checked against the machine and the workload before anything is priced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orrery.errors import OrreryError, SpecError, did_you_mean

from ._price import read
from ._task import WORKLOAD, Task

if TYPE_CHECKING:
    from orrery.hardware import Description
    from orrery.mapping.space import Parameter

__all__ = ["asked", "based"]

_OBJECTIVES = {"array": ("latency", "energy", "edp"),
               "system": ("latency", "throughput", "energy")}  # fmt: skip


def asked(vary: Sequence[str], machine: Description, task: Task) -> list[Parameter]:
    """Return the parameters that texts such as ``levels.sram.size=1MiB,2MiB`` vary.

    Raises
    ------
    SpecError : a machine that cannot be read as it is; a path that leads nowhere, with the nearest;
        a path twice; a value of the workload
        that none can have. What a machine's reader refuses is said of its point, later.
    """
    from orrery.mapping.space import read_parameter

    parameters = [read_parameter(text) for text in vary]
    if not parameters:
        raise SpecError("sweep", found="nothing to vary", wanted="--vary PATH=VALUE,VALUE,…",
                        fix="add e.g. --vary batch=1,4")  # fmt: skip
    check_objective(task.objective, task.kind, "--objective")
    read(machine)
    seen: set[str] = set()
    for parameter in parameters:
        for number, path in enumerate(parameter.paths):
            if path in seen:
                raise SpecError(f"--vary {parameter.name}", found=f"{path} twice",
                                wanted="every path in one --vary", fix="remove one")  # fmt: skip
            seen.add(path)
            if path in WORKLOAD:
                for value in parameter.values:
                    _check(path, value[number], task)
            elif machine.value(path) is None:
                _check_new(parameter, path, number, machine)
    return parameters


def based(
    parameters: Sequence[Parameter], machine: Description, task: Task
) -> tuple[list[Parameter], tuple[int, ...]]:
    """Return parameters that hold what stands in the description, and the places of that.

    Raises
    ------
    SpecError : nothing stands there: no base to step away from
    """
    found, places = [], []
    for parameter in parameters:
        base = []
        for path in parameter.paths:
            value = _now(path, task) if path in WORKLOAD else machine.value(path)
            if value is None:
                raise SpecError(f"--vary {parameter.name}", found=f"no {path} to begin with",
                                wanted="a base to step away from",
                                fix="state it, or leave out --one-at-a-time")  # fmt: skip
            base.append(value)
        wider, place = parameter.around(tuple(base))
        found.append(wider)
        places.append(place)
    return found, tuple(places)


def _now(path: str, task: Task) -> str | None:
    """Return what the workload is before anything is varied; None where the network says it."""
    if path in ("model", "objective"):
        return str(getattr(task, path))
    value: Any = getattr(task.options, path)
    return "1" if path == "batch" and value is None else value and str(value)


def _check(key: str, value: str, task: Task) -> None:
    where = f"--vary {key}={value}"
    if key in ("batch", "context") and not (value.isascii() and value.isdigit() and int(value)):
        raise SpecError(where, found=value, wanted="a whole number, 1 or more", fix="correct it")
    if key == "phase" and value not in ("prefill", "decode"):
        raise SpecError(where, found=value, wanted="prefill or decode", fix="correct it")
    if key == "objective":
        check_objective(value, task.kind, where)


def check_objective(value: str, kind: str, where: str) -> None:
    """Refuse an objective that the search of this kind of machine does not have."""
    known = _OBJECTIVES[kind]
    if value not in known:
        raise SpecError(where, found=value, wanted=f"one of {', '.join(known)} on {kind}s",
                        fix=f"correct it{did_you_mean(value, known)}")  # fmt: skip


def _check_new(parameter: Parameter, path: str, number: int, machine: Description) -> None:
    """Refuse a key that is not in the description, unless a reader takes one of its values."""
    first: OrreryError | None = None
    for value in parameter.values:
        try:
            changed = machine.changed(path, value[number])
            for other, text in zip(parameter.paths, value, strict=True):
                if other != path and other not in WORKLOAD:
                    changed = changed.changed(other, text)
            read(changed)
            return
        except OrreryError as error:
            first = first or error
    if first is None:
        return
    if "." not in path and "unknown key" in str(first):
        known = [*WORKLOAD, *machine.root.table()]
        raise SpecError(f"--vary {parameter.name}", found=path, wanted=f"{', '.join(WORKLOAD)}, or "
                        f"a path into the {machine.kind}: {', '.join(machine.root.table())}",
                        fix=f"correct it{did_you_mean(path, known)}")  # fmt: skip
    raise first
