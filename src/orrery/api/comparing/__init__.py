"""Two results side by side: figures, layers, and what changed in each."""

from ._diff import Comparison, diff

__all__ = ["Comparison", "diff"]
