"""The meter against memory that is taken and given back on purpose."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from orrery.runtime.moving._arena import aligned_bytes
from orrery.runtime.offload._memory import MemoryMeter, free_bytes, groups_free_bytes

MIB = 1 << 20
pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")


def test_memory_taken_and_dropped_is_seen() -> None:
    meter = MemoryMeter()
    meter.forget()
    before = meter.read()
    taken = aligned_bytes(64 * MIB)
    taken[:] = 1
    assert 60 * MIB < meter.read() - before < 80 * MIB
    del taken
    assert meter.read() - before < 16 * MIB
    assert meter.most() - before > 60 * MIB
    meter.forget()
    assert meter.most() - before < 16 * MIB
    meter.close()
    free = free_bytes()
    assert free is not None and free > 0


def test_freed_pieces_leave_the_process() -> None:
    """In a process of its own, whose heap nobody else has used."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("another C library")
    code = """
import ctypes, sys
from orrery.runtime.offload._memory import MemoryMeter, trimmer
library = ctypes.CDLL(None)
library.malloc.restype = library.memset.restype = ctypes.c_void_p
library.malloc.argtypes, library.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
size, meter = 8 << 20, MemoryMeter()
def take(): return library.memset(library.malloc(size), 1, size)
library.free(take())  # from here on the library keeps pieces of this size
before = meter.read()
pieces = [take() for _ in range(8)]
last = library.memset(library.malloc(2 << 20), 1, 2 << 20)  # above them: nothing is trimmed
for piece in pieces: library.free(piece)
if sys.argv[1] == "yes":
    trimmer()()
print((meter.read() - before) >> 20)
"""
    kept, returned = (
        int(subprocess.run([sys.executable, "-c", code, told], capture_output=True, text=True,
                           check=True).stdout)
        for told in ("no", "yes")
    )  # fmt: skip
    assert returned < 8 < 32 < kept


def test_the_highest_value_is_each_meters_own() -> None:
    one, other = MemoryMeter(), MemoryMeter()
    one.forget()
    other.forget()
    before = one.read()
    taken = aligned_bytes(64 * MIB)
    taken[:] = 1
    del taken
    other.forget()
    assert one.most() - before > 60 * MIB
    assert other.most() - before < 32 * MIB
    one.forget()
    assert one.most() - before < 32 * MIB
    one.close()
    other.close()


@pytest.mark.parametrize("version", [1, 2])
def test_every_group_around_the_process_counts(version: int, tmp_path: Path) -> None:
    kind, own, options = (("cgroup", "4:cpu,memory:/jobs/own", "rw,memory"),
                          ("cgroup2", "0::/jobs/own", "rw"))[version - 1]  # fmt: skip
    limit, used = (("memory.limit_in_bytes", "memory.usage_in_bytes"),
                   ("memory.max", "memory.current"))[version - 1]  # fmt: skip
    point = tmp_path / "groups"
    levels = {"": ("max", 900), "jobs": ("700", 650), "jobs/own": ("600", 100)}
    for name, (most, now) in levels.items():
        (point / name).mkdir(exist_ok=True)
        (point / name / limit).write_text(f"{most}\n")
        (point / name / used).write_text(f"{now}\n")
    (tmp_path / "cgroup").write_text(f"7:name=systemd:/elsewhere\n{own}\n")
    mount = f"30 20 0:26 {{}} {point} rw,nosuid - {kind} {kind} {options}\n"
    (tmp_path / "mountinfo").write_text("1 0 0:1 / / rw - ext4 /dev/x rw\n" + mount.format("/"))
    assert sorted(groups_free_bytes(tmp_path)) == [50, 500]
    (tmp_path / "mountinfo").write_text(mount.format("/jobs"))  # a container sees part of it
    for name, (most, now) in {"own": ("600", 100), "": ("300", 80)}.items():
        (point / name).mkdir(exist_ok=True)
        (point / name / limit).write_text(most)
        (point / name / used).write_text(f"{now}")
    assert sorted(groups_free_bytes(tmp_path)) == [220, 500]
