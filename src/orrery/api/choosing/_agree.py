"""Whether ways of running one network give the same: who computes otherwise is not taken.

The whole with the back end that is trusted most says what is right; without one, what most ways
give. Nothing is run for this: ways are compared by their first answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._inputs import agreement
from .._run_result import tolerance

if TYPE_CHECKING:
    from orrery.graph import Graph

Tensors = Mapping[str, NDArray[Any]]

#: Back ends that say what is right, the one that is trusted most first.
_TRUSTED = ("reference", "onnxruntime")


def deviating(
    graph: Graph, answers: Mapping[str, Tensors], backends: Mapping[str, str]
) -> tuple[dict[str, str], str]:
    """Return the ways that give something else than is right, each with what; and who was right.

    Where nobody can tell who is right none is returned, and of that a sentence in place of a name.

    Parameters
    ----------
    answers : outputs of each way for the same inputs
    backends : of ways in one piece, in the order in which they are believed
    """
    from orrery.graph import RANDOM_OPERATORS

    if any(op in RANDOM_OPERATORS or op == "Dropout" for op in _operators(graph)):
        return {}, ""
    allowed = 2 * tolerance(graph)  # each may be so far from what is right
    trusted = [way for name in _TRUSTED for way in backends if backends[way] == name]
    if trusted:
        right = trusted[0]
    else:
        voices = {
            way: sum(not _difference(other, answers[way], allowed) for other in answers.values())
            for way in answers
        }
        right = max(voices, key=lambda way: voices[way])
        if 2 * voices[right] <= len(answers) and len(answers) > 1:
            return {}, ("The ways give different outputs, and nobody can tell which is right: add "
                        "--workers onnxruntime, or --check.")  # fmt: skip
    differ = {way: _difference(made, answers[right], allowed) for way, made in answers.items()}
    return {way: why for way, why in differ.items() if why}, right


def _operators(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        # Without a third input dropout hands on what it is given.
        if node.op != "Dropout" or (len(node.inputs) > 2 and node.inputs[2]):
            yield node.op
        for value in node.attributes.values():
            if hasattr(value, "nodes"):
                yield from _operators(value)


def _difference(made: Tensors, wanted: Tensors, allowed: float) -> str:
    """Return how outputs differ from what is wanted, by more than rounding explains; or nothing."""
    for name, want in wanted.items():
        if name not in made:
            return f"output {name!r} is missing"
        found, right = np.asarray(made[name]), np.asarray(want)
        if (found.dtype, found.shape) != (right.dtype, right.shape):
            return (f"output {name!r} is {found.dtype}{list(found.shape)} in place of "
                    f"{right.dtype}{list(right.shape)}")  # fmt: skip
        error = agreement({name: found}, {name: right})
        if not error <= allowed:
            how = "in other places NaN" if error == float("inf") else (
                f"off by {error:.2g}, as |a - b| / (1 + |b|), where {allowed:.0e} is rounding"
            )  # fmt: skip
            return f"output {name!r} is {how}"
    return ""
