"""Batches and states that a step cannot take, refused with what is wrong of which tensor."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from orrery.errors import SpecError, did_you_mean
from orrery.graph import Graph

from ..._record import Tensors


def check_arrays(given: object, *, where: str, what: str) -> None:
    """Refuse what is no mapping from names to arrays.

    Raises
    ------
    SpecError : says what it is instead, or which of its values is no array
    """
    if not isinstance(given, Mapping):
        raise SpecError(where, found=type(given).__name__, wanted=f"{what}: a mapping to arrays",
                        fix="give {name: array, …}")  # fmt: skip
    for name, value in given.items():
        if not isinstance(value, np.ndarray | np.generic):
            raise SpecError(f"{where}: {name!r}", found=type(value).__name__, wanted="an array",
                            fix="convert it with numpy.asarray")  # fmt: skip
        if isinstance(value, np.ma.MaskedArray):
            raise SpecError(f"{where}: {name!r}", found="an array with a mask",
                            wanted="an array, every number of which counts",
                            fix="fill what is masked (numpy.ma.filled), or drop it")  # fmt: skip


def check_finite(value: np.ndarray | np.generic, *, where: str, fix: str) -> None:
    """Refuse floating-point numbers that are infinite or none.

    Raises
    ------
    SpecError : says where
    """
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise SpecError(where, found="a value that is not finite", wanted="finite numbers", fix=fix)


def check_states(step: Graph, states: Tensors, *, where: str, whose: str) -> dict[str, np.ndarray]:
    """Return a step's states; refuse others, and those that are not finite.

    Parameters
    ----------
    step : a training graph
    whose : states of whom, as a message says it

    Raises
    ------
    SpecError : a state that is missing, unknown, of another type or not finite
    """
    check_arrays(states, where=f"{where}: states", what="all that a step left")
    for name, value in states.items():
        check_finite(value, where=f"{where}: tensor {name!r}", fix=f"correct the {whose}")
    known = [name for name in step.inputs if name in step.states]
    for name in states:
        if name not in step.states:
            data = name in step.inputs
            raise SpecError(
                f"{where}: state {name!r}", found="an input" if data else "no such state",
                wanted=f"what another step of this run left: {', '.join(known)}",
                fix="put it into the batches" if data
                else f"remove it{did_you_mean(str(name), known)}",
            )  # fmt: skip
    for name in known:
        if name not in states:
            raise SpecError(
                f"{where}: state {name!r}", found="nothing", wanted=str(step.type(name)),
                fix="give all states of a step of this network with the same optimizer",
            )  # fmt: skip
        have, want = states[name], step.type(name)
        if have.shape != want.sizes or str(have.dtype) != want.dtype:
            raise SpecError(f"{where}: state {name!r}", found=f"{have.dtype}{have.shape}",
                            wanted=str(want), fix="take states of the same network")  # fmt: skip
    return {name: np.asarray(value) for name, value in states.items()}


def check_batch(step: Graph, batch: Tensors, *, where: str) -> None:
    """Refuse a batch that a step cannot take; the types of its tensors are left to the graph.

    Raises
    ------
    SpecError : no mapping or no arrays, a name that is no input, another batch size, labels out of
        range, data that are not finite
    """
    check_arrays(batch, where=where, what="a batch")
    data = [name for name in step.inputs if name not in step.states]
    for name in batch:
        if name not in data:
            learned = name in step.states
            raise SpecError(
                f"{where}: input {name!r}", found="a state" if learned else "no such input",
                wanted=f"one of {', '.join(data)}",
                fix="hand it in as `states`" if learned
                else f"remove it{did_you_mean(str(name), data)}",
            )  # fmt: skip
    for name in data:
        if name not in batch:
            continue  # the graph says what is missing
        have, want = batch[name], step.type(name)
        if have.ndim == want.rank and want.rank and have.shape[:1] != want.sizes[:1]:
            raise SpecError(f"{where}: {name!r}", found=f"a batch of {len(have)}",
                            wanted=f"{want.sizes[0]}, the network's",
                            fix="drop the rest, as `draw_batches` does")  # fmt: skip
        most = step.metadata.get(f"below.{name}")
        if most is not None and have.dtype.kind in "iu":
            outside = (have < 0) | (have >= int(most))
            if outside.any():
                raise SpecError(f"{where}: {name!r}", found=have[outside].flat[0],
                                wanted=f"labels from 0 to {int(most) - 1}",
                                fix="correct the data")  # fmt: skip
        check_finite(have, where=f"{where}: {name!r}", fix="clean the data")
