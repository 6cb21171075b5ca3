"""Cycles and traffic of the output-stationary systolic array.

Models:  the array keeps rows × cols outputs (pixels of all images of the batch × filters of one
         group); a pass streams K² · ⌈N/vector⌉ operands through it and takes rows + cols − 2
         cycles more until the farthest element has seen the last of them. Groups run one after
         the other. Traffic: a buffer for the image and one for weights, half the given size each.
         The weights of a block of columns stay in theirs if they fit, else every row block reads
         them again; the image is read once if it fits, else once per block of columns.
Ignores: draining of results (hidden behind the next pass), edges (idle rows, columns and lanes
         are charged), the line buffer's own fill.
Judge:   a cycle-by-cycle array in tests/accel/test_costs.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from .._convolution import Convolution, ceil_div
from .._formats import ACCUMULATOR_TERMS
from .._model import Work

WORD_BYTES = 4  #: tensors lie off chip as float32


@dataclass(frozen=True, slots=True, kw_only=True)
class SystolicArray:
    """The array's shape; `buffer_bytes` of on-chip memory serve the image and the weights."""

    rows: int
    cols: int
    vector: int
    buffer_bytes: int
    fixed: bool

    def limits(self, sizes: Convolution) -> str | None:
        """Refuse sums that a 48-bit accumulator cannot hold."""
        terms = sizes.channels * sizes.taps
        if self.fixed and terms > ACCUMULATOR_TERMS:
            return f"sums of {terms} products; a 48-bit accumulator holds {ACCUMULATOR_TERMS}"
        return None

    def work(self, sizes: Convolution) -> Work:
        """Count one convolution."""
        columns = ceil_div(sizes.filters, self.cols)
        rows = ceil_div(sizes.batch * sizes.pixels, self.rows)
        depth = sizes.taps * ceil_div(sizes.channels, self.vector)
        passes = sizes.groups * columns * rows
        return Work(
            cycles=passes * (depth + self.rows + self.cols - 2),
            macs_performed=passes * depth * self.rows * self.cols * self.vector,
            offchip_bytes=self._traffic(sizes, columns, rows),
        )

    def _traffic(self, sizes: Convolution, columns: int, rows: int) -> int:
        half = self.buffer_bytes // 2
        block = min(self.cols, sizes.filters) * sizes.channels * sizes.taps * WORD_BYTES
        image = sizes.input_bytes // sizes.groups
        weights = sizes.weight_bytes * (1 if block <= half else rows)
        return sizes.input_bytes * (1 if image <= half else columns) + weights + sizes.output_bytes
