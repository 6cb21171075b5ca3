"""Threads that move parcels between memory and files.

Models:  nothing; this does it. Writes and reads ahead go first come, first served; what somebody
         waits for goes first. A parcel's blocks are spread over the files by how busy they are.
Ignores: the system's own queues. There is no binding of io_uring among what this program may need,
         so requests are plain calls from a few threads, which let go of the interpreter meanwhile.
Judge:   bytes come back as they went, under random delays, failures and alterations
         (tests/runtime/offload/test_transfers.py).

A parcel's memory is let go only when all of its blocks have been written, so a failed write loses
nothing. What is read is compared with what was written before anybody sees it.
"""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ._arena import Arena, aligned_bytes
from ._blocks import (
    SECTOR_BYTES,
    BlockLabel,
    Bytes,
    checksum,
    label_problem,
    pack_block,
    padded,
    unpack_block,
    write_label,
)
from ._errors import DamagedDataError, OffloadError
from ._folders import ScratchFile
from ._parcel import Parcel

__all__ = ["TransferCounts", "Transfers"]

#: What somebody waits for goes before what nobody waits for yet.
_NOW, _LATER = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferCounts:
    """What has been moved so far.

    Attributes
    ----------
    written_bytes, read_bytes : through files, headers and padding counted
    write_s, read_s : during which at least one transfer that way was under way
    busy_s : during which at least one transfer was under way
    packed_bytes, pack_s : of tensors, and seconds of all threads together
    unpacked_bytes, unpack_s : the same on the way back
    cpu_s : of the threads
    failed_writes : parcels that stayed in memory because they could not be written
    outside_bytes : read into memory beside the arena, because it was full
    """

    written_bytes: int = 0
    read_bytes: int = 0
    write_s: float = 0.0
    read_s: float = 0.0
    busy_s: float = 0.0
    packed_bytes: int = 0
    pack_s: float = 0.0
    unpacked_bytes: int = 0
    unpack_s: float = 0.0
    cpu_s: float = 0.0
    failed_writes: int = 0
    outside_bytes: int = 0

    def since(self, before: TransferCounts) -> TransferCounts:
        """Return what was added after `before`."""
        names = self.__dataclass_fields__
        return TransferCounts(**{n: getattr(self, n) - getattr(before, n) for n in names})


