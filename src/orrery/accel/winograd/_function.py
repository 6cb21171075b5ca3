"""What the Winograd array computes, bit for bit: by transforms, so its error is its own.

Models:  weights transformed beforehand in float64 and rounded once. float32: transforms add terms
         in index order; the Pn products of a cycle are added by a tree and the sum joins the
         tile's accumulator; pieces in order; inverse transform; bias last. fixed16: 16-bit image,
         its exact transform rounded to 18 bits (the narrower port of a multiplier; F(2×2) fits
         exactly), 16-bit transformed weights (a step per filter), exact products, sums and
         inverse transform; then the float32 output stage.
Ignores: nothing that changes a bit.
Judge:   float64 convolution within the derived bound; the identity of the transform.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from orrery.graph import Region

from .._convolution import (
    Array,
    Convolution,
    Operands,
    ceil_div,
    operands,
    read_convolution,
    to_output,
)
from .._fixed import float32_bound, output_stage, require
from .._formats import quantise, quantum, rounding_bound, tree_sum
from .._record import Tensors
from ._transform import TAPS, TRANSFORMS, Piece, Transform, pieces

#: Magnitudes above this may overflow on the way; nothing is promised about them.
_LARGEST = float(np.finfo(np.float32).max) / 4


@dataclass(frozen=True, slots=True, kw_only=True)
class WinogradFunction:
    """Evaluates one convolution in the array's order and number format."""

    tile: int
    pm: int
    pn: int
    precision: str

    def __call__(self, region: Region, inputs: Tensors) -> Tensors:
        sizes = require(read_convolution(region), region)
        given = tile_operands(region, inputs, sizes, self.tile)
        with np.errstate(over="ignore", invalid="ignore"):  # as silent as the hardware
            if self.precision == "fixed16":
                result = _fixed16(given, sizes, TRANSFORMS[self.tile])
            else:
                result = self._float32(given, sizes, TRANSFORMS[self.tile])
        return {region.members[0].outputs[0]: to_output(result, sizes)}

    def _float32(self, given: Operands, sizes: Convolution, transform: Transform) -> Array:
        parts = [
            (_terms(transform.bt, data), weights.astype(np.float32))
            for data, weights in _transformed(given, sizes, transform)
        ]
        result = np.zeros((sizes.groups, sizes.batch, sizes.filters, *sizes.output), np.float32)
        for group in range(sizes.groups):
            for image in range(sizes.batch):
                for first in range(0, sizes.filters, self.pm):
                    block = slice(first, min(first + self.pm, sizes.filters))
                    total = self._accumulate(
                        [(v[group, image], u[group, block]) for v, u in parts], sizes
                    )
                    result[group, image, block] = _untile(_terms(transform.at, total), sizes)
        if given.bias is not None:
            result += given.bias[:, None, :, None, None]
        return result

    def _accumulate(self, parts: list[tuple[Array, Array]], sizes: Convolution) -> Array:
        total: Array = np.zeros((), np.float32)
        for tiles, weights in parts:  # [channels, Tr, Tc, n, n] and [filters, channels, n, n]
            for first in range(0, sizes.channels, self.pn):
                lanes = range(first, min(first + self.pn, sizes.channels))
                products = np.zeros(
                    (self.pn, len(weights), *tiles.shape[1:]), np.float32
                )  # idle lanes stay zero
                for lane, channel in enumerate(lanes):
                    np.multiply(weights[:, channel, None, None], tiles[channel], out=products[lane])
                total = total + tree_sum(products)
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class WinogradTolerance:
    """The largest error per output element: transforms amplify, magnitudes say by how much."""

    tile: int
    precision: str

    def __call__(self, region: Region, inputs: Tensors) -> Tensors:
        sizes = require(read_convolution(region), region)
        given = tile_operands(region, inputs, sizes, self.tile)
        transform = TRANSFORMS[self.tile]
        magnitude = _magnitude(given, sizes, transform)
        terms = sizes.channels * sum(1 for _ in _axis_pairs(sizes))
        # A term passes two transforms of up to 2n roundings an axis, one product, its sum, a bias.
        error = rounding_bound(magnitude, 8 * transform.n + terms + 8)
        if self.precision == "fixed16":
            error += _fixed16_error(given, sizes, transform)
        error += float32_bound(given, sizes)
        error[magnitude > _LARGEST] = np.inf
        return {region.members[0].outputs[0]: to_output(error, sizes)}


