"""Data cut into batches, and a network with what was learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from orrery.errors import SpecError
from orrery.graph import ArrayConstant, Graph

from ..._record import Tensors
from .._engine import Array
from .._format import check_whole
from ._checks import check_arrays, check_finite

#: Epochs, and the number of a draw.
_MOST = 2**63 - 1


def draw_batches(
    data: Mapping[str, Array], batch: int, *, epochs: int = 1, seed: int = 0
) -> Iterator[dict[str, Array]]:
    """Shuffle data anew every epoch and cut it into batches; a rest is left out of the epoch.

    Parameters
    ----------
    data : input -> samples along axis 0, as many of each
    batch : samples of a batch
    epochs : one or more

    Raises
    ------
    SpecError : no arrays, no data or inputs of different lengths, a batch larger than the data, no
        epochs; numbers that are not whole
    """
    check_arrays(data, where="batches: data", what="inputs")
    for name, values in data.items():
        if not np.ndim(values):
            raise SpecError(f"batches: data: {name!r}", found="a single number",
                            wanted="samples along axis 0", fix="give an array")  # fmt: skip
    lengths = {name: len(values) for name, values in data.items()}
    if len(set(lengths.values())) != 1 or not min(lengths.values(), default=0):
        raise SpecError("batches: data", found=lengths or "nothing",
                        wanted="as many samples of every input, one at least",
                        fix="cut them to one length")  # fmt: skip
    size = next(iter(lengths.values()))
    check_whole("batches: samples of a batch", batch, 1, size, fix="take a smaller batch")
    check_whole("batches: epochs", epochs, 1, _MOST, fix="an untrained network needs no trainer")
    check_whole("batches: seed", seed, 0, _MOST, fix="correct the number")
    return _cut(data, batch, epochs, size, np.random.default_rng(seed))


def _cut(
    data: Mapping[str, Array], batch: int, epochs: int, size: int, draw: np.random.Generator
) -> Iterator[dict[str, Array]]:
    for _ in range(epochs):
        order = draw.permutation(size)
        for first in range(0, size - batch + 1, batch):
            rows = order[first : first + batch]
            yield {name: values[rows] for name, values in data.items()}


def trained_network(graph: Graph, states: Tensors) -> Graph:
    """Return a network with what a step learned in place of its constants.

    Before: constants w. After: the same names with the values of `states`. Moments and other states
    that are no constants of the network are left out, so it may have another batch size.

    Raises
    ------
    SpecError : no arrays, or an array of another shape or type than its constant, or not finite
    """
    check_arrays(states, where=f"{graph.name}: states", what="what a step left")
    constants = dict(graph.constants)
    for name, value in states.items():
        if name not in constants:
            continue
        want = constants[name].type
        if want.sizes != value.shape or str(value.dtype) != want.dtype:
            raise SpecError(f"{graph.name}: {name!r}", found=f"{value.dtype}{value.shape}",
                            wanted=str(want), fix="take the network that was trained")  # fmt: skip
        check_finite(value, where=f"{graph.name}: {name!r}", fix="take another step's states")
        constants[name] = ArrayConstant(np.array(value))
    return replace(graph, constants=constants)
