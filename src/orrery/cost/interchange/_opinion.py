"""What another tool says of the same layers, read from the files it wrote.

Models:  ZigZag: a folder of ``…_complete.json`` (one layer each), or one such file. AccelForge: the
         ``results.json`` that the exported ``price.py`` writes there.
Ignores: their mappings; a price is compared, not recomputed.
Judge:   files in both formats written by hand (tests), and written by the tools (bench).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import Any

from orrery.errors import SpecError, UnknownNameError

_ROLES = {"O": "output", "W": "weight", "I": "input"}
_WANTED = {
    "zigzag": "a folder with files ..._complete.json of ZigZag, or one of them",
    "accelforge": "the results.json that an exported price.py writes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Joules of one memory, of one role where the tool tells them apart."""

    memory: str
    role: str = ""
    energy_j: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerOpinion:
    """What a tool says of one layer; None where it does not say.

    Attributes
    ----------
    cycles_by : what the cycles are made of, in its words
    parts : joules per memory; per role the innermost first
    """

    layer: str
    operations: int | None = None
    cycles: float | None = None
    latency_s: float | None = None
    energy_j: float | None = None
    cycles_by: tuple[tuple[str, float], ...] = ()
    parts: tuple[Part, ...] = ()


def read_opinion(tool: str, path: Path) -> tuple[LayerOpinion, ...]:
    """Read the result files of another tool.

    Parameters
    ----------
    tool : ``zigzag`` or ``accelforge``

    Raises
    ------
    UnknownNameError : another tool
    SpecError : no such file, or not in its format; with file and key
    """
    if tool not in _READERS:
        raise UnknownNameError("tool whose results can be read", tool, _READERS)
    found: list[LayerOpinion] = []
    for file in _files(tool, path):
        found += _READERS[tool](_Item(_json(file, tool), str(file)))
    names = [one.layer for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SpecError(str(path), found=f"{twice[0]} twice", wanted="every layer once",
                        fix="keep the files of one run in a folder of their own")  # fmt: skip
    return tuple(found)


def _files(tool: str, path: Path) -> list[Path]:
    if path.is_dir():
        pattern = "*_complete.json" if tool == "zigzag" else "results.json"
        found = sorted(file for file in path.glob(pattern) if file.name != "overall_complete.json")
        if found:
            return found
    elif path.is_file():
        return [path]
    what = "a folder without one" if path.is_dir() else "no such file"
    raise SpecError(str(path), found=what, wanted=_WANTED[tool],
                    fix="give the folder that the tool wrote into")  # fmt: skip


def _json(file: Path, tool: str) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as wrong:
        raise SpecError(str(file), found=str(wrong), wanted=_WANTED[tool],
                        fix="write the file anew") from wrong  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Item:
    """A value of a document that knows where it stands."""

    value: Any
    where: str

    def __getitem__(self, key: str) -> _Item:
        if not isinstance(self.value, dict) or key not in self.value:
            known = ", ".join(self.value) if isinstance(self.value, dict) else self.value
            raise SpecError(self.where, found=known, wanted=f"the key {key!r}",
                            fix="give a result file of the tool")  # fmt: skip
        return _Item(self.value[key], f"{self.where}: {key}")

    def number(self) -> float:
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            value = None
        if value is None or not isfinite(value) or value < 0:
            raise SpecError(self.where, found=self.value, wanted="a number, 0 or more",
                            fix="give a result file of the tool")  # fmt: skip
        return float(value)

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value:
            raise SpecError(self.where, found=self.value, wanted="a name",
                            fix="give a result file of the tool")  # fmt: skip
        return self.value

    def items(self) -> list[tuple[str, _Item]]:
        if not isinstance(self.value, dict):
            raise SpecError(self.where, found=self.value, wanted="names and values",
                            fix="give a result file of the tool")  # fmt: skip
        return [(key, self[key]) for key in self.value]

    def list(self) -> list[_Item]:
        if not isinstance(self.value, list):
            raise SpecError(self.where, found=self.value, wanted="a list",
                            fix="give a result file of the tool")  # fmt: skip
        return [_Item(one, f"{self.where}[{n}]") for n, one in enumerate(self.value)]


def _zigzag(document: _Item) -> list[LayerOpinion]:
    outputs, inputs = document["outputs"], document["inputs"]
    latency, energy = outputs["latency"], outputs["energy"]
    by = tuple((name, latency[key].number()) for name, key in (
        ("way in", "data_onloading"), ("computation and stalls", "computation"),
        ("way out", "data_offloading"),
    ))  # fmt: skip
    layer = inputs["layer"]
    links = {operand: link.text() for operand, link in layer["memory_operand_links"].items()}
    memories = {
        operand: [_instance(level) for level in levels.list()]
        for operand, levels in inputs["accelerator"]["mem_hierarchy_dict"].items()
    }
    parts = [Part(memory="array", energy_j=energy["operational_energy"].number() * 1e-12)]
    for operand, levels in energy["memory_energy_breakdown_per_level"].items():
        names = memories.get(links.get(operand, ""), [])
        for place, joules in enumerate(levels.list()):
            memory = names[place] if place < len(names) else f"level {place}"
            parts.append(Part(memory=memory, role=_ROLES.get(operand, operand),
                              energy_j=joules.number() * 1e-12))  # fmt: skip
    sizes = [size.number() for _, size in layer["loop_dimensions"].items()]
    return [LayerOpinion(
        layer=layer["name"].text(), operations=int(prod(sizes)),
        cycles=sum(n for _, n in by), cycles_by=by,
        energy_j=energy["energy_total"].number() * 1e-12, parts=tuple(parts),
    )]  # fmt: skip


def _instance(level: _Item) -> str:
    found = re.search(r"instance=([^,)]+)", level.text())
    return found[1] if found else level.text()


def _accelforge(document: _Item) -> list[LayerOpinion]:
    found = []
    for one in document["layers"].list():
        parts = one["energy_by_component_J"].items()
        found.append(LayerOpinion(
            layer=one["layer"].text(), latency_s=one["latency_s"].number(),
            energy_j=one["energy_J"].number(),
            parts=tuple(Part(memory=name, energy_j=joules.number()) for name, joules in parts),
        ))  # fmt: skip
    return found


_READERS: Mapping[str, Callable[[_Item], list[LayerOpinion]]] = {
    "zigzag": _zigzag, "accelforge": _accelforge,
}  # fmt: skip
