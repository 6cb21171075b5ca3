"""Derivatives of gathering (scatter with addition) and scattering (gather).

Judge: PyTorch's gradients, with repeated indices where they are defined.
"""

from __future__ import annotations

import numpy as np

from .._derive import DerivativeContext, derivative
from ._shape import scatter_rows


@derivative("Gather")
def gather(c: DerivativeContext) -> list[str | None]:
    """Slices that were taken several times get all their gradients."""
    shape = c.shape(c.inputs[0])
    axis = int(c.attribute("axis", 0)) % len(shape)
    return [scatter_rows(c, c.gradient, c.inputs[1], axis, shape[axis]), None]


@derivative("GatherElements")
def gather_elements(c: DerivativeContext) -> list[str | None]:
    zeros = c.zeros_like(c.inputs[0])
    axis = int(c.attribute("axis", 0))
    return [
        c.emit("ScatterElements", zeros, c.inputs[1], c.gradient, axis=axis, reduction="add"),
        None,
    ]  # fmt: skip


@derivative("GatherND")
def gather_nd(c: DerivativeContext) -> list[str | None]:
    """With batch dimensions, the positions in the batch are put before each index."""
    data, places = c.inputs
    batch = int(c.attribute("batch_dims", 0))
    if batch:
        shape = c.shape(places)
        grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape[:batch]), indexing="ij"), -1)
        grid = grid.reshape(*shape[:batch], *[1] * (len(shape) - 1 - batch), batch)
        whole = np.broadcast_to(grid, (*shape[:-1], batch)).astype(np.int64)
        places = c.emit("Concat", c.constant(np.ascontiguousarray(whole)), places, axis=-1)
    zeros = c.zeros_like(data)
    return [c.emit("ScatterND", zeros, places, c.gradient, reduction="add"), None]


def _plain_or_added(c: DerivativeContext) -> bool:
    """Whether updates are added; other reductions are refused."""
    reduction = c.attribute("reduction", "none")
    if reduction not in ("none", "add"):
        raise c.error(f"reduction {reduction!r}", "none or add", "compute it another way")
    return bool(reduction == "add")


@derivative("ScatterElements")
def scatter_elements(c: DerivativeContext) -> list[str | None]:
    g, axis = c.gradient, int(c.attribute("axis", 0))
    added, dx, du = _plain_or_added(c), None, None
    if c.needs(0):
        zeros = None if added else c.zeros_like(c.inputs[2])
        dx = c.emit("ScatterElements", g, c.inputs[1], zeros, axis=axis) if zeros else g
    if c.needs(2):
        du = c.emit("GatherElements", g, c.inputs[1], axis=axis)
    return [dx, None, du]


@derivative("ScatterND")
def scatter_nd(c: DerivativeContext) -> list[str | None]:
    g = c.gradient
    added, dx, du = _plain_or_added(c), None, None
    if c.needs(0):
        zeros = None if added else c.zeros_like(c.inputs[2])
        dx = c.emit("ScatterND", g, c.inputs[1], zeros) if zeros else g
    if c.needs(2):
        du = c.emit("GatherND", g, c.inputs[1])
    return [dx, None, du]
