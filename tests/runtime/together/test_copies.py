"""Networks over two memories: right whatever is slow, failures and hangs named, nobody blocked."""

from __future__ import annotations

import gc
import itertools
import random
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from orrery.graph import ArrayConstant, Graph, Node, Region, TensorType
from orrery.runtime.libraries._torch import TorchBackend
from orrery.runtime.together import (
    CopyFailedError,
    CopyHungError,
    CudaMemory,
    DoesNotFitError,
    Fallback,
    LocalWorker,
    PlacedNetwork,
    Step,
    TensorMemory,
    WorkerFailedError,
    WorkerHungError,
    WorkerPool,
    _pool,
    fit_link,
    measure_links,
    profile_subgraphs,
)

from .test_executor import INPUT, OWN, Fake, diamond, same, steps
from .test_profile import Clock, Resting

pytestmark = pytest.mark.torch


class Throttled(TensorMemory):
    """A memory whose copies take their time, fail or hang; it notes what goes on in it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.rest = lambda: 0.0
        self.fails, self.hangs = "", ""
        self.release = threading.Event()
        self.launch_rest = lambda: 0.0
        self.log: list[tuple[str, float, float]] = []
        self.held: weakref.WeakSet[Any] = weakref.WeakSet()

    def put(self, array: Any) -> Any:
        with _Noted(self, "put", array.nbytes):
            held = super().put(array)
        self.held.add(held)
        return held

    def take(self, held: Any, *, lasting: bool = True) -> Any:
        with _Noted(self, "take", held.tensor.nbytes):
            return super().take(held, lasting=lasting)

    def launch(self, executable: Any, inputs: Any) -> Any:
        time.sleep(self.launch_rest())
        return super().launch(executable, inputs)


class _Noted:
    def __init__(self, memory: Throttled, what: str, size: int) -> None:
        self.memory, self.what = memory, what

    def __enter__(self) -> None:
        self.began = time.perf_counter()
        if self.memory.fails == self.what:
            raise ConnectionError("made up")
        if self.memory.hangs == self.what:
            self.memory.release.wait(120)
        time.sleep(self.memory.rest())

    def __exit__(self, *_: object) -> None:
        self.memory.log.append((self.what, self.began, time.perf_counter()))


def pool_of(*memories: TensorMemory, host: Any = None) -> WorkerPool:
    host = host or Fake()
    return WorkerPool([
        LocalWorker(name="h", processors=OWN[:1], backend=host, label="host"),
        LocalWorker(name="i", processors=OWN[-1:], backend=host, label="host"),
        *(LocalWorker(name=memory.name, processors=(), backend=TorchBackend(threads=1),
                      label="torch", memory=memory) for memory in memories),
    ])  # fmt: skip


def each(graph: Graph, names: Sequence[str]) -> list[Step]:
    return steps(graph, [(n.name, w) for n, w in zip(graph.nodes, names, strict=True)])


def wide() -> Graph:
    """Three branches of three nodes each, joined; an output in the middle too."""
    nodes = []
    for branch, op in zip("abc", ("Neg", "Relu", "Tanh")):
        before = "x"
        for k in range(3):
            nodes.append(Node(name=f"{branch}{k}", op=op if k != 1 else "Abs", inputs=(before,),
                              outputs=(f"{branch}y{k}",)))  # fmt: skip
            before = f"{branch}y{k}"
    nodes.append(Node(name="ab", op="Add", inputs=("ay2", "by2"), outputs=("yab",)))
    nodes.append(Node(name="abc", op="Mul", inputs=("yab", "cy2"), outputs=("y",)))
    kind = TensorType(dtype="float32", shape=(4, 5))
    return Graph(name="wide", inputs=("x",), outputs=("y", "by0"), nodes=tuple(nodes),
                 types={"x": kind}).infer()  # fmt: skip


def test_every_placement_over_two_memories() -> None:
    graph = diamond()
    with pool_of(TensorMemory("m"), TensorMemory("n")) as pool:
        for names in itertools.product(["h", "m", "n"], repeat=4):
            network = PlacedNetwork(graph, each(graph, names), pool)
            here = names[-1] == "h"  # the caller does the last worker's steps, or waits
            found = network.run(INPUT) if here else network.run(INPUT, timeout_s=60)
            same(found.outputs, graph, INPUT)


@pytest.mark.parametrize("seed", range(3))
def test_requests_with_copies_under_way_do_not_disturb_each_other(seed: int) -> None:
    """Whatever is slow: no tensor is overwritten while somebody copies or reads it."""
    rng = random.Random(seed)
    graph, memory = wide(), Throttled(name="m")
    memory.rest = memory.launch_rest = lambda: rng.choice([0, 0, 0.0005, 0.003])
    with pool_of(memory) as pool:
        names = [rng.choice(["h", "i", "m"]) for _ in graph.nodes]
        network = PlacedNetwork(graph, each(graph, names), pool)
        inputs = [{"x": np.full((4, 5), k - 8, np.float32)} for k in range(16)]
        futures = [network.submit(one) for one in inputs]
        found = [future.result(60).outputs for future in futures]
        for outputs, one in zip(found, inputs, strict=True):
            same(outputs, graph, one)
        del futures
        gc.collect()
        assert not memory.held, "tensors of requests that are over are kept"
        assert not pool.under_way


def test_copies_of_one_direction_follow_each_other_and_block_no_worker() -> None:
    memory, host, began_b = Throttled(name="m"), Fake(), threading.Event()
    host.began = lambda name: began_b.set() if name == "b" else None

    def rest() -> float:
        assert began_b.wait(60), "a worker waited for a copy that it does not need"
        return 0.05

    memory.rest = rest
    graph = diamond()
    with pool_of(memory, host=host) as pool:
        network = PlacedNetwork(graph, each(graph, ["h", "i", "m", "i"]), pool)
        found = network.run(INPUT, timeout_s=90)
        inward, outward = (
            sorted(span for span in memory.log if span[0] == what) for what in ("put", "take")
        )
        assert len(inward) == len(outward) == 1  # ya there, yc back
        copies = {c.tensor: c for c in found.copies}
        assert copies["ya"].ended_s - copies["ya"].began_s >= 0.05
        assert copies["ya"].began_s >= found.ended_s[0]
        assert found.began_s[2] >= copies["ya"].ended_s
        assert found.began_s[3] >= copies["yc"].ended_s
        assert copies["ya"].size_bytes == 48
        spans = network.timeline(found).spans
        assert {s.resource for s in spans if s.kind == "transfer"} == {"host to m", "m to host"}
        for _ in range(
            20 if len(OWN) > 1 else 1
        ):  # requests, until a busy machine lets two copies run at once
            memory.log.clear()
            for future in [network.submit(INPUT) for _ in range(3)]:
                future.result(60)
            for what in ("put", "take"):
                lane = sorted(span[1:] for span in memory.log if span[0] == what)
                assert all(a[1] <= b[0] for a, b in itertools.pairwise(lane))
            puts, takes = ([span[1:] for span in memory.log if span[0] == what]
                           for what in ("put", "take"))  # fmt: skip
            if overlap := [(a, b) for a in puts for b in takes if a[0] < b[1] and b[0] < a[1]]:
                break
        # Where h and i have one processor, a request begins when the one before it is over.
        assert overlap or len(OWN) < 2, "copies of both directions never ran at once"


@pytest.mark.parametrize("what", ["put", "take"])
def test_a_copy_that_fails_is_named_and_the_next_way_answers(what: str) -> None:
    memory, graph = Throttled(name="m"), diamond()
    with pool_of(memory) as pool:
        ways = {"both": PlacedNetwork(graph, each(graph, ["h", "m", "i", "h"]), pool),
                "host": PlacedNetwork(graph, each(graph, ["h", "i", "i", "h"]), pool)}  # fmt: skip
        memory.fails = what
        way = {"put": "'ya' from host to m", "take": "'yb' from m to host"}[what]
        with pytest.raises(CopyFailedError, match=way + r".*'b' on worker 'm'.*made up") as told:
            ways["both"].run(INPUT, timeout_s=60)
        assert told.value.worker == "m"
        with pytest.raises(CopyFailedError, match=way):
            ways["both"].run(INPUT)
        served = Fallback(ways)
        same(served.run(INPUT, timeout_s=60).outputs, graph, INPUT)
        assert served.gone == {"m"}
        assert way in served.notes[0]
        memory.fails = ""
        same(ways["both"].run(INPUT, timeout_s=60).outputs, graph, INPUT)


@pytest.mark.parametrize("what", ["put", "take"])
def test_a_copy_that_hangs_is_named_and_all_that_wait_are_told(what: str) -> None:
    memory, graph = Throttled(name="m"), diamond()
    with pool_of(memory) as pool:
        network = PlacedNetwork(graph, each(graph, ["h", "m", "i", "h"]), pool)
        host = PlacedNetwork(graph, each(graph, ["h", "i", "i", "h"]), pool)
        memory.hangs = what
        another = PlacedNetwork(graph, each(graph, ["h", "m", "i", "h"]), pool)
        others = [network.submit(INPUT), network.submit(INPUT), another.submit(INPUT)]
        way = {"put": "'ya' from host to m", "take": "'yb' from m to host"}[what]
        with pytest.raises(CopyHungError, match=way + r".*no end after 1 s"):
            network.run(INPUT, timeout_s=1)
        for other in others:
            with pytest.raises(WorkerFailedError, match="hung"):
                other.result(60)
        with pytest.raises(WorkerFailedError, match="hung before"):
            network.run(INPUT, timeout_s=60)
        served = Fallback({"both": network, "host": host})
        same(served.run(INPUT, timeout_s=60).outputs, graph, INPUT)
    memory.release.set()


def heavy(rows: int = 64) -> Graph:
    """Two products; the weights of `big` alone take 16 KiB at 64 rows."""
    weight = np.eye(rows, dtype=np.float32)
    return Graph(
        name="heavy", inputs=("x",), outputs=("y",),
        nodes=(Node(name="small", op="Relu", inputs=("x",), outputs=("s",)),
               Node(name="big", op="MatMul", inputs=("s", "w"), outputs=("y",))),
        types={"x": TensorType(dtype="float32", shape=(1, rows))},
        constants={"w": ArrayConstant(weight)},
    ).infer()  # fmt: skip


def test_a_subgraph_that_does_not_fit_is_placed_elsewhere() -> None:
    graph, memory = heavy(), TensorMemory("m", capacity_bytes=4096)
    inputs = {"x": np.ones((1, 64), np.float32)}
    regions = [Region(graph=graph, nodes=(n,)) for n in ("small", "big")]
    with pool_of(memory) as pool:
        with pytest.raises(DoesNotFitError, match=r"need 16.5 KiB, have 4 KiB") as told:
            PlacedNetwork(graph, each(graph, ["h", "m"]), pool)
        assert told.value.infeasible.unit == "bytes"
        found = profile_subgraphs(graph, regions, pool, inputs, least_passes=1, width=100)
        column = found.workers.index("m")
        assert np.isfinite(found.median_s[0]).all()
        assert np.isinf(found.median_s[1, column])
        assert np.isfinite(found.median_s[1, :column]).all()
        short = found.infeasible[regions[1].name, "m"]
        assert short.need > short.have == 4096
        assert "have 4 KiB" in found.refusals[regions[1].name, "m"]


def test_what_no_network_has_any_more_makes_room_for_the_whole() -> None:
    graph, memory = heavy(), TensorMemory("m", capacity_bytes=20_000)
    inputs = {"x": np.ones((1, 64), np.float32)}
    with pool_of(memory) as pool:
        kept = PlacedNetwork(graph, each(graph, ["m", "m"]), pool)
        whole = [Step(region=Region(graph=graph, nodes=("small", "big"), label="whole"),
                      worker="m")]  # fmt: skip
        with pytest.raises(DoesNotFitError):
            PlacedNetwork(graph, whole, pool)
        same(kept.run(inputs, timeout_s=60).outputs, graph, inputs)
        del kept
        same(PlacedNetwork(graph, whole, pool).run(inputs, timeout_s=60).outputs, graph, inputs)


class OutOfMemoryError(RuntimeError):
    """As PyTorch calls it."""


def test_a_library_that_runs_out_of_memory_takes_the_worker_out_for_that_subgraph() -> None:
    class Short(TensorMemory):
        def launch(self, executable: Any, inputs: Any) -> Any:
            if executable.graph.nodes[0].name == "big":
                raise OutOfMemoryError("CUDA out of memory")
            return super().launch(executable, inputs)

    graph, inputs = heavy(), {"x": np.ones((1, 64), np.float32)}
    regions = [Region(graph=graph, nodes=(n,)) for n in ("small", "big")]
    with pool_of(Short("m")) as pool:
        found = profile_subgraphs(graph, regions, pool, inputs, least_passes=2, width=100)
        column = found.workers.index("m")
        assert np.isinf(found.median_s[1, column])
        assert np.isfinite(found.median_s[0]).all()
        assert "as the library says" in found.refusals[regions[1].name, "m"]
        assert not found.infeasible[regions[1].name, "m"].proved
        network = PlacedNetwork(graph, each(graph, ["h", "m"]), pool)
        with pytest.raises(WorkerFailedError, match="too little memory: OutOfMemoryError"):
            network.run(inputs, timeout_s=60)


def test_subgraphs_are_timed_where_their_tensors_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies are no part of a subgraph's time; all of its work is."""
    memory, graph, clock = Throttled(name="m"), diamond(), Clock()
    clock.install(monkeypatch)

    def rest(seconds: float) -> float:
        clock.rest(seconds)
        return 0.0

    memory.rest, memory.launch_rest = (lambda: rest(0.02)), (lambda: rest(0.004))
    regions = [Region(graph=graph, nodes=(n.name,)) for n in graph.nodes]
    with pool_of(memory, host=Resting()) as pool:
        found = profile_subgraphs(graph, regions, pool, INPUT, least_passes=1, width=100, warmup=1)
    seconds = found.median_s[:, found.workers.index("m")]
    np.testing.assert_allclose(seconds, 0.004)


