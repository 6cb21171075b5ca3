"""Networks with parallel branches: GoogLeNet and Inception-v3.

Models:  the forms with batch normalisation that torchvision ships; GoogLeNet's "5×5" branch is a
         3×3 convolution there (a slip of the original port that the published weights carry).
Ignores: auxiliary classifiers (training only), dropout, re-scaling of the input.
Judge:   published parameter and MAC counts; ONNX Runtime on reduced networks.
"""

from __future__ import annotations

from .._graph import Graph
from .._types import Dimension
from ._builder import Builder, Size, scaled

#: 1×1, 3×3 reduce, 3×3, "5×5" reduce, "5×5", pool: Szegedy et al. 2014, table 1
_MODULES: dict[str, tuple[int, int, int, int, int, int]] = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip


class _Units:
    """Convolution, normalisation and activation in one call, channels scaled."""

    def __init__(self, b: Builder, width: float) -> None:
        self.b, self.width = b, width

    def __call__(
        self, x: str, channels: int, kernel: Size, name: str, *, stride: int = 1,
        padding: Size | None = None,
    ) -> str:  # fmt: skip
        b = self.b
        with b.scope(name):
            x = b.conv(x, scaled(channels, self.width), kernel=kernel, stride=stride,
                       padding=padding)  # fmt: skip
            return b.relu(b.batch_norm(x, epsilon=0.001))

    def chain(self, x: str, *steps: tuple[int, Size, str]) -> str:
        """Apply units one after the other, each (channels, kernel, name), size kept."""
        for channels, kernel, name in steps:
            pads = tuple(k // 2 for k in kernel) if isinstance(kernel, tuple) else None
            x = self(x, channels, kernel, name, padding=pads)
        return x


def googlenet(
    name: str, *, batch: Dimension = 1, dtype: str = "float32", image: int = 224,
    classes: int = 1000, width: float = 1.0,
) -> Graph:  # fmt: skip
    """Build GoogLeNet (Inception v1)."""
    b = Builder(name, dtype=dtype, batch=batch)
    unit = _Units(b, width)
    x = unit(b.input("image", batch, 3, image, image), 64, 7, "conv1", stride=2)
    x = b.max_pool(x, 3, stride=2, ceil=True)
    x = unit.chain(x, (64, 1, "conv2"), (192, 3, "conv3"))
    x = b.max_pool(x, 3, stride=2, ceil=True)
    for label, (one, r3, three, r5, five, pool) in _MODULES.items():
        with b.scope(f"inception{label}"):
            x = b.concat(
                unit(x, one, 1, "branch1"),
                unit.chain(x, (r3, 1, "branch2.0"), (three, 3, "branch2.1")),
                unit.chain(x, (r5, 1, "branch3.0"), (five, 3, "branch3.1")),
                unit(b.max_pool(x, 3, stride=1, padding=1, ceil=True), pool, 1, "branch4.1"),
            )
        if label == "3b":
            x = b.max_pool(x, 3, stride=2, ceil=True)
        elif label == "4e":
            x = b.max_pool(x, 2, stride=2, ceil=True)
    return b.finish({"logits": b.linear(b.global_pool(x), classes, name="fc")})


def inception_v3(
    name: str, *, batch: Dimension = 1, dtype: str = "float32", image: int = 299,
    classes: int = 1000, width: float = 1.0,
) -> Graph:  # fmt: skip
    """Build Inception-v3."""
    b = Builder(name, dtype=dtype, batch=batch)
    unit = _Units(b, width)
    x = unit(b.input("image", batch, 3, image, image), 32, 3, "Conv2d_1a", stride=2, padding=0)
    x = unit(x, 32, 3, "Conv2d_2a", padding=0)
    x = b.max_pool(unit(x, 64, 3, "Conv2d_2b"), 3, stride=2)
    x = unit(unit(x, 80, 1, "Conv2d_3b"), 192, 3, "Conv2d_4a", padding=0)
    x = b.max_pool(x, 3, stride=2)
    for label, pool in (("5b", 32), ("5c", 64), ("5d", 64)):
        with b.scope(f"Mixed_{label}"):
            x = b.concat(
                unit(x, 64, 1, "branch1x1"),
                unit.chain(x, (48, 1, "branch5x5_1"), (64, 5, "branch5x5_2")),
                unit.chain(x, (64, 1, "branch3x3dbl_1"), (96, 3, "branch3x3dbl_2"),
                           (96, 3, "branch3x3dbl_3")),
                unit(b.average_pool(x, 3, stride=1, padding=1), pool, 1, "branch_pool"),
            )  # fmt: skip
    with b.scope("Mixed_6a"):
        double = unit.chain(x, (64, 1, "branch3x3dbl_1"), (96, 3, "branch3x3dbl_2"))
        x = b.concat(
            unit(x, 384, 3, "branch3x3", stride=2, padding=0),
            unit(double, 96, 3, "branch3x3dbl_3", stride=2, padding=0),
            b.max_pool(x, 3, stride=2),
        )
    for label, c in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        with b.scope(f"Mixed_{label}"):
            x = b.concat(
                unit(x, 192, 1, "branch1x1"),
                unit.chain(x, (c, 1, "branch7x7_1"), (c, (1, 7), "branch7x7_2"),
                           (192, (7, 1), "branch7x7_3")),
                unit.chain(x, (c, 1, "branch7x7dbl_1"), (c, (7, 1), "branch7x7dbl_2"),
                           (c, (1, 7), "branch7x7dbl_3"), (c, (7, 1), "branch7x7dbl_4"),
                           (192, (1, 7), "branch7x7dbl_5")),
                unit(b.average_pool(x, 3, stride=1, padding=1), 192, 1, "branch_pool"),
            )  # fmt: skip
    with b.scope("Mixed_7a"):
        seven = unit.chain(x, (192, 1, "branch7x7x3_1"), (192, (1, 7), "branch7x7x3_2"),
                           (192, (7, 1), "branch7x7x3_3"))  # fmt: skip
        x = b.concat(
            unit(unit(x, 192, 1, "branch3x3_1"), 320, 3, "branch3x3_2", stride=2, padding=0),
            unit(seven, 192, 3, "branch7x7x3_4", stride=2, padding=0),
            b.max_pool(x, 3, stride=2),
        )
    for label in ("7b", "7c"):
        with b.scope(f"Mixed_{label}"):
            three = unit(x, 384, 1, "branch3x3_1")
            double = unit.chain(x, (448, 1, "branch3x3dbl_1"), (384, 3, "branch3x3dbl_2"))
            x = b.concat(
                unit(x, 320, 1, "branch1x1"),
                *_fan(unit, three, "branch3x3_2"),
                *_fan(unit, double, "branch3x3dbl_3"),
                unit(b.average_pool(x, 3, stride=1, padding=1), 192, 1, "branch_pool"),
            )
    return b.finish({"logits": b.linear(b.global_pool(x), classes, name="fc")})


def _fan(unit: _Units, x: str, name: str) -> tuple[str, str]:
    """Look at the same features with a flat and an upright kernel."""
    return unit.chain(x, (384, (1, 3), f"{name}a")), unit.chain(x, (384, (3, 1), f"{name}b"))
