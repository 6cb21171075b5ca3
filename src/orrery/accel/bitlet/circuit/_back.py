"""After the lanes: the accumulator's value becomes a number of the result's format.

Judge: `Engine.run`, bit for bit (`tests/accel/bitlet/test_circuit.py`).
"""

from __future__ import annotations

from amaranth import C, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import In, Out

from orrery.rtl import Timing
from orrery.rtl.parts import BarrelShifter, LeadingOne, Part, Shared

from .._engine import MOST_QUANT, PACKED_BITS
from .._format import FloatFormat, Mode

PACK_FLOAT_CYCLES, PACK_FIXED_CYCLES = 4, 1


class PackFloat(Part):
    """Truncates an accumulator of known exponent to a floating-point number, in four cycles.

    Magnitude; leading one; shift to the top; exponent, overflow and subnormal shift.

    Parameters
    ----------
    form : of operands and result
    mode : ``faithful`` copies the released packer, which drops the leading one and does not shift
        where the stored exponent is exactly 0; ``correct`` heeds infinities and NaN

    Ports
    -----
    enable : in, the registers move
    total : in, the accumulator; largest : in, the group's largest exponent sum
    nan, plus, minus : in, mode ``correct``: special products of the group
    result : out, the word, four cycles later
    """

    def __init__(self, form: FloatFormat, mode: Mode, *, bits: int) -> None:
        self.precision, self.mode, self.bits = form.name, mode, bits
        self._form = form
        members = {
            "enable": In(1), "total": In(signed(bits)), "largest": In(form.exponent_sum_bits),
            "result": Out(form.storage_bits),
        }  # fmt: skip
        if mode == "correct":
            members |= {"nan": In(1), "plus": In(1), "minus": In(1)}
        super().__init__(
            members, title=f"pack_{form.name}_{mode}",
            parameters={"precision": form.name, "mode": mode, "bits": bits},
            timing=Timing(latency=PACK_FLOAT_CYCLES, interval=1, rule="four cycles"),
            summary="Accumulator and exponent to a truncated floating-point number.", meanings={},
        )  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Four stages, each ending in registers."""
        m = Module()
        form, bits = self._form, self.bits

        def held(name: str, value: Value) -> Signal:
            register = Signal(value.shape(), name=name, reset_less=True)
            with m.If(self.enable):
                m.d.sync += register.eq(value)
            return register

        def along(name: str, value: Value, stages: int) -> Signal:
            for stage in range(stages):
                value = held(f"{name}_{stage + 1}", value)
            return value

        negative = self.total[-1]
        size = held("size", Mux(negative, -self.total, self.total)[:bits])
        finder = LeadingOne(bits)
        m.submodules.finder = find = Shared(finder, finder.title)
        m.d.comb += find.value.eq(size)
        top = held("top", find.position)
        none = held("none", find.none)
        size_2 = held("size_2", size)
        # Shifted to the top, cut below the last fraction bit.
        shifter = BarrelShifter(bits, direction="left", kept=form.lanes, largest_first=True)
        m.submodules.shifter = shift = Shared(shifter, shifter.title)
        m.d.comb += [shift.value.eq(size_2), shift.amount.eq(bits - 1 - top)]
        kept = held("kept", shift.result)
        none_3 = held("none_3", none)
        # stored = largest - 2·bias - 2·fraction bits + top + bias
        offset = form.bias + 2 * form.fraction_bits
        stored = held("stored", along("largest", self.largest, 2) + top - offset)
        sign = along("sign", negative, 3)
        down = Signal(stored.shape())
        fraction = Signal(form.fraction_bits)
        exponent = Signal(form.exponent_bits)
        lower = BarrelShifter(
            form.lanes, direction="right", most=(1 << len(stored)) - 1, kept=form.fraction_bits
        )
        m.submodules.lower = lower = Shared(lower, lower.title)
        m.d.comb += [
            down.eq(1 - stored),
            lower.value.eq(kept),
            lower.amount.eq(down),
        ]
        with m.If(none_3):
            m.d.comb += [fraction.eq(0), exponent.eq(0)]
        with m.Elif(stored > form.largest_exponent):
            m.d.comb += [fraction.eq(0), exponent.eq(form.largest_exponent + 1)]
        with m.Elif(stored > 0):
            m.d.comb += [fraction.eq(kept), exponent.eq(stored)]
        with m.Else():
            subnormal: Value = lower.result
            if self.mode == "faithful":
                subnormal = Mux(stored == 0, kept[: form.fraction_bits], subnormal)
            m.d.comb += [fraction.eq(subnormal), exponent.eq(0)]
        word = Cat(fraction, exponent, sign & ~none_3)
        if self.mode == "correct":
            nan, plus, minus = (
                along(name, getattr(self, name), 3) for name in ("nan", "plus", "minus")
            )
            ones = C((1 << form.exponent_bits) - 1, form.exponent_bits)
            odd = Signal(form.storage_bits)
            no_number = nan | (plus & minus)
            quiet = Cat(C(0, form.fraction_bits - 1), no_number)
            m.d.comb += odd.eq(Cat(quiet, ones, minus & ~no_number))
            word = Mux(nan | plus | minus, odd, word)
        m.d.comb += self.result.eq(held("word", word))
        return m


class PackFixed(Part):
    """Takes 24 bits of the accumulator from bit `quant` on, with a sign; saturates. One cycle.

    Parameters
    ----------
    mode : ``faithful`` has the released overflow detector, which asks for the parity of the upper
        bits; ``correct`` asks whether they differ from the sign

    bits : of the accumulator that sums can reach; where no sum is too large, nothing saturates

    Ports
    -----
    enable : in; total : in, the accumulator; quant : in, 0 to 24, else the result is undefined;
    result : out, 25 bits
    """

    def __init__(self, mode: Mode, *, bits: int) -> None:
        self.mode, self.bits = mode, bits
        super().__init__(
            {
                "enable": In(1), "total": In(signed(bits)), "quant": In(range(MOST_QUANT + 1)),
                "result": Out(signed(PACKED_BITS + 1)),
            },
            title=f"pack_fixed_{mode}", parameters={"mode": mode, "bits": bits},
            timing=Timing(latency=PACK_FIXED_CYCLES, interval=1, rule="one cycle"),
            summary="24 bits of the accumulator, saturated.", meanings={},
        )  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        """Shift, ask whether what lies above is the sign, saturate where it is not."""
        m = Module()
        negative = self.total[-1]
        below = self.bits - 1  # bits below the sign
        top = PACKED_BITS + MOST_QUANT
        # The faithful detector looks at the upper bits before the shift: they are not kept.
        whole = self.mode == "correct"
        cut = not whole and below > top
        shifter = BarrelShifter(
            top if cut else self.bits, direction="right", fill="zero" if cut else "sign",
            most=MOST_QUANT, kept=below if whole else min(PACKED_BITS, below), largest_first=True,
        )  # fmt: skip
        m.submodules.shifter = shift = Shared(shifter, shifter.title)
        m.d.comb += [
            shift.value.eq(self.total[:top] if cut else self.total),
            shift.amount.eq(self.quant),
        ]
        word: Value = shift.result[:PACKED_BITS]
        word = Cat(word, negative.replicate(PACKED_BITS - len(word)))
        if below > PACKED_BITS:
            overflow = Signal()
            full = Mux(negative, C(0, PACKED_BITS), C((1 << PACKED_BITS) - 1, PACKED_BITS))
            if whole:
                above = shift.result[PACKED_BITS:]
                m.d.comb += overflow.eq(Mux(negative, ~above.all(), above.any()))
            else:
                # Bits from quant + 24 to 47 that differ from the sign; of those above, the parity.
                between = self.total[PACKED_BITS : min(top, below)]
                between ^= negative.replicate(len(between))
                mask = Signal(len(between))
                m.d.comb += mask.eq(((1 << len(between)) - 1) << self.quant)
                odd: Value = (between & mask).any()
                if cut:
                    upper = self.total[top:]
                    if self.bits % 2:  # of 64: an odd number of copies of the sign is beyond
                        upper = Cat(upper, negative)
                    odd |= upper.xor()
                m.d.comb += overflow.eq(odd)
            word = Mux(overflow, full, word)
        held = Signal(signed(PACKED_BITS + 1), reset_less=True)
        with m.If(self.enable):
            m.d.sync += held.eq(Cat(word, negative))
        m.d.comb += self.result.eq(held)
        return m
