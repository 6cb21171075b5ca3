"""Copies and launches of a GPU's memory on a made-up device that does everything late.

The device queues what is asked of it and does nothing before somebody waits for an event or looks
for it, so that whatever reads too early finds NaN. What it promises is what PyTorch documents of
CUDA: one stream keeps its order, streams wait for events, a copy that does not block is there once
its event is, freed memory may be handed out again unless the stream that still reads it was
recorded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from orrery.graph import Graph
from orrery.runtime.libraries._torch import TorchBackend
from orrery.runtime.together import (
    CopyFailedError,
    CudaMemory,
    LocalWorker,
    PlacedNetwork,
    WorkerPool,
    _memory,
    measure_links,
    profile_subgraphs,
)

from .test_copies import each, wide
from .test_executor import INPUT, OWN, Fake, diamond, same

pytestmark = pytest.mark.torch

LOCK = threading.RLock()


class Stream:
    def __init__(self, device: Any = None) -> None:
        self.queue: list[Callable[[], None]] = []

    def wait_event(self, event: Event) -> None:
        with LOCK:
            self.queue.append(event.synchronize)

    def run(self, event: Event) -> None:
        while event.at is None:
            self.queue.pop(0)()


class Event:
    def __init__(self, **options: bool) -> None:
        assert options == {"enable_timing": True, "blocking": True}
        self.at: float | None = None
        self.stream: Stream | None = None

    def record(self, stream: Stream) -> None:
        with LOCK:
            self.stream = stream
            stream.queue.append(self._happen)

    def _happen(self) -> None:
        self.at = time.perf_counter()

    def query(self) -> bool:
        """Say whether it has happened; the device goes one step on when it is looked at."""
        with LOCK:
            assert self.stream is not None
            if self.at is None:
                self.stream.queue.pop(0)()
            return self.at is not None

    def synchronize(self) -> None:
        with LOCK:
            assert self.stream is not None
            self.stream.run(self)

    def elapsed_time(self, later: Event) -> float:
        assert self.at is not None
        assert later.at is not None
        return 1e3 * (later.at - self.at)


class Late:
    """PyTorch with a GPU whose work is done when it is waited for."""

    def __init__(self, torch: Any) -> None:
        self.torch, self.cuda = torch, self
        self.local = threading.local()
        self.recorded: list[Any] = []
        self.Stream, self.Event = Stream, Event

    def __getattr__(self, name: str) -> Any:
        return getattr(self.torch, name)

    def device_count(self) -> int:
        return 1

    def device(self, name: str) -> str:
        return name

    def mem_get_info(self, device: str) -> tuple[int, int]:
        return 1 << 20, 1 << 30

    def memory_reserved(self, device: str) -> int:
        return 300

    def memory_allocated(self, device: str) -> int:
        return 100

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.local.stream = getattr(self.local, "stream", None), stream
        yield
        self.local.stream = before

    def queue(self, action: Callable[[], None]) -> None:
        with LOCK:
            self.local.stream.queue.append(action)

    def empty(self, shape: Any, *, dtype: Any, device: Any = None, pin_memory: bool = False) -> Any:
        assert (device is None) == pin_memory
        made = self.torch.empty(shape, dtype=dtype)
        made.view(-1).view(self.torch.uint8).fill_(255)  # NaN, of numbers with a point
        return made


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Late:
    import torch

    made, copy = Late(torch), torch.Tensor.copy_

    def copy_(self: Any, source: Any, non_blocking: bool = False) -> Any:
        if not non_blocking:
            return copy(self, source)
        made.queue(lambda: copy(self, source))
        return self

    monkeypatch.setattr(torch.Tensor, "copy_", copy_)
    monkeypatch.setattr(torch.Tensor, "record_stream",
                        lambda self, stream: made.recorded.append((self, stream)))  # fmt: skip
    monkeypatch.setattr(_memory._torch, "load_library", lambda: made)
    return made


class LateBackend:
    """Prepares graphs whose results come late."""

    name = "late"

    def __init__(self, late: Late) -> None:
        self.late, self.inner = late, TorchBackend(threads=1)
        self.fails = False

    def refuses(self, graph: Graph) -> str | None:
        return None

    def prepare(self, graph: Graph) -> Any:
        assert isinstance(self.late.local.stream, Stream), "prepared on another stream"
        return LateExecutable(self, graph, self.inner.prepare(graph))


class LateExecutable:
    def __init__(self, owner: LateBackend, graph: Graph, inner: Any) -> None:
        self.owner, self.graph, self.inner = owner, graph, inner

    def run_tensors(self, inputs: dict[str, Any]) -> dict[str, Any]:
        late = self.owner.late
        with late.torch.no_grad():
            made = {
                name: late.empty(self.graph.type(name).sizes, dtype=late.torch.float32,
                                 device="cuda:0")
                for name in self.graph.outputs
            }  # fmt: skip

        def compute() -> None:
            if self.owner.fails:
                raise RuntimeError("CUDA error: made up")
            for name, value in self.inner.run_tensors(inputs).items():
                made[name].numpy()[...] = value.numpy()

        late.queue(compute)
        return made


def pool_of(backend: LateBackend, memory: CudaMemory) -> WorkerPool:
    return WorkerPool([
        LocalWorker(name="h", processors=OWN[:1], backend=Fake(), label="host"),
        LocalWorker(name="g", processors=(), backend=backend, label="gpu", memory=memory),
    ])  # fmt: skip


@pytest.mark.parametrize("lasting", [True, False])
def test_there_and_back(late: Late, lasting: bool) -> None:
    memory = CudaMemory()
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    held = memory.put(array)
    np.testing.assert_array_equal(memory.take(held, lasting=lasting), array)
    assert [(t is held.tensor, s is memory._compute) for t, s in late.recorded] == [(True, True)]


def test_waiting_lasts_until_it_is_made(late: Late) -> None:
    graph, memory = diamond(), CudaMemory()
    executable = memory.prepare(LateBackend(late), graph)
    made = memory.launch(executable, {name: memory.put(value) for name, value in INPUT.items()})
    assert memory.moments(made["yd"]) is None
    assert np.isnan(made["yd"].tensor.numpy()).all()
    memory.wait(made.values())
    np.testing.assert_allclose(made["yd"].tensor.numpy(), graph.evaluate(INPUT)["yd"], rtol=1e-5)


@pytest.mark.parametrize("names", ["gggg", "ghgh", "hggh", "hghg", "ghhg"])
def test_whatever_is_done_late_the_outputs_are_right(late: Late, names: str) -> None:
    graph = diamond()
    with pool_of(LateBackend(late), CudaMemory()) as pool:
        network = PlacedNetwork(graph, each(graph, list(names)), pool)
        for run in (lambda: network.run(INPUT, timeout_s=60), lambda: network.run(INPUT)):
            found = run()
            same(found.outputs, graph, INPUT)
            for k, name in enumerate(names):
                assert found.began_s[k] <= found.ended_s[k] <= found.answered_s, name
            for c in found.copies:
                assert c.began_s <= c.ended_s


def test_requests_that_overlap_on_a_late_device(late: Late) -> None:
    graph = wide()
    with pool_of(LateBackend(late), CudaMemory()) as pool:
        network = PlacedNetwork(graph, each(graph, list("hgggghhgghg")), pool)
        inputs = [{"x": np.full((4, 5), k - 4, np.float32)} for k in range(10)]
        futures = [network.submit(one) for one in inputs]
        for future, one in zip(futures, inputs, strict=True):
            same(future.result(60).outputs, graph, one)


def test_times_and_links_of_a_late_device(late: Late) -> None:
    graph, backend = diamond(), LateBackend(late)
    from orrery.graph import Region

    regions = [Region(graph=graph, nodes=(n.name,)) for n in graph.nodes]
    memory = CudaMemory()
    assert memory.free_bytes() == (1 << 20) + 200  # what PyTorch keeps and does not use is free too
    with pool_of(backend, memory) as pool:
        timed = profile_subgraphs(graph, regions, pool, INPUT, least_passes=2, width=100)
        assert np.isfinite(timed.median_s).all()
        links = measure_links(pool, repeats=3, sizes=[4, 1024])
        assert {(link.source, link.target) for link in links} == {
            ("host", "cuda:0"), ("cuda:0", "host"),
        }  # fmt: skip


def test_what_fails_late_is_named_with_what_made_it(late: Late) -> None:
    """A launch comes back before anything is done: that it failed shows when it is copied."""
    graph, backend = diamond(), LateBackend(late)
    with pool_of(backend, CudaMemory()) as pool:
        network = PlacedNetwork(graph, each(graph, list("hghh")), pool)
        backend.fails = True
        with pytest.raises(CopyFailedError, match=r"'yb' from cuda:0 to host .subgraph 'b' on "
                           r"worker 'g'.*CUDA error"):  # fmt: skip
            network.run(INPUT, timeout_s=60)
