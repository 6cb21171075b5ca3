"""Transforms of F(m×m, 3×3), and how any kernel and stride become 3×3 pieces of stride 1.

Before: ``y[r] = Σ_k g[k] · x[S·r + k]``, one axis. After: tap k = a + S·q belongs to phase a of
the input, z[i] = x[S·i + a], where the kernel has stride 1; a phase's kernel is cut into blocks of
three taps, the last filled with zeros. Each (phase, block) of the vertical axis with each of the
horizontal one is a piece; pieces add up before the inverse transform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TAPS = 3  #: of the native kernel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Transform:
    """y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A for an n×n tile d and m×m outputs y, n = m + 2.

    Attributes
    ----------
    bt, g, at : Bᵀ [n, n], G [n, 3] and Aᵀ [m, n]
    growth_bits : bits by which Bᵀ d B can outgrow d
    """

    m: int
    bt: NDArray[Any]
    g: NDArray[Any]
    at: NDArray[Any]
    growth_bits: int

    @property
    def n(self) -> int:
        return self.m + TAPS - 1


#: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (CVPR 2016); points 0, ±1,
#: (±2,) ∞. In F(4×4) the finite points' rows of G are 4 times theirs and the columns of Aᵀ a
#: quarter: no bit of float32 changes, and all transformed weights get one size in fixed point.
TRANSFORMS = {
    2: Transform(
        m=2, growth_bits=2,
        bt=np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], float),
        g=np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]], float) / 2,
        at=np.array([[1, 1, 1, 0], [0, 1, -1, -1]], float),
    ),
    4: Transform(
        m=4, growth_bits=7,
        bt=np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
                     [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]], float),
        g=np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 6]], float)
        / 6,
        at=np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0],
                     [0, 1, -1, 8, -8, 4]], float) / 4,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Up to three taps of one axis: tap j of the piece is kernel tap `first` + j · step, and it
    meets input row (i + j) · step + `first`.
    """

    first: int
    step: int
    taps: int


def pieces(kernel: int, stride: int) -> tuple[Piece, ...]:
    """Cut one axis of a kernel into pieces.

    >>> len(pieces(3, 1)), len(pieces(5, 1)), len(pieces(3, 2)), len(pieces(1, 2))
    (1, 2, 2, 1)
    """
    found = []
    for phase in range(min(stride, kernel)):
        taps = -(-(kernel - phase) // stride)
        found += [
            Piece(first=phase + start * stride, step=stride, taps=min(TAPS, taps - start))
            for start in range(0, taps, TAPS)
        ]
    return tuple(found)
