"""Columns of weight bits and the check window that walks them, fast.

Models:  the exact window rule of the released engine, per lane: with the pointer at p it looks at
         the bits p to p + window − 1 (zeros beyond the group). No one: a cycle that emits nothing,
         p goes on by a window. One one: its index, p goes on by a window. More: the first one's
         index, and p becomes the *second* one's place. Done when p has passed the group's last
         weight. A group takes as long as its slowest running lane.
How:     eight weights at a time are turned into one byte per lane (a bit-matrix transpose), and a
         lane is an automaton over such bytes whose state is where the open window ends and
         whether it has seen a one, so a table look-up replaces up to eight steps.
Ignores: the clock, the pipeline and the memory (`_cycles`).
Judge:   the rule itself, cycle by cycle (tests/accel/bitlet/test_cycles.py).
Source:  the released Verilog (Bitlet_CheckWindow), facts only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.compiled import machine_code
from orrery.errors import SpecError

from ._engine import Array

#: A window beyond this would need a wider circuit than a group has weights.
MOST_WINDOW = 64

#: Weights that `_crowded` counts.
_SHORT = 15
_COUNT_BITS = 4  #: a byte of a lane takes at most 9 cycles


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Walk:
    """The automaton of a window for groups of one size.

    Attributes
    ----------
    step : state · 256 + byte -> next state · 256, shifted left by four, and cycles
    last : [full group or the remainder, state · 256 + byte] -> cycles, the open window included
    first : the state in which a group begins, times 256
    group, rest : weights of a full group and of a sum's last one
    """

    step: NDArray[np.int32]
    last: NDArray[np.int32]
    first: int
    group: int
    rest: int


def walk(window: int, group: int, terms: int) -> Walk:
    """Return the automaton for sums of `terms` weights cut into groups.

    Raises
    ------
    SpecError : a window that is none
    """
    if not 1 <= window <= MOST_WINDOW:
        raise SpecError("bitlet: window", found=window, wanted=f"1 to {MOST_WINDOW} bits",
                        fix="the released engine looks at 8")  # fmt: skip
    rest = terms % group or min(group, terms)
    tables = np.stack([_last_table(window, (n - 1) % 8 + 1) for n in (min(group, terms), rest)])
    return Walk(step=_step_table(window), last=tables, first=(2 * window - 2) << 8,
                group=group, rest=rest)  # fmt: skip


def _after(byte: int, end: int, seen: int, window: int, stop: int) -> tuple[int, int, int]:
    """Walk eight bits; `end` is where the open window ends, counted from the first of them.

    Returns cycles of windows that were closed and began before `stop`, the new end and ones seen.
    """
    cycles = 0
    for place in range(9):
        if place == end:  # at most one one was seen: on by a window
            cycles += end - window < stop
            end, seen = place + window, 0
        if place < 8 and byte >> place & 1:
            seen += 1
            if seen == 2:  # the second one is where the next window begins
                cycles += end - window < stop
                end, seen = place + window, 1
    return cycles, end, seen


@cache
def _step_table(window: int) -> NDArray[np.int32]:
    table = np.empty((window, 2, 256), np.int32)
    for end, seen, byte in np.ndindex(window, 2, 256):
        cycles, after, ones = _after(byte, end + 1, seen, window, 8)
        table[end, seen, byte] = ((after - 9) * 2 + ones) << (8 + _COUNT_BITS) | cycles
    return _frozen(table.reshape(-1))


@cache
def _last_table(window: int, valid: int) -> NDArray[np.int32]:
    """Return cycles in a group's last byte, of which only the first bits are weights."""
    table = np.empty((window, 2, 256), np.int32)
    for end, seen, byte in np.ndindex(window, 2, 256):
        kept = byte & ((1 << valid) - 1)
        cycles, after, _ = _after(kept, end + 1, seen, window, valid)
        table[end, seen, byte] = cycles + (after - window < valid)
    return _frozen(table.reshape(-1))


def _frozen(table: NDArray[np.int32]) -> NDArray[np.int32]:
    table.flags.writeable = False
    return table


def lane_passes(ones: Array, window: int = 8) -> list[list[int]]:
    """Return what each lane selects, cycle by cycle: a weight's place, or -1 for nothing.

    The plain rule, for looking at and for circuits; layers go through `counter`. Lanes end by
    themselves; the group ends with the longest list.

    Parameters
    ----------
    ones : bits, shape (lanes, weights)
    """
    found = []
    for row in np.asarray(ones, bool):
        places = np.flatnonzero(row)
        passes: list[int] = []
        pointer = 0
        while pointer < len(row):
            seen = places[(places >= pointer) & (places < pointer + window)]
            passes.append(int(seen[0]) if len(seen) else -1)
            pointer = int(seen[1]) if len(seen) > 1 else pointer + window
        found.append(passes)
    return found


