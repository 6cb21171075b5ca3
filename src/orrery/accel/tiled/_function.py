"""What the tiled array computes, bit for bit.

Models:  float32: an output starts as the bias; for every Tn input channels, kernel row and kernel
         column, Tn products are added by a balanced tree and the sum is added to the output; idle
         lanes multiply zeros. fixed16: 16-bit operands, exact sums, bias in the output stage.
Ignores: nothing that changes a bit; the tiles of rows and columns do not.
Judge:   a scalar loop in the same order (equal bits) and float64 (within the derived bound).
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
class TiledFunction:
    """Evaluates one convolution in the array's order and number format."""

    tm: int
    tn: int
    precision: str

    def __call__(self, region: Region, inputs: Tensors) -> Tensors:
        return evaluated(region, inputs, self.precision, self._float32)

    def _float32(self, given: Operands, sizes: Convolution) -> Array:
        result = np.zeros((sizes.groups, sizes.batch, sizes.filters, *sizes.output), np.float32)
        if given.bias is not None:
            result += given.bias[:, None, :, None, None]
        for group in range(sizes.groups):
            for image in range(sizes.batch):
                # Filters are independent: a block of Tm at a time bounds the memory of a step.
                for first in range(0, sizes.filters, self.tm):
                    block = slice(first, min(first + self.tm, sizes.filters))
                    self._accumulate(
                        result[group, image, block], given.image[group, image],
                        given.weights[group, block], sizes,
                    )  # fmt: skip
        return result

    def _accumulate(self, out: Array, image: Array, weights: Array, sizes: Convolution) -> None:
        for first in range(0, sizes.channels, self.tn):
            lanes = range(first, min(first + self.tn, sizes.channels))
            products = np.zeros((self.tn, *out.shape), np.float32)  # idle lanes stay zero
            for row in range(sizes.kernel[0]):
                for column in range(sizes.kernel[1]):
                    pixels = shifted(image, sizes, row, column)
                    for lane, channel in enumerate(lanes):
                        np.multiply(
                            weights[:, channel, row, column, None, None], pixels[channel],
                            out=products[lane],
                        )  # fmt: skip
                    out += tree_sum(products)
