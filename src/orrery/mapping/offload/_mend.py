"""Selections made to fit at every instant and in the folders, and what no plan can do without.

Models
    What does not fit at some instant is mended by moving the earliest kept tensor that is in memory
    then; what does not fit in the folders, by packing and by making again; chains of making again
    that are too long, by writing the last one.
Ignores
    Which of several mends is the quickest: `_improve` looks for better ones.
Judge
    Every combination of choices for few tensors (``tests/mapping/offload``).
"""

from __future__ import annotations

from dataclasses import dataclass

from ._problem import DROP, KEEP, PACK, WRITE, Choices, Columns
from ._select import Selection, packs
from ._timing import Shortage, Timing, time_step

#: Steps whose seconds differ by less than this share are equally long: sums are rounded.
SAME = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Choices that fit, what the step then takes, and who found them."""

    choices: Choices
    timing: Timing
    moved_bytes: int
    label: str

    def better_than(self, other: Standing | None) -> bool:
        """Return whether this is shorter, or as short with fewer bytes."""
        if other is None:
            return True
        near = SAME * other.timing.step_s
        if abs(self.timing.step_s - other.timing.step_s) > near:
            return self.timing.step_s < other.timing.step_s
        return self.moved_bytes < other.moved_bytes


def mend(columns: Columns, selection: Selection, *, least_bytes: int) -> Standing | None:
    """Return the selection with what else has to leave, or None where that does not help.

    Tensors below `least_bytes` leave when nothing else is left.
    """
    choices = list(selection.choices)
    while True:
        while (deep := columns.too_deep(choices)) is not None:
            choices[deep] = way_out(columns, deep)
        timing = time_step(columns, choices)
        if isinstance(timing, Timing):
            break
        freed = _freed(columns, choices, timing, least_bytes)
        if not freed:
            return None
        for n in freed:
            choices[n] = way_out(columns, n)
    before = tuple(choices)
    if not _within_disk(columns, choices) or columns.too_deep(choices) is not None:
        return None
    if before != tuple(choices):
        timing = time_step(columns, choices)
        if isinstance(timing, Shortage):
            return None
    return Standing(choices=tuple(choices), timing=timing,
                    moved_bytes=columns.moved_bytes(choices), label=selection.label)  # fmt: skip


def _freed(
    columns: Columns, choices: list[int], short: Shortage, least_bytes: int
) -> list[int]:  # fmt: skip
    """Return the earliest tensors that can make up for what is short, or as many as there are."""
    missing = short.need - columns.room
    found: list[int] = []
    for small in (False, True):
        for n in short.held:
            if missing <= 0:
                return found
            may = columns.allowed[n] != (KEEP,) and (columns.size[n] < least_bytes) == small
            # A forward's shortage is not mended by what the forward still uses.
            if may and (short.phase == "backward"
                        or columns.last_s[n] < columns.made_s[short.tensor]):  # fmt: skip
                found.append(n)
                missing -= columns.size[n]
    return found


def way_out(columns: Columns, tensor: int) -> int:
    """Return whether a tensor that leaves is written packed or as it is: the sooner."""
    return PACK if packs(columns, tensor) else WRITE


def _within_disk(columns: Columns, choices: list[int]) -> bool:
    """Pack, and then make again, what is written until the folders hold it."""
    if columns.disk is None:
        return True
    written = columns.moved_bytes(choices)
    for instead in (PACK, DROP):
        # What saves most on the disk goes first.
        order = sorted(range(len(choices)), key=lambda n: -columns.moved[n][choices[n]])
        for n in order:
            if written <= columns.disk:
                return True
            saved = columns.moved[n][choices[n]] - columns.moved[n][instead]
            if instead in columns.allowed[n] and saved > 0:
                written -= saved
                choices[n] = instead
    return written <= columns.disk


def least_room(columns: Columns) -> tuple[int, int, str]:
    """Return the least bytes of room in which a step can run, for which tensor, in which phase.

    Everything that may leave is then gone whenever it is not in use.
    """
    stuck = [allowed == (KEEP,) for allowed in columns.allowed]
    most, where, phase = 0, 0, "forward"
    resident = 0
    busy: set[int] = set()
    for _, kind, n in columns.forward:
        if kind:
            busy.discard(n)
            continue
        if stuck[n]:
            resident += columns.size[n]
        else:
            busy.add(n)
        now = resident + sum(columns.size[m] for m in busy)
        if now > most:
            most, where = now, n
    busy.clear()
    for _, kind, n in columns.backward:
        if kind:
            busy.discard(n)
            resident -= columns.size[n] if stuck[n] else 0
            continue
        if not stuck[n]:
            busy.add(n)
        now = resident + sum(columns.size[m] for m in busy)
        if now > most:
            most, where, phase = now, n, "backward"
    return most, where, phase


def least_disk(columns: Columns) -> int:
    """Return bytes that any plan has to write, at the least.

    At the forward's end the excess over the room must be gone; what frees most memory per written
    byte goes first, and of the last one only a part.
    """
    missing = sum(columns.size) - columns.room
    written = 0.0
    prices = []
    for size, moved, allowed in zip(columns.size, columns.moved, columns.allowed):
        ways = [moved[choice] for choice in allowed if choice != KEEP]
        if ways and size:
            prices.append((min(ways) / size, size))
    for price, size in sorted(prices):
        if missing <= 0:
            break
        written += price * min(size, missing)
        missing -= size
    return int(written)
