"""PyTorch as a back end: an interpreter of graphs on a CPU or a CUDA GPU, compiled where it pays.

Models:  nothing; it runs. Arrays cross the border without a copy where they can; `run_tensors`
         takes and gives tensors that stay on the device and waits for nothing.
Ignores: operators outside its table, which are refused with all names.
Judge:   ONNX's node tests, the NumPy reference and ONNX Runtime on networks.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, ClassVar

from numpy.typing import NDArray

from orrery.errors import ModelError, OrreryError, SpecError, check_choice
from orrery.graph import Graph, check_inputs, example_inputs

from .._backend import Tensors, memory_guard, memory_problem
from ._library import not_loaded
from ._torch_compile import settled
from ._torch_program import (
    Constants,
    Program,
    Runner,
    from_numpy,
    make_program,
    refused,
    storages,
    to_numpy,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchBackend:
    """Runs graphs with PyTorch.

    Attributes
    ----------
    device : ``cpu``, or ``cuda:0`` and so on, where all products are of whole float32 (the
        process is set so)
    threads : of one run on the CPU; 0 leaves the process as it is. The library keeps the number
        for the thread that calls, and its matrix products keep one for the whole process.
    compile : False: node by node. True: compiled wherever that works and gives the same. None:
        compiled where it was also measured to be faster. Compiling takes up to minutes: when the
        graph is prepared where its sizes are known (so that no limit of a run meets it), else at
        the first run.
    """

    name: ClassVar[str] = "torch"
    device: str = "cpu"
    threads: int = 0
    compile: bool | None = False

    def refuses(self, graph: Graph) -> str | None:
        """Refuse operators outside the table, all named, and other element types; PyTorch itself
        is not loaded for this.
        """
        why = refused(graph)
        return memory_problem(graph) if why is None and self.device == "cpu" else why

    def prepare(self, graph: Graph) -> TorchExecutable:
        """Make a graph ready to run.

        Raises
        ------
        MissingExtraError : the package is not installed
        ModelError : the graph is one that `refuses` refuses
        SpecError : no such device, or a negative number of threads
        """
        if self.threads < 0:
            raise SpecError("torch: threads", found=self.threads, wanted="0 or more",
                            fix="correct the number")  # fmt: skip
        library = load_library()
        self._check_device(library)
        reason = self.refuses(graph)
        if reason is not None:
            raise ModelError(graph.name, found=reason, wanted="a graph PyTorch can run",
                             fix="use another back end")  # fmt: skip
        made = TorchExecutable(graph, library, self)
        if not graph.symbols:
            made.program_for({name: graph.type(name).sizes for name in graph.inputs})
            if self.compile is not False:
                made.settle()
        return made

    def _check_device(self, library: Any) -> None:
        found = library.cuda.device_count() if self.device != "cpu" else 0
        known = ["cpu", *(f"cuda:{i}" for i in range(found))]
        check_choice("torch: device", self.device, known)
        if self.device != "cpu":
            # Convolutions on a GPU would round their operands to 10 bits otherwise.
            library.backends.cudnn.allow_tf32 = False


@dataclass(slots=True)
class _Ready:
    """A program at some sizes, and how it is run: node by node until something else is settled."""

    program: Program
    runner: Runner
    held: frozenset[int]  # where the memory of constants begins
    settled: bool = False
    compiled: bool = False


class TorchExecutable:
    """A graph on a device. Safe to run in several threads.

    Attributes
    ----------
    notes : why something runs otherwise than was asked for, one sentence each
    """

    def __init__(self, graph: Graph, library: Any, backend: TorchBackend) -> None:
        self.graph, self.backend, self._torch = graph, backend, library
        self.notes: list[str] = []
        self._constants = Constants(library, graph, backend.device)
        self._ready: dict[tuple[tuple[int, ...], ...], _Ready] = {}
        self._lock = threading.RLock()

    @property
    def compiled(self) -> bool:
        """Whether runs go through compiled code, for the sizes of any run so far."""
        return any(ready.compiled for ready in list(self._ready.values()))

    def program_for(self, shapes: Mapping[str, tuple[int, ...]]) -> _Ready:
        """Return the program for these input shapes, made when they come for the first time."""
        key = tuple(tuple(shapes[name]) for name in self.graph.inputs)
        found = self._ready.get(key)
        if found is not None:
            return found
        with self._lock:
            if key not in self._ready:
                graph = self._bound(shapes)
                with memory_guard(graph), self._torch.no_grad():
                    program = make_program(self._torch, graph, self._constants)
                kept = [*self._constants.values(), *program.known.values()]
                self._ready[key] = _Ready(
                    program, partial(program.run, self._torch), frozenset(storages(kept))
                )
            return self._ready[key]

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Return the graph's outputs by name; inputs that do not fit raise `SpecError`."""
        check_inputs(self.graph, inputs)
        return self.run_trusted(inputs)

    def run_trusted(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run on inputs that were looked at before, or made by another part of the network."""
        t, device = self._torch, self.backend.device
        with memory_guard(self.graph):
            given = {n: from_numpy(t, inputs[n]).to(device) for n in self.graph.inputs}
            found = self.run_tensors(given)
            held = self.program_for({n: tuple(x.shape) for n, x in given.items()}).held
            taken = held.union(storages(list(given.values())))
            # Nobody may write to a constant, or to an input, through an output.
            return {
                name: to_numpy(t, value.clone() if taken.intersection(storages([value])) else value)
                for name, value in found.items()
            }

    def run_tensors(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run on tensors of the device and return tensors of the device, waiting for nothing.

        Work is queued on the caller's current stream. Outputs may share memory with inputs and
        constants; do not write to them.
        """
        t = self._torch
        if self.backend.threads and t.get_num_threads() != self.backend.threads:
            t.set_num_threads(self.backend.threads)
        ready = self.program_for({name: tuple(inputs[name].shape) for name in self.graph.inputs})
        tensors = [inputs[name] for name in self.graph.inputs]
        if not ready.settled:
            self._settle(ready, tensors)
        with t.no_grad():
            found = ready.runner(tensors)
        return dict(zip(self.graph.outputs, found))

    def settle(self) -> None:
        """Decide whether to compile, on made-up inputs; where these fail, the first run decides."""
        with contextlib.suppress(OrreryError):
            self.run_trusted(example_inputs(self.graph, seed=0))

    def _settle(self, ready: _Ready, tensors: list[Any]) -> None:
        with self._lock:
            if not ready.settled:
                if self.backend.compile is not False:
                    runner, note = settled(
                        self._torch, ready.program, tensors, always=self.backend.compile is True
                    )
                    self.notes.append(note)
                    if runner is not None:
                        ready.runner, ready.compiled = runner, True
                ready.settled = True

    def _bound(self, shapes: Mapping[str, tuple[int, ...]]) -> Graph:
        sizes: dict[str, int] = {}
        for name in self.graph.inputs:
            for said, found in zip(self.graph.type(name).shape, shapes[name]):
                if isinstance(said, str) and sizes.setdefault(said, found) != found:
                    raise SpecError(
                        f"{self.graph.name}: input {name!r}: size {said!r}", found=found,
                        wanted=f"{sizes[said]}, as in another input", fix="give equal sizes",
                    )  # fmt: skip
        return self.graph.bind(**sizes) if sizes else self.graph


def load_library() -> ModuleType:
    """Import PyTorch, or say which extra to install."""
    try:
        import torch
    except ImportError as error:
        raise not_loaded("torch", "torch", error) from None
    module: ModuleType = torch
    return module
