"""Sizes that a user gives: symbolic dimensions by name, and how many inferences a pass is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace

from orrery.errors import SpecError
from orrery.graph import Graph

#: metadata entry that says how many inferences one pass of a network is
BATCH_KEY = "batch"

#: metadata entry that says what one inference is: ``image``, ``token``, ``sequence``
INFERENCE_KEY = "inference"

#: metadata entry that says in which phase a network is taken, e.g. ``decode, context 128``
PHASE_KEY = "phase"

#: Names that exporters give the dimension that counts independent inferences.
_BATCH_NAMES = ("batch", "batch_size", "N", "n", "B", "b")


def bind_shapes(graph: Graph, shape: Sequence[str], origin: str = "") -> Graph:
    """Bind ``NAME=SIZE`` texts; every dimension must be bound afterwards.

    `origin` is the file the network came from, for messages.

    Raises
    ------
    SpecError : not of that form, given twice, an unknown name, or a dimension left open
    """
    sizes: dict[str, int] = {}
    for text in shape:
        # A dimension's name may hold "="; a size never does.
        name, sign, size = text.rpartition("=")
        if not sign or not name or not re.fullmatch(r"[0-9]{1,10}", size):
            raise SpecError("--shape", found=text, wanted="NAME=SIZE", fix="write e.g. batch=8")
        if sizes.setdefault(name, int(size)) != int(size):
            raise SpecError(
                "--shape",
                found=f"{name} = {sizes[name]} and {size}",
                wanted="one size",
                fix="leave one out",
            )
    if sizes:
        graph = graph.bind(**sizes)
    if graph.symbols:
        raise SpecError(
            f"{origin or graph.name}: inputs",
            found=f"unbound dimensions {', '.join(map(repr, graph.symbols))}",
            wanted="a size for each",
            fix=f"add --shape {shlex.quote(f'{graph.symbols[0]}=8')}",
        )
    stated = next((sizes[name] for name in _BATCH_NAMES if name in sizes), None)
    return graph if stated is None else _with_batch(graph, stated)


def state_batch(graph: Graph, batch: int | None, shape: Sequence[str]) -> tuple[Graph, list[str]]:
    """Apply ``--batch`` to a network that no library builder made.

    It binds the open dimension of that name, or else must be the leading size of an input: then it
    only states how many inferences one pass is.
    """
    if batch is None:
        return graph, list(shape)
    given = {text.rpartition("=")[0] for text in shape}
    name = next((n for n in _BATCH_NAMES if n in graph.symbols and n not in given), None)
    if name is not None:
        return graph, [*shape, f"{name}={batch}"]
    leading = {graph.type(i).shape[0] for i in graph.inputs if graph.type(i).shape}
    if batch not in leading:
        raise SpecError(
            "--batch",
            found=batch,
            wanted=f"an input's leading size ({', '.join(map(str, leading)) or 'none has one'})",
            fix="correct it, or bind the dimension by name: --shape NAME=SIZE"
            + (f" ({', '.join(graph.symbols)})" if graph.symbols else ""),
        )
    return _with_batch(graph, batch), list(shape)


def _with_batch(graph: Graph, batch: int) -> Graph:
    return replace(graph, metadata={**graph.metadata, BATCH_KEY: str(batch)})
