"""Products of matrices and attention in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from orrery.graph import Node, TensorType

from ._torch_table import operation, torch_dtype


@operation("MatMul")
def matmul(t: Any, a: Any, b: Any) -> Any:
    return t.matmul(a, b)


@operation("Gemm")
def gemm(
    t: Any, a: Any, b: Any, c: Any = None, *, alpha: float = 1.0, beta: float = 1.0,
    transA: int = 0, transB: int = 0,
) -> Any:  # fmt: skip
    a, b = a.T if transA else a, b.T if transB else b
    if c is not None and a.is_floating_point():
        return t.addmm(c, a, b, alpha=alpha, beta=beta)
    y = t.matmul(a, b)
    y = y if alpha == 1.0 else (alpha * y).to(a.dtype)
    if c is None:
        return y
    return y + (c if beta == 1.0 else (beta * c).to(a.dtype))


def _refuse_einsum(node: Node, types: Mapping[str, TensorType]) -> str | None:
    kinds = {types[name].dtype for name in node.inputs if name in types}
    return "whole numbers" if any("int" in kind for kind in kinds) else None


@operation("Einsum", refuse=_refuse_einsum)
def einsum(t: Any, *tensors: Any, equation: str = "") -> Any:
    return t.einsum(equation.replace(" ", ""), *tensors)


@operation("Det")
def det(t: Any, x: Any) -> Any:
    return t.linalg.det(x)


def _shifted(t: Any, x: Any, zero_point: Any, by_row: bool) -> Any:
    wide = x.to(t.int32)
    if zero_point is None:
        return wide
    zero = zero_point.to(t.int32)
    if zero.dim() == 1 and by_row and zero.numel() > 1:
        zero = zero[:, None]
    return wide - zero


@operation("MatMulInteger")
def matmul_integer(
    t: Any, a: Any, b: Any, a_zero_point: Any = None, b_zero_point: Any = None
) -> Any:
    # Sums of products of 9 bits stay exact in float64, whose products are the fast ones.
    left = _shifted(t, a, a_zero_point, True).double()
    right = _shifted(t, b, b_zero_point, False).double()
    return t.matmul(left, right).to(t.int64).to(t.int32)


# -- attention ----------------------------------------------------------------------------------


def _by_head(x: Any, heads: int | None) -> Any:
    if x.dim() == 4:
        return x
    assert heads is not None
    return x.reshape(*x.shape[:2], heads, x.shape[2] // heads).transpose(1, 2)


def _grouped(t: Any, q: Any, other: Any) -> Any:
    batch, heads = q.shape[:2]
    group = heads // other.shape[1]
    if group == 1:
        return t.matmul(q, other)
    product = t.matmul(q.reshape(batch, other.shape[1], group, *q.shape[2:]), other[:, :, None])
    return product.reshape(batch, heads, *product.shape[3:])


def _refuse_attention(node: Node, types: Mapping[str, TensorType]) -> str | None:
    if node.attributes.get("softmax_precision") not in (None, 1):
        return "softmax in another precision than float32"
    packed = [name for name in node.inputs[:3] if name in types and types[name].rank == 3]
    if packed and not (node.attributes.get("q_num_heads") and node.attributes.get("kv_num_heads")):
        return "packed heads without their number"
    return None


def _masked(t: Any, scores: Any, mask: Any) -> Any:
    missing = scores.shape[-1] - mask.shape[-1]
    if mask.dtype == t.bool:
        if missing > 0:
            mask = t.nn.functional.pad(mask.to(t.uint8), [0, missing]).to(t.bool)
        return scores.masked_fill(~mask, -math.inf)
    if missing > 0:
        mask = t.nn.functional.pad(mask, [0, missing], value=-math.inf)
    return scores + mask.to(scores.dtype)


@operation("Attention", refuse=_refuse_attention, wide=True)
def attention(
    t: Any, q: Any, k: Any, v: Any, mask: Any = None, past_key: Any = None, past_value: Any = None,
    nonpad: Any = None, *, is_causal: int = 0, kv_num_heads: int | None = None,
    left_window_size: int = -1, q_num_heads: int | None = None, qk_matmul_output_mode: int = 0,
    right_window_size: int = -1, scale: float | None = None, softcap: float = 0.0,
    softmax_precision: int | None = None,
) -> Any:  # fmt: skip
    queries, keys, values = (
        _by_head(q, q_num_heads), _by_head(k, kv_num_heads), _by_head(v, kv_num_heads)
    )  # fmt: skip
    offset = t.zeros(1, dtype=t.int64, device=q.device)
    if past_key is not None and past_value is not None:
        offset = offset + past_key.shape[2]
        keys, values = t.cat([past_key, keys], 2), t.cat([past_value, values], 2)
    elif nonpad is not None:
        offset = nonpad.to(t.int64) - queries.shape[2]
    factor = 1 / math.sqrt(queries.shape[3]) if scale is None else scale
    root = math.sqrt(abs(factor))
    scores = _grouped(t, queries * math.copysign(root, factor), (keys * root).transpose(2, 3))
    stages = [scores]
    if softcap:
        scores = softcap * t.tanh(scores / softcap)
    stages.append(scores)
    total = keys.shape[2]
    if mask is not None:
        scores = _masked(t, scores, mask)
    key = t.arange(total, device=q.device)
    here = offset.reshape(-1, 1, 1, 1) + t.arange(queries.shape[2], device=q.device)[:, None]
    if is_causal:
        scores = scores.masked_fill(key > here, -math.inf)
    if left_window_size >= 0:
        scores = scores.masked_fill(key < here - left_window_size, -math.inf)
    if right_window_size >= 0:
        scores = scores.masked_fill(key > here + right_window_size, -math.inf)
    if nonpad is not None:
        scores = scores.masked_fill(key >= nonpad.reshape(-1, 1, 1, 1), -math.inf)
    stages.append(scores)
    # A row with no allowed key is zero, not NaN.
    none = t.isneginf(scores).all(-1, keepdim=True)
    probability = t.softmax(scores.masked_fill(none, 0), -1).masked_fill(none, 0)
    stages.append(probability)
    y = _grouped(t, probability, values)
    if q.dim() == 3:
        y = y.transpose(1, 2).reshape(*q.shape[:2], -1)
    return y, keys, values, stages[qk_matmul_output_mode]


@operation("RotaryEmbedding", wide=True)
def rotary_embedding(
    t: Any, x: Any, cosine: Any, sine: Any, positions: Any = None, *, interleaved: int = 0,
    num_heads: int | None = None, rotary_embedding_dim: int = 0,
) -> Any:  # fmt: skip
    heads = _by_head(x, num_heads)
    width = rotary_embedding_dim or heads.shape[3]
    if positions is not None:
        cosine, sine = cosine[positions], sine[positions]
    cosine, sine = cosine[:, None], sine[:, None]
    turned, rest = heads[..., :width], heads[..., width:]
    if interleaved:
        real, imaginary = turned[..., 0::2], turned[..., 1::2]
    else:
        real, imaginary = turned[..., : width // 2], turned[..., width // 2 :]
    first, second = cosine * real - sine * imaginary, sine * real + cosine * imaginary
    if interleaved:
        both = t.stack([first, second], -1).reshape(turned.shape)
    else:
        both = t.cat([first, second], -1)
    y = t.cat([both, rest], -1) if rest.shape[-1] else both
    return y.transpose(1, 2).reshape(x.shape) if x.dim() == 3 else y


# -- quantised -----------------------------------------------------------------------------------


@operation("DynamicQuantizeLinear")
def dynamic_quantize_linear(t: Any, x: Any) -> Any:
    zero = t.zeros((), dtype=x.dtype, device=x.device)
    low = t.minimum(zero, x.amin()) if x.numel() else zero
    high = t.maximum(zero, x.amax()) if x.numel() else zero
    scale = (high - low) / 255
    divisor = t.where(scale == 0, 1.0, scale)
    zero_point = t.round(-low / divisor).clamp(0, 255)
    y = (t.round(x / divisor) + zero_point).clamp(0, 255)
    return y.to(torch_dtype(t, "uint8")), scale, zero_point.to(torch_dtype(t, "uint8"))
