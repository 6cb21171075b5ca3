"""Each node by itself: what its code left in memory against what the node computes.

Models:  one pass in an emulator that keeps what the code of each node stores, compared with the
         recovered network's own values of the same input.
Ignores: nodes whose value never reaches memory, for the code of the next one takes it from
         registers; code that serves several nodes. Both are said.
Judge:   nodes that were changed on purpose (tests/api/recovering).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import MissingExtraError
from orrery.progress import SILENT, Progress

from ._probe import emulation_of

if TYPE_CHECKING:
    from orrery.decompile import Network, RecoveredNode
    from orrery.graph import Graph

_WALL_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCertificate:
    """What comparing one node with its code found.

    Attributes
    ----------
    error : largest |a - b| / (1 + |b|); None where nothing could be compared
    exact : share of numbers that are the same to the bit
    text : one sentence
    """

    error: float | None
    exact: float = 0.0
    text: str = ""


def node_certificates(
    binary: Path, network: Network, draw: Mapping[str, NDArray[Any]], base: int | None,
    architecture: str | None, *, companion: Path | None = None, progress: Progress = SILENT,
) -> tuple[dict[str, NodeCertificate], str]:  # fmt: skip
    """Return a certificate for each node, by name, and why there are none if there are not."""
    from orrery.runtime.sandbox import Limits, Watched, run_probe

    graph = network.recovery.graph
    assert graph is not None  # the caller has looked
    if network.container:
        return {}, "nodes are not judged one by one where a runtime runs the file"
    alone, found = _alone(graph, network.recovery.nodes)
    sizes = {name: graph.known_bytes(graph.node(name).outputs[0]) or 0 for name in alone}
    watched = tuple(
        Watched(name=name, instructions=places, size_bytes=sizes[name])
        for name, places in alone.items()
    )
    probe = emulation_of(binary, network, [draw], base, architecture, watched, companion)
    try:
        answer = run_probe(probe, Limits(wall_s=_WALL_S), progress=progress)
    except MissingExtraError as error:
        return {}, str(error)
    if not answer.rounds:
        return {}, answer.failure.text if answer.failure else "the emulator gave no answer"
    values = _values(graph, draw, tuple(alone))
    for name in alone:
        found[name] = _compared(answer.rounds[0][name], values[name])
    return found, ""


def _alone(
    graph: Graph, nodes: Sequence[RecoveredNode]
) -> tuple[dict[str, tuple[int, ...]], dict[str, NodeCertificate]]:
    """Return stores that are a node's own, and what is to be said of nodes that have none.

    What one instruction stores for several nodes is the last one's: the others stay in registers.
    """
    known = {node.name for node in graph.nodes}
    last: dict[int, str] = {}
    for one in nodes:
        if one.name in known:
            last.update(dict.fromkeys(one.addresses, one.name))
    alone: dict[str, tuple[int, ...]] = {}
    found: dict[str, NodeCertificate] = {}
    for one in nodes:
        if one.name not in known:
            continue
        own = tuple(at for at in one.addresses if last[at] == one.name)
        if own:
            alone[one.name] = own
        else:
            heirs = sorted({last[at] for at in one.addresses})
            text = f"not in memory by itself: judged with {', '.join(heirs)}" if heirs else (
                "no code of its own"
            )  # fmt: skip
            found[one.name] = NodeCertificate(error=None, text=text)
    return alone, found


def _values(
    graph: Graph, draw: Mapping[str, NDArray[Any]], names: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Return what nodes compute on the way to the outputs, by name of the node."""
    outputs = {name: graph.node(name).outputs[0] for name in names}
    every = tuple(dict.fromkeys(outputs.values()))
    found = replace(graph, outputs=every).evaluate(dict(draw))
    return {name: found[output] for name, output in outputs.items()}


def _compared(answer: bytes, wanted: NDArray[Any]) -> NodeCertificate:
    """Compare what was stored with a tensor: in its order, or as numbers in any order."""
    (stored,) = struct.unpack_from("<Q", answer)
    if stored != wanted.nbytes or wanted.dtype != np.float32:
        text = f"its code stores {stored} bytes, and the node has {wanted.nbytes}: not compared"
        return NodeCertificate(error=None, text=text)
    got = np.frombuffer(answer, np.float32, offset=8)
    flat = wanted.ravel()
    error, sorted_error = _error(got, flat), _error(np.sort(got), np.sort(flat))
    if error <= sorted_error:
        return NodeCertificate(error=error, exact=float((got == flat).mean()),
                               text="its numbers, in its order")  # fmt: skip
    exact = float((np.sort(got) == np.sort(flat)).mean())
    return NodeCertificate(error=sorted_error, exact=exact,
                           text="its numbers, in another order in memory")  # fmt: skip


def _error(got: NDArray[Any], wanted: NDArray[Any]) -> float:
    if not wanted.size:
        return 0.0
    apart = np.abs(got.astype(np.float64) - wanted) / (1 + np.abs(wanted.astype(np.float64)))
    return float(np.where(got == wanted, 0, np.nan_to_num(apart, nan=np.inf)).max())
