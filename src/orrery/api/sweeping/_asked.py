"""What is varied: read, checked against the machine and the workload before anything is priced."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import product

from orrery.errors import OrreryError, SpecError, did_you_mean
from orrery.graph import Graph, in_precision
from orrery.hardware import Description
from orrery.mapping.space import Parameter, read_parameter

from ._doubts import wiring
from ._price import read
from ._task import WORKLOAD, Task

_OBJECTIVES = {"array": ("latency", "energy", "edp"),
               "system": ("latency", "throughput", "energy")}  # fmt: skip
#: a parameter and one of its values
_Chosen = tuple["Parameter", tuple[str, ...]]
#: points at which a value is tried that the reader does not take at the base
_TRIED = 64


def asked(vary: Sequence[str], machine: Description, task: Task) -> list[Parameter]:
    """Return the parameters that texts such as ``levels.sram.size=1MiB,2MiB`` vary.

    Raises
    ------
    OrreryError : a machine that cannot be read as it is; a path that leads nowhere, with the
        nearest; a path twice; a value that no point can have. What some cannot, they say later
    """
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
            else:
                machine.value(path)
    for parameter in parameters:
        _check_values(parameter, [p for p in parameters if p is not parameter], machine)
    return parameters


def _check(key: str, value: str, task: Task) -> None:
    where = f"--vary {key}={value}"
    if key in ("batch", "context") and not (value.isascii() and value.isdigit() and int(value)):
        raise SpecError(where, found=value, wanted="a whole number, 1 or more", fix="correct it")
    if key == "precision":
        in_precision(Graph(name="nothing", nodes=(), inputs=(), outputs=(), types={}), value)
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


def _check_values(parameter: Parameter, others: Sequence[Parameter], machine: Description) -> None:
    """Refuse a value that the reader does not take, whatever those of the others."""
    for value, label in zip(parameter.values, parameter.labels, strict=True):
        first = _refused([(parameter, value)], machine)
        if first is not None and all(
            _refused([(parameter, value), *some], machine) is not None for some in _around(others)
        ):
            path = parameter.paths[0]
            if "." not in path and machine.value(path) is None and "unknown key" in str(first):
                raise _no_such_path(parameter, machine)
            choice = list(zip(parameter.paths, value, strict=True))
            hint = wiring(choice, machine) if ": fixed" in str(first) else ""
            raise OrreryError(f"--vary {parameter.name}={label}: {first}{hint}")


def _around(others: Sequence[Parameter]) -> Iterable[Sequence[_Chosen]]:
    """Return all points of other parameters; where they are many, each value of one alone."""
    values = [[(other, value) for value in other.values] for other in others]
    few = math.prod(map(len, values)) <= _TRIED
    return product(*values) if few else ([one] for some in values for one in some)


def _refused(choices: Sequence[_Chosen], machine: Description) -> OrreryError | None:
    """Return why the reader does not take a machine with these values."""
    pairs = [pair for p, value in choices for pair in zip(p.paths, value, strict=True)
             if pair[0] not in WORKLOAD]  # fmt: skip
    try:
        for path, text in pairs:
            machine = machine.changed(path, text)
        if pairs:
            read(machine)
    except OrreryError as error:
        return error
    return None


def _no_such_path(parameter: Parameter, machine: Description) -> SpecError:
    path, known = parameter.paths[0], machine.root.table()
    return SpecError(f"--vary {parameter.name}", found=path, wanted=f"{', '.join(WORKLOAD)}, or a "
                     f"path into the {machine.kind}: {', '.join(known)}",
                     fix=f"correct it{did_you_mean(path, [*WORKLOAD, *known])}")  # fmt: skip
