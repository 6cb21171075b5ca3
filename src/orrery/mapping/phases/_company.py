"""Subgraphs that slow each other down while they run side by side, event by event.

Models:  a task goes on at its own rate while it is alone in its group, and so many times slower
         while another one of the group runs, from moment to moment.
Ignores: how many others run, and which.
Judge:   small steps of time, one after the other (tests/mapping/phases/test_company.py).
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tasks:
    """Subgraphs, and transfers between them, that wait for each other.

    Attributes
    ----------
    seconds : of each, alone
    slower : how many times as long each takes in company
    group : each slows down, and is slowed down by, those of its own; -1: by nobody
    earliest : no task begins before; as it is run, when what it waits for has come
    because : per task, which it waited for last; -1: for none of them
    waits : how many tasks each waits for
    after : per task, which wait for it, and for how many seconds longer
    """

    seconds: list[float] = field(default_factory=list)
    slower: list[float] = field(default_factory=list)
    group: list[int] = field(default_factory=list)
    earliest: list[float] = field(default_factory=list)
    because: list[int] = field(default_factory=list)
    waits: list[int] = field(default_factory=list)
    after: list[list[tuple[int, float]]] = field(default_factory=list)

    def add(self, seconds: float, slower: float, group: int) -> int:
        """Add a task and return its number."""
        self.seconds.append(seconds)
        self.slower.append(slower)
        self.group.append(group)
        self.earliest.append(0.0)
        self.because.append(-1)
        self.waits.append(0)
        self.after.append([])
        return len(self.seconds) - 1

    def follow(self, first: int, then: int, delay: float = 0.0) -> None:
        """Have a task begin so many seconds after another one, at the earliest."""
        self.after[first].append((then, delay))
        self.waits[then] += 1

    def run(self) -> tuple[list[float], list[float]]:
        """Return when each begins and ends."""
        count, earliest = len(self.seconds), self.earliest
        begin, end, left = [0.0] * count, [0.0] * count, list(self.seconds)
        ready = [(earliest[k], k) for k in range(count) if self.waits[k] == 0]
        heapq.heapify(ready)
        running: list[int] = []
        now = ready[0][0] if ready else 0.0
        while ready or running:
            crowd: dict[int, int] = {}
            for k in running:
                crowd[self.group[k]] = crowd.get(self.group[k], 0) + 1
            rates = [
                self.slower[k] if self.group[k] >= 0 and crowd[self.group[k]] > 1 else 1.0
                for k in running
            ]
            then, ended = math.inf, -1
            for k, rate in zip(running, rates):
                if ended < 0 or now + left[k] * rate < then:
                    then, ended = now + left[k] * rate, k
            begins = bool(ready) and ready[0][0] <= then
            if begins:
                then = max(now, ready[0][0])
            for k, rate in zip(running, rates):
                left[k] = max(0.0, left[k] - (then - now) / rate)
            now = then
            if begins:
                begin[ready[0][1]] = now
                running.append(heapq.heappop(ready)[1])
                continue
            running.remove(ended)
            end[ended] = now
            for k, delay in self.after[ended]:
                if now + delay > earliest[k] or self.because[k] < 0 <= now + delay - earliest[k]:
                    earliest[k], self.because[k] = now + delay, ended
                self.waits[k] -= 1
                if self.waits[k] == 0:
                    heapq.heappush(ready, (earliest[k], k))
        return begin, end
