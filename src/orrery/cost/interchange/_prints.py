"""Hashes of what was handed to another tool, so that its results are known to be of it.

Models:  an array piece by piece, what a layer computes, its nest: of equal content, equal hashes.
Ignores: files that somebody edits after they were written.
Judge:   a change of one piece is told as that piece (tests).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from orrery.errors import SpecError
from orrery.hardware import Architecture
from orrery.store import content_hash, encode

from ..nest import NestMapping
from ._export import Nests

#: beside what is written for the tool; its ``price.py`` puts the same beside, or into, the results
PRINTS = "orrery.json"
#: of an array or a level what no price follows from
_IDLE = ("description", "sources", "notes")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPrint:
    """Hashes of a layer, of its nest here, and of the nest that the tool is given."""

    layer: str
    nest: str
    given: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prints:
    """Hashes of the pieces of an array, and of layers."""

    array: Mapping[str, str]
    layers: Mapping[str, LayerPrint]

    @property
    def text(self) -> str:
        """As JSON."""
        return json.dumps(encode(self), indent=1) + "\n"

    def array_differs(self, other: Prints) -> list[str]:
        """Return the pieces of the array that are not the same."""
        both = {**self.array, **other.array}
        return [key for key in both if self.array.get(key) != other.array.get(key)]


def prints_of(
    nests: Nests, architecture: Architecture, given: Mapping[str, NestMapping] | None = None
) -> Prints:
    """Return the hashes; `given` are nests for the tool that are not those of `nests`."""
    given = given or {}
    array = {key: _hash(value) for key, value in encode(architecture).items()
             if key not in (*_IDLE, "levels", "name")}  # fmt: skip
    for place, level in enumerate(encode(architecture.levels)):
        array[f"level {level['name']}"] = _hash(
            [place, {key: value for key, value in level.items() if key not in _IDLE}]
        )
    return Prints(array=array, layers={
        name: LayerPrint(layer=_hash(encode(problem)), nest=_hash(encode(mapping)),
                         given=_hash(encode(given.get(name, mapping))))
        for name, (problem, mapping) in nests.items()
    })  # fmt: skip


def _hash(value: object) -> str:
    return content_hash(json.dumps(value, sort_keys=True))


def read_prints(tool: str, path: Path) -> Prints | None:
    """Return the hashes that stand with a tool's results; None where none do.

    Raises
    ------
    SpecError : something else stands there
    """
    if tool == "zigzag":
        file = (path if path.is_dir() else path.parent) / PRINTS
    else:
        file = path / "results.json" if path.is_dir() else path
    if not file.is_file():
        return None
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        if tool != "zigzag":
            said = said.get("orrery") if isinstance(said, dict) else None
        return None if said is None else msgspec.convert(said, Prints)
    except (ValueError, OSError) as wrong:  # msgspec's own errors are values' too
        raise SpecError(str(file), found=str(wrong), wanted="hashes as an export writes them",
                        fix="export anew and run its price.py") from None  # fmt: skip
