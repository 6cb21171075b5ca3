"""A made-up GPU that does everything late: what is queued is done when somebody waits for it.

It stands where PyTorch does. What it promises is what PyTorch documents of CUDA: a stream keeps its
order, streams wait for events, a copy that does not block is there once its event is, and freed
memory may be handed out again unless the stream that still reads it was recorded. Its tensors are
the host's; fresh memory is full of NaN, and so is freed memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LOCK = threading.RLock()


class Stream:
    """Work in the order in which it was queued; `prompt`: done at once, as what a test computes."""

    def __init__(self, device: Any = None, *, prompt: bool = False) -> None:
        self.queue: list[Callable[[], None]] = []
        self.prompt = prompt
        self.deaf: set[str] = set()

    def add(self, action: Callable[[], None]) -> None:
        with LOCK:
            self.queue.append(action)
            if self.prompt:
                self.synchronize()

    def wait_event(self, event: Event) -> None:
        if "wait_event" not in self.deaf:
            self.add(event.happen)

    def synchronize(self) -> None:
        with LOCK:
            while self.queue:
                self.queue.pop(0)()


class Event:
    """A point in a stream's work."""

    def __init__(self, *, blocking: bool) -> None:
        assert blocking
        self.done, self.deaf = False, False
        self.stream: Stream | None = None

    def record(self, stream: Stream) -> None:
        self.stream, self.deaf = stream, "synchronize" in stream.deaf
        stream.add(self._note)

    def _note(self) -> None:
        self.done = True

    def happen(self) -> None:
        with LOCK:
            assert self.stream is not None
            while not self.done:
                self.stream.queue.pop(0)()

    def synchronize(self) -> None:
        if not self.deaf:
            self.happen()

    def query(self) -> bool:
        return self.done


class Late:
    """PyTorch with such a GPU, called ``cpu``: its tensors are the host's."""

    def __init__(self, torch: Any, *, prompt: bool = False) -> None:
        self.torch, self.cuda = torch, self
        self.compute = Stream(prompt=prompt)
        self.recorded: list[tuple[Any, Stream]] = []
        self.local = threading.local()
        self.Event = Event
        self.streams: list[Stream] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.torch, name)

    def Stream(self, device: Any) -> Stream:  # its name in PyTorch
        self.streams.append(Stream())
        return self.streams[-1]

    @property
    def outward(self) -> Stream:
        return self.streams[0]

    @property
    def inward(self) -> Stream:
        return self.streams[1]

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def device(self, name: str) -> Any:
        return self.torch.device("cpu")

    def mem_get_info(self, device: str) -> tuple[int, int]:
        return 1 << 20, 1 << 30

    def memory_reserved(self, device: str) -> int:
        return 300

    def memory_allocated(self, device: str) -> int:
        return 100

    def max_memory_allocated(self, device: str) -> int:
        return 200

    def reset_peak_memory_stats(self, device: str) -> None:
        """Nothing was counted."""

    def current_stream(self, device: str) -> Stream:
        return getattr(self.local, "stream", None) or self.compute

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.local.stream = getattr(self.local, "stream", None), stream
        yield
        self.local.stream = before

    def empty(self, shape: Any, *, dtype: Any, device: Any = None, pin_memory: bool = False) -> Any:
        assert (device is None) == pin_memory
        return self.torch.full(tuple(shape), 255, dtype=dtype)


def made_up(monkeypatch: Any, *, prompt: bool = False) -> Late:
    """Put such a GPU where the library is, for as long as a test lasts."""
    import torch

    from orrery.runtime.devices import _cuda

    late = Late(torch, prompt=prompt)
    copy_, record_stream = copies(late, torch.Tensor.copy_)
    monkeypatch.setattr(torch.Tensor, "copy_", copy_)
    monkeypatch.setattr(torch.Tensor, "record_stream", record_stream)
    monkeypatch.setattr(_cuda._torch, "load_library", lambda: late)
    return late


def copies(late: Late, copy: Any) -> tuple[Any, Any]:
    """Return what stands for `Tensor.copy_` and `Tensor.record_stream` on such a GPU."""

    def copy_(self: Any, source: Any, non_blocking: bool = False) -> Any:
        if not non_blocking:
            return copy(self, source)
        late.current_stream("cpu").add(lambda: copy(self, source))
        return self

    return copy_, lambda self, stream: late.recorded.append((self, stream))
