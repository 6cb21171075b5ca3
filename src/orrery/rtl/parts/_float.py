"""Floating-point addition and multiplication, one source for every binary format.

Models: IEEE 754 with round to nearest, ties to even; subnormal numbers in and out at full speed;
infinities; every result that is not a number is the one canonical quiet NaN (sign 0, top fraction
bit 1, the rest 0), whatever NaN came in.
Ignores: flags, signalling NaN as such, the other rounding modes.
Judge: NumPy (fp16, fp32), ml_dtypes (bf16 and, for every pair, 8-bit formats), gmpy2
(`tests/rtl/test_float.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from amaranth import C, Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ._bits import BarrelShifter, LeadingOne
from ._part import (
    Part,
    check_whole,
    log2_ceil,
    pipeline_timing,
    shared,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatFormat:
    """A binary format: a sign, a biased exponent, a fraction, from the top down.

    Raises
    ------
    SpecError : an exponent below 3 bits, no fraction
    """

    name: str
    exponent_bits: int
    fraction_bits: int

    def __post_init__(self) -> None:
        check_whole(f"FloatFormat {self.name}: exponent_bits", self.exponent_bits, least=3)
        check_whole(f"FloatFormat {self.name}: fraction_bits", self.fraction_bits, least=1)

    @property
    def width(self) -> int:
        """Bits of a number."""
        return 1 + self.exponent_bits + self.fraction_bits

    @property
    def precision(self) -> int:
        """Bits of the significand with the leading one."""
        return self.fraction_bits + 1

    @property
    def bias(self) -> int:
        """What the exponent field of 1.0 holds."""
        return int((1 << (self.exponent_bits - 1)) - 1)

    @property
    def greatest_exponent(self) -> int:
        """The exponent field of infinities and NaN."""
        return int((1 << self.exponent_bits) - 1)

    @property
    def nan(self) -> int:
        """The pattern of the canonical NaN."""
        return int(self.greatest_exponent << self.fraction_bits | 1 << (self.fraction_bits - 1))


FP16 = FloatFormat(name="fp16", exponent_bits=5, fraction_bits=10)
BF16 = FloatFormat(name="bf16", exponent_bits=8, fraction_bits=7)
FP32 = FloatFormat(name="fp32", exponent_bits=8, fraction_bits=23)


class _Unpacked:
    """The fields of a number and what they mean, as named signals."""

    def __init__(self, m: Module, form: FloatFormat, number: Value, name: str) -> None:
        fraction = number[: form.fraction_bits]
        exponent = number[form.fraction_bits : -1]
        normal, ones, empty = (
            Signal(name=f"{name}_{what}") for what in ("normal", "ones", "empty")
        )
        self.sign = number[-1]
        self.exponent = Signal(form.exponent_bits, name=f"{name}_exponent")
        self.significand = Signal(form.precision, name=f"{name}_significand")
        self.nan, self.infinite = (Signal(name=f"{name}_{what}") for what in ("nan", "infinite"))
        m.d.comb += [
            normal.eq(exponent.any()),
            ones.eq(exponent.all()),
            empty.eq(~fraction.any()),
            # A subnormal number counts in the same unit as the least normal exponent, 1.
            self.exponent.eq(exponent | ~normal),
            self.significand.eq(Cat(fraction, normal)),
            self.nan.eq(ones & ~empty),
            self.infinite.eq(ones & empty),
        ]


class _Round(Part):
    """Rounds a normalised significand to nearest even and packs the result.

    `exponent` is that of the top bit of `significand`; where this bit is 0 the number is subnormal
    or zero and `exponent` is any below that of infinities.
    `significand` has the precision and one bit more, the guard; `sticky` says whether a 1 stands
    below.
    """

    def __init__(self, form: FloatFormat) -> None:
        self._form = form
        super().__init__(
            {
                "sign": In(1),
                "exponent": In(form.exponent_bits + 1),
                "significand": In(form.precision + 1),
                "sticky": In(1),
                "infinite": In(1),
                "nan": In(1),
                "result": Out(form.width),
            },
            title=f"{form.name}_round",
            parameters={"format": form.name},
            timing=pipeline_timing(0, "the result"),
            summary=f"Rounds to the nearest {form.name} number, ties to even.",
            meanings={},
        )

    def elaborate(self, platform: object) -> Module:
        """Add the rounding bit to fraction and exponent as one number: so the carry runs on."""
        m = Module()
        form = self._form
        kept = self.significand[1:]
        top = kept[-1]
        up = Signal()
        finite = Signal(form.width - 1)
        overflow = Signal()
        m.d.comb += [
            up.eq(self.significand[0] & (self.sticky | kept[0])),
            overflow.eq(self.exponent >= form.greatest_exponent),
            finite.eq(
                Cat(kept[:-1], Mux(top, self.exponent[: form.exponent_bits], 0)) + up,
            ),
        ]
        infinity = C(form.greatest_exponent << form.fraction_bits, form.width - 1)
        with m.If(self.nan):
            m.d.comb += self.result.eq(form.nan)
        with m.Elif(self.infinite | overflow):
            m.d.comb += self.result.eq(Cat(infinity, self.sign))
        with m.Else():
            m.d.comb += self.result.eq(Cat(finite, self.sign))
        return m


class _FloatPart(Part):
    """What adder and multiplier share: the format, the ports, the registers."""

    def __init__(
        self, form: FloatFormat, *, registers: int, stages: int, what: str, result: str
    ) -> None:
        self._form = form
        self._stages = stages
        registers = self._registers = check_whole(
            f"{what}: registers", registers, least=0, most=stages
        )
        members = {"a": In(form.width), "b": In(form.width), result: Out(form.width)}
        members |= {"enable": In(1, init=1)} if registers else {}
        super().__init__(
            members,
            title=f"{form.name}_{what.removeprefix('Float').lower()}"
            + (f"_r{registers}" if registers else ""),
            parameters={
                "format": form.name, "exponent_bits": form.exponent_bits,
                "fraction_bits": form.fraction_bits, "registers": registers,
            },
            timing=pipeline_timing(registers, f"the {result}"),
            summary=f"The {result} of two {form.name} numbers, rounded to nearest, ties to even; "
            "subnormals and infinities as in IEEE 754, NaN canonical.",
            meanings={
                "a": f"a pattern of {form.name}", "b": f"a pattern of {form.name}",
                result: f"the rounded {result}", "enable": "1: the registers move",
            },
        )  # fmt: skip


class FloatAdd(_FloatPart):
    """Adds two numbers of one format; the module's head states rounding and special values.

    Parameters
    ----------
    form : the format, e.g. `FP16`
    registers : 0 to 4, spread over the stages align, add, normalise, round

    Ports
    -----
    a, b : in; sum : out, all patterns of the format
    enable : in, where there are registers: they move in cycles in which it is 1

    Timing
    ------
    `registers` cycles, new numbers in every cycle. ``x + -x`` is +0.

    Raises
    ------
    SpecError : more registers than stages
    """

    def __init__(self, form: FloatFormat, *, registers: int = 0) -> None:
        super().__init__(form, registers=registers, stages=4, what="FloatAdd", result="sum")

    def elaborate(self, platform: object) -> Module:
        """Align the smaller number, add, shift the leading one to the top, round."""
        m = Module()
        form, stages = self._form, self.stages(m, self._stages, self._registers)
        p = form.precision
        a, b = _Unpacked(m, form, self.a, "a"), _Unpacked(m, form, self.b, "b")

        swap, subtract, nan = Signal(), Signal(), Signal()
        sign = Signal()
        exponent = Signal(form.exponent_bits)
        larger, smaller = Signal(p), Signal(p)
        # Guard and round bits below the smaller number, all the rest in sticky. From p + 2 places
        # on the smaller number is below a quarter of the larger one's last place: it is nothing.
        near = log2_ceil(p + 2)
        distance = Signal(form.exponent_bits)
        m.submodules.align = align = shared(
            BarrelShifter(
                p + 2, direction="right", most=min(1 << near, form.greatest_exponent) - 1,
                sticky=True,
            )
        )  # fmt: skip
        m.d.comb += [
            swap.eq(self.a[:-1] < self.b[:-1]),
            subtract.eq(a.sign ^ b.sign),
            nan.eq(a.nan | b.nan | (a.infinite & b.infinite & subtract)),
            sign.eq(Mux(swap, b.sign, a.sign)),
            exponent.eq(Mux(swap, b.exponent, a.exponent)),
            larger.eq(Mux(swap, b.significand, a.significand)),
            smaller.eq(Mux(swap, a.significand, b.significand)),
            align.value.eq(Cat(C(0, 2), smaller)),
            distance.eq(Mux(swap, b.exponent - a.exponent, a.exponent - b.exponent)),
            align.amount.eq(distance[:near]),
        ]
        addend: Value = Cat(align.sticky, align.result)
        if near < form.exponent_bits:
            addend &= (~distance[near:].any()).replicate(p + 3)
        aligned = stages.end(1, "aligned", addend)
        larger = stages.end(1, "addend", larger)
        subtract = stages.end(1, "subtracting", subtract)
        special = {"nan": nan, "infinite": a.infinite | b.infinite}
        special = {name: stages.end(1, f"{name}_1", value) for name, value in special.items()}
        sign, exponent = stages.end(1, "sign_1", sign), stages.end(1, "exponent_1", exponent)

        # The difference is never negative: its carry is always 1, and means nothing.
        raw, total = Signal(p + 4), Signal(p + 4)
        m.d.comb += [
            raw.eq(Cat(C(0, 3), larger) + (aligned ^ subtract.replicate(p + 3)) + subtract),
            total.eq(Cat(raw[:-1], raw[-1] & ~subtract)),
        ]
        total = stages.end(2, "sum_2", total)
        subtract = stages.end(2, "subtracting_2", subtract)
        special = {name: stages.end(2, f"{name}_2", value) for name, value in special.items()}
        sign, exponent = stages.end(2, "sign_2", sign), stages.end(2, "exponent_2", exponent)

        # The leading one goes to the top, but the exponent not below 1: then it is subnormal.
        bits = log2_ceil(p + 4)
        m.submodules.leading = leading = shared(LeadingOne(1 << bits))
        m.submodules.normalise = normalise = shared(BarrelShifter(p + 4))
        zeros, limited = Signal(bits), Signal()
        m.d.comb += [
            leading.value.eq(Cat(C(0, (1 << bits) - (p + 4)), total)),
            zeros.eq(~leading.position),
            limited.eq(zeros > exponent),
            normalise.value.eq(total),
            normalise.amount.eq(Mux(limited, exponent, zeros)),
        ]
        # An exact difference of zero is +0; a sum of two zeros keeps the sign they share.
        sign = stages.end(3, "sign_3", sign & ~(subtract & leading.none))
        normal = stages.end(3, "normal", normalise.result)
        after = Signal(form.exponent_bits + 1)
        m.d.comb += after.eq((exponent + 1 - zeros) & (~limited).replicate(len(after)))
        exponent = stages.end(3, "exponent_3", after)
        special = {name: stages.end(3, f"{name}_3", value) for name, value in special.items()}

        m.submodules.round = rounding = shared(_Round(form))
        m.d.comb += [
            rounding.sign.eq(sign),
            rounding.exponent.eq(exponent),
            rounding.significand.eq(normal[3:]),
            rounding.sticky.eq(normal[:3].any()),
            rounding.infinite.eq(special["infinite"]),
            rounding.nan.eq(special["nan"]),
            self.sum.eq(stages.end(4, "rounded", rounding.result)),
        ]
        return m


class FloatMultiply(_FloatPart):
    """Multiplies two numbers of one format; the module's head states rounding and special values.

    Parameters
    ----------
    form : the format, e.g. `FP16`
    registers : 0 to 3, spread over the stages multiply, normalise, round

    Ports
    -----
    a, b : in; product : out, all patterns of the format
    enable : in, where there are registers: they move in cycles in which it is 1

    Timing
    ------
    `registers` cycles, new numbers in every cycle.

    Raises
    ------
    SpecError : more registers than stages
    """

    def __init__(self, form: FloatFormat, *, registers: int = 0) -> None:
        super().__init__(
            form, registers=registers, stages=3, what="FloatMultiply", result="product"
        )

    def elaborate(self, platform: object) -> Module:
        """Multiply the significands, shift the leading one to the top as far as allowed, round."""
        m = Module()
        form, stages = self._form, self.stages(m, self._stages, self._registers)
        p = form.precision
        a, b = _Unpacked(m, form, self.a, "a"), _Unpacked(m, form, self.b, "b")

        # Zeros above the leading ones of the factors: all but one bit of those of the product.
        bits = log2_ceil(p)
        counts, empty = [], []
        for name, number in (("a", a), ("b", b)):
            m.submodules[f"{name}_leading"] = leading = shared(LeadingOne(1 << bits))
            m.d.comb += leading.value.eq(Cat(C(0, (1 << bits) - p), number.significand))
            counts.append(~leading.position)
            empty.append(leading.none)
        zeros = Signal(bits + 1)
        product = Signal(2 * p)
        # Of the product's second bit from above; its first one has an exponent one more.
        exponent = Signal(range(-form.bias, 2 << form.exponent_bits))
        m.d.comb += [
            zeros.eq(counts[0] + counts[1]),
            product.eq(a.significand * b.significand),
            exponent.eq(a.exponent + b.exponent - form.bias),
        ]
        zeros = stages.end(1, "zeros_1", zeros)
        product = stages.end(1, "product_1", product)
        exponent = stages.end(1, "exponent_1", exponent)
        special = {
            "sign": a.sign ^ b.sign,
            "nan": a.nan | b.nan | (a.infinite & empty[1]) | (empty[0] & b.infinite),
            "infinite": a.infinite | b.infinite,
        }
        special = {name: stages.end(1, f"{name}_1", value) for name, value in special.items()}

        # As far up as the exponent allows is p - 1 bits at most: of two subnormal factors the
        # product does not go up. From there one shift to the right serves both ways.
        shifter = BarrelShifter(
            2 * p + 1, direction="right", most=p - 3 + form.bias, sticky=True, kept=p + 2,
            largest_first=True,
        )  # fmt: skip
        m.submodules.normalise = shifter = shared(shifter)
        limited = Signal()  # the exponent stops at 1 before the leading one is at the top
        top = Signal(p + 2)
        greater = Signal(form.exponent_bits + 1)
        again = Signal()  # the bit that the count of zeros could not know
        m.d.comb += [
            limited.eq(exponent < zeros),
            shifter.value.eq(Cat(C(0, 1), product)),
            # Only of a product of zero is this negative.
            shifter.amount.eq(p - 1 - Mux(limited, exponent, zeros)),
            top.eq(shifter.result),
            greater.eq(Mux(limited, 1, exponent - zeros + 1)),
            again.eq(~top[-1] & (greater != 1)),
        ]
        significand = stages.end(2, "significand_2", Mux(again, top[:-1], top[1:]))
        sticky = stages.end(2, "sticky_2", shifter.sticky | (top[0] & ~again))
        exponent = stages.end(2, "exponent_2", (greater - again)[: form.exponent_bits + 1])
        special = {name: stages.end(2, f"{name}_2", value) for name, value in special.items()}

        m.submodules.round = rounding = shared(_Round(form))
        m.d.comb += [
            rounding.sign.eq(special["sign"]),
            rounding.exponent.eq(exponent),
            rounding.significand.eq(significand),
            rounding.sticky.eq(sticky),
            rounding.infinite.eq(special["infinite"]),
            rounding.nan.eq(special["nan"]),
            self.product.eq(stages.end(3, "rounded", rounding.result)),
        ]
        return m
