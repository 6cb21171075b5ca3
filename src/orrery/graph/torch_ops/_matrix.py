"""Matrix products and attention.

Models:  `scaled_dot_product_attention` is written out (product, scale, mask, softmax, product), so
         that every part can be placed and priced by itself.
Ignores: fused kernels' order of summation.
Judge:   PyTorch on each operator.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._normalize import vector_norm
from ._translation import Operand, Refusal, Translation, Value, translates


@translates("linear")
def linear(t: Translation, x: Value, weight: Value, bias: Value | None = None) -> Value:
    return linear_layer(t, x, weight, bias)


def linear_layer(t: Translation, x: Value, weight: Value, bias: Value | None) -> Value:
    """Return ``x @ weight.T + bias``."""
    if x.rank == 2 and weight.rank == 2:
        return t.op("Gemm", x, weight, bias, transB=1)
    turned = weight if weight.rank < 2 else _turned(t, weight)
    if turned is None:  # as it stands, so that the network holds it once
        rows = t.op("Gemm", t.reshape(x, [-1, t.size_of(x, -1)]), weight, bias, transB=1)
        return t.reshape(rows, [*(t.size_of(x, a) for a in range(x.rank - 1)), weight.shape[0]])
    y = t.op("MatMul", x, turned)
    return y if bias is None else t.op("Add", y, bias)


def _turned(t: Translation, weight: Value) -> Value | None:
    """Return a weight transposed; None when it is a constant that others read as it stands."""
    constant = t.constants.get(weight.name)
    if constant is None:
        return t.op("Transpose", weight, perm=[1, 0])
    if weight.name in t.turned:
        return t.turned[weight.name]
    name = f"{weight.name}.T"
    if name in t.constants:
        return Value(name=name, type=t.types[name])
    if any(weight.name in node.inputs for node in t.nodes):
        return None
    if weight.name in t.learned:  # a constant in the end, where nobody else reads the weight
        t.turned[weight.name] = t.op("Transpose", weight, perm=[1, 0])
        return t.turned[weight.name]
    return t.add_constant(name, constant.array().T)


@translates("mm", "bmm", "matmul", "mv", "dot")
def matmul(t: Translation, x: Value, y: Value) -> Value:
    return t.op("MatMul", x, y)


@translates("addmm")
def addmm(
    t: Translation, c: Value, a: Value, b: Value, *, beta: Any = 1, alpha: Any = 1
) -> Value:  # fmt: skip
    beta_, alpha_ = float(beta), float(alpha)
    return t.op("Gemm", a, b, c, alpha=None if alpha == 1 else alpha_,
                beta=None if beta == 1 else beta_)  # fmt: skip


@translates("baddbmm", "addmv")
def baddbmm(
    t: Translation, c: Value, a: Value, b: Value, *, beta: Any = 1, alpha: Any = 1
) -> Value:  # fmt: skip
    y = t.op("MatMul", a, b)
    if alpha != 1:
        y = t.op("Mul", y, t.constant(alpha, y.dtype))
    if beta == 0:
        return y
    return t.op("Add", c if beta == 1 else t.op("Mul", c, t.constant(beta, c.dtype)), y)


@translates("_trilinear")
def trilinear(
    t: Translation, first: Value, second: Value, third: Value, *axes: Any
) -> Value:  # fmt: skip
    spread = [
        t.unsqueeze(x, *more) if more else x
        for x, more in zip((first, second, third), axes[:3], strict=True)
    ]
    product = t.op("Mul", t.op("Mul", spread[0], spread[1]), spread[2])
    return t.op("ReduceSum", product, t.ints(axes[3], "axes"), keepdims=0)


@translates("_cdist_forward")
def distances(t: Translation, x: Value, y: Value, order: float, _: Any = None) -> Value:
    gaps = t.op("Sub", t.unsqueeze(x, x.rank - 1), t.unsqueeze(y, y.rank - 2))
    return vector_norm(t, gaps, order, [-1])


@translates("scaled_dot_product_attention")
def attention(
    t: Translation, query: Value, key: Value, value: Value, mask: Value | None = None,
    dropout: float = 0.0, is_causal: bool = False, *, scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:  # fmt: skip
    if dropout:
        raise Refusal("dropout that stays active outside training")
    if enable_gqa:
        key, value = (_repeat_heads(t, x, query) for x in (key, value))
    dtype = query.dtype
    if scale is None:
        scale = 1 / math.sqrt(t.static(query, -1))
    order = [*range(key.rank - 2), key.rank - 1, key.rank - 2]
    scores = t.op("MatMul", query, t.transpose(key, order))
    scores = t.op("Mul", scores, t.operand(scale, dtype))
    if is_causal:
        visible = _causal(t, query, key)
        scores = t.op("Where", visible, scores, t.constant(-math.inf, dtype))
    if mask is not None and mask.dtype == "bool":
        scores = t.op("Where", mask, scores, t.constant(-math.inf, dtype))
    elif mask is not None:
        scores = t.op("Add", scores, t.cast(mask, dtype))
    weights = t.op("Softmax", scores, axis=-1)
    if mask is not None:  # PyTorch: a query that may look nowhere gets zeros, not NaN
        weights = _hide_blind(t, weights, mask)
    return t.op("MatMul", weights, value)


def _hide_blind(t: Translation, weights: Value, mask: Value) -> Value:
    """Give zeros to queries whose whole row is masked, unless no row can be."""
    known = t.known(mask)
    if known is not None:
        seen = known if known.dtype == np.bool_ else ~np.isneginf(known.astype(np.float64))
        if seen.any(-1).all():
            return weights
    return t.op("Where", t.op("IsNaN", weights), t.constant(0, weights.dtype), weights)


def _causal(t: Translation, query: Value, key: Value) -> Value:
    rows, columns = query.shape[-2], key.shape[-2]
    if isinstance(rows, int) and isinstance(columns, int):
        return t.constant(np.tri(rows, columns, dtype=np.bool_), "bool", "causal")
    shape = t.ints([t.size_of(query, -2), t.size_of(key, -2)])
    everything = t.op("Expand", t.constant(1, "int64"), shape)
    return t.cast(t.op("Trilu", everything, upper=0), "bool")


def _repeat_heads(t: Translation, x: Value, query: Value) -> Value:
    """Give every group of query heads its own copy of the keys or values."""
    heads, wanted = t.static(x, -3), t.static(query, -3)
    if heads == wanted:
        return x
    return t.gather(x, x.rank - 3, np.repeat(np.arange(heads), wanted // heads))


@translates("_native_multi_head_attention", "_transformer_encoder_layer_fwd")
def fused_layer(t: Translation, *_: Operand, **__: Operand) -> Value:
    raise Refusal("a fused layer; trace with torch.backends.mha.set_fastpath_enabled(False)")