def test_links_between_memories_are_fitted() -> None:
    """A link of a known rate, from the end in one thread to the begin in the other."""

    clock = Clock()

    class Wire(TensorMemory):
        def put(self, array: Any) -> Any:
            clock.rest(2e-3 + 4e-9 * array.nbytes)
            return super().put(array)

        def take(self, held: Any, *, lasting: bool = True) -> Any:
            clock.rest(1e-3)
            return super().take(held, lasting=lasting)

    def looked() -> float:
        clock.rest(1e-6)  # handing over takes time, too
        return clock.now_s

    with pool_of(Wire("m")) as pool:
        found = {(one.source, one.target): one for one in measure_links(
            pool, repeats=3, sizes=[1 << 10, 1 << 16, 1 << 20, 1 << 22], most_s=60,
            clock=looked)}  # fmt: skip
        assert {("host", "m"), ("m", "host"), ("h", "i"), ("i", "h")} == set(found)
        inward, outward = found["host", "m"], found["m", "host"]
        assert (inward.fixed_s, inward.s_per_byte) == pytest.approx((2e-3, 4e-9), rel=0.01)
        assert (outward.fixed_s, outward.s_per_byte) == pytest.approx((1e-3, 0), rel=0.01)
        assert found["h", "i"].fixed_s == pytest.approx(1e-6)
    assert fit_link("a", "b", {4: [1.0], 8: [1.0]}).s_per_byte == 0


