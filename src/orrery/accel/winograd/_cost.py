"""Cycles and traffic of the Winograd array.

Models:  every cycle n² products for each of Pm filters × Pn channels, for one tile; a kernel that
         is not 3×3 or a stride above 1 costs one pass per piece (see `_transform`). For each block
         of Pm filters the pipelines of the input and output transforms fill once (2n and 2m
         cycles, a row a cycle and stage). Weights are transformed beforehand and lie off chip as
         n² words per 3×3. The image is read once if it fits half the buffer, else once per block
         of filters; a block's weights are read once if they fit the other half, else once per row
         of tiles.
Ignores: adders of the transforms as a resource, edges (idle lanes and outputs are charged).
Judge:   a loop nest that counts (tests/accel/test_costs.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from .._convolution import Convolution, ceil_div
from .._model import Work
from ._transform import TRANSFORMS, pieces

WORD_BYTES = 4  #: tensors and transformed weights lie off chip in 32-bit words

#: Products are below 2³² (18-bit tiles, 16-bit weights); sums of this many fit the 48-bit
#: accumulator, and after the inverse transform of F(4×4), which adds 9 bits, 53 bits.
FIXED_TERMS = 2**12


@dataclass(frozen=True, slots=True, kw_only=True)
class WinogradArray:
    """The array's shape; `buffer_bytes` of on-chip memory serve the image and the weights."""

    tile: int
    pm: int
    pn: int
    buffer_bytes: int
    fixed: bool

    def limits(self, sizes: Convolution) -> str | None:
        """Refuse dilated kernels and sums that the accumulator cannot hold."""
        if sizes.dilation != (1, 1):
            return f"dilation {sizes.dilation}; the transform needs neighbouring pixels"
        terms = sizes.channels * self._passes(sizes)
        if self.fixed and terms > FIXED_TERMS:
            return f"sums of {terms} products; the accumulator holds {FIXED_TERMS}"
        return None

    def work(self, sizes: Convolution) -> Work:
        """Count one convolution."""
        n = TRANSFORMS[self.tile].n
        passes = self._passes(sizes)
        blocks = sizes.groups * ceil_div(sizes.filters, self.pm)
        tile_rows = sizes.batch * ceil_div(sizes.output[0], self.tile)
        tiles = tile_rows * ceil_div(sizes.output[1], self.tile)
        busy = blocks * tiles * ceil_div(sizes.channels, self.pn) * passes
        half = self.buffer_bytes // 2
        weights = n * n * passes * sizes.channels * WORD_BYTES
        block = min(self.pm, sizes.filters) * weights
        image = sizes.input_bytes // sizes.groups
        traffic = (
            sizes.input_bytes * (1 if image <= half else ceil_div(sizes.filters, self.pm))
            + sizes.groups * sizes.filters * weights * (1 if block <= half else tile_rows)
            + sizes.output_bytes
        )
        return Work(
            cycles=busy + blocks * 2 * (n + self.tile),
            macs_performed=busy * n * n * self.pm * self.pn, offchip_bytes=traffic,
        )  # fmt: skip

    def _passes(self, sizes: Convolution) -> int:
        vertical, horizontal = (
            len(pieces(sizes.kernel[axis], sizes.stride[axis])) for axis in (0, 1)
        )
        return vertical * horizontal
