"""Positions drawn until what they take is known well enough.

Models:  the least and the most that every position can take are known before any is counted
         (`Outline`). Positions are drawn in proportion to the distance of the two, in rounds, until
         the interval (`_betting`) is as narrow as asked; positions that are alike are counted
         once. Array cycles are counted tile by tile; ``buffered``, a tile takes as long as its
         slowest row or, if that is longer, as its activations take to arrive.
Ignores: ``buffered``: that the slowest row of a sample is sought in the sample itself, which takes
         it for a little too slow; it is within the interval.
Judge:   all positions counted (tests/accel/bitlet/test_sampling.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .._engine import Array
from ._betting import Draws, Path

#: Positions -> cycles of rows (n, rows) and of tiles in lockstep (n, tiles).
Count = Callable[[Array], tuple[Array, Array]]
#: Positions of the first round; kinds of positions that get a prediction each.
_PILOT, _BINS = 96, 8
#: Beyond this share of the positions all are counted.
_MOST = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What is known of positions before any is counted.

    Attributes
    ----------
    least : cycles that a position takes at least in a tile, in lockstep (tiles,)
    least_row : and in a single row
    width : by how much more it may take over all tiles: in lockstep, or, ``buffered``, over one row
        of each (positions,)
    one : the most of it in a single tile, as a share of the width, of any position
    known : a number that goes with the cycles (positions,)
    alike : the positions that take the same, all of them (positions,)
    """

    least: Array
    least_row: int
    width: Array
    one: float
    known: Array
    alike: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What positions take, all of them.

    Attributes
    ----------
    steps : cycles of each tile (tiles,)
    half : of the 95 % interval of their sum
    element_cycles : over all rows
    size : positions whose cycles are known
    """

    steps: Array
    half: float
    element_cycles: float
    size: int


def counted(
    each: Array, steps: Array, copies: int, arrival: Array, elements: int, *, buffered: bool
) -> Found:
    """Return what positions take that are all counted, or of which every one takes the same.

    Parameters
    ----------
    each, steps : cycles of rows (n, rows) and of tiles in lockstep (n, tiles)
    copies : positions like each of these
    arrival : cycles in which a position's activations arrive, tile by tile (tiles,)
    elements : rows side by side
    """
    total = copies * steps.sum(0)
    if buffered:
        rows = copies * each.sum(0)
        slowest = np.maximum.reduceat(rows, np.arange(0, len(rows), elements))
        total = np.maximum(slowest, copies * len(each) * arrival)
    return Found(steps=total.astype(np.float64), half=0.0, size=copies * len(each),
                 element_cycles=float(copies * each.sum()))  # fmt: skip


def draw_sample(
    count: Count, outline: Outline, arrival: Array, elements: int, error: float,
    draw: np.random.Generator, *, buffered: bool,
) -> Found:  # fmt: skip
    """Draw positions until the interval is as narrow as asked, or all are known.

    Parameters
    ----------
    arrival, elements, buffered : see `counted`
    error : half the 95 % interval wanted, as a share of the array's cycles
    """
    same, rest = np.flatnonzero(outline.alike), np.flatnonzero(~outline.alike)
    if not len(rest):
        return counted(*count(same[:1]), len(same), arrival, elements, buffered=buffered)
    sample = _Sample(outline, same, rest, arrival, elements, draw, buffered=buffered)
    if len(same):
        sample.same = count(same[:1])
    wanted = min(_PILOT, len(rest))
    while True:
        sample.add(*count(sample.order[sample.drawn : wanted]))
        found = sample.found()
        goal = error * float(found.steps.sum())
        if found.half <= goal:
            return found
        # What was never drawn shrinks with their number, deviations with its square root.
        more = min(max((found.half / goal) ** 1.1, 1.15), 5.0)
        wanted = int(sample.drawn * more) + 1
        if wanted > _MOST * len(rest):
            wanted = len(rest)


class _Sample:
    """Draws so far."""

    def __init__(
        self, outline: Outline, same: Array, rest: Array, arrival: Array, elements: int,
        draw: np.random.Generator, *, buffered: bool,
    ) -> None:  # fmt: skip
        # Nothing is known beforehand to be certain: that would need the tiles' shares as well.
        width = np.maximum(outline.width[rest].astype(np.float64), 1.0)
        turn = np.argsort(draw.standard_exponential(len(rest)) / width)
        self.order, self.width = rest[turn], width[turn]
        known = outline.known[self.order] / self.width
        edges = np.unique(np.quantile(known, np.arange(1, _BINS) / _BINS))
        self.bins = np.searchsorted(edges, known, side="right")
        apart = np.zeros((len(rest), len(edges) + 1))
        apart[np.arange(len(rest)), self.bins] = self.width
        self.open = np.cumsum(apart[::-1], axis=0)[::-1]
        self.outline, self.positions = outline, len(rest)
        self.number_same, self.arrival, self.elements = len(same), arrival, elements
        self.buffered = buffered
        self.same: tuple[Array, Array] = np.zeros((1, 1)), np.zeros((1, len(arrival)))
        self.each: list[Array] = []
        self.steps: list[Array] = []
        self.ends: list[int] = []

    @property
    def drawn(self) -> int:
        """How many were counted, alike ones aside."""
        return self.ends[-1] if self.ends else 0

    def add(self, each: Array, steps: Array) -> None:
        """Take in a round."""
        self.each.append(each)
        self.steps.append(steps)
        self.ends.append(self.drawn + len(each))

    def found(self) -> Found:
        """Return what all positions take, from those drawn."""
        each, steps = np.concatenate(self.each), np.concatenate(self.steps)
        n = len(each)
        same_each, same_steps = (self.number_same * one[0] for one in self.same)
        if n == self.positions:
            total = same_steps + steps.sum(0)
            if self.buffered:
                total = self._slowest(same_each + each.sum(0))[1]
                total = np.maximum(total, (n + self.number_same) * self.arrival)
            return Found(
                steps=total.astype(np.float64), half=0.0, size=n + self.number_same,
                element_cycles=float(same_each.sum() + each.sum()),
            )  # fmt: skip
        draws = Draws(width=self.width[:n], bins=self.bins[:n], ends=self.ends, open_=self.open[:n])
        least = self.outline.least_row
        above = each - least
        # Rows may be many times a position's width; only the estimate is asked of this path.
        rows = draws.path(above.sum(1), most=np.inf)
        element = same_each + self.positions * least + _columns(above, rows, draws)
        if self.buffered:
            tiles, half = self._buffered(above, element, draws)
        else:
            over = steps - self.outline.least
            path = draws.path(over.sum(1))
            tiles = same_steps + self.positions * self.outline.least
            tiles = tiles + _columns(over, path, draws)
            half = path.half()
        return Found(steps=tiles, half=half, size=n + self.number_same,
                     element_cycles=float(element.sum()))  # fmt: skip

    def _slowest(self, rows: Array) -> tuple[Array, Array]:
        """Return the slowest row of each tile, and its cycles."""
        starts = range(0, len(rows), self.elements)
        place = np.array([s + int(np.argmax(rows[s : s + self.elements])) for s in starts])
        return place, rows[place]

    def _buffered(self, above: Array, rows: Array, draws: Draws) -> tuple[Array, float]:
        """Return cycles of each tile and half the interval of their sum.

        Parameters
        ----------
        above : cycles of rows over their least (n, rows)
        rows : estimated cycles of each row (rows,)
        """
        place, tiles = self._slowest(rows)
        columns = above[:, place]
        arriving = (self.positions + self.number_same) * self.arrival
        sure = np.full(len(place), self.positions * self.outline.least_row)
        if self.number_same:
            sure = sure + self.number_same * self.same[0][0][place]
        waits = arriving > tiles
        for t in np.flatnonzero(waits):  # surely so, and then it is no guess
            alone = draws.path(columns[:, t], most=self.outline.one)
            waits[t] = alone.below(float(arriving[t] - sure[t]))
        found, runs = arriving.astype(np.float64), ~waits
        if not runs.any():
            return found, 0.0
        path = draws.path(columns[:, runs].sum(1))
        worked = sure[runs] + _columns(columns[:, runs], path, draws)
        found[runs] = np.maximum(worked, found[runs])
        return found, path.half()


def _columns(surplus: Array, path: Path, draws: Draws) -> Array:
    """Return the estimated sum of each column (n, columns): what was drawn, and its share of the
    rest as draws have it."""
    weight = 1 / (np.square(path.left) * draws.width)
    shares = weight @ surplus
    total = float(shares.sum())
    if total:
        shares = shares * ((path.estimate - path.drawn) / total)
    return np.asarray(surplus.sum(0) + shares)
