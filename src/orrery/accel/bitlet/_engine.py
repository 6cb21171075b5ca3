"""What one processing element computes for one group of weights and activations, bit for bit.

Models:  the released engine. Floating point: every product's exponent is the sum of two stored
         exponents; the group's largest sum decides how far each weight's magnitude is shifted
         right, bits beyond the last lane being dropped; the product's sign goes into the
         activation; lanes add selected activations, the tree adds lanes at their weights, the
         accumulator adds passes, and the packer truncates. Fixed point: no exponents.
         The order of those additions changes no bit, because no width overflows (`FloatFormat`),
         so the accumulator is Σ ±activation · (magnitude >> shift), computed so.
         Between groups the released engine is flushed: accumulator and largest exponent restart
         and every group is packed by itself. Adding groups up is left to `_function`.
Ignores: time (`_cycles`); the input `relu`, which the released circuit does not use.
Judge:   a slow model written from the same facts with Python integers, lane by lane and pass by
         pass, and exact rationals (tests/accel/bitlet/test_engine.py).

Error against exact arithmetic, floating point, mode ``correct``
----------------------------------------------------------------
Let M_W, M_A < 2^(f+1) be magnitudes, e_i the sum of stored exponents of term i, E the largest of
them, d_i = E − e_i. Term i is ±M_W·M_A·2^(e_i − c) with c = 2·bias + 2f, so the group's exact
sum is 2^(E − c) · Σ ±M_A·(M_W·2^(−d_i)). The engine replaces M_W·2^(−d_i) by its floor, which
is less by 0 where d_i = 0 and by less than 1 elsewhere. At least one term has d_i = 0, hence

    |accumulator·2^(E − c) − exact| < (n − 1) · 2^(f + 1) · 2^(E − c)
                                    = (n − 1) · 2^(E − 2·bias − f + 1)

for n terms that are not zero. A mask that rests lanes of total weight L (the sum of 2^lane over
resting lanes) takes up to L more from every term: then (1 + L) · n replaces n − 1. The packer cuts
below the last fraction bit of the result: less than 2^(−g) of the value with g fraction bits in
the result, or less than one subnormal step. So the error is below

    (n − 1) · 2^(E − 2·bias − f + 1) + max(2^(−g)·|accumulator·2^(E − c)|, least subnormal)

unless the result overflows to infinity. `error_bound` returns this. As the largest term is at
least 2^(E − 2·bias) when no operand is subnormal, the first part is below (n − 1)·2^(1−f) of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.compiled import machine_code
from orrery.errors import SpecError, check_choice

from ._digits import DIGITS, Digits, running_lanes
from ._format import (
    FLOATS,
    MODES,
    MOST_FIXED_BITS,
    Fields,
    FixedFormat,
    FloatFormat,
    Mode,
    NumberFormat,
    check_integers,
    check_whole,
    from_bits,
    split,
    to_bits,
)

Array = NDArray[Any]

#: Largest group: far below what any accumulator of `FloatFormat` holds.
MOST_GROUP = 4096
#: The fixed-point packer may start at any accumulator bit up to this one.
MOST_QUANT = 24
#: Width of what the fixed-point packer returns beside the sign.
PACKED_BITS = 24

_POWERS = 400  #: powers of two in a table: every scale of every format


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """What leaves the engine, group by group.

    Attributes
    ----------
    accumulator : int64, before packing
    exponent : int64, the group's largest sum of stored exponents; 0 in fixed point
    result : packed: words of the result format (floating point) or int64 (fixed point)
    """

    accumulator: Array
    exponent: Array
    result: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One processing element for one number format.

    Attributes
    ----------
    format : of weights and activations
    mode : ``faithful`` to the released circuit's bits, or ``correct``
    group : weights in a group; smaller groups are filled up with zeros, which change nothing
    enabled : the lanes that run, one bit each; -1: all
    result : format into which the packer truncates; None: the operands' own
    digits : ``plain`` bits, or ``signed`` digits or ``split`` ones (`_digits`): the same values in
        other cycles

    Raises
    ------
    SpecError : an unknown mode or kind of digits, an empty or too large group, no lane running
    """

    format: NumberFormat
    mode: Mode = "correct"
    group: int = 64
    enabled: int = -1
    result: FloatFormat | None = None
    digits: Digits = "plain"

    def __post_init__(self) -> None:
        check_choice("bitlet: mode", self.mode, MODES)
        check_choice("bitlet: digits", self.digits, DIGITS)
        check_whole("bitlet: group", self.group, 1, MOST_GROUP, fix="the released engine has 64")
        if not self.mask:
            raise SpecError("bitlet: enabled", found=self.enabled,
                            wanted=f"at least one of {self.format.lanes} lanes",
                            fix="set the bits of lanes that should run; -1 runs all")  # fmt: skip

    @property
    def mask(self) -> int:
        """The lanes that exist and run, one bit each."""
        return self.enabled & ((1 << self.format.lanes) - 1)

    @property
    def running(self) -> int:
        """The lanes that pop, one bit each: those of `mask`, or those of its recoded bits."""
        return running_lanes(self.mask, self.format.lanes, self.digits)

    @property
    def packed(self) -> FloatFormat:
        """The format of a floating-point result."""
        if self.result is not None:
            return self.result
        return self.format if isinstance(self.format, FloatFormat) else FLOATS["fp32"]

    def operands(self, weights: Any, activations: Any) -> tuple[Array, Array]:
        """Check and round operands: words of the format, or int32.

        Raises
        ------
        SpecError : no group, an empty or too large one, shapes that differ, or in fixed point a
            value that is no integer in range
        """
        pair = np.asarray(weights), np.asarray(activations)
        for name, given in zip(("weights", "activations"), pair):
            if given.ndim != 2 or not 1 <= given.shape[1] <= self.group:
                raise SpecError(
                    f"bitlet: {name}", found=f"an array of shape {given.shape}",
                    wanted=f"(groups, 1 to {self.group})",
                    fix="cut the sum into groups; an empty group has no sum",
                )  # fmt: skip
        if pair[0].shape != pair[1].shape:
            raise SpecError("bitlet: activations", found=f"shape {pair[1].shape}",
                            wanted=f"that of the weights, {pair[0].shape}",
                            fix="give one activation a weight")  # fmt: skip
        if isinstance(self.format, FloatFormat):
            return to_bits(pair[0], self.format), to_bits(pair[1], self.format)
        return self.integers(pair[0], pair[1], self.format)

    def integers(self, weights: Any, activations: Any, form: FixedFormat) -> tuple[Array, Array]:
        """Return operands in fixed point as int32, range checked."""
        limit, (least, greatest) = form.weight_limit, form.activation_limits
        # The negative of the least 25-bit number is not one; the released circuit wraps round.
        whole = form.lanes == MOST_FIXED_BITS and self.mode == "correct"
        fix = "scale and round first"
        return (
            check_integers(weights, -limit, limit, where="bitlet: weights", fix=fix),
            check_integers(activations, least + whole, greatest, where="bitlet: activations",
                           fix=fix),
        )  # fmt: skip

    def fields(self, words: Array) -> Fields:
        """Split words of a floating-point format as this engine's mode does."""
        if not isinstance(self.format, FloatFormat):
            raise TypeError("fixed point has no fields")
        return split(words, self.format, self.mode)

    def run(self, weights: Any, activations: Any, *, quant: int = 0) -> Partial:
        """Compute Σ weight · activation of every group.

        Parameters
        ----------
        weights, activations : (groups, n), n up to `group`; numbers, rounded to the format, or
            integers in fixed point
        quant : fixed point: the accumulator bit that becomes the result's lowest one

        Returns
        -------
        accumulator, exponent and packed result of each group, shape (groups,)
        """
        w, a = self.operands(weights, activations)
        groups = len(w)
        if isinstance(self.format, FixedFormat):
            if not 0 <= quant <= MOST_QUANT:
                raise SpecError("bitlet: quant", found=quant, wanted=f"0 to {MOST_QUANT}",
                                fix="shift the result outside the engine")  # fmt: skip
            total = np.empty(groups, np.int64)
            wrap = 1 << MOST_FIXED_BITS
            kernel("fixed_groups")(w, a, self.mask, wrap, total)
            packed = self.pack_fixed(total, quant)
            return Partial(accumulator=total, exponent=np.zeros(groups, np.int64), result=packed)
        left, right = self.fields(w), self.fields(a)
        total, exponent = np.empty(groups, np.int64), np.empty(groups, np.int64)
        values = np.empty(groups)
        special = self.specials(left, right)
        kernel("float_groups")(
            left.exponent, left.magnitude, left.sign, right.exponent, right.signed, *special,
            self.mask, self.packing(), powers(), total, exponent, values,
        )  # fmt: skip
        with np.errstate(over="ignore", invalid="ignore"):
            words = to_bits(values.astype(np.float32), self.packed)
        return Partial(accumulator=total, exponent=exponent, result=words)

    def dot(self, weights: Any, activations: Any, *, quant: int = 0) -> Array:
        """Return the packed results as numbers: float32 (any floating format) or int64."""
        result = self.run(weights, activations, quant=quant).result
        if isinstance(self.format, FixedFormat):
            return result
        return from_bits(result, self.packed)

    def specials(self, left: Fields, right: Fields) -> tuple[bool, Array, Array]:
        """Return whether there are infinities or NaN to heed, and the operands as float32."""
        if left.special is None and right.special is None:
            none = np.zeros((1, 1), np.float32)
            return False, none, none
        pair = []
        for fields in (left, right):
            held = np.sign(fields.signed).astype(np.float32)
            special = fields.special
            pair.append(held if special is None else np.where(special != 0, special, held))
        return True, pair[0], pair[1]

    def packing(self) -> tuple[int, int, int, int, int, bool]:
        """Return what the packer must know, in the order of the compiled function."""
        form, out = self.format, self.packed
        if not isinstance(form, FloatFormat):
            raise TypeError("fixed point has no exponents to pack")
        return (
            2 * form.bias + 2 * form.fraction_bits, out.bias, out.fraction_bits,
            out.largest_exponent, form.fraction_bits, self.mode == "faithful",
        )  # fmt: skip

    def pack_fixed(self, accumulator: Array, quant: int) -> Array:
        """Take 24 bits from bit `quant` on and a sign; saturate what does not fit.

        ``faithful`` keeps the released detector, which asks for the *parity* of accumulator bits 48
        to 63 instead of whether they differ, so some sums beyond ±2^47 pass unnoticed.
        """
        total = np.asarray(accumulator, np.int64)
        if self.mode == "correct":
            limit = 1 << PACKED_BITS
            clipped: Array = np.clip(total >> quant, -limit, limit - 1)
            return clipped
        negative = total < 0
        top = PACKED_BITS + MOST_QUANT
        parity = np.zeros(total.shape, bool)
        for bit in range(top, 64):
            parity ^= (total >> bit & 1).astype(bool)
        # Bits that must equal the sign: those between what is taken and bit 48.
        low = quant + PACKED_BITS
        between = (total ^ np.where(negative, np.int64(-1), np.int64(0))) & (
            (1 << top) - (1 << low)
        )
        overflow = parity | (between != 0)
        kept = (total >> quant) & ((1 << PACKED_BITS) - 1)
        kept = np.where(overflow, np.where(negative, 0, (1 << PACKED_BITS) - 1), kept)
        result: Array = kept - np.where(negative, np.int64(1 << PACKED_BITS), np.int64(0))
        return result

    def error_bound(self, weights: Any, activations: Any) -> Array:
        """Return how far a floating-point result may stand from the exact sum, see the head.

        Mode ``correct``, finite operands; infinite where the packed result overflows. In
        ``faithful`` mode the same holds for operands that are neither subnormal nor special and
        results that are not subnormal.
        """
        form, out = self.format, self.packed
        if not isinstance(form, FloatFormat):
            raise SpecError("bitlet: error bound", found=form.name, wanted="a floating format",
                            fix="fixed point is exact")  # fmt: skip
        part = self.run(weights, activations)
        lost = 2**form.lanes - 1 - self.mask
        terms = np.asarray(weights).shape[1]
        factor = terms - 1 if lost == 0 else terms * (1 + lost)
        scale = part.exponent - 2 * form.bias - form.fraction_bits + 1
        value = np.ldexp(np.abs(part.accumulator.astype(np.float64)),
                         part.exponent - 2 * form.bias - 2 * form.fraction_bits)  # fmt: skip
        tiny = 2.0 ** (1 - out.bias - out.fraction_bits)
        bound = factor * np.ldexp(1.0, scale) + np.maximum(value * 2.0**-out.fraction_bits, tiny)
        finite = np.isfinite(from_bits(part.result, out))
        safe: Array = np.where(finite, bound * (1 + 2.0**-50), np.inf)
        return safe


