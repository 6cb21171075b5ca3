"""What this machine says of itself: cores, caches, vector units, memory, GPUs, disks.

Models:  what this process may use (affinity, cgroup limits), not what the box holds.
Ignores: NUMA, other processes. Reads only files and, if present, ``nvidia-smi``; measures nothing.
Judge:   psutil for cores and memory; each reader on made-up files in the tests.
"""

from __future__ import annotations

import csv
import math
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

_VECTOR_FLAGS = (
    "sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile",
    "neon", "asimd", "sve", "sve2",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU as the driver tells; link rates are None when it does not."""

    name: str
    memory_bytes: int
    driver: str
    power_limit_w: float | None = None
    pcie_generation: int | None = None
    pcie_lanes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """This machine, as far as this process may use it.

    Attributes
    ----------
    cores : physical cores in the affinity mask and cgroup quota, at least one
    threads : logical processors likewise
    caches : (name, bytes of one, how many serve our cores), e.g. ``("l2", 1048576, 4)``
    vector_units : names of the instruction sets that matter
    memory_bytes : the least of physical memory and cgroup limits
    """

    host: str
    cpu: str
    cores: int
    threads: int
    caches: tuple[tuple[str, int, int], ...]
    vector_units: tuple[str, ...]
    memory_bytes: int
    gpus: tuple[Gpu, ...]

    @property
    def summary(self) -> str:
        """One line for people."""
        gpus = ", ".join(gpu.name for gpu in self.gpus) or "no GPU"
        return (
            f"{self.host}: {self.cpu}, {self.cores} cores ({self.threads} threads), "
            f"{'/'.join(self.vector_units) or 'no known vector units'}, {gpus}"
        )


def describe_machine(root: Path = Path("/")) -> Machine:
    """Return what this machine is; `root` is where ``proc`` and ``sys`` are."""
    allowed = allowed_processors()
    quota = _cpu_quota(root)
    threads = max(1, min(len(allowed), math.floor(quota) or 1))
    siblings = {_sibling_key(root, processor) for processor in allowed}
    info = _read(root / "proc/cpuinfo")
    return Machine(
        host=platform.node() or "unnamed",
        cpu=_cpu_name(info),
        cores=max(1, min(len(siblings), threads)),
        threads=threads,
        caches=_caches(root, allowed),
        vector_units=_vector_units(info),
        memory_bytes=usable_memory_bytes(root),
        gpus=_gpus(),
    )


def usable_memory_bytes(root: Path = Path("/")) -> int:
    """Return the least of physical memory and cgroup limits."""
    return min([psutil.virtual_memory().total, *_memory_limits(root)])


def free_memory_bytes(root: Path = Path("/")) -> int:
    """Return what this process may still take: of physical memory and within cgroup limits.

    Files that a group keeps in memory, and would drop when it is wanted, count as free.
    """
    found = [psutil.virtual_memory().available]
    for folder in _cgroup_folders(root):
        for most, used in (("max", "current"), ("limit_in_bytes", "usage_in_bytes")):
            limit, now = (_read(folder / f"memory.{name}").strip() for name in (most, used))
            if limit.isdigit() and now.isdigit():
                files = re.search(r"^(?:total_)?inactive_file (\d+)$",
                                  _read(folder / "memory.stat"), re.MULTILINE)  # fmt: skip
                found.append(max(0, int(limit) - int(now) + int(files[1] if files else 0)))
    return min(found)


def allowed_processors() -> list[int]:
    """Return the processors that this process may use."""
    try:
        return sorted(os.sched_getaffinity(0))
    except AttributeError:  # not on every operating system
        return list(range(os.cpu_count() or 1))


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _cgroup_folders(root: Path) -> list[Path]:
    """Return our cgroup and those around it, v2, and the v1 controllers."""
    base = root / "sys/fs/cgroup"
    folders = [base, base / "cpu", base / "memory"]
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, kinds, path = line.split(":", 2) if line.count(":") >= 2 else ("", "", "")
        for kind in kinds.split(","):  # one that is empty: v2
            here = base / kind
            for part in Path(path.lstrip("/")).parts:
                if part == "..":
                    break
                here /= part
                folders.append(here)
    return folders


def _cpu_quota(root: Path) -> float:
    """Return how many processors' time this process may use; 2**20 without a quota."""
    quota = float(2**20)
    for folder in _cgroup_folders(root):
        fields = _read(folder / "cpu.max").split()
        if len(fields) == 2 and fields[0].isdigit() and int(fields[1]) > 0:
            quota = min(quota, int(fields[0]) / int(fields[1]))
        used, period = (_read(folder / f"cpu.cfs_{x}_us").strip() for x in ("quota", "period"))
        if used.isdigit() and period.isdigit() and int(used) > 0 and int(period) > 0:
            quota = min(quota, int(used) / int(period))
    return quota


def _memory_limits(root: Path) -> list[int]:
    limits = []
    for folder in _cgroup_folders(root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name).strip()
            if text.isdigit() and int(text) > 0:
                limits.append(int(text))
    return limits


def _sibling_key(root: Path, processor: int) -> str:
    """Return the same text for processors that share a physical core."""
    topology = root / f"sys/devices/system/cpu/cpu{processor}/topology"
    for name in ("core_cpus_list", "thread_siblings_list"):
        text = _read(topology / name).strip()
        if text:
            return text
    return str(processor)


def _caches(root: Path, allowed: list[int]) -> tuple[tuple[str, int, int], ...]:
    """Return data and unified caches, one row per level, counted over our processors."""
    found: dict[tuple[int, int], set[str]] = {}
    for processor in allowed:
        folder = root / f"sys/devices/system/cpu/cpu{processor}/cache"
        for index in sorted(folder.glob("index*")):
            if _read(index / "type").strip() not in ("Data", "Unified"):
                continue
            size = re.fullmatch(r"(\d+)([KMG]?)", _read(index / "size").strip())
            level = _read(index / "level").strip()
            if size is None or not level.isdigit() or int(size[1]) == 0:
                continue
            scale = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}[size[2]]
            shared = _read(index / "shared_cpu_list").strip() or str(processor)
            found.setdefault((int(level), int(size[1]) * scale), set()).add(shared)
    return tuple((f"l{level}", size, len(who)) for (level, size), who in sorted(found.items()))


