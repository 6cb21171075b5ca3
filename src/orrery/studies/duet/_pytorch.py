"""PyTorch beside the others: the whole network in a process of its own.

Models:  nothing; it runs. Two heavy libraries in one process can clash, and PyTorch's threads go on
         turning for a while after a run, so that it has its own; the run is timed there.
Judge:   outputs against the reference, as of every way.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from orrery.errors import OrreryError
from orrery.graph import Graph
from orrery.runtime import BACKENDS, Executable, Tensors, describe_machine, worker_processes

from ._case import Kind
from ._rounds import Way

#: The compiler may take minutes; a network on which it takes longer is left out.
_MOST_S = 900.0

#: PyTorch's threads go on turning for about so long, on the processors of whoever runs next.
_REST_S = 0.005


@dataclass(slots=True)
class Elsewhere:
    """Ways that run in another process, what they gave, and what is to be said of them."""

    ways: dict[str, Way] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    outputs: dict[str, dict[str, NDArray[Any]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stuck: bool = False


@contextmanager
def pytorch_ways(
    graph: Graph, inputs: Tensors, threads: int, *, compiled: bool
) -> Iterator[Elsewhere]:
    """Yield the whole network by PyTorch, node by node and, where it pays, compiled.

    On all processors, and on each GPU that the driver tells of.
    """
    found = Elsewhere()
    if importlib.util.find_spec("torch") is None:
        found.notes.append("PyTorch alone is left out: it is not installed")
        yield found
        return
    devices = ["cpu", *(f"cuda:{k}" for k, _ in enumerate(describe_machine().gpus))]
    wanted = [(d, c) for d in devices for c in ((False, None) if compiled else (False,))]
    with worker_processes(2) as process:
        if process is not None:
            for device, how in wanted:
                _add(found, process, graph, inputs, device, threads, how)
        yield found
        if process is not None and not found.stuck:
            process.shutdown(wait=True)  # what it holds of the system is given back only so


def _add(
    found: Elsewhere, process: Executor, graph: Graph, inputs: Tensors, device: str, threads: int,
    how: bool | None,
) -> None:  # fmt: skip
    name = f"torch, {'node by node' if how is False else 'compiled'}, {device}"
    try:
        outputs, kept, notes = process.submit(
            _prepare, name, graph, dict(inputs), device, threads, how
        ).result(_MOST_S)
    except (BrokenProcessPool, FutureTimeout, OSError) as error:
        found.notes.append(f"{name} is left out: {_said(error)}")
        found.stuck = True
        return
    if outputs is None:
        found.notes.append(f"{name} is left out: {'; '.join(notes)}")
        return
    found.notes += [f"{name}: {note}" for note in notes]
    if how is None and not kept:
        return

    def once() -> float:
        seconds = float(process.submit(_run, name).result())
        time.sleep(_REST_S)
        return seconds

    found.ways[name], found.outputs[name] = once, outputs
    found.kinds[name] = "cpu" if device == "cpu" else "gpu"


#: In the other process: networks made ready, with their inputs.
_READY: dict[str, tuple[Executable, Tensors]] = {}


def _prepare(
    name: str, graph: Graph, inputs: Tensors, device: str, threads: int, how: bool | None
) -> tuple[dict[str, NDArray[Any]] | None, bool, tuple[str, ...]]:
    """Make a network ready, run it once and return its outputs, or None and why not."""
    # Processes that the compiler begins for itself would outlive this one.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    backend = BACKENDS["torch"](device=device, threads=threads, compile=how)
    try:
        executable = backend.prepare(graph)
        outputs = executable.run(inputs)
    except OrreryError as error:  # it would not survive the way back
        return None, False, (_said(error),)
    _READY[name] = executable, inputs
    return outputs, executable.compiled, tuple(executable.notes)


def _run(name: str) -> float:
    executable, inputs = _READY[name]
    begun = time.perf_counter()
    executable.run(inputs)
    return time.perf_counter() - begun


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