def lane_cycles(ones: Array, window: int = 8) -> Array:
    """Return the cycles of single lanes, bits (lanes, weights) given one by one."""
    return np.array([len(passes) for passes in lane_passes(ones, window)], np.int64)


@cache
def counter(name: str) -> Callable[..., Any]:
    """Return one of this module's loops as machine code; loads the compiler on first use."""
    loops = {"fixed_cycles": _fixed_cycles, "float_cycles": _float_cycles}
    return machine_code(loops[name], calls=(_transposed, _filled, _crowded, _walked),
                        nogil=True, error_model="numpy")[0]  # fmt: skip


def _transposed(x: Any) -> Any:
    """Turn an 8×8 bit matrix over its diagonal: bit j of byte i becomes bit i of byte j."""
    t = (x ^ (x >> np.uint64(7))) & np.uint64(0x00AA00AA00AA00AA)
    x = x ^ t ^ (t << np.uint64(7))
    t = (x ^ (x >> np.uint64(14))) & np.uint64(0x0000CCCC0000CCCC)
    x = x ^ t ^ (t << np.uint64(14))
    t = (x ^ (x >> np.uint64(28))) & np.uint64(0x00000000F0F0F0F0)
    return x ^ t ^ (t << np.uint64(28))


def _filled(values: Any, planes: Any, words: Any) -> None:
    """Put byte t of every value into planes[t], zeros up to the next multiple of eight."""
    size = len(values)
    count = (size + 7) // 8
    if size < 24:  # too short for bytes written side by side to pay
        for block in range(words.shape[0]):
            for k in range(count):
                x = np.uint64(0)
                for i in range(min(8, size - 8 * k)):
                    byte = (values[8 * k + i] >> (8 * block)) & 255
                    x |= np.uint64(byte) << np.uint64(8 * i)
                words[block, k] = x
        return
    if size & 7:
        for block in range(words.shape[0]):
            words[block, count - 1] = 0
    for block in range(len(planes)):
        for i in range(size):
            planes[block, i] = np.uint8((values[i] >> (8 * block)) & 255)


def _crowded(values: Any, mask: int) -> Any:
    """Return the most ones that a running lane sees, of up to `_SHORT` weights.

    A group that is at most one weight longer than the window takes as many cycles, or as many as
    there are windows: behind the first window's second one lies nothing that the next does not see.
    """
    c0 = c1 = c2 = c3 = np.int64(0)
    for i in range(len(values)):  # counters of all lanes side by side, a bit each
        x = np.int64(values[i])
        c0, x = c0 ^ x, c0 & x
        c1, x = c1 ^ x, c1 & x
        c2, x = c2 ^ x, c2 & x
        c3 ^= x
    most, among = np.int64(0), np.int64(mask)
    for place, plane in ((8, c3), (4, c2), (2, c1), (1, c0)):
        if among & plane:
            among &= plane
            most += place
    return most


def _walked(words: Any, count: int, mask: int, step: Any, last: Any, first: int) -> Any:
    """Return the cycles of the slowest running lane; words[t, k]: byte t of weights 8k to 8k+7."""
    slowest = np.int32(0)
    byte = np.uint64(255)
    for block in range(words.shape[0]):
        running = (mask >> (8 * block)) & 255
        if running == 0:
            continue
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = np.int32(first)
        c0 = c1 = c2 = c3 = c4 = c5 = c6 = c7 = np.int32(0)
        for k in range(count - 1):
            x = _transposed(words[block, k])
            e0 = step[s0 | np.int32(x & byte)]
            e1 = step[s1 | np.int32((x >> np.uint64(8)) & byte)]
            e2 = step[s2 | np.int32((x >> np.uint64(16)) & byte)]
            e3 = step[s3 | np.int32((x >> np.uint64(24)) & byte)]
            e4 = step[s4 | np.int32((x >> np.uint64(32)) & byte)]
            e5 = step[s5 | np.int32((x >> np.uint64(40)) & byte)]
            e6 = step[s6 | np.int32((x >> np.uint64(48)) & byte)]
            e7 = step[s7 | np.int32(x >> np.uint64(56))]
            c0 += e0 & 15
            c1 += e1 & 15
            c2 += e2 & 15
            c3 += e3 & 15
            c4 += e4 & 15
            c5 += e5 & 15
            c6 += e6 & 15
            c7 += e7 & 15
            s0, s1, s2, s3 = e0 >> 4, e1 >> 4, e2 >> 4, e3 >> 4
            s4, s5, s6, s7 = e4 >> 4, e5 >> 4, e6 >> 4, e7 >> 4
        x = _transposed(words[block, count - 1])
        c0 += last[s0 | np.int32(x & byte)]
        c1 += last[s1 | np.int32((x >> np.uint64(8)) & byte)]
        c2 += last[s2 | np.int32((x >> np.uint64(16)) & byte)]
        c3 += last[s3 | np.int32((x >> np.uint64(24)) & byte)]
        c4 += last[s4 | np.int32((x >> np.uint64(32)) & byte)]
        c5 += last[s5 | np.int32((x >> np.uint64(40)) & byte)]
        c6 += last[s6 | np.int32((x >> np.uint64(48)) & byte)]
        c7 += last[s7 | np.int32(x >> np.uint64(56))]
        if running == 255:
            low = max(max(c0, c1), max(c2, c3))
            slowest = max(slowest, max(low, max(max(c4, c5), max(c6, c7))))
        else:
            for lane, cycles in enumerate((c0, c1, c2, c3, c4, c5, c6, c7)):
                if running >> lane & 1:
                    slowest = max(slowest, cycles)
    return slowest