def _cpu_name(info: str) -> str:
    match = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", info, re.MULTILINE)
    name = match[1].strip() if match else platform.processor() or platform.machine()
    return " ".join(name.split()) or "unknown processor"


def _vector_units(info: str) -> tuple[str, ...]:
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", info, re.MULTILINE)
    flags = set(match[1].split()) if match else set()
    return tuple(flag for flag in _VECTOR_FLAGS if flag in flags)


def _gpus() -> tuple[Gpu, ...]:
    """Ask the NVIDIA driver; no tool, no driver or a strange answer means no GPU."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    query = "name,memory.total,driver_version,power.limit,pcie.link.gen.max,pcie.link.width.max"
    try:
        answer = subprocess.run(
            [tool, f"--query-gpu={query}", "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=10, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ()
    return read_gpu_table(answer)


def read_gpu_table(answer: str) -> tuple[Gpu, ...]:
    """Read the driver's table (``nvidia-smi --format=csv,noheader,nounits``); skip broken rows."""
    gpus = []
    for row in csv.reader(answer.splitlines(), skipinitialspace=True):
        fields = [field.strip() for field in row]
        if len(fields) != 6 or not fields[1].isdigit() or not fields[0]:
            continue
        watts = float(fields[3]) if re.fullmatch(r"\d+(\.\d+)?", fields[3]) else 0.0
        gpus.append(Gpu(
            name=fields[0], memory_bytes=int(fields[1]) * 2**20, driver=fields[2],
            power_limit_w=watts or None,
            pcie_generation=int(fields[4]) if fields[4].isdigit() else None,
            pcie_lanes=int(fields[5]) if fields[5].isdigit() else None,
        ))  # fmt: skip
    return tuple(gpus)
