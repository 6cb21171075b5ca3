"""A spatial array of the catalogue as an `Accelerator`."""

from __future__ import annotations

from orrery.cost.nest import LOOPS
from orrery.errors import UnknownNameError
from orrery.hardware import Architecture, Compute, Device, Memory
from orrery.hardware.spatial import architecture_names, load_architecture
from orrery.provenance import Basis, Source

from .._record import Accelerator, Tolerance, describe
from ._cost import OPERATORS, SpatialCost
from ._function import SpatialFunction, SpatialTolerance

#: where an architecture names no publication of its own
_SURVEY = Source(
    basis=Basis.PUBLISHED,
    where="Sze et al., Efficient Processing of Deep Neural Networks, Proc. IEEE 2017",
    note="arrays and their dataflows",
)
_ROOM = 4 * 2**30


def spatial(architecture: str = "eyeriss-v1") -> Accelerator:
    """Return an array of the catalogue.

    Parameters
    ----------
    architecture : a name of the catalogue; an array of your own goes through `spatial_of`

    Raises
    ------
    UnknownNameError : no such architecture, the nearest is offered; a file, which a plan of
        somebody else must not name
    """
    if architecture not in architecture_names():
        raise UnknownNameError("architecture", architecture, architecture_names())
    return spatial_of(load_architecture(architecture, loops=tuple(LOOPS)))


def spatial_of(architecture: Architecture) -> Accelerator:
    """Return any array as an accelerator: function, cost under a loop nest, device."""
    name = describe("spatial", {"architecture": architecture.name})
    bits = architecture.bits
    return Accelerator(
        name=name, paper=_paper(architecture), device=_device(architecture),
        precision=f"fixed{bits['input']}",
        cost=SpatialCost(name=name, architecture=architecture),
        evaluate=SpatialFunction(architecture=architecture),
        tolerance=Tolerance(
            bound=SpatialTolerance(architecture=architecture),
            reason=f"operands rounded to {bits['input']} and {bits['weight']} bits, sums to "
            f"{architecture.partial_sum_bits}, results to {bits['output']}",
        ),
    )  # fmt: skip


def _paper(architecture: Architecture) -> Source:
    """Return where the array was published, or a survey for one that never was."""
    named = ("bits", "macs_per_cycle", "clock_hz", "process_nm", "area_mm2")
    found = [architecture.sources[key] for key in named if key in architecture.sources]
    found += [source for axis in architecture.axes for source in axis.sources.values()]
    return next((source for source in found if source.basis is Basis.PUBLISHED), _SURVEY)


def _device(architecture: Architecture) -> Device:
    """Return the device: peak rate, memories of the whole chip, the operators it multiplies."""
    clock = architecture.sources["clock_hz"]
    array = architecture.sources.get("macs_per_cycle", clock)
    lanes = architecture.elements * architecture.macs_per_cycle
    assumed = Basis.ASSUMED in (clock.basis, array.basis)
    peak = Source(
        basis=Basis.ASSUMED if assumed else Basis.ESTIMATED, where="MACs x clock",
        note=f"{lanes} MACs a cycle ({array}); clock ({clock})",
    )  # fmt: skip
    # dtype under which rates are kept: the width of the multipliers' operands
    dtype = "int8" if architecture.bits["input"] <= 8 else "int16"
    memories = []
    for place, level in enumerate(architecture.levels):
        sources = dict(level.sources)
        size = level.capacity_bits and level.capacity_bits * architecture.instances(level) // 8
        known = sources.get("capacity_bits", sources["word_bits"])
        if size is None:
            size, known = _ROOM, Source(basis=Basis.ASSUMED, where="more than any layer needs",
                                        note="the architecture states none")  # fmt: skip
        rate = level.read_bits_per_cycle
        memories.append(Memory(
            name=level.name, size_bytes=max(1, size), offchip=place == 0,
            bandwidth_bytes_per_s=None if rate is None or place else
            rate / 8 * architecture.clock_hz,
            sources={"size_bytes": known, "bandwidth_bytes_per_s":
                     sources.get("read_bits_per_cycle", known)},
        ))  # fmt: skip
    return Device(
        name=architecture.name, kind="asic", operators=OPERATORS, memories=tuple(memories),
        compute=Compute(macs_per_s={dtype: lanes * architecture.clock_hz},
                        clock_hz=architecture.clock_hz,
                        sources={"macs_per_s": peak, "clock_hz": clock}),
        area_mm2=architecture.area_mm2, process_nm=architecture.process_nm,
        price_usd=architecture.price_usd,
        sources={key: architecture.sources[key] for key in ("area_mm2", "process_nm", "price_usd")
                 if key in architecture.sources},
    )  # fmt: skip
