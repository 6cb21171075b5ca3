"""Before the lanes: one pair of operands split and summed, one weight aligned.

Judge: `_format.split` and `_engine` (`tests/accel/bitlet/test_circuit.py`).
"""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib.wiring import In, Out

from orrery.rtl import Timing
from orrery.rtl.parts import BarrelShifter, Part, Shared

from .._format import FixedFormat, FloatFormat, Mode

_AT_ONCE = Timing(latency=0, interval=1, rule="combinational")


class FloatPair(Part):
    """Splits an activation, folds the product's sign into it and adds the exponents.

    Parameters
    ----------
    form : of both operands; the weight comes split already, its hidden one in place
    mode : ``faithful``: a zero exponent with a fraction gets exponent 1 and a hidden one, the
        largest exponent is one more binade. ``correct``: IEEE 754, infinities and NaN set apart

    Ports
    -----
    w_sign, w_exponent, w_magnitude : in, the weight
    a : in, the activation's word
    exponent : out, the sum of stored exponents
    magnitude : out, the weight's, 0 where the product is none
    activation : out, magnitude in two's complement, negated where the signs differ
    nan, plus, minus : out, mode ``correct``: the product is NaN, infinite, negatively infinite
    """

    def __init__(self, form: FloatFormat, mode: Mode) -> None:
        self.precision, self.mode = form.name, mode
        self._form = form
        members = {
            "w_sign": In(1),
            "w_exponent": In(form.exponent_bits),
            "w_magnitude": In(form.lanes),
            "a": In(form.storage_bits),
            "exponent": Out(form.exponent_sum_bits),
            "magnitude": Out(form.lanes),
            "activation": Out(signed(form.activation_bits)),
        }
        if mode == "correct":
            members |= {"nan": Out(1), "plus": Out(1), "minus": Out(1)}
        super().__init__(
            members, title=f"pair_{form.name}_{mode}",
            parameters={"precision": form.name, "mode": mode}, timing=_AT_ONCE,
            summary="One weight and one activation: exponents added, sign folded.", meanings={},
        )  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Split the word and combine it with the weight."""
        m = Module()
        form = self._form
        fraction = self.a[: form.fraction_bits]
        stored = self.a[form.fraction_bits : form.fraction_bits + form.exponent_bits]
        negative = Signal()
        exponent = Signal(form.exponent_bits)
        magnitude = Signal(form.lanes)
        small = Signal()
        m.d.comb += [
            negative.eq(self.a[-1] ^ self.w_sign),
            small.eq((stored == 0) & (fraction != 0)),
            exponent.eq(Mux(small, 1, stored)),
        ]
        hidden = (stored != 0) | small if self.mode == "faithful" else stored != 0
        present = Signal(init=1)
        if self.mode == "faithful":
            m.d.comb += magnitude.eq(Cat(fraction, hidden))
        else:
            odd_a, odd_w = Signal(), Signal()
            nan_a, nan_w, zero_a, zero_w = Signal(), Signal(), Signal(), Signal()
            infinite = Signal()
            most = form.largest_exponent
            m.d.comb += [
                odd_a.eq(stored > most),
                odd_w.eq(self.w_exponent > most),
                magnitude.eq(Mux(odd_a, 0, Cat(fraction, hidden))),
                nan_a.eq(odd_a & (fraction != 0)),
                nan_w.eq(odd_w & (self.w_magnitude[: form.fraction_bits] != 0)),
                zero_a.eq((stored == 0) & (fraction == 0)),
                zero_w.eq(self.w_magnitude == 0),
                self.nan.eq(nan_a | nan_w | (odd_a & zero_w) | (odd_w & zero_a)),
                infinite.eq((odd_a | odd_w) & ~self.nan),
                self.plus.eq(infinite & ~negative),
                self.minus.eq(infinite & negative),
                present.eq((magnitude != 0) & ~zero_w & ~odd_w),
            ]
        m.d.comb += [
            self.exponent.eq(Mux(present, self.w_exponent + exponent, 0)),
            self.magnitude.eq(Mux(present, self.w_magnitude, 0)),
            self.activation.eq(Mux(negative, -magnitude, magnitude)),
        ]
        return m


class FixedPair(Part):
    """Folds a weight's sign into the activation.

    Ports
    -----
    w_sign : in; a : in, the activation in two's complement; activation : out, negated if w_sign

    The negative of the least activation is no number of this width where the released engine's 25
    bits end: it stays what it was. Narrower formats have the bit to spare.
    """

    def __init__(self, form: FixedFormat) -> None:
        self.precision = form.name
        self._bits = form.bits + 1
        self._wide = signed(fixed_activation_bits(form))
        super().__init__(
            {"w_sign": In(1), "a": In(signed(self._bits)), "activation": Out(self._wide)},
            title=f"pair_{form.name}", parameters={"precision": form.name}, timing=_AT_ONCE,
            summary="One weight's sign folded into its activation.", meanings={},
        )  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Negate or not."""
        m = Module()
        m.d.comb += self.activation.eq(Mux(self.w_sign, -self.a, self.a))
        return m


def fixed_activation_bits(form: FixedFormat) -> int:
    """Return the width of a signed activation: one more than it came with, at most 25."""
    return min(form.bits + 2, 25)


class Align(Part):
    """Shifts a magnitude right by how far its exponent lies below the largest; bits beyond drop.

    Ports
    -----
    magnitude : in; exponent, largest : in, sums of stored exponents; aligned : out, the upper bits

    Parameters
    ----------
    kept : bits of the result that have lanes, the highest ones
    """

    def __init__(self, form: FloatFormat, kept: int) -> None:
        self.precision, self.kept = form.name, kept
        self._form = form
        super().__init__(
            {
                "magnitude": In(form.lanes),
                "exponent": In(form.exponent_sum_bits),
                "largest": In(form.exponent_sum_bits),
                "aligned": Out(kept),
            },
            title=f"align_{form.name}_to_{kept}",
            parameters={"precision": form.name, "kept": kept}, timing=_AT_ONCE,
            summary="A weight's magnitude shifted to the group's largest exponent.", meanings={},
        )  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Subtract and shift; all amounts beyond the width share one level."""
        m = Module()
        form = self._form
        shifter = BarrelShifter(
            form.lanes, direction="right", most=(1 << form.exponent_sum_bits) - 1
        )
        shift = Shared(shifter, shifter.title)
        # Linters leave alone what is named so: where lanes are left out, its lower bits.
        m.submodules["shifter" if self.kept == form.lanes else "shifter_unused_below"] = shift
        m.d.comb += [
            shift.value.eq(self.magnitude),
            shift.amount.eq((self.largest - self.exponent)[: form.exponent_sum_bits]),
            self.aligned.eq(shift.result[form.lanes - self.kept :]),
        ]
        return m
