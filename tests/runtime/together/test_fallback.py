"""Workers fail or hang in the middle; the request is answered all the same, and it is said."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from orrery.errors import SpecError
from orrery.graph import Graph
from orrery.runtime.together import (
    Fallback,
    LocalWorker,
    PlacedNetwork,
    WorkerFailedError,
    WorkerHungError,
    WorkerPool,
)

from .test_executor import INPUT, OWN, Fake, diamond, same, steps


def ways(pool: WorkerPool) -> dict[str, PlacedNetwork]:
    graph = diamond()
    placed = {
        "both": [("a", "good"), ("b", "bad"), ("c d", "good")], "bad alone": [("a b c d", "bad")],
        "good alone": [("a b c d", "good")],
    }  # fmt: skip
    return {name: PlacedNetwork(graph, steps(graph, one), pool) for name, one in placed.items()}


def pool_of(bad: Fake) -> WorkerPool:
    return WorkerPool([
        LocalWorker(name="good", processors=OWN[:1], backend=Fake(), label="good"),
        LocalWorker(name="bad", processors=OWN[-1:], backend=bad, label="bad"),
    ])  # fmt: skip


@pytest.mark.parametrize("fault", ["fails", "waits"])
def test_the_next_way_without_the_worker_answers(fault: str) -> None:
    bad = Fake()
    with pool_of(bad) as pool:
        served = Fallback(ways(pool))
        same(served.run(INPUT, timeout_s=60).outputs, diamond(), INPUT)
        assert served.current == "both"
        setattr(bad, fault, "b")
        same(served.run(INPUT, timeout_s=1).outputs, diamond(), INPUT)
        assert served.current == "good alone"
        assert served.gone == {"bad"}
        assert "'b'" in served.notes[0]
        assert "went on with good alone" in served.notes[0]
        same(served.run(INPUT, timeout_s=60).outputs, diamond(), INPUT)
        assert len(served.notes) == 1
    bad.release.set()


def test_when_nothing_is_left_it_is_said() -> None:
    bad = Fake(fails="b")
    with pool_of(bad) as pool:
        served = Fallback({"bad alone": ways(pool)["bad alone"]})
        with pytest.raises(WorkerFailedError, match="made up"):
            served.run(INPUT, timeout_s=60)
        assert "nothing is left" in served.notes[0]
        bad.fails, bad.waits = "", "b"
        with pytest.raises(WorkerHungError, match="bad"):
            served.run(INPUT, timeout_s=0.5)
        assert served.current is None
        with pytest.raises(WorkerFailedError, match="bad"):
            served.run(INPUT, timeout_s=60)
        with pytest.raises(WorkerFailedError, match="all ways before"):
            served.submit(INPUT).result(60)
    bad.release.set()
    with pytest.raises(SpecError):
        Fallback({})


def test_wrong_inputs_are_nobodys_failure() -> None:
    with pool_of(Fake()) as pool:
        served = Fallback(ways(pool))
        with pytest.raises(SpecError):
            served.run({})
        assert not served.gone


def test_what_every_way_fails_at_takes_nobody_out() -> None:
    bad = Fake(fails="b")
    with pool_of(bad) as pool:
        good = pool.workers["good"].backend
        assert isinstance(good, Fake)
        good.fails = "b"
        served = Fallback(ways(pool))
        with pytest.raises(WorkerFailedError, match="made up"):
            served.run(INPUT, timeout_s=60)
        assert served.current == "both"
        assert not served.gone
        bad.fails = good.fails = ""
        same(served.run(INPUT, timeout_s=60).outputs, diamond(), INPUT)


def test_submitted_requests_go_on_too() -> None:
    bad = Fake()
    with pool_of(bad) as pool:
        served = Fallback(ways(pool))
        bad.fails = "b"
        answers = [served.submit(INPUT) for _ in range(4)]
        for answer in answers:
            assert not answer.cancel()
            same(answer.result(60).outputs, diamond(), INPUT)
        assert served.current == "good alone"
        assert all("went on with good alone" in note for note in served.notes)
        with pytest.raises(SpecError):
            served.submit({})


def test_a_burst_with_little_time_each_takes_nobody_out() -> None:
    """The queue is far longer than the time that a request allows."""
    with pool_of(Fake()) as pool:
        for worker in pool.workers.values():
            assert isinstance(worker.backend, Fake)
            worker.backend.rest_s = 0.02
        served = Fallback(ways(pool))
        with ThreadPoolExecutor(24) as callers:
            for one in [callers.submit(served.run, INPUT, timeout_s=1) for _ in range(24)]:
                same(one.result(60).outputs, diamond(), INPUT)
        assert served.current == "both"
        assert (served.gone, served.notes) == (set(), [])


def test_a_worker_that_hung_is_asked_again_once_it_has_come_back() -> None:
    bad = Fake()
    with pool_of(bad) as pool:
        served = Fallback(ways(pool))
        bad.waits = "b"
        waiting = [served.submit(INPUT) for _ in range(3)]
        same(served.run(INPUT, timeout_s=1).outputs, diamond(), INPUT)
        for one in waiting:  # they are told, go on, and take nobody out either
            same(one.result(60).outputs, diamond(), INPUT)
        assert (served.current, served.gone) == ("good alone", {"bad"})
        bad.waits = ""
        bad.release.set()
        until = time.monotonic() + 60
        while pool.lost and time.monotonic() < until:
            time.sleep(0.01)
        assert served.current == "both"
        assert served.notes[-1] == "worker 'bad' has come back and is asked again"
        same(served.run(INPUT, timeout_s=60).outputs, diamond(), INPUT)


class Small(Fake):
    """Has memory for one request at a time, or for none; or none while something is true."""

    def __init__(self, room: int = 1) -> None:
        super().__init__()
        self.room = room
        self.full: Callable[[], bool] = lambda: False
        self.told: Callable[[], object] = lambda: None  # whoever waits until it was too small
        self.open: set[int] = set()
        self.lock = threading.Lock()

    def prepare(self, graph: Graph) -> Any:
        made = super().prepare(graph)
        run, first = made.run, "a" in {node.name for node in graph.nodes}

        def counted(inputs: Any) -> dict[str, Any]:
            with self.lock:
                if first:
                    if self.full() or len(self.open) >= self.room:
                        self.told()
                        raise MemoryError("made up")
                    self.open.add(id(inputs))
            time.sleep(0.02)
            found: dict[str, Any] = run(inputs)
            if "d" in {node.name for node in graph.nodes}:
                with self.lock:
                    self.open.clear()
            return found

        made.run = counted
        return made


def small_pool(small: Small) -> WorkerPool:
    return WorkerPool([
        LocalWorker(name="small", processors=OWN[:1], backend=small, label="small"),
        LocalWorker(name="good", processors=OWN[-1:], backend=Fake(), label="good"),
    ])  # fmt: skip


def small_ways(pool: WorkerPool, *placed: str) -> dict[str, PlacedNetwork]:
    """The first subgraph on the small worker, the last one slow: requests overlap in its memory."""
    graph = diamond()
    all_ways = {"both": [("a", "small"), ("b c", "good"), ("d", "small")],
                "good alone": [("a b c d", "good")]}  # fmt: skip
    return {name: PlacedNetwork(graph, steps(graph, all_ways[name]), pool) for name in placed}


def test_too_little_memory_beside_others_takes_nobody_out() -> None:
    small, graph = Small(), diamond()
    with small_pool(small) as pool:
        good: Any = pool.workers["good"].backend
        good.waits = "a"
        served = Fallback(small_ways(pool, "both", "good alone"))
        other = small_ways(pool, "good alone")["good alone"].submit(INPUT)  # somebody is there
        small.told = good.release.set
        small.room = 0
        same(served.run(INPUT).outputs, graph, INPUT)
        same(other.result(60).outputs, graph, INPUT)
        assert (served.current, served.gone) == ("both", set())
        assert "it stays in" in served.notes[0]
        assert "went on with good alone" in served.notes[0]
        same(served.run(INPUT).outputs, graph, INPUT)  # alone: now it is the worker's
        assert (served.current, served.gone) == ("good alone", {"small"})


@pytest.mark.parametrize("timeout_s", [None, 60])
def test_too_little_memory_in_the_only_way_is_tried_again_alone(timeout_s: float | None) -> None:
    small, graph = Small(), diamond()
    with small_pool(small) as pool:
        good: Any = pool.workers["good"].backend
        good.waits = "a"
        served = Fallback(small_ways(pool, "both"))
        other = small_ways(pool, "good alone")["good alone"].submit(INPUT)
        small.full = lambda: not other.done()
        small.told = good.release.set
        if timeout_s is None:
            found = served.submit(INPUT).result(60)
        else:
            found = served.run(INPUT, timeout_s=timeout_s)
        same(found.outputs, graph, INPUT)
        assert "tried again alone" in served.notes[0]
        small.full = lambda: True
        with pytest.raises(WorkerFailedError, match="too little memory"):
            served.run(INPUT, timeout_s=timeout_s)
        assert served.current == "both"  # nobody else could do it either
