"""Whether an array is one of the catalogue, number for number, whatever it is called.

Models:  two arrays are the same if everything is equal that a count, a time or an energy follows
         from. Names of the whole, descriptions, notes, sources, area and price do not matter.
Ignores: numbers so near to each other that no figure would show it: they make another array.
Judge:   copies and changed copies of catalogue arrays (tests).
"""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache
from typing import Any

from orrery.hardware import Architecture, architecture_names, load_architecture
from orrery.hardware.spatial import ArrayAxis, Level

from ..nest import LOOPS

_ASIDE = ("name", "description", "notes", "sources", "area_mm2", "price_usd", "process_nm")


def catalogued(architecture: Architecture, name: str) -> bool:
    """Return whether an array is the one that the catalogue has under a name."""
    return _same(_Held(architecture), name)


class _Held:
    """An array as itself: large records are not compared to find what was known of one."""

    __slots__ = ("architecture",)

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture

    def __hash__(self) -> int:
        return id(self.architecture)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and other.architecture is self.architecture


@lru_cache(maxsize=64)
def _same(held: _Held, name: str) -> bool:
    if name not in architecture_names():
        return False
    known = load_architecture(name, loops=tuple(LOOPS))  # as it is loaded where nests are sought
    return _bare(known) == _bare(held.architecture)


def _bare(record: Architecture | ArrayAxis | Level) -> dict[str, Any]:
    """Return what figures follow from, the parts' included."""
    found = {f.name: getattr(record, f.name) for f in fields(record) if f.name not in _ASIDE}
    if isinstance(record, Architecture):
        found |= {"axes": [_bare(axis) for axis in record.axes],
                  "levels": [_bare(level) for level in record.levels]}  # fmt: skip
    else:
        found["name"] = record.name  # of a part: the architecture refers to it
    return found
