"""Networks to build binaries from: one an operator, and small ones of the usual families.

Weights and sizes are chosen so that axes differ from each other (nothing is square by accident).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from orrery.graph import Graph
from orrery.graph.models import Builder

Build = Callable[[Builder], str]


def _conv(*, channels: int = 6, kernel: tuple[int, int] = (3, 3), shape: tuple[int, ...] = (
    1, 4, 9, 11
), pads: tuple[int, ...] = (1, 1, 1, 1), strides: tuple[int, ...] = (1, 1),
    dilations: tuple[int, ...] = (1, 1), group: int = 1, bias: bool = True) -> Build:  # fmt: skip
    def build(b: Builder) -> str:
        x = b.input("x", *shape)
        inputs = [x, b.weight("w", channels, shape[1] // group, *kernel, scale=0.3)]
        if bias:
            inputs.append(b.weight("b", channels, scale=0.5))
        return b.op("Conv", *inputs, name="conv", kernel_shape=kernel, pads=pads, strides=strides,
                    dilations=dilations, group=group)  # fmt: skip

    return build


def _transposed(b: Builder) -> str:
    x = b.input("x", 1, 4, 5, 6)
    weight, bias = b.weight("w", 4, 3, 3, 2, scale=0.3), b.weight("b", 3)
    return b.op("ConvTranspose", x, weight, bias, name="up", kernel_shape=(3, 2),
                strides=(2, 2), pads=(1, 0, 1, 0))  # fmt: skip


def _pool(op: str, **attributes: object) -> Build:
    def build(b: Builder) -> str:
        return b.op(op, b.input("x", 1, 3, 9, 12), name="pool", **attributes)

    return build


def _unary(op: str, **attributes: object) -> Build:
    def build(b: Builder) -> str:
        return b.op(op, b.input("x", 1, 3, 5, 7), name="map", **attributes)

    return build


def _clip(b: Builder) -> str:
    low, high = b.constant(np.float32(0.0), "low"), b.constant(np.float32(6.0), "high")
    return b.op("Clip", b.input("x", 1, 3, 5, 7), low, high, name="clip")


def _binary(op: str, *second: int) -> Build:
    def build(b: Builder) -> str:
        x = b.input("x", 1, 4, 5, 6)
        other = b.weight("w", *second, mean=1.0, scale=0.2) if second else b.input("z", 1, 4, 5, 6)
        return b.op(op, x, other, name="pair")

    return build


def _reduce(op: str, *axes: int) -> Build:
    def build(b: Builder) -> str:
        return b.op(op, b.input("x", 1, 4, 5, 6), b.constant(np.array(axes, np.int64), "axes"),
                    name="reduce", keepdims=0)  # fmt: skip

    return build


def _single(name: str, build: Build) -> Callable[[], Graph]:
    def make() -> Graph:
        b = Builder(name)
        return b.finish({"y": build(b)})

    return make


_OPERATORS: dict[str, Build] = {
    "conv": _conv(),
    "conv_valid": _conv(pads=(0, 0, 0, 0), kernel=(3, 2), bias=False),
    "conv_strided": _conv(strides=(2, 3)),
    "conv_dilated": _conv(dilations=(2, 3), pads=(2, 3, 2, 3)),
    "conv_grouped": _conv(group=2),
    "conv_depthwise": _conv(group=4, channels=4),
    "conv_multiplied": _conv(group=4, channels=8),
    "conv_pointwise": _conv(kernel=(1, 1), pads=(0, 0, 0, 0)),
    "conv_uneven": _conv(pads=(0, 1, 2, 3), kernel=(3, 5), strides=(2, 1)),
    "conv_transposed": _transposed,
    "max_pool": _pool("MaxPool", kernel_shape=(2, 3), strides=(2, 3)),
    "max_pool_padded": _pool("MaxPool", kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
    "average_pool": _pool("AveragePool", kernel_shape=(3, 2), strides=(2, 2)),
    "average_pool_padded": _pool(
        "AveragePool", kernel_shape=(3, 3), strides=(2, 1), pads=(1, 1, 1, 1), count_include_pad=1
    ),
    "average_pool_inside": _pool(
        "AveragePool", kernel_shape=(3, 3), strides=(1, 1), pads=(1, 1, 1, 1)
    ),
    "global_average_pool": _pool("GlobalAveragePool"),
    "global_max_pool": _pool("GlobalMaxPool"),
    "gemm": lambda b: b.linear(b.input("x", 1, 24), 10, name="fc"),
    "matmul": lambda b: b.op(
        "MatMul", b.input("x", 5, 8), b.weight("w", 8, 7, scale=0.4), name="product"
    ),
    "matmul_data": lambda b: b.op(
        "MatMul", b.input("x", 2, 5, 8), b.input("z", 2, 8, 6), name="product"
    ),
    "batch_norm": lambda b: b.batch_norm(b.input("x", 1, 5, 4, 6)),
    "layer_norm": lambda b: b.layer_norm(b.input("x", 3, 20)),
    "softmax": lambda b: b.op("Softmax", b.input("x", 3, 10), name="softmax", axis=-1),
    "lrn": lambda b: b.op(
        "LRN", b.input("x", 1, 8, 4, 5), name="lrn", size=5, alpha=0.02, beta=0.75
    ),
    "add": _binary("Add"),
    "add_channels": _binary("Add", 4, 1, 1),
    "mul": _binary("Mul"),
    "mul_channels": _binary("Mul", 4, 1, 1),
    "concat": lambda b: b.concat(b.input("x", 1, 3, 4, 5), b.input("z", 1, 2, 4, 5)),
    "relu": _unary("Relu"),
    "leaky_relu": _unary("LeakyRelu", alpha=0.2),
    "clip": _clip,
    "sigmoid": _unary("Sigmoid"),
    "tanh": _unary("Tanh"),
    "gelu": _unary("Gelu"),
    "gelu_tanh": _unary("Gelu", approximate="tanh"),
    "hard_swish": _unary("HardSwish"),
    "transpose": _unary("Transpose", perm=(0, 2, 3, 1)),
    "reduce_sum": _reduce("ReduceSum", 2, 3),
    "reduce_mean": _reduce("ReduceMean", 1),
    "reduce_max": _reduce("ReduceMax", 3),
}  # fmt: skip


def _lenet(b: Builder) -> str:
    x = b.input("x", 1, 1, 16, 14)
    x = b.relu(b.conv(x, 6, kernel=5, padding=2, bias=True, name="conv1"), name="relu1")
    x = b.max_pool(x, 2, name="pool1")
    x = b.relu(b.conv(x, 16, kernel=3, padding=0, bias=True, name="conv2"), name="relu2")
    x = b.flatten(b.average_pool(x, 2, name="pool2"))
    x = b.relu(b.linear(x, 20, name="fc1"), name="relu3")
    return b.op("Softmax", b.linear(x, 10, name="fc2"), name="softmax", axis=1)


def _resnet(b: Builder) -> str:
    x = b.input("x", 1, 3, 16, 12)
    x = b.relu(b.batch_norm(b.conv(x, 8, kernel=3, name="conv0"), name="bn0"), name="relu0")
    for index, (wide, stride) in enumerate(((8, 1), (12, 2)), 1):
        with b.scope(f"block{index}"):
            y = b.batch_norm(b.conv(x, wide, kernel=3, stride=stride, name="conv1"), name="bn1")
            y = b.conv(b.relu(y, name="relu1"), wide, kernel=3, name="conv2")
            y = b.batch_norm(y, name="bn2")
            if stride > 1:
                x = b.batch_norm(b.conv(x, wide, kernel=1, stride=stride, name="down"), name="bnd")
            x = b.relu(b.add(y, x), name="relu2")
    return b.linear(b.global_pool(x), 10, name="fc")


def _mobilenet(b: Builder) -> str:
    low, high = b.constant(np.float32(0.0), "low"), b.constant(np.float32(6.0), "high")

    def block(
        x: str, wide: int, name: str, *, kernel: int, stride: int = 1, groups: int = 1
    ) -> str:
        y = b.conv(x, wide, name=f"{name}.conv", kernel=kernel, stride=stride, groups=groups)
        y = b.batch_norm(y, name=f"{name}.bn")
        return b.op("Clip", y, low, high, name=f"{name}.clip")

    x = block(b.input("x", 1, 3, 16, 12), 8, "stem", kernel=3, stride=2)
    wide = block(x, 16, "expand", kernel=1)
    deep = block(wide, 16, "depthwise", kernel=3, groups=16)
    y = b.batch_norm(b.conv(deep, 8, kernel=1, name="project.conv"), name="project.bn")
    x = block(b.add(x, y), 20, "last", kernel=1)
    return b.linear(b.global_pool(x), 10, name="fc")


def _branches(b: Builder) -> str:
    x = b.input("x", 1, 4, 10, 8)
    left = b.relu(b.conv(x, 5, kernel=1, bias=True, name="left"), name="relu1")
    right = b.relu(b.conv(x, 7, kernel=3, bias=True, name="right"), name="relu2")
    pooled = b.max_pool(x, 3, stride=1, padding=1)
    x = b.concat(left, right, pooled)
    x = b.op("LRN", x, name="lrn", size=5, alpha=1e-3)
    return b.linear(b.global_pool(x), 6, name="fc")


def _perceptron(b: Builder) -> str:
    x = b.linear(b.input("x", 4, 24), 32, name="fc1")
    x = b.layer_norm(b.op("Gelu", x, name="gelu"))
    return b.op("Softmax", b.linear(x, 10, name="fc2"), name="softmax", axis=-1)


#: Networks of a single operator.
OPERATORS: Mapping[str, Callable[[], Graph]] = {
    name: _single(name, build) for name, build in _OPERATORS.items()
}

#: Small networks of the classes that compiled models come from.
SMALL_NETWORKS: Mapping[str, Callable[[], Graph]] = {
    name: _single(name, build)
    for name, build in (
        ("lenet", _lenet), ("small_resnet", _resnet), ("small_mobilenet", _mobilenet),
        ("branches", _branches), ("perceptron", _perceptron),
    )
}  # fmt: skip
