"""The loops behind `_file`: choosing a column's code, writing and reading it, as machine code.

Judge: as `_file`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from orrery.compiled import machine_code

#: What a tensor's column is: 0 or 1 throughout, raw, chosen by group as it is or turned over,
#: or the signs of weights that are not zero.
ZERO, ONE, RAW, MIXED, TURNED, SIGNS = range(6)
_PARAMETER_BITS, _MOST_PARAMETER = 3, 7


@cache
def coder(name: str) -> Callable[..., Any]:
    """Return one of the loops as machine code; loads the compiler on first use."""
    loops = {"costs": _costs, "write": _write, "read": _read}
    return machine_code(loops[name], calls=(_put, _put_raw, _take, _gap_bits, _chosen, _gather),
                        nogil=True, error_model="numpy")[0]  # fmt: skip


def _put(out: Any, at: int, value: Any, bits: int) -> Any:
    """Write the lowest bits of a value, the lowest first; bytes must be zero. Returns the end."""
    while bits > 0:
        room = 8 - (at & 7)
        step = min(room, bits)
        out[at >> 3] |= np.uint8((value & ((1 << step) - 1)) << (at & 7))
        value >>= step
        at += step
        bits -= step
    return at


def _take(data: Any, at: int, bits: int) -> Any:
    """Read bits, the lowest first."""
    value: Any = 0
    done = 0
    while done < bits:
        step = min(8 - (at & 7), bits - done)
        value |= ((np.int64(data[at >> 3]) >> (at & 7)) & ((1 << step) - 1)) << done
        at += step
        done += step
    return value


def _gather(row: Any, begin: int, size: int, column: Any, flip: Any, bits: Any) -> Any:
    """Fill `bits` with a group's column; returns its ones."""
    ones: Any = 0
    for i in range(size):
        bit = np.uint8(((row[begin + i] >> column) & np.uint32(1)) ^ flip)
        bits[i] = bit
        ones += np.int64(bit)
    return ones


def _put_raw(out: Any, at: int, bits: Any, size: int) -> Any:
    """Write a column as it is, 32 bits at a time."""
    for first in range(0, size, 32):
        count = min(32, size - first)
        value: Any = np.int64(0)
        for i in range(count):
            value |= np.int64(bits[first + i]) << i
        at = _put(out, at, value, count)
    return at


def _gap_bits(bits: Any, size: int, sought: int, parameter: int) -> Any:
    """Return the bits of all gaps before `sought` and to the end."""
    total, before = 0, -1
    for i in range(size):
        if bits[i] == sought:
            total += ((i - before - 1) >> parameter) + 1 + parameter
            before = i
    return total + ((size - before - 1) >> parameter) + 1 + parameter


def _chosen(bits: Any, size: int, ones: int) -> Any:
    """Return code, Rice parameter and bits of what follows the code."""
    if ones == 0:
        return 0, 0, 0
    best, code, parameter = size, 1, 0
    sought = 1 if 2 * ones <= size else 0
    count = ones if sought else size - ones
    if 3 * count <= size:
        limit = size - (size + 7) // 8
        for r in range(_MOST_PARAMETER + 1):
            if (count + 1) * (r + 1) + _PARAMETER_BITS >= min(best, limit + 1):
                break
            found = _PARAMETER_BITS + _gap_bits(bits, size, sought, r)
            if found <= limit and found < best:
                best, code, parameter = found, 2 if sought else 3, r
    return code, parameter, best


def _costs(words: Any, columns: int, group: int, turned: Any, totals: Any) -> None:
    """Add up what each column would take if it chose group by group."""
    bits = np.empty(group, np.uint8)
    for row in range(len(words)):
        line = words[row]
        for begin in range(0, words.shape[1], group):
            size = min(group, words.shape[1] - begin)
            for column in range(columns):
                flip = np.uint32(turned[column])
                ones = _gather(line, begin, size, np.uint32(column), flip, bits)
                _, _, found = _chosen(bits, size, ones)
                totals[column] += 2 + found


