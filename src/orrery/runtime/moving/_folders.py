"""Scratch files that nobody else can see: nameless, direct where the file system allows it.

A file has no name from the moment it exists, or loses it at once, so that the system takes its
space back whenever the process ends, however it ends, and no later run can find it. Where a name
is needed for a moment, the file is locked before it can be left behind, and the next run removes
named files that nobody holds a lock on.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import heapq
import os
import re
import struct
import threading
from collections import deque
from pathlib import Path

from orrery.errors import SpecError

from ..direct_io import address_of
from ._arena import aligned_bytes
from ._blocks import EDGE_BYTES, SECTOR_BYTES, Bytes

_PREFIX, _SUFFIX = "orrery-offload-", ".scratch"
#: File systems whose files are memory: nothing is gained there.
_IN_MEMORY = {"tmpfs", "ramfs", "hugetlbfs", "devtmpfs"}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
#: Of file systems that reserve no room; the C library then writes single bytes, past the cache an
#: error of its own.
_UNABLE = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
_GROW_BYTES = 64 << 20
#: Of ``statx`` (Linux 6.1): the descriptor itself, what is asked for, where the answers lie.
_STATX_EMPTY_PATH, _STATX_DIOALIGN, _STATX_MEMORY = 0x1000, 0x2000, 152


class Slot:
    """Room for one block in one file, free again when nobody holds this object."""

    __slots__ = ("__weakref__", "file", "offset")

    def __init__(self, file: ScratchFile, offset: int) -> None:
        self.file, self.offset = file, offset

    def __del__(self) -> None:
        self.file.freed.append(self.offset)


class ScratchFile:
    """A nameless file of equal slots in a folder.

    Parameters
    ----------
    folder : must exist and be writable
    slot_bytes : a whole number of sectors
    direct : ask the system to go past its cache; where it refuses, `direct` is False afterwards

    Attributes
    ----------
    alignment : what addresses and sizes of requests must be multiples of
    freed : offsets of slots that nobody holds, not yet put back
    queued_bytes : of requests that are under way, for whoever balances several files
    remarks : what a user should know about this folder
    """

    def __init__(self, folder: Path, slot_bytes: int, *, direct: bool = True) -> None:
        self.folder, self.slot_bytes = folder, slot_bytes
        self._check_folder()
        sweep(folder)
        self.kind = file_system(folder)
        self._lock, self._process = threading.Lock(), os.getpid()
        self._free: list[int] = []
        self._size = 0
        self._grow_slots = max(1, _GROW_BYTES // slot_bytes)
        self.freed: deque[int] = deque()
        self.queued_bytes = 0
        self.descriptor, self.direct = self._opened(direct)
        self.alignment = alignment_of(self.descriptor) if self.direct else (1, 1)
        self.remarks: tuple[str, ...] = ()
        if self.kind in _IN_MEMORY:
            self.remarks += (f"{folder} is {self.kind}: its files take memory, none is saved",)
        if not self.direct:
            self.remarks += (
                f"{folder} ({self.kind or 'unknown file system'}): no direct I/O; written data "
                "stays in the system's cache until it needs the memory",
            )

    def take(self) -> Slot:
        """Return a free slot, the lowest first; the file grows when there is none.

        Raises
        ------
        OSError : the disk is full, or a quota is
        """
        with self._lock:
            while self.freed:
                heapq.heappush(self._free, self.freed.popleft())
            if not self._free:
                self._grow()
            return Slot(self, heapq.heappop(self._free))

    def edge(self, memory: Bytes) -> int | None:
        """Return how many bytes lie before the first that can be written from where it lies.

        None where none can, or too few.
        """
        address, unit = self.alignment
        edge = -address_of(memory) % address
        if unit > EDGE_BYTES and (edge or memory.size % unit):
            return None
        if address > EDGE_BYTES and edge:
            return None
        enough = memory.size - edge >= SECTOR_BYTES
        return edge if enough and memory.flags.c_contiguous else None

    @property
    def size_bytes(self) -> int:
        """Bytes of disk that the file has reserved."""
        return self._size

    def close(self) -> None:
        """Let the system have the file's space."""
        if self.descriptor >= 0:
            if os.getpid() == self._process:
                # A child that was forked meanwhile holds the file open for as long as it lives.
                with contextlib.suppress(OSError):
                    os.ftruncate(self.descriptor, 0)
            os.close(self.descriptor)
            self.descriptor = -1

    def _check_folder(self) -> None:
        where = f"offload folder {self.folder}"
        if not self.folder.is_dir():
            found = "something else" if self.folder.exists() else "nothing"
            raise SpecError(where, found=found, wanted="a folder on an SSD",
                            fix="make it, or give another")  # fmt: skip
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise SpecError(where, found="a folder that may not be written",
                            wanted="one that may", fix="change its mode")  # fmt: skip

    def _opened(self, direct: bool) -> tuple[int, bool]:
        flag = getattr(os, "O_DIRECT", 0) if direct else 0
        try:
            if flag and (descriptor := self._direct(flag)) is not None:
                return descriptor, True
            return self._nameless(0), False
        except OSError as error:
            raise SpecError(
                f"offload folder {self.folder}", found=error.strerror or str(error),
                wanted="a folder that takes files", fix="give another",
            ) from error  # fmt: skip

    def _direct(self, flag: int) -> int | None:
        """Return a descriptor past the cache, or None where opening or writing it is refused."""
        refusals = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP}
        try:
            descriptor = self._nameless(flag)
        except OSError as error:
            if error.errno in refusals:
                return None
            raise
        try:  # some systems open such a file and refuse to write it
            os.pwritev(descriptor, [aligned_bytes(SECTOR_BYTES).data], 0)
        except OSError as error:
            if error.errno in refusals:
                os.close(descriptor)
                return None
            if error.errno not in _FULL:
                os.close(descriptor)
                raise
        return descriptor

    def _nameless(self, flags: int) -> int:
        access = os.O_RDWR | os.O_CLOEXEC | flags
        if anonymous := getattr(os, "O_TMPFILE", 0):
            try:
                return os.open(self.folder, access | anonymous, 0o600)
            except OSError as error:
                if error.errno not in {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT}:
                    raise
        name = self.folder / f"{_PREFIX}{os.getpid()}-{os.urandom(6).hex()}{_SUFFIX}"
        descriptor = os.open(name, access | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with contextlib.suppress(OSError):  # a file system without locks keeps the short risk
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            name.unlink()
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _grow(self) -> None:
        """Reserve room for more slots, many at once or, on a nearly full disk, one."""
        for slots in (self._grow_slots, 1):
            size = slots * self.slot_bytes
            try:
                try:
                    os.posix_fallocate(self.descriptor, self._size, size)
                except OSError as error:
                    if error.errno not in _UNABLE:
                        raise
                    # Nothing is reserved there: that the disk is full shows in a write.
                    os.ftruncate(self.descriptor, self._size + size)
            except OSError as error:
                if slots > 1 and error.errno in _FULL:
                    continue
                raise self.named(error) from error
            for slot in range(slots):
                heapq.heappush(self._free, self._size + slot * self.slot_bytes)
            self._size += size
            return

    def named(self, error: OSError) -> OSError:
        """Return an error that says in which folder it was."""
        return OSError(error.errno, error.strerror, str(self.folder))


def alignment_of(descriptor: int) -> tuple[int, int]:
    """Return what addresses and sizes of direct requests must be multiples of.

    A sector, where that is not said.
    """
    try:
        statx = ctypes.CDLL(None, use_errno=True).statx
    except (OSError, AttributeError):
        return SECTOR_BYTES, SECTOR_BYTES
    found = (ctypes.c_uint8 * 256)()
    refused = statx(descriptor, b"", _STATX_EMPTY_PATH, _STATX_DIOALIGN, found)
    (told,) = struct.unpack_from("<I", found, 0)
    address, size = struct.unpack_from("<II", found, _STATX_MEMORY)
    known = not refused and told & _STATX_DIOALIGN and address and size
    return (int(address), int(size)) if known else (SECTOR_BYTES, SECTOR_BYTES)


def sweep(folder: Path) -> int:
    """Remove named scratch files that no process holds; return how many."""
    pattern = re.compile(re.escape(_PREFIX) + r"\d+-[0-9a-f]{12}" + re.escape(_SUFFIX))
    gone = 0
    for path in folder.iterdir():
        if not pattern.fullmatch(path.name):
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                gone += 1
            finally:
                os.close(descriptor)
    return gone


def file_system(folder: Path) -> str:
    """Return the kind of file system a folder is on, e.g. ``ext4``; empty where it is not said."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        target = folder.resolve()
    except OSError:
        return ""
    best, kind = -1, ""
    for line in lines:
        left, _, right = line.partition(" - ")
        point = left.split()[4].encode().decode("unicode_escape")
        depth = len(Path(point).parts)
        if target.is_relative_to(point) and depth >= best:
            best, kind = depth, right.split()[0]
    return kind
