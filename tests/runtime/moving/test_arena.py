"""The arena against a plain model of who holds which bytes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.runtime.moving._arena import Arena
from orrery.runtime.moving._blocks import SECTOR_BYTES

SECTORS = 16


def place(array: np.ndarray, arena: Arena) -> tuple[int, int]:
    """Begin and end in sectors."""
    start = array.ctypes.data - arena._memory.ctypes.data
    return start // SECTOR_BYTES, (start + array.size) // SECTOR_BYTES


MOVES = st.tuples(st.sampled_from(["low", "high", "drop"]), st.integers(1, 6))


@settings(max_examples=40)
@given(st.lists(MOVES, max_size=20))
def test_pieces_never_overlap_and_none_is_lost(moves: list[tuple[str, int]]) -> None:
    arena = Arena(SECTORS * SECTOR_BYTES)
    held: list[np.ndarray] = []
    for kind, size in moves:
        if kind == "drop":
            if held:
                held.pop(size % len(held))
            continue
        taken = sorted(place(array, arena) for array in held)
        edges = [0, *(edge for piece in taken for edge in piece), SECTORS]
        holes = list(zip(edges[::2], edges[1::2], strict=True))
        fitting = [hole for hole in holes if hole[1] - hole[0] >= size]
        array = arena.take(size * SECTOR_BYTES, kind)  # type: ignore[arg-type]
        assert (array is None) == (not fitting)
        if array is None:
            continue
        found = place(array, arena)
        low, high = fitting[0][0], fitting[-1][1]
        assert found == ((low, low + size) if kind == "low" else (high - size, high))
        held.append(array)
        del array
    assert arena.used_bytes == sum(array.size for array in held)
    held.clear()
    assert arena.used_bytes == 0


@pytest.mark.parametrize(
    "made",
    [
        lambda a: a[:10].view(np.uint16),
        lambda a: np.asarray(a)[:10],
        lambda a: np.asarray(a[3:9]),
        lambda a: a.view(np.ndarray).reshape(4, -1),
        lambda a: memoryview(a)[5:],
    ],
)
def test_a_view_holds_its_piece(made: Callable[[Any], Any]) -> None:
    arena = Arena(4 * SECTOR_BYTES)
    whole = arena.take(4 * SECTOR_BYTES, "high")
    assert whole is not None
    part = made(whole)
    del whole
    assert arena.take(1, "high") is None
    del part
    assert arena.take(4 * SECTOR_BYTES, "high") is not None


def test_pages_go_back_when_nobody_holds_them() -> None:
    arena = Arena(4 * SECTOR_BYTES)
    low = arena.take(SECTOR_BYTES, "low")
    high = arena.take(SECTOR_BYTES, "high")
    assert low is not None and high is not None
    low[:], high[:] = 1, 2
    arena.give_pages_back()
    assert high[0] == 2
    del high
    arena.give_pages_back()
    again = arena.take(SECTOR_BYTES, "high")
    assert again is not None and again[0] == 0  # a fresh page
    assert low[0] == 1
    assert arena.touched_bytes == 2 * SECTOR_BYTES


def holes(taken: list[tuple[int, int]], sectors: int) -> list[int]:
    edges = [0, *(edge for piece in sorted(taken) for edge in piece), sectors]
    return [b - a for a, b in zip(edges[::2], edges[1::2], strict=True)]


@pytest.mark.parametrize("seed", range(8))
def test_two_ends_leave_no_smaller_a_largest_hole_than_best_fit_from_one(seed: int) -> None:
    """Pieces of long and of short life, as in a backward pass; the same ones, put by either rule.

    A piece counts as long-lived when it outlives eight more; brute force keeps the other's map.
    """
    draw, sectors = random.Random(seed), 256
    arena = Arena(sectors * SECTOR_BYTES)
    held: list[tuple[int, np.ndarray, tuple[int, int]]] = []  # until when, by two ends, best fit
    ours = theirs = 0
    for now in range(400):
        held = [one for one in held if one[0] > now]
        late = draw.random() < 0.3
        size = draw.randint(1, 24)
        others = sorted(piece for _, _, piece in held)
        edges = [0, *(edge for piece in others for edge in piece), sectors]
        fitting = [
            (b - a, a) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= size
        ]
        array = arena.take(size * SECTOR_BYTES, "high" if late else "low")
        if array is None or not fitting:
            del array
            continue
        best = min(fitting)[1]
        until = now + (draw.randint(9, 14) if late else draw.randint(1, 3))
        held.append((until, array, (best, best + size)))
        del array
        ours += max(holes([place(a, arena) for _, a, _ in held], sectors))
        theirs += max(holes([piece for _, _, piece in held], sectors))
    assert ours >= theirs
