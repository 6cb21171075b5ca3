"""A step with moved tensors, event by event: the second witness of the planner's times.

Written from the sentences at the head of `_timing`, not from its code: one who computes and waits,
one transfer at a time, both as fast as the other lets them, one clock, one counter of bytes. In
the backward it does what it is told (`reads`) and counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from orrery.offload_plan import StepProfile

Until = Callable[[], bool]


class DeadlockError(Exception):
    """Nothing will ever happen again and the computation is not done."""


@dataclass
class Seen:
    step_s: float = 0.0
    peak: int = 0
    written_s: float = 0.0
    begin_s: float = 0.0  # of the backward


@dataclass
class World:
    profile: StepProfile
    actions: Sequence[str]  # keep, write, pack, drop
    reads: Sequence[tuple[int, int]]  # tensor, after the need of which (-1: at the begin)
    waiting: Sequence[int] | None = None  # what may wait after each tensor, memory unseen
    now: float = 0.0
    used: int = 0
    seen: Seen = field(default_factory=Seen)
    seen_needs: set[int] = field(default_factory=set)
    drag: float = 0.0
    moving: tuple[float, Callable[[], None]] | None = None  # seconds beside computing, what then

    def run(self) -> Seen:
        work = self.compute()
        blocked: Until | None = None
        resting = 0.0  # seconds of computing until the next wish
        self.drag = self.profile.write_drag
        while True:
            while not resting and (blocked is None or blocked()):
                blocked = None
                wish = next(work, None)
                if wish is None:
                    self.seen.step_s = self.now
                    return self.seen
                if callable(wish):
                    blocked = wish
                else:
                    resting = wish
            resting = self.pass_time(resting)

    def pass_time(self, resting: float) -> float:
        """Go to the next end of computing or of a transfer; return what is left to compute."""
        if not resting:
            if self.moving is None:
                raise DeadlockError
            self.now += self.moving[0] / self.profile.waiting_speed
            self.move_beside(self.moving[0])
            return 0.0
        if self.moving is None:
            self.now += resting
            return 0.0
        pace = 1.0 - self.drag
        seconds = min(resting / pace, self.moving[0])
        ends = resting / pace <= self.moving[0]
        self.now += seconds
        self.move_beside(seconds)
        return 0.0 if ends else resting - seconds * pace

    def move_beside(self, seconds: float) -> None:
        """Move for so many seconds; what has arrived then is there at once."""
        if self.moving is None:
            return
        left, do = self.moving
        self.moving = left - seconds, do
        while self.moving is not None and self.moving[0] <= 0:
            do, self.moving = self.moving[1], None
            do()

    def compute(self) -> Iterator[float | Until]:
        yield from self.forward()
        yield lambda: not self.to_write
        self.seen.begin_s = self.now
        self.drag = self.profile.read_drag
        yield from self.backward()

    def forward(self) -> Iterator[float | Until]:
        tensors = self.profile.tensors
        self.to_write: list[int] = []
        self.in_use: set[int] = set()
        at = 0.0
        for moment in sorted({t.made_s for t in tensors} | {t.last_use_s for t in tensors}):
            yield moment - at
            at = moment
            for n, t in enumerate(tensors):
                if t.made_s == moment:
                    size = t.size_bytes
                    if n == 0 and self.waiting is None:
                        yield lambda size=size: size <= self.profile.room_bytes
                    self.take(size)
                    self.in_use.add(n)
                    if self.actions[n] in ("write", "pack"):
                        yield lambda size=size: self.few_wait(size)
                        self.to_write.append(n)
                        if len(self.to_write) == 1:
                            self.write_next()
                    most = self.room_for_next(n) if self.waiting is None else self.waiting[n]
                    yield lambda most=most: self.unwritten() <= most
            for n, t in enumerate(tensors):
                if t.last_use_s == moment:
                    self.in_use.discard(n)
                    gone = self.actions[n] in ("write", "pack") and n not in self.to_write
                    if gone or self.actions[n] == "drop":
                        self.used -= t.size_bytes
        yield self.profile.forward_s - at

    def room_for_next(self, n: int) -> int:
        """Bytes that may be unwritten: the rest is kept, in use when the next is made, or that."""
        tensors = self.profile.tensors
        after = tensors[n + 1] if n + 1 < len(tensors) else None
        held = 0 if after is None else after.size_bytes
        for t, action in zip(tensors[: n + 1], self.actions):
            in_use = after is not None and t.last_use_s >= after.made_s
            held += t.size_bytes if action == "keep" or in_use else 0
        return self.profile.room_bytes - held

    def few_wait(self, size: int) -> bool:
        most, waiting = self.profile.queue_bytes, self.unwritten()
        return most is None or not waiting or waiting + size <= most

    def unwritten(self) -> int:
        return sum(self.profile.tensors[n].size_bytes for n in self.to_write)

    def write_next(self) -> None:
        n = self.to_write[0]
        t = self.profile.tensors[n]

        def done() -> None:
            self.to_write.pop(0)
            self.seen.written_s = self.now
            if n not in self.in_use:
                self.used -= t.size_bytes
            if self.to_write:
                self.write_next()

        self.moving = self.profile.write_s(t, packed=self.actions[n] == "pack"), done

    def backward(self) -> Iterator[float | Until]:
        tensors = self.profile.tensors
        self.to_read: list[int] = []
        self.there = {n for n in range(len(tensors)) if self.actions[n] == "keep"}
        self.issue(-1)
        at = 0.0
        for moment in sorted({t.needed_s for t in tensors} | {t.let_go_s for t in tensors}):
            yield moment - at
            at = moment
            for n in reversed(range(len(tensors))):
                if tensors[n].needed_s == moment:
                    yield from self.need(n)
            for n, t in enumerate(tensors):
                if self.let_go_s(n) == moment:
                    self.used -= t.size_bytes
        yield self.profile.backward_s - at

    def let_go_s(self, n: int) -> float:
        """When the memory of a tensor is free; of one that is kept when nobody may ask for it."""
        tensor = self.profile.tensors[n]
        return self.asked_until(n) if self.actions[n] == "keep" else tensor.let_go_s

    def asked_until(self, n: int) -> float:
        tensors = self.profile.tensors
        made = (self.asked_until(m) for m, t in enumerate(tensors)
                if self.actions[m] == "drop" and tensors[n].name in t.recompute_needs)  # fmt: skip
        return max([tensors[n].let_go_s, *made])

    def need(self, n: int) -> Iterator[float | Until]:
        if n in self.seen_needs:
            return
        self.seen_needs.add(n)
        tensor = self.profile.tensors[n]
        if self.actions[n] == "drop":
            names = [t.name for t in self.profile.tensors]
            for m in sorted(map(names.index, tensor.recompute_needs), reverse=True):
                if self.actions[m] != "keep":
                    yield from self.need(m)
        self.issue(n)
        if self.actions[n] == "drop":
            self.take(tensor.size_bytes + tensor.recompute_bytes)
            yield tensor.recompute_s or 0.0
            self.used -= tensor.recompute_bytes
        else:
            yield lambda: n in self.there

    def issue(self, after: int) -> None:
        for n, trigger in self.reads:
            if trigger == after:
                self.take(self.profile.tensors[n].size_bytes)
                self.to_read.append(n)
                if len(self.to_read) == 1:
                    self.read_next()

    def read_next(self) -> None:
        n = self.to_read[0]

        def done() -> None:
            self.there.add(self.to_read.pop(0))
            if self.to_read:
                self.read_next()

        packed = self.actions[n] == "pack"
        self.moving = self.profile.read_s(self.profile.tensors[n], packed=packed), done

    def take(self, size: int) -> None:
        self.used += size
        self.seen.peak = max(self.seen.peak, self.used)


def watch(
    profile: StepProfile, actions: Sequence[str], reads: Sequence[tuple[int, int]],
    waiting: Sequence[int] | None = None,
) -> Seen:  # fmt: skip
    """Return what happens; a deadlock is raised.

    With `waiting` the forward does not look at memory and waits only as that says.
    """
    return World(profile=profile, actions=actions, reads=reads, waiting=waiting).run()
