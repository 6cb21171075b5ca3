"""A Winograd array: element-wise products of transformed tiles, F(2×2, 3×3) or F(4×4, 3×3)."""

from ._design import winograd

__all__ = ["winograd"]
