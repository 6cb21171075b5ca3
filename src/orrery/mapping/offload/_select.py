"""Which tensors leave memory: the first ones, and then rather those that pack well.

Models
    The two phases of FlashNeuron (Bae et al., FAST 2021) as its paper and public scheduler describe
    them. The first walks tensors in the order of their making until enough is selected: early
    tensors are idle longest. If their writes would end after the forward, the second exchanges what
    does not pack for later tensors that do, the best ratio first, until the writes end in time, or
    nothing that packs is left to add, or nothing is left to drop. What then is missing is added
    even if it is late: memory decides over time.
Ignores
    Memory at any instant but the forward's end, and the way back; `_timing` judges those.
Judge
    Worked examples, and `_timing` (``tests/mapping/offload``). Differences from the program: ratios
    are measured per tensor and not always two; the threshold and the share of memory are settings.
"""

from __future__ import annotations

from dataclasses import dataclass

from orrery.units import format_quantity, format_si

from ._problem import KEEP, PACK, WRITE, Choices, Columns
from ._timing import write_delays


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Choices, and which step of the search made them."""

    choices: Choices
    label: str


def packs(columns: Columns, tensor: int) -> bool:
    """Return whether a tensor is written sooner packed, packing included."""
    seconds = columns.write_s[tensor]
    return PACK in columns.allowed[tensor] and seconds[PACK] < seconds[WRITE]


def ratio(columns: Columns, tensor: int) -> float:
    """Return how many times fewer bytes travel packed; 1 where that does not help."""
    plain, packed = columns.moved[tensor][WRITE], columns.moved[tensor][PACK]
    return max(1.0, plain / max(1, packed)) if packs(columns, tensor) else 1.0


def two_phases(
    columns: Columns, *, least_bytes: int, usable_share: float, pack_at_once: bool
) -> tuple[tuple[Selection, ...], tuple[str, ...]]:
    """Return the selections in the order in which they were made, the last one decided; and why.

    Parameters
    ----------
    least_bytes : smaller tensors are not selected
    usable_share : of the room, that may stay filled
    pack_at_once : whether the first phase counts what packs as packed
    """
    walk = _Walk(columns, least_bytes, pack_at_once)
    missing = sum(columns.size) - int(usable_share * columns.room)
    if missing <= 0:
        walk.say("all saved tensors fit: nothing is selected")
        return (walk.selection("nothing"),), tuple(walk.log)
    walk.first(missing)
    made = [walk.selection("first phase")]
    if walk.late_s > 0:
        made += walk.second()
    return tuple(made), tuple(walk.log)


class _Walk:
    """The state of one search; it lives in `two_phases` only."""

    def __init__(self, columns: Columns, least_bytes: int, packed: bool) -> None:
        self.columns, self.packed = columns, packed
        self.candidates = [n for n, size in enumerate(columns.size)
                           if WRITE in columns.allowed[n] and size >= least_bytes]  # fmt: skip
        self.chosen: list[int] = []
        self.missing = 0
        self.log: list[str] = []

    def say(self, text: str) -> None:
        self.log.append(text)

    def selection(self, label: str) -> Selection:
        choices = [KEEP] * len(self.columns.size)
        for n in self.chosen:
            choices[n] = self._way(n)
        return Selection(choices=tuple(choices), label=label)

    def _way(self, n: int) -> int:
        return PACK if self.packed and packs(self.columns, n) else WRITE

    @property
    def late_s(self) -> float:
        """By how much the last write ends after the forward; negative when before."""
        columns = self.columns
        _, end = write_delays(
            [columns.made_s[n] for n in self.chosen],
            [columns.write_s[n][self._way(n)] for n in self.chosen],
        )
        return end - columns.forward_s

    def first(self, missing: int) -> None:
        """Select from the forward's beginning until enough bytes leave."""
        wanted, self.missing = missing, missing
        for n in self.candidates:
            if self.missing <= 0:
                break
            self.chosen.append(n)
            self.missing -= self.columns.size[n]
        self.say(
            f"first phase: {format_quantity(wanted, 'bytes')} have to leave; the first "
            f"{len(self.chosen)} of {len(self.candidates)} candidates, {self._when()}"
        )
        if self.missing > 0:
            self.say(f"first phase: {format_quantity(self.missing, 'bytes')} more than all "
                     "candidates have to leave")  # fmt: skip

    def second(self) -> list[Selection]:
        """Exchange what does not pack for what does; return the selection after each exchange."""
        made = []
        if not self.packed and any(packs(self.columns, n) for n in self.chosen):
            self.packed = True
            made.append(self.selection("first phase, packed"))
            self.say(f"second phase: what packs travels packed, {self._when()}")
        self.packed = True
        while True:
            stop = self._stop()
            if stop is not None:
                self.say(f"second phase: stopped, {stop}")
                break
            self._exchange()
            made.append(self.selection("second phase"))
        if self._cover():
            made.append(self.selection("second phase, covered"))
        return made

    def _stop(self) -> str | None:
        if self.late_s <= 0:
            return "the writes end within the forward"
        if not self._addable():
            return "nothing that packs is left to add"
        if self._droppable() is None:
            return "nothing is left to drop"
        return None

    def _addable(self) -> list[int]:
        """What packs and is made after the last selected tensor, the best ratio first."""
        last = max(self.chosen, default=-1)
        later = [n for n in self.candidates if n > last and ratio(self.columns, n) > 1]
        return sorted(later, key=lambda n: (-ratio(self.columns, n), n))

    def _droppable(self) -> int | None:
        """The last that does not pack; else the last that packs less well than what comes."""
        plain = [n for n in self.chosen if ratio(self.columns, n) <= 1]
        if not plain:
            best = ratio(self.columns, self._addable()[0])
            plain = [n for n in self.chosen if ratio(self.columns, n) < best]
        return plain[-1] if plain else None

    def _exchange(self) -> None:
        addable, dropped = self._addable(), self._droppable()
        if dropped is None:
            raise RuntimeError("an exchange was asked for with nothing to drop")
        self.chosen.remove(dropped)
        self.missing += self.columns.size[dropped]
        added = self._add(addable)
        self.say(
            f"second phase: {self.columns.names[dropped]} (ratio "
            f"{ratio(self.columns, dropped):.3g}) for {self._listed(added)}, {self._when()}"
        )

    def _cover(self) -> bool:
        """Select until enough leaves, what packs first."""
        if self.missing <= 0:
            return False
        rest = [n for n in self.candidates if n not in self.chosen]
        added = self._add(sorted(rest, key=lambda n: (-ratio(self.columns, n), n)))
        if added:
            self.say(
                f"cleared up: bytes were missing, so {self._listed(added)} as well, {self._when()}"
            )
        return bool(added)

    def _add(self, order: list[int]) -> list[int]:
        added = []
        for n in order:
            if self.missing <= 0:
                break
            added.append(n)
            self.missing -= self.columns.size[n]
        self.chosen = sorted([*self.chosen, *added])
        return sorted(added)

    def _when(self) -> str:
        late = self.late_s
        if late > 0:
            return f"written {format_si(late, 's')} after the forward's end"
        return f"written {format_si(-late, 's')} before the forward's end"

    def _listed(self, tensors: list[int]) -> str:
        shown = ", ".join(self.columns.names[n] for n in tensors[:3]) or "nothing"
        return f"{shown} and {len(tensors) - 3} more" if len(tensors) > 3 else shown
