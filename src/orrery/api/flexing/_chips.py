"""Scalability over chips: the same network on systems of several copies of an array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orrery.accel import resolve
from orrery.errors import SpecError
from orrery.graph import operator_names
from orrery.hardware import Architecture, Link, System, architecture_names
from orrery.progress import SILENT, Progress
from orrery.provenance import Basis, Source

from .._map import MapSearch, map
from .._options import ModelOptions
from .._result import MapResult
from ._growth import Growth, Point

_LINK = "between chips"
_SAME = "as each chip reaches its own memory"


def chips_of(architecture: Architecture, count: int) -> System:
    """Return copies of an array of the catalogue around a host, each with a memory of its own.

    What is no product runs on the chip that has its operands, an operation a multiplier and cycle;
    chips reach each other at the rate at which they reach their memories. Both are assumed.

    Raises
    ------
    SpecError : an array without a rate of its off-chip memory, or one that no design stands for
    """
    where = f"{count} x {architecture.name}"
    if architecture.name not in architecture_names():
        raise SpecError(where, found="an array of a file, which no plan may name",
                        wanted="an array of the catalogue", fix="see `orrery arrays`")  # fmt: skip
    chip = resolve(f"spatial(architecture={architecture.name!r})")
    device, rate = chip.device, chip.device.offchip.bandwidth_bytes_per_s
    if rate is None:
        raise SpecError(where, found="no bandwidth of the off-chip memory",
                        wanted="one, to reach other chips at", fix="add it")  # fmt: skip
    peak = max(device.compute.macs_per_s.values())
    assumed = Source(basis=Basis.ASSUMED, where="no such system was built", note=_SAME)
    compute = replace(
        device.compute, others_per_s=peak,
        sources={**device.compute.sources, "others_per_s": replace(
            assumed, note="one other operation per multiplier and cycle")},
    )  # fmt: skip
    others = tuple(op for op in operator_names() if op not in (device.operators or ()))
    device = replace(device, compute=compute, designs=(chip.name,), operators=others)
    devices = tuple(replace(device, name=f"chip{n}") for n in range(count))
    link = Link(
        name=_LINK, ends=("host", *(d.name for d in devices)),
        bandwidth_bytes_per_s=rate, latency_s=1e-6,
        sources={"bandwidth_bytes_per_s": assumed, "latency_s": replace(
            assumed, note="a microsecond, small beside every transfer")},
    )  # fmt: skip
    return System(name=where, devices=devices, links=(link,), host="host")


def grow_chips(
    model: object, architecture: Architecture, counts: Sequence[int], *,
    options: ModelOptions | None = None, progress: Progress = SILENT,
) -> Growth:  # fmt: skip
    """Return a network on systems of so many chips, each mapped for the least latency."""
    points: list[Point] = []
    for count in counts:
        name = f"{count} chip{'s' if count > 1 else ''}"
        try:
            found = map(model, on=chips_of(architecture, count), options=options,
                        search=MapSearch(), progress=progress)  # fmt: skip
        except SpecError as error:
            points.append(Point(name=name, size=count / counts[0], speed=None, reason=str(error)))
            continue
        (latency,) = found.scorecard.figures("latency")
        known = latency.value is not None and found.price.coverage.complete
        points.append(Point(
            name=name, size=count / counts[0],
            speed=1 / latency.value if known and latency.value else None,
            held_up=_moving(found) if count > 1 else "",
            reason="" if known else "part of the network has no price there",
        ))  # fmt: skip
    return Growth(
        name="chips", points=tuple(points),
        what=f"layers split over chips for the least latency of one inference; links {_SAME}, a "
        "microsecond each, and other operations at one per multiplier and cycle: assumed. One chip "
        "here has its link to the host in its time, the array alone above has none",
    )  # fmt: skip


def _moving(found: MapResult) -> str:
    """Return in words for which share of the time something is between chips."""
    busy = [seconds for name, seconds in found.timeline.busy_s().items() if name.startswith(_LINK)]
    share = 100 * max(busy, default=0.0) / found.timeline.makespan_s
    return f"transfers between chips, {share:.3g} % of the time"
