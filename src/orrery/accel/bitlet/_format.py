"""Number formats of a bit-interleaving engine: field widths, and values to fields and back.

Models:  binary32, binary16 and bfloat16 operands split into sign, exponent and magnitude with the
         hidden one, and fixed point of 1 to 24 bits: the weight as sign and magnitude, the
         activation in two's complement. Widths of binary32 are those of the released engine; the
         other formats' follow from the same formulas, see `FloatFormat`.
Ignores: who splits a weight (the engine receives weights split already).
Judge:   Python integers (tests/accel/bitlet/test_format.py).
Source:  the released Verilog (github.com/Zhu-Zixuan/Bitlet-PE), facts only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from orrery.errors import SpecError, did_you_mean

Array = NDArray[Any]

#: ``faithful``: subnormals, infinities and NaN as the released circuit treats their bits.
#: ``correct``: as IEEE 754 defines them.
Mode = Literal["faithful", "correct"]
MODES: tuple[Mode, ...] = ("faithful", "correct")

#: Exponent of what has no magnitude: no sum with another one is ever the largest.
ABSENT = -4096

#: Lanes of the released engine, so the widest fixed-point magnitude.
MOST_FIXED_BITS = 24


def check_whole(where: str, found: Any, least: int, most: int, *, fix: str) -> None:
    """Refuse what is no whole number in a range; True and False are none.

    Raises
    ------
    SpecError : says which range
    """
    whole = isinstance(found, int | np.integer) and not isinstance(found, bool)
    if not whole or not least <= found <= most:
        raise SpecError(where, found=found, wanted=f"a whole number, {least} to {most}", fix=fix)


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatFormat:
    """One binary floating-point format and the engine's widths for it.

    With f fraction bits a magnitude has m = f + 1 bits and there are m lanes. One pass adds at
    most m activations of m + 1 bits, each shifted by its lane: below 2^(2m) in magnitude, so the
    2m + 4 bits of the tree never overflow. A group of n passes grows that by log2(n) bits, so
    2m + 16 bits of accumulator hold groups of up to 2^15.

    ======== ======== ===== ======== ============ ========== ==== ===========
    format   exponent lanes exponent magnitude of activation tree accumulator
                            sum      a weight
    ======== ======== ===== ======== ============ ========== ==== ===========
    fp32     8        24    9        24           25         52   64
    fp16     5        11    6        11           12         26   38
    bf16     8        8     9        8            9          20   32
    ======== ======== ===== ======== ============ ========== ==== ===========
    """

    name: str
    exponent_bits: int
    fraction_bits: int

    @property
    def bias(self) -> int:
        """What is added to an exponent to store it."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def largest_exponent(self) -> int:
        """The largest stored exponent of a finite number."""
        return (1 << self.exponent_bits) - 2

    @property
    def lanes(self) -> int:
        """Bits of a magnitude, hidden one included: one lane each."""
        return self.fraction_bits + 1

    @property
    def storage_bits(self) -> int:
        """Bits of a stored number."""
        return 1 + self.exponent_bits + self.fraction_bits

    @property
    def exponent_sum_bits(self) -> int:
        """Bits of the sum of two stored exponents."""
        return self.exponent_bits + 1

    @property
    def activation_bits(self) -> int:
        """Bits of an activation's magnitude with the product's sign, in two's complement."""
        return self.lanes + 1

    @property
    def sum_bits(self) -> int:
        """Bits of the adder tree over all lanes."""
        return 2 * self.lanes + 4

    @property
    def accumulator_bits(self) -> int:
        """Bits of the accumulator over passes."""
        return 2 * self.lanes + 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedFormat:
    """Fixed point on the widest engine with only the lowest lanes running.

    A weight is a sign and `bits` bits of magnitude, an activation a two's complement number of
    `bits` + 1 bits, so every `bits`-bit two's complement integer is either, -2^(bits-1) included.
    The exponent logic rests: shifts are zero.

    Raises
    ------
    SpecError : no bits, or more than there are lanes
    """

    bits: int

    def __post_init__(self) -> None:
        check_whole("bitlet: bits", self.bits, 1, MOST_FIXED_BITS,
                    fix=f"the engine has {MOST_FIXED_BITS} lanes, one a bit")  # fmt: skip

    @property
    def name(self) -> str:
        """As `number_format` reads it."""
        return f"fixed{self.bits}"

    @property
    def lanes(self) -> int:
        """Lanes that run."""
        return self.bits

    @property
    def storage_bits(self) -> int:
        """Bits of a stored weight: two's complement; a single bit of magnitude needs a sign."""
        return max(self.bits, 2)

    @property
    def weight_limit(self) -> int:
        """The largest magnitude of a weight."""
        return (1 << self.bits) - 1

    @property
    def activation_limits(self) -> tuple[int, int]:
        """The least and the greatest activation."""
        return -(1 << self.bits), (1 << self.bits) - 1


NumberFormat = FloatFormat | FixedFormat

FLOATS = {
    f.name: f
    for f in (
        FloatFormat(name="fp32", exponent_bits=8, fraction_bits=23),
        FloatFormat(name="fp16", exponent_bits=5, fraction_bits=10),
        FloatFormat(name="bf16", exponent_bits=8, fraction_bits=7),
    )
}

_WORDS: dict[str, Any] = {"fp32": np.uint32, "fp16": np.uint16, "bf16": np.uint16}
_TYPES: dict[str, Any] = {"fp32": np.float32, "fp16": np.float16, "bf16": ml_dtypes.bfloat16}