@cache
def powers() -> Array:
    """Return 2^k at place k + 400."""
    table: Array = np.ldexp(1.0, np.arange(-_POWERS, _POWERS + 1))
    table.flags.writeable = False
    return table


@cache
def kernel(name: str) -> Callable[..., Any]:
    """Return one of this module's loops as machine code; loads the compiler on first use."""
    loops = {"float_groups": _float_groups, "fixed_groups": _fixed_groups,
             "float_product": _float_product, "fixed_product": _fixed_product,
             "truncation": _truncation}  # fmt: skip
    return machine_code(
        loops[name], calls=(_group, _pack, _special), nogil=True, error_model="numpy"
    )[0]


def _group(ew: Any, mw: Any, sw: Any, ea: Any, ma: Any, mask: int) -> Any:
    """Return accumulator and largest exponent of one group; arrays of one length."""
    n = len(ew)
    largest = np.int16(-32768)
    for i in range(n):
        largest = max(largest, np.int16(ew[i] + ea[i]))
    mask32 = np.int32(mask)
    total = np.int64(0)
    for i in range(n):
        shift = min(np.int32(largest) - np.int32(ew[i]) - np.int32(ea[i]), np.int32(31))
        aligned = ((mw[i] >> shift) & mask32) * sw[i]
        total += np.int64(aligned) * np.int64(ma[i])
    return total, np.int64(max(largest, np.int16(0)))


