"""The rings of io_uring, by the kernel's own calls: no library and no compiler is needed.

Two rings are shared with the kernel: of entries that ask (filled here, read by the kernel during
``io_uring_enter``), and of entries that answer (filled by the kernel, read here). Where each field
lies is told by the kernel when a ring is made.

Trap: who reads the answers' end must see the answers that were written before it. The kernel
releases it in order; here it is read by plain loads of an interpreter, which on x86-64 the machine
keeps in order, and on AArch64 it does not promise to. There a ring is refused.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import struct
import sys
import time
from collections.abc import Sequence

from ._request import Bytes

# Numbers of calls, flags and places: include/uapi/linux/io_uring.h; the calls have the same numbers
# on all machines.
_SETUP, _ENTER, _REGISTER = 425, 426, 427
_SQ_PLACE, _CQ_PLACE, _ENTRIES_PLACE = 0, 0x8000000, 0x10000000
_FEATURE_ONE_MAP, _FEATURE_NO_DROP = 1, 2
_GET_EVENTS = 1
_REGISTER_BUFFERS = 0
#: Completions wait until the thread that asks comes for them (6.1): no other is interrupted.
_SINGLE_ISSUER, _DEFER_TASKRUN = 1 << 12, 1 << 13
#: Of struct io_uring_params: entries of both rings, flags, features; then places in the rings.
_PARAMS_BYTES = 120
_HEAD = struct.Struct("<IIIIII")
_OFFSETS = struct.Struct("<8I")
_ENTRY, _ANSWER = struct.Struct("<BBHiQQIIQHHiQQ"), struct.Struct("<QiI")

READ_V, WRITE_V, READ_FIXED, WRITE_FIXED, READ = 1, 2, 4, 5, 22


class RingRefusedError(OSError):
    """This machine gives no ring; the text says why."""


def address_of(buffer: Bytes) -> int:
    """Return where an array's memory begins."""
    found: int = buffer.__array_interface__["data"][0]
    return found


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class Ring:
    """A pair of rings that one thread asks and listens through.

    Parameters
    ----------
    entries : requests that may be under way

    Raises
    ------
    RingRefusedError : the kernel knows or allows none, or the machine's memory order forbids it
    """

    def __init__(self, entries: int) -> None:
        if not sys.platform.startswith("linux") or platform.machine() not in ("x86_64", "AMD64"):
            raise RingRefusedError(
                errno.ENOSYS, f"not on {sys.platform}, {platform.machine() or 'unknown machine'}"
            )
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        self._call.restype = ctypes.c_long
        given = (ctypes.c_uint8 * _PARAMS_BYTES)()
        self.descriptor = -1
        for flags in (_SINGLE_ISSUER | _DEFER_TASKRUN, 0):
            _HEAD.pack_into(given, 0, 0, 0, flags, 0, 0, 0)
            try:
                self.descriptor = self._made(_SETUP, ctypes.c_uint(entries), ctypes.byref(given))
                break
            except OSError as error:
                if flags and error.errno == errno.EINVAL:
                    continue
                raise RingRefusedError(error.errno, error.strerror) from error
        try:
            self._map(bytes(given))
        except BaseException:
            os.close(self.descriptor)
            raise

    def _made(self, number: int, *arguments: object) -> int:
        got = self._call(ctypes.c_long(number), *arguments)
        if got < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return int(got)

    def _map(self, params: bytes) -> None:
        asks, answers, *_, features = _HEAD.unpack_from(params)
        if not features & _FEATURE_ONE_MAP or not features & _FEATURE_NO_DROP:
            raise RingRefusedError(errno.ENOSYS, "a kernel before 5.5")
        ask, answer = _OFFSETS.unpack_from(params, 40), _OFFSETS.unpack_from(params, 80)
        # Places: head, tail, mask, entries, flags|overflow, dropped|answers, array|flags.
        size = max(ask[6] + 4 * asks, answer[5] + _ANSWER.size * answers)
        populate = getattr(mmap, "MAP_POPULATE", 0)
        shared = mmap.MAP_SHARED | populate
        self._rings = mmap.mmap(self.descriptor, size, flags=shared, offset=_SQ_PLACE)
        self._entries = mmap.mmap(
            self.descriptor, asks * _ENTRY.size, flags=shared, offset=_ENTRIES_PLACE
        )
        words = memoryview(self._rings).cast("B")[: size // 4 * 4].cast("I")
        self._words = words
        self._ask_tail, self._answer_head, self._answer_tail = (
            ask[1] // 4, answer[0] // 4, answer[1] // 4,
        )  # fmt: skip
        self._ask_mask, self._answer_mask = words[ask[2] // 4], words[answer[2] // 4]
        self._overflow, self._answers = answer[4] // 4, answer[5]
        self.entries, self.answers = asks, answers
        for index in range(asks):  # which entry each place of the asking ring means, once for all
            words[ask[6] // 4 + index] = index
        self._unsent = 0

    def ask(
        self, operation: int, descriptor: int, offset: int, address: int, size: int, mark: int,
        buffer: int = 0,
    ) -> None:  # fmt: skip
        """Fill one entry; the kernel sees it at the next `enter`."""
        tail = self._words[self._ask_tail]
        _ENTRY.pack_into(
            self._entries, (tail & self._ask_mask) * _ENTRY.size,
            operation, 0, 0, descriptor, offset, address, size, 0, mark, buffer, 0, 0, 0, 0,
        )  # fmt: skip
        self._words[self._ask_tail] = (tail + 1) & 0xFFFFFFFF
        self._unsent += 1

    def enter(self, least: int) -> None:
        """Hand over what was asked, and sleep, without the interpreter, until `least` answers.

        Raises
        ------
        OSError : what the kernel has against it; a signal or a shortage that passes is none
        """
        while True:
            got = self._call(
                ctypes.c_long(_ENTER), ctypes.c_uint(self.descriptor), ctypes.c_uint(self._unsent),
                ctypes.c_uint(least), ctypes.c_uint(_GET_EVENTS), None, ctypes.c_size_t(0),
            )  # fmt: skip
            if got >= 0:
                self._unsent -= got
                if not self._unsent or self.ready:
                    return
                continue
            code = ctypes.get_errno()
            if code == errno.EINTR:
                continue
            if code == errno.EBUSY:  # answers must be taken first: who waits comes again
                return
            if code == errno.EAGAIN:  # short of memory
                time.sleep(1e-3)
                return
            raise OSError(code, os.strerror(code))

    @property
    def ready(self) -> bool:
        """Whether there are answers to take."""
        return bool(self._words[self._answer_head] != self._words[self._answer_tail])

    @property
    def unsent(self) -> int:
        """Entries that the kernel has not taken yet."""
        return self._unsent

    @property
    def overflowed(self) -> int:
        """Answers that found no room, as the kernel counts them; it keeps them for later."""
        return int(self._words[self._overflow])

    def take(self) -> list[tuple[int, int]]:
        """Return the mark and the result of each answer that is there."""
        words = self._words
        head, tail = words[self._answer_head], words[self._answer_tail]
        found = []
        while head != tail:
            place = self._answers + (head & self._answer_mask) * _ANSWER.size
            mark, result, _ = _ANSWER.unpack_from(self._rings, place)
            found.append((mark, result))
            head = (head + 1) & 0xFFFFFFFF
        # Only now may the kernel use the places again.
        words[self._answer_head] = head
        return found

    def register(self, buffers: Sequence[Bytes]) -> None:
        """Have the kernel hold these buffers' pages, so that no request looks them up.

        Raises
        ------
        OSError : ENOMEM where the limit of locked memory is too low
        """
        vectors = self.vectors(buffers)
        self._made(
            _REGISTER, ctypes.c_uint(self.descriptor), ctypes.c_uint(_REGISTER_BUFFERS), vectors,
            ctypes.c_uint(len(buffers)),
        )  # fmt: skip

    @staticmethod
    def vectors(buffers: Sequence[Bytes]) -> ctypes.Array[_Vector]:
        """Return an array of addresses and sizes, to be held while the kernel may read it."""
        pairs = [(address_of(buffer), buffer.nbytes) for buffer in buffers]
        return (_Vector * len(pairs))(*(_Vector(*pair) for pair in pairs))

    def close(self) -> None:
        """Give the rings back."""
        if self.descriptor >= 0:
            self._words.release()
            self._rings.close()
            self._entries.close()
            os.close(self.descriptor)
            self.descriptor = -1
