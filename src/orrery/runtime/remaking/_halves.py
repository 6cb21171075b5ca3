"""Single precision stored with half the bits: how far off that is, and when it is refused.

Models:  each element rounded to half precision and back. What is returned is off, at every element,
         by no more than `MOST_OFF` of the tensor's largest one; that is measured, block by block
         while it is rounded, and a tensor for which it does not hold is refused.
Ignores: what the difference does to gradients.
Judge:   the difference at every element, calculated apart (tests/runtime/offload/test_halves.py).

PyTorch loads when a function here first runs.
"""

from __future__ import annotations

from typing import Any

#: Half a unit in the last of eleven bits: what rounding costs an element that half precision can
#: tell from zero with all its bits.
MOST_OFF = 2.0**-11
#: Elements that are rounded and compared while they are in the processor's cache.
_BLOCK = 1 << 16


def halved(flat: Any) -> tuple[Any, float] | None:
    """Return single-precision elements in half precision, and the measured difference.

    Parameters
    ----------
    flat : one axis, contiguous, float32

    Returns
    -------
    None where half precision cannot hold them: an infinity or a NaN, an element too large, or
    all so small that the bound does not hold. Otherwise the elements, and the largest difference
    as a share of the largest element.
    """
    import torch

    found = torch.empty(flat.shape, dtype=torch.float16)
    most = worst = 0.0
    with torch.no_grad():
        for start in range(0, flat.numel(), _BLOCK):
            part = flat[start : start + _BLOCK]
            short = found[start : start + _BLOCK].copy_(part)
            low, high = torch.aminmax(part)
            most = max(most, -float(low), float(high))
            off = float(short.to(torch.float32).sub_(part).abs_().max())
            if not off < float("inf"):  # too large for half precision, or no number
                return None
            worst = max(worst, off)
    if worst > MOST_OFF * most:
        return None
    return found, worst / most if most else 0.0


def widened(flat: Any) -> Any:
    """Return half-precision elements in single precision; exact."""
    import torch

    return flat.to(torch.float32)
