"""Transformer decoders that read a prompt (prefill) or add one token (decode): GPT-2, LLaMA.

Models:  prefill takes N tokens and returns logits and the key/value caches; decode takes one token
         and caches of N positions, which are resident states, and returns caches of N + 1. The
         logits are the last token's unless `all_logits` is set. Layer names as in transformers.
Ignores: padding (all sequences of a batch have one length), sampling, cache paging. The causal
         half of the prefill's scores is computed and masked, and its MACs count.
Judge:   published parameter counts; closed forms of MACs and cache bytes; prefill then decode
         equals prefill of one more token; the transformers package on equal weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orrery.errors import SpecError, did_you_mean

from .._graph import Graph
from .._types import Dimension
from ._attention import Heads, attend, gelu_mlp, head_size, split_heads
from ._builder import Builder

PHASES = ("prefill", "decode")

#: What a masked score becomes: far below any score, within the type's range.
_HIDDEN = {"float16": -6e4}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """What all layers of one phase share.

    Attributes
    ----------
    ids : the tokens, [batch, tokens]
    positions : their positions, [tokens]
    mask : true where a query may look, [tokens, positions]; empty when it may look anywhere
    hidden : scalar that a masked score becomes; empty without a mask
    past : layer -> key and value cache so far; empty for prefill
    """

    ids: str
    positions: str
    mask: str
    hidden: str
    past: tuple[tuple[str, str], ...]


def gpt2(
    name: str, *, layers: int = 12, hidden: int = 768, heads: int = 12, phase: str = "prefill",
    context: Dimension = 128, batch: Dimension = 1, dtype: str = "float32",
    all_logits: bool = False, vocabulary: int = 50257, positions: int = 1024,
) -> Graph:  # fmt: skip
    """Build a GPT-2 decoder.

    Parameters
    ----------
    phase : ``prefill`` or ``decode``
    context : tokens of the prompt, or cached positions before the token that is decoded
    all_logits : return the logits of every token, not only the last
    positions : rows of the position table
    """
    b = Builder(name, dtype=dtype, batch=batch)
    sizes = Heads(query=heads, key_value=heads, size=head_size(name, hidden, heads))
    frame = _frame(b, phase, context, layers, sizes, positions, vocabulary)
    with b.scope("transformer"):
        x = b.embedding(frame.ids, vocabulary, hidden, scale=hidden**-0.5, name="wte")
        x = b.add(x, b.embedding(
            frame.positions, positions, hidden, scale=hidden**-0.5, name="wpe"
        ))  # fmt: skip
        caches = []
        for layer in range(layers):
            with b.scope("h", layer):
                y = b.layer_norm(x, name="ln_1")
                with b.scope("attn"):
                    qkv = b.ops("Split", b.linear(y, 3 * hidden, name="c_attn"), name="split",
                                outputs=("q", "k", "v"), axis=-1, num_outputs=3)  # fmt: skip
                    q, k, v = (
                        split_heads(b, part, heads, sizes.size, label)
                        for part, label in zip(qkv, ("query", "key", "value"))
                    )
                    y, cache = _cached_attention(b, frame, layer, q, k, v, sizes)
                    y = b.linear(y, hidden, gain=0.5, name="c_proj")
                caches.append(cache)
                x = b.add(x, y)
                y = b.layer_norm(x, name="ln_2")
                x = b.add(x, gelu_mlp(b, y, 4 * hidden, "mlp.c_fc", "mlp.c_proj",
                                      approximate="tanh", gain=0.5))  # fmt: skip
        x = b.layer_norm(_wanted(b, x, all_logits), name="ln_f")
        table = b.path("wte.weight")
    return _finish(b, frame, caches, _logits(b, frame, x, table, vocabulary, all_logits))


def llama(
    name: str, *, layers: int = 32, hidden: int = 4096, heads: int = 32, group: int = 1,
    inner: int = 11008, phase: str = "prefill", context: Dimension = 128, batch: Dimension = 1,
    dtype: str = "float32", all_logits: bool = False, vocabulary: int = 32000,
    positions: int = 2048,
) -> Graph:  # fmt: skip
    """Build a LLaMA-style decoder: RMS normalisation, rotary positions, gated SiLU.

    Parameters
    ----------
    group : query heads that share one key/value head
    phase, context, all_logits : as for `gpt2`
    positions : the longest context
    """
    b = Builder(name, dtype=dtype, batch=batch)
    size = head_size(name, hidden, heads)
    if heads % group:
        raise SpecError(f"model {name}: group", found=group, wanted=f"a divisor of {heads} heads",
                        fix="change heads or group")  # fmt: skip
    sizes = Heads(query=heads, key_value=heads // group, size=size)
    frame = _frame(b, phase, context, layers, sizes, positions, vocabulary)
    rotate = _rotation(b, frame, context, positions, size)
    with b.scope("model"):
        x = b.embedding(frame.ids, vocabulary, hidden, name="embed_tokens")
        caches = []
        for layer in range(layers):
            with b.scope("layers", layer):
                y = b.rms_norm(x, name="input_layernorm")
                with b.scope("self_attn"):
                    q, k, v = (
                        split_heads(b, b.linear(y, count * size, bias=False, name=f"{part}_proj"),
                                    count, size, part)
                        for part, count in (("q", heads), ("k", sizes.key_value),
                                            ("v", sizes.key_value))
                    )  # fmt: skip
                    q, k = (
                        b.op("RotaryEmbedding", part, *rotate, name=f"{label}.rotated")
                        for part, label in ((q, "q"), (k, "k"))
                    )
                    y, cache = _cached_attention(b, frame, layer, q, k, v, sizes)
                    y = b.linear(y, hidden, bias=False, gain=0.5, name="o_proj")
                caches.append(cache)
                x = b.add(x, y)
                y = b.rms_norm(x, name="post_attention_layernorm")
                with b.scope("mlp"):
                    gate = b.linear(y, inner, bias=False, gain=2.0, name="gate_proj")
                    gate = b.op("Swish", gate, name="silu")
                    y = b.op("Mul", gate, b.linear(y, inner, bias=False, name="up_proj"))
                    y = b.linear(y, hidden, bias=False, gain=0.5, name="down_proj")
                x = b.add(x, y)
        x = b.rms_norm(_wanted(b, x, all_logits), name="norm")
    head = b.weight("lm_head.weight", vocabulary, hidden, scale=hidden**-0.5)
    return _finish(b, frame, caches, _logits(b, frame, x, head, vocabulary, all_logits))


def _frame(
    b: Builder,
    phase: str,
    context: Dimension,
    layers: int,
    heads: Heads,
    positions: int,
    vocabulary: int,
) -> _Frame:
    """Declare the inputs of a phase and what all layers share."""
    if phase not in PHASES:
        raise SpecError(f"model {b.name}: phase", found=phase, wanted=" or ".join(PHASES),
                        fix=f"choose one{did_you_mean(phase, PHASES)}")  # fmt: skip
    decode = phase == "decode"
    if isinstance(context, int) and context + decode > positions:
        raise SpecError(
            f"model {b.name}: context", found=context,
            wanted=f"at most {positions - decode} tokens", fix="shorten it or raise positions",
        )  # fmt: skip
    ids = b.indices("input_ids", b.batch, 1 if decode else context, below=vocabulary)
    shape = (b.batch, heads.key_value, context, heads.size)
    past = tuple(
        (b.state(f"past.{layer}.key", *shape), b.state(f"past.{layer}.value", *shape))
        for layer in range(layers if decode else 0)
    )
    if decode:
        if isinstance(context, int):
            place = b.constant(np.array([context], np.int64), "positions")
        else:
            place = b.op("Shape", past[0][0], name="positions", start=2, end=3)
        return _Frame(ids=ids, positions=place, mask="", hidden="", past=past)
    if isinstance(context, int):
        place = b.constant(np.arange(context), "positions", dtype="int64")
        mask = b.constant(np.tri(context, dtype=bool), "causal")
    else:
        place, mask = _open_prompt(b, ids)
    hidden = b.constant(_HIDDEN.get(b.dtype, -1e9), "hidden_score")
    return _Frame(ids=ids, positions=place, mask=mask, hidden=hidden, past=())


def _open_prompt(b: Builder, ids: str) -> tuple[str, str]:
    """Return positions and causal mask of a prompt whose length is not bound yet."""
    zero, one = (b.constant(np.array(value, np.int64), f"axis{value}") for value in (0, 1))
    length = b.op("Squeeze", b.op("Shape", ids, name="length", start=1, end=2), name="tokens")
    place = b.op("Range", zero, length, one, name="positions")
    axes = [b.constant(np.array([value], np.int64), "axes") for value in (0, 1)]
    row, column = (b.op("Unsqueeze", place, axis, name="places") for axis in axes)
    return place, b.op("LessOrEqual", row, column, name="causal")


def _rotation(
    b: Builder, frame: _Frame, context: Dimension, positions: int, size: int
) -> tuple[str, str, str]:
    """Return cosine and sine tables, [positions, size / 2], and the position of every token."""
    rows = min(context + 1, positions) if isinstance(context, int) else positions
    rates = 10000.0 ** (-np.arange(0, size, 2) / size)
    angles = np.outer(np.arange(rows), rates)
    tables = (b.constant(np.cos(angles), "cosines"), b.constant(np.sin(angles), "sines"))
    shape = b.op("Shape", frame.ids, name="ids.shape")
    return (*tables, b.op("Expand", frame.positions, shape, name="position_ids"))


def _cached_attention(
    b: Builder, frame: _Frame, layer: int, q: str, k: str, v: str, heads: Heads
) -> tuple[str, tuple[str, str]]:
    """Attend to the cached positions and the new ones; returns the mix and the longer cache."""
    if frame.past:
        key, value = frame.past[layer]
        k = b.concat(key, k, axis=2, name="present.key")
        v = b.concat(value, v, axis=2, name="present.value")
    return attend(b, q, k, v, heads, mask=frame.mask, hidden=frame.hidden), (k, v)


def _wanted(b: Builder, x: str, all_logits: bool) -> str:
    """Return the tokens whose logits are wanted, as a matrix of [tokens, hidden]."""
    if all_logits:
        return b.reshape(x, -1, b.size(x, -1), name="every_token")
    return b.select(x, 1, -1, name="last_token")


def _logits(
    b: Builder, frame: _Frame, x: str, table: str, vocabulary: int, all_logits: bool
) -> str:
    x = b.linear(x, vocabulary, bias=False, weight=table, name="lm_head")
    if not all_logits:
        return x
    shape = b.concat(
        b.op("Shape", frame.ids, name="logits.tokens"),
        b.constant(np.array([vocabulary], np.int64), "logits.vocabulary"), axis=0,
        name="logits.shape",
    )  # fmt: skip
    return b.op("Reshape", x, shape, name="logits.each")


def _finish(b: Builder, frame: _Frame, caches: list[tuple[str, str]], logits: str) -> Graph:
    outputs = {"logits": logits}
    for layer, (key, value) in enumerate(caches):
        outputs[f"present.{layer}.key"] = key
        outputs[f"present.{layer}.value"] = value
    states = {
        past: f"present.{layer}.{part}"
        for layer, pair in enumerate(frame.past)
        for past, part in zip(pair, ("key", "value"))
    }
    return b.finish(outputs, states=states)
