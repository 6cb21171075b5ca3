"""How many bits of weights are zero, place by place, and how many cycles that lets one expect.

Models:  bits of a tensor as an engine would hold it: the stored fraction of a floating format and
         its hidden one, or the magnitude on a fixed-point grid. `expected_cycles`: independent bits
         of given density in every lane through the exact window rule, in closed form (a Markov
         chain of the pointer); lanes independent, the slowest counts. `expected_aligned_cycles`:
         the same after alignment, from the exponents of weights and activations.
Ignores: that real bits, and real exponents of neighbours, are not independent. `_cycles` counts
         from the values instead.
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
from functools import lru_cache
from typing import Any

import numpy as np

from orrery.errors import SpecError

from ._bits import MOST_WINDOW
from ._digits import Digits, digit_shares, recoded
from ._engine import MOST_GROUP, Array
from ._format import FixedFormat, FloatFormat, Mode, check_integers, number_format, split, to_bits
from ._function import grid_step, on_grid

#: Published value sparsity counts weights below this as zeros.
SMALL = 1e-5
_BLOCK = 1 << 20
#: Largest exponents that fewer groups than this share have are left out of a mean.
_NEGLIGIBLE = 1e-3
#: Equal shares of probability into which the number of terms that are not zero is cut.
_SHARES = 5
#: Terms of which more than this share count are taken at their mean number.
_FULL = 0.95


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
    exponents : elements that are not zero per stored exponent, the last one that of infinities;
        empty in fixed point
    zero_digits : zeros per place of the magnitude's signed digits, one place more than bits, most
        significant first; empty where nobody asked for them
    """

    precision: str
    values: int
    zeros: tuple[int, ...]
    zero_values: int
    small_values: int
    exponents: tuple[int, ...] = ()
    zero_digits: tuple[int, ...] = ()

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of zeros per place, most significant first."""
        return tuple(count / self.values for count in self.zeros)

    @property
    def digit_shares(self) -> tuple[float, ...]:
        """The share of zero digits per place, most significant first."""
        return tuple(count / self.values for count in self.zero_digits)

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
    values: Any, precision: str, *, axis: int | None = None, where: str = "tensor",
    digits: bool = False, mode: Mode = "correct",
) -> BitStatistics:  # fmt: skip
    """Count the zero bits of a tensor.

    Parameters
    ----------
    values : numbers of any shape, rounded to the format; in fixed point integers are taken as
        they are, other numbers rounded to a grid of the layer's kind (see `_function`)
    precision : ``fp32``, ``fp16``, ``bf16`` or ``fixed1`` to ``fixed24``
    axis : fixed point: the axis of filters, each with a grid of its own; None: one grid for all
    where : what an error calls the tensor
    digits : count the zeros of signed digits as well
    mode : floating point: ``faithful`` takes infinities, NaN and subnormals for the numbers that
        the released circuit takes them for

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
    heeded = mode == "correct" or isinstance(form, FixedFormat)
    if heeded and given.dtype.kind not in "iub" and not np.isfinite(given.astype(np.float64)).all():
        raise SpecError(where, found="a value that is not finite", wanted="finite numbers",
                        fix="repair the model")  # fmt: skip
    if isinstance(form, FixedFormat):
        held = _integers(given, form, axis, where)
    else:
        held = given.reshape(-1)
    zeros = np.zeros(form.lanes, np.int64)
    exponents = np.zeros(form.largest_exponent + 2 if isinstance(form, FloatFormat) else 0, int)
    recounted = np.zeros(form.lanes + 1 if digits else 0, np.int64)
    nothing = small = 0
    for first in range(0, held.size, _BLOCK):
        block = held.reshape(-1)[first : first + _BLOCK]
        if isinstance(form, FloatFormat):
            fields = split(to_bits(block, form), form, mode)
            magnitude = fields.magnitude
            present = fields.exponent[magnitude != 0]
            exponents += np.bincount(present, minlength=len(exponents))
        else:
            magnitude = np.abs(block)
        for place in range(form.lanes):
            bit = form.lanes - 1 - place
            zeros[place] += block.size - int(np.count_nonzero(magnitude >> bit & 1))
        if digits:
            places = np.bitwise_or(*recoded(magnitude))
            for place in range(form.lanes + 1):
                ones = np.count_nonzero(places >> (form.lanes - place) & 1)
                recounted[place] += block.size - int(ones)
        nothing += block.size - int(np.count_nonzero(magnitude))
    for first in range(0, given.size, _BLOCK):
        part = given.reshape(-1)[first : first + _BLOCK].astype(np.float64)
        small += int(np.count_nonzero(np.abs(part) < SMALL))
    return BitStatistics(
        precision=precision, values=given.size, zeros=tuple(int(z) for z in zeros),
        zero_values=nothing, small_values=small,
        exponents=tuple(exponents.tolist()), zero_digits=tuple(recounted.tolist()),
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
        exponents=tuple(map(sum, zip(*(p.exponents for p in found)))),
        zero_digits=tuple(map(sum, zip(*(p.zero_digits for p in found)))),
    )  # fmt: skip


