"""Parcels on their way between memory and files: what is queued, under way and done.

Models:  nothing; this does it. Writes and reads ahead go first come, first served; what somebody
         waits for goes first. A parcel's blocks are spread over the files by how busy they are.
Ignores: the system's own queues, and how requests are made: that is the engine's business.
Judge:   bytes come back as they went, under random delays, failures and alterations, with either
         engine (tests/runtime/moving/test_transfers.py, tests/runtime/offload/test_faults.py).

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
from typing import TypeVar

from ..direct_io import Channel, Engine, Request
from ._arena import Arena, aligned_bytes
from ._blocks import SECTOR_BYTES, Bytes, padded
from ._blockwork import Errand, begun_read, begun_write, read_problem
from ._errors import OffloadError
from ._folders import ScratchFile
from ._parcel import Journey, Parcel, Source

#: What somebody waits for goes before what nobody waits for yet.
_NOW, _LATER = 0, 1
T = TypeVar("T")


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
    uncopied_bytes : written from the tensor's own memory
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
    uncopied_bytes: int = 0

    def since(self, before: TransferCounts) -> TransferCounts:
        """Return what was added after `before`."""
        names = self.__dataclass_fields__
        return TransferCounts(**{n: getattr(self, n) - getattr(before, n) for n in names})


class _Trip:
    """One way of one parcel: which blocks have begun and how many have ended."""

    __slots__ = (
        "begin_s", "blocks", "coming_bytes", "left", "next", "parcel", "waiting_bytes", "write",
    )  # fmt: skip

    def __init__(self, parcel: Parcel, write: bool, blocks: int) -> None:
        self.parcel, self.write, self.blocks = weakref.ref(parcel), write, blocks
        self.next, self.left, self.begin_s = 0, blocks, 0.0
        self.waiting_bytes = self.coming_bytes = 0  # that are counted as queued, or as incoming


class Transfers:
    """Moves parcels; all methods may be called from any thread of the process that made it.

    Parameters
    ----------
    files : one per folder
    engine : how requests are made
    ahead_bytes : of memory for what is read back before it is needed
    block_bytes : of one request, a whole number of sectors
    queue_bytes : of parcels that may wait to be written; who brings more waits
    identity : 16 bytes that no other run has
    on_request : told of each request: file, begin on the performance counter, whether it writes,
        offset, size

    Attributes
    ----------
    arena : for what passes through (the low end) and for what is read back
    staged_bytes : of it, what everything passes through; held for as long as this is open
    asked_bytes, left_bytes : of parcels whose reads have begun so far, and whose writes have ended
    """

    def __init__(
        self,
        files: Sequence[ScratchFile],
        *,
        engine: Engine,
        ahead_bytes: int,
        block_bytes: int,
        queue_bytes: int,
        identity: bytes,
        on_request: Callable[[ScratchFile, float, bool, int, int], None] | None = None,
    ) -> None:
        self.files, self.block_bytes = tuple(files), block_bytes
        self.queue_bytes, self.identity = queue_bytes, identity
        self._counts: dict[str, float] = dict.fromkeys(TransferCounts.__dataclass_fields__, 0)
        self.waited_s = 0.0
        self.problems: list[str] = []
        self.journeys: list[Journey] = []  # on the performance counter; who reads them clears them
        self.remarks: list[str] = [] if engine.remark is None else [engine.remark]
        self._on_request = on_request
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._jobs: list[tuple[int, int, _Trip]] = []
        self._order = itertools.count()
        self._queued = self._incoming = 0
        self.asked_bytes = self.left_bytes = 0
        self._under_way = {True: 0, False: 0}
        self._since: dict[str, float] = {}
        self._closed, self._process = False, os.getpid()
        self._broken: BaseException | None = None
        slot_bytes = SECTOR_BYTES + padded(block_bytes)
        self.staged_bytes = engine.channels * engine.depth * slot_bytes
        self.arena = Arena(ahead_bytes + self.staged_bytes)
        self._channels = [engine.make() for _ in range(engine.channels)]
        self._idle: list[Channel] = []
        self._threads = []
        for number, channel in enumerate(self._channels):
            slots = [self.arena.take(slot_bytes, "low") for _ in range(engine.depth)]
            staging = [slot for slot in slots if slot is not None]
            self._threads.append(
                threading.Thread(
                    target=self._work, args=(channel, staging), name=f"offload-{number}",
                    daemon=True,
                )
            )  # fmt: skip
        for thread in self._threads:
            thread.start()

    @property
    def counts(self) -> TransferCounts:
        """What has been moved so far."""
        self._refuse_other_process()
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

    @property
    def incoming_bytes(self) -> int:
        """Bytes of parcels that are being read: their memory may not be touched yet."""
        return self._incoming

    @property
    def passing_bytes(self) -> int:
        """Memory of tensors on their way: queued to be written, or read back."""
        return self._queued + self.arena.touched_bytes - self.staged_bytes

    # What the training thread asks for.

    def write(self, parcel: Parcel) -> None:
        """Begin to write a parcel; with too many bytes queued, wait until there are fewer."""
        self._refuse_other_process(parcel)
        size = parcel.size_bytes
        with self._changed:
            self._refuse_closed(parcel)
            if self._queued and self._queued + size > self.queue_bytes:
                self._wait(lambda: not self._queued or self._queued + size <= self.queue_bytes)
            parcel.blocks = [None] * -(-size // self.block_bytes)
            self._push(_LATER, trip := _Trip(parcel, True, len(parcel.blocks)))
            # Nothing is called in between: an interrupt finds both or none.
            trip.waiting_bytes = size
            self._queued += size

    def wait_for_writes(self, most_bytes: int) -> None:
        """Wait until no more than so many bytes are queued to be written, or being written."""
        if self._queued > most_bytes:
            self._refuse_other_process()
            with self._changed:
                self._wait(lambda: self._closed or self._queued <= most_bytes)

    def read(self, parcel: Parcel, *, now: bool) -> bool:
        """Begin to read a parcel back, or bring a read forward; return whether it is under way.

        A read that nobody waits for (`now` false) does not begin without room in the arena.
        """
        self._refuse_other_process(parcel)
        if parcel.here is not None:
            return True
        with self._changed:
            self._refuse_closed(parcel)
            if parcel.here is not None or parcel.read_error is not None:
                return True
            if parcel.target is not None:
                trip = parcel.trip
                if now and isinstance(trip, _Trip) and trip.next < trip.blocks:
                    self._push(_NOW, trip)
                return True
            # What is waited for is soon gone again, and so lies apart from what is read ahead.
            size = parcel.size_bytes + parcel.phase
            target = self.arena.take(size, "low" if now else "high")
            if target is None:
                if not now:
                    return False
                target = aligned_bytes(size)
                self._counts["outside_bytes"] += target.size
            parcel.trip = trip = _Trip(parcel, False, len(parcel.blocks))
            self._push(_NOW if now else _LATER, trip)
            parcel.target, size = target[parcel.phase :], parcel.size_bytes
            trip.coming_bytes = size
            self._incoming += size
            self.asked_bytes += size
            return True

    def keep(self, parcel: Parcel) -> bool:
        """Leave a parcel in memory if it still is there; return whether it is."""
        self._refuse_other_process(parcel)
        source = parcel.source
        if source is None:  # for good: that needs no lock, for which threads may queue
            return False
        with self._changed:
            if parcel.source is None:
                return False
            parcel.stays = True
            return True

    def lent(self, parcel: Parcel, use: Callable[[Source], T]) -> T | None:
        """Return what `use` makes of a parcel's memory, held meanwhile; None when it has left."""
        self._refuse_other_process(parcel)
        with self._changed:
            return None if parcel.source is None else use(parcel.source)

    def arrival(self, parcel: Parcel) -> Bytes:
        """Wait until a parcel has been read, and return its bytes.

        Raises
        ------
        DamagedDataError : what was read is not what was written
        OffloadError : it could not be read
        """
        self._refuse_other_process(parcel)
        if (here := parcel.here) is not None:
            return here
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
        self._refuse_other_process()
        with self._changed:
            self._wait(
                lambda: (
                    self._closed or not (self._queued > 0 or self._jobs or self._any_under_way())
                )
            )

    def close(self) -> None:
        """End the threads and give the files' space back; parcels still away are lost.

        A collector may call this anywhere: in one of the threads, or in one that has the lock. Who
        then waited for the threads would wait for ever, and so another thread does.
        """
        if os.getpid() != self._process:  # no lock: nobody may be left to let go of it
            for file in self.files:
                file.close()
            return
        inside = self._lock._is_owned()  # type: ignore[attr-defined]  # not in typeshed
        with self._changed:
            self._closed = True
            self._jobs.clear()
            self._changed.notify_all()
        if inside or threading.current_thread() in self._threads:
            threading.Thread(target=self._end_threads, name="offload-end", daemon=True).start()
        else:
            self._end_threads()

    def _end_threads(self) -> None:
        for channel, thread in zip(self._channels, self._threads, strict=True):
            if thread.is_alive():
                channel.wake()
            thread.join()
            channel.close()
        self.arena.give_pages_back()
        for file in self.files:
            file.close()

    def _refuse_closed(self, parcel: Parcel) -> None:
        if self._broken is not None:
            raise OffloadError(f"saved tensor {parcel.name!r}",
                               found=f"an engine that failed ({self._broken})",
                               wanted="one that works", fix="use engine='threads'")  # fmt: skip
        if self._closed:
            raise OffloadError(f"saved tensor {parcel.name!r}", found="a closed session",
                               wanted="an open one",
                               fix="close it after the last backward pass")  # fmt: skip

    def _refuse_other_process(self, parcel: Parcel | None = None) -> None:
        # Before any lock: a thread that is not there any more may have held it.
        if os.getpid() != self._process:
            where = "offload session" if parcel is None else f"saved tensor {parcel.name!r}"
            raise OffloadError(where, found="another process than the one that saved it",
                               wanted="the same", fix="begin the session after it")  # fmt: skip

    def _wait(self, ready: Callable[[], bool]) -> None:
        """Wait under the lock; count how long."""
        if ready():
            return
        begin = time.perf_counter()
        try:
            while not (ready() or self._closed):
                self._changed.wait()
        finally:
            self.waited_s += time.perf_counter() - begin

    def _push(self, urgency: int, trip: _Trip) -> None:
        heapq.heappush(self._jobs, (urgency, next(self._order), trip))
        for _ in range(min(len(self._idle), trip.blocks)):
            self._idle.pop().wake()

    # What the threads do.

    def _work(self, channel: Channel, staging: list[Bytes]) -> None:
        try:
            if (remark := channel.stage(staging)) is not None:
                self.remarks.append(remark)
            self._serve(channel, staging)
        except BaseException as error:  # nobody must wait for this thread any more
            with self._changed:
                self._broken, self._closed = error, True
                self._changed.notify_all()

    def _serve(self, channel: Channel, staging: list[Bytes]) -> None:
        free = list(range(len(staging)))
        cpu_s = time.thread_time()
        while True:
            now_s = time.thread_time()
            with self._changed:
                self._counts["cpu_s"] += now_s - cpu_s
                if self._closed and len(free) == len(staging):
                    return
                jobs = self._next_jobs(len(free))
                if channel in self._idle:
                    self._idle.remove(channel)
                if free and not jobs:
                    self._idle.append(channel)
            cpu_s, idle = now_s, not jobs
            while jobs:
                self._begin(*jobs.pop(0), channel, staging, free)
            # No reference to a parcel that only this thread holds outlives this line.
            self._end(channel.wait(block=idle), staging, free)

    def _next_jobs(self, room: int) -> list[tuple[_Trip, Parcel, int]]:
        """Return blocks to begin: one to write, which takes a while, or as many to read as fit."""
        found: list[tuple[_Trip, Parcel, int]] = []
        while self._jobs and len(found) < room:
            trip = self._jobs[0][2]
            parcel = trip.parcel()
            if parcel is None or trip.next >= trip.blocks:
                heapq.heappop(self._jobs)
                if parcel is None:  # nobody wants it any more
                    self._queued -= trip.waiting_bytes
                    self._incoming -= trip.coming_bytes
                    trip.waiting_bytes = trip.coming_bytes = 0
                self._changed.notify_all()
                continue
            if trip.write and found:
                break
            found.append((trip, parcel, trip.next))
            if not trip.next:
                trip.begin_s = time.perf_counter()
            trip.next += 1
            self._clock(trip.write, +1)
            if trip.next == trip.blocks:
                heapq.heappop(self._jobs)
            if trip.write:
                break
        return found

    def _begin(
        self, trip: _Trip, parcel: Parcel, block: int, channel: Channel, staging: list[Bytes],
        free: list[int],
    ) -> None:  # fmt: skip
        slot = free.pop()
        errand, error = None, None
        try:
            if trip.write:
                errand = self._written(parcel, block, slot, staging[slot])
            else:
                errand = begun_read(parcel, block, self.block_bytes, slot, staging[slot])
        except BaseException as caught:  # handed to whoever waits, without what it would hold
            error = caught.with_traceback(None)
        if errand is None:
            free.append(slot)
            with self._changed:
                self._end_block(trip, parcel, block, error)
            return
        errand.trip = trip
        with self._changed:
            errand.place.file.queued_bytes += errand.size
        errand.begin_s = time.perf_counter()
        channel.begin(
            Request(
                errand.place.file.descriptor, trip.write, errand.place.offset, errand.buffers,
                staged=slot if errand.staged else None, tag=errand,
            )
        )  # fmt: skip

    def _written(self, parcel: Parcel, block: int, slot: int, bounce: Bytes) -> Errand | None:
        """Return a block ready to be written, or None when it need not be any more."""
        source = parcel.source
        if source is None or parcel.stays:
            return None
        with self._changed:
            turns = sorted(self.files, key=lambda file: file.queued_bytes)
        place, refusal = None, None
        for file in turns:  # a full disk is passed over while another one has room
            try:
                place = file.take()
                break
            except OSError as error:
                refusal = refusal or error
        if place is None:
            raise refusal or OSError("no file to write to")
        return begun_write(
            parcel, block, self.block_bytes, source.data(), place, slot, bounce, self.identity
        )

    def _end(self, ended: list[Request], staging: list[Bytes], free: list[int]) -> None:
        """Judge what has ended, and tell whoever waits."""
        while ended:
            request = ended.pop(0)
            errand = request.tag
            if not isinstance(errand, Errand):
                raise TypeError(f"a request for {type(errand).__name__}")
            end_s = time.perf_counter()
            problem = read_problem(errand, request, staging[errand.slot], self.block_bytes)
            free.append(errand.slot)
            place, write = errand.place, request.write
            with self._changed:
                place.file.queued_bytes -= errand.size
                self._counts["written_bytes" if write else "read_bytes"] += errand.size
                for name, value in errand.counts.items():
                    self._counts[name] += value
                if write and problem is None:
                    errand.parcel.blocks[errand.block] = (place, errand.label)
                if self._on_request is not None:
                    self._on_request(place.file, errand.begin_s, write, place.offset, errand.size)
                self._end_block(errand.trip, errand.parcel, errand.block, problem, end_s)
            del request, errand, place

    def _end_block(
        self, trip: object, parcel: Parcel, block: int, error: BaseException | None,
        end_s: float | None = None,
    ) -> None:  # fmt: skip
        """Note, under the lock, that a block has ended; with the last one, that its trip has."""
        if not isinstance(trip, _Trip):
            raise TypeError(f"a block of {type(trip).__name__}")
        trip.left -= 1
        if trip.write:
            size = min(self.block_bytes, parcel.size_bytes - block * self.block_bytes)
            size = min(size, trip.waiting_bytes)
            trip.waiting_bytes -= size
            self._queued -= size
            if error is not None and parcel.write_error is None:
                parcel.write_error, parcel.stays = error, True
                self._counts["failed_writes"] += 1
                self.problems.append(f"{parcel.name}: not written: {error}")
            if trip.left == 0:
                self._end_write(parcel)
        else:
            if error is not None and parcel.read_error is None:
                parcel.read_error = error
            if trip.left == 0:
                here = None if parcel.target is None else parcel.target[: parcel.size_bytes]
                parcel.target = parcel.trip = None
                self._incoming -= trip.coming_bytes
                if parcel.read_error is None:
                    parcel.generation += 1
                    parcel.here = here  # last: who finds it asks for no lock
        if trip.left == 0 and not (trip.write and parcel.stays):
            end = time.perf_counter() if end_s is None else end_s
            self.journeys.append(Journey(parcel.name, trip.write, trip.begin_s, end))
        self._clock(trip.write, -1, end_s)
        self._changed.notify_all()

    def _end_write(self, parcel: Parcel) -> None:
        if parcel.stays:
            parcel.blocks = []
            return
        if parcel.source is not None:
            parcel.source.let_go()
            self.left_bytes += parcel.size_bytes
        parcel.source = None

    # Counting, under the lock.

    def _any_under_way(self) -> bool:
        return bool(self._under_way[True] or self._under_way[False])

    def _clock(self, write: bool, change: int, now: float | None = None) -> None:
        """Add to the seconds of a way, and of both, while anything goes there."""
        before, other = self._under_way[write], self._under_way[not write]
        after = self._under_way[write] = before + change
        if before and after:
            return
        now = time.perf_counter() if now is None else now
        for name in ("write_s" if write else "read_s", *(() if other else ("busy_s",))):
            if after:
                self._since[name] = now
            else:
                self._counts[name] += max(0.0, now - self._since.pop(name))
