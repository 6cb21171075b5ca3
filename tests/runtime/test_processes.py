"""Networks on processes against threads, bit for bit; children that fail, hang and are killed."""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import SpecError
from orrery.graph import Graph, Region, TensorType
from orrery.runtime import OnnxRuntimeBackend
from orrery.runtime.processes import ProcessNetwork, placed_network, refuses_processes, why_not
from orrery.runtime.processes._children import children_of
from orrery.runtime.together import (
    Fallback,
    LocalWorker,
    PlacedNetwork,
    Step,
    WorkerFailedError,
    WorkerHungError,
    WorkerPool,
    observe,
    watched,
)
from orrery.runtime.together._request import this_processor

from .child_backend import Faulty
from .graphs import diamond, image, ladder

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

OWN = tuple(sorted(os.sched_getaffinity(0)))
PLACES = {"one": OWN[:1], "two": OWN[-1:], "all": OWN}


def pool_of(backend: object = None) -> WorkerPool:
    return WorkerPool([
        LocalWorker(name=name, processors=where, label=name,
                    backend=backend or Faulty())  # type: ignore[arg-type]
        for name, where in PLACES.items()
    ])  # fmt: skip


def steps_of(graph: Graph, workers: list[str], *, processes: bool) -> list[Step]:
    """One node a step; those of another worker than the last step's are done by its process."""
    names = [n.name for n in graph.nodes]
    return [
        Step(region=Region(graph=graph, nodes=(node,)),
             worker=f"{worker} process" if processes and worker != workers[len(names) - 1]
             else worker)
        for node, worker in zip(names, workers, strict=False)
    ]  # fmt: skip


def both(graph: Graph, workers: list[str], pool: WorkerPool) -> tuple[PlacedNetwork, PlacedNetwork]:
    """Return the same placement on threads and on processes."""
    return (PlacedNetwork(graph, steps_of(graph, workers, processes=False), pool),
            placed_network(graph, steps_of(graph, workers, processes=True), pool))  # fmt: skip


FIVE = ["one", "two", "one", "all", "one"]


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with pool_of() as found:
        yield found


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_placement_answers_as_on_threads(pool: WorkerPool, data: st.DataObject) -> None:
    pairs = data.draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2,
                               max_size=5))  # fmt: skip
    graph = data.draw(st.sampled_from([diamond(), ladder(pairs)]))
    workers = data.draw(st.lists(st.sampled_from(list(PLACES)), min_size=len(graph.nodes),
                                 max_size=len(graph.nodes)))  # fmt: skip
    on_threads, on_processes = both(graph, workers, pool)
    kept = []
    for scale in (1, 2):
        given = {name: scale * value for name, value in image(graph).items()}
        expected = on_threads.run(given).outputs
        kept += [(on_processes.run(given).outputs, expected),
                 (on_processes.run(given, timeout_s=60).outputs, expected),
                 (on_processes.submit(given).result(60).outputs, expected)]  # fmt: skip
    for found, expected in kept:  # at the end: none was written to by a later request
        assert list(found) == list(expected)
        assert all(np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.needs("onnxruntime")
def test_a_library_works_in_shared_memory_bit_for_bit() -> None:
    graph = diamond(size=64)
    with pool_of(OnnxRuntimeBackend(threads=1)) as pool:
        on_threads, on_processes = both(graph, ["one", "one", "two", "two", "one"], pool)
        for seed in range(3):
            values = np.random.default_rng(seed).standard_normal((3, 64)).astype(np.float32)
            expected, found = (n.run({"x": values}).outputs for n in (on_threads, on_processes))
            assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_requests_from_many_threads_do_not_mix(pool: WorkerPool) -> None:
    graph = diamond()
    on_threads, on_processes = both(graph, FIVE, pool)
    second = both(graph, ["two", "one", "two", "one", "two"], pool)[1]
    wrong = []

    def ask(seed: int) -> None:
        values = np.random.default_rng(seed).standard_normal((3, 6)).astype(np.float32)
        expected = on_threads.run({"x": values}).outputs["e"]
        for network in (on_processes, second) * 4:
            if not np.array_equal(network.run({"x": values}).outputs["e"], expected):
                wrong.append(seed)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert not wrong and not any(one.is_alive() for one in threads)


def test_steps_are_seen_in_turn_and_one_after_another(pool: WorkerPool) -> None:
    graph = diamond()
    network = both(graph, FIVE, pool)[1]
    given = image(graph)
    outcome = network.run(given)
    assert outcome.asked_s <= outcome.began_s[0] <= outcome.ended_s[0] <= outcome.began_s[1]
    assert len(network.timeline(outcome).spans) == 5
    found = observe(network, given, rounds=2)
    assert all(seconds > 0 for seconds in found.alone_s)
    alone = network.one_after_another().run(given)  # type: ignore[attr-defined]
    pairs = zip(alone.ended_s, alone.began_s[1:], strict=False)
    assert all(ended <= began for ended, began in pairs)


@pytest.mark.skipif(len(OWN) < 2, reason="needs two processors")
@pytest.mark.parametrize("took_s", [0.0, 1.0])
def test_whoever_asks_works_on_the_last_workers_processor(
    pool: WorkerPool, took_s: float
) -> None:  # fmt: skip
    graph, seen = diamond(), []
    network = both(graph, FIVE, pool)[1]
    network._own = [  # type: ignore[attr-defined]
        (number, needs, lambda act=act: (seen.append(this_processor()), act()), *more)
        for number, needs, act, *more in network._own  # type: ignore[attr-defined]
    ]

    def ask() -> None:  # whoever asks was on the other one, and is there afterwards
        os.sched_setaffinity(0, OWN[-1:])
        network._took_s = took_s  # type: ignore[attr-defined]
        network.run(image(graph))
        seen.append(tuple(os.sched_getaffinity(0)))

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join(30)
    assert seen == [OWN[0], OWN[0], OWN[0], OWN[-1:]]


def test_what_cannot_be_shared_is_refused(pool: WorkerPool) -> None:
    graph = Graph(name="open", nodes=diamond().nodes[:1], inputs=("x",), outputs=("a",),
                  types={"x": TensorType(dtype="float32", shape=("n", 6))}).infer()  # fmt: skip
    steps = [Step(region=Region(graph=graph, nodes=("relu",)), worker="one process")]
    assert "size that only running tells" in (refuses_processes(graph, steps, pool) or "")
    whole = [Step(region=Region(graph=diamond(), nodes=tuple(n.name for n in diamond().nodes)),
                  worker="one process")]  # fmt: skip
    with pytest.raises(SpecError, match=r"one, that of the last step"):
        placed_network(diamond(), whole, pool)


class Elsewhere(Faulty):
    """A back end that only this process finds where it says that it lies."""


@pytest.mark.parametrize(("module", "why"), [
    ("__main__", "Can't get attribute 'Elsewhere'"), ("nowhere", "cannot be handed to a process"),
])  # fmt: skip
def test_a_back_end_that_a_child_cannot_have_is_told(
    monkeypatch: pytest.MonkeyPatch, module: str, why: str
) -> None:
    monkeypatch.setattr(Elsewhere, "__module__", module)
    monkeypatch.setattr(sys.modules["__main__"], "Elsewhere", Elsewhere, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path, Path("of another kind")])
    with pool_of(Elsewhere()) as pool:
        with pytest.raises(WorkerFailedError, match=why):
            both(diamond(), FIVE, pool)
        assert len(children_of(pool).running) == 2  # they live, and can be asked for more