def _fixed_cycles(
    mw: Any, group: int, mask: int, step: Any, last: Any, first: int, planes: Any, words: Any,
    out: Any,
) -> None:  # fmt: skip
    """Count every group of magnitudes (rows, terms) into (rows, groups).

    `planes` is scratch of bytes (bytes of a weight, group rounded up to eight), `words` the same
    memory as 64-bit words.
    """
    length = mw.shape[1]
    window = (first >> 9) + 1
    short = min(window + 1, _SHORT)
    for row in range(len(mw)):
        for g in range(out.shape[1]):
            begin = g * group
            size = min(group, length - begin)
            if size <= short:
                least = (size + window - 1) // window
                out[row, g] = max(least, _crowded(mw[row, begin : begin + size], mask))
                continue
            _filled(mw[row, begin : begin + size], planes, words)
            which = np.int64(g == out.shape[1] - 1)
            out[row, g] = _walked(words, (size + 7) // 8, mask, step, last[which], first)


def _float_cycles(
    ew: Any, mw: Any, batch: Any, ea: Any, group: int, tile: int, beats: Any, mask: int, kept: int,
    spare: int, step: Any, last: Any, first: int, planes: Any, words: Any, each: Any, steps: Any,
) -> None:  # fmt: skip
    """Count groups of aligned weights.

    Parameters
    ----------
    ew, mw : exponents and magnitudes of weights (rows, terms)
    batch : the batch of activations that a row meets (rows,)
    ea : exponents of activations (batches, positions, terms)
    tile : rows that run side by side
    beats : cycles to hand a group's activations to each tile (2, tiles): full groups, last group
    mask : lanes that run
    kept, spare : signed digits: the bits that are recoded, and the lane of odd weights' lowest
        digits or 0; `kept` 0: plain bits
    each : filled with cycles of every row over its groups (positions, rows)
    steps : filled with the sum over groups of the slowest row (positions, tiles)
    """
    length = ew.shape[1]
    groups = (length + group - 1) // group
    aligned = np.empty(group, np.int32)
    low = np.int32(kept & -kept)
    window = (first >> 9) + 1
    short = min(window + 1, _SHORT)
    for p in range(ea.shape[1]):
        each[p, :] = 0
        for t in range(steps.shape[1]):
            total = np.int64(0)
            for g in range(groups):
                begin = g * group
                size = min(group, length - begin)
                which = np.int64(g == groups - 1)
                least = np.int64((size + window - 1) // window)
                slowest = np.int64(beats[which, t])
                for row in range(t * tile, min((t + 1) * tile, len(ew))):
                    b = batch[row]
                    largest = np.int16(0)  # of nothing but zeros; `ABSENT` lies far below
                    for i in range(begin, begin + size):
                        largest = max(largest, np.int16(ew[row, i] + ea[b, p, i]))
                    for i in range(size):
                        j = begin + i
                        less = np.int32(largest) - np.int32(ew[row, j]) - np.int32(ea[b, p, j])
                        aligned[i] = mw[row, j] >> min(less, np.int32(31))
                    if kept:
                        for i in range(size):
                            x = aligned[i] & np.int32(kept)
                            half = x >> 1
                            x = (x + half) ^ half
                            if spare and i & 1 and x & low:
                                x ^= low | np.int32(spare)
                            aligned[i] = x
                    if size <= short:
                        cycles = max(least, _crowded(aligned[:size], mask))
                    else:
                        _filled(aligned[:size], planes, words)
                        cycles = _walked(words, (size + 7) // 8, mask, step, last[which], first)
                    each[p, row] += cycles
                    slowest = max(slowest, np.int64(cycles))
                total += slowest
            steps[p, t] = total
