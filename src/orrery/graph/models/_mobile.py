"""Small networks for phones: MobileNetV2 and SqueezeNet.

Models:  MobileNetV2 (inverted residuals, depthwise convolutions, clipped activations);
         SqueezeNet 1.0 and 1.1 (fire modules, ceiling pooling), layer names as in torchvision.
Ignores: dropout (identity at inference).
Judge:   published parameter and MAC counts; ONNX Runtime on reduced networks.
"""

from __future__ import annotations

from .._graph import Graph
from .._types import Dimension
from ._builder import Builder, scaled

#: expansion, channels, repeats, first stride: Sandler et al. 2018, table 2
_INVERTED = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip


def mobilenet_v2(
    name: str, *, batch: Dimension = 1, dtype: str = "float32", image: int = 224,
    classes: int = 1000, width: float = 1.0, depth: float = 1.0,
) -> Graph:  # fmt: skip
    """Build MobileNetV2; channels are rounded to multiples of 8 as the authors do.

    The last convolution is not narrowed below 1280 by a `width` under one in the paper; here it
    is, so that reduced networks stay small.
    """
    b = Builder(name, dtype=dtype, batch=batch)
    x = b.input("image", batch, 3, image, image)

    def unit(x: str, channels: int, kernel: int, stride: int, groups: int, label: str) -> str:
        x = b.conv(x, channels, kernel=kernel, stride=stride, groups=groups, name=f"{label}.0")
        return _clip6(b, b.batch_norm(x, name=f"{label}.1"))

    x = unit(x, scaled(32, width, multiple=8), 3, 2, 1, "features.0")
    place = 1
    for expansion, channels, repeats, first in _INVERTED:
        out = scaled(channels, width, multiple=8)
        for index in range(scaled(repeats, depth)):
            stride = first if index == 0 else 1
            with b.scope("features", place, "conv"):
                y, inner = x, b.size(x, 1) * expansion
                if expansion > 1:
                    y = unit(y, inner, 1, 1, 1, "0")
                y = unit(y, inner, 3, stride, inner, "1" if expansion > 1 else "0")
                y = b.conv(y, out, kernel=1, gain=1.0, name="project")
                residual = stride == 1 and b.size(x, 1) == out
                y = b.batch_norm(y, gamma=0.3 if residual else 1.0, name="project_bn")
                x = b.add(x, y) if residual else y
            place += 1
    x = unit(x, scaled(1280, width, multiple=8), 1, 1, 1, f"features.{place}")
    return b.finish({"logits": b.linear(b.global_pool(x), classes, name="classifier.1")})


def _clip6(b: Builder, x: str) -> str:
    return b.op("Clip", x, b.constant(0.0, "clip.low"), b.constant(6.0, "clip.high"), name="relu6")


def squeezenet(
    name: str, *, version: str, batch: Dimension = 1, dtype: str = "float32", image: int = 224,
    classes: int = 1000, width: float = 1.0,
) -> Graph:  # fmt: skip
    """Build SqueezeNet 1.0 or 1.1."""
    b = Builder(name, dtype=dtype, batch=batch)
    x = b.input("image", batch, 3, image, image)
    early = version == "1.0"
    x = b.relu(b.conv(x, scaled(96 if early else 64, width), kernel=7 if early else 3, stride=2,
                      padding=0, bias=True, name="conv1"))  # fmt: skip
    x = b.max_pool(x, 3, stride=2, ceil=True)
    squeezes = (16, 16, 32, 32, 48, 48, 64, 64)
    pooled_after = (4, 8) if early else (3, 5)
    for place, squeeze in enumerate(squeezes, 2):
        narrow, wide = scaled(squeeze, width), scaled(4 * squeeze, width)
        with b.scope(f"fire{place}"):
            x = b.relu(b.conv(x, narrow, kernel=1, bias=True, name="squeeze"))
            one = b.relu(b.conv(x, wide, kernel=1, bias=True, name="expand1x1"))
            three = b.relu(b.conv(x, wide, kernel=3, bias=True, name="expand3x3"))
            x = b.concat(one, three)
        if place in pooled_after:
            x = b.max_pool(x, 3, stride=2, ceil=True)
    x = b.relu(b.conv(x, classes, kernel=1, bias=True, name="conv10"))
    return b.finish({"logits": b.global_pool(x)})