def _pack(total: int, exponent: int, packing: Any, powers: Any) -> Any:
    """Return the packed value as binary64, which holds it exactly."""
    scale, bias, fraction, largest, _, faithful = packing
    if total == 0:
        return 0.0
    size = -total if total < 0 else total
    top, rest = 0, size
    for step in (32, 16, 8, 4, 2, 1):
        if rest >> step:
            rest >>= step
            top += step
    kept = size >> (top - fraction) if top > fraction else size << (fraction - top)
    stored = exponent - scale + top + bias
    if stored > largest:
        value = np.inf
    elif stored > 0:
        value = np.float64(kept) * powers[stored - bias - fraction + _POWERS]
    else:
        if stored < 0 or not faithful:
            kept >>= min(1 - stored, 63)
        else:  # the released packer drops the leading one and forgets to shift
            kept -= 1 << fraction
        value = np.float64(kept) * powers[1 - bias - fraction + _POWERS]
    return -value if total < 0 else value


def _special(w: Any, a: Any) -> Any:
    """Return the IEEE sum of the products that have an infinite or NaN operand, 0 without one."""
    total = np.float32(0)
    for i in range(len(w)):
        if not (np.isfinite(w[i]) and np.isfinite(a[i])):
            total += w[i] * a[i]
    return total


