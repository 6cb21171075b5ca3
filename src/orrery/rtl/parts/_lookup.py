"""A function of one fixed-point number by a table of samples.

Models: the nearest sample, or the straight line between two, with one stated rounding.
Ignores: how well samples of this function are chosen; `LookUpUnit.error` measures it.
Judge: exact rationals for the line, `math` for the function (`tests/rtl/test_parts_lookup.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from amaranth import C, Cat, Module, Shape, Signal, signed
from amaranth.lib import data, memory
from amaranth.lib.wiring import In, Out

from orrery.errors import SpecError

from ._part import (
    Part,
    Stages,
    check_whole,
    digest,
    pipeline_timing,
    registered_stages,
    shape_of,
    shape_text,
)

#: Bits of address above which a table is surely a mistake.
_MOST_ADDRESS_BITS = 20
#: Of input and output, so that `evaluate` stays within int64.
_MOST_BITS = 32


class LookUpUnit(Part):
    """Looks a value up: the upper bits of the input choose a sample or a piece of line.

    Parameters
    ----------
    samples : whole numbers that fit `output`. Nearest: ``2**k`` of them, each standing in the
        middle of its segment. Linear: ``2**k + 1``, standing at the borders of the segments, the
        last one just beyond the greatest input
    input, output : shapes, signed or not
    interpolate : follow the line between two samples
    name : of the function, for the header
    registers : pipeline registers: 0 to 1, or 0 to 3 where it interpolates, spread over the stages
        read, multiply, add. With all of them the table is read as block RAMs are

    Ports
    -----
    x : in; y : out
    enable : in, where there are registers: they move in cycles in which it is 1

    Timing
    ------
    `registers` cycles, a new input in every cycle.

    Notes
    -----
    With segments of ``2**s`` inputs, j the segment and f the place in it, the line gives
    ``t[j] + floor(((t[j+1] - t[j]) * f + 2**(s-1)) / 2**s)``: rounded to the nearest whole number,
    halves upwards. It never leaves the range between the two samples.

    Raises
    ------
    SpecError : a number of samples that is none of the above or more than the inputs have segments,
        samples that do not fit, more registers than stages
    """

    def __init__(
        self, samples: Sequence[int], *, input: Any, output: Any, interpolate: bool = False,
        name: str = "function", registers: int = 0,
    ) -> None:  # fmt: skip
        self._input = Shape.cast(shape_of("LookUpUnit: input", input))
        self._output = Shape.cast(shape_of("LookUpUnit: output", output))
        self._interpolate = bool(interpolate)
        for which, shape in (("input", self._input), ("output", self._output)):
            check_whole(f"LookUpUnit: bits of {which}", shape.width, least=1, most=_MOST_BITS)
        least, most = _range(self._output)
        table = [
            check_whole(f"LookUpUnit: samples[{k}]", sample, least=least, most=most)
            for k, sample in enumerate(samples)
        ]
        segments = len(table) - self._interpolate
        self._address_bits = max(segments - 1, 0).bit_length()
        if segments != 1 << self._address_bits or not 1 <= self._address_bits <= min(
            self._input.width, _MOST_ADDRESS_BITS
        ):
            raise SpecError(
                "LookUpUnit: samples", found=f"{len(table)} samples",
                wanted=f"2**k{' + 1' if interpolate else ''}, k from 1 to "
                f"{min(self._input.width, _MOST_ADDRESS_BITS)}", fix="give another number of them",
            )  # fmt: skip
        self._samples = tuple(table)
        stages = 3 if interpolate else 1
        registers = check_whole("LookUpUnit: registers", registers, least=0, most=stages)
        self._registered = registered_stages(stages, registers)
        how = "the line between two samples" if interpolate else "the nearest sample"
        super().__init__(
            {"x": In(self._input), "y": Out(self._output)}
            | ({"enable": In(1, init=1)} if registers else {}),
            title=f"look_up_{name}_{digest(repr([table, self._input, self._output]))}"
            + ("_line" if self._interpolate else "")
            + (f"_r{registers}" if registers else ""),
            parameters={
                "name": name, "samples": len(table),
                "table_hash": digest(repr(table)),
                "input": shape_text(self._input), "output": shape_text(self._output),
                "interpolate": self._interpolate, "registers": registers,
            },
            timing=pipeline_timing(registers, "the value"),
            summary=f"Looks {name} up in a table of {len(table)} samples: {how}.",
            meanings={
                "x": "where", "y": f"{name} there", "enable": "1: the registers move",
            },
        )  # fmt: skip

    @classmethod
    def of(
        cls, function: Callable[[float], float], *, input: Any, input_fraction: int, output: Any,
        output_fraction: int, address_bits: int, interpolate: bool = False,
        name: str = "function", registers: int = 0,
    ) -> LookUpUnit:  # fmt: skip
        """Return the unit of a function of real numbers.

        Parameters
        ----------
        function : of the input as a number, ``x / 2**input_fraction``
        input_fraction, output_fraction : bits behind the point; negative where the unit is coarser
        address_bits : k, of ``2**k`` segments

        Samples are rounded to the nearest, ties to even, and kept within the output's range.

        Raises
        ------
        SpecError : the function is not finite at a sample, and what the constructor refuses
        """
        shape = Shape.cast(shape_of("LookUpUnit: input", input))
        check_whole(
            "LookUpUnit: address_bits", address_bits, least=1,
            most=min(shape.width, _MOST_ADDRESS_BITS),
        )  # fmt: skip
        low = _range(shape)[0]
        length = 1 << (shape.width - address_bits)
        middle = Fraction(0) if interpolate else Fraction(length - 1, 2)
        least, most = _range(Shape.cast(shape_of("LookUpUnit: output", output)))
        samples = []
        for j in range((1 << address_bits) + interpolate):
            at = float((low + j * length + middle) / Fraction(2) ** input_fraction)
            try:
                value = function(at)
                found: object = value
            except (ArithmeticError, ValueError) as error:  # a pole, or outside its domain
                value, found = math.nan, error
            if not math.isfinite(value):
                raise SpecError(
                    f"LookUpUnit: {name} at {at:g}", found=found, wanted="a finite number",
                    fix="leave the pole out of the input's range",
                )  # fmt: skip
            exact = Fraction(value) * Fraction(2) ** output_fraction
            samples.append(min(max(round(exact), least), most))
        return cls(
            samples, input=input, output=output, interpolate=interpolate, name=name,
            registers=registers,
        )  # fmt: skip

    @property
    def samples(self) -> tuple[int, ...]:
        """The table."""
        return self._samples

    def evaluate(self, x: Any) -> Any:
        """Return what the circuit gives, bit for bit.

        Parameters
        ----------
        x : whole numbers in the input's range, of any shape

        Returns
        -------
        y : int64, of the same shape

        Raises
        ------
        SpecError : a number that the input cannot carry
        """
        low, high = _range(self._input)
        codes = np.asarray(x, dtype=np.int64)
        if codes.size and (codes.min() < low or codes.max() > high):
            raise SpecError(
                "LookUpUnit.evaluate: x", found=f"{codes.min()} to {codes.max()}",
                wanted=f"numbers from {low} to {high}", fix="keep them within the input's range",
            )  # fmt: skip
        shift = self._input.width - self._address_bits
        offset = codes - low
        table = np.array(self._samples, dtype=np.int64)
        base = table[offset >> shift]
        if not self._interpolate or not shift:
            return base
        rise = table[(offset >> shift) + 1] - base
        return base + ((rise * (offset & ((1 << shift) - 1)) + (1 << (shift - 1))) >> shift)

    def error(
        self, function: Callable[[float], float], *, input_fraction: int, output_fraction: int
    ) -> float:
        """Return the greatest distance from the function over all inputs, as a number."""
        low, high = _range(self._input)
        codes = np.arange(low, high + 1)
        ours = self.evaluate(codes) / 2.0**output_fraction
        exact = np.array([function(code / 2.0**input_fraction) for code in codes.tolist()])
        return float(np.abs(ours - exact).max())

    def elaborate(self, platform: object) -> Module:
        """Read the sample, and where it interpolates the rise to the next one beside it."""
        m = Module()
        registered = self._registered
        enable = self.enable if registered else C(1)
        stages = Stages(m, enable, registered)
        shift = self._input.width - self._address_bits
        rises = [after - before for before, after in zip(self._samples, self._samples[1:])]
        line = self._interpolate and shift > 0
        row = data.StructLayout({"base": self._output})
        if line:
            bits = max(_signed_bits(rise) for rise in rises)
            row = data.StructLayout({"base": self._output, "rise": signed(bits)})
        rows = [
            {"base": sample, "rise": rise} if line else {"base": sample}
            for sample, rise in zip(self._samples, [*rises, 0])
        ][: 1 << self._address_bits]
        m.submodules.table = table = memory.Memory(shape=row, depth=len(rows), init=rows)
        read = table.read_port(domain="sync" if 1 in registered else "comb")
        offset = Signal(self._input.width)
        top = ~self.x[-1] if self._input.signed else self.x[-1]  # the least number comes first
        m.d.comb += [offset.eq(Cat(self.x[:-1], top)), read.addr.eq(offset[shift:])]
        if 1 in registered:
            m.d.comb += read.en.eq(enable)
        if not line:
            base = read.data.base
            for stage in (2, 3) if self._interpolate else ():
                base = stages.end(stage, f"base_{stage}", base)
            m.d.comb += self.y.eq(base)
            return m
        place = stages.end(1, "place", offset[:shift])
        scaled = stages.end(2, "scaled", read.data.rise * place)
        base = stages.end(2, "base", read.data.base)
        risen = (scaled + (1 << (shift - 1)))[shift:].as_signed()
        m.d.comb += self.y.eq(stages.end(3, "value", (base + risen)[: self._output.width]))
        return m


def _range(shape: Shape) -> tuple[int, int]:
    """Return the least and the greatest number of a shape."""
    if shape.signed:
        return -(1 << (shape.width - 1)), (1 << (shape.width - 1)) - 1
    return 0, (1 << shape.width) - 1


def _signed_bits(number: int) -> int:
    """Return the width of the least two's complement number that holds this one."""
    return (number if number >= 0 else ~number).bit_length() + 1
