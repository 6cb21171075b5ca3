"""The processing element once more, slowly: Python integers, lane by lane, pass by pass.

Written from the facts of the released circuit, not from the package; it imports nothing of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Layout:
    exponent: int
    fraction: int

    @property
    def bias(self) -> int:
        return 2 ** (self.exponent - 1) - 1

    @property
    def top(self) -> int:
        return 2**self.exponent - 1


LAYOUTS = {"fp32": Layout(8, 23), "fp16": Layout(5, 10), "bf16": Layout(8, 7)}


def wrapped(value: int, width: int) -> int:
    """The two's complement number in the lowest bits."""
    value &= 2**width - 1
    return value - 2**width if value >> (width - 1) else value


def unpack(word: int, layout: Layout, faithful: bool) -> tuple[int, int, int]:
    """Sign, stored exponent, magnitude."""
    sign = word >> (layout.exponent + layout.fraction) & 1
    stored = word >> layout.fraction & layout.top
    fraction = word & (2**layout.fraction - 1)
    subnormal = stored == 0 and fraction != 0
    if subnormal:
        stored = 1
    hidden = int(stored != 0) if faithful else int(stored != 0 and not subnormal)
    return sign, stored, hidden << layout.fraction | fraction


def exact(word: int, layout: Layout) -> Fraction | float:
    """The value by IEEE 754: a rational, or an infinity or NaN as a float."""
    sign = -1 if word >> (layout.exponent + layout.fraction) & 1 else 1
    stored = word >> layout.fraction & layout.top
    fraction = word & (2**layout.fraction - 1)
    if stored == layout.top:
        return math.nan if fraction else sign * math.inf
    if stored == 0:
        return sign * Fraction(fraction) * Fraction(2) ** (1 - layout.bias - layout.fraction)
    whole = fraction + 2**layout.fraction
    return sign * whole * Fraction(2) ** (stored - layout.bias - layout.fraction)


def interleave(magnitudes: Sequence[int], activations: Sequence[int], lanes: Sequence[int],
               widths: tuple[int, int]) -> int:  # fmt: skip
    """Pop each lane's ones, one a pass; a pass is the sum over lanes; passes are accumulated."""
    queues = {b: [i for i, m in enumerate(magnitudes) if m >> b & 1] for b in lanes}
    total = 0
    for step in range(max(map(len, queues.values()), default=0)):
        popped = sum(activations[q[step]] << b for b, q in queues.items() if step < len(q))
        assert wrapped(popped, widths[0]) == popped, "the tree overflows"
        total += popped
        assert wrapped(total, widths[1]) == total, "the accumulator overflows"
    return total


def aligned(weights: Sequence[int], activations: Sequence[int], kind: str, *,
            faithful: bool) -> tuple[list[int], list[int], int]:  # fmt: skip
    """Shifted weights, sign-folded activations, and the largest exponent sum of one group."""
    layout = LAYOUTS[kind]
    left = [unpack(w, layout, faithful) for w in weights]
    right = [unpack(a, layout, faithful) for a in activations]
    sums = [w[1] + a[1] for w, a in zip(left, right)]
    counted = sums if faithful else [s for s, w, a in zip(sums, left, right) if w[2] and a[2]]
    largest = max(counted, default=0)
    shifted = [w[2] >> (largest - s) if s <= largest else 0 for s, w in zip(sums, left)]
    if not faithful:  # a zero activation needs no passes
        shifted = [m if a[2] else 0 for m, a in zip(shifted, right)]
    return shifted, [-a[2] if w[0] ^ a[0] else a[2] for w, a in zip(left, right)], largest


def float_group(weights: Sequence[int], activations: Sequence[int], kind: str, *,
                faithful: bool, mask: int = -1) -> tuple[int, int]:  # fmt: skip
    """Accumulator and largest exponent sum of one group of words."""
    shifted, folded, largest = aligned(weights, activations, kind, faithful=faithful)
    bits = LAYOUTS[kind].fraction + 1
    lanes = [b for b in range(bits) if mask >> b & 1]
    return interleave(shifted, folded, lanes, (2 * bits + 4, 2 * bits + 16)), largest


def pack(total: int, largest: int, kind: str, out: str, *, faithful: bool) -> int:
    """The packer, word by word."""
    given, made = LAYOUTS[kind], LAYOUTS[out]
    sign = int(total < 0) << (made.exponent + made.fraction)
    if total == 0:
        return 0
    leading = abs(total).bit_length() - 1
    stored = largest - 2 * given.bias - 2 * given.fraction + leading + made.bias
    mantissa = (abs(total) << made.fraction) >> leading  # with its leading one
    if stored >= made.top:
        return sign | made.top << made.fraction
    lowest = 0 if faithful else 1
    if stored < lowest:
        return sign | (mantissa >> (1 - stored)) & (2**made.fraction - 1)
    return sign | stored << made.fraction | mantissa & (2**made.fraction - 1)


def fixed_group(weights: Sequence[int], activations: Sequence[int], bits: int, *,
                mask: int = -1) -> int:  # fmt: skip
    """Accumulator of one group of integers; the activation is 25 bits wide."""
    folded = [wrapped(-a if w < 0 else a, 25) for w, a in zip(weights, activations)]
    lanes = [b for b in range(bits) if mask >> b & 1]
    return interleave([abs(w) for w in weights], folded, lanes, (52, 64))


def pack_fixed(total: int, quant: int, *, faithful: bool) -> int:
    """Twenty-four bits from `quant` on, and a sign."""
    word, negative = total & (2**64 - 1), total < 0
    if faithful:
        bits = [word >> b & 1 for b in range(64)]
        overflow = sum(bits[48:]) % 2 == 1
        overflow |= any(b != int(negative) for b in bits[quant + 24 : 48])
    else:
        overflow = not -(2**24) <= total >> quant < 2**24
    if overflow:
        return -(2**24) if negative else 2**24 - 1
    return (word >> quant & (2**24 - 1)) - (2**24 if negative else 0)


def window_cycles(ones: Sequence[int], count: int, window: int) -> list[int | None]:
    """What one lane emits, cycle by cycle: the index of a weight, or None for a zero."""
    emitted: list[int | None] = []
    pointer = 0
    while pointer <= count - 1:
        seen = [i for i in range(pointer, pointer + window) if i < count and ones[i]]
        emitted.append(seen[0] if seen else None)
        pointer = seen[1] if len(seen) >= 2 else pointer + window
    return emitted


def group_cycles(magnitudes: Sequence[int], lanes: Sequence[int], window: int) -> int:
    """The slowest lane."""
    columns = [[m >> b & 1 for m in magnitudes] for b in lanes]
    return max(len(window_cycles(c, len(c), window)) for c in columns)
