"""A formula as a list of vector instructions, for machine code that knows no formula.

Each instruction makes one row of numbers from one or two others and a constant. What nobody reads
is left out, what is the same is computed once, and rows are used again when nobody needs them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

(ADD, LESS, TIMES, MOST, SHARE, ABOVE, FILL, ADD_C, TIMES_C, MOST_C, SHARE_C, ABOVE_C, CEILING,
 NEAREST, STEPS, OVER, KEPT, LEAVE) = range(18)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """A row of numbers: an input, or what an instruction makes."""

    place: int


Value = Row | float


class Tape:
    """Instructions under construction; every method returns a row or, when it can, a constant."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int, int, float], Row] = {}
        self._inputs = 0
        self._lines: list[tuple[int, int, int, float]] = []

    def input(self) -> Row:
        """Return a new input."""
        self._lines.append((-1, -1, -1, float(self._inputs)))
        self._inputs += 1
        return Row(len(self._lines) - 1)

    def _line(self, code: int, one: int = -1, two: int = -1, constant: float = 0.0) -> Row:
        line = code, one, two, constant
        if line not in self._made:
            self._lines.append(line)
            self._made[line] = Row(len(self._lines) - 1)
        return self._made[line]

    def _row(self, value: Value) -> int:
        return value.place if isinstance(value, Row) else self._line(FILL, constant=value).place

    def add(self, one: Value, two: Value) -> Value:
        """Return one + two."""
        if not isinstance(one, Row):
            one, two = two, one
        if not isinstance(one, Row):
            return one + two  # type: ignore[operator]  # both are numbers
        if not isinstance(two, Row):
            return self._line(ADD_C, one.place, constant=two) if two else one
        return self._line(ADD, one.place, two.place)

    def less(self, one: Value, two: Value) -> Value:
        """Return one - two."""
        if not isinstance(two, Row):
            return self.add(one, -two)
        if not isinstance(one, Row):
            return self.add(self.times(two, -1.0), one)
        return self._line(LESS, one.place, two.place)

    def times(self, one: Value, two: Value) -> Value:
        """Return one times two."""
        if not isinstance(one, Row):
            one, two = two, one
        if not isinstance(one, Row):
            return one * two  # type: ignore[operator]  # both are numbers
        if not isinstance(two, Row):
            if two in (0.0, 1.0):
                return one if two else 0.0
            return self._line(TIMES_C, one.place, constant=two)
        return self._line(TIMES, one.place, two.place)

    def most(self, one: Value, two: Value) -> Value:
        """Return the larger one."""
        if not isinstance(one, Row):
            one, two = two, one
        if not isinstance(one, Row):
            return max(one, two)  # type: ignore[type-var]  # both are numbers
        if not isinstance(two, Row):
            return self._line(MOST_C, one.place, constant=two)
        return one if one == two else self._line(MOST, one.place, two.place)

    def share(self, one: Value, two: Row) -> Value:
        """Return one / two, zero where two is."""
        if not isinstance(one, Row):
            return self._line(SHARE_C, two.place, constant=one) if one else 0.0
        return self._line(SHARE, one.place, two.place)

    def above(self, one: Row, two: Value) -> Row:
        """Return 1 where one > two, else 0."""
        if not isinstance(two, Row):
            return self._line(ABOVE_C, one.place, constant=two)
        return self._line(ABOVE, one.place, two.place)

    def ceiling(self, one: Value, by: float = 1.0) -> Value:
        """Return one times `by`, rounded up."""
        if not isinstance(one, Row):
            return float(math.ceil(one * by))
        return self._line(CEILING, one.place, constant=by)

    def nearest(self, one: Value, by: float) -> Value:
        """Return one times `by`, rounded."""
        if not isinstance(one, Row):
            return float(round(one * by))
        return self._line(NEAREST, one.place, constant=by)

    def steps(self, whole: float, part: Row) -> Row:
        """Return how often a part is contained in the whole."""
        return self._line(STEPS, part.place, constant=whole)

    def over(self, one: Value, most: float) -> Value:
        """Return infinity where one > most, else 0."""
        if not isinstance(one, Row):
            return math.inf if one > most else 0.0
        return 0.0 if most == math.inf else self._line(OVER, one.place, constant=most)

    def kept(self, one: Value, two: Row, most: float) -> Row:
        """Return one where two <= most, else 0."""
        return self._line(KEPT, self._row(one), two.place, most)

    def leave(self, one: Value) -> None:
        """End here when one is infinite everywhere: the result is."""
        if isinstance(one, Row):
            self._lines.append((LEAVE, one.place, -1, 0.0))

    def cut(
        self, result: Value
    ) -> tuple[list[int], tuple[NDArray[np.int64], NDArray[np.float64], int]]:
        """Return the inputs that matter, and instructions with constants and number of rows.

        An instruction is code, row to make, one and two; inputs are the first rows, in their
        order. The last instruction makes the result.
        """
        end = self._row(result)
        read, stack = {end}, [end, *(one for code, one, _, _ in self._lines if code == LEAVE)]
        while stack:
            place = stack.pop()
            read.add(place)
            stack += [p for p in self._lines[place][1:3] if p >= 0 and p not in read]
        inputs = [n for n in sorted(read) if self._lines[n][0] < 0]
        body = [n for n, line in enumerate(self._lines)
                if n != end and (line[0] == LEAVE or (n in read and line[0] >= 0))]  # fmt: skip
        body.append(end)
        last = {p: n for n in body for p in self._lines[n][1:3]}
        rows = {n: place for place, n in enumerate(inputs)}
        free: list[int] = []
        used = len(inputs)
        codes, constants = [], []
        for n in body:
            code, one, two, constant = self._lines[n]
            # The row that is made is none that is read: loops over them may run side by side.
            if code != LEAVE:
                if not free:
                    free.append(used)
                    used += 1
                rows[n] = free.pop()
            codes.append((code, rows.get(n, 0), rows.get(one, 0), rows.get(two, 0)))
            constants.append(constant)
            free += [rows[p] for p in {one, two} if p >= 0 and last[p] == n
                     and self._lines[p][0] >= 0]  # fmt: skip
        arrays = np.array(codes, np.int64).reshape(-1, 4), np.array(constants), used
        return [int(self._lines[n][3]) for n in inputs], arrays
