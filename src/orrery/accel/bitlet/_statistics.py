"""How many bits of weights are zero, place by place, and how many cycles that lets one expect.

Models:  bits of a tensor as an engine would hold it: the stored fraction of a floating format and
         its hidden one, or the magnitude on a fixed-point grid. `expected_cycles`: independent bits
         of given density in every lane through the exact window rule, in closed form (a Markov
         chain of the pointer); lanes independent, the slowest counts.
Ignores: alignment to a group's exponents, which moves bits to lower lanes and drops some; and that
         real bits are not independent. `_cycles` counts from the values instead.
Judge:   Python integers; simulation of the chain (tests/accel/bitlet/test_statistics.py).

Published: 48.6 % of mantissa bits of trained fp32 networks are zero (authors' slides, ChinaSys).
The share depends on whether the hidden one counts. Trained weights have 50.7 % zeros among the 23
*stored* bits (`stored_sparsity`), hence 23/24 of that, 48.6 %, among the 24 bits of the magnitude
that the lanes see (`lane_sparsity`): the published figure is the latter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orrery.errors import SpecError

from ._bits import MOST_WINDOW
from ._engine import MOST_GROUP, Array
from ._format import FixedFormat, FloatFormat, check_integers, number_format, split, to_bits
from ._function import grid_step, on_grid

__all__ = ["BitStatistics", "bit_statistics", "expected_cycles", "merge_statistics"]

#: Published value sparsity counts weights below this as zeros.
SMALL = 1e-5
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BitStatistics:
    """Zeros of a tensor, counted.

    Attributes
    ----------
    precision : as `number_format` reads it
    values : elements counted
    zeros : zero bits per place of the magnitude, most significant first; the first place of a
        floating format is the hidden one's
    zero_values, small_values : elements that are zero, and below 1e-5 in magnitude
    """

    precision: str
    values: int
    zeros: tuple[int, ...]
    zero_values: int
    small_values: int

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of zeros per place, most significant first."""
        return tuple(count / self.values for count in self.zeros)

    @property
    def stored_shares(self) -> tuple[float, ...]:
        """The share of zeros per *stored* place: without a floating format's hidden one."""
        hidden = isinstance(number_format(self.precision), FloatFormat)
        return self.shares[1:] if hidden else self.shares

    @property
    def stored_sparsity(self) -> float:
        """The share of zeros among stored bits: 23 a weight in fp32."""
        return math.fsum(self.stored_shares) / len(self.stored_shares)

    @property
    def lane_sparsity(self) -> float:
        """The share of zeros among all bits of the magnitude, one a lane: 24 a weight in fp32."""
        return math.fsum(self.shares) / len(self.zeros)


def bit_statistics(
    values: Any, precision: str, *, axis: int | None = None, where: str = "tensor"
) -> BitStatistics:
    """Count the zero bits of a tensor.

    Parameters
    ----------
    values : numbers of any shape, rounded to the format; in fixed point integers are taken as
        they are, other numbers rounded to a grid of the layer's kind (see `_function`)
    precision : ``fp32``, ``fp16``, ``bf16`` or ``fixed1`` to ``fixed24``
    axis : fixed point: the axis of filters, each with a grid of its own; None: one grid for all
    where : what an error calls the tensor

    Raises
    ------
    SpecError : no values, values that are not finite, integers out of range, unknown precision
    """
    form = number_format(precision, where=where)
    given = np.asarray(values)
    if given.size == 0:
        raise SpecError(where, found="no values", wanted="one value at least",
                        fix="leave empty tensors out")  # fmt: skip
    # The narrow floating types of ml_dtypes have no kind of their own.
    if given.dtype.kind not in "iub" and not np.isfinite(given.astype(np.float64)).all():
        raise SpecError(where, found="a value that is not finite", wanted="finite numbers",
                        fix="repair the model")  # fmt: skip
    if isinstance(form, FixedFormat):
        held = _integers(given, form, axis, where)
    else:
        held = given.reshape(-1)
    zeros = np.zeros(form.lanes, np.int64)
    nothing = small = 0
    for first in range(0, held.size, _BLOCK):
        block = held.reshape(-1)[first : first + _BLOCK]
        if isinstance(form, FloatFormat):
            magnitude = split(to_bits(block, form), form, "correct").magnitude
        else:
            magnitude = np.abs(block)
        for place in range(form.lanes):
            bit = form.lanes - 1 - place
            zeros[place] += block.size - int(np.count_nonzero(magnitude >> bit & 1))
        nothing += block.size - int(np.count_nonzero(magnitude))
    for first in range(0, given.size, _BLOCK):
        part = given.reshape(-1)[first : first + _BLOCK].astype(np.float64)
        small += int(np.count_nonzero(np.abs(part) < SMALL))
    return BitStatistics(
        precision=precision, values=given.size, zeros=tuple(int(z) for z in zeros),
        zero_values=nothing, small_values=small,
    )  # fmt: skip