def test_a_child_that_fails_says_why_and_goes_on(tmp_path: Path) -> None:
    told = tmp_path / "told"
    told.write_text("")
    graph, given = diamond(), image(diamond())
    with pool_of(Faulty("sigmoid", str(told))) as pool:
        network = both(graph, ["one", "one", "two", "one", "one"], pool)[1]
        told.write_text("fail")
        with pytest.raises(WorkerFailedError, match=r"'two process'.*sigmoid.*it was told to"):
            network.run(given)
        told.write_text("nothing")
        why = r"'two process'.*sigmoid.*its answer for '\w+': found 'none', wanted float32\["
        with pytest.raises(WorkerFailedError, match=why):
            network.run(given)
        told.write_text("")
        assert np.array_equal(network.run(given).outputs["e"], graph.evaluate(given)["e"])


@pytest.mark.parametrize("node", ["sigmoid", "e"])
def test_whoever_hangs_while_it_is_watched_is_named(node: str, tmp_path: Path) -> None:
    """A child, or whoever asks for the last step's worker."""
    told = tmp_path / "told"
    told.write_text("")
    graph, given = diamond(), image(diamond())
    last = graph.nodes[-1].name
    with pool_of(Faulty(last if node == "e" else node, str(told))) as pool:
        network = both(graph, ["one", "one", "two", "one", "one"], pool)[1]
        network.run(given)
        told.write_text("600" if node == "sigmoid" else "20")
        with pytest.raises(WorkerHungError) as caught:
            watched(pool, lambda ask: ask(network, given), limit_s=1)
        assert caught.value.worker == ("two process" if node == "sigmoid" else "one")
        assert caught.value.region == (last if node == "e" else node)
        assert all(one.future.done() for one in list(pool.under_way))  # nobody waits at the end


