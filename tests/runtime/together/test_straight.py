"""Networks on one worker, which whoever asks runs: all holds that holds of several workers."""

from __future__ import annotations

import functools
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from orrery.errors import SpecError
from orrery.graph import Graph, Node, TensorType, build_model, check_inputs
from orrery.runtime import OnnxRuntimeBackend, ReferenceBackend
from orrery.runtime._backend import input_check
from orrery.runtime.together import (
    Fallback,
    LocalWorker,
    PlacedNetwork,
    WorkerFailedError,
    WorkerHungError,
    WorkerPool,
    _pool,
)
from orrery.runtime.together._interrupts import raised_by_a_handler
from orrery.runtime.together._request import Visit

from .test_executor import INPUT, OWN, Fake, diamond, same, steps, workers

ONE = [("a", "w0"), ("b c", "w0"), ("d", "w0")]


def one(pool: WorkerPool, worker: str = "w0") -> PlacedNetwork:
    graph = diamond()
    return PlacedNetwork(graph, steps(graph, [(nodes, worker) for nodes, _ in ONE]), pool)


@pytest.mark.parametrize("worker", ["w0", "all"])
def test_the_asking_thread_does_it_on_the_workers_processors(worker: str) -> None:
    class Noted(Fake):
        def prepare(self, graph: Any) -> Any:
            made, threads = super().prepare(graph), seen
            run: Callable[[Any], dict[str, Any]] = made.run

            def noted(inputs: Any) -> dict[str, Any]:
                threads.append(threading.get_ident())
                return run(inputs)

            made.run = noted
            return made

    seen: list[int] = []
    fake = Noted()
    with WorkerPool(workers(fake)) as pool:
        network = one(pool, worker)
        found = network.run(INPUT)
        same(found.outputs, network.graph, INPUT)
        assert set(seen) == {threading.get_ident()}
        assert os.sched_getaffinity(0) == set(OWN)
        assert {where for _, _, _, where in fake.log} == {
            frozenset(pool.workers[worker].processors)
        }
        assert found.asked_s <= found.began_s[0] <= found.ended_s[0] <= found.began_s[1]
        assert found.ended_s[-1] <= found.answered_s
        assert not pool.under_way
        network.run(INPUT, timeout_s=60)  # is watched, so another thread does it
        assert len(set(seen)) == 2


