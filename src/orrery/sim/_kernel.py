"""A small discrete-event kernel: a clock, a heap of actions, and servers with queues.

Models:  time in integer picoseconds; actions at one instant run in the order in which they were
         scheduled; servers that take requests first come, first served.
Ignores: processes and coroutines; a model is plain functions that schedule further functions.
Judge:   closed forms of single-server queues; a sorted list of the same actions.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable

from orrery.errors import SpecError
from orrery.timeline import MOST_PS, PS_PER_S, Span

Action = Callable[[], None]


def to_ps(seconds: float, *, where: str = "simulation: time") -> int:
    """Return seconds as whole picoseconds, rounded to the nearest.

    Raises
    ------
    SpecError : negative, NaN, or beyond the last instant of the clock
    """
    if not 0 <= seconds <= MOST_PS / PS_PER_S:
        raise SpecError(where, found=seconds, wanted="a finite time, zero or more, at most "
                        f"{MOST_PS / PS_PER_S:.3g} s", fix="correct what computes it")  # fmt: skip
    return min(round(seconds * PS_PER_S), MOST_PS)


class Kernel:
    """A clock and what is to happen.

    Attributes
    ----------
    now_ps : the present instant
    events : actions run so far

    >>> kernel, seen = Kernel(), []
    >>> kernel.after(5, lambda: seen.append(kernel.now_ps))
    >>> kernel.run()
    >>> seen
    [5]
    """

    __slots__ = ("_heap", "_sequence", "events", "now_ps")

    def __init__(self) -> None:
        self.now_ps = 0
        self.events = 0
        self._heap: list[tuple[int, int, Action]] = []
        self._sequence = 0

    def at(self, time_ps: int, action: Action) -> None:
        """Schedule an action at an instant, now or later.

        Raises
        ------
        SpecError : the instant is past
        """
        if time_ps < self.now_ps:
            raise SpecError("simulation: event", found=f"{time_ps} ps",
                            wanted=f"{self.now_ps} ps or later", fix="correct it")  # fmt: skip
        heapq.heappush(self._heap, (time_ps, self._sequence, action))
        self._sequence += 1

    def after(self, delay_ps: int, action: Action) -> None:
        """Schedule an action after a delay of zero or more picoseconds."""
        self.at(self.now_ps + delay_ps, action)

    def run(self, *, until_ps: int | None = None) -> None:
        """Run until nothing is left, or through the instant `until_ps`; the clock stays there."""
        heap = self._heap
        while heap and (until_ps is None or heap[0][0] <= until_ps):
            self.now_ps, _, action = heapq.heappop(heap)
            self.events += 1
            action()
        if until_ps is not None:
            self.now_ps = max(self.now_ps, until_ps)

    @property
    def waiting(self) -> int:
        """Number of actions that are scheduled and have not run."""
        return len(self._heap)


class Server:
    """Something that serves up to `capacity` requests at once, first come, first served.

    `spans` records every service, ready for a `Timeline`.
    """

    __slots__ = ("_busy", "_kernel", "_queue", "capacity", "name", "spans")

    def __init__(self, kernel: Kernel, name: str, *, capacity: int = 1) -> None:
        if capacity < 1:
            raise SpecError(f"server {name!r}: capacity", found=capacity, wanted="one or more",
                            fix="correct it")  # fmt: skip
        self.name = name
        self.capacity = capacity
        self.spans: list[Span] = []
        self._kernel = kernel
        self._busy = 0
        self._queue: deque[tuple[int, str, str, Action | None]] = deque()

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    def request(
        self, duration_ps: int, *, name: str, kind: str = "service", done: Action | None = None
    ) -> None:
        """Ask for a service of some length; `done` runs when it ends."""
        if duration_ps < 0:
            raise SpecError(f"server {self.name!r}: request {name!r}", found=f"{duration_ps} ps",
                            wanted="zero or more", fix="correct the duration")  # fmt: skip
        self._queue.append((duration_ps, name, kind, done))
        self._serve()

    def _serve(self) -> None:
        while self._queue and self._busy < self.capacity:
            duration_ps, name, kind, done = self._queue.popleft()
            self._busy += 1
            start = self._kernel.now_ps
            self.spans.append(
                Span(resource=self.name, name=name, kind=kind, start_ps=start,
                     end_ps=start + duration_ps)
            )  # fmt: skip
            self._kernel.after(duration_ps, lambda done=done: self._finish(done))  # type: ignore[misc]  # the default binds `done` now

    def _finish(self, done: Action | None) -> None:
        self._busy -= 1
        if done is not None:
            done()
        self._serve()