def _integers(given: Array, form: FixedFormat, axis: int | None, where: str) -> Array:
    if given.dtype.kind in "iub":
        limit = form.weight_limit
        return check_integers(given, -limit, limit, where=where, fix="take more bits")
    axes = None
    if axis is not None:
        axes = tuple(i for i in range(given.ndim) if i != axis % given.ndim)
    return on_grid(given, grid_step(given, form, axes, what=where), form)


def merge_statistics(parts: Iterable[BitStatistics]) -> BitStatistics:
    """Add up the counts of several tensors of one precision.

    Raises
    ------
    SpecError : no parts, or parts of different precisions
    """
    found = list(parts)
    kinds = sorted({p.precision for p in found})
    if len(kinds) != 1:
        raise SpecError("bit statistics", found=", ".join(kinds) or "no tensors",
                        wanted="tensors of one precision", fix="count them alike")  # fmt: skip
    return BitStatistics(
        precision=kinds[0], values=sum(p.values for p in found),
        zeros=tuple(map(sum, zip(*(p.zeros for p in found)))),
        zero_values=sum(p.zero_values for p in found),
        small_values=sum(p.small_values for p in found),
    )  # fmt: skip


def expected_cycles(zero_shares: Sequence[float], group: int = 64, window: int = 8) -> float:
    """Return the mean cycles of a group whose bits are independent.

    Parameters
    ----------
    zero_shares : per running lane the share of zeros
    group, window : of the engine

    Raises
    ------
    SpecError : no lanes, shares outside 0 to 1, a group or a window that is none
    """
    shares = np.asarray(zero_shares, np.float64)
    if shares.ndim != 1 or shares.size == 0 or not np.all((shares >= 0) & (shares <= 1)):
        raise SpecError("zero shares", found=zero_shares, wanted="shares from 0 to 1, one a lane",
                        fix="take `BitStatistics.shares`")  # fmt: skip
    if not (1 <= group <= MOST_GROUP and 1 <= window <= MOST_WINDOW):
        raise SpecError("group and window", found=f"{group} and {window}",
                        wanted=f"1 to {MOST_GROUP} and 1 to {MOST_WINDOW}",
                        fix="correct the sizes")  # fmt: skip
    # P(group takes at most c) is the product over lanes; the mean is Σ P(takes more than c).
    within = np.ones(group + 1)
    known: dict[float, Array] = {}
    for share in shares.tolist():
        if share not in known:
            known[share] = np.minimum(np.cumsum(_lane_distribution(1 - share, group, window)), 1)
        within *= known[share]
    return float(np.sum(1 - within[:-1]))


def _lane_distribution(density: float, group: int, window: int) -> Array:
    """Return P(a lane takes c cycles), c from 0 to the group's size.

    The pointer stands where nothing is known of the bit under it (after a whole window), or on a
    one that is known (the second one of the last window).
    """
    one, zero = density, 1 - density
    fresh = np.zeros((group + window + 1, group + 1))
    on_one = np.zeros((group + window + 1, group + 1))
    fresh[0, 0] = 1
    for p in range(group):
        seen = min(window, group - p)
        ahead = np.zeros(group + 1)
        ahead[1:] = fresh[p, :-1]
        chance = zero**seen + seen * one * zero ** (seen - 1)
        fresh[p + window] += chance * ahead
        for j in range(1, seen):
            on_one[p + j] += j * one**2 * zero ** (j - 1) * ahead
        ahead[1:] = on_one[p, :-1]
        fresh[p + window] += zero ** (seen - 1) * ahead
        for j in range(1, seen):
            on_one[p + j] += one * zero ** (j - 1) * ahead
    found: Array = fresh[group:].sum(0)
    return found
