"""Placed networks against the reference; order, failures and hangs by made-up back ends."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import SpecError, UnknownNameError
from orrery.graph import Graph, Node, Region, TensorType, build_model
from orrery.runtime import OnnxRuntimeBackend, ReferenceBackend
from orrery.runtime.together import (
    Fallback,
    LocalWorker,
    PlacedNetwork,
    Step,
    WorkerFailedError,
    WorkerHungError,
    WorkerPool,
    _pool,
    core_sets,
)
from orrery.runtime.together._request import this_processor

OWN = tuple(sorted(os.sched_getaffinity(0)))


@dataclass
class Fake:
    """Runs on the reference, and notes when; may fail, or wait, at subgraphs that hold a node."""

    name: str = "fake"
    fails: str = ""
    waits: str = ""
    rest_s: float = 0.0
    release: threading.Event = field(default_factory=threading.Event)
    began: Callable[[str], object] = lambda name: None
    log: list[tuple[str, float, float, frozenset[int]]] = field(default_factory=list)

    def refuses(self, graph: Graph) -> str | None:
        return None

    def prepare(self, graph: Graph) -> Any:
        return _Prepared(self, graph)


@dataclass
class _Prepared:
    owner: Fake
    graph: Graph

    def run(self, inputs: Any) -> dict[str, Any]:
        began = time.perf_counter()
        names = {node.name for node in self.graph.nodes}
        self.owner.began(min(names))
        if self.owner.fails in names:
            raise ZeroDivisionError("made up")
        if self.owner.waits in names:
            self.owner.release.wait(120)
        time.sleep(self.owner.rest_s)
        made = self.graph.evaluate(inputs)
        where = frozenset(os.sched_getaffinity(0))
        self.owner.log.append((min(names), began, time.perf_counter(), where))
        return made


def workers(backend: Any = None, count: int = 2) -> list[LocalWorker]:
    backend = backend or ReferenceBackend()
    both = LocalWorker(name="all", processors=OWN, backend=backend, label="all")
    return [both, *(
        LocalWorker(name=f"w{k}", processors=(OWN[k % len(OWN)],), backend=backend, label="one")
        for k in range(count)
    )]  # fmt: skip


def diamond() -> Graph:
    ops = [("a", "Relu", ["x"]), ("b", "Neg", ["ya"]), ("c", "Exp", ["ya"]),
           ("d", "Add", ["yb", "yc"])]  # fmt: skip
    return Graph(
        name="diamond", inputs=("x",), outputs=("yd", "ya"),
        nodes=tuple(Node(name=n, op=op, inputs=tuple(i), outputs=(f"y{n}",)) for n, op, i in ops),
        types={"x": TensorType(dtype="float32", shape=(3, 4))},
    ).infer()  # fmt: skip


def steps(graph: Graph, placed: Sequence[tuple[str, str]]) -> list[Step]:
    return [
        Step(region=Region(graph=graph, nodes=tuple(nodes.split())), worker=worker)
        for nodes, worker in placed
    ]


INPUT = {"x": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)}
PLACED = [("a", "all"), ("b", "w0"), ("c", "w1"), ("d", "all")]


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(workers()) as made:
        yield made


def same(found: dict[str, Any], graph: Graph, inputs: dict[str, Any]) -> None:
    want = graph.evaluate(inputs)
    assert list(found) == list(graph.outputs)
    for name, value in want.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-4, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["all", "w0", "w1"]), min_size=4, max_size=4))
def test_any_placement_computes_the_same(placed: list[str]) -> None:
    graph = diamond()
    with WorkerPool(workers()) as pool:
        network = PlacedNetwork(graph, steps(graph, list(zip("abcd", placed))), pool)
        for timeout_s in (60, None):  # without one the caller's thread does a worker's steps
            same(network.run(INPUT, timeout_s=timeout_s).outputs, graph, INPUT)


@pytest.mark.parametrize("timeout_s", [60, None])
def test_threads_stay_on_their_processors(timeout_s: float | None) -> None:
    fake, graph = Fake(), diamond()
    with WorkerPool(workers(fake)) as pool:
        PlacedNetwork(graph, steps(graph, PLACED), pool).run(INPUT, timeout_s=timeout_s)
    assert os.sched_getaffinity(0) == set(OWN)
    where = {name: processors for name, _, _, processors in fake.log}
    assert where["a"] == where["d"] == frozenset(OWN)
    assert where["b"] == {OWN[0]}
    assert where["c"] == {OWN[1 % len(OWN)]}


@pytest.mark.skipif(len(OWN) < 2, reason="needs two processors")
@pytest.mark.parametrize("took_s", [0.0, 1.0])
def test_whoever_asks_works_on_the_last_workers_processor(took_s: float) -> None:
    """Bound to it, or without where requests are brief and it is there anyway."""
    graph, seen = diamond(), list[object]()
    fake = Fake(began=lambda name: seen.append((name, this_processor())))

    def ask() -> None:  # whoever asks was on the other one, and is there afterwards
        os.sched_setaffinity(0, OWN[-1:])
        network.took_s = took_s
        network.run(INPUT)
        seen.append(tuple(os.sched_getaffinity(0)))

    with WorkerPool(workers(fake)) as pool:
        network = PlacedNetwork(graph, steps(graph, [("a b", "w1"), ("c d", "w0")]), pool)
        with ThreadPoolExecutor(1) as caller:
            caller.submit(ask).result(60)
    assert seen == [("a", OWN[1]), ("c", OWN[0]), OWN[-1:]]


def test_times_of_an_outcome_and_its_timeline(pool: WorkerPool) -> None:
    graph = diamond()
    network = PlacedNetwork(graph, steps(graph, PLACED), pool)
    found = network.run(INPUT, timeout_s=60)
    for later, earlier in ((1, 0), (2, 0), (3, 1), (3, 2)):
        assert found.began_s[later] >= found.ended_s[earlier]
    assert found.asked_s <= min(found.began_s)
    assert found.answered_s >= max(found.ended_s)
    spans = network.timeline(found).spans
    assert [(s.resource, s.name) for s in spans] == [("all", "a"), ("w0", "b"), ("w1", "c"),
                                                      ("all", "d")]  # fmt: skip
    assert all(0 <= s.start_ps <= s.end_ps for s in spans)


def test_whoever_shares_a_processor_takes_turns() -> None:
    """Requests overlap, yet no two steps that share a processor ever run at once."""
    fake, graph = Fake(), diamond()
    with WorkerPool(workers(fake)) as pool:
        network = PlacedNetwork(graph, steps(graph, PLACED), pool)
        inputs = [{"x": np.full((3, 4), k, np.float32)} for k in range(12)]
        with ThreadPoolExecutor(3) as callers:  # some do a worker's steps themselves
            futures = [network.submit(one) for one in inputs[:6]]
            futures += [callers.submit(network.run, one) for one in inputs[6:]]
            for future, one in zip(futures, inputs, strict=True):
                same(future.result(60).outputs, graph, one)
    log = sorted(fake.log, key=lambda entry: entry[1])
    for k, (_, began, ended, where) in enumerate(log):
        for _, other_began, _, other_where in log[k + 1 :]:
            assert not (where & other_where) or other_began >= ended or began == other_began
    assert len(log) == 48


def test_a_buffer_may_be_filled_again_once_it_was_submitted() -> None:
    """What was asked is answered, though the first request waits while the caller goes on."""
    fake, graph = Fake(waits="a"), diamond()
    with WorkerPool(workers(fake)) as pool:
        network = PlacedNetwork(graph, steps(graph, PLACED), pool)
        served, buffer, asked = Fallback({"placed": network}), np.zeros((3, 4), np.float32), []
        for number in range(4):
            buffer[:] = number
            asked += [
                (number, served.submit({"x": buffer})),
                (number, network.submit({"x": buffer})),
            ]
        fake.release.set()
        for number, future in asked:
            same(future.result(60).outputs, graph, {"x": np.full((3, 4), number, np.float32)})


@pytest.mark.parametrize("fails", ["c", "d"])
def test_the_caller_hears_of_failures_wherever_they_are(fails: str) -> None:
    fake, graph = Fake(fails=fails), diamond()
    with WorkerPool(workers(fake)) as pool:
        network = PlacedNetwork(graph, steps(graph, PLACED), pool)
        with pytest.raises(WorkerFailedError, match=rf"subgraph '{fails}'.*made up"):
            network.run(INPUT)
        fake.fails = ""
        same(network.run(INPUT).outputs, graph, INPUT)


def test_an_interrupt_reaches_the_caller_and_the_pool_lives_on() -> None:
    class Interrupted(Fake):
        def prepare(self, graph: Graph) -> Any:
            made = _Prepared(self, graph)
            run = made.run

            def interrupted(inputs: Any) -> dict[str, Any]:
                if self.fails in {node.name for node in graph.nodes}:
                    raise KeyboardInterrupt
                return run(inputs)

            made.run = interrupted  # type: ignore[method-assign]
            return made

    fake, graph = Interrupted(fails="a"), diamond()
    with WorkerPool(workers(fake)) as pool:
        network = PlacedNetwork(graph, steps(graph, PLACED), pool)
        with pytest.raises(KeyboardInterrupt):
            network.run(INPUT)
        fake.fails = ""
        same(network.run(INPUT).outputs, graph, INPUT)


def test_a_failure_is_told_and_the_pool_lives_on() -> None:
    fake, graph = Fake(fails="c"), diamond()
    with WorkerPool(workers(fake)) as pool:
        network = PlacedNetwork(graph, steps(graph, PLACED), pool)
        with pytest.raises(WorkerFailedError, match=r"worker 'w1': subgraph 'c'.*made up") as told:
            network.run(INPUT, timeout_s=60)
        assert told.value.worker == "w1"
        fake.fails = ""
        same(network.run(INPUT, timeout_s=60).outputs, graph, INPUT)


def test_a_hang_is_named_and_nobody_waits_for_it() -> None:
    fake, graph = Fake(), diamond()
    with WorkerPool(workers(fake)) as pool:
        network = PlacedNetwork(graph, steps(graph, PLACED), pool)
        network.run(INPUT, timeout_s=60)
        fake.waits = "b"
        with pytest.raises(WorkerHungError, match=r"'w0': subgraph 'b'.*1 s"):
            network.run(INPUT, timeout_s=1)
        with pytest.raises(WorkerFailedError, match="hung before"):
            network.run(INPUT, timeout_s=60)
        fake.waits = ""
        others = PlacedNetwork(graph, steps(graph, [("a b c d", "w1")]), pool)
        same(others.run(INPUT, timeout_s=60).outputs, graph, INPUT)
    fake.release.set()


def test_errors_of_preparing_come_from_the_thread(pool: WorkerPool) -> None:
    class Refuses(Fake):
        def prepare(self, graph: Graph) -> Any:
            raise SpecError("made up", found="x", wanted="y", fix="z")

    graph = diamond()
    with WorkerPool(workers(Refuses())) as bad, pytest.raises(SpecError, match="made up"):
        PlacedNetwork(graph, steps(graph, PLACED), bad)
    with pytest.raises(UnknownNameError, match="w7"):
        pool.prepare("w7", graph)


@pytest.mark.parametrize(
    ("placed", "match"),
    [
        ([("a b c", "all")], "nobody for d"),
        ([("a b c", "all"), ("c d", "w0")], "two steps"),
        ([("d", "all"), ("a b c", "w0")], "later step"),
    ],
)
def test_steps_that_make_no_network(
    placed: list[tuple[str, str]], match: str, pool: WorkerPool
) -> None:
    graph = diamond()
    with pytest.raises(SpecError, match=match):
        PlacedNetwork(graph, steps(graph, placed), pool)


def test_bad_pools_and_inputs_are_refused(pool: WorkerPool) -> None:
    graph, backend = diamond(), ReferenceBackend()
    for wrong in ([], [LocalWorker(name="w", processors=(), backend=backend, label="")],
                  [LocalWorker(name="w", processors=(10**6,), backend=backend, label="")],
                  workers()[:1] * 2):  # fmt: skip
        with pytest.raises(SpecError):
            WorkerPool(wrong)
    network = PlacedNetwork(graph, steps(graph, PLACED), pool)
    with pytest.raises(SpecError):
        network.run({})
    closed = WorkerPool(workers())
    with closed:
        pass
    with pytest.raises(SpecError, match="closed"):
        closed.prepare("all", graph)


def test_core_sets() -> None:
    assert core_sets((0, 1)) == {"cpu0-1": (0, 1), "cpu0": (0,), "cpu1": (1,)}
    assert core_sets((2, 3, 5, 8)) == {
        "cpu2-3,5,8": (2, 3, 5, 8), "cpu2-3": (2, 3), "cpu5,8": (5, 8),
    }  # fmt: skip
    assert core_sets((4,)) == {"cpu4": (4,)}
    assert next(iter(core_sets().values())) == OWN


@pytest.mark.needs("onnxruntime")
def test_towers_side_by_side_on_a_real_library() -> None:
    graph = build_model("siamese-lstm", sequence=8)
    names = [n.name for n in graph.nodes]
    inputs = {
        n: np.ones(graph.type(n).sizes, graph.type(n).dtype)
        for n in graph.inputs
    }  # fmt: skip
    backend = OnnxRuntimeBackend(threads=1)
    with WorkerPool(workers(backend)) as pool:
        whole = PlacedNetwork(graph, steps(graph, [(" ".join(names), "w0")]), pool)
        same(whole.run(inputs, timeout_s=60).outputs, graph, inputs)


def test_waiting_for_its_turn_is_no_hang() -> None:
    """Twenty requests of 0.08 s each, one after the other; none has a second of its own to wait."""
    graph = diamond()
    with WorkerPool(workers(Fake(rest_s=0.02))) as pool:
        network = PlacedNetwork(graph, steps(graph, PLACED), pool)
        other = PlacedNetwork(graph, steps(graph, [("a b c d", "w0")]), pool)
        with ThreadPoolExecutor(24) as callers:
            asked = [callers.submit(network.run, INPUT, timeout_s=1) for _ in range(20)]
            asked += [callers.submit(other.run, INPUT, timeout_s=1) for _ in range(4)]
            for one in asked:
                same(one.result(60).outputs, graph, INPUT)
        assert not pool.lost


def test_who_comes_back_after_a_hang_is_asked_again() -> None:
    fake, graph = Fake(), diamond()
    with WorkerPool(workers(fake)) as pool:
        network = PlacedNetwork(graph, steps(graph, PLACED), pool)
        fake.waits = "b"
        begun = [network.submit(INPUT) for _ in range(2)]
        with ThreadPoolExecutor(1) as caller:
            here = caller.submit(network.run, INPUT)  # does the last worker's steps itself
            with pytest.raises(WorkerHungError, match="'w0'"):
                network.run(INPUT, timeout_s=1)
            for one in (*begun, here):
                with pytest.raises(WorkerFailedError, match="hung") as told:
                    one.result(60)
                assert told.value.lost == "w0"
        assert pool.lost == {"w0": "b"}
        fake.waits = ""
        fake.release.set()
        until = time.monotonic() + 60
        while pool.lost and time.monotonic() < until:
            time.sleep(0.01)
        same(network.run(INPUT, timeout_s=60).outputs, graph, INPUT)
        same(network.run(INPUT).outputs, graph, INPUT)

        release = threading.Event()
        with pytest.raises(WorkerHungError):
            pool.call("w1", lambda: release.wait(120), timeout_s=0.05)
        assert "w1" in pool.lost
        release.set()
        while pool.lost and time.monotonic() < until:
            time.sleep(0.01)
        same(network.run(INPUT, timeout_s=60).outputs, graph, INPUT)


def test_a_pool_that_closes_serves_what_is_under_way_however_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_pool, "_GRACE_S", 0.05)
    graph = diamond()
    with WorkerPool(workers(Fake(rest_s=0.02))) as pool:
        network = PlacedNetwork(graph, steps(graph, PLACED), pool)
        asked = [network.submit(INPUT) for _ in range(12)]
    for one in asked:
        same(one.result(0).outputs, graph, INPUT)


def test_a_pool_that_closes_gives_up_on_who_hangs_and_at_an_interrupt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_pool, "_GRACE_S", 0.05)
    monkeypatch.setattr(_pool, "_PATIENCE_S", 0.3)
    fake, graph = Fake(waits="b"), diamond()
    with WorkerPool(workers(fake)) as pool:
        asked = PlacedNetwork(graph, steps(graph, PLACED), pool).submit(INPUT)
    with pytest.raises(WorkerFailedError, match="closed before it was served"):
        asked.result(0)
    fake.release.set()
    with pytest.raises(KeyboardInterrupt), WorkerPool(workers(Fake(rest_s=0.02))) as pool:
        network = PlacedNetwork(graph, steps(graph, PLACED), pool)
        begun = [network.submit(INPUT) for _ in range(20)]
        raise KeyboardInterrupt
    with pytest.raises(WorkerFailedError, match="closed before it was served"):
        begun[-1].result(0)
