"""What a step with moved tensors takes, and how much memory at which time.

Models
    One compute resource, one write queue and one read queue, each first in first out. A transfer is
    as long as the profile says while the step computes, and computing loses the profile's share of
    its speed meanwhile (`write_drag`, `read_drag`): processors that move bytes do not compute.
    While the step waits transfers are `waiting_speed` times as fast. Memory is taken when a tensor
    is made, and free again when it is written and its last use has passed. Nobody sees when the
    forward takes memory, only when a tensor is made: it then waits until so little is unwritten
    that the next one finds room beside all that is kept or still in use by then (`waiting_bytes`).
    Before a tensor is to be written, it waits while more than `StepProfile.queue_bytes` would, if
    not for that one alone. The backward begins when the last write has ended. A read begins when
    all reads before it have ended and there was room at the latest need; the backward waits for it,
    and for what is made again, once what that is made from is there, which stays until it is let
    go: if it never left, no sooner than all that is made again from it, one from the other.
Ignores
    Fragmentation; writes of one pass beside reads of the next; spread of any time; that a tensor
    still unwritten when it is needed need not be read.
Judge
    A second replay, event by event, written from these sentences (``tests/mapping/offload``);
    closed forms for equal tensors. The write queue without memory is the published delay recursion
    (Bae et al., FlashNeuron, FAST 2021, and its public scheduler); the barrier and the two queues
    are those of the G10 artefact's model of it (MICRO 2023).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ._problem import DROP, KEEP, PACK, WRITE, Columns

Move = tuple[int, bool, float, float]  #: tensor, whether it is written, begin, end


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What a step takes.

    Attributes
    ----------
    peak_bytes : of saved tensors, in memory at once
    write_end_s : of the last write, from the step's begin
    forward_stall_s, drain_s, backward_stall_s, recompute_s, slowed_s : by which the step is longer:
        waiting, making again, and computing beside transfers
    io_s : reading and writing
    reads : (tensor, tensor at whose need the read begins or -1), in order
    ahead_bytes, ahead_tensors : the most that were read before they were needed
    """

    step_s: float
    peak_bytes: int
    write_end_s: float
    forward_stall_s: float
    drain_s: float
    backward_stall_s: float
    recompute_s: float
    slowed_s: float
    io_s: float
    reads: tuple[tuple[int, int], ...]
    ahead_bytes: int
    ahead_tensors: int

    @property
    def hidden_share(self) -> float | None:
        """Of the time in queues, how much the step did not wait for."""
        if not self.io_s:
            return None
        exposed = self.forward_stall_s + self.drain_s + self.backward_stall_s
        return min(1.0, max(0.0, 1 - exposed / self.io_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """Memory that is not there, however long one waits.

    Attributes
    ----------
    tensor : for which there is no room
    need : bytes that must be in memory at that instant
    phase : ``forward`` or ``backward``
    held : tensors that are kept and in memory at that instant
    """

    tensor: int
    need: int
    phase: str
    held: tuple[int, ...]


def write_delays(
    made_s: Sequence[float], write_s: Sequence[float]
) -> tuple[tuple[float, ...], float]:
    """Return by how much each write begins after its tensor is made, and when the last one ends.

    One queue, first in first out: ``d[0] = 0``, ``d[i] = max(0, made[i-1] + write[i-1] + d[i-1] -
    made[i])``. The end is 0 without writes.
    """
    delays: list[float] = []
    end = 0.0
    for made, write in zip(made_s, write_s, strict=True):
        delays.append(max(0.0, end - made))
        end = made + delays[-1] + write
    return tuple(delays), end


def time_step(
    columns: Columns, choices: Sequence[int], *, ahead_bytes: float = math.inf,
    moves: list[Move] | None = None,
) -> Timing | Shortage:  # fmt: skip
    """Return what a step takes when these tensors are moved.

    Parameters
    ----------
    choices : per tensor, one of its `Columns.allowed`
    ahead_bytes : of tensors that may be read before they are needed; one always may
    moves : is given each transfer: tensor, whether it is a write, begin and end
    """
    line = _Line(columns.write_drag, columns.waiting_speed, [] if moves is None else moves)
    peak = _forward(columns, choices, line)
    if isinstance(peak, Shortage):
        return peak
    stalled = line.waited_s
    line.wait()
    return _backward(columns, choices, ahead_bytes, line, stalled, peak)


def waiting_bytes(columns: Columns, choices: Sequence[int]) -> list[int]:
    """Return how much may wait to be written after each tensor, so that there is room for the next.

    What is still in use then counts as being there, written or not; negative where there is no
    room even if nothing waits.
    """
    kept, busy, before = 0, 0, -1
    left = [0] * len(columns.size)
    for _, kind, n in columns.forward:
        size = columns.size[n]
        if not kind and before >= 0:
            left[before] = columns.room - kept - busy - size
        if choices[n] != KEEP:
            busy += -size if kind else size
        elif not kind:
            kept += size
        before = before if kind else n
    if before >= 0:
        left[before] = columns.room - kept - busy
    return left


class _Line:
    """Transfers one after the other, beside a computation that they slow, or while it waits.

    Attributes
    ----------
    at : seconds of computing so far, with nothing beside it
    shift : by which the clock is ahead of that
    waited_s, slowed_s, again_s : what that consists of
    moved_s : of transfers
    end_s : when the last transfer ended
    ended : called with each tensor that arrives
    """

    __slots__ = ("again_s", "at", "begin", "drag", "end_s", "ended", "line", "moved_s", "moves",
                 "shift", "slowed_s", "speed", "waited_s", "writes")  # fmt: skip

    def __init__(self, drag: float, speed: float, moves: list[Move]) -> None:
        self.drag, self.speed, self.moves, self.writes = drag, speed, moves, True
        self.at = self.shift = self.waited_s = self.slowed_s = self.again_s = 0.0
        self.begin = self.end_s = self.moved_s = 0.0
        self.line: deque[tuple[int, float]] = deque()  # the first one's seconds are what is left
        self.ended: Callable[[int], None] = _nothing

    @property
    def now(self) -> float:
        return self.at + self.shift

    def add(self, tensor: int, seconds: float) -> None:
        if not self.line:
            self.begin = self.now
        self.line.append((tensor, seconds))

    def compute_until(self, at: float) -> None:
        """Compute up to here; transfers that end meanwhile, or now, have ended."""
        while self.line:
            tensor, left = self.line[0]
            done = left * (1.0 - self.drag)  # of the computation until it ends
            if done > at - self.at:
                beside = (at - self.at) / (1.0 - self.drag)
                self.line[0] = tensor, left - beside
                self._slow(beside * self.drag)
                break
            self.at += done
            self._slow(left * self.drag)
            self._end()
        self.at = at

    def compute_again(self, seconds: float) -> None:
        """Compute what is no part of the plain step."""
        at = self.at
        self.compute_until(at + seconds)
        self.at, self.shift = at, self.shift + seconds
        self.again_s += seconds

    def wait(self, enough: Callable[[], bool] | None = None) -> None:
        """Let transfers end, until there is enough or all have ended."""
        while self.line and not (enough is not None and enough()):
            lasts = self.line[0][1] / self.speed
            self.shift += lasts
            self.waited_s += lasts
            self._end()

    def _slow(self, seconds: float) -> None:
        self.shift += seconds
        self.slowed_s += seconds

    def _end(self) -> None:
        tensor, _ = self.line.popleft()
        self.end_s = self.now
        self.moved_s += self.end_s - self.begin
        self.moves.append((tensor, self.writes, self.begin, self.end_s))
        self.begin = self.end_s
        self.ended(tensor)


def _nothing(tensor: int) -> None:
    del tensor


def _forward(columns: Columns, choices: Sequence[int], line: _Line) -> int | Shortage:
    """Compute the forward, with its waits; return the peak."""
    size, room = columns.size, columns.room
    most = waiting_bytes(columns, choices)
    used = peak = queued = 0
    busy = [True] * len(size)  # made, or to be, and not used for the last time
    unwritten = [choice in (WRITE, PACK) for choice in choices]

    def written(n: int) -> None:
        nonlocal used, queued
        unwritten[n] = False
        queued -= size[n]
        used -= 0 if busy[n] else size[n]

    def leaves(most_bytes: int) -> Callable[[], bool]:
        return lambda: queued <= most_bytes

    line.ended = written
    before = -1
    for at, kind, n in columns.forward:
        if line.line:
            line.compute_until(at)
        line.at = at
        if kind:
            busy[n] = False
            if choices[n] != KEEP and not unwritten[n]:
                used -= size[n]
            continue
        used += size[n]
        if used > room or (before >= 0 and most[before] < 0):
            held = tuple(m for m in range(n + 1) if choices[m] == KEEP)
            need = room - most[before] if before >= 0 else used
            return Shortage(tensor=n, need=need, phase="forward", held=held)
        peak, before = max(peak, used), n
        if unwritten[n]:
            if columns.queue is not None and queued > (few := max(0, columns.queue - size[n])):
                line.wait(leaves(few))
            queued += size[n]
            line.add(n, columns.write_s[n][choices[n]])
        if queued > (few := max(0, most[n])):
            line.wait(leaves(few))
    line.compute_until(columns.forward_s)
    return peak


def _backward(
    columns: Columns, choices: Sequence[int], limit: float, line: _Line, stalled: float, peak: int
) -> Timing | Shortage:
    size, room = columns.size, columns.room
    begin, write_end, drain, before = line.now, line.end_s, line.waited_s - stalled, line.waited_s
    events = columns.events(choices)
    coming = [n for _, kind, n in events if not kind and choices[n] != KEEP]
    there = [choice == KEEP for choice in choices]
    reads: list[tuple[int, int]] = []
    taken = used = sum(size[n] for n in range(len(size)) if choices[n] == KEEP)
    ahead = ahead_count = most = most_count = issued = needed = 0

    def arrived(n: int) -> None:
        there[n] = True

    def is_there(n: int) -> Callable[[], bool]:
        return lambda: there[n]

    def issue(after: int) -> None:
        nonlocal taken, used, ahead, ahead_count, most, most_count, issued
        while issued < len(coming):
            n = coming[issued]
            beside = columns.again_bytes[n] if choices[n] == DROP else 0
            if taken + size[n] + beside > room:
                return
            if choices[n] != DROP:
                if n != after:  # what is asked for at its own need is not ahead of it
                    if ahead_count and ahead + size[n] > limit:
                        return
                    ahead, ahead_count = ahead + size[n], ahead_count + 1
                    most, most_count = max(most, ahead), max(most_count, ahead_count)
                line.add(n, columns.read_s[n][choices[n]])
                reads.append((n, after))
                used += size[n]
            taken += size[n] + beside
            issued += 1

    line.ended, line.writes, line.drag = arrived, False, columns.read_drag
    line.at, line.shift = 0.0, begin
    issue(-1)
    peak = max(peak, used)
    for at, kind, n in events:
        if line.line:
            line.compute_until(at)
        line.at = at
        if kind:
            taken -= size[n]
            used -= size[n]
            continue
        if choices[n] in (WRITE, PACK) and needed < issued:
            ahead, ahead_count = ahead - size[n], ahead_count - 1
        if issued < len(coming):
            issue(n)
        if choices[n] != KEEP:
            if needed >= issued:
                held = tuple(sorted(m for until, let_go, m in events
                                    if let_go and choices[m] == KEEP and until >= at))  # fmt: skip
                beside = columns.again_bytes[n] if choices[n] == DROP else 0
                return Shortage(tensor=n, need=taken + size[n] + beside, phase="backward",
                                held=held)  # fmt: skip
            needed += 1
            if choices[n] == DROP:
                used += size[n]
                peak = max(peak, used + columns.again_bytes[n])
                taken -= columns.again_bytes[n]
                line.compute_again(columns.again_s[n])
            elif not there[n]:
                line.wait(is_there(n))
        peak = max(peak, used)
    line.compute_until(columns.backward_s)
    return Timing(
        step_s=line.now, peak_bytes=peak, write_end_s=write_end, forward_stall_s=stalled,
        drain_s=drain, backward_stall_s=line.waited_s - before, recompute_s=line.again_s,
        slowed_s=line.slowed_s, io_s=line.moved_s, reads=tuple(reads), ahead_bytes=most,
        ahead_tensors=most_count,
    )  # fmt: skip
