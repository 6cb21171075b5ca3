"""What runs a whole graph on this machine, and how long it takes: the back-end protocol.

A back end says what it refuses, prepares a graph once and runs it many times. `measure` times any
prepared graph: warm-up, repeats, median, and an interval that assumes no distribution.
"""

from __future__ import annotations

import contextlib
import functools
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError, SpecError
from orrery.evidence import Evidence
from orrery.graph import Graph, check_inputs, numpy_dtype
from orrery.progress import SILENT, Progress
from orrery.provenance import Basis, Source
from orrery.registry import Registry
from orrery.units import format_quantity

from ._machine import usable_memory_bytes

__all__ = [
    "BACKENDS",
    "Backend",
    "Executable",
    "Measurement",
    "Run",
    "Tensors",
    "check_answer",
    "input_check",
    "least_bytes",
    "looked_at_once",
    "measure",
    "memory_guard",
    "memory_problem",
]

Tensors = Mapping[str, NDArray[Any]]  #: tensor name -> value

Run = Callable[[Tensors], dict[str, NDArray[Any]]]  #: `run` of a prepared graph

BACKENDS = Registry(
    "back end",
    {
        "reference": "orrery.runtime._reference:ReferenceBackend",
        "onnxruntime": "orrery.runtime._onnxruntime:OnnxRuntimeBackend",
        "openvino": "orrery.runtime.libraries._openvino:OpenVinoBackend",
        "torch": "orrery.runtime.libraries._torch:TorchBackend",
    },
)


#: Any machine holds so much; the real limit is looked up only for graphs that need more.
_SURELY_HELD = 1 << 28


def least_bytes(graph: Graph) -> int:
    """Return bytes below which no back end can run a graph, as far as its types tell.

    Its inputs and outputs are held at once, and so is each single tensor.
    """
    border = dict.fromkeys((*graph.inputs, *graph.outputs))
    held = sum(graph.known_bytes(name) or 0 for name in border)
    made = (graph.known_bytes(name) or 0 for node in graph.nodes for name in node.outputs)
    return max(held, max(made, default=0))


def memory_problem(graph: Graph, memory: Callable[[], int] = usable_memory_bytes) -> str | None:
    """Return why a graph does not fit this machine's memory, or None; `memory` returns bytes."""
    least = least_bytes(graph)
    if least <= _SURELY_HELD or least <= (have := memory()):
        return None
    return (
        f"its tensors take at least {format_quantity(least, 'bytes')} and this machine has "
        f"{format_quantity(have, 'bytes')} of memory"
    )


@contextlib.contextmanager
def memory_guard(graph: Graph) -> Iterator[None]:
    """Turn a lack of memory in the block into a `ModelError` that says what is needed."""
    try:
        yield
    except MemoryError as error:
        raise ModelError(
            graph.name,
            found=f"too little memory{f': {error}' if str(error) else ''}",
            wanted=f"more than the {format_quantity(least_bytes(graph), 'bytes')} of its largest "
            "tensors",
            fix="bind smaller sizes, or run it where there is more memory",
        ) from error


def input_check(graph: Graph) -> Callable[[Tensors], None]:
    """Return `check_inputs` for one graph, worked out ahead: what fits costs next to nothing."""
    types = {name: graph.type(name) for name in graph.inputs}
    if any(t.dtype == "string" or any(isinstance(n, str) for n in t.shape) for t in types.values()):
        return functools.partial(check_inputs, graph)
    wanted = tuple((name, numpy_dtype(t.dtype), tuple(t.shape)) for name, t in types.items())
    count = len(wanted)

    def check(inputs: Tensors) -> None:
        if len(inputs) == count:
            for name, dtype, shape in wanted:
                value = inputs.get(name)
                if type(value) is not np.ndarray or value.shape != shape or value.dtype != dtype:
                    break
            else:
                return
        check_inputs(graph, inputs)

    return check


def check_answer(graph: Graph, names: Iterable[str], made: Tensors) -> None:
    """Refuse what a back end gave for tensors of a graph, where it is something else.

    Raises
    ------
    ModelError : one is missing, or has another element type or shape
    """
    for name in filter(None, names):
        want, value = graph.types.get(name), made.get(name)
        value = getattr(value, "tensor", value)  # of a worker with a memory of its own
        dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
        if name not in made:
            found = f"none, but {', '.join(map(repr, made))}" if made else "none"
        elif want is None or (
            (not isinstance(dtype, np.dtype) or want.dtype == "string"
             or dtype == numpy_dtype(want.dtype))
            and (shape is None or len(shape) == want.rank)
            and all(isinstance(size, str) or size == own
                    for size, own in zip(want.shape, shape or ()))
        ):  # fmt: skip
            continue
        else:
            found = f"{dtype}{list(shape or ())}"
        raise ModelError(f"its answer for {name!r}", found=found, wanted=str(want or "a tensor"),
                         fix="leave out this back end")  # fmt: skip


def looked_at_once(
    run: Run, graph: Graph, names: Iterable[str], put: Callable[[Run], object]
) -> Run:
    """Return what runs a prepared graph and looks at its answer, until one was right.

    A back end that leaves out a tensor, or gives another one, is then named itself, and not
    whoever reads the tensor.

    Parameters
    ----------
    put : is given `run` once it has answered rightly, to be called from then on
    """

    def first(inputs: Tensors) -> dict[str, NDArray[Any]]:
        made = run(inputs)
        check_answer(graph, names, made)
        put(run)
        return made

    return first


