"""Derivative of dot-product attention: probabilities are computed again, as fused kernels do.

Models:  both layouts, grouped heads, masks, causality, windows, caches, scale and soft cap.
Ignores: `softmax_precision`; lengths that only running tells (`nonpad_kv_seqlen`) and gradients of
         the scores output are refused.
Judge:   PyTorch's gradients of `scaled_dot_product_attention` and of the written-out form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .._derive import DerivativeContext, derivative
from .._types import numpy_dtype
from ..operators._attention import allowed_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Sizes: every query head belongs to a group of one key/value head."""

    batch: int
    heads: int
    group: int
    queries: int
    keys: int

    @property
    def scores(self) -> tuple[int, ...]:
        return (self.batch, self.heads, self.group, self.queries, self.keys)

    def split(self, c: DerivativeContext, x: str) -> str:
        """[batch, heads × group, rows, size] -> [batch, heads, group, rows, size]."""
        shape = c.shape(x)
        return c.reshape(x, (self.batch, self.heads, shape[1] // self.heads, *shape[2:]))


def _by_head(c: DerivativeContext, x: str, attribute: str) -> str:
    """Return [batch, heads, length, size] from either layout."""
    shape = c.shape(x)
    if len(shape) == 4:
        return x
    heads = int(c.attribute(attribute))
    split = c.reshape(x, (shape[0], shape[1], heads, shape[2] // heads))
    return c.emit("Transpose", split, perm=(0, 2, 1, 3))


def _like_input(c: DerivativeContext, x: str, index: int) -> str:
    """Return a gradient by head in the layout of an input."""
    shape = c.shape(c.inputs[index])
    if len(shape) == 4:
        return c.reshape(x, shape)
    return c.reshape(c.emit("Transpose", x, perm=(0, 2, 1, 3)), shape)


def _flip(c: DerivativeContext, x: str) -> str:
    rank = len(c.shape(x))
    return c.emit("Transpose", x, perm=(*range(rank - 2), rank - 1, rank - 2))


def _masked(c: DerivativeContext, scores: str, at: _Layout) -> tuple[str, list[str]]:
    """Return scores with what may not be seen at minus infinity, and the conditions used."""
    conditions = []
    least = np.asarray(-np.inf, numpy_dtype(c.type(scores).dtype))
    past = c.shape(c.inputs[4])[2] if c.has(4) else 0
    static = allowed_keys(
        at.queries, at.keys, np.array([past]), bool(c.attribute("is_causal", 0)),
        int(c.attribute("left_window_size", -1)), int(c.attribute("right_window_size", -1)),
    )  # fmt: skip
    if static is not None:
        conditions.append(c.constant(static[:, :, None]))
    if c.has(3):
        mask = c.inputs[3]
        shape = c.shape(mask)
        if shape[-1] != at.keys:
            raise c.error(f"a mask of {shape[-1]} keys", f"one of all {at.keys}", "pad the mask")
        if len(shape) >= 3:
            heads = (1, 1) if shape[-3] == 1 else (at.heads, at.group)
            mask = c.reshape(mask, (*shape[:-3], *heads, *shape[-2:]))
        if c.type(mask).dtype == "bool":
            conditions.append(mask)
        else:
            scores = c.emit("Add", scores, mask)
    for condition in conditions:
        scores = c.emit("Where", condition, scores, least)
    return scores, conditions


@derivative("Attention")
def attention(c: DerivativeContext) -> list[str | None]:
    """P = softmax(scale Q Kᵀ): dV = Pᵀ G, dP = G Vᵀ, dS = P (dP - sum(P dP)), dQ = dS K, …"""
    if c.has(6) or (len(c.gradients) > 3 and c.gradients[3] is not None):
        raise c.error("lengths of keys, or a gradient of the scores", "neither of them",
                      "write attention out with MatMul and Softmax")  # fmt: skip
    q = _by_head(c, c.inputs[0], "q_num_heads")
    k, v = (_by_head(c, c.inputs[i], "kv_num_heads") for i in (1, 2))
    fresh = c.shape(k)[2]
    if c.has(4):
        k = c.emit("Concat", c.inputs[4], k, axis=2)
        v = c.emit("Concat", c.inputs[5], v, axis=2)
    batch, heads, keys, size = c.shape(k)
    at = _Layout(batch=batch, heads=heads, group=c.shape(q)[1] // heads, queries=c.shape(q)[2],
                 keys=keys)  # fmt: skip
    g = c.gradient
    if len(c.shape(c.inputs[0])) == 3:
        wide = (batch, at.queries, heads * at.group, c.shape(v)[3])
        g = c.emit("Transpose", c.reshape(g, wide), perm=(0, 2, 1, 3))
    q, k, v, g = (at.split(c, x) for x in (q, k, v, g))
    given, cap = c.attribute("scale"), float(c.attribute("softcap", 0.0))
    scale = 1 / math.sqrt(size) if given is None else float(given)
    scores = c.emit("Mul", c.emit("MatMul", q, _flip(c, k)), scale)
    bent = None
    if cap:
        bent = c.emit("Tanh", c.emit("Div", scores, cap))
        scores = c.emit("Mul", bent, cap)
    scores, conditions = _masked(c, scores, at)
    p = c.emit("Softmax", scores, axis=-1)
    for condition in conditions:  # a row in which nothing may be seen is zero, not NaN
        p = c.where(condition, p)
    dv = c.emit("MatMul", _flip(c, p), g)
    dp = c.emit("MatMul", g, _flip(c, v))
    ds = c.emit("Mul", p, c.emit("Sub", dp, c.sum(c.emit("Mul", p, dp), [-1], keepdims=True)))
    d_mask = None
    if c.needs(3):
        whole = c.reshape(ds, (batch, heads * at.group, at.queries, keys))
        d_mask = c.summed(whole, 3)
    if bent is not None:
        slope = c.emit("Sub", ds, c.emit("Mul", ds, c.emit("Mul", bent, bent)))
        ds = slope
    ds = c.emit("Mul", ds, scale)
    dq = _like_input(c, c.reshape(c.emit("MatMul", ds, k), (batch, heads * at.group,
                     at.queries, size)), 0) if c.needs(0) else None  # fmt: skip
    dk = c.emit("MatMul", _flip(c, ds), q)
    result: list[str | None] = [dq, None, None, d_mask, None, None, None]
    for index, grad, extra in ((1, dk, 1), (2, dv, 2)):
        # Grouped heads share a key/value head: their gradients add up.
        total = c.reshape(c.sum(grad, [2]), (batch, heads, keys, c.shape(grad)[-1]))
        more = c.gradients[extra] if len(c.gradients) > extra else None
        if more is not None:
            total = c.emit("Add", total, more)
        if not c.has(4):
            result[index] = _like_input(c, total, index) if c.needs(index) else None
            continue
        sizes = np.array([keys - fresh, fresh], np.int64)
        past, new = c.emit_all("Split", total, sizes, outputs=2, axis=2)
        result[index] = _like_input(c, new, index) if c.needs(index) else None
        result[index + 3] = past
    return result[: len(c.inputs)]