def test_a_device_that_fails_while_it_is_measured_is_named() -> None:
    memory, graph = Throttled(name="m"), diamond()
    regions = [Region(graph=graph, nodes=(n.name,)) for n in graph.nodes]

    def broken() -> float:
        raise RuntimeError("CUDA error, made up")

    with pool_of(memory) as pool:
        memory.rest = broken
        with pytest.raises(WorkerFailedError, match=r"'m'.*transfer from host to m.*CUDA error"):
            measure_links(pool, repeats=1, sizes=[4, 8])
        memory.rest, memory.launch_rest = (lambda: 0.0), broken
        found = profile_subgraphs(graph, regions, pool, INPUT, least_passes=1, width=100)
        why = found.refusals["a", "m"]
        assert "'m': subgraph 'a'" in why
        assert "CUDA error, made up" in why
        assert found.median_s[0].min() < np.inf  # the others go on


def test_a_transfer_that_hangs_while_it_is_measured_is_named() -> None:
    memory = Throttled(name="m")
    memory.hangs = "put"
    with pool_of(memory) as pool:
        with pytest.raises(WorkerHungError, match=r"'m'.*from host to m.*after 0.2 s"):
            measure_links(pool, repeats=1, sizes=[4, 8], timeout_s=0.2)
        memory.release.set()


