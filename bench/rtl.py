"""Simulated clock cycles a second of Bitlet's processing element, through the C++ driver.

The default element (64 weights, every lane, window of 8) with groups of normally distributed
operands, inputs always offered, results always taken; every result and its cycle are compared
with the function's before anything is timed. One instance counts seconds of processor time, so
that a busy machine disturbs little; all cores at once count wall seconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from orrery.accel.bitlet import number_format
from orrery.accel.bitlet._pipeline import Pipeline, vectors
from orrery.accel.bitlet.circuit import circuit
from orrery.rtl import Engine, simulation

from ._record import Figure, repeated

TARGET = 1e6
GROUPS, TIMES = 500, 10


def prepared(precision: str, engine: Engine, times: int) -> Callable[[], int]:
    """Return a run of the element that returns its cycles, after one that was checked."""
    form = number_format(precision)
    stages = Pipeline(format=form, lanes=form.lanes)
    draw = np.random.default_rng(0)
    shape = (GROUPS, stages.group)
    if precision == "fp32":
        w, a = (draw.standard_normal(shape).astype(np.float32).view(np.uint32) for _ in "wa")
    else:
        limit, (least, most) = form.weight_limit, form.activation_limits
        w, a = draw.integers(-limit, limit + 1, shape), draw.integers(least, most + 1, shape)
    found = vectors(stages, "faithful", w, a)
    items = {
        name: np.tile(table, (times,) + (1,) * (table.ndim - 1))
        for name, table in found.items.items()
    }
    held = None if precision == "fp32" else {"quant": 0}
    simulated = simulation(circuit(precision=precision), engine)

    def run() -> Any:
        return simulated.stream({"i": items}, outputs={"o": GROUPS * times}, held=held)

    done = run()
    wanted = stages.given(np.tile(found.lengths, times))
    if not np.array_equal(done.given["o"], wanted):
        raise RuntimeError(f"{precision} on {engine}: results come in other cycles than foretold")
    for port, values in found.expected.items():
        got = done.outputs["o"][port].astype(np.int64)
        if not np.array_equal(got, np.tile(np.asarray(values).astype(np.int64), times)):
            raise RuntimeError(f"{precision} on {engine}: {port} differs from the function")
    return lambda: int(run().cycles)


def alone(run: Callable[[], int]) -> Callable[[], float]:
    """Return a measurement of cycles per second of processor time of one instance."""

    def measure() -> float:
        start = time.process_time()
        cycles = run()
        return cycles / (time.process_time() - start)

    return measure


def together(run: Callable[[], int], instances: int) -> Callable[[], float]:
    """Return a measurement of cycles per wall second of instances on as many threads."""

    def measure() -> float:
        with ThreadPoolExecutor(instances) as pool:
            start = time.perf_counter()
            cycles = sum(pool.map(lambda _: run(), range(instances)))
            return cycles / (time.perf_counter() - start)

    return measure


def figures() -> list[Figure]:
    """Measure one instance of two formats, and all cores at once; CXXRTL takes minutes to build."""
    load = os.getloadavg()[0]
    note = f"load {load:.1f} on {os.cpu_count()} processors at the start"
    found = []
    for precision in ("fp32", "fixed8"):
        run = prepared(precision, "verilator", TIMES)
        found.append(
            repeated(f"bitlet element, {precision}, Verilator, one instance", "cycles/s",
                     alone(run), target=TARGET, better="higher", note=note)
        )  # fmt: skip
        if precision == "fp32":
            cores = os.cpu_count() or 1
            found.append(
                repeated(f"bitlet element, fp32, Verilator, {cores} at once", "cycles/s",
                         together(run, cores), better="higher",
                         note=f"wall seconds, all instances together; {note}")
            )  # fmt: skip
    return found
