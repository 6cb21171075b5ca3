"""A systolic array, cycle by cycle: operands move one element a cycle, nothing is broadcast.

Models:  output-stationary: rows of A enter from the left and columns of B from above, each a cycle
         later than its neighbour; every element adds the product of what passes. Stationary
         operand: it is shifted in row by row, one row a cycle, then the other one enters from the
         left, skewed, and sums run down.
Ignores: how results leave an output-stationary array.
Judge:   the sums are the product (tests); the closed forms of SCALE-Sim's counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.int64]


def output_stationary(a: Matrix, b: Matrix) -> tuple[Matrix, int]:
    """Return a @ b and the cycle, counted from zero, of the last multiplication."""
    (rows, depth), cols = a.shape, b.shape[1]
    right, down = np.zeros((rows, cols), np.int64), np.zeros((rows, cols), np.int64)
    busy, sums = np.zeros((rows, cols), bool), np.zeros((rows, cols), np.int64)
    cycle, last = 0, -1
    while cycle == 0 or busy.any():
        entering = [cycle - i for i in range(max(rows, cols))]
        right[:, 1:], down[1:] = right[:, :-1].copy(), down[:-1].copy()
        busy[:, 1:] = busy[:, :-1].copy()
        for i in range(rows):
            here = 0 <= entering[i] < depth
            right[i, 0], busy[i, 0] = (a[i, entering[i]] if here else 0), here
        for j in range(cols):
            down[0, j] = b[entering[j], j] if 0 <= entering[j] < depth else 0
        sums += np.where(busy, right * down, 0)
        last = cycle if busy.any() else last
        cycle += 1
    return sums, last


def stationary_operand(moving: Matrix, held: Matrix) -> tuple[Matrix, int]:
    """Return moving @ held, held in the array, and the cycle of the last multiplication."""
    (count, rows), cols = moving.shape, held.shape[1]
    weights = np.zeros((rows, cols), np.int64)
    for loaded in range(rows):  # the last row first, each shifted down by the next
        weights[1:] = weights[:-1].copy()
        weights[0] = held[rows - 1 - loaded]
    right, sums = np.zeros((rows, cols), np.int64), np.zeros((rows, cols), np.int64)
    busy, found = np.zeros((rows, cols), bool), np.zeros((count, cols), np.int64)
    cycle, last = 0, -1
    while cycle == 0 or busy.any():
        right[:, 1:], busy[:, 1:] = right[:, :-1].copy(), busy[:, :-1].copy()
        for k in range(rows):
            here = 0 <= cycle - k < count
            right[k, 0], busy[k, 0] = (moving[cycle - k, k] if here else 0), here
        above = np.vstack((np.zeros((1, cols), np.int64), sums[:-1]))
        sums = np.where(busy, above + right * weights, 0)
        for j in np.flatnonzero(busy[-1]):
            found[cycle - (rows - 1) - j, j] = sums[-1, j]
        last = cycle if busy.any() else last
        cycle += 1
    return found, rows + last
