"""The machine at hand as a `System`: facts it tells, peaks that are measured, each marked so.

Models:  one device ``cpu`` (all cores this process may use), its caches, memory and the disk of the
         working folder; one device per GPU whose chip is in the catalogue.
Ignores: energy (nothing here measures it, so it stays unknown); GPUs of unknown kind, which are
         named in the description but cannot be priced.
Judge:   a probed system survives writing and reading; see `_machine` and `_peaks`.
"""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from orrery.errors import SpecError
from orrery.hardware import (
    THIS_MACHINE,
    Compute,
    Device,
    Flash,
    Link,
    Memory,
    System,
    load_system,
    read_system_text,
    write_system,
)
from orrery.provenance import Basis, Source
from orrery.store import Cache, content_hash

from ._machine import Gpu, Machine, describe_machine
from ._peaks import measure_disk, measure_macs, measure_memory, measure_others

_SCHEMA = "1"

_THREAD_CAPS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

#: Words in the driver's name of a GPU -> catalogue system with the same chip.
_KNOWN_GPUS = {"H200": "h200", "A100": "a100", "V100": "v100"}

#: PCIe generation -> bytes per second of one lane, one way, after line coding.
_PCIE_LANE = {1: 0.25e9, 2: 0.5e9, 3: 0.985e9, 4: 1.969e9, 5: 3.938e9, 6: 7.563e9}


def this_machine(
    *, folder: Path | None = None, cache: Cache | None = None, refresh: bool = False
) -> System:
    """Return this machine as a system, measured once and remembered until the machine changes.

    Parameters
    ----------
    folder : the folder whose disk counts; the working folder by default
    cache : where to remember; the user's cache folder by default
    refresh : measure again, e.g. because the machine was busy the first time
    """
    folder, cache = folder or Path.cwd(), cache or Cache("machine")
    machine = describe_machine()
    # A cap on the threads of BLAS is part of what was measured.
    caps = [f"{name}={os.environ.get(name, '')}" for name in _THREAD_CAPS]
    key = content_hash(_SCHEMA, repr(machine), str(folder.stat().st_dev), *caps)
    stored = None if refresh else cache.get(key)
    if stored is not None:
        try:
            return read_system_text(stored, "the remembered probe of this machine")
        except SpecError:
            pass  # written by another version: measure again
    system = probe_machine(machine, folder)
    cache.put(key, write_system(system).encode())
    return system


def probe_machine(machine: Machine | None = None, folder: Path | None = None) -> System:
    """Measure this machine (about two seconds) and return it as a system.

    Every value is *measured* on the named machine and day; the rates of a GPU are those of its data
    sheet and are *published*.
    """
    machine, folder = machine or describe_machine(), folder or Path.cwd()
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    where = f"{machine.host}, {machine.cpu}, {today}"
    gpus = [pair for pair in enumerate(machine.gpus) if _catalogue_name(pair[1]) is not None]
    devices = [_cpu(machine, folder, where)]
    links = []
    for number, gpu in gpus:
        device, link = _gpu(number, gpu, where)
        devices.append(device)
        links.append(link)
    unknown = [gpu.name for gpu in machine.gpus if _catalogue_name(gpu) is None]
    more = f"; not in the catalogue, so not priced: {', '.join(unknown)}" if unknown else ""
    return System(name=THIS_MACHINE, devices=tuple(devices), links=tuple(links), host="cpu",
                  description=machine.summary + more)  # fmt: skip


