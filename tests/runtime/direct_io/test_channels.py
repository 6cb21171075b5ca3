"""Requests through either engine against plain calls; what the system may answer in between."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from orrery.errors import SpecError
from orrery.runtime.direct_io import (
    SECTOR_BYTES,
    Bytes,
    CallChannel,
    Channel,
    Request,
    RingChannel,
    _engines,
    _rings,
    open_engine,
    why_no_ring,
)
from orrery.runtime.moving._arena import aligned_bytes

DEPTH = 4
needs_ring = pytest.mark.skipif(why_no_ring() is not None, reason=f"no ring: {why_no_ring()}")


@pytest.fixture(params=[pytest.param("ring", marks=needs_ring), "calls"])
def channel(request: pytest.FixtureRequest) -> Iterator[Channel]:
    made: Channel = RingChannel(DEPTH) if request.param == "ring" else CallChannel()
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def noise(sectors: int, seed: int = 0) -> Bytes:
    found = aligned_bytes(sectors * SECTOR_BYTES)
    found[:] = np.random.default_rng(seed).integers(0, 256, found.size, dtype=np.uint8)
    return found


def done(channel: Channel, *requests: Request) -> None:
    """Make requests, as many at once as the channel takes, and wait for all."""
    todo, under_way = list(requests), 0
    while todo or under_way:
        while todo and under_way < channel.depth:
            channel.begin(todo.pop(0))
            under_way += 1
        under_way -= len(channel.wait(block=True))


def test_what_is_written_is_in_the_file_and_comes_back(channel: Channel, file: int) -> None:
    """Four times round the rings, whole and in two parts, some through registered buffers."""
    staging = [aligned_bytes(3 * SECTOR_BYTES) for _ in range(channel.depth)]
    channel.stage(staging)
    wanted = [noise(3, seed) for seed in range(20)]
    for number, data in enumerate(wanted):
        slot = number % channel.depth
        staging[slot][:] = data
        parts = [data[:SECTOR_BYTES], data[SECTOR_BYTES:]] if number % 3 else [staging[slot]]
        done(channel, Request(file, True, number * data.size, parts,
                              staged=None if number % 3 else slot))  # fmt: skip
    assert os.pread(file, 1 << 20, 0) == b"".join(data.tobytes() for data in wanted)
    back = [aligned_bytes(data.size) for data in wanted]
    requests = [
        Request(file, False, number * data.size, [data[:4096], data[4096:]], tag=number)
        for number, data in enumerate(back)
    ]
    random.Random(0).shuffle(requests)
    done(channel, *requests)
    for before, after in zip(wanted, back, strict=True):
        assert (before == after).all()
    assert all(request.moved == request.size and not request.error for request in requests)


def test_the_end_of_a_file_is_short_and_a_bad_descriptor_an_error(
    channel: Channel, file: int
) -> None:
    os.pwrite(file, noise(1).tobytes() + b"more", 0)
    short = Request(file, False, 0, [aligned_bytes(3 * SECTOR_BYTES)])
    past = Request(file, False, 1 << 30, [aligned_bytes(SECTOR_BYTES)])
    read_only = os.open(f"/proc/self/fd/{file}", os.O_RDONLY)
    refused = Request(read_only, True, 0, [noise(1)])
    done(channel, short, past, refused)
    os.close(read_only)
    assert (short.moved, short.error, past.moved, past.error) == (SECTOR_BYTES, None, 0, None)
    assert refused.error is not None and refused.error.errno == errno.EBADF


def test_answers_of_any_length_end_up_whole() -> None:
    """The rule after each answer, against a file that serves any part of what it is asked for."""
    for seed in range(30):
        draw = random.Random(seed)
        data = noise(9, seed)
        back = [aligned_bytes(SECTOR_BYTES), aligned_bytes(8 * SECTOR_BYTES)]
        request = Request(0, False, 0, back)
        while True:
            assert sum(part.nbytes for part in request.left()) == request.size - request.moved
            served, at = draw.randint(-2, data.size // 2), request.moved
            answer = {-1: -errno.EINTR, -2: -errno.EAGAIN, 0: SECTOR_BYTES}.get(served, served)
            answer = min(answer, request.size - at)
            place = 0
            for part in request.left():
                size = min(part.nbytes, max(0, answer - place))
                part[:size] = data[at + place : at + place + size]
                place += size
            if 0 < answer < SECTOR_BYTES:
                continue  # less than a sector is no progress: at the end of a file only
            if request.take(answer):
                break
        assert request.error is None and (np.concatenate(back) == data).all()
    stuck = Request(0, True, 0, [noise(1)])
    assert stuck.take(0) and stuck.error is not None and stuck.error.errno == errno.EIO
    busy = Request(0, True, 0, [noise(1)])
    while not busy.take(-errno.EAGAIN):
        pass
    assert busy.error is not None and busy.error.errno == errno.EAGAIN


def test_a_sleep_ends_when_somebody_wakes(channel: Channel) -> None:
    assert channel.wait(block=False) == []
    channel.wake()
    assert channel.wait(block=True) == []  # woken before it slept
    later = threading.Timer(0.02, channel.wake)
    later.start()
    assert channel.wait(block=True) == []
    later.join()


@needs_ring
def test_a_ring_takes_no_more_than_it_has_room_for(file: int) -> None:
    channel = RingChannel(2)
    requests = [Request(file, True, n * SECTOR_BYTES, [noise(1)]) for n in range(3)]
    channel.begin(requests[0])
    channel.begin(requests[1])
    with pytest.raises(RuntimeError, match="over 2 requests"):
        channel.begin(requests[2])
    ended: list[Request] = []
    while len(ended) < 2:
        ended += channel.wait(block=True)
    assert channel._ring.overflowed == 0
    channel.close()


@needs_ring
def test_buffers_that_may_not_be_registered_are_said_and_used_all_the_same(
    file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(_rings.Ring, "register", refused)
    channel, data = RingChannel(DEPTH), noise(1)
    assert channel.stage([data]) == (
        "buffers are not registered with the system (Cannot allocate memory)"
    )
    done(channel, Request(file, True, 0, [data], staged=0))
    assert os.pread(file, SECTOR_BYTES, 0) == data.tobytes()
    channel.close()


def test_an_engine_is_the_one_asked_for_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_engine("threads", 3).label == "3 threads, pwritev and preadv"
    assert isinstance(open_engine("threads", 1).make(), CallChannel)
    monkeypatch.setattr(_engines, "why_no_ring", lambda: None)
    for name in (None, "io_uring"):
        found = open_engine(name, 3)  # type: ignore[arg-type]
        assert found.label == "io_uring, 6 requests at once" and found.remark is None
        channel = found.make()
        assert isinstance(channel, RingChannel) and channel.depth == 6
        channel.close()
    monkeypatch.setattr(_engines, "why_no_ring", lambda: "Function not implemented")
    with pytest.raises(SpecError, match="no io_uring here: Function not implemented"):
        open_engine("io_uring", 3)
    found = open_engine(None, 3)
    assert found.name == "threads" and "Function not implemented" in str(found.remark)
    with pytest.raises(SpecError, match="'io_uring', 'threads' or None"):
        open_engine("libaio", 3)  # type: ignore[arg-type]


@needs_ring
def test_other_machines_get_no_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert why_no_ring() == "not on linux, aarch64"
