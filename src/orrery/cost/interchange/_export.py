"""What is handed to another tool: files by name, and what its language could not say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import yaml

from orrery.hardware import Architecture
from orrery.store import whole_folder, write_text

from ..nest import NestMapping, NestProblem

#: layer -> its loops and how they run
Nests = Mapping[str, tuple[NestProblem, NestMapping]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Inputs of another tool.

    Attributes
    ----------
    tool : whose inputs, with the version that the format was read from
    files : name -> text
    notes : what is said otherwise there, or not at all
    """

    tool: str
    files: Mapping[str, str]
    notes: tuple[str, ...]

    def write(self, folder: Path, more: Iterable[str] = ()) -> tuple[Path, ...]:
        """Write all files, and notes with `more` of them, into a folder: all of it, or none."""
        lines = "".join(f"- {note}\n" for note in (*self.notes, *more)) or "Nothing was left out.\n"
        said = f"# What {self.tool} is not told, or told otherwise\n\n{lines}"
        with whole_folder(folder) as fresh:
            for name, text in (*self.files.items(), ("NOTES.md", said)):
                write_text(fresh / name, text)
        return tuple(folder / name for name in (*self.files, "NOTES.md"))


class Inline(list[Any]):
    """A list that YAML shows on one line."""


class InlineMap(dict[str, Any]):
    """A mapping that YAML shows on one line."""


class Dumper(yaml.SafeDumper):
    """Writes lists and mappings on one line where they ask for it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


Dumper.add_representer(
    Inline, lambda d, data: d.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)
)


Dumper.add_representer(
    InlineMap, lambda d, data: d.represent_mapping("tag:yaml.org,2002:map", data, flow_style=True)
)


def text_of(document: Any) -> str:
    """Return a document as YAML, keys in the given order."""
    text: str = yaml.dump(document, Dumper=Dumper, sort_keys=False, width=100, allow_unicode=True)
    return text


def in_order(mapping: NestMapping) -> tuple[tuple[int, str, int], ...]:
    """Return the loops in time, innermost first: place of the level, loop, factor above 1."""
    return tuple(
        (place, loop, factor)
        for place in reversed(range(len(mapping.temporal)))
        for loop, factor in reversed(mapping.temporal[place])
        if factor > 1
    )


def covers_exactly(problem: NestProblem, mapping: NestMapping) -> tuple[str, ...]:
    """Return the loops whose factors in time come to more passes than there are parts.

    Parts along the array may be filled unevenly: 1000 on 32 positions are 32 passes.
    """
    along = [pair for loops in mapping.spatial.values() for pair in loops]
    over = []
    for loop, extent in problem.loops:
        side = prod(f for name, f in along if name == loop)
        passes = prod(f for _, name, f in in_order(mapping) if name == loop)
        if passes != -(-extent // side):
            over.append(loop)
    return tuple(over)


def grouped(notes: Iterable[tuple[str, str]]) -> list[str]:
    """Return (layer, note) with the layers of one note named together."""
    layers: dict[str, list[str]] = {}
    for layer, note in notes:
        layers.setdefault(note, []).append(layer)
    return [
        f"{', '.join(names[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''}: {note}"
        for note, names in layers.items()
    ]


def left_out(architecture: Architecture, tool: str) -> list[str]:
    """Return what neither tool has a place for."""
    notes = []
    if architecture.idle_mac_energy_j:
        notes.append(f"energy of multipliers that wait ({architecture.idle_mac_energy_j * 1e12:g} "
                     f"pJ a cycle): {tool} charges operations only")  # fmt: skip
    if architecture.hop_energy_j_per_bit:
        notes.append(f"energy of the network on chip ({architecture.hop_energy_j_per_bit * 1e12:g} "
                     "pJ a bit and position): left out")  # fmt: skip
    for level in architecture.levels:
        for role, bits in level.shares_bits.items():
            notes.append(f"{level.name}: {bits / 8:g} B are kept for {role} alone here; there all "
                         "share the whole")  # fmt: skip
        if level.slides:
            notes.append(f"{level.name}: new elements of {', '.join(level.slides)} alone arrive "
                         f"when a window moves; {tool} has a rule of its own for that")  # fmt: skip
    return notes
