"""The GPUs that PyTorch finds, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orrery.errors import SpecError


def known_gpu(library: Any, name: str, *, where: str, also: Sequence[str] = ()) -> str:
    """Return the name of a GPU that is here; ``cuda`` without a number is the one in use.

    Parameters
    ----------
    library : PyTorch
    where : who asks, for the error
    also : what may be named there beside GPUs

    Raises
    ------
    SpecError : no such GPU
    """
    known = [f"cuda:{number}" for number in range(library.cuda.device_count())]
    if name == "cuda" and known:
        return f"cuda:{library.cuda.current_device()}"
    if name not in known:
        raise SpecError(where, found=name,
                        wanted=f"one of {', '.join([*also, *known]) or '(no GPU is here)'}",
                        fix="name a GPU of this machine")  # fmt: skip
    return name
