"""Judges: psutil for cores and memory; made-up ``proc`` and ``sys`` trees; write and read again."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import orrery.runtime._probe as probe_module
from orrery.hardware import load_system, read_system_text, write_system
from orrery.provenance import Basis
from orrery.runtime import Gpu, Machine, describe_machine, probe_machine, this_machine
from orrery.runtime._machine import (
    _caches,
    _cpu_quota,
    _memory_limits,
    free_memory_bytes,
    read_gpu_table,
)
from orrery.runtime._peaks import measure_disk
from orrery.store import Cache

MACHINE = Machine(
    host="box", cpu="Test CPU", cores=2, threads=2, vector_units=("avx2",), memory_bytes=2**33,
    caches=(("l1", 32768, 2), ("l3", 2**23, 1)), gpus=(),
)  # fmt: skip
H200 = Gpu(name="NVIDIA H200", memory_bytes=143_771 * 2**20, driver="570.1", power_limit_w=650.0,
           pcie_generation=5, pcie_lanes=16)  # fmt: skip


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count measurements instead of making them."""
    made: list[str] = []

    def macs(dtype: str) -> float:
        made.append(dtype)
        return 1e11

    monkeypatch.setattr(probe_module, "measure_macs", macs)
    monkeypatch.setattr(probe_module, "measure_others", lambda threads: 1e10)
    monkeypatch.setattr(probe_module, "measure_memory", lambda threads, cache_bytes: 2e10)
    return made


def test_facts_agree_with_psutil() -> None:
    machine = describe_machine()
    assert 1 <= machine.cores <= machine.threads <= (psutil.cpu_count() or 1)
    assert 0 < machine.memory_bytes <= psutil.virtual_memory().total
    assert machine.cpu and machine.host in machine.summary


def test_a_real_probe_is_measured_throughout_and_survives_the_file(tmp_path: Path) -> None:
    system = probe_machine(folder=tmp_path)
    cpu = system.device("cpu")
    rates = cpu.compute.macs_per_s
    # A MAC a second is too slow for any machine, 1e16 too fast for any processor.
    assert all(1e6 < rate < 1e16 for rate in (*rates.values(), cpu.compute.others_per_s))
    assert 1e7 < cpu.offchip.bandwidth_bytes_per_s < 1e14
    for record in (cpu.compute, *cpu.memories, *cpu.flash):
        assert {source.basis for source in record.sources.values()} == {Basis.MEASURED}
    assert cpu.compute.mac_energy_j == {} and cpu.offchip.energy_j_per_byte is None
    assert read_system_text(write_system(system)) == system


def test_the_probe_is_remembered_for_this_machine(quick: list[str], tmp_path: Path) -> None:
    cache = Cache("machine", folder=tmp_path / "cache")
    first = this_machine(folder=tmp_path, cache=cache)
    assert quick == ["float32", "float64"]
    assert this_machine(folder=tmp_path, cache=cache) == first
    assert len(quick) == 2
    this_machine(folder=tmp_path, cache=cache, refresh=True)
    assert len(quick) == 4
    for entry in (tmp_path / "cache").rglob("*"):
        if entry.is_file():
            entry.write_bytes(b"damaged")
    assert this_machine(folder=tmp_path, cache=cache).devices[0].name == "cpu"
    assert len(quick) == 6


