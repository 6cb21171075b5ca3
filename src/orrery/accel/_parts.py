"""The FPGA boards on which the convolution designs are described, and what a MAC takes there.

Models:  multipliers (DSP slices), on-chip memory, off-chip memory of two boards.
Ignores: logic, registers, routing, timing closure: a design that fits here may still not close.
Judge:   the published design points must fit (tests).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orrery.errors import SpecError, check_choice
from orrery.hardware import Compute, Device, Memory
from orrery.provenance import Basis, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One FPGA on its board.

    Attributes
    ----------
    dsps : multiplier slices
    onchip_bytes : block and ultra RAM together
    bandwidth_bytes_per_s : of the off-chip memory
    """

    name: str
    dsps: int
    onchip_bytes: int
    offchip_bytes: int
    bandwidth_bytes_per_s: float
    process_nm: float
    sources: Mapping[str, Source]


def _published(where: str, note: str = "") -> Source:
    return Source(basis=Basis.PUBLISHED, where=where, note=note)


def _recalled(where: str, note: str = "") -> Source:
    """Return the source of a figure that was not looked up again when it was written here."""
    return _published(where, "; ".join(x for x in (note, "from memory, unconfirmed") if x))


PARTS: Mapping[str, Part] = {
    "vc707": Part(
        name="vc707", dsps=2800, onchip_bytes=1030 * 36 * 1024 // 8, offchip_bytes=2**30,
        bandwidth_bytes_per_s=12.8e9, process_nm=28,
        sources={
            "dsps": _recalled("AMD 7 series overview DS180, XC7VX485T"),
            "onchip_bytes": _recalled("AMD DS180, XC7VX485T", "1030 block RAMs of 36 Kibit"),
            "offchip_bytes": _recalled("AMD VC707 board guide UG885", "1 GB DDR3 module"),
            "bandwidth_bytes_per_s": _recalled("AMD UG885", "64 bit at 1600 MT/s"),
            "process_nm": _recalled("AMD DS180"),
        },
    ),
    "vu9p": Part(
        name="vu9p", dsps=6840, onchip_bytes=44_280 * 1024, offchip_bytes=64 * 2**30,
        bandwidth_bytes_per_s=32.0e9, process_nm=16,
        sources={
            "dsps": _published("CoSMIC (MICRO 2017), table 2: UltraScale+ VU9P"),
            "onchip_bytes": _published("CoSMIC (MICRO 2017), table 2", "44,280 KB, read as KiB"),
            "offchip_bytes": _recalled("AWS EC2 F1 instance page", "64 GiB DDR4 per FPGA"),
            "bandwidth_bytes_per_s": _published(
                "a user's public F1 measurement with the low-level kit",
                "unit stride, 8.1 GB/s on three banks and 7.7 GB/s on the fourth, added up",
            ),
            "process_nm": _published("InfoQ 2016, report of the F1 launch"),
        },
    ),
}  # fmt: skip


def part(name: str, *, where: str) -> Part:
    """Return a part by name; an unknown name is refused and the nearest offered."""
    check_choice(f"{where}: part", name, PARTS)
    return PARTS[name]


def require_positive(where: str, parameters: Mapping[str, object]) -> None:
    """Refuse whole numbers below one or beyond any chip; numbers must be above zero."""
    for name, value in parameters.items():
        if isinstance(value, bool | str):
            continue
        if not isinstance(value, int | float) or not 0 < value <= 1e12 or (
            isinstance(value, int) and value > 2**30
        ):  # fmt: skip
            raise SpecError(f"{where}: {name}", found=value, wanted="a number above zero",
                            fix="correct the value")  # fmt: skip


def require_dsps(where: str, needed: int, on: Part, *, how: str) -> None:
    """Refuse a design with more multipliers than the part has."""
    if needed > on.dsps:
        raise SpecError(
            where, found=f"{needed} DSP slices ({how})",
            wanted=f"at most {on.dsps} on {on.name}", fix="make the array smaller",
        )  # fmt: skip


def require_buffer(where: str, buffer_kib: int, on: Part) -> None:
    """Refuse a buffer larger than the part's on-chip memory."""
    if buffer_kib * 1024 > on.onchip_bytes:
        raise SpecError(
            f"{where}: buffer_kib", found=buffer_kib,
            wanted=f"at most {on.onchip_bytes // 1024} on {on.name}", fix="make it smaller",
        )  # fmt: skip


def board(
    on: Part, *, design: str, macs_per_cycle: int, clock_hz: float, clock: Source, array: Source,
    dtype: str,
) -> Device:  # fmt: skip
    """Return the device record of a design on its board.

    Parameters
    ----------
    macs_per_cycle, clock_hz : the array at work
    clock, array : where the clock and the array's size come from; the peak rate is no better
        founded than the weaker of the two
    dtype : number format of the multipliers
    """
    assumed = Basis.ASSUMED in (clock.basis, array.basis)
    peak = Source(
        basis=Basis.ASSUMED if assumed else Basis.ESTIMATED, where=f"{design}: MACs × clock",
        note=f"{macs_per_cycle} MACs a cycle ({array}); clock ({clock})",
    )  # fmt: skip
    return Device(
        name=f"{on.name} with {design}", kind="fpga",
        compute=Compute(
            macs_per_s={dtype: macs_per_cycle * clock_hz}, clock_hz=clock_hz,
            sources={"macs_per_s": peak, "clock_hz": clock},
        ),
        memories=(
            Memory(name="onchip", size_bytes=on.onchip_bytes,
                   sources={"size_bytes": on.sources["onchip_bytes"]}),
            Memory(name="dram", size_bytes=on.offchip_bytes, offchip=True,
                   bandwidth_bytes_per_s=on.bandwidth_bytes_per_s,
                   sources={"size_bytes": on.sources["offchip_bytes"], "bandwidth_bytes_per_s":
                            on.sources["bandwidth_bytes_per_s"]}),
        ),
        operators=("Conv",), process_nm=on.process_nm,
        sources={"process_nm": on.sources["process_nm"]},
    )  # fmt: skip
