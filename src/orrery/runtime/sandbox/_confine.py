"""What a child gives up before a foreign program may run in it.

Models:  nothing. New namespaces (no network, no sight of other processes), nobody's rights, limits,
         closed files, and the filter of system calls, each where the system allows it.
Ignores: what a program learns from files that anyone may read: it has no way to carry it out.
Judge:   programs that try (tests/runtime/test_sandbox.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import signal
import struct
import time
from collections.abc import Iterable
from pathlib import Path

from ._filter import install_filter
from ._probe import Limits

_NEW_USER, _NEW_NET, _NEW_PID, _NEW_IPC = 0x10000000, 0x40000000, 0x20000000, 0x08000000
_NOBODY = 65534
_DIE_WITH_PARENT, _DUMPABLE, _NO_NEW_RIGHTS = 1, 4, 38


class Held:
    """What holds the program, collected for people."""

    def __init__(self) -> None:
        self.by: list[str] = []
        self.isolated = False
        #: address space before anything foreign was loaded
        self.size_bytes = 0


def leave_namespaces(held: Held) -> None:
    """Put this process into namespaces of its own; what it starts then has no network."""
    library = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    wanted = _NEW_NET | _NEW_PID | _NEW_IPC
    if user == 0 and library.unshare(wanted) == 0:
        held.isolated = True
    elif library.unshare(_NEW_USER | wanted) == 0:
        with contextlib.suppress(OSError):
            Path("/proc/self/setgroups").write_text("deny")
        with contextlib.suppress(OSError):
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        held.isolated = True
    if held.isolated:
        held.by.append("namespaces of its own: no network, no other process in sight")
    else:
        reason = os.strerror(ctypes.get_errno())
        held.by.append(f"no namespaces, which this system refuses ({reason}); the filter alone "
                       "keeps it from the network and from other processes")  # fmt: skip


def bound(limits: Limits, held: Held, keep: Iterable[int]) -> None:
    """Close files, give up rights and set limits; memory is bounded by `shut`.

    Parameters
    ----------
    keep : files that stay open
    """
    kept = sorted({0, 1, 2, *keep})
    for low, high in zip((-1, *kept), (*kept, 1 << 16)):
        if low + 1 < high:  # an empty range would close everything
            os.closerange(low + 1, high)
    for kind, most in (
        (resource.RLIMIT_CPU, limits.processor_s + math.ceil(time.process_time())),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, max(kept) + 1 + limits.files),
        (resource.RLIMIT_MEMLOCK, 0), (resource.RLIMIT_MSGQUEUE, 0),
    ):  # fmt: skip
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    library = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0 and held.isolated:
        with contextlib.suppress(OSError):  # in a user's own namespace there is nobody to become
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
            held.by.append("rights of nobody")
    # No capabilities: version 3 of the call, two words each of what is effective, …, inheritable.
    library.capset(struct.pack("Ii", 0x20080522, 0), bytes(24))
    library.prctl(_DUMPABLE, 1, 0, 0, 0)  # the change of user took /proc/self away
    library.prctl(_DIE_WITH_PARENT, int(signal.SIGKILL), 0, 0, 0)
    library.prctl(_NO_NEW_RIGHTS, 1, 0, 0, 0)
    held.by.append(
        f"limits: {limits.wall_s:g} s, {limits.processor_s} s of processors, "
        f"{limits.memory_bytes / 2**20:.0f} MiB, no byte to any file"
    )


def shut(limits: Limits, held: Held, line: int, *, programs: bool = False) -> int | None:
    """Bound memory and install the filter, the last act before foreign code.

    Returns
    -------
    the listener that tells of forbidden calls, None where the kernel ends the process instead

    Raises
    ------
    PermissionError : the system refuses the filter, without which nothing foreign is run
    """
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    held.size_bytes = pages * resource.getpagesize()
    most = held.size_bytes + limits.memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    holds, listener = install_filter(line, programs=programs)
    if not holds:
        raise PermissionError(
            "this system lets no process filter its system calls (seccomp), so nothing foreign is "
            "run here; use another system, or do without --check"
        )
    held.by.append("a filter of system calls: no socket, no process, no writing, no signal")
    return listener
