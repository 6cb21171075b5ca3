"""Where what processes share lies: the words and tensors of a network, the letter boxes of a pool.

Models:  nothing. A network's block holds the bell of whoever asks, a word per step that names the
         request it was last done in, when it began and ended, what a failure said, and each tensor
         that a child reads or writes, its size known ahead. The board of a pool holds a bell and a
         ring of requests per child.
Judge:   tests/runtime/test_processes.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.graph import Graph, numpy_dtype

from ._words import LINE, Words

#: Requests that may wait for one child; each network has one under way.
_RING = 1024
#: Counters of requests stay below this.
WRAP = (1 << 30) - 1
MOST_CHILDREN = 64

_BOX = 3 * LINE + 2 * _RING
BOARD_BYTES = 4 * MOST_CHILDREN * _BOX

_TEXT = 2048


class Box:
    """The words of one child on its pool's board, by its number.

    Attributes
    ----------
    posted : how many requests were put into the ring
    cool : changed where others need the processors: the child then sleeps until it is rung
    serving : how many requests the child has taken from the ring; it alone writes this
    """

    __slots__ = ("_ring", "bell", "child", "cool", "posted", "serving")

    def __init__(self, child: int) -> None:
        self.child, self.bell = child, child * _BOX
        self.posted = self.bell + LINE
        self.cool = self.posted + 1
        self.serving = self.posted + LINE
        self._ring = self.bell + 3 * LINE

    def entry(self, number: int) -> int:
        """The two words of a request: the network's number and the request's."""
        return self._ring + 2 * (number % _RING)


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a tensor lies in a block."""

    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A network's block. The bell of whoever asks is its first word.

    Attributes
    ----------
    tensors : those that children read or write
    size_bytes : of the block
    """

    steps: int
    tensors: Mapping[str, Spot]
    size_bytes: int

    bell: int = field(default=0, init=False)
    #: the request that is not to be finished
    given_up: int = field(default=LINE, init=False)
    #: the request that is served; children pass through what is left of others
    current: int = field(default=LINE + 4, init=False)
    #: 1 + the step that failed in it; bytes of what it said; whether memory was short
    failed: int = field(default=LINE + 1, init=False)

    def done(self, step: int) -> int:
        """The word with the request in which a step was last done."""
        return (2 + step) * LINE

    def times(self, words: Words) -> memoryview[float]:
        """Return when each step began, then when each ended, of this machine's one clock."""
        return words.doubles(4 * LINE * (2 + self.steps), 2 * self.steps)

    def arrays(self, words: Words) -> dict[str, NDArray[Any]]:
        """Return the tensors."""
        return {name: words.tensor(spot.offset, spot.dtype, spot.shape)
                for name, spot in self.tensors.items()}  # fmt: skip

    def say(self, words: Words, step: int, text: str, *, short: bool) -> None:
        """Note why a step failed, so that whoever asks can read it."""
        said = text.encode(errors="replace")[:_TEXT]
        self._text(words)[: len(said)] = np.frombuffer(said, np.uint8)
        words.view[self.failed + 1], words.view[self.failed + 2] = len(said), int(short)
        words.view[self.failed] = 1 + step

    def said(self, words: Words) -> tuple[int, str, bool]:
        """Return the step that failed, why, and whether for too little memory."""
        count = words.view[self.failed + 1]
        text = self._text(words)[:count].tobytes().decode(errors="replace")
        return words.view[self.failed] - 1, text, bool(words.view[self.failed + 2])

    def _text(self, words: Words) -> NDArray[np.uint8]:
        return words.tensor(_text_at(self.steps), np.uint8, (_TEXT,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A step of a child.

    Attributes
    ----------
    executable : number of the prepared subgraph in this child
    waits : steps of others that must be done before
    reads, writes : tensors of the block
    rings : children that wait for it, beside whoever asks
    """

    step: int
    executable: int
    waits: tuple[int, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    rings: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a child does in each request of a network."""

    number: int
    layout: Layout
    parts: tuple[Part, ...]


def _text_at(steps: int) -> int:
    return _aligned(4 * LINE * (2 + steps) + 16 * steps)


def _aligned(offset: int) -> int:
    return -(-offset // 64) * 64


def unshared(graph: Graph, tensors: Iterable[str]) -> str | None:
    """Return why tensors cannot lie in shared memory, None where they can."""
    for name in tensors:
        kind = graph.types.get(name)
        if kind is None or graph.known_bytes(name) is None:
            return f"tensor {name!r} has a size that only running tells"
        if kind.dtype == "string":
            return f"tensor {name!r} holds texts"
    return None


def layout_of(graph: Graph, tensors: Iterable[str], steps: int) -> Layout:
    """Return a block with room for tensors, whose sizes are known."""
    spots, end = dict[str, Spot](), _text_at(steps) + _TEXT
    for name in dict.fromkeys(tensors):
        kind = graph.type(name)
        dtype = np.dtype(numpy_dtype(kind.dtype))
        shape = tuple(int(size) for size in kind.shape)
        spots[name] = Spot(_aligned(end), dtype, shape)
        end = spots[name].offset + max(1, int(np.prod(shape))) * dtype.itemsize
    return Layout(steps=steps, tensors=spots, size_bytes=_aligned(end))
