"""Layers of one node as they occur in training steps and transformers, for the sharding algebra."""

from __future__ import annotations

from typing import Any

import numpy as np

from orrery.graph import TRAINING_DOMAIN, Region

from .layers import layer


def conv_gradients(
    image: tuple[int, ...], weights: tuple[int, ...], gradient: tuple[int, ...], **attributes: Any
) -> tuple[Region, Region]:
    """Return the gradients of a convolution's weights and of its image."""
    attributes = {"kernel_shape": weights[2:], **attributes}
    dw = layer("ConvGradWeight", image, gradient, domain=TRAINING_DOMAIN, **attributes)
    dx = layer("ConvGradInput", gradient, weights, (len(image),), weights=(1,),
               values={2: list(image)}, domain=TRAINING_DOMAIN, **attributes)  # fmt: skip
    return dw, dx


_PLAIN = conv_gradients((4, 8, 9, 8), (8, 8, 3, 3), (4, 8, 9, 8), pads=(1, 1, 1, 1))
_STRIDE = conv_gradients((2, 4, 12, 11), (6, 4, 3, 2), (2, 6, 6, 5), pads=(1, 0, 0, 0),
                         strides=(2, 2))  # fmt: skip
_POINT = conv_gradients((4, 4, 8, 8), (8, 4, 1, 1), (4, 8, 4, 4), strides=(2, 2))
_DILATED = conv_gradients((2, 4, 10, 12), (4, 4, 3, 2), (2, 4, 10, 11), dilations=(2, 3),
                          pads=(2, 1, 2, 1))  # fmt: skip
_SAME = conv_gradients((2, 4, 11, 10), (4, 4, 5, 4), (2, 4, 11, 5), auto_pad="SAME_LOWER",
                       strides=(1, 2))  # fmt: skip
_GROUPS = conv_gradients((2, 16, 6, 5), (24, 2, 3, 3), (2, 24, 6, 5), group=8, pads=(1, 1, 1, 1))
_LINE = conv_gradients((2, 8, 33), (8, 8, 5), (2, 8, 10), strides=(3,))
_SOLID = conv_gradients((1, 4, 8, 5, 6), (4, 4, 2, 3, 1), (1, 4, 7, 5, 7), pads=(0, 1, 0, 0, 1, 1))
_PADDING = conv_gradients((1, 4, 4, 4), (4, 4, 1, 1), (1, 4, 16, 4), pads=(6, 0, 6, 0))

#: name -> region, on whole numbers
EXACT: dict[str, Region] = {
    f"{kind}{name}": region
    for name, both in {
        "": _PLAIN, "-stride": _STRIDE, "-point": _POINT, "-dilation": _DILATED, "-same": _SAME,
        "-groups": _GROUPS, "-1d": _LINE, "-3d": _SOLID, "-all-padding": _PADDING,
    }.items()
    for kind, region in zip(("conv-grad-weight", "conv-grad-input"), both)
}  # fmt: skip
EXACT |= {
    "max-pool-grad": layer("MaxPoolGrad", (4, 8, 5, 6), (4, 8, 10, 11), domain=TRAINING_DOMAIN,
                           kernel_shape=(3, 2), strides=(2, 2), pads=(1, 0, 0, 1)),
    "expand": layer("Expand", (4, 1, 6), (4,), values={1: [2, 4, 8, 6]}),
    "expand-shorter": layer("Expand", (4, 8, 1), (1,), values={1: [6]}),
    "gather": layer("Gather", (12, 8), (4, 9), axis=0),
    "gather-middle": layer("Gather", (4, 12, 6), (5, 4), weights=(1,), axis=-2),
    "gather-scalar": layer("Gather", (4, 12, 6), (), values={1: np.int64(-3)}, axis=1),
    "one-hot": layer("OneHot", (4, 8), (), (2,), values={1: np.int64(10), 2: [-1, 3]}),
    "one-hot-first": layer("OneHot", (4, 8), (), (2,), values={1: np.int64(5), 2: [0, 1]}, axis=0),
    "scatter-nd": layer("ScatterND", (10, 8), (5, 4, 1), (5, 4, 8), reduction="add",
                        values={1: np.arange(20).reshape(5, 4, 1) % 10}),
    "split": layer("Split", (4, 8, 9), outputs=3, axis=-1, num_outputs=3),
    "split-sizes": layer("Split", (4, 8, 9), (2,), values={1: [3, 5]}, outputs=2, axis=1),
    "slice": layer("Slice", (8, 9, 6), (1,), (1,), (1,), (1,),
                   values={1: [-2], 2: [1], 3: [1], 4: [-2]}),
    "pad": layer("Pad", (4, 8, 5), (6,), values={1: [0, 0, 2, 0, 0, 1]}),
    "pad-axes": layer("Pad", (4, 8, 5), (2,), (), (1,), values={1: [-1, 2], 2: 7, 3: [-2]}),
}  # fmt: skip

#: operators of floats only: equal up to the order in which NumPy adds up
FLOATS: dict[str, Region] = {
    "average-pool-grad": layer("AveragePoolGrad", (4, 8, 5, 6), (4,), dtype="float64",
                               values={1: [4, 8, 10, 12]}, domain=TRAINING_DOMAIN,
                               kernel_shape=(2, 2), strides=(2, 2)),
    "batch-norm-training": layer("BatchNormalization", (4, 8, 5, 3), *[(8,)] * 4, outputs=3,
                                 dtype="float64", training_mode=1),
    "cross-entropy-each": layer("SoftmaxCrossEntropyLoss", (4, 9, 8), (4, 8), dtype="float64",
                                values={1: np.arange(32).reshape(4, 8) % 9}, outputs=2,
                                reduction="none"),
    "cross-entropy-weighted": layer("SoftmaxCrossEntropyLoss", (8, 5), (8,), (5,),
                                    dtype="float32", reduction="none",
                                    values={1: np.arange(8) % 5, 2: np.ones(5, np.float32)}),
}  # fmt: skip
