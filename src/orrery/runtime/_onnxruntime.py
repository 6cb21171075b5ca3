"""ONNX Runtime as a back end, for whole graphs and for the regions of a plan."""

from __future__ import annotations

import functools
import json
import re
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError, check_choice
from orrery.graph import Graph, Region, subgraph
from orrery.progress import SILENT, Progress

from ._backend import Backend, Executable, Tensors, input_check, memory_guard, memory_problem
from .libraries._library import LARGEST_IN_MEMORY, foreign_operators, not_loaded, opened

#: Element types that NumPy arrays can carry into and out of a session.
_CARRIED = {
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16",
    "float32", "float64", "string",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxRuntimeBackend:
    """Runs graphs with ONNX Runtime.

    Attributes
    ----------
    threads : per operator; 0 leaves the choice to the library
    providers : execution providers in order of preference
    optimize : let the library fuse and fold; False runs the graph as it stands
    profile_folder : where sessions write how long each node took; empty: nowhere
    """

    name: ClassVar[str] = "onnxruntime"
    threads: int = 0
    providers: Sequence[str] = ("CPUExecutionProvider",)
    optimize: bool = True
    profile_folder: str = ""
    largest_in_memory_bytes: int = LARGEST_IN_MEMORY

    def refuses(self, graph: Graph) -> str | None:
        """Refuse operators outside ONNX, element types that cannot cross the border, and tensors
        larger than this machine's memory.
        """
        if (why := foreign_operators(graph)) is not None:
            return why
        for name in (*graph.inputs, *graph.outputs):
            if name in graph.types and graph.types[name].dtype not in _CARRIED:
                return f"tensor {name!r} is {graph.types[name].dtype}, which NumPy cannot hand over"
        return memory_problem(graph)

    def prepare(self, graph: Graph) -> Executable:
        """Make a session.

        Raises
        ------
        MissingExtraError : the package is not installed
        ModelError : the library refuses the graph; names the node
        SpecError : no such execution provider
        """
        library = load_library()
        reason = self.refuses(graph)
        if reason is not None:
            raise ModelError(graph.name, found=reason, wanted="a graph ONNX Runtime can run",
                             fix="use the reference back end")  # fmt: skip
        available = library.get_available_providers()
        for provider in self.providers:
            check_choice("execution provider", provider, available,
                         fix="install a build that has it")  # fmt: skip
        options = library.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 4  # what matters arrives as an exception
        # Threads that spin on after a run take the processors from whoever runs next: two networks
        # in turn, two threads each on two cores, otherwise take twice as long.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if self.profile_folder:
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(self.profile_folder) / "nodes")
        levels = library.GraphOptimizationLevel
        options.graph_optimization_level = (
            levels.ORT_ENABLE_ALL if self.optimize else levels.ORT_DISABLE_ALL
        )

        def session(model: bytes | str) -> Any:
            return library.InferenceSession(model, options, providers=list(self.providers))

        largest = self.largest_in_memory_bytes
        with memory_guard(graph):
            made = guarded(graph, "preparing", lambda: opened(graph, largest, session))
        return _Session(graph, made, list(dict.fromkeys(graph.outputs)), input_check(graph))


