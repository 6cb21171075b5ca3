"""From a name or a file to the description of an array or of a system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orrery.errors import SpecError, UnknownNameError
from orrery.hardware import (
    THIS_MACHINE,
    Description,
    architecture_names,
    architecture_text,
    read_description,
    system_names,
    write_system,
)
from orrery.mapping.space import Parameter
from orrery.store import open_plain

from .._machines import load_system
from ._task import WORKLOAD, Task

#: what can be swept
KINDS = ("array", "system")


def described(on: str | Path, kind: str = "") -> tuple[Description, str]:
    """Return the description of an array or a system, and its text; the keys of a file tell which.

    Parameters
    ----------
    kind : ``array`` or ``system``, for a name that both catalogues have

    Raises
    ------
    UnknownNameError, SpecError : no such file or name; one of another kind, or of both
    """
    if kind and kind not in KINDS:
        raise UnknownNameError("kind of machine", kind, KINDS)
    text = str(on)
    name = text.partition("(")[0].strip()
    if text.endswith((".yaml", ".yml")) or "/" in name:
        raw = _bytes(Path(text))
        found = read_description(raw, text)
        if kind and found.kind != kind:
            raise SpecError(text, found=f"a file of {_article(found.kind)}",
                            wanted=f"{_article(kind)}", fix="leave --kind out")  # fmt: skip
        return found, raw.decode("utf-8-sig")
    holds = {
        "array": text in architecture_names(), "system": name in (*system_names(), THIS_MACHINE),
    }  # fmt: skip
    fitting = [k for k in KINDS if holds[k] and kind in ("", k)]
    if len(fitting) > 1:
        raise SpecError("--on", found=f"{text}, a name of an array and of a system",
                        wanted="one of the two",
                        fix="say --kind array or --kind system")  # fmt: skip
    if not fitting:
        known = {"array": architecture_names(), "system": (*system_names(), THIS_MACHINE)}
        names = [name for k in KINDS if kind in ("", k) for name in known[k]]
        raise UnknownNameError(kind or "array or system", text, names)
    yaml = architecture_text(text) if fitting == ["array"] else write_system(load_system(text))
    return read_description(yaml, text), yaml


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


def _bytes(path: Path) -> bytes:
    try:
        with open_plain(path) as handle:
            return handle.read()
    except OSError as error:
        raise SpecError(str(path), found=error.strerror or str(error), wanted="a readable file",
                        fix="check the path") from None  # fmt: skip


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
