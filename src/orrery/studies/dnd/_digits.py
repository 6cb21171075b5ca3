"""A network of our own that has learnt something, and what it learnt from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.graph import ArrayConstant, Graph, initial_states
from orrery.graph.models import Builder

__all__ = ["Images", "digit_network", "read_images", "taught"]

_BATCH, _SIDE, _CLASSES = 32, 8, 10
_RATE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Images [N, 1, 8, 8] from 0 to 1 with labels from 0 to 9; some held out to test with."""

    name: str
    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]


def read_images(held_out: int = 360) -> Images:
    """Return scikit-learn's digits, or spots around ten centres where it is not installed."""
    draw = np.random.default_rng(0)
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # has no stubs
    except ModuleNotFoundError:
        name = "spots around ten centres"
        labels = np.repeat(np.arange(_CLASSES), 180)
        centres = draw.random((_CLASSES, 1, _SIDE, _SIDE))
        noise = draw.normal(0, 0.15, (len(labels), 1, _SIDE, _SIDE))
        images = np.clip(centres[labels] + noise, 0, 1).astype(np.float32)
    else:
        data = load_digits()
        name, labels = "scikit-learn's digits", data.target
        images = (data.images / 16).astype(np.float32)[:, None]
    order = draw.permutation(len(images))
    test, learn = order[:held_out], order[held_out:]
    labels = labels.astype(np.int64)
    return Images(name=name, images=images[learn], labels=labels[learn],
                  test_images=images[test], test_labels=labels[test])  # fmt: skip


def digit_network(batch: int = 1) -> Graph:
    """Two convolutions with a pool between them and a linear layer; not learnt yet."""
    b = Builder("digits")
    x = b.input("x", batch, 1, _SIDE, _SIDE)
    x = b.relu(b.conv(x, 6, kernel=3, bias=True, name="conv1"), name="relu1")
    x = b.max_pool(x, 2, name="pool")
    x = b.relu(b.conv(x, 12, kernel=3, bias=True, name="conv2"), name="relu2")
    return b.finish({"y": b.linear(b.flatten(x), _CLASSES, name="fc")})


def taught(data: Images, *, epochs: int) -> Graph:
    """Return the network for one image at a time, with weights that it learnt."""
    graph = digit_network(_BATCH)
    step = graph.training("momentum", learning_rate=_RATE)
    states: dict[str, Any] = initial_states(step, graph)
    draw = np.random.default_rng(1)
    labels = next(name for name in step.inputs if name not in ("x", *states))
    for _ in range(epochs):
        order = draw.permutation(len(data.images))
        for first in range(0, len(order) - _BATCH + 1, _BATCH):
            some = order[first : first + _BATCH]
            fed = {"x": data.images[some], labels: data.labels[some], **states}
            found = step.evaluate(fed)
            states = {name: found[new] for name, new in step.states.items()}
    one = digit_network()
    held = {n: ArrayConstant(np.asarray(states[n])) if n in states else c
            for n, c in one.constants.items()}  # fmt: skip
    return replace(one, constants=held)