@dataclass(slots=True)
class _Session:
    graph: Graph
    session: Any
    wanted: list[str]
    check: Callable[[Tensors], None]
    keeps_apart: ClassVar[bool] = True

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        self.check(inputs)
        return self.run_trusted(inputs)

    def run_trusted(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run on inputs that were looked at before, or made by another part of the network.

        A small network takes no longer than this function if that does more than is necessary.
        """
        wanted = self.wanted
        try:
            return dict(zip(wanted, self.session.run(wanted, inputs)))
        except _any_raised() as error:
            if type(inputs) is dict and all(type(v) is np.ndarray for v in inputs.values()):
                guarded(self.graph, "running", functools.partial(_raise, error))
        feeds = {name: np.asarray(value) for name, value in inputs.items()}
        with memory_guard(self.graph):
            results = guarded(self.graph, "running", lambda: self.session.run(wanted, feeds))
        return dict(zip(wanted, results))

    def bind(self, inputs: Tensors, outputs: Tensors) -> Callable[[], object] | None:
        """Return what runs from these arrays into these, whatever they hold then.

        None where the library takes none of their kind. They must lie in one piece and stay.
        """
        every = [*inputs.values(), *outputs.values()]
        if any(a.size == 0 or a.dtype == object or not a.flags.c_contiguous for a in every):
            return None
        binding = self.session.io_binding()
        for name, array in inputs.items():
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        graph, run = self.graph, self.session.run_with_iobinding

        def bound() -> None:
            try:
                run(binding)
            except _any_raised() as error:
                with memory_guard(graph):
                    guarded(graph, "running", functools.partial(_raise, error))

        return bound


def layer_times(
    graph: Graph, inputs: Tensors, *, threads: int = 0, warmup: int = 2, repeats: int = 20,
    progress: Progress = SILENT,
) -> dict[str, float]:  # fmt: skip
    """Return the seconds of every node: the mean of the faster half of repeated runs.

    Other work on the machine only ever adds time, so that the slower half says less. Nothing is
    fused or folded, and one node runs after the other. The library counts whole microseconds;
    nodes that never take one are left out, and so are those in bodies.
    """
    with tempfile.TemporaryDirectory(prefix="orrery-") as folder:
        backend = OnnxRuntimeBackend(threads=threads, optimize=False, profile_folder=folder)
        made = backend.prepare(graph)
        for done in range(warmup + repeats):
            progress.step("measure layers", done, warmup + repeats)
            made.run(inputs)
        path = made.session.end_profiling()  # type: ignore[attr-defined]  # what `prepare` makes
        events = json.loads(Path(path).read_text(encoding="utf-8"))
    taken: dict[str, list[float]] = {node.name: [] for node in graph.nodes}
    for event in events:
        name = str(event.get("name", "")).removesuffix("_kernel_time")
        if event.get("cat") == "Node" and name in taken:
            taken[name].append(1e-6 * event["dur"])
    found = {}
    for name, times in taken.items():
        kept = sorted(times[warmup:])
        faster = kept[: -(-len(kept) // 2)]
        if sum(faster) > 0:
            found[name] = sum(faster) / len(faster)
    return found


def load_library() -> ModuleType:
    """Import ONNX Runtime, or say which extra to install."""
    try:
        import onnxruntime
    except ImportError as error:
        raise not_loaded("onnxruntime", "run", error) from None
    module: ModuleType = onnxruntime
    return module


def guarded(graph: Graph, doing: str, action: Callable[[], Any]) -> Any:
    """Run something of the library; what it raises becomes a `ModelError` naming the node."""
    try:
        return action()
    except _raised() as error:
        text = " ".join(str(error).split())
        node = _named_node(graph, text)
        where = f"{graph.name}: node {node!r}" if node else graph.name
        raise ModelError(
            where, found=f"ONNX Runtime, {doing}: {text}", wanted="a graph and inputs it can run",
            fix="try the reference back end (--backend reference), which says more",
        ) from error  # fmt: skip


@functools.cache
def _raised() -> tuple[type[Exception], ...]:
    """Return the exceptions that the library defines."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kinds = vars(state).values()
    return tuple(k for k in kinds if isinstance(k, type) and issubclass(k, Exception))


def _raise(error: Exception) -> None:
    raise error


def _any_raised() -> tuple[type[Exception], ...]:
    """Return what a run may end with; asked only where one has ended so."""
    return (MemoryError, RuntimeError, TypeError, *_raised())


def _named_node(graph: Graph, message: str) -> str | None:
    """Return the graph's node that a message of the library speaks of, None when it names none."""
    names = {node.name for node in graph.nodes}
    for pattern in (r"[Nn]ame:\s*'([^']*)'", r"[Nn]ode\s*(?:name)?:?\s*\(([^()\s]*)\)",
                    r"[Nn]ode:\s*(\S+?)[\s,;:]", r"'([^']+)'", r"\(([^()\s]+)\)"):  # fmt: skip
        for found in re.findall(pattern, message):
            if found in names:
                return str(found)
    operators = set(re.findall(r"\b(\w+)\s?\(-?\d+\)", message))  # e.g. com.example:Magic(-1)
    return next((node.name for node in graph.nodes if node.op in operators), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _RegionRunner:
    """Prepares each region on first use; safe to share among device threads."""

    backend: Backend
    ready: dict[tuple[str, tuple[str, ...]], Executable] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __reduce__(self) -> tuple[Any, tuple[Backend]]:
        """Travel without sessions: each process makes its own, of one thread, as others compute."""
        backend = self.backend
        if isinstance(backend, OnnxRuntimeBackend):
            backend = replace(backend, threads=1)
        return region_evaluator, (backend,)

    def __call__(self, region: Region, inputs: Tensors) -> Tensors:
        key = (region.graph.digest, region.nodes)
        with self.lock:
            if key not in self.ready:
                self.ready[key] = self.backend.prepare(subgraph(region))
            executable = self.ready[key]
        return executable.run({name: inputs[name] for name in region.inputs})


def region_evaluator(backend: Backend) -> Callable[[Region, Tensors], Tensors]:
    """Return an evaluator that runs each region as a small graph of its own on a back end."""
    return _RegionRunner(backend=backend)
