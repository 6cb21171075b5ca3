"""Convolution in 16-bit fixed point, and derived error bounds of both number formats.

Models:  see `orrery.accel._formats`. Integers are kept in float64, where sums of up to 2¹⁷
         products of 16-bit numbers are exact, so the order of addition changes no bit.
Judge:   integer arithmetic in Python and float64 (tests/accel/test_functions.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from orrery.errors import SpecError
from orrery.graph import Region

from ._convolution import (
    Array,
    Convolution,
    Operands,
    absolute_convolution,
    convolve,
    operands,
    read_convolution,
    to_output,
)
from ._formats import quantise, quantum, rounding_bound
from ._record import Tensors


def require(sizes: Convolution | str, region: Region) -> Convolution:
    """Return the sizes, or raise for a region that is not a convolution of this kind."""
    if isinstance(sizes, str):
        raise SpecError(f"region {region.name!r}", found=sizes, wanted="a supported convolution",
                        fix="ask the cost model whether it refuses first")  # fmt: skip
    return sizes


def steps(given: Operands) -> tuple[Array, Array]:
    """Return the grid step of the image (one) and of each filter [groups, filters, 1, 1, 1]."""
    image = quantum(given.image, what="image of a fixed16 convolution").reshape(())
    return image, quantum(given.weights, (2, 3, 4), what="weights of a fixed16 convolution")


def fixed16_convolution(given: Operands, sizes: Convolution) -> Array:
    """Return [groups, batch, filters, R, C] in float32."""
    image_step, weight_step = steps(given)
    image, weights = quantise(given.image, image_step), quantise(given.weights, weight_step)
    total = convolve(image, weights, sizes)
    return output_stage(total, image_step * weight_step.reshape(sizes.groups, sizes.filters), given)


def evaluated(
    region: Region, inputs: Tensors, precision: str,
    float32: Callable[[Operands, Convolution], Array],
) -> Tensors:  # fmt: skip
    """Return a convolution in fixed point, which no order of additions changes, or by `float32`."""
    sizes = require(read_convolution(region), region)
    given = operands(region, inputs, sizes)
    run = fixed16_convolution if precision == "fixed16" else float32
    return {region.members[0].outputs[0]: to_output(run(given, sizes), sizes)}


def output_stage(accumulator: Array, step: Array, given: Operands) -> Array:
    """Scale the exact accumulator, round to float32, add the bias in float32."""
    with np.errstate(over="ignore"):  # an overflow is infinite, as in the reference
        result: Array = (accumulator * step[:, None, :, None, None]).astype(np.float32)
        if given.bias is not None:
            result = result + given.bias[:, None, :, None, None]
    return result


def fixed16_bound(given: Operands, sizes: Convolution) -> Array:
    """Return the largest distance from a float32 reference.

    Before: x · w. After: (x + e)(w + d) with |e|, |d| at most half a step each (the grid is wide
    enough for the largest magnitude), so |error| ≤ |x|·|d| + |e|·|w| + |e|·|d| per term.
    """
    image_step, weight_step = steps(given)
    half_image = np.broadcast_to(image_step / 2, given.image.shape)
    half_weight = np.broadcast_to(weight_step / 2, given.weights.shape)
    error = absolute_convolution(np.abs(given.image) + half_image, half_weight, sizes)
    error += absolute_convolution(half_image, given.weights, sizes)
    return error + float32_bound(given, sizes)


def float32_bound(given: Operands, sizes: Convolution) -> Array:
    """Return the largest distance between two float32 sums of the same terms, in any order.

    Each stands within γₙ · Σ|terms| of the true value, so the two stand within twice that. n
    counts a product and at most one addition per further term, bias and idle lanes included.
    """
    magnitude = absolute_convolution(given.image, given.weights, sizes)
    if given.bias is not None:
        magnitude += np.abs(given.bias.astype(np.float64))[:, None, :, None, None]
    return 2 * rounding_bound(magnitude, sizes.channels * sizes.taps + 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionTolerance:
    """The largest error per output element of an array that multiplies and adds as asked."""

    precision: str

    def __call__(self, region: Region, inputs: Tensors) -> Tensors:
        sizes = require(read_convolution(region), region)
        given = operands(region, inputs, sizes)
        bound = fixed16_bound if self.precision == "fixed16" else float32_bound
        return {region.members[0].outputs[0]: to_output(bound(given, sizes), sizes)}