@pytest.mark.parametrize("fault", ["killed", "stopped", "slow"])
def test_a_child_that_is_lost_is_named_and_the_next_way_answers(fault: str, tmp_path: Path) -> None:
    told = tmp_path / "told"
    told.write_text("")
    graph, given = diamond(), image(diamond())
    with pool_of(Faulty("sigmoid", str(told))) as pool:
        threads, network = both(graph, ["one", "one", "two", "one", "one"], pool)
        served = Fallback({"processes": network, "threads": threads})
        served.run(given)
        (child,) = children_of(pool).running
        number = child._process.pid  # type: ignore[union-attr]
        error: type[Exception] = WorkerHungError
        if fault == "slow":
            told.write_text("600")
        elif fault == "stopped":
            os.kill(number, signal.SIGSTOP)
        else:
            told.write_text("600")
            threading.Timer(0.3, os.kill, (number, signal.SIGKILL)).start()
            error = WorkerFailedError
        with pytest.raises(error, match="two process") as caught:
            network.run(given, timeout_s=None if fault == "killed" else 1)
        assert "sigmoid" in str(caught.value)
        told.write_text("")
        expected = graph.evaluate(given)["e"]
        assert np.array_equal(served.run(given, timeout_s=60).outputs["e"], expected)
        assert served.current == "threads"
        assert served.gone == {"two process"}
    assert not alive(number)


def alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_ctrl_c_leaves_a_network_that_answers(tmp_path: Path) -> None:
    told = tmp_path / "told"
    told.write_text("")
    graph, given = diamond(), image(diamond())

    def raises(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, raises)
    try:
        with pool_of(Faulty("sigmoid", str(told))) as pool:
            for workers in (
                ["one", "one", "two", "one", "one"],
                ["two", "two", "one", "two", "one"],
            ):
                network = both(graph, workers, pool)[1]
                network.run(given)
                told.write_text("0.5")
                with pytest.raises(KeyboardInterrupt):
                    signal.setitimer(signal.ITIMER_REAL, 0.1)
                    network.run(given)
                told.write_text("")
                assert np.array_equal(network.run(given).outputs["e"], graph.evaluate(given)["e"])
    finally:
        signal.signal(signal.SIGALRM, before)


def test_handlers_that_raise_at_any_moment_leave_nothing_half_done(pool: WorkerPool) -> None:
    graph, given = diamond(), image(diamond())
    expected, chance = graph.evaluate(given)["e"], random.Random(3)
    networks = [both(graph, workers, pool)[1] for workers in (FIVE, FIVE[::-1])]

    def raises(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, raises)
    try:
        for turn in range(200):
            network = networks[turn % 2]
            with suppress(KeyboardInterrupt):  # which may also come while the timer is stopped
                try:
                    signal.setitimer(signal.ITIMER_REAL, 1e-6 + 1.2e-3 * chance.random())
                    network.run(given, timeout_s=60 if turn % 4 > 1 else None)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            if turn % 20 == 19:
                found = network.run(given, timeout_s=60).outputs["e"]
                assert np.array_equal(found, expected)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not pool.under_way


def test_who_leaves_just_after_posting_takes_no_thread_along(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a handler may raise that nobody holds back; the worker's thread answers the next one."""
    graph, given = diamond(), image(diamond())
    network, post = both(graph, FIVE, pool)[1], pool.post

    def posted(*args: Any) -> None:
        post(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(pool, "post", posted)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            network.run(given, timeout_s=60)
    monkeypatch.undo()
    found = network.run(given, timeout_s=60)
    assert np.array_equal(found.outputs["e"], graph.evaluate(given)["e"])


_PROGRAM = """
import time
from orrery.graph import Region
from orrery.runtime.processes import placed_network
from orrery.runtime.together import LocalWorker, Step, WorkerPool
from tests.runtime.child_backend import Faulty
from tests.runtime.graphs import diamond, image
graph, workers = diamond(), ["a", "a", "b process", "a", "a"]
with WorkerPool([
    LocalWorker(name=name, processors=(%d,), label=name, backend=Faulty()) for name in "ab"
]) as pool:
    network = placed_network(graph, [
        Step(region=Region(graph=graph, nodes=(node.name,)), worker=worker)
        for node, worker in zip(graph.nodes, workers)
    ], pool)
    network.run(image(graph))
    print(network._kin[0]._process.pid, flush=True)
    time.sleep(600)
"""


def test_a_program_without_a_file_takes_its_children_along_when_killed() -> None:
    program = subprocess.Popen([sys.executable, "-c", _PROGRAM % OWN[0]], stdout=subprocess.PIPE,
                               text=True, cwd=Path(__file__).parents[2])  # fmt: skip
    assert program.stdout is not None
    number = int(program.stdout.readline())
    program.kill()
    program.wait(30)
    program.stdout.close()
    until = time.monotonic() + 60
    while alive(number) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(number)


def test_a_pool_that_closes_leaves_neither_process_nor_file() -> None:
    before = set(Path("/proc/self/fd").iterdir())
    with pool_of() as pool:
        network = both(diamond(), FIVE, pool)[1]
        assert isinstance(network, ProcessNetwork)
        assert all(size > 0 for size in network.resident_bytes.values())
        numbers = [child._process.pid for child in children_of(pool).running]  # type: ignore[union-attr]
    assert not any(map(alive, numbers))
    with pytest.raises(SpecError, match="closed"):
        network.run(image(diamond()))
    del network, pool
    gc.collect()
    assert not {one for one in Path("/proc/self/fd").iterdir() if one.exists()} - before
