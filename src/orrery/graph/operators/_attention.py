"""Attention in its forms: dot-product, customised by bodies, linear; and rotary positions.

Models:  masks, causality, windows, caches and grouped heads exactly as ONNX defines them.
Ignores: tiling and online softmax: they change the order of a sum, not what is computed. Narrow
         types are computed in float32 and rounded once, not after every step.
Judge:   ONNX node tests; ONNX Runtime and a plain loop on random shapes.

Counts are nominal: masked and causal scores are counted as if they were computed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from orrery.errors import ModelError

from .._graph import Graph
from .._operator import Array, Operations, TypeContext, operator
from .._types import Dimension, TensorType
from ._control import run_body
from ._rules import (
    Shape,
    agree,
    divide_out,
    element_dtype,
    in_float32,
    is_narrow,
    plus,
    quiet,
    same_type,
    times,
)

# -- shapes ---------------------------------------------------------------------------------------


def _heads(context: TypeContext, index: int, attribute: str) -> Shape:
    """Return (batch, heads, length, head size) of Q, K or V in either layout."""
    type_ = context.input(index)
    if type_.rank == 4:
        return type_.shape
    heads = context.attribute(attribute)
    if type_.rank != 3 or not heads:
        raise context.error(f"input {index}: {type_} and {attribute}={heads}",
                            f"four dimensions, or three and {attribute}")  # fmt: skip
    return (type_.shape[0], heads, type_.shape[1], _head_size(context, type_.shape[2], heads))


def _head_size(context: TypeContext, columns: Dimension, heads: int) -> Dimension:
    """Return columns per head, a formula where the columns are a name."""
    size = divide_out((columns,), (heads,))
    if size is None and isinstance(columns, int):
        raise context.error(f"{heads} heads in {columns} columns", "heads of equal size")
    return f"({columns})//{heads}" if size is None else size


def _shapes(context: TypeContext) -> tuple[Shape, Shape, Shape, Dimension]:
    """Return the shapes of Q, K and V by head, and the total number of keys."""
    q = _heads(context, 0, "q_num_heads")
    k, v = (_heads(context, i, "kv_num_heads") for i in (1, 2))
    agree(context, q[3], k[3], "head size of queries and keys")
    if isinstance(q[1], int) and isinstance(k[1], int) and (k[1] == 0 or q[1] % k[1]):
        raise context.error(f"{q[1]} query heads and {k[1]} key heads", "a whole multiple")
    total = plus(k[2], context.input(4).shape[2]) if context.has(4) else k[2]
    return q, k, v, total


def _attention_type(context: TypeContext) -> list[TensorType | None]:
    q, k, v, total = _shapes(context)
    dtype, values = context.input(0).dtype, context.input(2).dtype
    if context.input(0).rank == 3:
        y: Shape = (q[0], q[2], times(q[1], v[3]))
    else:
        y = (q[0], q[1], q[2], v[3])
    return [
        TensorType(dtype=dtype, shape=y),
        TensorType(dtype=context.input(1).dtype, shape=(k[0], k[1], total, k[3])),
        TensorType(dtype=values, shape=(k[0], k[1], total, v[3])),
        TensorType(dtype=dtype, shape=(q[0], q[1], q[2], total)),
    ]


def _attention_count(context: TypeContext) -> Operations:
    """MACs of both products; per score: scale, 5 of softmax, 1 for a mask, 3 for a soft cap."""
    q, _, v, total = _shapes(context)
    sizes = TensorType(dtype="float32", shape=(q[0], q[1], q[2], total)).elements
    steps = 6 + int(context.has(3) or bool(context.attribute("is_causal", 0)))
    steps += 3 if context.attribute("softcap", 0.0) else 0
    per_score = int(q[3]) + int(v[3])
    return Operations(macs=sizes * per_score, others=sizes * steps)


# -- dot-product attention ------------------------------------------------------------------------


def _by_head(x: Array, heads: int | None) -> Array:
    """Return (batch, heads, length, size) from either layout."""
    if x.ndim == 4:
        return x
    if not heads:
        raise ModelError("Attention", found="three-dimensional input without a number of heads",
                         wanted="q_num_heads and kv_num_heads", fix="add them")  # fmt: skip
    split = x.reshape(*x.shape[:2], heads, x.shape[2] // heads)
    return split.transpose(0, 2, 1, 3)


def _grouped(q: Array, other: Array) -> Array:
    """Multiply each query head with the key or value head that its group shares."""
    batch, heads = q.shape[:2]
    group = heads // other.shape[1]
    split = q.reshape(batch, other.shape[1], group, *q.shape[2:])
    product: Array = np.matmul(split, other[:, :, None])
    return product.reshape(batch, heads, *product.shape[3:])


def allowed_keys(
    queries: int, keys: int, offset: Array, causal: bool, left: int, right: int
) -> Array | None:
    """Return which keys each query may see: (batch or 1, 1, queries, keys), None for all."""
    if not causal and left < 0 and right < 0:
        return None
    here = offset.reshape(-1, 1, 1, 1) + np.arange(queries)[:, None]
    key = np.arange(keys)
    allowed = np.ones((offset.size, 1, queries, keys), bool)
    if causal:
        allowed &= key <= here
    if left >= 0:
        allowed &= key >= here - left
    if right >= 0:
        allowed &= key <= here + right
    return allowed


def _masked(scores: Array, mask: Array | None) -> Array:
    """Apply a boolean or additive mask; keys beyond a shorter mask are disallowed."""
    if mask is None:
        return scores
    missing = scores.shape[-1] - mask.shape[-1]
    if missing > 0:
        fill: Any = False if mask.dtype == bool else -np.inf
        mask = np.pad(mask, [(0, 0)] * (mask.ndim - 1) + [(0, missing)], constant_values=fill)
    if mask.dtype == bool:
        return np.where(mask, scores, scores.dtype.type(-np.inf))
    added: Array = scores + mask.astype(scores.dtype)
    return added


def scores_to_output(scores: Array) -> Array:
    """Return softmax over the last axis; a row with no allowed key is zero, not NaN."""
    if scores.shape[-1] == 0:
        return scores
    peak = scores.max(axis=-1, keepdims=True)
    e = np.exp(scores - np.where(np.isneginf(peak), 0, peak))
    total = e.sum(axis=-1, keepdims=True)
    return np.asarray(e / np.where(total == 0, 1, total), scores.dtype)


@operator("Attention", infer=_attention_type, count=_attention_count)
@quiet
@in_float32
def attention(q: Array, k: Array, v: Array, mask: Array | None = None,
              past_key: Array | None = None, past_value: Array | None = None,
              nonpad: Array | None = None, *, is_causal: int = 0, kv_num_heads: int | None = None,
              left_window_size: int = -1, q_num_heads: int | None = None,
              qk_matmul_output_mode: int = 0, right_window_size: int = -1,
              scale: float | None = None, softcap: float = 0.0,
              softmax_precision: int | None = None) -> Any:  # fmt: skip
    """Return the output, both caches, and the scores at the stage that is asked for."""
    packed = q.ndim == 3
    queries, keys, values = _by_head(q, q_num_heads), _by_head(k, kv_num_heads), _by_head(
        v, kv_num_heads)  # fmt: skip
    offset = np.zeros(1, np.int64)
    if past_key is not None and past_value is not None:
        offset += past_key.shape[2]
        keys = np.concatenate([past_key, keys], axis=2)
        values = np.concatenate([past_value, values], axis=2)
    elif nonpad is not None:
        offset = nonpad.astype(np.int64) - queries.shape[2]
    factor = 1 / math.sqrt(queries.shape[3]) if scale is None else scale
    # Both factors take a root of the scale, as defined, so that products do not overflow.
    root = queries.dtype.type(math.sqrt(abs(factor)))
    signed = queries * root * queries.dtype.type(math.copysign(1.0, factor))
    scores = _grouped(signed, (keys * root).swapaxes(2, 3))
    stages = [scores]
    if softcap:
        scores = softcap * np.tanh(scores / scores.dtype.type(softcap))
    stages.append(scores)
    total = keys.shape[2]
    scores = _masked(scores, mask)
    scores = _masked(scores, allowed_keys(queries.shape[2], total, offset, bool(is_causal),
                                      left_window_size, right_window_size))  # fmt: skip
    if nonpad is not None:
        scores = _masked(scores, np.arange(total) < nonpad.reshape(-1, 1, 1, 1))
    stages.append(scores)
    probability = _in_precision(scores, softmax_precision)
    stages.append(probability)
    y = _grouped(probability, values)
    if packed:
        y = y.transpose(0, 2, 1, 3).reshape(*q.shape[:2], -1)
    return y, keys, values, stages[qk_matmul_output_mode]


def _in_precision(scores: Array, softmax_precision: int | None) -> Array:
    if softmax_precision is None:
        return scores_to_output(scores)
    wanted = element_dtype(softmax_precision)
    # Narrow types are rounded to, but computed in float32.
    rounded = scores.astype(wanted)
    computed = scores_to_output(rounded.astype(np.float32) if is_narrow(wanted) else rounded)
    return computed.astype(wanted).astype(scores.dtype)


def _flex_type(context: TypeContext) -> list[TensorType | None]:
    q, _, v, _ = _shapes(context)
    return [TensorType(dtype=context.input(0).dtype, shape=(q[0], q[1], q[2], v[3]))]


def _flex_count(context: TypeContext) -> Operations:
    """MACs of both products, scale and softmax (6 per score), and what the bodies compute."""
    q, _, v, total = _shapes(context)
    score = TensorType(dtype="float32", shape=(q[0], q[1], q[2], total))
    count = Operations(macs=score.elements * (int(q[3]) + int(v[3])), others=6 * score.elements)
    for name in ("score_mod", "prob_mod"):
        body = context.attribute(name)
        if isinstance(body, Graph):
            inner = body.with_types({**body.types, body.inputs[0]: score}).infer()
            for node in inner.nodes:
                count += inner.operations(node)
    return count


@operator("FlexAttention", infer=_flex_type, count=_flex_count, domain="ai.onnx.preview")
@quiet
def flex_attention(q: Array, k: Array, v: Array, *outer: Array, captured: int = 0,
                   prob_mod: Graph | None = None, scale: float | None = None,
                   score_mod: Graph | None = None,
                   softmax_precision: int | None = None) -> Any:  # fmt: skip
    """Return attention whose scores and probabilities pass through bodies."""
    wanted = np.float64 if q.dtype == np.float64 else np.float32
    dtype = np.dtype(wanted) if softmax_precision is None else element_dtype(softmax_precision)
    work = np.promote_types(dtype, np.float32) if not is_narrow(dtype) else np.dtype(np.float32)
    factor = 1 / math.sqrt(q.shape[3]) if scale is None else scale
    scores = _grouped(q.astype(work), k.astype(work).swapaxes(2, 3)) * work.type(factor)
    scores = _through(score_mod, scores.astype(dtype), outer)
    probability = scores_to_output(scores.astype(work)).astype(dtype)
    probability = _through(prob_mod, probability, outer)
    return _grouped(probability.astype(work), v.astype(work)).astype(q.dtype)


def _through(body: Graph | None, value: Array, outer: tuple[Array, ...]) -> Array:
    if body is None:
        return value
    result: Array = run_body(body, (value, *outer))[0]
    return result


# -- linear attention -----------------------------------------------------------------------------


def _linear_type(context: TypeContext) -> list[TensorType | None]:
    q, v = context.input(0), context.input(2)
    heads, kv = context.attribute("q_num_heads"), context.attribute("kv_num_heads")
    if not heads or not kv or heads % kv:
        raise context.error(f"{heads} query and {kv} key heads", "numbers of heads, one a multiple")
    key, value = _head_size(context, q.shape[2], heads), _head_size(context, v.shape[2], kv)
    state = TensorType(dtype=q.dtype, shape=(q.shape[0], kv, key, value))
    if context.has(3):
        state = TensorType(dtype=context.input(3).dtype, shape=state.shape)
    return [TensorType(dtype=q.dtype, shape=(*q.shape[:2], times(heads, value))), state]


def _linear_count(context: TypeContext) -> Operations:
    """Per token: k⊗v (and Sᵀk with a delta rule) per key head, Sᵀq per query head; decay apart."""
    batch, kv, key, value = context.output(1).sizes
    tokens, cell = batch * context.input(0).sizes[1], key * value
    rule = context.attribute("update_rule", "gated_delta")
    updates = kv * (2 if "delta" in rule else 1)
    others = kv * ((cell if "gated" in rule else 0) + (2 * value if "delta" in rule else 0))
    macs = tokens * cell * (updates + context.attribute("q_num_heads"))
    return Operations(macs=macs, others=tokens * others)


@operator("LinearAttention", infer=_linear_type, count=_linear_count)
@quiet
def linear_attention(q: Array, k: Array, v: Array, past: Array | None = None,
                     decay: Array | None = None, beta: Array | None = None, *,
                     chunk_size: int = 64, kv_num_heads: int = 1, q_num_heads: int = 1,
                     scale: float = 0.0, update_rule: str = "gated_delta") -> Any:  # fmt: skip
    """Carry a state of outer products over time, token by token; `chunk_size` is only a hint."""
    if update_rule not in ("linear", "gated", "delta", "gated_delta"):
        raise ModelError("LinearAttention: update_rule", found=update_rule,
                         wanted="linear, gated, delta or gated_delta",
                         fix="correct the model")  # fmt: skip
    work: Any = np.float64 if q.dtype == np.float64 else np.float32
    batch, tokens = q.shape[:2]
    queries = q.astype(work).reshape(batch, tokens, q_num_heads, -1)
    keys = k.astype(work).reshape(batch, tokens, kv_num_heads, -1)
    values = v.astype(work).reshape(batch, tokens, kv_num_heads, -1)
    shape = (batch, kv_num_heads, keys.shape[3], values.shape[3])
    state: Array = np.zeros(shape, work) if past is None else past.astype(work)
    gate = rate = None
    if "gated" in update_rule:
        if decay is None:
            raise ModelError("LinearAttention", found="no decay", wanted=f"one for {update_rule}",
                             fix="give input 4")  # fmt: skip
        gate = np.exp(decay.astype(work)).reshape(batch, tokens, kv_num_heads, -1, 1)
    if "delta" in update_rule:
        if beta is None:
            raise ModelError("LinearAttention", found="no beta", wanted=f"one for {update_rule}",
                             fix="give input 5")  # fmt: skip
        rate = beta.astype(work).reshape(batch, tokens, -1, 1)
    factor = scale or 1 / math.sqrt(queries.shape[3])
    y = np.empty((batch, tokens, q_num_heads, values.shape[3]), work)
    for t in range(tokens):
        if gate is not None:
            state = gate[:, t] * state
        key: Array = keys[:, t]
        value: Array = values[:, t]
        if rate is not None:
            value = rate[:, t] * (value - np.einsum("bhkv,bhk->bhv", state, key))
        state = state + key[..., None] * value[..., None, :]
        y[:, t] = factor * _grouped(queries[:, t, :, None], state)[:, :, 0]
    state_type = q.dtype if past is None else past.dtype
    return y.reshape(batch, tokens, -1).astype(q.dtype), state.astype(state_type)


# -- rotary positions -----------------------------------------------------------------------------


def _rotary_count(context: TypeContext) -> Operations:
    """Two products and one addition per rotated element."""
    x = context.input(0)
    heads = context.attribute("num_heads") if x.rank == 3 else None
    size = x.sizes[-1] // heads if heads else x.sizes[-1]
    rotated = context.attribute("rotary_embedding_dim", 0) or size
    return Operations(others=3 * x.elements * rotated // max(size, 1))


@operator("RotaryEmbedding", infer=same_type, count=_rotary_count)
@in_float32
def rotary_embedding(x: Array, cosine: Array, sine: Array, positions: Array | None = None, *,
                     interleaved: int = 0, num_heads: int | None = None,
                     rotary_embedding_dim: int = 0) -> Any:  # fmt: skip
    """Rotate pairs of columns of every head by an angle that depends on the position."""
    heads = _by_head(x, num_heads)
    width = rotary_embedding_dim or heads.shape[3]
    if positions is not None:
        cosine, sine = cosine[positions], sine[positions]
    cosine, sine = cosine[:, None], sine[:, None]
    if cosine.shape[-1] != width // 2 or width % 2:
        raise ModelError("RotaryEmbedding", found=f"{cosine.shape[-1]} angles for {width} columns",
                         wanted="one per pair of columns",
                         fix="correct rotary_embedding_dim")  # fmt: skip
    half = width // 2
    first = slice(0, width, 2) if interleaved else slice(0, half)
    second = slice(1, width, 2) if interleaved else slice(half, width)
    y = heads.copy()
    real, imaginary = heads[..., first], heads[..., second]
    y[..., first] = cosine * real - sine * imaginary
    y[..., second] = sine * real + cosine * imaginary
    return y.transpose(0, 2, 1, 3).reshape(x.shape) if x.ndim == 3 else y
