"""Parts of circuits, written in Amaranth; importing this package loads it."""

from ._shared import Shared

__all__ = [
    "Shared",
]
