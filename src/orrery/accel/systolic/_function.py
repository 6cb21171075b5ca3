"""What the systolic array computes, bit for bit.

Models:  fixed16: 16-bit operands, exact sums in 48 bits, bias in the float32 output stage.
         float32: an element adds, per kernel position and group of `vector` channels, the
         tree sum of `vector` products to its accumulator, which starts as the bias.
Ignores: nothing that changes a bit.
Judge:   Python integers (fixed16), a scalar loop in the same order (float32).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orrery.graph import Region

from .._convolution import Array, Convolution, Operands, shifted
from .._fixed import evaluated
from .._formats import tree_sum
from .._record import Tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class SystolicFunction:
    """Evaluates one convolution in the array's order and number format."""

    vector: int
    precision: str

    def __call__(self, region: Region, inputs: Tensors) -> Tensors:
        return evaluated(region, inputs, self.precision, self._float32)

    def _float32(self, given: Operands, sizes: Convolution) -> Array:
        shape = (sizes.groups, sizes.batch, sizes.filters, *sizes.output)
        result = np.zeros(shape, np.float32)
        if given.bias is not None:
            result += given.bias[:, None, :, None, None]
        for row in range(sizes.kernel[0]):
            for column in range(sizes.kernel[1]):
                pixels = shifted(given.image, sizes, row, column)
                for first in range(0, sizes.channels, self.vector):
                    for group in range(sizes.groups):
                        for image in range(sizes.batch):
                            result[group, image] += self._lanes(
                                pixels[group, image], given.weights[group, :, :, row, column], first
                            )
        return result

    def _lanes(self, pixels: Array, weights: Array, first: int) -> Array:
        products = np.zeros((self.vector, len(weights), *pixels.shape[1:]), np.float32)
        for lane, channel in enumerate(range(first, min(first + self.vector, len(pixels)))):
            np.multiply(weights[:, channel, None, None], pixels[channel], out=products[lane])
        return tree_sum(products)
