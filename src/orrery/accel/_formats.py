"""Number formats of the designs: what a MAC takes, how values are rounded, how far that is off.

Models:  ``float32`` (IEEE, round to nearest even, one rounding per operation) and ``fixed16``:
         16-bit integers with one power-of-two scale per image tensor and per filter, exact
         products, an exact 48-bit accumulator, a float32 output stage that adds the bias.
Ignores: how a machine finds the image's scale (its producer must track the largest magnitude).
Judge:   the bounds are derived; tests try random, edge and adversarial values against float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.errors import SpecError, check_choice
from orrery.provenance import Basis, Source

Array = NDArray[Any]

UNIT = 2.0**-24  #: unit roundoff of float32
TINY = 2.0**-126  #: smallest normal float32; below it the error is absolute


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberFormat:
    """One number format of the multipliers.

    Attributes
    ----------
    dsps_per_mac : slices of one multiplier with its adder
    dtype : element type under which the device's peak rate is kept
    """

    name: str
    dsps_per_mac: int
    dtype: str
    source: Source


FORMATS = {
    "float32": NumberFormat(
        name="float32", dsps_per_mac=5, dtype="float32",
        source=Source(basis=Basis.PUBLISHED, where="Zhang et al., FPGA 2015",
                      note="3 slices to multiply and 2 to add; on other parts taken over"),
    ),
    "fixed16": NumberFormat(
        name="fixed16", dsps_per_mac=1, dtype="int16",
        source=Source(basis=Basis.PUBLISHED, where="AMD DSP slice guides UG479 and UG579",
                      note="one 25×18 or 27×18 multiplier with a 48-bit accumulator a slice"),
    ),
}  # fmt: skip

#: Sums of this many 16-bit products fit a 48-bit accumulator.
ACCUMULATOR_TERMS = 2**17


def number_format(name: str, *, where: str) -> NumberFormat:
    """Return a number format; an unknown name is refused and the nearest offered."""
    check_choice(f"{where}: precision", name, FORMATS)
    return FORMATS[name]


def quantum(
    values: Array, axes: tuple[int, ...] | None = None, *, what: str, bits: int = 16
) -> Array:
    """Return the power-of-two step of a signed grid that holds all magnitudes (kept axes).

    Raises
    ------
    SpecError : a value is NaN or infinite; a fixed-point machine cannot hold it
    """
    largest = np.max(np.abs(values.astype(np.float64)), axis=axes, keepdims=True, initial=0.0)
    if not np.all(np.isfinite(largest)):
        raise SpecError(what, found="a value that is not finite", wanted="finite numbers",
                        fix="use precision='float32' for such data")  # fmt: skip
    _, exponent = np.frexp(largest)  # largest < 2**exponent
    step: Array = np.where(largest > 0, np.ldexp(1.0, exponent - (bits - 1)), 1.0)
    # Rounding up to 2**(bits - 1) would overflow a signed number: take the next coarser grid.
    return np.where(np.rint(largest / step) > 2 ** (bits - 1) - 1, 2 * step, step)


def quantise(values: Array, step: Array) -> Array:
    """Round to the nearest multiple of the step (ties to even); integers kept in float64."""
    scaled: Array = np.rint(values.astype(np.float64) / step)
    return scaled


def tree_sum(products: Array) -> Array:
    """Add along axis 0 with a balanced binary tree of float32 adders, as a lane array does.

    ``[a, b, c]`` gives ``(a + b) + c``: neighbours first, an odd one out passes to the next level.
    """
    while len(products) > 1:
        pairs = products[0 : len(products) - 1 : 2] + products[1::2]
        if len(products) % 2:
            pairs = np.concatenate([pairs, products[-1:]])
        products = pairs
    total: Array = products[0]
    return total


def rounding_bound(magnitude: Array, roundings: int) -> Array:
    """Return the error of a float32 sum whose every term is rounded at most so many times.

    Standard analysis: |error| ≤ γₙ · Σ|terms| with γₙ = n·u / (1 − n·u), plus underflow.
    """
    gamma = roundings * UNIT / (1 - roundings * UNIT)
    bound: Array = gamma * magnitude + roundings * TINY
    return bound