def _cpu(machine: Machine, folder: Path, where: str) -> Device:
    facts = _measured(where, "as the operating system reports it")
    largest = max((size * count for _, size, count in machine.caches), default=0)
    rates = {dtype: measure_macs(dtype) for dtype in ("float32", "float64")}
    caps = ", ".join(f"{n}={os.environ[n]}" for n in _THREAD_CAPS if n in os.environ)
    product = "matrix product of 1024, best run" + (f", under {caps}" if caps else "")
    caches = tuple(
        Memory(name=name, size_bytes=size * count, sources={"size_bytes": facts})
        for name, size, count in _merged(machine.caches)
    )
    memory = Memory(
        name="dram", offchip=True, size_bytes=machine.memory_bytes,
        bandwidth_bytes_per_s=measure_memory(machine.threads, cache_bytes=largest),
        sources={"size_bytes": facts, "bandwidth_bytes_per_s": _measured(
            where, f"triad, {machine.threads} threads, best run; write-allocate not counted")},
    )  # fmt: skip
    return Device(
        name="cpu", kind="cpu", memories=(*caches, memory), flash=_disk(folder, where),
        compute=Compute(
            macs_per_s=rates, others_per_s=measure_others(machine.threads),
            sources={
                "macs_per_s": _measured(where, product),
                "others_per_s": _measured(
                    where, f"float32 additions in cache, {machine.threads} threads, best run"),
            },
        ),
    )  # fmt: skip


def _merged(caches: Iterable[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Give every cache a name of its own: cores of two kinds have two sizes of one level."""
    rows, names = list(caches), [name for name, _, _ in caches]
    return [
        (name if names.count(name) == 1 else f"{name}-{size // 1024}k", size, count)
        for name, size, count in rows
    ]


def _disk(folder: Path, where: str) -> tuple[Flash, ...]:
    speed, free = measure_disk(folder), shutil.disk_usage(folder).free
    if speed is None or free < 1:
        return ()
    way = "past the page cache" if speed.direct else "possibly from the page cache"
    rates = _measured(where, f"one file of 32 MiB, synchronised; read {way}")
    return (
        Flash(
            name="disk", size_bytes=free, read_bytes_per_s=speed.read_bytes_per_s,
            write_bytes_per_s=speed.write_bytes_per_s,
            sources={"size_bytes": _measured(where, "free space of the working folder's disk"),
                     "read_bytes_per_s": rates, "write_bytes_per_s": rates},
        ),
    )  # fmt: skip


def _catalogue_name(gpu: Gpu) -> str | None:
    words = gpu.name.replace("-", " ").split()
    return next((name for word, name in _KNOWN_GPUS.items() if word in words), None)


def _gpu(number: int, gpu: Gpu, where: str) -> tuple[Device, Link]:
    """Return a GPU with its data sheet's rates, this board's memory, and its way to the host."""
    name = _catalogue_name(gpu)
    if name is None:
        raise SpecError(f"GPU {gpu.name!r}", found="no data sheet", wanted=", ".join(_KNOWN_GPUS),
                        fix="describe it in a YAML file")  # fmt: skip
    sheet = load_system(name)
    model = sheet.devices[0]
    facts = _measured(f"{where}, driver {gpu.driver}", "as the driver reports it")
    hbm = model.offchip
    memory = replace(hbm, size_bytes=gpu.memory_bytes,
                     sources={**hbm.sources, "size_bytes": facts})  # fmt: skip
    memories = tuple(memory if m.offchip else m for m in model.memories)
    device = replace(model, name=f"gpu{number}", memories=memories)
    if gpu.power_limit_w is not None:
        device = replace(device, max_power_w=gpu.power_limit_w,
                         sources={**device.sources, "max_power_w": facts})  # fmt: skip
    link = sheet.links[0]
    bandwidth, sources = link.bandwidth_bytes_per_s, dict(link.sources)
    lane = _PCIE_LANE.get(gpu.pcie_generation or 0)
    if lane is not None and gpu.pcie_lanes:
        bandwidth = lane * gpu.pcie_lanes
        sources["bandwidth_bytes_per_s"] = Source(
            basis=Basis.PUBLISHED, where=f"PCI Express {gpu.pcie_generation}.0 specification",
            note=f"{gpu.pcie_lanes} lanes as the driver reports them, line coding taken off",
        )  # fmt: skip
    return device, replace(link, name=f"pcie{number}", ends=("cpu", device.name),
                           bandwidth_bytes_per_s=bandwidth, sources=sources)  # fmt: skip


def _measured(where: str, note: str) -> Source:
    return Source(basis=Basis.MEASURED, where=where, note=note)
