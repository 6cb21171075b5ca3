"""Cycles and traffic of the tiled loop nest.

Models:  for every tile of rows, columns and output channels: for every Tn input channels load the
         image tile and the weights, multiply K² · Tr · Tc cycles; store the output tile at the
         end. With double buffers the three streams overlap (each on its own port), without they
         add up (one port). Batch and groups repeat the nest. Loads are whole bus beats. Dilation
         widens the image tile.
Ignores: edges of *channel* tiles (idle lanes are charged); with ``clip=False`` those of rows and
         columns too, as the published formula does; bias loads; pipeline fill of a few cycles.
Judge:   a loop nest that counts beats and cycles; the published 61.62 GOP/s of the default point
         on AlexNet's convolutions: 63.3 with ``clip=True``, 46.2 with ``clip=False``
         (tests/accel/test_costs.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .._convolution import Convolution, ceil_div
from .._model import Work

WORD_BITS = 32  #: the network's tensors lie in memory as float32 whatever the multipliers take


@dataclass(frozen=True, slots=True, kw_only=True)
class TiledLoops:
    """The loop nest with its tile sizes; `buffer_bytes` is the on-chip memory."""

    tm: int
    tn: int
    tr: int
    tc: int
    port_bits: int
    overlap: bool
    clip: bool
    buffer_bytes: int

    def limits(self, sizes: Convolution) -> str | None:
        """Refuse kernels whose (double) buffers exceed the on-chip memory."""
        image, weights, output = self._words(sizes, self.tr, self.tc)
        needed = (image + weights + output) * WORD_BITS // 8 * (2 if self.overlap else 1)
        if needed > self.buffer_bytes:
            return (
                f"tile buffers of {needed} bytes for a {sizes.kernel[0]}×{sizes.kernel[1]} kernel; "
                f"the part has {self.buffer_bytes} bytes on chip"
            )
        return None

    def work(self, sizes: Convolution) -> Work:
        """Count one convolution."""
        inner = ceil_div(sizes.channels, self.tn)
        outer = ceil_div(sizes.filters, self.tm)
        repeats = sizes.batch * sizes.groups
        cycles = macs = words = 0
        for (rows, row_tiles), (columns, column_tiles) in (
            (r, c) for r in self._tiles(sizes.output[0], self.tr)
            for c in self._tiles(sizes.output[1], self.tc)
        ):  # fmt: skip
            times = row_tiles * column_tiles * outer
            cycles += times * self._tile_cycles(sizes, rows, columns, inner)
            macs += times * inner * sizes.taps * rows * columns * self.tm * self.tn
            image, weights, output = self._words(sizes, rows, columns)
            words += times * (inner * (image + weights) + output)
        cycles = repeats * cycles + (self._drain(sizes) if self.overlap else 0)
        return Work(
            cycles=cycles, macs_performed=repeats * macs,
            offchip_bytes=repeats * words * WORD_BITS // 8,
        )  # fmt: skip

    def _tile_cycles(self, sizes: Convolution, rows: int, columns: int, inner: int) -> int:
        image, weights, output = self._words(sizes, rows, columns)
        compute = sizes.taps * rows * columns
        if self.overlap:
            step = max(compute, self._beats(image), self._beats(weights))
            return max(inner * step, self._beats(output))
        return inner * (self._beats(image + weights) + compute) + self._beats(output)

    def _drain(self, sizes: Convolution) -> int:
        """Return what nothing overlaps: the first load (one step) and the last store."""
        rows = min(self.tr, sizes.output[0]) if self.clip else self.tr
        columns = min(self.tc, sizes.output[1]) if self.clip else self.tc
        image, weights, output = self._words(sizes, rows, columns)
        step = max(sizes.taps * rows * columns, self._beats(image), self._beats(weights))
        return self._beats(output) + step

    def _words(self, sizes: Convolution, rows: int, columns: int) -> tuple[int, int, int]:
        image = self.tn * sizes.extent(rows, 0) * sizes.extent(columns, 1)
        return image, self.tm * self.tn * sizes.taps, self.tm * rows * columns

    def _beats(self, words: int) -> int:
        return ceil_div(words * WORD_BITS, self.port_bits)

    def _tiles(self, outputs: int, tile: int) -> Iterator[tuple[int, int]]:
        """Yield (size, how many) of the tiles along one axis."""
        if not self.clip:
            yield tile, ceil_div(outputs, tile)
            return
        if outputs >= tile:
            yield tile, outputs // tile
        if outputs % tile:
            yield outputs % tile, 1
