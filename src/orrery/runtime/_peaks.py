"""Peaks of this machine, measured: arithmetic, memory bandwidth, disk.

Models:  what a well-tuned program reaches with all cores: the best of several short runs. Float32
         and float64 MACs by BLAS matrix products; other operations by additions in cache; memory by
         a triad over arrays larger than the caches; disk by one small file, synchronised.
Ignores: other load on the machine at that moment (the best run suffers least), frequency boost that
         does not last, write-allocate traffic of the triad.
Judge:   none outside; tests hold that rates are positive, finite and of a possible order.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpeed:
    """Bytes per second to and from a disk, and whether reads went past the page cache."""

    read_bytes_per_s: float
    write_bytes_per_s: float
    direct: bool


def measure_macs(dtype: str = "float32", *, budget_s: float = 0.3, size: int = 1024) -> float:
    """Return multiply-accumulates per second of a matrix product of `size`."""
    generator = np.random.default_rng(0)
    a = generator.random((size, size)).astype(dtype)
    b = generator.random((size, size)).astype(dtype)
    out = np.empty((size, size), dtype)
    return size**3 / _best(lambda: np.matmul(a, b, out=out), budget_s)


def measure_others(threads: int, *, budget_s: float = 0.15) -> float:
    """Return float32 additions per second over all threads, operands in the nearest caches."""
    count, repeats = 4096, 400
    lanes = [tuple(np.ones(count, np.float32) for _ in range(3)) for _ in range(threads)]

    def work(lane: int) -> None:
        a, b, out = lanes[lane]
        for _ in range(repeats):
            np.add(a, b, out=out)

    return threads * repeats * count / _together(work, threads, budget_s)


def measure_memory(threads: int, *, cache_bytes: int = 0, budget_s: float = 0.4) -> float:
    """Return bytes per second of ``a = b + c`` over arrays that no cache holds.

    Three arrays count: two read, one written.
    """
    each = max(8 << 20, min(96 << 20, 2 * cache_bytes // max(1, threads)))
    lanes = [tuple(np.ones(each // 4, np.float32) for _ in range(3)) for _ in range(threads)]

    def work(lane: int) -> None:
        a, b, out = lanes[lane]
        np.add(a, b, out=out)

    return threads * 3 * lanes[0][0].nbytes / _together(work, threads, budget_s)


def measure_disk(folder: Path, *, size_bytes: int = 32 << 20) -> DiskSpeed | None:
    """Write and read one small file, past the page cache where that is possible; None: cannot."""
    size_bytes -= size_bytes % _BLOCK
    try:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=".orrery-disk-")
    except OSError:
        return None
    try:
        # Page-aligned and not compressible, so that neither kernel nor disk can cheat.
        buffer = mmap.mmap(-1, _BLOCK)
        buffer.write(np.random.default_rng(0).bytes(_BLOCK))
        start = time.perf_counter()
        with os.fdopen(descriptor, "wb", buffering=0) as handle:
            for _ in range(size_bytes // _BLOCK):
                handle.write(buffer)
            os.fsync(handle.fileno())
            write_s = time.perf_counter() - start
            with contextlib.suppress(OSError, AttributeError):
                os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        read_s, direct = _read_file(name, buffer)
    except OSError:
        return None  # a full disk tells nothing about its speed
    finally:
        with contextlib.suppress(OSError):
            Path(name).unlink()
    return DiskSpeed(read_bytes_per_s=size_bytes / read_s, write_bytes_per_s=size_bytes / write_s,
                     direct=direct)  # fmt: skip


def _read_file(name: str, buffer: mmap.mmap) -> tuple[float, bool]:
    direct = hasattr(os, "O_DIRECT")
    try:
        descriptor = os.open(name, os.O_RDONLY | getattr(os, "O_DIRECT", 0))
    except OSError:  # a file system without direct access
        descriptor, direct = os.open(name, os.O_RDONLY), False
    try:
        start = time.perf_counter()
        while os.readv(descriptor, [buffer]):
            pass
        return max(time.perf_counter() - start, 1e-9), direct
    finally:
        os.close(descriptor)


def _best(run: Callable[[], object], budget_s: float) -> float:
    """Return the seconds of the fastest run within the budget, after one to warm up."""
    run()
    best, end = float("inf"), time.perf_counter() + budget_s
    while True:
        start = time.perf_counter()
        run()
        now = time.perf_counter()
        best = min(best, now - start)
        if now >= end:
            return max(best, 1e-9)


def _together(work: Callable[[int], None], threads: int, budget_s: float) -> float:
    with ThreadPoolExecutor(threads) as pool:
        return _best(lambda: list(pool.map(work, range(threads))), budget_s)
