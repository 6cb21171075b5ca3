"""Scalability on one array: the same network on smaller and larger ones, and at larger batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orrery.errors import OrreryError, SpecError
from orrery.hardware import Architecture
from orrery.hardware.spatial import scaled_array
from orrery.progress import SILENT, Progress

from ._growth import Growth, Point
from ._runs import BUDGET, Problems, run_layers
from ._waterfall import network_bounds, worst_step

#: a quarter of the array, the array, four and sixteen times as many processing elements
DOUBLINGS = (-2, 0, 2, 4)
BATCHES = (1, 4, 16)


def grow_array(
    problems: Problems, architecture: Architecture, *, memories: bool,
    doublings: Sequence[int] = DOUBLINGS, most: int = BUDGET, progress: Progress = SILENT,
) -> Growth:  # fmt: skip
    """Return a network's products on smaller and larger arrays.

    Parameters
    ----------
    memories : whether shared memories and their ports, off-chip too, grow with the array
    """
    points = []
    for times in doublings:
        factor = 2.0**times
        try:
            array = scaled_array(architecture, times, memories=memories) if times else architecture
        except SpecError as error:
            points.append(Point(name=f"x {factor:g}", size=factor, speed=None,
                                reason=f"no such array: {error.found}"))  # fmt: skip
            continue
        points.append(_point(f"{array.elements} elements", factor, 1, problems, array, most,
                             progress))  # fmt: skip
    name = "memories grow with the array" if memories else "memories as they are"
    return Growth(
        name=f"processing elements, {name}", points=tuple(points),
        what="capacity and ports of shared memories and off-chip bandwidth "
        f"{'times the factor' if memories else 'unchanged'}; the same clock and prices",
    )  # fmt: skip


def grow_batch(
    products: Callable[[int], Problems], architecture: Architecture, *,
    batches: Sequence[int] = BATCHES, most: int = BUDGET, progress: Progress = SILENT,
) -> Growth:  # fmt: skip
    """Return a network's products on one array at several batches.

    Parameters
    ----------
    products : batch -> the network's products
    """
    points = []
    for batch in batches:
        try:
            problems = products(batch)
        except OrreryError as error:
            points.append(Point(name=f"batch {batch}", size=batch / batches[0], speed=None,
                                reason=f"cannot be taken at this batch: {error}"))  # fmt: skip
            continue
        points.append(_point(f"batch {batch}", batch / batches[0], batch, problems, architecture,
                             most, progress))  # fmt: skip
    return Growth(name="batch", points=tuple(points), ideal=False,
                  what="inferences a second, against those at the first batch")  # fmt: skip


def _point(
    name: str, size: float, batch: int, problems: Problems, array: Architecture, most: int,
    progress: Progress,
) -> Point:  # fmt: skip
    runs = run_layers(problems, array, most=most, progress=progress)
    failed = next((f"{layer}: {run.reason}" for layer, run in runs.items() if run.reason), "")
    cycles = sum(run.cycles for run in runs.values())
    if failed or not cycles:
        return Point(name=name, size=size, speed=None, reason=failed or "no product")
    used = sum(run.operations for run in runs.values()) / (
        cycles * array.elements * array.macs_per_cycle)  # fmt: skip
    return Point(
        name=name, size=size, speed=batch * array.clock_hz / cycles, utilisation=used,
        held_up=worst_step(network_bounds(problems, runs, array)),
    )  # fmt: skip
