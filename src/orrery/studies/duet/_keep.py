"""Networks that were measured, kept: a study that was interrupted goes on with the others.

A case is kept under everything that decides it: the network, the workers with their back ends'
versions, the machine, the effort, and how this program measures. What cannot be read is measured
again.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from orrery.errors import SpecError
from orrery.graph import Graph
from orrery.provenance import PROGRAM_VERSION
from orrery.runtime import describe_machine
from orrery.runtime.together import LocalWorker
from orrery.store import Cache, content_hash, encode, strict_convert

from ._case import PLACED, SERVED, Case, Effort

#: Bumped when the same case would come out otherwise.
_VERSION = "case-4"


def kept_or_measured(
    graph: Graph, workers: Sequence[LocalWorker], effort: Effort, cache: Cache | None,
    measure: Callable[[], Case],
) -> tuple[Case, bool]:  # fmt: skip
    """Return a case and whether it was measured in an earlier run.

    Parameters
    ----------
    cache : where cases are kept; None measures always
    measure : measures the network
    """
    if cache is None:
        return measure(), False
    key = _key(graph, workers, effort)
    if (known := cache.get(key)) is not None:
        try:
            case = strict_convert(json.loads(known), Case, where=f"kept case of {graph.name}")
            if _complete(case):
                return case, True
        except (ValueError, RecursionError, SpecError):  # of another program, or not ours
            pass
    found = measure()
    cache.put(key, json.dumps(encode(found)).encode())
    return found, False


def _complete(case: Case) -> bool:
    """Return whether a case holds what every page of it needs."""
    ways = [way for block in case.blocks for way in block.times_s]
    return (
        {PLACED, SERVED} <= set(ways) and all(PLACED in block.times_s for block in case.blocks)
        and all(times for block in case.blocks for times in block.times_s.values())
        and all(way in case.kinds for way in ways) and bool(case.sweep.points and case.errors)
        and case.bound_s > 0 and case.predicted_s > 0
    )  # fmt: skip


def _key(graph: Graph, workers: Sequence[LocalWorker], effort: Effort) -> str:
    machine = describe_machine()
    own = replace(effort, networks=())  # which others are measured decides nothing
    return content_hash(
        _VERSION, PROGRAM_VERSION, _torch() if effort.torch != "off" else "", graph.digest,
        machine.summary, repr(machine.caches), repr([(g.name, g.driver) for g in machine.gpus]),
        repr(own), *(f"{w.name} {w.label} {w.processors} {w.memory_name}" for w in workers),
    )  # fmt: skip


def _torch() -> str:
    """Return PyTorch's version, which no worker's label need have."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return "none"
