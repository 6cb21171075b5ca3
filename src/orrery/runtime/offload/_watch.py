"""Freed memory goes back to the system when a step would pass its limit otherwise, and not before.

Models:  resident memory between two looks, at hooks on the same saved tensor in each step, grows by
         no more than it grew there in the step that was measured. In that step all that is freed
         goes back at each look, so that resident memory is memory in use: what it grew by is what
         was asked for. In planned steps freed pieces are used again, which costs no fresh pages,
         until the limit is so near that the growth up to the next look could pass it.
Ignores: what the operators of a later step take beyond what they took when measured.
Judge:   resident memory of planned steps is below their limit, and they touch fewer fresh pages
         than where all goes back at once (tests/runtime/offload/test_watch.py).
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Hashable
from typing import Protocol

from ..moving import Arena
from ._memory import Meter

#: That may be free and not given back although the limit is near: giving back takes as long for few
#: bytes as for many.
_SLACK_BYTES = 2 << 20
#: The look after a step, until the next one begins.
_BETWEEN = "between"


class Moving(Protocol):
    """Knows of memory that comes and goes whatever the step does: `Transfers`."""

    asked_bytes: int
    left_bytes: int

    @property
    def incoming_bytes(self) -> int: ...


class MemoryWatch:
    """Looks at resident memory, and has freed memory given back.

    Parameters
    ----------
    meter : of the memory that is limited
    arena : whose free pages are given back too
    trim : gives back what the C library keeps; None: nothing can, or shall
    transfers : which know what is being read, whose memory may not be resident yet

    Attributes
    ----------
    peak_bytes : the most memory in this step so far, as of the last look
    trims : how often memory was given back
    away_s : seconds of looks in passes that were measured, which others do not need
    """

    def __init__(
        self, meter: Meter, arena: Arena, trim: Callable[[], object] | None, transfers: Moving
    ) -> None:
        self.meter, self._arena, self._trim, self._transfers = meter, arena, trim, transfers
        self.peak_bytes = self.trims = 0
        self.away_s = self._fresh_s = self._looks_system_s = 0.0
        self._since_s: float | None = None
        self._growth: dict[Hashable, int] = {}
        self._most_growth = self._floor = self._left = 0
        self._open: Hashable | None = None
        #: Memory is no more than this and what was asked for, and so much of it may be free.
        self._at_most, self._freed = 1 << 60, 1 << 60

    def begin(self) -> None:
        """Begin a step."""
        self._close()
        self._at_most = self._freed = 1 << 60  # nobody knows what was before
        self.peak_bytes = 0

    def begin_pass(self, key: Hashable, limit_bytes: int | None, *, measuring: bool) -> None:
        """Begin a pass of a step, and the time up to its first look, which has this key."""
        self._close()
        self._fresh_s, self._since_s = self._fresh(), None
        if measuring:
            self.give_back()
            self._since_s = self._own_s()
        else:
            self.make_room(key, limit_bytes)
        self._open_at(key if measuring else None)

    def end(self, limit_bytes: int | None, *, measured: bool) -> None:
        """End a step: what comes before the next one must find room too."""
        self._close()
        self._fresh_s, self._since_s = self._fresh(), None
        if measured or _BETWEEN not in self._growth or self._trim is None:
            self.give_back()
        else:
            self._freed = 1 << 60
            self.make_room(_BETWEEN, limit_bytes)
        self._open_at(_BETWEEN)

    def look(self, key: Hashable) -> int:
        """While measuring: return the most memory since the last look, and give all back.

        The arena keeps its pages: they are counted by what is on its way.
        """
        begin_s, system_s = time.perf_counter(), _system_s()
        most = self._close()
        self._trim_heap()
        self._open_at(key)
        self.away_s += time.perf_counter() - begin_s
        self._looks_system_s += _system_s() - system_s
        return most

    def aside(self) -> Callable[[], None]:
        """Leave what comes out of peak and growth, until what is returned is called."""
        key = self._open
        self._close()

        def over() -> None:
            self._trim_heap()
            self._open_at(key)

        return over

    def grown_by(self, action: Callable[[], object]) -> tuple[int, bool]:
        """Return the most memory that something takes, and whether no other memory left meanwhile.

        If some left the number may be too high by that. To be called between what `aside` returns
        and its call.
        """
        self._trim_heap()
        self.meter.forget()
        floor, left = self.meter.read(), self._transfers.left_bytes
        action()
        more = self._transfers.left_bytes - left
        return max(0, self.meter.most() - floor) + more, not more

    @property
    def most_growth_bytes(self) -> int:
        """The most memory that was taken between two looks so far."""
        return self._most_growth

    def make_room(
        self, key: Hashable | None, limit_bytes: int | None, freed_bytes: int = 0,
        more_bytes: int = 0,
    ) -> None:  # fmt: skip
        """In a planned step: give back what is free where the next growth could pass the limit.

        Parameters
        ----------
        key : of the look whose growth comes next; None: only `more_bytes` do
        freed_bytes : that may become free, beside what grows, until the next call
        more_bytes : that will be taken beside what was taken when measured
        """
        if self._trim is None or limit_bytes is None:
            return
        limit_bytes -= _SLACK_BYTES
        grows = more_bytes
        if key is not None:
            grows += self._growth.get(key, self._most_growth)
        asked = self._transfers.asked_bytes
        # Memory is looked at only where it could have grown so far.
        room = limit_bytes - asked - grows
        if self._at_most > room:
            self._look_up(asked)
        if self._at_most > room and self._arena.spare_bytes >= _SLACK_BYTES:
            # First what only reading needs: the forward pass uses what it frees at once.
            self._arena.give_pages_back()
            self._look_up(asked)
        if self._at_most > room and self._freed >= _SLACK_BYTES:
            self.give_back()
            self._look_up(asked)
        self._at_most += grows
        self._freed += grows + freed_bytes

    def _look_up(self, asked: int) -> None:
        self._at_most = self.meter.read() + self._transfers.incoming_bytes - asked

    def give_back(self) -> None:
        """Let the system have all whole pages that nobody uses."""
        self._arena.give_pages_back()
        self._trim_heap()

    @property
    def fresh_s(self) -> float:
        """Seconds in passes that were measured that this thread was in the system, looks left out.

        Mostly for fresh pages, which others do not need. The system counts them coarsely: they are
        for whole passes, and no clock.
        """
        return self._fresh()

    def _fresh(self) -> float:
        return self._fresh_s + (0.0 if self._since_s is None else self._own_s() - self._since_s)

    def _own_s(self) -> float:
        return _system_s() - self._looks_system_s

    def _trim_heap(self) -> None:
        self._freed = 0
        if self._trim is not None:
            self._trim()
            self.trims += 1

    def _close(self) -> int:
        most = self.meter.most()
        self.peak_bytes = max(self.peak_bytes, most)
        if self._open is not None:
            # What left meanwhile may have made room for what came; another time it leaves later.
            left = self._transfers.left_bytes - self._left
            grew = max(0, most - self._floor) + left
            self._growth[self._open] = max(grew, self._growth.get(self._open, 0))
            if self._open is not _BETWEEN:
                self._most_growth = max(self._most_growth, grew)
        self._open = None
        return most

    def _open_at(self, key: Hashable | None) -> None:
        self.meter.forget()
        self._open, self._floor = key, self.meter.read()
        self._left = self._transfers.left_bytes


def _system_s() -> float:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_stime
