"""Residual networks for images (He et al. 2015; wide ones: Zagoruyko & Komodakis 2016).

Models:  the variant with the stride on the 3×3 convolution of a bottleneck, which is the common
         one today; layer names as in torchvision.
Ignores: nothing of the forward pass; classifier logits, no softmax.
Judge:   published parameter and MAC counts; ONNX Runtime on a reduced network; trained weights of
         the CIFAR variant, with the accuracy that others measured (tests/api/test_accuracy.py).
"""

from __future__ import annotations

import numpy as np

from .._graph import Graph
from .._types import Dimension
from ._builder import Builder, scaled


def resnet(
    name: str, *, blocks: tuple[int, ...], bottleneck: bool, inner: float = 1.0,
    batch: Dimension = 1, dtype: str = "float32", image: int = 224, classes: int = 1000,
    width: float = 1.0, depth: float = 1.0,
) -> Graph:  # fmt: skip
    """Build a residual network.

    Parameters
    ----------
    blocks : blocks per stage
    bottleneck : 1×1-3×3-1×1 blocks instead of two 3×3 convolutions
    inner : width of a bottleneck's middle, relative to the plain network's
    image : height and width of the input
    width, depth : factors on channels and on blocks per stage
    """
    b = Builder(name, dtype=dtype, batch=batch)
    x = b.input("image", batch, 3, image, image)
    x = resnet_features(b, x, blocks, bottleneck, inner=inner, width=width, depth=depth)
    return b.finish({"logits": b.linear(b.global_pool(x), classes, name="fc")})


def resnet_features(
    b: Builder, x: str, blocks: tuple[int, ...], bottleneck: bool, *, inner: float = 1.0,
    width: float = 1.0, depth: float = 1.0,
) -> str:  # fmt: skip
    """Add everything of a residual network but its classifier; returns the last feature map."""
    base = scaled(64, width)
    x = b.relu(b.batch_norm(b.conv(x, base, kernel=7, stride=2, name="conv1"), name="bn1"))
    x = b.max_pool(x, 3, stride=2, padding=1, name="maxpool")
    for stage, count in enumerate(blocks):
        channels = base << stage
        for index in range(scaled(count, depth)):
            stride = 2 if stage and index == 0 else 1
            with b.scope(f"layer{stage + 1}", index):
                x = _block(b, x, channels, stride, bottleneck, inner)
    return x


def cifar_resnet(
    name: str, *, blocks: int, batch: Dimension = 1, dtype: str = "float32", image: int = 32,
    classes: int = 10, width: float = 1.0, depth: float = 1.0,
) -> Graph:  # fmt: skip
    """Build the residual network for small images, its shortcuts without weights (option A).

    Parameters
    ----------
    blocks : blocks in each of the three stages; 6 · blocks + 2 layers in all
    width, depth : factors on channels and on blocks per stage
    """
    b = Builder(name, dtype=dtype, batch=batch)
    base = scaled(16, width, multiple=2)
    x = b.conv(b.input("image", batch, 3, image, image), base, kernel=3, name="conv1")
    x = b.relu(b.batch_norm(x, name="bn1"))
    for stage in range(3):
        for index in range(scaled(blocks, depth)):
            with b.scope(f"layer{stage + 1}", index):
                x = _small_block(b, x, base << stage, 2 if stage and index == 0 else 1)
    return b.finish({"logits": b.linear(b.global_pool(x), classes, name="linear")})


def _small_block(b: Builder, x: str, channels: int, stride: int) -> str:
    y = b.conv(x, channels, kernel=3, stride=stride, name="conv1")
    y = b.relu(b.batch_norm(y, name="bn1"))
    y = b.batch_norm(b.conv(y, channels, kernel=3, name="conv2"), gamma=0.3, name="bn2")
    if stride > 1:
        bounds = [np.array(v, np.int64) for v in ((0, 0), (2**31 - 1,) * 2, (2, 3), (2, 2))]
        x = b.op("Slice", x, *(b.constant(v, "shortcut.every") for v in bounds), name="shortcut")
    if more := channels - b.size(x, 1):
        pads = np.array([0, more // 2, 0, 0, 0, more - more // 2, 0, 0], np.int64)
        x = b.op("Pad", x, b.constant(pads, "shortcut.pads"), name="shortcut.pad")
    return b.relu(b.add(y, x))


def _block(b: Builder, x: str, channels: int, stride: int, bottleneck: bool, inner: float) -> str:
    if bottleneck:
        middle, out = scaled(channels, inner), channels * 4
        kernels = [(middle, 1, 1), (middle, 3, stride), (out, 1, 1)]
    else:
        out = channels
        kernels = [(out, 3, stride), (out, 3, 1)]
    y = x
    for place, (wide, kernel, step) in enumerate(kernels, 1):
        last = place == len(kernels)
        y = b.conv(y, wide, kernel=kernel, stride=step, name=f"conv{place}")
        y = b.batch_norm(y, gamma=0.3 if last else 1.0, name=f"bn{place}")
        if not last:
            y = b.relu(y)
    if stride > 1 or b.size(x, 1) != out:
        x = b.conv(x, out, kernel=1, stride=stride, gain=1.0, name="downsample.0")
        x = b.batch_norm(x, name="downsample.1")
    return b.relu(b.add(y, x))
