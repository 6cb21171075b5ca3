"""What a step with moved tensors takes, and how much memory at which time.

Models
    One compute resource, one write queue and one read queue, each first in first out, each transfer
    as long as the profile says. Memory is taken when a tensor is made, and free again when it is
    written and its last use has passed. Nobody sees when the forward takes memory, only when a
    tensor is made: it then waits until so little is unwritten that the next one finds room beside
    all that is kept or still in use by then (`waiting_bytes`). Before a tensor is to be written, it
    waits while more than `StepProfile.queue_bytes` would, if not for that one alone. The backward
    begins when the last write has ended. A read begins when all reads before it have ended and
    there was room at the latest need; the backward waits for it, and for what is made again, once
    what that is made from is there, which stays until it is let go.
Ignores
    Fragmentation; reads and writes that slow each other or the computation; spread of any time;
    that a tensor still unwritten when it is needed need not be read.
Judge
    A second replay, event by event, written from these sentences (``tests/mapping/offload``);
    closed forms for equal tensors. The write queue without memory is the published delay recursion
    (Bae et al., FlashNeuron, FAST 2021, and its public scheduler); the barrier and the two queues
    are those of the G10 artefact's model of it (MICRO 2023).
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ._problem import DROP, KEEP, PACK, WRITE, Columns

__all__ = ["Move", "Shortage", "Timing", "time_step", "waiting_bytes", "write_delays"]

Move = tuple[int, bool, float, float]  #: tensor, whether it is written, begin, end


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What a step takes.

    Attributes
    ----------
    peak_bytes : of saved tensors, in memory at once
    write_end_s : of the last write, from the step's begin
    forward_stall_s, drain_s, backward_stall_s, recompute_s : by which the step is longer
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
    moves = [] if moves is None else moves
    forward = _forward(columns, choices, moves)
    if isinstance(forward, Shortage):
        return forward
    stall, write_end, peak = forward
    ended = columns.forward_s + stall
    drain = max(0.0, write_end - ended)
    return _backward(
        columns, choices, ahead_bytes, ended + drain, stall, drain, write_end, peak, moves
    )


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


def _forward(
    columns: Columns, choices: Sequence[int], moves: list[Move]
) -> tuple[float, float, int] | Shortage:
    """Return for how long the forward waits, when the last write ends, and the peak."""
    size, room = columns.size, columns.room
    most = waiting_bytes(columns, choices)
    used = peak = 0
    stall = queue = 0.0
    ends = [0.0] * len(size)
    leaving: list[tuple[float, int]] = []  # used for the last time; free at, bytes
    waiting: deque[int] = deque()  # made and perhaps not yet written
    queued = 0

    def wait(now: float, most_bytes: int) -> float:
        """Let writes end until no more wait; return when that is."""
        nonlocal queued
        while waiting and (ends[waiting[0]] <= now or queued > most_bytes):
            written = waiting.popleft()
            queued -= size[written]
            now = max(now, ends[written])
        return now

    before = -1
    for at, kind, n in columns.forward:
        now = at + stall
        if kind:
            if choices[n] == DROP:
                used -= size[n]
            elif choices[n] != KEEP:
                heapq.heappush(leaving, (max(ends[n], now), size[n]))
            continue
        while leaving and leaving[0][0] <= now:
            used -= heapq.heappop(leaving)[1]
        used += size[n]
        if used > room or (before >= 0 and most[before] < 0):
            held = tuple(m for m in range(n + 1) if choices[m] == KEEP)
            need = room - most[before] if before >= 0 else used
            return Shortage(tensor=n, need=need, phase="forward", held=held)
        peak, before = max(peak, used), n
        if choices[n] in (WRITE, PACK):
            if columns.queue is not None:
                now = wait(now, max(0, columns.queue - size[n]))
            waiting.append(n)
            queued += size[n]
            begin = max(queue, now)
            queue = ends[n] = begin + columns.write_s[n][choices[n]]
            moves.append((n, True, begin, queue))
        now = wait(now, max(0, most[n]))
        stall = now - at
    return stall, queue, peak


def _backward(
    columns: Columns, choices: Sequence[int], limit: float,
    begin: float, stall: float, drain: float, write_end: float, peak: int, moves: list[Move],
) -> Timing | Shortage:  # fmt: skip
    size, room = columns.size, columns.room
    events = columns.events(choices)
    coming = [n for _, kind, n in events if not kind and choices[n] != KEEP]
    ready = [0.0] * len(size)
    reads: list[tuple[int, int]] = []
    taken = used = sum(size[n] for n in range(len(size)) if choices[n] == KEEP)
    ahead = ahead_count = most = most_count = issued = needed = 0
    queue, shift = begin, begin
    waited = again = 0.0

    def issue(now: float, after: int) -> None:
        nonlocal taken, used, ahead, ahead_count, most, most_count, issued, queue
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
                start = max(queue, now)
                queue = ready[n] = start + columns.read_s[n][choices[n]]
                moves.append((n, False, start, queue))
                reads.append((n, after))
                used += size[n]
            taken += size[n] + beside
            issued += 1

    issue(begin, -1)
    peak = max(peak, used)
    for at, kind, n in events:
        if kind:
            taken -= size[n]
            used -= size[n]
            continue
        now = at + shift
        if choices[n] in (WRITE, PACK) and needed < issued:
            ahead, ahead_count = ahead - size[n], ahead_count - 1
        issue(now, n)
        if choices[n] != KEEP:
            if needed >= issued:
                held = tuple(m for m in range(len(size))
                             if choices[m] == KEEP and columns.gone_s[m] >= at)  # fmt: skip
                beside = columns.again_bytes[n] if choices[n] == DROP else 0
                return Shortage(tensor=n, need=taken + size[n] + beside, phase="backward",
                                held=held)  # fmt: skip
            needed += 1
            if choices[n] == DROP:
                used += size[n]
                peak = max(peak, used + columns.again_bytes[n])
                taken -= columns.again_bytes[n]
                shift += columns.again_s[n]
                again += columns.again_s[n]
            elif ready[n] > now:
                waited += ready[n] - now
                shift += ready[n] - now
        peak = max(peak, used)
    io = sum(w[c] + r[c] for w, r, c in zip(columns.write_s, columns.read_s, choices))
    return Timing(
        step_s=columns.backward_s + shift, peak_bytes=peak, write_end_s=write_end,
        forward_stall_s=stall, drain_s=drain, backward_stall_s=waited, recompute_s=again, io_s=io,
        reads=tuple(reads), ahead_bytes=most, ahead_tensors=most_count,
    )  # fmt: skip