class Executable(Protocol):
    """A graph made ready to run.

    `keeps_apart`, where it is true, says that a run neither writes to its inputs nor returns memory
    that it will use again, or of theirs. It may have a method `run_trusted` too, `run` without a
    look at the inputs, and a method `bind(inputs, outputs)`, which returns what runs from given
    arrays into given arrays, or None.
    """

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Return the graph's outputs by name; inputs that do not fit raise `SpecError`."""
        ...


class Backend(Protocol):
    """Something on this machine that runs graphs.

    When `refuses` returns None, `prepare` succeeds unless memory or a library fails; what a
    library raises arrives as an `OrreryError` that names the node where the library names it.
    It may have a `caveat`: in what its outputs differ from ONNX, as a sentence for readers.
    """

    @property
    def name(self) -> str: ...

    def refuses(self, graph: Graph) -> str | None:
        """Return why the graph cannot run here, or None; must be cheap."""
        ...

    def prepare(self, graph: Graph) -> Executable:
        """Make a graph ready to run."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Wall-clock seconds of repeated runs.

    Attributes
    ----------
    times_s : of each timed run, in order
    median_s : their median
    interval_s : holds the median with probability `confidence`, from order statistics
    confidence : the probability that the interval's construction guarantees
    warmup : runs before the timed ones
    """

    times_s: tuple[float, ...]
    median_s: float
    interval_s: tuple[float, float]
    confidence: float
    warmup: int
    machine: str

    def evidence(self, subject: str, context: Mapping[str, str]) -> Evidence:
        """Return the measured latency as evidence about a subject.

        A single run says nothing about how far others would lie off: no interval then.
        """
        sure = {"interval": f"{self.confidence:.1%} for the median",
                "confidence": f"{self.confidence:.1%}"} if self.confidence > 0 else {}  # fmt: skip
        runs = f"median of {len(self.times_s)} runs" if len(self.times_s) > 1 else "one run"
        return Evidence(
            subject=subject, metric="latency", value=self.median_s, unit="s",
            source=Source(
                basis=Basis.MEASURED, where=self.machine,
                note=f"{runs} after {self.warmup} to warm up",
            ),
            interval=self.interval_s if sure else None,
            context={**sure, **context},
        )  # fmt: skip


def measure(
    executable: Executable,
    inputs: Tensors,
    *,
    warmup: int = 2,
    repeats: int = 20,
    confidence: float = 0.95,
    progress: Progress = SILENT,
    clock: Callable[[], float] = time.perf_counter,
) -> Measurement:
    """Time repeated runs.

    Parameters
    ----------
    warmup : untimed runs first (caches, lazy compilation)
    repeats : timed runs; fewer than 6 cannot give a 95 % interval and report what they give
    confidence : wanted for the interval of the median, above 0 and below 1
    clock : returns seconds; tests give their own

    Raises
    ------
    SpecError : no timed run, a negative warm-up, or a confidence outside (0, 1)
    """
    for label, value, least in (("repeats", repeats, 1), ("warmup", warmup, 0)):
        if value < least:
            raise SpecError(f"measure: {label}", found=value, wanted=f"{least} or more",
                            fix="correct the number")  # fmt: skip
    if not 0 < confidence < 1:
        raise SpecError("measure: confidence", found=confidence, wanted="between 0 and 1",
                        fix="write e.g. 0.95")  # fmt: skip
    total = warmup + repeats
    for done in range(warmup):
        progress.step("measure", done, total)
        executable.run(inputs)
    times = []
    for done in range(repeats):
        progress.step("measure", warmup + done, total)
        start = clock()
        executable.run(inputs)
        times.append(clock() - start)
    interval, reached = median_interval(times, confidence)
    return Measurement(
        times_s=tuple(times), median_s=statistics.median(times), interval_s=interval,
        confidence=reached, warmup=warmup,
        machine=f"{platform.node() or 'this machine'} ({platform.machine()})",
    )  # fmt: skip


def median_interval(values: list[float], confidence: float) -> tuple[tuple[float, float], float]:
    """Return an interval for the median and the confidence it really has.

    The k-th smallest and k-th largest of n values enclose the median of any continuous
    distribution with probability 1 − 2·P(Binomial(n, ½) < k); the largest k that keeps the wanted
    confidence is taken, and k = 1 (all values) when none does.
    """
    ordered, n = sorted(values), len(values)
    k, reached = _median_rank(n, confidence)
    return (ordered[k - 1], ordered[n - k]), reached


@functools.lru_cache(maxsize=4096)
def _median_rank(n: int, confidence: float) -> tuple[int, float]:
    """Return the rank k of `median_interval` and the confidence it has."""
    below = 0  # C(n,0) + … + C(n,k-1): ways in which fewer than k values lie below the median
    k, missed, ways = 1, 1, 1
    for candidate in range(1, n // 2 + 1):
        below += ways
        ways = ways * (n - candidate + 1) // candidate
        if 2 * below / 2**n > 1 - confidence:  # of whole numbers: no float holds 2**n
            break
        k, missed = candidate, below
    return k, max(0.0, 1 - 2 * missed / 2**n)
