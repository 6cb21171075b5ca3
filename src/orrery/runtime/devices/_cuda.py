"""Bytes that leave a CUDA GPU and come back, while it computes.

Models:  nothing; this does it. Each direction has a stream of its own and passes through pinned
         memory of the host, which PyTorch keeps for reuse. Nothing here waits but `Leaving.data`,
         which the threads that write to files call, `settle`, and `arrive`, by which the program
         is never further ahead of the GPU than a few tensors.
Ignores: copies in pieces, several GPUs at once, memory that the GPU's driver holds beside PyTorch.
Judge:   a made-up device that does everything late, with each wait taken away in turn
         (tests/runtime/devices/test_cuda.py), and the documented semantics of PyTorch's streams,
         events and allocators. It has not run on a real GPU yet.

Who waits for whom:

- a copy to the host, for what was queued before it: the tensor may not be made yet;
- whoever reads the host's copy, for that copy's event;
- what is queued next and may use a tensor that came back, for the copy to the device;
- memory that a copy reads or writes, for its event: this holds it until then. A tensor that came
  back was made on another stream than the one that uses it, and its allocator is told so.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..libraries import _torch
from ._known import known_gpu

#: Tensors that may come back before what uses the first of them has been computed: a program that
#: queues faster than its GPU computes would otherwise have them all there at once.
_AHEAD = 2


class Leaving:
    """Bytes on their way to the host."""

    __slots__ = ("_device", "_pinned", "_there")

    def __init__(self, device: CudaDevice, pinned: Any, there: Any) -> None:
        self._device, self._pinned, self._there = device, pinned, there

    def data(self) -> NDArray[np.uint8]:
        """Wait until they are there, and return them; valid for as long as this is held."""
        self._there.synchronize()
        self._device.land()
        found: NDArray[np.uint8] = self._pinned.numpy()
        return found


class CudaDevice:
    """One CUDA GPU.

    Parameters
    ----------
    name : as PyTorch calls it; without a number, the one in use

    Raises
    ------
    SpecError : no such GPU
    """

    def __init__(self, name: str = "cuda") -> None:
        t = self._torch = _torch.load_library()
        self.name = known_gpu(t, name, where="offload: device", also=("cpu",))
        self.device = t.device(self.name)
        self._outward, self._inward = (t.cuda.Stream(self.device) for _ in range(2))
        #: events of copies, with the memory that they read and write
        self._flying: deque[tuple[Any, tuple[Any, ...]]] = deque()
        #: events behind what uses the tensors that came back last
        self._uses: deque[Any] = deque()
        self._lock = threading.Lock()

    def leave(self, data: Any) -> Leaving:
        """Queue a copy of bytes on the device, a flat tensor, to the host."""
        t = self._torch
        made = self._event(t.cuda.current_stream(self.device))
        with t.cuda.stream(self._outward):
            self._outward.wait_event(made)
            pinned = t.empty(data.shape, dtype=t.uint8, pin_memory=True)
            pinned.copy_(data, non_blocking=True)
            there = self._event(self._outward)
        self._fly(there, data, pinned)
        return Leaving(self, pinned, there)

    def arrive(self, data: NDArray[np.uint8]) -> tuple[Any, Any]:
        """Queue a copy of bytes of the host to the device.

        Returns
        -------
        A flat tensor there, and what `use` needs to know before it may be used. The bytes given are
        read before this returns.
        """
        t = self._torch
        self._uses.append(self._event(t.cuda.current_stream(self.device)))
        if len(self._uses) > _AHEAD:
            self._uses.popleft().synchronize()
        pinned = t.empty(data.shape, dtype=t.uint8, pin_memory=True)
        pinned.copy_(t.from_numpy(data))
        with t.cuda.stream(self._inward):
            tensor = t.empty(data.shape, dtype=t.uint8, device=self.device)
            tensor.copy_(pinned, non_blocking=True)
            there = self._event(self._inward)
        self._fly(there, tensor, pinned)
        return tensor, there

    def use(self, tensor: Any, there: Any) -> None:
        """Let what is queued from now on, on the stream in use, use a tensor that came back."""
        stream = self._torch.cuda.current_stream(self.device)
        stream.wait_event(there)
        # The allocator knows of the stream it was made on alone.
        tensor.record_stream(stream)

    def settle(self) -> None:
        """Wait until what was queued on the stream in use is done, so that the clock means it."""
        self._torch.cuda.current_stream(self.device).synchronize()

    def land(self) -> None:
        """Let go of memory that copies are done with."""
        with self._lock:
            for _ in range(len(self._flying)):
                there, held = self._flying.popleft()
                if not there.query():
                    self._flying.append((there, held))

    def meter(self) -> CudaMeter:
        """Return what reads how much memory PyTorch has there."""
        return CudaMeter(self._torch.cuda, self.device)

    def _event(self, stream: Any) -> Any:
        # Who waits for one sleeps: spinning would take a processor from the training loop.
        event = self._torch.cuda.Event(blocking=True)
        event.record(stream)
        return event

    def _fly(self, there: Any, *held: Any) -> None:
        self.land()
        with self._lock:
            self._flying.append((there, held))


class CudaMeter:
    """Reads how much memory tensors of this process have, and had at most, on one GPU."""

    def __init__(self, cuda: Any, device: Any) -> None:
        self._cuda, self._device = cuda, device

    def read(self) -> int:
        """Return the bytes at this moment."""
        return int(self._cuda.memory_allocated(self._device))

    def most(self) -> int:
        """Return the most bytes since `forget` was called."""
        return int(self._cuda.max_memory_allocated(self._device))

    def forget(self) -> None:
        """Let `most` begin anew."""
        self._cuda.reset_peak_memory_stats(self._device)

    def free(self) -> int:
        """Return what the driver has free, and what PyTorch holds and does not use."""
        free, _ = self._cuda.mem_get_info(self._device)
        unused = self._cuda.memory_reserved(self._device) - self.read()
        return int(free + unused)

    def close(self) -> None:
        """Nothing is held."""