def _write(
    words: Any, columns: int, group: int, block: int, modes: Any, zero: Any, out: Any, ends: Any,
    cycles: Any,
) -> None:  # fmt: skip
    """Write blocks one after another, each from a whole byte on."""
    bits = np.empty(group, np.uint8)
    sign = np.uint32(np.uint32(1) << np.uint32(columns - 1))
    at = 0
    for row in range(len(words)):
        line = words[row]
        for begin in range(0, words.shape[1], group):
            size = min(group, words.shape[1] - begin)
            for column in range(columns):
                mode = modes[column]
                if mode <= ONE:
                    continue
                if mode == SIGNS:
                    kept = 0
                    for i in range(size):
                        word = words[row, begin + i]
                        if (word & ~sign) != (zero & ~sign):
                            at = _put(out, at, np.int64(word) >> column, 1)
                            kept += 1
                    cycles[row // block] += (kept + 63) // 64
                    continue
                flip = np.uint32(mode == TURNED)
                ones = _gather(line, begin, size, np.uint32(column), flip, bits)
                code, parameter = 1, 0
                if mode != RAW:
                    code, parameter, _ = _chosen(bits, size, ones)
                    at = _put(out, at, code, 2)
                    cycles[row // block] += code != 1
                if code == 1:
                    at = _put_raw(out, at, bits, size)
                    cycles[row // block] += (size + 63) // 64
                elif code > 1:
                    at = _put(out, at, parameter, _PARAMETER_BITS)
                    sought, before = 3 - code, -1
                    gaps = 0
                    for i in range(size + 1):
                        if i == size or bits[i] == sought:
                            gap = i - before - 1
                            for _ in range(gap >> parameter):
                                out[at >> 3] |= np.uint8(1 << (at & 7))
                                at += 1
                            at = _put(out, at + 1, gap, parameter)
                            before = i
                            gaps += 1
                    cycles[row // block] += (gaps + 1) // 2
        if row % block == block - 1 or row == len(words) - 1:
            at = (at + 7) & ~7
            ends[row // block] = at >> 3


def _read(
    data: Any, length: int, columns: int, group: int, modes: Any, zero: Any, out: Any, place: Any
) -> None:
    """Read one block; `place` says row, group and bit of what is no code, else stays negative."""
    sign = np.uint32(np.uint32(1) << np.uint32(columns - 1))
    end, at = 8 * length, 0
    bits = np.empty(group, np.int64)
    for row in range(len(out)):
        for begin in range(0, out.shape[1], group):
            size = min(group, out.shape[1] - begin)
            place[0], place[1], place[2] = row, begin // group, at
            for column in range(columns):
                mode = modes[column]
                if mode == ZERO:
                    continue
                flip = np.int64(mode in (ONE, TURNED))
                bits[:size] = 0
                code = 0
                if mode == SIGNS:
                    for i in range(size):
                        if (out[row, begin + i] & ~sign) != (zero & ~sign):
                            if at >= end:
                                return
                            bits[i] = (np.int64(data[at >> 3]) >> (at & 7)) & 1
                            at += 1
                elif mode == RAW:
                    code = 1
                elif mode != ONE:
                    if at + 2 > end:
                        return
                    code = _take(data, at, 2)
                    at += 2
                if code == 1:
                    if at + size > end:
                        return
                    for i in range(size):
                        bits[i] = (np.int64(data[at >> 3]) >> (at & 7)) & 1
                        at += 1
                elif code > 1:
                    if at + _PARAMETER_BITS > end:
                        return
                    parameter = _take(data, at, _PARAMETER_BITS)
                    at += _PARAMETER_BITS
                    sought = 3 - code
                    bits[:size] = 1 - sought
                    position = -1
                    while position < size:
                        gap = 0
                        while at < end and (data[at >> 3] >> (at & 7)) & 1:
                            gap += 1
                            at += 1
                        at += 1
                        if at + parameter > end or gap > size:
                            return
                        gap = (gap << parameter) + _take(data, at, parameter)
                        at += parameter
                        position += gap + 1
                        if position > size:
                            return
                        if position < size:
                            bits[position] = sought
                for i in range(size):
                    bit = np.uint32(bits[i] ^ flip)
                    out[row, begin + i] |= bit << np.uint32(column)
    # Only the filling of the last byte may follow, and it is zero.
    place[2] = at
    if end - at < 0 or end - at > 7 or (at < end and _take(data, at, end - at) != 0):
        return
    place[0] = -1
