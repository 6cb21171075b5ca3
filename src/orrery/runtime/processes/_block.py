"""What a network shares with its children, as the parent has it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from orrery.errors import ModelError
from orrery.graph import Graph

from .._backend import Executable
from ._layout import layout_of
from ._words import LOOKS, Words, looker


class Block:
    """Shared memory of one network, gone with the last process that has it.

    Attributes
    ----------
    arrays : tensors by name; each request writes to them
    times : when each step began, then when each ended
    """

    def __init__(self, graph: Graph, tensors: Iterable[str], steps: int) -> None:
        self.layout = layout_of(graph, tensors, steps)
        self.file = os.memfd_create("orrery-network")
        os.ftruncate(self.file, self.layout.size_bytes)
        self.words = Words(self.file, self.layout.size_bytes)
        self.arrays = self.layout.arrays(self.words)
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


def act_of(
    executable: Executable, inputs: dict[str, Any], outputs: dict[str, Any]
) -> Callable[[], object]:
    """Return what runs a subgraph from shared memory into shared memory."""
    bind = getattr(executable, "bind", None)
    if bind is not None and (bound := bind(inputs, outputs)) is not None:
        found: Callable[[], object] = bound
        return found
    run = getattr(executable, "run_trusted", executable.run)

    def act() -> None:
        made = run(inputs)
        for name, place in outputs.items():
            value = made.get(name)
            if value is None or value.dtype != place.dtype or value.shape != place.shape:
                found = "none" if value is None else f"{value.dtype}{list(value.shape)}"
                raise ModelError(
                    f"its answer for {name!r}", found=found, fix="leave out this back end",
                    wanted=f"{place.dtype}{list(place.shape)}",
                )  # fmt: skip
            np.copyto(place, value)

    return act
