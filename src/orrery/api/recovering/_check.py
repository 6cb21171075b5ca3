"""The recovered network against the binary itself, run confined on drawn inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orrery.progress import Progress

from .._inputs import agreement
from ._certificates import Certificate, weight_certificates
from ._nodes import NodeCertificate, node_certificates
from ._probe import probe_of

if TYPE_CHECKING:
    from orrery.decompile import Recovered
    from orrery.graph import Graph

#: What summing float32 in another order explains, |a - b| / (1 + |b|).
TOLERANCE = 1e-4
#: What the numbers drawn for one round after the other are multiplied by.
_SCALES = (1.0, 16.0, 0.25, 4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """How the binary answered.

    Attributes
    ----------
    how : natively, in an emulator, or by which runtime
    rounds : how many inputs it answered, of how many
    error : largest |a - b| / (1 + |b|) of all outputs; None where none was answered
    exact : how many of the outputs' numbers are the same to the bit, as a share
    failure : why it did not answer all, or was not run
    held_by : what confined it
    weights : tensor -> what comparing it with the file found
    nodes : node -> what comparing its own code's numbers with it found
    unjudged : why there are no such certificates; empty where there are
    """

    how: str
    rounds: int
    asked: int
    error: float | None
    exact: float = 0.0
    failure: str = ""
    held_by: tuple[str, ...] = ()
    seconds: float = 0.0
    weights: Mapping[str, Certificate] = field(default_factory=dict)
    nodes: Mapping[str, NodeCertificate] = field(default_factory=dict)
    unjudged: str = ""

    @property
    def agrees(self) -> bool:
        """Whether every answer is what the recovered network computes, every weight the file's."""
        right = self.error is not None and self.error <= TOLERANCE and self.rounds == self.asked
        apart = [one.error for one in self.nodes.values() if one.error is not None]
        return (right and all(one.holds for one in self.weights.values())
                and max(apart, default=0.0) <= TOLERANCE)  # fmt: skip


def check_against(
    binary: Path, found: Recovered, *, rounds: int, seed: int, base: int | None,
    architecture: str | None, progress: Progress, companion: Path | None = None,
) -> Checked:  # fmt: skip
    """Run a binary on drawn inputs, confined, and compare it with the recovered network."""
    from orrery.decompile.topology import AFTER
    from orrery.graph import example_inputs
    from orrery.runtime.sandbox import run_probe

    network, recovery = found.network, found.recovery
    if network is None or recovery is None or recovery.graph is None:
        raise ValueError("there is no recovered network to compare")
    graph = recovery.graph
    weights = weight_certificates(binary, graph, recovery.weights, base, architecture, companion)
    draws = [_scaled(example_inputs(graph, seed=seed + number), number) for number in range(rounds)]
    probe, how = probe_of(binary, network, draws, base, architecture, companion)
    if probe is None:
        return Checked(how="not run", rounds=0, asked=rounds, error=None, failure=how,
                       weights=weights)  # fmt: skip
    answer = run_probe(probe, progress=progress)
    errors, same, numbers = [0.0], 0, 0
    for values, given in zip(draws, answer.rounds):
        wanted = graph.evaluate(values)
        names = tuple(name.removesuffix(AFTER) for name in graph.outputs)
        names = names if set(names) <= set(given) else tuple(given)
        got = _outputs(graph, given, names)
        errors.append(agreement(got, wanted))
        same += sum(int((got[name] == wanted[name]).sum()) for name in graph.outputs)
        numbers += sum(wanted[name].size for name in graph.outputs)
    nodes, unjudged = node_certificates(binary, network, draws[0], base, architecture,
                                        companion=companion, progress=progress)  # fmt: skip
    return Checked(
        how=how, rounds=len(answer.rounds), asked=rounds,
        error=max(errors) if answer.rounds else None, exact=same / numbers if numbers else 0.0,
        failure=answer.failure.text if answer.failure else "", held_by=answer.held_by,
        seconds=answer.seconds, weights=weights, nodes=nodes, unjudged=unjudged,
    )  # fmt: skip


def _scaled(values: dict[str, NDArray[Any]], number: int) -> dict[str, NDArray[Any]]:
    """Draw some inputs larger and smaller: what is cut off at 6 is not seen near 0."""
    scale = _SCALES[number % len(_SCALES)]
    return {name: one * one.dtype.type(scale) if one.dtype.kind == "f" else one
            for name, one in values.items()}  # fmt: skip


def _outputs(
    graph: Graph, given: Mapping[str, bytes], names: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Return what the binary answered as arrays of the network's outputs."""
    found = {}
    for name, answered in zip(graph.outputs, names):
        kind = graph.type(name)
        shape = tuple(int(one) for one in kind.shape or ())
        found[name] = np.frombuffer(given[answered], np.dtype(kind.dtype)).reshape(shape)
    return found
