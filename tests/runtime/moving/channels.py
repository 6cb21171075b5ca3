"""Channels that fail, dawdle or answer out of order as told, around real ones."""

from __future__ import annotations

import errno
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from orrery.runtime.direct_io import Channel, Engine, Request, open_engine, why_no_ring

ENGINES = ("io_uring", "threads")


@dataclass
class Faults:
    """What goes wrong, for all channels of an engine."""

    fails: str = ""  # of reads: error, short, altered, header, elsewhere
    after: int = 0  # reads that go well before one does not
    draw: random.Random | None = None  # answers come late and out of order
    slow_s: float = 0.0  # for each request
    gate: threading.Event | None = None  # nothing begins before it is set
    slot_bytes: int = 0
    begun: list[tuple[bool, int]] = field(default_factory=list)
    stopped: bool = False


class FaultyChannel:
    def __init__(self, inner: Channel, faults: Faults) -> None:
        self.inner, self.faults, self.depth = inner, faults, inner.depth
        self.wake, self.close, self.stage = inner.wake, inner.close, inner.stage
        self.held: list[Request] = []

    def begin(self, request: Request) -> None:
        faults = self.faults
        if faults.gate is not None:
            faults.gate.wait()
        if faults.slow_s:
            time.sleep(faults.slow_s)
        faults.begun.append((request.write, request.offset))
        faults.after -= not request.write
        if not request.write and faults.fails == "elsewhere" and faults.after < 0:
            request.offset += faults.slot_bytes * (-1 if request.offset else 1)
        self.inner.begin(request)

    def wait(self, *, block: bool) -> list[Request]:
        ended = self.inner.wait(block=block and not self.held)
        for request in ended:
            if not request.write and self.faults.after < 0:
                self._spoil(request)
        if (draw := self.faults.draw) is None:
            return ended
        self.held += ended
        time.sleep(draw.random() * 5e-4)
        draw.shuffle(self.held)
        some = draw.randint(1 if block else 0, max(1, len(self.held)))
        ended, self.held = self.held[:some], self.held[some:]
        return ended

    def _spoil(self, request: Request) -> None:
        if self.faults.fails == "error":
            request.error = OSError(errno.EIO, "an error of a test")
        if self.faults.fails == "short":
            request.moved -= 512
        if self.faults.fails in ("altered", "header"):
            last = request.buffers[-1]
            # One buffer holds the header and then the bytes, two hold one each.
            place = 7 + (4096 if len(request.buffers) == 1 else 0)
            if self.faults.fails == "altered":
                last[place] ^= 1
            else:
                request.buffers[0][9] ^= 1


def engine(name: str, threads: int, faults: Faults | None = None) -> Engine:
    """Return an engine by name with channels that are faulty as told."""
    if name == "io_uring" and (why := why_no_ring()):
        pytest.skip(f"no io_uring here: {why}")
    made = open_engine(name, threads)  # type: ignore[arg-type]
    if faults is None:
        return made
    make: Callable[[], Any] = made.make
    return replace(made, make=lambda: FaultyChannel(make(), faults))


def wrote(begun: Sequence[tuple[bool, int]], write: bool) -> list[int]:
    """Return the offsets of the requests that went one way."""
    return [offset for way, offset in begun if way is write]