def test_a_small_memory_has_links_for_what_fits() -> None:
    with pool_of(TensorMemory("m", capacity_bytes=3000)) as pool:
        found = measure_links(pool, repeats=3, sizes=[16, 256, 1024, 1 << 20])
        assert {(one.source, one.target) for one in found} >= {("host", "m"), ("m", "host")}


def test_requests_under_way_are_served_before_a_pool_closes() -> None:
    memory, graph = Throttled(name="m"), diamond()
    memory.rest = lambda: 0.02
    before = set(threading.enumerate())
    with pool_of(memory) as pool:
        network = PlacedNetwork(graph, each(graph, ["h", "m", "i", "h"]), pool)
        futures = [network.submit(INPUT) for _ in range(3)]
    for future in futures:
        same(future.result(0).outputs, graph, INPUT)
    assert set(threading.enumerate()) <= before


def test_memories_of_a_pool_have_names_of_their_own() -> None:
    from orrery.errors import SpecError

    two = [
        LocalWorker(name=name, processors=(), backend=TorchBackend(), label="torch",
                    memory=TensorMemory("m"))
        for name in "ab"
    ]  # fmt: skip
    with pytest.raises(SpecError, match="another named 'm'"):
        WorkerPool(two)


@pytest.mark.gpu
def test_a_gpu_beside_the_processors() -> None:
    """The same on a real GPU: results, requests that overlap, times by its own events."""
    graph, memory = wide(), CudaMemory()
    rng = random.Random(0)
    with WorkerPool([
        LocalWorker(name="h", processors=OWN[:1], backend=Fake(), label="host"),
        LocalWorker(name="g", processors=(), backend=TorchBackend(device="cuda:0"), label="gpu",
                    memory=memory),
    ]) as pool:  # fmt: skip
        for _ in range(5):
            names = [rng.choice("hg") for _ in graph.nodes]
            network = PlacedNetwork(graph, each(graph, names), pool)
            inputs = [{"x": np.full((4, 5), k - 4, np.float32)} for k in range(8)]
            for future, one in zip([network.submit(i) for i in inputs], inputs, strict=True):
                found = future.result(60)
                same(found.outputs, graph, one)
                assert all(a <= b for a, b in zip(found.began_s, found.ended_s, strict=True))
        regions = [Region(graph=graph, nodes=(n.name,)) for n in graph.nodes]
        timed = profile_subgraphs(graph, regions, pool, inputs[0], least_passes=2, width=100)
        assert np.isfinite(timed.median_s).all()
        assert all(link.fixed_s > 0 for link in measure_links(pool, repeats=3))


def test_weights_that_the_host_does_not_hold_once_more_are_placed_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = heavy()
    monkeypatch.setattr(_pool, "_SURELY_HELD", 1 << 10)
    monkeypatch.setattr(_pool, "free_memory_bytes", lambda: 20_000)
    with pool_of(TensorMemory("m", capacity_bytes=1 << 20)) as pool:
        with pytest.raises(DoesNotFitError, match=r"need 16.5 KiB, have 3.53 KiB") as told:
            PlacedNetwork(graph, each(graph, ["h", "h"]), pool)
        assert "beside the weights it is made from" in told.value.infeasible.what
        inputs = {"x": np.ones((1, 64), np.float32)}
        same(PlacedNetwork(graph, each(graph, ["h", "m"]), pool).run(inputs, timeout_s=60).outputs,
             graph, inputs)  # fmt: skip