def test_a_thread_cap_is_another_measurement(
    quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache("machine", folder=tmp_path / "cache")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    system = this_machine(folder=tmp_path, cache=cache)
    assert "OMP_NUM_THREADS=1" in system.devices[0].compute.sources["macs_per_s"].note
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    this_machine(folder=tmp_path, cache=cache)
    assert len(quick) == 4


def test_a_known_gpu_has_its_sheets_rates_and_its_own_memory(quick: list[str], tmp_path: Path):
    system = probe_machine(replace(MACHINE, gpus=(H200, H200)), tmp_path)
    assert [device.name for device in system.devices] == ["cpu", "gpu0", "gpu1"]
    gpu, sheet = system.device("gpu1"), load_system("h200").devices[0]
    assert gpu.compute == sheet.compute
    assert gpu.compute.sources["macs_per_s"].basis is Basis.PUBLISHED
    assert gpu.offchip.size_bytes == 143_771 * 2**20
    assert gpu.offchip.sources["size_bytes"].basis is Basis.MEASURED
    assert gpu.max_power_w == 650.0
    (link,) = system.route("cpu", "gpu1")
    assert link.bandwidth_bytes_per_s == pytest.approx(63e9, rel=0.01)
    assert link.sources["bandwidth_bytes_per_s"].basis is Basis.PUBLISHED
    assert read_system_text(write_system(system)) == system


def test_an_unknown_gpu_is_named_but_not_guessed(quick: list[str], tmp_path: Path) -> None:
    strange = replace(H200, name="NVIDIA X9")
    system = probe_machine(replace(MACHINE, gpus=(strange,)), tmp_path)
    assert [device.name for device in system.devices] == ["cpu"]
    assert "not in the catalogue, so not priced: NVIDIA X9" in system.description


def test_the_drivers_table() -> None:
    answer = (
        "NVIDIA H200, 143771, 570.1, 700.00, 5, 16\n"
        "Tesla V100-SXM2-16GB, 16384, 535, [N/A], [N/A], [N/A]\n"
        "broken row\nNo devices were found\n"
    )
    gpus = read_gpu_table(answer)
    assert gpus[0] == replace(H200, power_limit_w=700.0)
    assert (gpus[1].power_limit_w, gpus[1].pcie_generation, gpus[1].pcie_lanes) == (None,) * 3
    assert len(gpus) == 2
    assert [probe_module._catalogue_name(gpu) for gpu in gpus] == ["h200", "v100"]


def test_cgroup_limits_count_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/a.slice/b\n")
    inner = tmp_path / "sys/fs/cgroup/a.slice/b"
    inner.mkdir(parents=True)
    assert _cpu_quota(tmp_path) > 1000 and _memory_limits(tmp_path) == []
    (inner / "cpu.max").write_text("150000 100000\n")
    (inner.parent / "cpu.max").write_text("max 100000\n")
    (inner.parent / "memory.max").write_text("1073741824\n")
    (inner / "memory.max").write_text("max\n")
    assert _cpu_quota(tmp_path) == 1.5
    assert _memory_limits(tmp_path) == [2**30]
    (inner.parent / "memory.current").write_text("1073741000\n")
    assert free_memory_bytes(tmp_path) == 824
    (inner.parent / "memory.stat").write_text("file 5000\ninactive_file 1000\n")
    assert free_memory_bytes(tmp_path) == 1824


def test_cgroup_version_one(tmp_path: Path) -> None:
    folder = tmp_path / "sys/fs/cgroup"
    for name, text in {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000",
                       "memory/memory.limit_in_bytes": "4096"}.items():  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    assert _cpu_quota(tmp_path) == 0.5 and _memory_limits(tmp_path) == [4096]
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("9:memory:/a/b\n3:cpu,cpuacct:/a/b\n")
    (folder / "memory/a/b").mkdir(parents=True)
    (folder / "memory/a/b/memory.limit_in_bytes").write_text("2048")
    (folder / "memory/a/b/memory.usage_in_bytes").write_text("2000")
    assert _memory_limits(tmp_path) == [4096, 2048] and free_memory_bytes(tmp_path) == 48
    (folder / "cpu/cpu.cfs_quota_us").write_text("-1")
    assert _cpu_quota(tmp_path) > 1000


def test_caches_are_counted_over_our_processors(tmp_path: Path) -> None:
    for processor in range(4):
        for index, (level, type_, size, shared) in enumerate(
            [("1", "Data", "32K", str(processor)), ("1", "Instruction", "32K", str(processor)),
             ("2", "Unified", "1M", "0-1" if processor < 2 else "2-3"),
             ("3", "Unified", "8192K", "0-3"), ("4", "Unified", "odd", "0-3")]
        ):  # fmt: skip
            folder = tmp_path / f"sys/devices/system/cpu/cpu{processor}/cache/index{index}"
            folder.mkdir(parents=True)
            for name, text in {"level": level, "type": type_, "size": size,
                               "shared_cpu_list": shared}.items():  # fmt: skip
                (folder / name).write_text(text + "\n")
    assert _caches(tmp_path, [0, 1, 2, 3]) == (
        ("l1", 2**15, 4), ("l2", 2**20, 2), ("l3", 2**23, 1))  # fmt: skip
    assert _caches(tmp_path, [0]) == (("l1", 2**15, 1), ("l2", 2**20, 1), ("l3", 2**23, 1))


def test_a_disk_that_cannot_be_written_has_no_speed(tmp_path: Path) -> None:
    assert measure_disk(tmp_path / "missing") is None
    speed = measure_disk(tmp_path, size_bytes=2 << 20)
    assert speed is not None and list(tmp_path.iterdir()) == []
    assert all(0 < x < math.inf for x in (speed.read_bytes_per_s, speed.write_bytes_per_s))
