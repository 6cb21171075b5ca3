"""Work shared out among threads and processes: judged by the same work done alone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orrery.errors import CancelledError
from orrery.mapping._tables import fill_tables, number_workload
from orrery.mapping._workers import Shared, run_all
from orrery.mapping.sets import Problem, fill_problem
from orrery.progress import Progress

from .random_graphs import MODELS, random_system, residual_graph


@dataclass
class Base:
    number: int
    asked: list[int] = field(default_factory=list)


def times(base: Base, argument: int) -> int:
    base.asked.append(argument)
    return base.number * argument


def slowly(base: Base, argument: int) -> int:
    time.sleep(0.001)
    return times(base, argument)


def where(base: Base, argument: int) -> int:
    time.sleep(0.02)
    return os.getpid()


def remembered(base: Base, argument: int) -> tuple[int, int]:
    time.sleep(0.02)
    base.asked.append(argument)
    return os.getpid(), len(base.asked)


def dying(base: Base, argument: int) -> int:
    if os.getpid() != base.number:
        os._exit(3)
    return argument


def failing(base: Base, argument: int) -> int:
    raise LookupError(str(argument))


@dataclass
class Meeting:
    """Where the caller and a worker wait for each other."""

    caller: int
    folder: Path


def ended_behind(base: Meeting, argument: int) -> int:
    """The worker with the first task ends as soon as the caller has taken back the last ones."""
    begun, taken = base.folder / "begun", base.folder / "taken"
    if os.getpid() == base.caller:
        if argument == 0:
            _wait_for(begun.exists)
        if argument == 15:
            taken.touch()
    elif argument == 1:
        begun.touch()
        _wait_for(taken.exists)
        os._exit(3)
    return argument


def _wait_for(done: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not done() and time.monotonic() < until:
        time.sleep(0.001)


class Recorder(ProcessPoolExecutor):
    """Counts what is handed out."""

    handed, broken = 0, False

    def submit(self, *arguments: Any, **named: Any) -> Any:
        self.handed += 1
        try:
            return super().submit(*arguments, **named)
        except BrokenProcessPool:
            self.broken = True
            raise


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_answers_come_in_order_whoever_gives_them(kind: type[Executor]) -> None:
    wanted = [3 * n for n in range(20)]
    told: list[int] = []
    assert run_all(None, times, Shared(Base(3)), range(20), told.append) == wanted
    assert told == list(range(20))
    assert run_all(None, times, Shared(Base(3)), ()) == []
    with kind(3) as executor:  # type: ignore[call-arg]
        assert run_all(executor, times, Shared(Base(3)), range(20)) == wanted
        with pytest.raises(LookupError):
            run_all(executor, failing, Shared(Base(3)), range(3))


def test_processes_work_beside_the_caller_and_keep_what_they_were_given() -> None:
    base = Base(os.getpid())
    with Recorder(1) as one:
        other = one.submit(os.getpid).result()
        assert set(run_all(one, where, Shared(base), range(10))) == {os.getpid(), other}
        shared = Shared(base)
        for most in (9, 18):  # the worker goes on counting, the caller counts on a copy of its own
            answers = run_all(one, remembered, shared, range(10))
            counts = [count for number, count in answers if number == other]
            assert counts == sorted(set(counts)) and counts[-1] <= most
        assert counts[0] > 1
        assert one.handed == 1 + 3 * 9
    assert 2 <= len(base.asked) < 20


def test_nobody_waits_for_workers_that_have_not_begun() -> None:
    class Asleep(ThreadPoolExecutor):
        def submit(self, *arguments: Any, **named: Any) -> Any:
            future: Future[Any] = Future()
            future.set_running_or_notify_cancel()
            return future

    with Asleep(1) as executor:
        assert run_all(executor, times, Shared(Base(2)), range(4)) == [0, 2, 4, 6]


def test_what_cannot_travel_is_done_here_and_so_is_what_the_dead_leave() -> None:
    with Recorder(2) as two:
        stays = Base(2)
        stays.key = lambda: 0  # type: ignore[attr-defined]
        assert run_all(two, times, Shared(stays), range(4)) == [0, 2, 4, 6]
        assert two.handed == 0
        until = time.monotonic() + 120  # a busy machine may be slow to begin a worker
        while not two.broken and time.monotonic() < until:  # until one has died
            assert run_all(two, dying, Shared(Base(os.getpid())), range(9)) == list(range(9))
        assert two.broken
        assert run_all(two, times, Shared(Base(2)), range(4)) == [0, 2, 4, 6]


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_tasks_taken_back_before_a_worker_dies_leave_no_other_behind(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2) as two:
        shared = Shared(Meeting(os.getpid(), tmp_path))
        assert run_all(two, ended_behind, shared, range(20)) == list(range(20))
        processes = list(two._processes.values())
    assert len(processes) == 2
    for process in processes:
        process.join(20)
        assert not process.is_alive()


def test_who_is_told_may_end_it() -> None:
    def stop(done: int) -> None:
        if done >= 2:
            raise CancelledError("enough")

    for executor in (None, ThreadPoolExecutor(1)):
        base = Base(1)
        with pytest.raises(CancelledError):
            run_all(executor, slowly, Shared(base), range(5000), stop)
        assert len(base.asked) < 5000


def _same(one: Problem, other: Problem) -> None:
    assert one.choices == other.choices and one.designs == other.designs
    pairs: Sequence[tuple[Any, Any]] = [
        *((a, b) for x, y in zip(one.step_ps, other.step_ps, strict=True)
          for a, b in zip(x, y, strict=True)),
        *((one.layouts[t][n], other.layouts[t][n]) for t in one.layouts for n in one.layouts[t]),
    ]  # fmt: skip
    assert all((a == b).all() for a, b in pairs)
    assert one.layouts.keys() == other.layouts.keys()


def test_a_problem_is_the_same_whoever_fills_it() -> None:
    graph = residual_graph(4, least=5, most=6)
    tables = fill_tables(number_workload([graph]), random_system(4, least=3), MODELS)
    steps: list[str] = []
    progress = Progress(report=lambda step: steps.append(step.task))
    alone = fill_problem(tables, MODELS, tables.capacity_bytes, progress=progress)
    assert "listing ways to share" in steps
    for workers in (1, 2, 3):
        with Recorder(workers) as executor:
            shared_out = fill_problem(tables, MODELS, tables.capacity_bytes, executor=executor)
            assert executor.handed >= 1
        _same(alone, shared_out)
    with ThreadPoolExecutor(2) as threads:
        _same(alone, fill_problem(tables, MODELS, tables.capacity_bytes, executor=threads))
    with Recorder(2) as executor:
        own = {**MODELS, "mine": unpackable()}
        _same(alone, fill_problem(tables, own, tables.capacity_bytes, executor=executor))
        assert executor.handed == 0


def unpackable() -> Any:
    return lambda region, device: None
