"""Processes for searches: judged by the system's own list of processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor

import psutil
import pytest

from orrery.errors import SpecError
from orrery.runtime import usable_cores, worker_processes


def _running(numbers: set[int]) -> set[int]:
    """Return those that run still; zombies do not."""
    found = set()
    for number in numbers:
        try:
            if psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
                found.add(number)
        except psutil.NoSuchProcess:
            continue
    return found


def _ended(numbers: set[int], seconds: float = 60.0) -> bool:
    until = time.monotonic() + seconds
    while _running(numbers) and time.monotonic() < until:
        time.sleep(0.05)
    return not _running(numbers)


def _numbers(executor: Executor) -> set[int]:
    until = time.monotonic() + 120  # a busy machine may be slow to begin the second
    while time.monotonic() < until:
        found = set(executor.map(_slow_pid, [0.05] * 4))
        if len(found) == 2:
            return found
    raise RuntimeError("never two at once")


def _slow_pid(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def test_none_outlives_the_block_however_it_ends_and_ctrl_c_is_the_parents() -> None:
    with worker_processes(3) as executor:
        assert executor is not None
        first = _numbers(executor)
        assert os.getpid() not in first
        for number in first:
            os.kill(number, signal.SIGINT)
        assert _numbers(executor) == first
        executor.submit(time.sleep, 600)
    assert _ended(first)
    with pytest.raises(KeyboardInterrupt), worker_processes(2) as executor:
        assert executor is not None
        second = executor.submit(os.getpid).result()
        executor.submit(time.sleep, 600)
        raise KeyboardInterrupt
    assert _ended({second})


def test_none_outlives_a_parent_that_is_killed() -> None:
    program = """
import os, time
from orrery.runtime import worker_processes
with worker_processes(3) as executor:
    print(*{executor.submit(os.getpid).result() for _ in range(3)}, flush=True)
    for _ in range(2):
        executor.submit(time.sleep, 600)
    time.sleep(600)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as one:
        assert one.stdout is not None
        numbers = set(map(int, one.stdout.readline().split()))
        family = {p.pid for p in psutil.Process(one.pid).children(recursive=True)}
        assert numbers and numbers <= family
        one.kill()
    assert _ended(family | numbers)


def test_one_job_needs_nobody_and_none_means_all_cores() -> None:
    with worker_processes(1) as executor:
        assert executor is None
    assert usable_cores() == len(os.sched_getaffinity(0))
    with worker_processes(0) as executor:
        assert (executor is None) == (usable_cores() == 1)
    with pytest.raises(SpecError, match="jobs"), worker_processes(-1):
        pass
