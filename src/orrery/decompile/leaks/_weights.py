"""Runs of numbers in memory that look like parameters of a network.

Models:  little-endian 32-bit floats at any alignment: finite, of ordinary size, of many different
         values, as trained and drawn weights are.
Ignores: other number formats; weights that are all alike (zeros).
Judge:   networks whose weights are known, text, code and noise (tests/decompile/leaks).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Words = NDArray[np.uint32]

#: A window is so many floats; a run is at least one window.
_WINDOW = 16
_SMALLEST, _LARGEST = 2.0**-30, 2.0**12
#: Of a window's floats: how many must look like parameters or be 0, not be 0, and differ.
_PLAUSIBLE, _ORDINARY, _DIFFERENT = 15, 12, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Floats:
    """A run of floats: `count` of them from `offset` bytes on."""

    offset: int
    count: int


def find_floats(data: bytes, *, least: int = 32) -> tuple[Floats, ...]:
    """Return runs of at least `least` floats, by offset, none overlapping.

    Where runs of different alignments overlap, the longer one stays.
    """
    found: list[Floats] = []
    for shift in range(4):
        usable = (len(data) - shift) // 4 // _WINDOW * _WINDOW
        if usable <= 0:
            continue
        words = np.frombuffer(data, "<u4", usable, shift).reshape(-1, _WINDOW)
        good = _plausible(words)
        edges = np.flatnonzero(np.diff(np.concatenate(([0], good.view(np.int8), [0]))))
        flat = words.reshape(-1)
        for begin, end in (edges.reshape(-1, 2) * _WINDOW).tolist():
            begin, end = _grown(flat, begin, end)
            if end - begin >= least:
                found.append(Floats(offset=shift + 4 * begin, count=end - begin))
    return _apart(found)


def _grown(words: _Words, begin: int, end: int) -> tuple[int, int]:
    """Return a run with the floats right before and after it that belong to no whole window."""
    before = _ordinary(words[max(0, begin - _WINDOW) : begin])[::-1]
    after = _ordinary(words[end : end + _WINDOW])
    return (
        begin - (int(np.argmin(before)) if not before.all() else before.size),
        end + (int(np.argmin(after)) if not after.all() else after.size),
    )


def _ordinary(words: _Words) -> NDArray[np.bool_]:
    """Return which words are floats of ordinary size."""
    values = np.abs(words.view("<f4"))
    with np.errstate(invalid="ignore"):
        return np.asarray((values >= _SMALLEST) & (values <= _LARGEST))


def _plausible(words: _Words) -> NDArray[np.bool_]:
    """Return which windows look like parameters."""
    ordinary = _ordinary(words)
    inside = (ordinary | (words == 0)).sum(axis=1) >= _PLAUSIBLE
    # Text and tables of small integers repeat themselves, or have the same bytes everywhere.
    ordered = np.sort(words, axis=1)
    different = (np.diff(ordered, axis=1) != 0).sum(axis=1) + 1
    letters = ((words.view(np.uint8) >= 9) & (words.view(np.uint8) < 127)).mean(axis=1) > 0.9
    enough = ordinary.sum(axis=1) >= _ORDINARY
    return np.asarray(inside & (different >= _DIFFERENT) & enough & ~letters)


def _apart(found: list[Floats]) -> tuple[Floats, ...]:
    kept: list[Floats] = []
    for one in sorted(found, key=lambda run: -run.count):
        begin, end = one.offset, one.offset + 4 * one.count
        if all(end <= k.offset or k.offset + 4 * k.count <= begin for k in kept):
            kept.append(one)
    return tuple(sorted(kept, key=lambda run: run.offset))