def tile_operands(region: Region, inputs: Tensors, sizes: Convolution, tile: int) -> Operands:
    """Return the operands with the image padded so that every piece has whole tiles."""
    reach = []
    for axis in (0, 1):
        cut = pieces(sizes.kernel[axis], sizes.stride[axis])
        rows = ceil_div(sizes.output[axis], tile) * tile + TAPS - 1
        reach.append((rows - 1) * sizes.stride[axis] + max(p.first for p in cut) + 1)
    return operands(region, inputs, sizes, reach=(reach[0], reach[1]))


def _axis_pairs(sizes: Convolution) -> Iterator[tuple[Piece, Piece]]:
    for vertical in pieces(sizes.kernel[0], sizes.stride[0]):
        for horizontal in pieces(sizes.kernel[1], sizes.stride[1]):
            yield vertical, horizontal


def _pieces_of(
    given: Operands, sizes: Convolution, transform: Transform
) -> Iterator[tuple[Array, Array]]:
    """Yield per piece tiles [G, B, channels, Tr, Tc, n, n] and taps [G, F, channels, 3, 3]."""
    m, n = transform.m, transform.n
    rows, columns = (ceil_div(size, m) * m + TAPS - 1 for size in sizes.output)
    for vertical, horizontal in _axis_pairs(sizes):
        plane = given.image[
            ..., vertical.first :: vertical.step, horizontal.first :: horizontal.step
        ]
        windows = np.lib.stride_tricks.sliding_window_view(
            plane[..., :rows, :columns], (n, n), axis=(-2, -1)
        )
        taps = np.zeros((*given.weights.shape[:3], TAPS, TAPS), given.weights.dtype)
        taps[..., : vertical.taps, : horizontal.taps] = given.weights[
            ..., vertical.first :: vertical.step, horizontal.first :: horizontal.step
        ][..., : vertical.taps, : horizontal.taps]
        yield windows[..., ::m, ::m, :, :], taps


def _transformed(
    given: Operands, sizes: Convolution, transform: Transform
) -> Iterator[tuple[Array, Array]]:
    """Yield per piece the raw tiles and the transformed weights in float64."""
    for tiles, taps in _pieces_of(given, sizes, transform):
        yield tiles, transform.g @ taps.astype(np.float64) @ transform.g.T


def _terms(matrix: Array, tiles: Array) -> Array:
    """Return matrix · tile · matrixᵀ over the last two axes, terms added in index order."""
    for axis in (-2, -1):
        tiles = np.moveaxis(tiles, axis, 0)
        lines = []
        for row in matrix:
            line: Array | None = None
            for factor, part in zip(row, tiles):
                if factor:
                    term = part * part.dtype.type(factor)
                    line = term if line is None else line + term
            lines.append(line)
        tiles = np.moveaxis(np.stack([x for x in lines if x is not None]), 0, axis)
    return tiles


def _untile(tiles: Array, sizes: Convolution) -> Array:
    """Join [..., Tr, Tc, m, m] into [..., R, C], the overhang cut off."""
    *lead, rows, columns, m, _ = tiles.shape
    image = tiles.swapaxes(-3, -2).reshape(*lead, rows * m, columns * m)
    return image[..., : sizes.output[0], : sizes.output[1]]


