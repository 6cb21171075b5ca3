"""OpenVINO as a back end: whole graphs on the CPU, in 32-bit floating point throughout.

Models:  nothing; it runs. Graphs travel as ONNX bytes.
Ignores: the library's other devices. Whole numbers that may leave the range in which it is exact
         are refused ahead, and in inputs when they are given. Relu, Exp, Clip, Softmax, maxima,
         minima, and what becomes a truth value lose NaN; maxima of nothing but -inf give the
         lowest number, so that rows which a mask of -inf blots out whole may differ.
Judge:   ONNX's node tests, the NumPy reference on networks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from orrery.errors import ModelError, SpecError
from orrery.graph import Graph

from .._backend import Executable, Tensors, input_check, memory_guard, memory_problem
from ..refusals import integer_limit, refused_operators
from ._library import LARGEST_IN_MEMORY, foreign_operators, named_node, not_loaded, opened

#: Element types that cross the border; float64 does not, as the library computes it in 32 bits.
_CARRIED = {
    "bool", "int8", "uint8", "int16", "int32", "int64", "float16", "float32",
}  # fmt: skip

#: Those whose values are looked at when they are given.
_GUARDED = (np.dtype(np.int32), np.dtype(np.int64))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVinoBackend:
    """Runs graphs with OpenVINO on the CPU.

    Attributes
    ----------
    threads : of one run; 0 leaves the choice to the library
    pinning : tie the library's threads to cores; off, they stay where the process may run

    Attributes
    ----------
    caveat : in what its outputs may differ from ONNX, for a reader
    """

    name: ClassVar[str] = "openvino"
    caveat: ClassVar[str] = (
        "OpenVINO loses NaN: Relu, Exp, Clip, Softmax, maxima and minima make numbers of it. Where "
        "NaN in an output must stay NaN, take another back end (--workers onnxruntime)."
    )

    threads: int = 0
    pinning: bool = False
    largest_in_memory_bytes: int = LARGEST_IN_MEMORY

    def refuses(self, graph: Graph) -> str | None:
        """Refuse operators that the library lacks (all named), element types it would compute in
        others, and tensors larger than this machine's memory.
        """
        if (why := foreign_operators(graph)) is not None:
            return why
        if (why := refused_operators(graph)) is not None:
            return why
        made = [tensor for node in graph.nodes for tensor in node.outputs if tensor]
        for name in (*graph.inputs, *graph.outputs, *made):
            if name in graph.types and graph.types[name].dtype not in _CARRIED:
                return f"tensor {name!r} is {graph.types[name].dtype}, which it does not compute in"
        return memory_problem(graph)

    def prepare(self, graph: Graph) -> Executable:
        """Compile a graph.

        Raises
        ------
        MissingExtraError : the package is not installed
        ModelError : the library refuses the graph; names the node where the library does
        SpecError : a negative number of threads
        """
        if self.threads < 0:
            raise SpecError("openvino: threads", found=self.threads, wanted="0 or more",
                            fix="correct the number")  # fmt: skip
        library = load_library()
        reason = self.refuses(graph)
        if reason is not None:
            raise ModelError(graph.name, found=reason, wanted="a graph OpenVINO can run",
                             fix="use another back end")  # fmt: skip
        core = library.Core()
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": self.pinning,
            # Exactly float32: no bfloat16, no operands quantised on the way.
            "INFERENCE_PRECISION_HINT": "f32",
            "EXECUTION_MODE_HINT": "ACCURACY",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
            "KV_CACHE_PRECISION": "f32",
        }
        if self.threads:
            settings["INFERENCE_NUM_THREADS"] = self.threads

        def compiled(model: bytes | str) -> Any:
            return core.compile_model(core.read_model(model), "CPU", settings)

        largest = self.largest_in_memory_bytes
        with memory_guard(graph):
            model = _guarded(graph, "preparing", lambda: opened(graph, largest, compiled))
        return _Compiled(graph=graph, model=model, kept=_kept_inputs(graph, model),
                         check=input_check(graph), limit=integer_limit(graph))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compiled:
    """A compiled model; threads that run it at once take a request each."""

    graph: Graph
    model: Any
    kept: tuple[str, ...]  # which input each of the model's ports takes
    check: Callable[[Tensors], None]
    limit: int  # the largest whole number that inputs may hold
    idle: deque[Any] = field(default_factory=deque)
    keeps_apart: ClassVar[bool] = True

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        self.check(inputs)
        return self.run_trusted(inputs)

    def run_trusted(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run on inputs that were looked at before, or made by another part of the network."""
        feeds = {i: self._given(name, inputs[name]) for i, name in enumerate(self.kept)}
        try:
            request = self.idle.pop()
        except IndexError:
            request = self.model.create_infer_request()

        def infer() -> list[NDArray[Any]]:
            # The library frees the interpreter while it computes; what it returns are copies.
            results = request.infer(feeds, share_inputs=True, share_outputs=False)
            return [results[index] for index in range(len(wanted))]

        wanted = list(dict.fromkeys(self.graph.outputs))
        with memory_guard(self.graph):
            found = _guarded(self.graph, "running", infer)
        self.idle.append(request)
        return dict(zip(wanted, found))

    def _given(self, name: str, value: Any) -> NDArray[Any]:
        array = np.asarray(value, order="C")
        if array.ndim == 0 and not array.flags.writeable:
            array = array.copy()  # the library copies other read-only arrays, and raises on these
        if array.dtype.char == "q":  # of two types of 64 bits the library knows one
            array = array.view(np.int64)
        if array.dtype in _GUARDED and array.size:
            for extreme in (int(array.min()), int(array.max())):
                if abs(extreme) > self.limit:
                    raise SpecError(
                        f"{self.graph.name}: input {name!r}", found=extreme,
                        wanted=f"whole numbers of at most {self.limit} either way, with which "
                        "OpenVINO computes this exactly", fix="use another back end",
                    )  # fmt: skip
        return array


def _kept_inputs(graph: Graph, model: Any) -> tuple[str, ...]:
    """Return the input that each port of a compiled model takes, in order.

    Inputs that nothing reads have no port, and one that passes through bears its output's name.
    """
    ports = [port.get_names() for port in model.inputs]
    if len(ports) == len(graph.inputs):
        return graph.inputs
    named = [next((n for n in graph.inputs if n in names), None) for names in ports]
    others = [n for n in graph.inputs if n not in named and graph.consumers(n)]
    if named.count(None) > len(others):
        raise ModelError(graph.name, found="OpenVINO: inputs that lost their names",
                         wanted="a port for each input", fix="use another back end")  # fmt: skip
    left = iter(others)
    return tuple(name if name is not None else next(left) for name in named)


def load_library() -> ModuleType:
    """Import OpenVINO, or say which extra to install."""
    try:
        import openvino
    except ImportError as error:
        raise not_loaded("openvino", "openvino", error) from None
    module: ModuleType = openvino
    return module


def _guarded(graph: Graph, doing: str, action: Callable[[], Any]) -> Any:
    """Run something of the library, which raises RuntimeError for everything."""
    try:
        return action()
    except RuntimeError as error:
        text = " ".join(str(error).split())
        node = named_node(graph, text)
        raise ModelError(
            f"{graph.name}: node {node!r}" if node else graph.name,
            found=f"OpenVINO, {doing}: {text}", wanted="a graph and inputs it can run",
            fix="try another back end, e.g. onnxruntime",
        ) from error  # fmt: skip