class Transfers:
    """Moves parcels; all methods may be called from any thread of the process that made it.

    Parameters
    ----------
    files : one per folder
    arena : for what passes through, and for what is read back
    block_bytes : of one request, a whole number of sectors
    threads : that make requests
    queue_bytes : of parcels that may wait to be written; who brings more waits
    identity : 16 bytes that no other run has
    on_request : told of each request: file, begin on the performance counter, whether it writes,
        offset, size
    """

    def __init__(
        self,
        files: Sequence[ScratchFile],
        arena: Arena,
        *,
        block_bytes: int,
        threads: int,
        queue_bytes: int,
        identity: bytes,
        on_request: Callable[[ScratchFile, float, bool, int, int], None] | None = None,
    ) -> None:
        self.files, self.arena, self.block_bytes = tuple(files), arena, block_bytes
        self.queue_bytes, self.identity = queue_bytes, identity
        self._counts: dict[str, float] = dict.fromkeys(TransferCounts.__dataclass_fields__, 0)
        self.waited_s = 0.0
        self.problems: list[str] = []
        self._on_request = on_request
        lock = threading.RLock()
        self._changed, self._work_there = threading.Condition(lock), threading.Condition(lock)
        self._jobs: list[tuple[int, int, bool, weakref.ref[Parcel], int, int]] = []
        self._order = itertools.count()
        self._queued = 0
        self._under_way = {True: 0, False: 0}
        self._since: dict[str, float] = {}
        self._closed, self._process = False, os.getpid()
        self._threads = [
            threading.Thread(target=self._work, name=f"offload-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def counts(self) -> TransferCounts:
        """What has been moved so far."""
        with self._changed:
            return TransferCounts(**self._counts)  # type: ignore[arg-type]

    @property
    def failed_writes(self) -> int:
        """Parcels that could not be written so far."""
        return int(self._counts["failed_writes"])

    @property
    def queued_bytes(self) -> int:
        """Bytes of parcels that wait to be written or are being written."""
        return self._queued

    # What the training thread asks for.

    def write(self, parcel: Parcel) -> None:
        """Begin to write a parcel; with too many bytes queued, wait until there are fewer."""
        self._refuse_other_process(parcel)
        pieces = list(parcel.pieces(self.block_bytes))
        with self._changed:
            self._refuse_closed(parcel)
            self._wait(
                lambda: not self._queued or self._queued + parcel.size_bytes <= self.queue_bytes
            )
            parcel.blocks = [None] * len(pieces)
            parcel.pending, parcel.left = set(range(len(pieces))), len(pieces)
            self._queued += parcel.size_bytes
            for block, (start, stop) in enumerate(pieces):
                self._push(_LATER, True, parcel, block, stop - start)

    def wait_for_writes(self, most_bytes: int) -> None:
        """Wait until no more than so many bytes are queued to be written, or being written."""
        if self._queued > most_bytes:
            with self._changed:
                self._wait(lambda: self._closed or self._queued <= most_bytes)

    def read(self, parcel: Parcel, *, now: bool) -> bool:
        """Begin to read a parcel back, or bring a read forward; return whether it is under way.

        A read that nobody waits for (`now` false) does not begin without room in the arena.
        """
        with self._changed:
            self._refuse_closed(parcel)
            if parcel.here is not None or parcel.read_error is not None:
                return True
            if parcel.target is not None:
                if now:
                    for block in sorted(parcel.pending):
                        self._push(_NOW, False, parcel, block, 0)
                return True
            target = self.arena.take(parcel.size_bytes, "high")
            if target is None:
                if not now:
                    return False
                target = aligned_bytes(parcel.size_bytes)
                self._count(outside_bytes=target.size)
            parcel.target = target
            parcel.pending, parcel.left = set(range(len(parcel.blocks))), len(parcel.blocks)
            for block in range(len(parcel.blocks)):
                self._push(_NOW if now else _LATER, False, parcel, block, 0)
            return True

    def keep(self, parcel: Parcel) -> bool:
        """Leave a parcel in memory if it still is there; return whether it is."""
        self._refuse_other_process(parcel)
        with self._changed:
            if parcel.source is None:
                return False
            parcel.stays = True
            return True

    def arrival(self, parcel: Parcel) -> Bytes:
        """Wait until a parcel has been read, and return its bytes.

        Raises
        ------
        DamagedDataError : what was read is not what was written
        OffloadError : it could not be read
        """
        with self._changed:
            self._wait(lambda: parcel.here is not None or parcel.read_error is not None
                       or self._closed)  # fmt: skip
            if parcel.read_error is not None:
                raise parcel.read_error
            if parcel.here is None:
                self._refuse_closed(parcel)
                raise OffloadError(f"saved tensor {parcel.name!r}", found="no read of it",
                                   wanted="one under way", fix="report this")  # fmt: skip
            return parcel.here

    def drain(self) -> None:
        """Wait until nothing is queued or under way."""
        with self._changed:
            self._wait(
                lambda: self._closed or not (self._queued or self._jobs or self._any_under_way())
            )

    def close(self) -> None:
        """End the threads and give the files' space back; parcels still away are lost."""
        with self._changed:
            self._closed = True
            self._jobs.clear()
            self._changed.notify_all()
            self._work_there.notify_all()
        if os.getpid() == self._process:
            for thread in self._threads:
                thread.join()
        for file in self.files:
            file.close()

    def _refuse_closed(self, parcel: Parcel) -> None:
        if self._closed:
            raise OffloadError(f"saved tensor {parcel.name!r}", found="a closed session",
                               wanted="an open one",
                               fix="close it after the last backward pass")  # fmt: skip

    def _refuse_other_process(self, parcel: Parcel) -> None:
        # Before any lock: a thread that is not there any more may have held it.
        if os.getpid() != self._process:
            raise OffloadError(f"saved tensor {parcel.name!r}",
                               found="another process than the one that saved it",
                               wanted="the same", fix="begin the session after it")  # fmt: skip

    def _wait(self, ready: Callable[[], bool]) -> None:
        """Wait under the lock; count how long."""
        if ready():
            return
        begin = time.perf_counter()
        try:
            while not ready():
                self._changed.wait()
        finally:
            self.waited_s += time.perf_counter() - begin

    def _push(self, urgency: int, write: bool, parcel: Parcel, block: int, size: int) -> None:
        job = (urgency, next(self._order), write, weakref.ref(parcel), block, size)
        heapq.heappush(self._jobs, job)
        self._work_there.notify()

    # What the threads do.

    def _work(self) -> None:
        bounce = aligned_bytes(SECTOR_BYTES + padded(self.block_bytes))
        cpu_s = time.thread_time()
        while True:
            with self._changed:
                while not self._jobs and not self._closed:
                    self._work_there.wait()
                if self._closed:
                    return
                _, _, write, reference, block, size = heapq.heappop(self._jobs)
            self._do(write, reference, block, size, bounce)
            now_s = time.thread_time()
            with self._changed:
                self._count(cpu_s=now_s - cpu_s)
            cpu_s = now_s

    def _do(
        self, write: bool, reference: weakref.ref[Parcel], block: int, size: int, bounce: Bytes
    ) -> None:
        """Move one block; no reference to its parcel outlives the call."""
        parcel = reference()
        with self._changed:
            mine = parcel is not None and block in parcel.pending
            if parcel is not None and mine:
                parcel.pending.discard(block)
                self._clock(write, +1)
        error: BaseException | None = None
        if parcel is not None and mine:
            try:
                if write:
                    self._write_block(parcel, block, bounce)
                else:
                    self._read_block(parcel, block, bounce)
            except BaseException as caught:  # handed to whoever waits
                error = caught
        with self._changed:
            if write:
                self._queued -= size
            if parcel is not None and mine:
                self._clock(write, -1)
                self._end_block(parcel, write, error)
            self._changed.notify_all()

    def _end_block(self, parcel: Parcel, write: bool, error: BaseException | None) -> None:
        parcel.left -= 1
        if write:
            if error is not None and parcel.write_error is None:
                parcel.write_error, parcel.stays = error, True
                self._count(failed_writes=1)
                self.problems.append(f"{parcel.name}: not written: {error}")
            if parcel.left == 0:
                self._end_write(parcel)
            return
        if error is not None and parcel.read_error is None:
            parcel.read_error = error
        if parcel.left == 0:
            if parcel.read_error is None:
                parcel.here, parcel.generation = parcel.target, parcel.generation + 1
            parcel.target = None

    def _end_write(self, parcel: Parcel) -> None:
        if parcel.stays:
            parcel.blocks = []
            return
        if parcel.source is not None:
            parcel.source.let_go()
        parcel.source = None

    def _write_block(self, parcel: Parcel, block: int, bounce: Bytes) -> None:
        source = parcel.source
        if source is None or parcel.stays:
            return
        start = block * self.block_bytes
        raw = source.data()[start : min(start + self.block_bytes, parcel.size_bytes)]
        payload = bounce[SECTOR_BYTES:]
        stored, element_bytes = None, parcel.element_bytes
        if element_bytes:
            begin = time.perf_counter()
            stored = pack_block(raw, element_bytes, payload)
            took = time.perf_counter() - begin
            with self._changed:
                self._count(packed_bytes=raw.size, pack_s=took)
        if stored is None:
            stored, element_bytes = raw.size, 0
            np.copyto(payload[:stored], raw)
        whole = padded(stored)
        payload[stored:whole] = 0
        label = BlockLabel(
            session=self.identity, tensor=parcel.number, block=block, element_bytes=element_bytes,
            raw_bytes=parcel.size_bytes, stored_bytes=stored, checksum=checksum(payload[:whole]),
        )  # fmt: skip
        write_label(bounce[:SECTOR_BYTES], label)
        with self._changed:
            turns = sorted(self.files, key=lambda file: file.queued_bytes)
        slot, refusal = None, None
        for file in turns:  # a full disk is passed over while another one has room
            try:
                slot = file.take()
                break
            except OSError as error:
                refusal = refusal or error
        if slot is None:
            raise refusal or OSError("no file to write to")
        size = SECTOR_BYTES + whole
        self._request(slot.file, True, slot.offset, size,
                      lambda: slot.file.write(bounce[:size], slot.offset))  # fmt: skip
        parcel.blocks[block] = (slot, label)

    def _read_block(self, parcel: Parcel, block: int, bounce: Bytes) -> None:
        found = parcel.blocks[block]
        target = parcel.target
        if found is None or target is None:
            raise OffloadError(f"saved tensor {parcel.name!r}, block {block}", found="no block",
                               wanted="the one written", fix="report this")  # fmt: skip
        slot, label = found
        start = block * self.block_bytes
        raw = target[start : min(start + self.block_bytes, parcel.size_bytes)]
        whole = padded(label.stored_bytes)
        if label.element_bytes:
            payload = bounce[SECTOR_BYTES : SECTOR_BYTES + whole]
        else:
            payload = target[start : start + whole]
        size = SECTOR_BYTES + whole
        got = 0

        def ask() -> None:
            nonlocal got
            got = slot.file.read([bounce[:SECTOR_BYTES], payload], slot.offset)

        where = (
            f"saved tensor {parcel.name!r}, byte {start} of {parcel.size_bytes}, "
            f"offset {slot.offset} in {slot.file.folder}"
        )
        try:
            self._request(slot.file, False, slot.offset, size, ask)
        except OSError as error:
            raise OffloadError(
                where, found=f"a read error ({error.strerror or error})", wanted="its bytes",
                fix="check the disk; nothing was computed from them",
            ) from error  # fmt: skip
        problem = None
        if got < size:
            problem = f"truncated data ({got} of {size} bytes)"
        problem = problem or label_problem(bounce[:SECTOR_BYTES], payload, label)
        if problem is None and label.element_bytes:
            begin = time.perf_counter()
            problem = unpack_block(payload[: label.stored_bytes], label.element_bytes, raw)
            took = time.perf_counter() - begin
            with self._changed:
                self._count(unpacked_bytes=raw.size, unpack_s=took)
        if problem is not None:
            raise DamagedDataError(
                where, found=problem, wanted="the bytes that were written",
                fix="check the disk; nothing was computed from them",
            )  # fmt: skip

    def _request(
        self, file: ScratchFile, write: bool, offset: int, size: int, ask: Callable[[], None]
    ) -> None:
        with self._changed:
            file.queued_bytes += size
        begin = time.perf_counter()
        try:
            ask()
        finally:
            with self._changed:
                file.queued_bytes -= size
        with self._changed:
            self._count(**{"written_bytes" if write else "read_bytes": size})
            if self._on_request is not None:
                self._on_request(file, begin, write, offset, size)

    # Counting, under the lock.

    def _count(self, **more: float) -> None:
        for name, value in more.items():
            self._counts[name] += value

    def _any_under_way(self) -> bool:
        return bool(self._under_way[True] or self._under_way[False])

    def _clock(self, write: bool, change: int) -> None:
        """Add to the seconds of a way, and of both, while anything goes there."""
        now = time.perf_counter()
        running_before = {
            "write_s": self._under_way[True] > 0,
            "read_s": self._under_way[False] > 0,
            "busy_s": self._any_under_way(),
        }
        self._under_way[write] += change
        running = {
            "write_s": self._under_way[True] > 0,
            "read_s": self._under_way[False] > 0,
            "busy_s": self._any_under_way(),
        }
        for name, before in running_before.items():
            if running[name] and not before:
                self._since[name] = now
            elif before and not running[name]:
                self._count(**{name: now - self._since.pop(name)})