def expected_cycles(
    zero_shares: Sequence[float] | Array, group: int = 64, window: int = 8, elements: int = 1,
    halved: Sequence[float] | Array = (),
) -> float:  # fmt: skip
    """Return the mean cycles of the slowest of so many groups whose bits are independent.

    Parameters
    ----------
    zero_shares : per running lane the share of zeros
    group, window : of the engine
    elements : groups that run side by side and wait for one another; 1: the mean of one
    halved : places that two lanes share, the share of zeros of each: one lane pops the even
        weights' digits, one the odd ones'

    Raises
    ------
    SpecError : no lanes, shares outside 0 to 1, a group or a window that is none
    """
    shares = np.asarray(zero_shares, np.float64)
    if shares.ndim != 1 or shares.size == 0 or not np.all((shares >= 0) & (shares <= 1)):
        raise SpecError("zero shares", found=zero_shares, wanted="shares from 0 to 1, one a lane",
                        fix="take `BitStatistics.shares`")  # fmt: skip
    if not (1 <= group <= MOST_GROUP and 1 <= window <= MOST_WINDOW and elements >= 1):
        raise SpecError("group, window, elements", found=f"{group}, {window}, {elements}",
                        wanted=f"1 to {MOST_GROUP}, 1 to {MOST_WINDOW}, 1 or more",
                        fix="correct the sizes")  # fmt: skip
    # The mean is Σ P(takes more than c).
    return float(np.sum(1 - _all_within(shares, group, window, halved)[:-1] ** elements))


def _all_within(
    shares: Array, group: int, window: int, halved: Sequence[float] | Array = ()
) -> Array:
    """Return P(a group takes c cycles at most), c from 0 to `group`: the product over lanes."""
    distinct, times = np.unique(shares, return_counts=True)
    every: Array = np.prod(_within(tuple((1 - distinct).tolist()), group, window) ** times, axis=1)
    for share in halved:
        every = every * _half_within(float(1 - share), group, window) ** 2
    return every


