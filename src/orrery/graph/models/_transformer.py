"""Transformer encoders: BERT and its kin, MT-DNN, ViT.

Models:  BERT with embeddings, post-normalised layers and pooler; MiniLM as the same network with
         other sizes; MT-DNN as BERT with one output head per task; ViT with a class token,
         pre-normalised layers and a linear classifier. Layer names as in transformers.
Ignores: dropout; padding masks (all tokens of a sequence are real); MT-DNN's answer network for
         sentence pairs, which is a linear head here.
Judge:   published parameter counts; the transformers package on equal weights; ONNX Runtime.
"""

from __future__ import annotations

import numpy as np

from orrery.errors import SpecError

from .._graph import Graph
from .._types import Dimension
from ._attention import Heads, attend, gelu_mlp, head_size, split_heads
from ._builder import Builder


def bert(
    name: str, *, batch: Dimension = 1, dtype: str = "float32", sequence: int = 128,
    layers: int = 12, hidden: int = 768, heads: int = 12, inner: int = 3072,
    vocabulary: int = 30522, positions: int = 512,
) -> Graph:  # fmt: skip
    """Build a BERT encoder over token and segment numbers, [batch, sequence] each.

    Outputs the last hidden states and the pooled first token.
    """
    b = Builder(name, dtype=dtype, batch=batch)
    x = _bert_encoder(b, sequence, layers, hidden, heads, inner, vocabulary, positions)
    pooled = _pooler(b, x)
    return b.finish({"last_hidden_state": x, "pooler_output": pooled})


def mt_dnn(
    name: str, *, batch: Dimension = 1, dtype: str = "float32", sequence: int = 128,
    layers: int = 12, hidden: int = 768, heads: int = 12, inner: int = 3072,
    vocabulary: int = 30522, positions: int = 512,
) -> Graph:  # fmt: skip
    """Build MT-DNN: a shared BERT encoder with four task heads on the pooled token."""
    b = Builder(name, dtype=dtype, batch=batch)
    x = _bert_encoder(b, sequence, layers, hidden, heads, inner, vocabulary, positions)
    pooled = _pooler(b, x)
    tasks = {"sentence": 2, "similarity": 1, "inference": 3, "ranking": 1}
    return b.finish({
        task: b.linear(pooled, classes, name=f"heads.{task}") for task, classes in tasks.items()
    })  # fmt: skip


def _bert_encoder(
    b: Builder, sequence: int, layers: int, hidden: int, heads: int, inner: int, vocabulary: int,
    positions: int,
) -> str:  # fmt: skip
    if sequence > positions:
        raise SpecError(
            f"model {b.name}: sequence", found=sequence, wanted=f"at most {positions} positions",
            fix="shorten it or raise positions",
        )  # fmt: skip
    size = head_size(b.name, hidden, heads)
    tokens = b.indices("input_ids", b.batch, sequence, below=vocabulary)
    segments = b.indices("token_type_ids", b.batch, sequence, below=2)
    with b.scope("embeddings"):
        x = b.add(b.embedding(tokens, vocabulary, hidden, name="word_embeddings"),
                  b.embedding(segments, 2, hidden, name="token_type_embeddings"))  # fmt: skip
        table = b.weight("position_embeddings.weight", positions, hidden)
        x = b.add(x, b.slice(table, 0, 0, sequence, name="position_embeddings"))
        x = b.layer_norm(x, epsilon=1e-12, name="LayerNorm")
    sizes = Heads(query=heads, key_value=heads, size=size)
    for layer in range(layers):
        with b.scope("encoder.layer", layer):
            with b.scope("attention.self"):
                q, k, v = (
                    split_heads(b, b.linear(x, hidden, name=part), heads, size, part)
                    for part in ("query", "key", "value")
                )
                y = attend(b, q, k, v, sizes)
            y = b.linear(y, hidden, name="attention.output.dense")
            x = b.layer_norm(b.add(x, y), epsilon=1e-12, name="attention.output.LayerNorm")
            y = gelu_mlp(b, x, inner, "intermediate.dense", "output.dense")
            x = b.layer_norm(b.add(x, y), epsilon=1e-12, name="output.LayerNorm")
    return x


def _pooler(b: Builder, x: str) -> str:
    with b.scope("pooler"):
        first = b.select(x, 1, 0)
        return b.op("Tanh", b.linear(first, b.size(first, 1), name="dense"))


def vit(
    name: str, *, batch: Dimension = 1, dtype: str = "float32", image: int = 224, patch: int = 16,
    layers: int = 12, hidden: int = 768, heads: int = 12, inner: int = 3072, classes: int = 1000,
) -> Graph:  # fmt: skip
    """Build a vision transformer that classifies by its class token."""
    if image % patch:
        raise SpecError(
            f"model {name}: image", found=image, wanted=f"a multiple of patch ({patch})",
            fix="change image or patch",
        )  # fmt: skip
    b = Builder(name, dtype=dtype, batch=batch)
    size = head_size(name, hidden, heads)
    count = (image // patch) ** 2
    x = b.input("image", batch, 3, image, image)
    with b.scope("embeddings"):
        x = b.conv(x, hidden, kernel=patch, stride=patch, padding=0, bias=True, gain=1.0,
                   name="patch_embeddings.projection")  # fmt: skip
        x = b.transpose(b.reshape(x, 0, hidden, count), 0, 2, 1, name="patches")
        x = b.concat(_for_each_image(b, x, b.weight("cls_token", 1, 1, hidden)), x)
        x = b.add(x, b.weight("position_embeddings", 1, count + 1, hidden, scale=0.3))
    sizes = Heads(query=heads, key_value=heads, size=size)
    for layer in range(layers):
        with b.scope("layers", layer):
            y = b.layer_norm(x, epsilon=1e-12, name="layernorm_before")
            with b.scope("attention"):
                q, k, v = (
                    split_heads(b, b.linear(y, hidden, name=part), heads, size, part)
                    for part in ("q_proj", "k_proj", "v_proj")
                )
                y = attend(b, q, k, v, sizes)
            x = b.add(x, b.linear(y, hidden, gain=0.5, name="attention.o_proj"))
            y = b.layer_norm(x, epsilon=1e-12, name="layernorm_after")
            x = b.add(x, gelu_mlp(b, y, inner, "mlp.fc1", "mlp.fc2", gain=0.5))
    x = b.select(b.layer_norm(x, epsilon=1e-12, name="layernorm"), 1, 0)
    return b.finish({"logits": b.linear(x, classes, name="classifier")})


def _for_each_image(b: Builder, x: str, token: str) -> str:
    """Repeat a token of [1, 1, hidden] as often as there are images."""
    if isinstance(b.batch, int):
        shape = b.constant(np.array([b.batch, 1, 1], np.int64), "cls.shape")
    else:
        count = b.op("Shape", x, name="cls.images", start=0, end=1)
        shape = b.concat(count, b.constant(np.array([1, 1], np.int64), "cls.ones"), axis=0,
                         name="cls.shape")  # fmt: skip
    return b.op("Expand", token, shape, name="cls.tokens")
