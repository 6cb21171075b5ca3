"""Networks of several branches over text and tables: Siamese LSTM, Wide&Deep, MemN2N.

Models:  a Siamese pair of LSTMs with shared weights and similarity exp(-L1) (MaLSTM); Wide&Deep
         with a linear part over crossed features and a deep part over embeddings, joined as its
         multi-modal forms do with an LSTM over text and a residual network over an image; the
         end-to-end memory network with adjacent weight tying and temporal encoding.
Ignores: hashing of crossed features (they arrive as a multi-hot vector); MemN2N's position
         encoding of words (sentences are sums of words); padding.
Judge:   closed forms of the counts; ONNX Runtime; NumPy written from the definition.
"""

from __future__ import annotations

import numpy as np

from .._graph import Graph
from .._types import Dimension
from ._builder import Builder
from ._resnet import resnet_features


def lstm(b: Builder, x: str, hidden: int, *, bias: bool = True, name: str = "lstm") -> str:
    """Add a forward LSTM over [steps, batch, features]; returns [steps, batch, hidden].

    The gates are stacked in ONNX's order: input, output, forget, cell. A second layer of the same
    name shares the weights of the first.
    """
    wide, scale = b.size(x, -1), hidden**-0.5
    weights = [
        b.weight(f"{name}.weight_ih", 1, 4 * hidden, wide, scale=wide**-0.5),
        b.weight(f"{name}.weight_hh", 1, 4 * hidden, hidden, scale=scale),
    ]
    if bias:
        weights.append(b.weight(f"{name}.bias", 1, 8 * hidden, scale=0.1))
    (y,) = b.ops("LSTM", x, *weights, name=name, outputs=("all",), hidden_size=hidden)
    return b.op("Squeeze", y, b.constant(np.array([1], np.int64), f"{name}.axis"),
                name=f"{name}.states")  # fmt: skip


def _last_state(b: Builder, ids: str, vocabulary: int, wide: int, hidden: int) -> str:
    """Read a text of [batch, words] with an embedding and an LSTM; returns the last state."""
    words = b.embedding(ids, vocabulary, wide, name="words")
    steps = b.transpose(words, 1, 0, 2, name="steps")
    return b.select(lstm(b, steps, hidden), 0, -1, name="last")


def siamese_lstm(
    name: str, *, batch: Dimension = 1, dtype: str = "float32", sequence: int = 32,
    vocabulary: int = 30000, embedding: int = 300, hidden: int = 50,
) -> Graph:  # fmt: skip
    """Build a Siamese LSTM: how alike are two sentences of [batch, sequence] words?

    Outputs exp(-|a - b|₁) of the two last states, [batch, 1]. Both branches read one set of
    weights.
    """
    b = Builder(name, dtype=dtype, batch=batch)
    ids = [b.indices(side, batch, sequence, below=vocabulary) for side in ("left", "right")]
    left, right = (_last_state(b, side, vocabulary, embedding, hidden) for side in ids)
    distance = b.op("ReduceL1", b.op("Sub", left, right), b.constant(np.array([1]), "axes"),
                    keepdims=1, name="distance")  # fmt: skip
    return b.finish({"similarity": b.op("Exp", b.op("Neg", distance))})


def wide_deep(
    name: str, *, batch: Dimension = 1, dtype: str = "float32", crossed: int = 5000,
    fields: int = 26, vocabulary: int = 10000, embedding: int = 32, numbers: int = 13,
    inner: int = 1024, sequence: int = 64, words: int = 30000, hidden: int = 512,
    image: int = 224, width: float = 1.0, depth: float = 1.0,
) -> Graph:  # fmt: skip
    """Build Wide&Deep with four branches: wide, deep, text and image.

    Parameters
    ----------
    crossed : crossed features of the wide part, a multi-hot vector
    fields, vocabulary, embedding : categorical fields of the deep part, their values, their size
    numbers : continuous features of the deep part
    inner : width of the deep part's first layer (halved twice)
    sequence, words, hidden : length, vocabulary and LSTM size of the text
    image, width, depth : size of the image and factors on its ResNet-18
    """
    b = Builder(name, dtype=dtype, batch=batch)
    wide = b.input("wide", batch, crossed)
    categories = b.indices("categories", batch, fields, below=vocabulary)
    dense = b.input("numbers", batch, numbers)
    text = b.indices("text", batch, sequence, below=words)
    picture = b.input("image", batch, 3, image, image)
    parts = []
    with b.scope("wide_part"):
        parts.append(b.linear(wide, 1))
    with b.scope("deep_part"):
        offsets = b.constant(np.arange(fields) * vocabulary, "field_starts", dtype="int64")
        rows = b.add(categories, offsets, name="rows")
        x = b.flatten(b.embedding(rows, fields * vocabulary, embedding))
        x = b.concat(x, dense)
        for place, features in enumerate((inner, inner // 2, inner // 4)):
            x = b.relu(b.linear(x, features, gain=2.0, name=f"fc{place}"))
        parts.append(b.linear(x, 1, name="out"))
    with b.scope("text_part"):
        parts.append(b.linear(_last_state(b, text, words, 300, hidden), 1, name="out"))
    with b.scope("image_part"):
        x = resnet_features(b, picture, (2, 2, 2, 2), False, width=width, depth=depth)
        parts.append(b.linear(b.global_pool(x), 1, name="out"))
    total = b.op("Sum", *parts, name="joined")
    return b.finish({"probability": b.op("Sigmoid", total)})


def memn2n(
    name: str, *, batch: Dimension = 1, dtype: str = "float32", memories: int = 50,
    sequence: int = 8, vocabulary: int = 180, hidden: int = 64, hops: int = 3,
) -> Graph:  # fmt: skip
    """Build an end-to-end memory network: answer a question from a story.

    Inputs are a story of [batch, memories, sequence] words and a question of [batch, sequence];
    the output has one score per word. Tables are tied as neighbours: what a hop reads values
    with, the next compares keys with; the first is the question's, the last the answer's.
    """
    b = Builder(name, dtype=dtype, batch=batch)
    story = b.indices("story", batch, memories, sequence, below=vocabulary)
    question = b.indices("question", batch, sequence, below=vocabulary)
    scale = sequence**-0.5
    words = [b.weight(f"words{hop}", vocabulary, hidden, scale=scale) for hop in range(hops + 1)]
    times = [b.weight(f"time{hop}", memories, hidden, scale=0.3) for hop in range(hops + 1)]

    def read(table: str, ids: str, axis: int, label: str) -> str:
        rows = b.op("Gather", table, ids, name=f"{label}.words", axis=0)
        axes = b.constant(np.array([axis]), f"{label}.axes")
        return b.op("ReduceSum", rows, axes, name=label, keepdims=0)

    u = read(words[0], question, 1, "question.read")
    stories = [
        b.add(read(table, story, 2, f"story.read{place}"), time, name=f"story{place}")
        for place, (table, time) in enumerate(zip(words, times))
    ]
    for hop in range(hops):
        with b.scope("hop", hop):
            query = b.reshape(u, 0, hidden, 1, name="query")
            scores = b.op("MatMul", stories[hop], query, name="scores")
            weights = b.op("Softmax", scores, axis=1, name="weights")
            row = b.reshape(weights, 0, 1, memories, name="row")
            mixed = b.op("MatMul", row, stories[hop + 1], name="mixed")
            u = b.add(u, b.reshape(mixed, 0, hidden, name="vector"), name="state")
    answer = b.linear(u, vocabulary, bias=False, weight=words[-1], name="answer")
    return b.finish({"logits": answer})