def test_requests_that_overlap_take_turns_and_each_gets_its_own() -> None:
    fake = Fake(rest_s=0.001)
    with WorkerPool(workers(fake)) as pool:
        network, inputs = one(pool), [{"x": np.full((3, 4), k, np.float32)} for k in range(30)]
        served = Fallback({"one": network})
        with ThreadPoolExecutor(4) as callers:
            asked: list[Any] = []
            for number, given in enumerate(inputs):
                way: Callable[..., Any] = (network.run, served.run)[number % 2]
                asked += [callers.submit(way, given, timeout_s=(None, None, 60)[number % 3])]
                asked += [network.submit(given)]
            for number, future in enumerate(asked):
                same(future.result(60).outputs, network.graph, inputs[number // 2])
        assert not pool.under_way
    log = sorted((began, ended) for _, began, ended, _ in fake.log)
    assert len(log) == 180
    assert all(later >= ended for (_, ended), (later, _) in pairwise(log))


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="timers need a system with SIGALRM")
@pytest.mark.parametrize("kind", ["function", "method", "partial", "object"])
def test_the_network_answers_after_an_interrupt_at_any_moment(kind: str) -> None:
    class StopError(Exception):
        pass

    class Handler:
        def stop(self, *_: object) -> None:
            self()

        def __call__(self, *_: object) -> None:
            raise StopError

    def stop(*_: object) -> None:
        raise StopError

    handlers: dict[str, Any] = {
        "function": stop, "method": Handler().stop, "partial": functools.partial(stop, 0),
        "object": Handler(),
    }  # fmt: skip
    handler = handlers[kind]
    before, rng, stopped = signal.signal(signal.SIGALRM, handler), random.Random(0), 0
    try:
        with WorkerPool(workers()) as pool:
            network = one(pool, "all")
            latency_s = min(network.run(INPUT).latency_s for _ in range(10))
            for _ in range(100):
                try:
                    signal.setitimer(signal.ITIMER_REAL, 1e-5 + 1.5 * rng.random() * latency_s)
                    while True:
                        network.run(INPUT)
                except StopError:
                    stopped += 1
                assert not pool.under_way
                assert os.sched_getaffinity(0) == set(OWN)
            same(network.run(INPUT, timeout_s=60).outputs, network.graph, INPUT)
        assert stopped == 100
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("done", [False, True])
def test_an_interrupt_of_the_undoing_undoes_all_the_same(
    done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    end, calls = Visit.end, list[int]()

    def interrupted(visit: Visit) -> None:
        calls.append(1)
        if done:
            end(visit)
        if len(calls) == 1:
            raise KeyboardInterrupt
        end(visit)

    with WorkerPool(workers()) as pool:
        network = one(pool)
        monkeypatch.setattr(Visit, "end", interrupted)
        with pytest.raises(KeyboardInterrupt):
            network.run(INPUT)
        assert not pool.under_way
        assert os.sched_getaffinity(0) == set(OWN)
        same(network.run(INPUT, timeout_s=60).outputs, network.graph, INPUT)


def test_whose_an_exception_is() -> None:
    assert raised_by_a_handler(KeyboardInterrupt())
    assert raised_by_a_handler(SystemExit())
    assert not raised_by_a_handler(ValueError())


def test_failures_are_named_and_the_next_way_answers() -> None:
    fake = Fake(fails="c")
    with WorkerPool(workers(fake)) as pool:
        network = one(pool)
        with pytest.raises(WorkerFailedError, match=r"'w0': subgraph 'b\+1'.*made up") as told:
            network.run(INPUT)
        assert told.value.alone
        assert isinstance(told.value.__cause__, ZeroDivisionError)
        fake.fails = ""
        same(network.run(INPUT).outputs, network.graph, INPUT)
        broken = LocalWorker(name="x", processors=OWN[:1], backend=Fake(fails="a"), label="x")
        with WorkerPool([broken]) as bad:
            served = Fallback({"bad": one(bad, "x"), "good": network})
            same(served.run(INPUT).outputs, network.graph, INPUT)
            assert served.current == "good"
            assert len(served.notes) == 1


def test_whoever_waits_for_one_that_hangs_says_so_and_is_asked_again_later() -> None:
    fake = Fake(waits="b")
    with WorkerPool(workers(fake)) as pool, ThreadPoolExecutor(1) as caller:
        network = one(pool)
        stuck = caller.submit(network.run, INPUT)
        while not pool.under_way:
            time.sleep(0.001)
        begun = network.submit(INPUT)  # waits for its turn
        with pytest.raises(WorkerHungError, match=r"'w0'.*0.2 s"):
            network.run(INPUT, timeout_s=0.2)
        assert pool.lost
        for lost in (stuck, begun):
            fake.release.set()
            with pytest.raises(WorkerFailedError, match="hung"):
                lost.result(60)
        assert not pool.lost
        same(network.run(INPUT).outputs, network.graph, INPUT)


def test_a_pool_that_closes_waits_for_the_asking_thread_or_says_that_it_did_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_pool, "_GRACE_S", 0.05)
    fake = Fake(waits="b")
    with ThreadPoolExecutor(1) as caller:
        with WorkerPool(workers(fake)) as pool:
            network = one(pool)
            asked = caller.submit(network.run, INPUT)
            while not pool.under_way:
                time.sleep(0.001)
            threading.Timer(0.2, fake.release.set).start()
        assert asked.done()
        same(asked.result().outputs, network.graph, INPUT)
        fake.release.clear()
        with pytest.raises(KeyboardInterrupt), WorkerPool(workers(fake)) as pool:
            asked = caller.submit(one(pool).run, INPUT)
            while not pool.under_way:
                time.sleep(0.001)
            raise KeyboardInterrupt
        fake.release.set()
        with pytest.raises(WorkerFailedError, match="closed before it was served"):
            asked.result(60)
        with pytest.raises(SpecError, match="closed"):
            network.run(INPUT)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12
@pytest.mark.parametrize("timeout_s", [None, 60])
def test_a_forked_process_is_told_that_it_has_no_workers(timeout_s: float | None) -> None:
    with WorkerPool(workers()) as pool:
        network = one(pool)
        served = Fallback({"one": network})
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            said = "nothing"
            try:
                served.run(INPUT, timeout_s=timeout_s)
            except SpecError as error:
                said = str(error)
            finally:
                pool.__exit__(None, None, None)
                os.write(writer, said.encode())
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as stream:
            assert "forked process" in stream.read()
        os.waitpid(child, 0)
        same(network.run(INPUT).outputs, network.graph, INPUT)


@pytest.mark.needs("onnxruntime")
def test_outputs_stay_what_they_are() -> None:
    """Neither the next request nor whoever fills the input again changes what was answered."""
    graph, x = diamond(), INPUT["x"].copy()
    with WorkerPool(workers(OnnxRuntimeBackend(threads=1))) as pool:
        network = PlacedNetwork(graph, steps(graph, [("a b c d", "w0")]), pool)
        first = network.run({"x": x}).outputs
        kept = {name: value.copy() for name, value in first.items()}
        x[:] = 7
        network.run({"x": x})
        for name, value in first.items():
            np.testing.assert_array_equal(value, kept[name])
            assert value.flags.writeable
            assert not np.shares_memory(value, x)


def test_the_check_worked_out_ahead_is_the_check() -> None:
    graph = build_model("siamese-lstm", sequence=4)
    check, right = input_check(graph), np.zeros((1, 4), np.int64)
    good = {"left": right, "right": right}
    for given in (
        good, {}, {"left": right}, {**good, "more": right}, {"left": right, "rihgt": right},
        *({**good, "right": wrong} for wrong in (
            right[0], right.astype(np.int32), right.astype(">i8"), right.tolist(), right[:, :3],
            np.zeros((4, 2), np.int64).T[:1], np.float32(1), np.zeros((1, 8), np.int64)[:, ::2],
        )),
    ):  # fmt: skip
        told = []
        for one_check in (check, functools.partial(check_inputs, graph)):
            try:
                one_check(given)  # type: ignore[arg-type]
            except SpecError as error:
                told.append(str(error))
            else:
                told.append("fits")
        assert told[0] == told[1]


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("timeout_s", [None, 60.0])
def test_answers_are_nobodys_arrays(timeout_s: float | None, apart: bool) -> None:
    """The caller fills its arrays for the next request; what passes through has its own."""
    graph = Graph(
        name="through", inputs=("x", "z"), outputs=("x", "same", "made"),
        nodes=(Node(name="s", op="Identity", inputs=("z",), outputs=("same",)),
               Node(name="m", op="Neg", inputs=("x",), outputs=("made",))),
        types={n: TensorType(dtype="float32", shape=(3,)) for n in ("x", "z")},
    ).infer()  # fmt: skip
    given = {"x": np.ones(3, np.float32), "z": np.full(3, 2, np.float32)}
    places = [("s", "w0"), ("m", "w1" if apart and len(OWN) > 1 else "w0")]
    with WorkerPool(workers(ReferenceBackend())) as pool:
        found = PlacedNetwork(graph, steps(graph, places), pool).run(given, timeout_s=timeout_s)
        given["x"][:], given["z"][:] = 7, 7
        assert {name: value.tolist() for name, value in found.outputs.items()} == {
            "x": [1] * 3, "same": [2] * 3, "made": [-1] * 3}  # fmt: skip
