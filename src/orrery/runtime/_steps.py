"""What parties are told to do: programs of changes of layout, rounds and drops."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.cost import Box
from orrery.graph import Region

from ._evaluator import Evaluator

Array = NDArray[Any]
Key = tuple[int, str]  #: (layer, tensor or operand); layer -1 for tensors between layers

#: Kind of the messages that carry scalars, which formulas have everywhere at no cost.
FREE = "scalar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A party's share of a phase: what it sends and receives, in order."""

    kind: str
    sends: tuple[tuple[int, Box], ...]
    receives: tuple[tuple[int, Box], ...]
    adds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Make a buffer in another layout out of one.

    Attributes
    ----------
    name : the region that wants it
    """

    name: str
    source: Key
    target: Key
    before: Box
    settled: Box
    after: Box
    dtype: np.dtype[Any]
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Compute a region; the rotating operand, if any, is passed on meanwhile.

    Attributes
    ----------
    name : of the region that this is a part of
    operands, results : (local name, buffer, box of the buffer, box of the part)
    adds : whether results are added to what is in their buffers
    """

    name: str
    device: str
    region: Region
    evaluator: Evaluator
    operands: tuple[tuple[str, Key, Box, Box], ...]
    results: tuple[tuple[str, Key, Box, Box], ...]
    adds: bool = False
    rotating: Key | None = None
    turn: Turn | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Let go of buffers."""

    keys: tuple[Key, ...]


@dataclass(slots=True, kw_only=True)
class Program:
    """Everything one party does, and what it starts with.

    Attributes
    ----------
    wanted : buffers to give back at the end
    repeats : how many times to do all of it
    pairs : the party and who it sends to or receives from, the smaller number first
    """

    steps: list[Change | Round | Drop] = field(default_factory=list)
    buffers: dict[Key, Array] = field(default_factory=dict)
    wanted: list[Key] = field(default_factory=list)
    repeats: int = 1
    pairs: set[tuple[int, int]] = field(default_factory=set)


def part_of(array: Array, box: Box, held: Box) -> Array:
    """Return a part of an array that holds a box, as a view, of a scalar too."""
    index: tuple[Any, ...] = (..., *box.inside(held))
    view: Array = array[index]
    return view
