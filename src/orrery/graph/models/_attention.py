"""Multi-head attention in the primitives that machines map: MatMul, Softmax and their glue."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from orrery.errors import SpecError

from ._builder import Builder


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Sizes of an attention layer: query heads, key/value heads, elements per head."""

    query: int
    key_value: int
    size: int


def head_size(name: str, hidden: int, heads: int) -> int:
    """Return elements per head.

    Raises
    ------
    SpecError : the hidden size does not divide among the heads
    """
    if hidden % heads:
        raise SpecError(
            f"model {name}: heads", found=f"{heads} heads for {hidden} elements",
            wanted="a divisor of the hidden size", fix="change heads or hidden",
        )  # fmt: skip
    return hidden // heads


def split_heads(b: Builder, x: str, count: int, size: int, name: str) -> str:
    """Part the last axis: [batch, tokens, count·size] -> [batch, count, tokens, size]."""
    x = b.reshape(x, 0, 0, count, size, name=f"{name}.split")
    return b.transpose(x, 0, 2, 1, 3, name=f"{name}.heads")


def attend(
    b: Builder, q: str, k: str, v: str, heads: Heads, *, mask: str = "", hidden: str = ""
) -> str:
    """Mix values by the similarity of queries and keys.

    Parameters
    ----------
    q : [batch, query heads, tokens, size]
    k, v : [batch, key/value heads, positions, size]
    mask : true where a query may look, broadcast to [batch, heads, tokens, positions]
    hidden : scalar that a masked score becomes; needed with a mask

    Returns
    -------
    [batch, tokens, query heads·size]

    Several query heads may share a key/value head (grouped-query attention): an axis for the
    members of a group is broadcast over keys and values.
    """
    grouped = heads.query > heads.key_value
    keys = b.transpose(k, 0, 1, 3, 2, name="keys")
    if grouped:
        group = heads.query // heads.key_value
        q = b.reshape(q, 0, heads.key_value, group, -1, heads.size, name="groups")
        axis = b.constant(np.array([2], np.int64), "group.axis")
        keys = b.op("Unsqueeze", keys, axis, name="keys.shared")
        v = b.op("Unsqueeze", v, axis, name="values.shared")
    scores = b.op("MatMul", q, keys, name="scores")
    scores = b.op("Mul", scores, b.constant(1 / sqrt(heads.size), "scale"), name="scaled")
    if mask:
        scores = b.op("Where", mask, scores, hidden, name="masked")
    weights = b.op("Softmax", scores, name="weights", axis=-1)
    mixed = b.op("MatMul", weights, v, name="mixed")
    if grouped:
        mixed = b.reshape(mixed, 0, heads.query, -1, heads.size, name="ungrouped")
    mixed = b.transpose(mixed, 0, 2, 1, 3, name="tokens")
    return b.reshape(mixed, 0, 0, heads.query * heads.size, name="joined")


def gelu_mlp(
    b: Builder, x: str, inner: int, up: str, down: str, *, approximate: str = "none",
    gain: float = 1.0,
) -> str:  # fmt: skip
    """Widen, apply GELU, narrow again."""
    hidden = b.size(x, -1)
    x = b.op("Gelu", b.linear(x, inner, gain=2.0, name=up), name="gelu", approximate=approximate)
    return b.linear(x, hidden, gain=gain, name=down)
