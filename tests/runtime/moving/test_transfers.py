"""Parcels through real files: what comes back, in which order, and what is let go when."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orrery.runtime.moving import DamagedDataError, OffloadError
from orrery.runtime.moving._arena import aligned_bytes
from orrery.runtime.moving._blocks import EDGE_BYTES, SECTOR_BYTES, edges_of, padded
from orrery.runtime.moving._folders import ScratchFile
from orrery.runtime.moving._parcel import Parcel
from orrery.runtime.moving._transfers import Transfers

from .channels import ENGINES, Faults, engine, wrote

BLOCK = 2 * SECTOR_BYTES


class Memory:
    """Bytes of a tensor, without PyTorch."""

    def __init__(self, size: int, seed: int = 0, density: float = 1.0) -> None:
        draw = np.random.default_rng(seed)
        self.bytes = draw.integers(0, 256, size, dtype=np.uint8)
        words = self.bytes[: size // 4 * 4].view(np.uint32)
        words[draw.random(words.size) >= density] = 0
        self.looks, self.held = 0, True

    def data(self) -> Any:
        self.looks += 1
        return self.bytes

    def let_go(self) -> None:
        self.held = False


@contextmanager
def transfers(*folders: Path, **options: Any) -> Iterator[Transfers]:
    way = engine(
        options.pop("way", "io_uring"), options.pop("threads", 2), options.pop("faults", None)
    )
    given = {"block_bytes": BLOCK, "queue_bytes": 1 << 30, "ahead_bytes": 1 << 20, **options}
    files = [ScratchFile(folder, BLOCK + SECTOR_BYTES) for folder in folders]
    found = Transfers(files, engine=way, identity=os.urandom(16), **given)
    try:
        yield found
    finally:
        found.close()


@contextmanager
def standing(found: Transfers) -> Iterator[None]:
    """No thread of it begins or ends anything meanwhile."""
    with found._changed:
        yield


@pytest.mark.parametrize("size", [1, 4095, 4096, BLOCK, BLOCK + 4, 5 * BLOCK + 1000])
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("way", ENGINES)
def test_bytes_come_back(way: str, size: int, density: float, tmp_path: Path) -> None:
    with transfers(tmp_path, way=way) as moving:
        memory = Memory(size, seed=size, density=density)
        wanted = memory.bytes.tobytes()
        element = 4 if size % 4 == 0 else 0
        parcel = Parcel(0, "t", size, element, memory)
        moving.write(parcel)
        moving.drain()
        assert parcel.source is None and len(parcel.blocks) == -(-size // BLOCK)
        memory.bytes[:] = 0
        assert moving.read(parcel, now=True)
        assert moving.arrival(parcel)[:size].tobytes() == wanted
        counts = moving.counts
        assert counts.written_bytes == parcel.travelled_bytes == counts.read_bytes
        assert parcel.is_packed == (element == 4 and density < 1 and size >= 2 * SECTOR_BYTES)


def test_blocks_go_to_all_folders(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    with transfers(*folders, threads=4) as moving:
        parcel = Parcel(0, "t", 64 * BLOCK, 0, Memory(64 * BLOCK))
        moving.write(parcel)
        moving.drain()
        used = {block[0].file for block in parcel.blocks if block is not None}
        assert used <= set(moving.files) and len(used) >= 2
        moving.read(parcel, now=True)
        assert moving.arrival(parcel)[: 64 * BLOCK].tobytes() == Memory(64 * BLOCK).bytes.tobytes()


def test_an_interrupt_leaves_no_bytes_counted_as_on_their_way(tmp_path: Path) -> None:
    with transfers(tmp_path) as moving:
        push = moving._push

        def interrupted(*given: Any) -> None:
            push(*given)
            raise KeyboardInterrupt

        parcel = Parcel(0, "t", 3 * BLOCK, 0, Memory(3 * BLOCK))
        for begin in (lambda: moving.write(parcel), lambda: moving.read(parcel, now=True)):
            moving._push = interrupted  # type: ignore[method-assign]
            with pytest.raises(KeyboardInterrupt):
                begin()
            moving._push = push  # type: ignore[method-assign]
            moving.drain()
            assert moving.queued_bytes == moving.incoming_bytes == 0


def test_memory_is_let_go_only_when_all_is_written(tmp_path: Path) -> None:
    with transfers(tmp_path) as moving:
        memory = Memory(8 * BLOCK)
        parcel = Parcel(0, "t", 8 * BLOCK, 0, memory)
        with standing(moving):
            moving.write(parcel)
            assert parcel.source is memory
            assert memory.held
        moving.drain()
        assert parcel.source is None and not memory.held


def test_what_is_needed_again_before_it_was_written_never_leaves(tmp_path: Path) -> None:
    with transfers(tmp_path) as moving:
        memory = Memory(8 * BLOCK)
        parcel = Parcel(0, "t", 8 * BLOCK, 0, memory)
        with standing(moving):
            moving.write(parcel)
            assert moving.keep(parcel)
        moving.drain()
        assert parcel.source is memory and parcel.blocks == []
        assert moving.counts.written_bytes == 0
        assert moving.files[0].take().offset == 0


def test_a_parcel_that_nobody_wants_is_not_written(tmp_path: Path) -> None:
    with transfers(tmp_path) as moving:
        memory = Memory(8 * BLOCK)
        parcel = Parcel(0, "t", 8 * BLOCK, 0, memory)
        gone = weakref.ref(parcel)
        with standing(moving):
            moving.write(parcel)
            del parcel
            gc.collect()
            assert gone() is None
        moving.drain()
        assert memory.looks == 0 and moving.queued_bytes == 0


@pytest.mark.parametrize("way", ENGINES)
def test_who_brings_too_much_waits(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()  # opens when the caller begins to wait
    faults = Faults(gate=gate)
    with transfers(tmp_path, way=way, queue_bytes=3 * BLOCK, threads=1, faults=faults) as moving:
        parcels = [Parcel(n, "t", 2 * BLOCK, 0, Memory(2 * BLOCK)) for n in range(2)]
        moving.write(parcels[0])
        wait, here = moving._changed.wait, threading.current_thread()

        def waits(timeout: float | None = None) -> bool:
            if threading.current_thread() is here:
                gate.set()
            return wait(timeout)

        monkeypatch.setattr(moving._changed, "wait", waits)
        moving.write(parcels[1])  # waits until the first is written
        assert gate.is_set() and moving.waited_s > 0
        large = Parcel(9, "t", 64 * BLOCK, 0, Memory(64 * BLOCK))
        moving.write(large)  # more than the queue holds: it goes alone
        moving.drain()
        assert large.source is None


def test_reading_ahead_waits_for_room_and_need_does_not(tmp_path: Path) -> None:
    with transfers(tmp_path, ahead_bytes=2 * BLOCK + SECTOR_BYTES) as moving:
        parcels = [Parcel(n, "t", 2 * BLOCK, 0, Memory(2 * BLOCK, seed=n)) for n in range(2)]
        for parcel in parcels:
            moving.write(parcel)
        moving.drain()
        assert moving.read(parcels[0], now=False)
        assert not moving.read(parcels[1], now=False)
        assert moving.read(parcels[1], now=True)
        for seed, parcel in enumerate(parcels):
            assert moving.arrival(parcel).tobytes() == Memory(2 * BLOCK, seed=seed).bytes.tobytes()
        # Where blocks left from where they lay, they come back as far past a sector.
        assert moving.counts.outside_bytes == padded(2 * BLOCK + parcels[1].phase)
        parcels[0].here = None
        assert moving.arena.used_bytes == moving.staged_bytes


@pytest.mark.parametrize("way", ENGINES)
def test_what_somebody_waits_for_goes_first(way: str, tmp_path: Path) -> None:
    faults = Faults()
    with transfers(tmp_path, way=way, threads=1, faults=faults) as moving:
        parcels = [Parcel(n, "t", BLOCK, 0, Memory(BLOCK, seed=n)) for n in range(20)]
        for parcel in parcels:
            moving.write(parcel)
        moving.drain()
        faults.slow_s = 0.002
        with standing(moving):
            for parcel in parcels:
                moving.read(parcel, now=False)
            moving.read(parcels[-1], now=True)
        moving.arrival(parcels[-1])
        order = wrote(faults.begun, False)
        last = parcels[-1].blocks[0]
        assert last is not None and last[0].offset in order[:3]
        moving.drain()
        assert len(wrote(faults.begun, False)) == 20  # brought forward, not read twice


def lie(memory: Memory, past: int) -> bytes:
    """Let its bytes begin so many after a page does; return a copy."""
    copy, size = memory.bytes.tobytes(), memory.bytes.size
    memory.bytes = aligned_bytes(past + size)[past : past + size]
    memory.bytes[:] = np.frombuffer(copy, np.uint8)
    return copy


@pytest.mark.parametrize("size", [3 * BLOCK, 3 * BLOCK - 4, 2 * BLOCK + SECTOR_BYTES + 516])
@pytest.mark.parametrize("past", [0, 64, 448, 520])
@pytest.mark.parametrize("way", ENGINES)
def test_memory_is_written_from_where_it_lies(
    way: str, past: int, size: int, tmp_path: Path
) -> None:
    with transfers(tmp_path, way=way) as moving:
        if max(moving.files[0].alignment) > EDGE_BYTES:
            pytest.skip("the folder's disk takes whole pages only")
        memory = Memory(size, seed=past)
        wanted = lie(memory, past)
        parcel = Parcel(0, "t", size, 0, memory)
        moving.write(parcel)
        moving.drain()
        copied = size - moving.counts.uncopied_bytes
        assert 0 <= copied < 3 * 2 * EDGE_BYTES  # the edges of each block
        assert parcel.phase == past % EDGE_BYTES
        memory.bytes[:] = 0
        moving.read(parcel, now=True)
        assert moving.arrival(parcel).tobytes() == wanted
        assert moving.counts.written_bytes == parcel.travelled_bytes == moving.counts.read_bytes


@pytest.mark.parametrize("spoilt", ["before", "middle", "after", "padding"])
def test_every_part_of_such_a_block_is_compared(spoilt: str, tmp_path: Path) -> None:
    with transfers(tmp_path) as moving:
        if max(moving.files[0].alignment) > EDGE_BYTES:
            pytest.skip("the folder's disk takes whole pages only")
        memory = Memory(BLOCK)
        lie(memory, 16)
        parcel = Parcel(0, "t", BLOCK, 0, memory)
        moving.write(parcel)
        moving.drain()
        (found,) = parcel.blocks
        assert found is not None
        before, after = edges_of(aligned_bytes(SECTOR_BYTES), found[1])
        assert before.size and after.size
        place = {"before": 2 * EDGE_BYTES, "after": 4 * EDGE_BYTES, "middle": SECTOR_BYTES + 99,
                 "padding": found[1].file_bytes - 1}[spoilt]  # fmt: skip
        file, sector = found[0].file, aligned_bytes(SECTOR_BYTES)
        start = found[0].offset + place // SECTOR_BYTES * SECTOR_BYTES
        os.preadv(file.descriptor, [sector.data], start)
        sector[place % SECTOR_BYTES] ^= 1
        os.pwritev(file.descriptor, [sector.data], start)
        moving.read(parcel, now=True)
        with pytest.raises(DamagedDataError, match="altered data"):
            moving.arrival(parcel)


@pytest.mark.parametrize("density", [0.1, 1.0])
def test_folders_of_which_some_take_whole_pages_only(density: float, tmp_path: Path) -> None:
    """So blocks with edges and copied ones come back to one place, which suits the first kind."""
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    with transfers(*folders, threads=4) as moving:
        moving.files[0].alignment = (SECTOR_BYTES, SECTOR_BYTES)
        size = 64 * BLOCK + 100
        memory = Memory(size, density=density)
        wanted = lie(memory, 64)
        parcel = Parcel(0, "t", size, 4, memory)
        moving.write(parcel)
        moving.drain()
        moving.read(parcel, now=True)
        assert moving.arrival(parcel).tobytes() == wanted
        assert parcel.is_packed == (density < 1)


@pytest.mark.parametrize("way", ENGINES)
def test_an_engine_that_breaks_leaves_nobody_waiting(way: str, tmp_path: Path) -> None:
    faults = Faults(gate=threading.Event())
    with transfers(tmp_path, way=way, threads=1, faults=faults) as moving:
        parcel = Parcel(0, "t", 8 * BLOCK, 0, Memory(8 * BLOCK))
        moving.write(parcel)

        def broken(**_: bool) -> Any:
            raise OSError(5, "the ring is gone")

        moving._channels[0].wait = broken  # type: ignore[method-assign]
        faults.gate.set()
        moving.drain()
        with pytest.raises(OffloadError, match=r"an engine that failed .*the ring is gone"):
            moving.read(parcel, now=True)
        assert parcel.source is not None


def test_time_and_bytes_are_counted(tmp_path: Path) -> None:
    seen = []
    with transfers(
        tmp_path, on_request=lambda file, begin, write, offset, size: seen.append((write, size))
    ) as moving:
        parcel = Parcel(0, "t", 4 * BLOCK, 0, Memory(4 * BLOCK))
        moving.write(parcel)
        moving.drain()
        moving.read(parcel, now=True)
        moving.arrival(parcel)
        moving.drain()
        counts = moving.counts
    assert sorted(seen) == [(False, BLOCK + SECTOR_BYTES)] * 4 + [(True, BLOCK + SECTOR_BYTES)] * 4
    assert counts.written_bytes == counts.read_bytes == 4 * (BLOCK + SECTOR_BYTES)
    assert counts.write_s > 0 and counts.read_s > 0
    assert counts.busy_s == pytest.approx(counts.write_s + counts.read_s)