def _sum_of_products(tiles: Array, weights: Array) -> Array:
    """Contract channels in float64: [G, B, F, Tr, Tc, n, n]."""
    groups, batch, channels, rows, columns, n, _ = tiles.shape
    left = np.moveaxis(weights.reshape(groups, 1, -1, channels, n * n), -1, 2)
    right = np.moveaxis(tiles.reshape(groups, batch, channels, rows * columns, n * n), -1, 2)
    product = np.moveaxis(left @ right, 2, -1)
    return product.reshape(groups, batch, -1, rows, columns, n, n)


def _dropped_bits(transform: Transform) -> int:
    """Return how many low bits of a transformed 16-bit tile do not fit 18 bits."""
    return max(0, transform.growth_bits - 2)


def _fixed_parts(
    given: Operands, sizes: Convolution, transform: Transform
) -> tuple[list[tuple[Array, Array]], Array, Array]:
    """Return per piece (tiles, weights) as integers, and the steps of both."""
    step = quantum(given.image, what="image of a fixed16 convolution").reshape(())
    raw = list(_transformed(given, sizes, transform))
    largest = np.maximum.reduce([np.abs(w).max(axis=(2, 3, 4), keepdims=True) for _, w in raw])
    weight_step = quantum(largest, (2, 3, 4), what="weights of a fixed16 convolution")
    scale = 2.0 ** _dropped_bits(transform)
    parts = [
        (
            np.rint(_terms(transform.bt, quantise(tiles, step)) / scale),
            quantise(weights, weight_step),
        )
        for tiles, weights in raw
    ]
    return parts, step * scale, weight_step


def _fixed16(given: Operands, sizes: Convolution, transform: Transform) -> Array:
    parts, step, weight_step = _fixed_parts(given, sizes, transform)
    total = sum((_sum_of_products(v, u) for v, u in parts), np.zeros(()))
    image = _untile(_terms(transform.at, total), sizes)
    return output_stage(image, step * weight_step.reshape(sizes.groups, sizes.filters), given)


def _fixed16_error(given: Operands, sizes: Convolution, transform: Transform) -> Array:
    """Return |Aᵀ| ( Σ |V|·dU + dV·|U| + dV·dU ) |A|, each d half a step of the last rounding plus
    what the transform makes of the first.
    """
    parts, step, weight_step = _fixed_parts(given, sizes, transform)
    spread = np.abs(transform.bt).sum(1)
    dropped = _dropped_bits(transform)
    image_error = np.outer(spread, spread) * step / 2.0**dropped / 2 + (step / 2 if dropped else 0)
    total: Array = np.zeros(())
    for tiles, weights in parts:
        v = np.abs(tiles) * step + image_error
        dv = np.broadcast_to(image_error, v.shape)
        u = np.abs(weights) * weight_step + weight_step / 2
        du = np.broadcast_to(weight_step / 2, u.shape)
        total = total + _sum_of_products(v, du) + _sum_of_products(dv, u)
    return _untile(_terms(np.abs(transform.at), total), sizes)


def _magnitude(given: Operands, sizes: Convolution, transform: Transform) -> Array:
    """Return |Aᵀ| ( Σ |G||g||Gᵀ| ⊙ |Bᵀ||d||B| ) |A| + |bias|, infinite where it may overflow."""
    total: Array = np.zeros(())
    bt, g = np.abs(transform.bt), np.abs(transform.g)
    for tiles, taps in _pieces_of(given, sizes, transform):
        v = _terms(bt, np.abs(tiles.astype(np.float64)))
        v[v > _LARGEST] = np.inf
        u = g @ np.abs(taps.astype(np.float64)) @ g.T
        with np.errstate(invalid="ignore"):
            total = total + np.nan_to_num(_sum_of_products(v, u), nan=np.inf, posinf=np.inf)
    magnitude = _untile(_terms(np.abs(transform.at), total), sizes)
    if given.bias is not None:
        magnitude = magnitude + np.abs(given.bias.astype(np.float64))[:, None, :, None, None]
    return magnitude
