"""What a network shares with its children, as the parent has it."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np

from orrery.graph import Graph

from .._evaluator import read_only
from ._layout import layout_of
from ._words import LOOKS, Words, looker

__all__ = ["Block"]


class Block:
    """Shared memory of one network, gone with the last process that has it.

    Attributes
    ----------
    arrays, readable : tensors by name; the latter are not to be written to
    times : when each step began and ended, 2 × steps
    """

    def __init__(self, graph: Graph, tensors: Iterable[str], steps: int) -> None:
        self.layout = layout_of(graph, tensors, steps)
        self.file = os.memfd_create("orrery-network")
        os.ftruncate(self.file, self.layout.size_bytes)
        self.words = Words(self.file, self.layout.size_bytes)
        self.arrays = {
            name: self.words.tensor(spot.offset, spot.dtype, spot.shape)
            for name, spot in self.layout.tensors.items()
        }
        self.readable = {name: read_only(array) for name, array in self.arrays.items()}
        self.times = self.layout.times(self.words)
        self._look = looker()

    def close_file(self) -> None:
        """Let go of the file once every process has mapped it."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1

    def look(self, at: int, request: int) -> bool:
        """Stay awake for a while; say whether a word names the request, or it was given up."""
        return self._look(self.words.array, at, self.layout.given_up, request, LOOKS)

    def holds(self, array: object) -> bool:
        """Say whether an array lies in the shared memory."""
        return isinstance(array, np.ndarray) and np.may_share_memory(array, self.words.array)
