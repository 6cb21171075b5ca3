"""Densely connected networks (Huang et al. 2016).

Models:  bottleneck blocks with compression one half (DenseNet-BC), layer names as in torchvision.
Ignores: nothing of the forward pass; logits, no softmax.
Judge:   published parameter and MAC counts; ONNX Runtime on a reduced network.
"""

from __future__ import annotations

from .._graph import Graph
from .._types import Dimension
from ._builder import Builder, scaled


def densenet(
    name: str, *, blocks: tuple[int, ...], growth: int, first: int, batch: Dimension = 1,
    dtype: str = "float32", image: int = 224, classes: int = 1000, width: float = 1.0,
    depth: float = 1.0,
) -> Graph:  # fmt: skip
    """Build a DenseNet.

    Parameters
    ----------
    blocks : layers per dense block
    growth : channels that each layer adds
    first : channels of the first convolution
    width, depth : factors on growth and first, and on layers per block
    """
    b = Builder(name, dtype=dtype, batch=batch)
    x = b.input("image", batch, 3, image, image)
    grow = scaled(growth, width)
    with b.scope("features"):
        x = b.conv(x, scaled(first, width, multiple=2), kernel=7, stride=2, name="conv0")
        x = b.max_pool(b.relu(b.batch_norm(x, name="norm0")), 3, stride=2, padding=1)
        for place, count in enumerate(blocks, 1):
            for layer in range(1, scaled(count, depth) + 1):
                with b.scope(f"denseblock{place}.denselayer{layer}"):
                    y = b.relu(b.batch_norm(x, name="norm1"))
                    y = b.conv(y, 4 * grow, kernel=1, name="conv1")
                    y = b.conv(b.relu(b.batch_norm(y, name="norm2")), grow, kernel=3, name="conv2")
                    x = b.concat(x, y)
            if place < len(blocks):
                with b.scope(f"transition{place}"):
                    x = b.relu(b.batch_norm(x, name="norm"))
                    x = b.conv(x, b.size(x, 1) // 2, kernel=1, name="conv")
                    x = b.average_pool(x, 2)
        x = b.relu(b.batch_norm(x, name="norm5"))
    return b.finish({"logits": b.linear(b.global_pool(x), classes, name="classifier")})
