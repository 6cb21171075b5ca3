"""How much memory this process takes and may take.

Models:  resident pages, as the kernel counts them; a limit of the control group, or what the
         machine says is available.
Ignores: memory on accelerators; what other processes will want.
Judge:   a large array makes the number grow by its size (tests/runtime/offload/test_memory.py).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

__all__ = ["ResidentMeter", "free_bytes", "resident_bytes"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
#: Of the control group this process is in: the limit and what is used, version 2 and version 1.
_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def resident_bytes() -> int:
    """Return the memory that the process has in pages of its own; 0 where it is not said."""
    with ResidentMeter() as meter:
        return meter.read()


class ResidentMeter:
    """Reads `resident_bytes` again and again, in microseconds, in the process that made it."""

    def __init__(self) -> None:
        try:
            self._descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1

    def read(self) -> int:
        """Return the bytes at this moment; 0 where they are not said."""
        if self._descriptor < 0:
            return 0
        return int(os.pread(self._descriptor, 64, 0).split()[1]) * _PAGE

    def close(self) -> None:
        """Read no more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def free_bytes() -> int | None:
    """Return the memory that the process may still take, or None where it is not said."""
    found = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    except OSError:
        return None
    for limit, used in _GROUPS:
        try:
            most, now = Path(limit).read_text().strip(), int(Path(used).read_text())
        except (OSError, ValueError):
            continue
        if most.isdigit():
            found.append(max(0, int(most) - now))
    return min(found, default=None)