def _float_groups(
    ew: Any, mw: Any, sw: Any, ea: Any, ma: Any, heed: bool, w: Any, a: Any, mask: int,
    packing: Any, powers: Any, totals: Any, exponents: Any, values: Any,
) -> None:  # fmt: skip
    """Run every group by itself; arrays (groups, n), the last three are filled."""
    for g in range(len(ew)):
        total, exponent = _group(ew[g], mw[g], sw[g], ea[g], ma[g], mask)
        totals[g], exponents[g] = total, exponent
        value = _pack(total, exponent, packing, powers)
        if heed:
            odd = _special(w[g], a[g])
            if odd != 0:
                value = np.float64(odd)
        values[g] = value


def _fixed_groups(w: Any, a: Any, mask: int, wrap: int, totals: Any) -> None:
    """Add sign-folded activations, 25 bits in two's complement, at the weight's enabled bits."""
    for g in range(len(w)):
        total = np.int64(0)
        for i in range(w.shape[1]):
            size, value = np.int64(w[g, i]), np.int64(a[g, i])
            if size < 0:
                size, value = -size, -value
                if value == wrap:  # its negative is not a 25-bit number: it stays what it was
                    value = -value
            total += (size & mask) * value
        totals[g] = total


def _float_product(
    ew: Any, mw: Any, sw: Any, ea: Any, ma: Any, heed: bool, w: Any, a: Any, mask: int,
    packing: Any, powers: Any, group: int, out: Any,
) -> None:  # fmt: skip
    """Multiply (filters, sum) by (positions, sum): groups packed, then added in binary32."""
    length = ew.shape[1]
    for p in range(len(ea)):
        for m in range(len(ew)):
            result = np.float32(0)
            for first in range(0, length, group):
                last = min(first + group, length)
                total, exponent = _group(
                    ew[m, first:last], mw[m, first:last], sw[m, first:last],
                    ea[p, first:last], ma[p, first:last], mask,
                )  # fmt: skip
                value = np.float32(_pack(total, exponent, packing, powers))
                if heed:
                    odd = _special(w[m, first:last], a[p, first:last])
                    if odd != 0:
                        value = odd
                result = value if first == 0 else result + value
            out[m, p] = result


def _fixed_product(w: Any, a: Any, mask: int, wrap: int, out: Any) -> None:
    """Multiply (filters, sum) by (positions, sum) into the 64-bit accumulator."""
    length = w.shape[1]
    for p in range(len(a)):
        for m in range(len(w)):
            total = np.int64(0)
            for i in range(length):
                size = abs(w[m, i]) & mask
                value = -a[p, i] if w[m, i] < 0 else a[p, i]
                value = -value if value == wrap else value
                total += np.int64(size) * np.int64(value)
            out[m, p] = total


def _truncation(ew: Any, ea: Any, scale: int, group: int, powers: Any, out: Any) -> None:
    """Add n · 2^(E − scale) over the groups of each sum: what alignment may take at most."""
    length = ew.shape[1]
    for p in range(len(ea)):
        for m in range(len(ew)):
            total = 0.0
            for first in range(0, length, group):
                last = min(first + group, length)
                largest = np.int16(-32768)
                for i in range(first, last):
                    largest = max(largest, np.int16(ew[m, i] + ea[p, i]))
                if largest >= 0:
                    total += (last - first) * powers[largest - scale + _POWERS]
            out[m, p] = total
