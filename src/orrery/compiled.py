"""Loops as machine code, by numba, which is loaded when the first one is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["machine_code"]


def machine_code(
    *loops: Any, calls: Iterable[Any] = (), **options: Any
) -> tuple[Callable[..., Any], ...]:
    """Return functions compiled, kept on disk where a cache may be written.

    Parameters
    ----------
    calls : functions that the loops, or each other, call by their names
    options : of numba's ``njit``
    """
    from numba import njit
    from numba.extending import register_jitable

    for inner in calls:
        register_jitable(inner)
    try:
        return tuple(njit(cache=True, **options)(loop) for loop in loops)
    except RuntimeError:  # neither beside their file nor in the user's cache may it write
        return tuple(njit(**options)(loop) for loop in loops)
