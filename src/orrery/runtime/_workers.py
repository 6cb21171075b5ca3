"""Processes that a search hands parts of its work to.

Models:  one process less than jobs asked for (the caller works too), with modules loaded once.
Ignores: what they compute.
Judge:   tests/runtime/test_workers.py: none of them outlives the block, or its parent.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait

from orrery.errors import SpecError

from ._machine import allowed_processors

#: How long ended processes are waited for.
_GRACE_S = 5.0


def usable_cores() -> int:
    """Return how many processors this process may use."""
    return len(allowed_processors())


@contextmanager
def worker_processes(jobs: int, *, preload: Sequence[str] = ()) -> Iterator[Executor | None]:
    """Yield an executor for so many jobs at once, the caller's own included; None for one.

    When the block ends, however it does, so do the processes, whatever they are at.

    Parameters
    ----------
    jobs : the caller and the processes beside it; 0 for one per usable core
    preload : modules that every process will need

    Raises
    ------
    SpecError : a negative number of jobs
    """
    if jobs < 0:
        raise SpecError("jobs", found=jobs, wanted="0 (all cores) or more", fix="correct it")
    jobs = jobs or usable_cores()
    if jobs == 1:
        yield None
        return
    # Never a plain fork: threads of the caller (of NumPy or a progress bar) would be cut in half.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload(list(preload))
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs - 1, mp_context=context, initializer=_begin)
    pool.submit(os.getpid)  # begin to load modules now
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        mine = [child for child in multiprocessing.active_children() if child not in before]
        for child in mine:
            child.terminate()
        for child in mine:
            child.join(_GRACE_S)


def _begin() -> None:
    """Leave Ctrl-C to the parent, and end when it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
