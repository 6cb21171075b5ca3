"""One tensor's way through a plan: made, summed, sent, read; every step of it checked.

Models:  what is used must be complete where it is used when it is used. At one instant, what has
         just ended is there for what begins; what begins and ends at one instant is taken in the
         order in which the certificate lists it.
Ignores: values.
Judge:   corruptions of valid certificates, each refused for its reason (tests).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.certificate import Box, Computation, Delivery, Resident

from ._cells import NEVER, Cells, Held
from ._report import Violations


@dataclass(slots=True, kw_only=True)
class Story:
    """Everything a certificate says of one tensor.

    Attributes
    ----------
    sizes : of the tensor
    made : whether a region of the plan has to make it
    free : whether it is everywhere at no cost once it is made (a scalar of a split plan)
    given : ends where the whole of it lies at the start (a network input's host)
    stays : whether residents of it are there for good (constants, states)
    loops : summed loops of the operator that makes it
    """

    name: str
    sizes: tuple[int, ...]
    made: bool = False
    free: bool = False
    given: tuple[str, ...] = ()
    stays: bool = True
    loops: Mapping[str, int] = field(default_factory=dict)
    reads: list[tuple[Computation, Box]] = field(default_factory=list)
    writes: list[tuple[Computation, Box]] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    residents: list[Resident] = field(default_factory=list)


class Track:
    """A tensor's story, followed from its first event to its last.

    Parameters
    ----------
    ends : devices and all other ends
    found : where violations are noted
    """

    def __init__(
        self, story: Story, ends: Sequence[str], found: Violations, wanted: Sequence[Box] = ()
    ) -> None:
        self.story, self.found, self._ends = story, found, ends
        boxes = [box for _, box in (*story.reads, *story.writes)]
        boxes += [d.box for d in story.deliveries] + [r.box for r in story.residents]
        self.cells = Cells(story.sizes, [*boxes, *wanted])
        self._sums = any(c.partial for c, _ in story.writes)
        self.held: dict[str, Held] = {}
        self._full: NDArray[Any] = np.zeros(self.cells.shape, object)
        self._bit = {id(c): 1 << i for i, (c, _) in enumerate(story.writes) if c.partial}
        self._begin()
        self._check_cover()
        self._play()

    def at(self, end: str) -> Held:
        """Return what an end has."""
        if end not in self.held:
            self.held[end] = Held(self.cells, sums=self._sums)
        return self.held[end]

    def has(self, end: str, box: Box) -> bool:
        """Whether an end has a part, complete, at the end of everything."""
        return end in self.held and bool((self.held[end].ready[self.cells.index(box)]
                                          < NEVER).all())  # fmt: skip

    def _begin(self) -> None:
        story = self.story
        whole = tuple((0, size) for size in story.sizes)
        for end in story.given:
            self.at(end).given(self.cells.index(whole), kept=False)
        for resident in story.residents:
            self.at(resident.device).given(self.cells.index(resident.box), kept=story.stays)

    # -- what is made -----------------------------------------------------------------------------

    def _check_cover(self) -> None:
        """Every element is computed, on no device twice, and of every sum each addend once."""
        story, cells = self.story, self.cells
        if not story.made:
            return
        made = np.zeros(cells.shape, bool)
        by_device: dict[str, NDArray[np.int64]] = {}
        for c, box in story.writes:
            index = cells.index(box)
            if c.partial:
                self._full[index] |= self._bit[id(c)]
            else:
                made[index] = True
                mine = by_device.setdefault(c.device, np.zeros(cells.shape, np.int64))
                mine[index] += 1
        for device, counts in by_device.items():
            if (counts > 1).any():
                twice = _elements(cells, counts > 1)
                self.found.add("coverage", f"{story.name!r} on {device!r}",
                               f"{twice} elements computed twice", "once")  # fmt: skip
        summed = self._full.astype(bool)
        missing = ~made & ~summed
        if missing.any():
            self.found.add("coverage", f"{story.name!r}",
                           f"{_elements(cells, missing)} elements that nobody computes",
                           "every element")  # fmt: skip
        if (made & summed).any():
            self.found.add("addends", f"{story.name!r}", "elements computed whole and in parts",
                           "one or the other")  # fmt: skip
        if self._sums:
            parts = {self._bit[id(c)]: c for c, _ in story.writes if c.partial}
            for mask in set(self._full.ravel().tolist()) - {0}:
                self._check_addends([c for bit, c in parts.items() if mask & bit])

    def _check_addends(self, parts: Sequence[Computation]) -> None:
        loops = self.story.loops
        spans = np.empty((len(parts), len(loops), 2), np.int64)
        for row, c in enumerate(parts):
            mine = {name: (a, b) for name, a, b in c.partial}
            for column, (name, extent) in enumerate(loops.items()):
                spans[row, column] = mine.get(name, (0, extent))
        low = np.maximum(spans[:, None, :, 0], spans[None, :, :, 0])
        high = np.minimum(spans[:, None, :, 1], spans[None, :, :, 1])
        meets = np.triu((high > low).all(axis=2), 1)
        total = prod(loops.values())
        have = int(np.prod(spans[:, :, 1] - spans[:, :, 0], axis=1).sum())
        where = f"sum {self.story.name!r}"
        if meets.any():
            a, b = (parts[i] for i in np.argwhere(meets)[0])
            self.found.add("addends", where, f"addends {a.partial} on {a.device!r} and "
                           f"{b.partial} on {b.device!r}", "each addend once")  # fmt: skip
        elif have != total:
            self.found.add("addends", where, f"{have} addends of each element", total)

    # -- what happens -----------------------------------------------------------------------------

    def _play(self) -> None:
        story = self.story
        events: list[tuple[int, int, int, Callable[[], None]]] = []
        for number, (c, box) in enumerate(story.writes):
            # A step of zero length comes after what ends at its instant.
            events.append((c.end_ps, int(c.start_ps >= c.end_ps), number,
                           lambda c=c, box=box: self._write(c, box)))  # type: ignore[misc]  # fmt: skip
        for number, d in enumerate(story.deliveries):
            events.append((d.start_ps, 2, number,
                           lambda d=d, number=number: self._send(d, number)))  # type: ignore[misc]  # fmt: skip
            if d.end_ps > d.start_ps:
                events.append((d.end_ps, 0, number,
                               lambda d=d, number=number: self._arrive(d, number)))  # type: ignore[misc]  # fmt: skip
        for number, (c, box) in enumerate(story.reads):
            events.append((c.start_ps, 3, number, lambda c=c, box=box: self._read(c, box)))  # type: ignore[misc]
        self._flying: dict[int, NDArray[Any]] = {}
        for _, _, _, action in sorted(events, key=lambda event: event[:3]):
            action()

    def _write(self, c: Computation, box: Box) -> None:
        index, held = self.cells.index(box), self.at(c.device)
        held.hold(index, c.start_ps, c.end_ps)
        if c.partial and held.addends is not None:
            held.addends[index] |= self._bit[id(c)]
            self._settle(held, index, c.end_ps)
            return
        held.complete(index, c.end_ps)
        if self.story.free:
            for end in self._ends:
                self.at(end).complete(index, c.end_ps)

    def _settle(self, held: Held, index: tuple[slice, ...], at: int) -> None:
        """Let sums be complete where every addend has come."""
        if held.addends is not None:
            done = (held.addends[index] == self._full[index]).astype(bool)
            held.ready[index] = np.where(done, np.minimum(held.ready[index], at),
                                         held.ready[index])  # fmt: skip

    def _send(self, d: Delivery, number: int) -> None:
        index, held = self.cells.index(d.box), self.at(d.source)
        if d.adds and held.addends is not None:
            self._flying[number] = held.addends[index].copy()
            held.use(index, d.start_ps, d.end_ps)
            if not self._flying[number].astype(bool).all():
                self._missing(held, index, f"{d.source!r} to be sent to {d.target!r}", d.start_ps)
        elif not held.use(index, d.start_ps, d.end_ps):
            self._missing(held, index, f"{d.source!r} to be sent to {d.target!r}", d.start_ps)
        if d.adds and held.addends is None:
            self.found.add(
                "addends", f"{self.story.name!r} to {d.target!r}", "a delivery that is added",
                "one that is not: nothing is summed",
            )  # fmt: skip
        self.at(d.target).hold(index, d.start_ps, d.end_ps)
        if d.end_ps <= d.start_ps:
            self._arrive(d, number)

    def _arrive(self, d: Delivery, number: int) -> None:
        index, held = self.cells.index(d.box), self.at(d.target)
        if not d.adds or held.addends is None:
            held.complete(index, d.end_ps)
            return
        came, there = self._flying.pop(number), held.addends[index]
        if (came & there).astype(bool).any():
            self.found.add("addends", f"sum {self.story.name!r} on {d.target!r}",
                           "an addend that has been added already", "each once")  # fmt: skip
        if not there.astype(bool).all():
            self.found.add("addends", f"sum {self.story.name!r} on {d.target!r}",
                           "nothing there to add to", "addends on both ends")  # fmt: skip
        held.addends[index] = came | there
        self._settle(held, index, d.end_ps)

    def _read(self, c: Computation, box: Box) -> None:
        index, held = self.cells.index(box), self.at(c.device)
        if not held.use(index, c.start_ps, c.end_ps):
            self._missing(held, index, f"{c.device!r} for {c.region!r}", c.start_ps)

    def _missing(self, held: Held, index: tuple[slice, ...], where: str, at: int) -> None:
        lacks = held.ready[index] > at
        kind = "absent"
        if held.addends is not None and held.addends[index][lacks].astype(bool).any():
            kind = "incomplete"
        missing = int(self.cells.volume[index][lacks].sum())
        self.found.add(kind, f"{self.story.name!r} on {where}",
                       f"{missing} elements missing at {at} ps", "all of the part")  # fmt: skip


def _elements(cells: Cells, mask: NDArray[np.bool_]) -> int:
    return int(cells.volume[mask].sum())