def number_format(precision: str, *, where: str = "bitlet") -> NumberFormat:
    """Return the format that a name such as ``fp32`` or ``fixed8`` means.

    Raises
    ------
    SpecError : an unknown name, or fixed point of no bits or of more bits than there are lanes
    """
    if precision in FLOATS:
        return FLOATS[precision]
    digits = precision.removeprefix("fixed")
    if digits != precision and digits.isascii() and digits.isdigit():
        bits = int(digits)
        if 1 <= bits <= MOST_FIXED_BITS and digits == str(bits):
            return FixedFormat(bits=bits)
        near = f"fixed{min(max(bits, 1), MOST_FIXED_BITS)}"
        hint = f"take {near!r}; the engine has {MOST_FIXED_BITS} lanes, one a bit"
    else:
        known = (*FLOATS, *(f"fixed{b}" for b in range(1, MOST_FIXED_BITS + 1)))
        hint = f"correct the name{did_you_mean(precision, known)}"
    raise SpecError(f"{where}: precision", found=precision, fix=hint,
                    wanted=f"one of {', '.join(FLOATS)}, fixed1 to fixed{MOST_FIXED_BITS}",
                    )  # fmt: skip


def to_bits(values: Any, form: FloatFormat) -> Array:
    """Round to the nearest number of a format (ties to even) and return its words.

    bfloat16 is reached by way of binary32, so a binary64 value may be rounded twice.
    """
    given = np.asarray(values)
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large is infinite
        if form.name == "bf16" and given.dtype != _TYPES["bf16"]:
            given = given.astype(np.float32)
        held: Array = np.ascontiguousarray(given.astype(_TYPES[form.name]))
    return held.view(_WORDS[form.name])


def from_bits(words: Any, form: FloatFormat) -> Array:
    """Return the values of words as binary32, which holds every number of all three formats."""
    held = np.ascontiguousarray(np.asarray(words).astype(_WORDS[form.name]))
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
        values: Array = held.view(_TYPES[form.name]).astype(np.float32)
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Numbers split as the engine wants them, all of one shape.

    Attributes
    ----------
    exponent : int16, as stored, 1 where the fraction is that of a subnormal; `ABSENT` where a
        zero must not decide about the largest exponent
    magnitude : int32, the fraction with the hidden one where there is one
    sign : int32, -1 or 1
    special : float32, the value where it is infinite or NaN and the mode heeds that, else 0;
        None when no value is special
    """

    exponent: Array
    magnitude: Array
    sign: Array
    special: Array | None = None

    @property
    def signed(self) -> Array:
        """The magnitude with its sign, int32."""
        product: Array = self.magnitude * self.sign
        return product


def split(words: Array, form: FloatFormat, mode: Mode) -> Fields:
    """Split words into fields.

    ``faithful``: a zero exponent with a fraction becomes exponent 1 *and* a hidden one, as the
    released unpacker has it (2^-149 is taken for 2^-126 · (1 + 2^-23)); the largest stored exponent
    is one more binade; a zero takes part in the search for the largest exponent with the other
    operand's exponent alone. ``correct``: a subnormal has no hidden one; infinities and NaN are
    set apart; a zero takes no part.
    """
    wide = words.astype(np.int32) if form.storage_bits == 16 else words.view(np.int32)
    fraction = wide & np.int32(2**form.fraction_bits - 1)
    stored = (wide >> form.fraction_bits) & np.int32(2**form.exponent_bits - 1)
    sign = 1 - 2 * ((wide >> (form.storage_bits - 1)) & np.int32(1))
    small = (stored == 0) & (fraction != 0)
    hidden = (stored != 0) | small if mode == "faithful" else stored != 0
    magnitude = fraction | (hidden.astype(np.int32) << form.fraction_bits)
    exponent = np.where(small, 1, stored).astype(np.int16)
    special = None
    if mode == "correct":
        odd = stored > form.largest_exponent
        if odd.any():
            special = np.where(odd, from_bits(words, form), np.float32(0))
            magnitude = np.where(odd, 0, magnitude)
        exponent = np.where(magnitude == 0, ABSENT, exponent)
    return Fields(
        exponent=np.ascontiguousarray(exponent, np.int16),
        magnitude=np.ascontiguousarray(magnitude, np.int32),
        sign=np.ascontiguousarray(sign, np.int32), special=special,
    )  # fmt: skip


def exponents(words: Array, form: FloatFormat, mode: Mode) -> Array:
    """Return what `split` returns as exponents, and nothing else, in less time."""
    shifted = words >> words.dtype.type(form.fraction_bits)
    found: Array = shifted.astype(np.int16)
    found &= np.int16(2**form.exponent_bits - 1)
    low = np.flatnonzero(found.reshape(-1) == 0)
    if len(low):
        fraction = words.reshape(-1)[low] & words.dtype.type(2**form.fraction_bits - 1)
        found.reshape(-1)[low] = np.where(fraction != 0, 1, 0 if mode == "faithful" else ABSENT)
    if mode == "correct" and len(words) and int(found.max()) > form.largest_exponent:
        found[found > form.largest_exponent] = ABSENT
    return found


def check_integers(values: Any, least: int, greatest: int, *, where: str, fix: str) -> Array:
    """Return integers as int32, or say which value is none or out of range.

    Raises
    ------
    SpecError : a fraction, NaN, infinity, or a value outside [least, greatest]
    """
    given = np.asarray(values)
    wanted = f"integers from {least} to {greatest}"
    if given.dtype.kind not in "iub":
        wrong = ~np.isfinite(given) | (np.where(np.isfinite(given), given, 0) % 1 != 0)
        if wrong.any():
            raise SpecError(where, found=given[wrong].flat[0], wanted=wanted, fix=fix)
    outside = (given < least) | (given > greatest)
    if outside.any():
        raise SpecError(where, found=given[outside].flat[0], wanted=wanted, fix=fix)
    return np.ascontiguousarray(given.astype(np.int32))