def _half_within(density: float, group: int, window: int) -> Array:
    """Return P(a lane that sees every other weight takes c cycles at most), c from 0 to `group`.

    Of w places in a row it sees w / 2, so it is the lane of a group and a window half as large;
    exact where both are even, between the two neighbours where the window is odd.
    """
    count = (group + 1) // 2
    found = np.ones(group + 1)
    sizes = {max(1, window // 2), (window + 1) // 2}
    found[: count + 1] = np.mean([_within((density,), count, w)[:, 0] for w in sizes], axis=0)
    return found


def expected_aligned_cycles(
    weights: BitStatistics,
    activations: BitStatistics,
    group: int = 64,
    window: int = 8,
    elements: int = 1,
    kept: int | None = None,
    digits: Digits = "plain",
) -> float:
    """Return the mean cycles of a floating-point group, weights aligned to its largest exponent.

    Terms are taken as independent draws: a weight's exponent and bits, an activation's exponent,
    each from its tensor's counts; a zero activation leaves no bits. With E the sum of exponents
    and q the share of terms that are not zero, P(max E ≤ m) = (1 − q + q·P(E ≤ m))^group; given m,
    a term is shifted by d = m − E, so that lane b below the top holds the bit d places above:
    P(one) = Σ_d P(d) · P(bit b − d is one). Zero terms rest all lanes together: given that k of n
    terms are not zero, lanes are walked as if the k stood side by side under a window that is
    shorter by k/n, and the binomial k is averaged over equal shares of its probability: a k of
    the activations' that all elements share, and in it one of the weights' for each element.

    Signed digits: those of a weight shifted by d follow from its remaining bits as of independent
    ones (`digit_shares`), whose carry starts anew at the lowest lane.

    On normal numbers this is within 2 % of the count with no or half the activations zero, 7 % low
    (32 elements) with four fifths of them zero, 3 % with half the weights zero, 8 % with four
    fifths, 20 % with nine tenths, or with four fifths of the weights and half the activations.

    Parameters
    ----------
    weights, activations : counts in one floating format
    group, window, elements : as for `expected_cycles`
    kept : bits that are kept, the highest ones, one lane each; None: all
    digits : what the lanes pop

    Raises
    ------
    SpecError : fixed point, which aligns nothing, or two formats
    """
    form = number_format(weights.precision)
    if isinstance(form, FixedFormat) or activations.precision != weights.precision:
        raise SpecError(
            "aligned cycles", found=f"{weights.precision} and {activations.precision}",
            wanted="one floating format", fix="fixed point aligns nothing: `expected_cycles`",
        )  # fmt: skip
    sums = np.convolve(weights.exponents, activations.exponents).astype(np.float64)
    lanes = form.lanes if kept is None else kept
    if not sums.any():
        return expected_cycles([1.0] * lanes, group, window, elements)
    present = sums.sum() / (weights.values * activations.values)
    there = 1 - activations.zero_values / activations.values
    chance = sums / sums.sum()
    reached = np.cumsum(chance)
    below = 1 - present + present * reached
    largest = np.diff(below**group, prepend=(1 - present) ** group)
    # Of weights that are not zero, the hidden one is set unless they are subnormal.
    ones = (weights.values - np.asarray(weights.zeros)) / (weights.values - weights.zero_values)
    empty = (1 - present) ** group
    mean, counted = empty * expected_cycles([1.0] * lanes, group, window), empty
    popped = _digits_by_shift(ones, lanes) if digits != "plain" else None
    for m in np.flatnonzero(largest > _NEGLIGIBLE):
        shifts = chance[max(0, m - lanes + 1) : m + 1][::-1] / reached[m]
        halved: tuple[float, ...] = ()
        if popped is None:
            zeros = 1 - np.clip(np.convolve(shifts, ones)[:lanes], 0, 1)
        else:
            deep = min(len(shifts), lanes)
            found = 1 - np.clip(popped[:, :deep] @ shifts[:deep], 0, 1)
            zeros, halved = shared_lanes(found, digits)
        terms = float(present * reached[m] / below[m])
        shared = max(there, terms)
        every = _binomial_means(group, shared) if shared < _FULL else [group * shared]
        for many in every:
            # Elements share the activations' zeros; each has its own weights'.
            own = terms / shared
            counts = _binomial_means(round(many), own) if own < _FULL else [many * own]
            cycles = _beside(zeros, counts, group, window, elements, halved)
            mean += largest[m] / len(every) * cycles
        counted += largest[m]
    return float(mean / counted)


def shared_lanes(zeros: Array, digits: Digits) -> tuple[Array, tuple[float, ...]]:
    """Return zero shares of lanes of their own, and of places that two lanes share.

    Parameters
    ----------
    zeros : share of zero digits per place, the lowest first
    """
    return (zeros[1:], (float(zeros[0]),)) if digits == "split" else (zeros, ())


def _digits_by_shift(ones: Array, lanes: int) -> Array:
    """Return the share of digits per place, lowest first, and shift: (lanes + 1, lanes)."""
    left = np.zeros((lanes, lanes))
    for shift in range(lanes):
        left[: lanes - shift, shift] = ones[: lanes - shift][::-1]
    return digit_shares(left)


def _beside(
    zeros: Array, terms: Sequence[float], group: int, window: int, elements: int,
    halved: Sequence[float] = (),
) -> float:  # fmt: skip
    """Return the mean cycles when so many of a group's terms count, drawn close together.

    Parameters
    ----------
    terms : numbers equally likely, each element with one of its own
    """
    chances = np.zeros(group + 1)
    for many in terms:
        count = max(1, round(many))
        width = max(1.0, window * count / group)
        low = math.floor(width)
        found = _all_within(zeros, count, low, halved)
        if width > low:
            more = _all_within(zeros, count, low + 1, halved)
            found = found + (width - low) * (more - found)
        chances[: count + 1] += found
        chances[count + 1 :] += 1
    chances /= len(terms)
    chances[: math.ceil(group / window)] = 0
    return float(np.sum(1 - chances**elements))


def _binomial_means(n: int, p: float) -> list[float]:
    """Return the means of a binomial number over equal shares of its probability, in order."""
    if p >= 1:
        return [float(n)] * _SHARES
    k = np.arange(n + 1)
    steps = np.log((n - k[:-1]) / (k[:-1] + 1)) + math.log(p) - math.log1p(-p)
    logs = np.concatenate([[0.0], np.cumsum(steps)])
    mass = np.exp(logs - logs.max())
    edges = np.concatenate([[0.0], np.cumsum(mass) / mass.sum()])
    means = []
    for i in range(_SHARES):
        low, high = i / _SHARES, (i + 1) / _SHARES
        part = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None)
        means.append(float(part @ k / part.sum()))
    return means


@lru_cache(maxsize=1024)
def _within(densities: tuple[float, ...], group: int, window: int) -> Array:
    """Return P(a lane takes c cycles at most): (cycles, lanes); kept, for it is asked for again."""
    chances = _lane_distributions(np.array(densities), group, window)
    within: Array = np.minimum(np.cumsum(chances, axis=0), 1)
    return within


def _lane_distributions(densities: Array, group: int, window: int) -> Array:
    """Return P(a lane takes c cycles), c from 0 to the group's size: (cycles, lanes).

    The pointer stands where nothing is known of the bit under it (after a whole window), or on a
    one that is known (the second one of the last window).
    """
    one, zero = densities, 1 - densities
    powers = zero ** np.arange(window + 1)[:, None]
    shape = (window + 1, group + 1, len(densities))
    fresh, on_one = np.zeros(shape), np.zeros(shape)  # rings: the places p to p + window
    fresh[0, 0] = 1
    done = np.zeros(shape[1:])
    for p in range(group):
        here, seen = p % (window + 1), min(window, group - p)
        new, old = np.zeros(shape[1:]), np.zeros(shape[1:])
        new[1:], old[1:] = fresh[here, :-1], on_one[here, :-1]
        fresh[here], on_one[here] = 0, 0
        whole = (powers[seen] + seen * one * powers[seen - 1]) * new + powers[seen - 1] * old
        if p + window < group:
            fresh[(p + window) % (window + 1)] += whole
        else:
            done += whole
        for j in range(1, seen):
            on_one[(p + j) % (window + 1)] += one * powers[j - 1] * (j * one * new + old)
    return done
