"""Memories apart from the host's: PyTorch tensors on a CUDA GPU, or on this host but apart.

Models:  nothing; it copies. What is put into a memory, or taken out of it, is a copy in memory of
         its own; `put` and `take` return when the copy is there, so they are called by threads that
         do nothing else. `launch` returns as soon as the work is queued.
Ignores: copies between two GPUs without the host; larger copies in pieces.
Judge:   arrays that come back bit for bit (tests/runtime/together/test_memory.py); on a GPU, the
         documented semantics of PyTorch's streams, events and allocators.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from orrery.errors import SpecError
from orrery.graph import Graph
from orrery.plan import Infeasible

from .._backend import Backend, Executable
from ..devices import known_gpu
from ..libraries import _torch
from ..libraries._torch_program import from_numpy, to_numpy
from ._capacity import weight_bytes

HOST = "host"  #: the name of the memory of NumPy arrays


class MemoryFullError(MemoryError):
    """A memory cannot hold what was to be put there; `infeasible` says how much is short."""

    def __init__(self, infeasible: Infeasible) -> None:
        self.infeasible = infeasible
        super().__init__(str(infeasible))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Held:
    """A tensor in a memory; where work is queued, events tell when it was begun and made."""

    tensor: Any
    begun: Any = None
    made: Any = None


class Memory(Protocol):
    """Where tensors of a worker lie."""

    @property
    def name(self) -> str: ...

    def put(self, array: NDArray[Any]) -> Held:
        """Copy an array here and return when it is there.

        Raises
        ------
        MemoryError : there is no room; a library may raise one of its own
        """
        ...

    def take(self, held: Held, *, lasting: bool = True) -> NDArray[Any]:
        """Copy a tensor to the host once it is made, and return when it is there.

        Parameters
        ----------
        lasting : whether it may be kept for long; otherwise it may lie in memory that is dear
        """
        ...

    def launch(self, executable: Executable, inputs: Mapping[str, Held]) -> dict[str, Held]:
        """Queue a graph on tensors that are here, and return what they will be."""
        ...

    def wait(self, held: Iterable[Held]) -> None:
        """Return when all of these are made."""
        ...

    def moments(self, held: Held) -> tuple[float, float] | None:
        """Return when what made a tensor was begun and done, of `time.perf_counter`.

        None where that is not later than the launch, or is not known.
        """
        ...

    def free_bytes(self) -> int | None:
        """Return how much can still be put here; None for no limit of its own."""
        ...

    def prepare(self, backend: Backend, graph: Graph) -> Executable:
        """Make a graph ready to be launched here.

        Raises
        ------
        MemoryError : there is no room for its weights; a library may raise one of its own
        """
        ...


class TensorMemory:
    """PyTorch tensors in the host's memory, apart from NumPy's: all that comes or goes is copied.

    To see what copies cost, and what a placement does with them, without a GPU.

    Parameters
    ----------
    capacity_bytes : of tensors that are put here and of weights together; None: no limit
    """

    def __init__(self, name: str = "tensors", *, capacity_bytes: int | None = None) -> None:
        if name == HOST or (capacity_bytes is not None and capacity_bytes < 0):
            raise SpecError("memory", found=f"{name!r}, {capacity_bytes} bytes",
                            wanted=f"another name than {HOST!r} and 0 bytes or more",
                            fix="correct one of them")  # fmt: skip
        self.name = name
        self.capacity_bytes = capacity_bytes
        self._torch = _torch.load_library()
        self._taken = 0
        self._lock = threading.Lock()

    def put(self, array: NDArray[Any]) -> Held:
        if self.capacity_bytes is None:
            return Held(tensor=from_numpy(self._torch, array).clone())
        self._take_up(array.nbytes)
        held = Held(tensor=from_numpy(self._torch, array).clone())
        weakref.finalize(held, self._give_back, array.nbytes)
        return held

    def take(self, held: Held, *, lasting: bool = True) -> NDArray[Any]:
        array: NDArray[Any] = to_numpy(self._torch, held.tensor.clone())
        return array

    def launch(self, executable: Executable, inputs: Mapping[str, Held]) -> dict[str, Held]:
        run = executable.run_tensors  # type: ignore[attr-defined]  # PyTorch's back end has it
        found = run({name: held.tensor for name, held in inputs.items()})
        return {name: Held(tensor=tensor) for name, tensor in found.items()}

    def wait(self, held: Iterable[Held]) -> None:
        """Return at once: what was launched is done."""

    def moments(self, held: Held) -> tuple[float, float] | None:
        return None

    def free_bytes(self) -> int | None:
        return None if self.capacity_bytes is None else self.capacity_bytes - self._taken

    def prepare(self, backend: Backend, graph: Graph) -> Executable:
        if self.capacity_bytes is None:
            return backend.prepare(graph)
        size_bytes = weight_bytes(graph)
        self._take_up(size_bytes)
        try:
            made = backend.prepare(graph)
        except BaseException:
            self._give_back(size_bytes)
            raise
        weakref.finalize(made, self._give_back, size_bytes)
        return made

    def _take_up(self, size_bytes: int) -> None:
        capacity = self.capacity_bytes or 0
        with self._lock:
            if self._taken + size_bytes > capacity:
                raise MemoryFullError(Infeasible(
                    what=f"memory {self.name!r}", need=size_bytes,
                    have=capacity - self._taken, unit="bytes",
                    remedies=("bind smaller sizes", "place it on another worker"),
                ))  # fmt: skip
            self._taken += size_bytes

    def _give_back(self, size_bytes: int) -> None:
        with self._lock:
            self._taken -= size_bytes


class CudaMemory:
    """The memory of a CUDA GPU.

    Copies have a stream for each direction and pass through pinned memory, which PyTorch keeps for
    reuse; graphs run on one stream, in the order in which they are launched. A thread that copies
    sleeps while it waits for the GPU: spinning would take a processor from the workers.
    """

    def __init__(self, device: str = "cuda:0") -> None:
        t = self._torch = _torch.load_library()
        self.name = known_gpu(t, device, where="memory")
        self._device = t.device(self.name)
        self._compute, self._inward, self._outward = (t.cuda.Stream(self._device) for _ in range(3))
        #: an event that has happened, and when that was on the host's clock
        self._anchor: tuple[Any, float] | None = None

    def _event(self, stream: Any) -> Any:
        event = self._torch.cuda.Event(enable_timing=True, blocking=True)
        event.record(stream)
        return event

    def put(self, array: NDArray[Any]) -> Held:
        t = self._torch
        given = from_numpy(t, array)
        pinned = t.empty(given.shape, dtype=given.dtype, pin_memory=True)
        pinned.copy_(given)
        with t.cuda.stream(self._inward):
            tensor = t.empty(given.shape, dtype=given.dtype, device=self._device)
            tensor.copy_(pinned, non_blocking=True)
            there = self._event(self._inward)
        # The allocator knows of the stream it was made on alone; graphs read it on another.
        tensor.record_stream(self._compute)
        there.synchronize()
        return Held(tensor=tensor)

    def take(self, held: Held, *, lasting: bool = True) -> NDArray[Any]:
        t = self._torch
        with t.cuda.stream(self._outward):
            if held.made is not None:
                self._outward.wait_event(held.made)
            pinned = t.empty(held.tensor.shape, dtype=held.tensor.dtype, pin_memory=True)
            pinned.copy_(held.tensor, non_blocking=True)
            there = self._event(self._outward)
        there.synchronize()  # until then the caller's `held` keeps the tensor
        self._anchor = (there, time.perf_counter())
        array: NDArray[Any] = to_numpy(t, pinned)
        return array.copy() if lasting else array

    def launch(self, executable: Executable, inputs: Mapping[str, Held]) -> dict[str, Held]:
        """Queue a graph.

        What was put here is there already, and what graphs made is made on the same stream: nothing
        need be waited for.
        """
        with self._torch.cuda.stream(self._compute):
            begun = self._event(self._compute)
            run = executable.run_tensors  # type: ignore[attr-defined]
            found = run({name: held.tensor for name, held in inputs.items()})
            made = self._event(self._compute)
        return {n: Held(tensor=tensor, begun=begun, made=made) for n, tensor in found.items()}

    def wait(self, held: Iterable[Held]) -> None:
        """Return when all is made; looks again and again, as to wake up would be timed with it."""
        for event in {id(h.made): h.made for h in held if h.made is not None}.values():
            while not event.query():
                pass

    def moments(self, held: Held) -> tuple[float, float] | None:
        anchor = self._anchor
        if anchor is None or held.made is None or not held.made.query():
            return None
        event, at = anchor
        begun, made = (at - 1e-3 * e.elapsed_time(event) for e in (held.begun, held.made))
        return begun, made

    def free_bytes(self) -> int | None:
        """Return what the driver has free, and what PyTorch holds and does not use."""
        cuda = self._torch.cuda
        free, _ = cuda.mem_get_info(self._device)
        unused = cuda.memory_reserved(self._device) - cuda.memory_allocated(self._device)
        return int(free + unused)

    def prepare(self, backend: Backend, graph: Graph) -> Executable:
        # What is uploaded or computed now must be there before graphs run, on the same stream.
        with self._torch.cuda.stream(self._compute):
            return backend.prepare(graph)
