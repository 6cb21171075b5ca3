"""Plain chains of convolutions: AlexNet, VGG-16 and, over video, C3D.

Models:  AlexNet in the single-column form of Krizhevsky 2014 (64-192-384-256-256 channels), as in
         torchvision; VGG configuration D; C3D with 3×3×3 kernels.
Ignores: dropout (identity at inference); local response normalisation, which the single-column
         form does not have; adaptive pooling is an ordinary pooling of the equal window, so
         smaller images shrink the first fully connected layer instead.
Judge:   published parameter and MAC counts; ONNX Runtime on reduced networks.
"""

from __future__ import annotations

from .._graph import Graph
from .._types import Dimension
from ._builder import Builder, scaled


def alexnet(
    name: str, *, batch: Dimension = 1, dtype: str = "float32", image: int = 224,
    classes: int = 1000, width: float = 1.0,
) -> Graph:  # fmt: skip
    """Build single-column AlexNet."""
    b = Builder(name, dtype=dtype, batch=batch)
    x = b.input("image", batch, 3, image, image)
    layers = ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))
    for place, (channels, kernel, stride, padding) in enumerate(layers, 1):
        x = b.relu(b.conv(
            x, scaled(channels, width), kernel=kernel, stride=stride, padding=padding, bias=True,
            name=f"conv{place}",
        ))  # fmt: skip
        if place in (1, 2, 5):
            x = b.max_pool(x, 3, stride=2)
    return b.finish({"logits": _classifier(b, x, scaled(4096, width), classes)})


def vgg(
    name: str, *, stages: tuple[int, ...], batch: Dimension = 1, dtype: str = "float32",
    image: int = 224, classes: int = 1000, width: float = 1.0, depth: float = 1.0,
) -> Graph:  # fmt: skip
    """Build a VGG network with `stages` convolutions before each pooling."""
    b = Builder(name, dtype=dtype, batch=batch)
    x = b.input("image", batch, 3, image, image)
    for stage, count in enumerate(stages):
        for index in range(scaled(count, depth)):
            x = b.relu(b.conv(
                x, scaled(64 * min(1 << stage, 8), width), kernel=3, bias=True,
                name=f"conv{stage + 1}_{index + 1}",
            ))  # fmt: skip
        x = b.max_pool(x, 2)
    return b.finish({"logits": _classifier(b, x, scaled(4096, width), classes)})


def c3d(
    name: str, *, batch: Dimension = 1, dtype: str = "float32", image: int = 112,
    frames: int = 16, classes: int = 101, width: float = 1.0,
) -> Graph:  # fmt: skip
    """Build C3D: eight 3-D convolutions over a clip of [batch, 3, frames, image, image].

    The defaults are the UCF101 network of 78.4 M parameters. The last pooling pads the image
    axes by one, as the authors' network does (7×7 positions become 4×4).
    """
    b = Builder(name, dtype=dtype, batch=batch)
    x = b.input("clip", batch, 3, frames, image, image)
    stages = (("1", 64), ("2", 128), ("3a", 256), ("3b", 256), ("4a", 512), ("4b", 512),
              ("5a", 512), ("5b", 512))  # fmt: skip
    for label, channels in stages:
        x = b.relu(b.conv(x, scaled(channels, width), kernel=3, bias=True, name=f"conv{label}"))
        if label == "1":
            x = b.max_pool(x, (1, 2, 2))
        elif label == "5b":
            x = b.max_pool(x, 2, padding=(0, 1, 1))
        elif not label.endswith("a"):
            x = b.max_pool(x, 2)
    return b.finish({"logits": _classifier(b, x, scaled(4096, width), classes)})


def _classifier(b: Builder, x: str, hidden: int, classes: int) -> str:
    x = b.flatten(x)
    for place in (6, 7):
        x = b.relu(b.linear(x, hidden, gain=2.0, name=f"fc{place}"))
    return b.linear(x, classes, name="fc8")
