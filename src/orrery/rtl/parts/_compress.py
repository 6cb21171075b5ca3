"""Sums of many terms in carry-save form.

Models: levels of 3:2 or 4:2 compressors over whole rows, signs by inversion and one constant.
Ignores: the order in which the bits of a column arrive, which synthesis balances itself.
Judge: Python integers (`tests/rtl/test_parts_bits.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth import C, Cat, Module, Shape, Signal, Value
from amaranth.lib.wiring import In, Out

from orrery.errors import SpecError, check_choice

from ._part import (
    Part,
    check_whole,
    digest,
    pipeline_timing,
    shape_name,
    shape_of,
    shape_text,
)


class CompressorTree(Part):
    """Adds terms with no carry running further than one bit, but for one adder at the end.

    Parameters
    ----------
    terms : shape of every term, signed or not, of any widths
    shifts : by how many bits each term stands further left, by default not at all
    compressor : "3:2" rows to two in each level, or "4:2" (two of these in a row: fewer levels,
        so fewer places for registers)
    final : add the last two rows: the port `total`; without, the ports `save` and `carry`
    registers : pipeline registers, spread over the levels; the final adder is the last level

    Ports
    -----
    term0, term1, … : in
    total : out, the exact sum, as wide as the terms can make it, signed where it can be negative
    save, carry : out in place of it; their sum modulo 2**width is the total
    enable : in, where there are registers: they move in cycles in which it is 1

    Timing
    ------
    `registers` cycles, new terms in every cycle.

    Notes
    -----
    A signed term of w bits equals its bits with the top one inverted, less ``2**(w - 1)``. What all
    of them lack is one constant; it is put where rows are empty, above their top bits.

    Raises
    ------
    SpecError : fewer than two terms, a shift for none, more registers than levels
    """

    def __init__(
        self, terms: Sequence[Any], *, shifts: Sequence[int] = (), compressor: str = "3:2",
        final: bool = True, registers: int = 0,
    ) -> None:  # fmt: skip
        check_whole("CompressorTree: number of terms", len(terms), least=2)
        self._terms = tuple(
            Shape.cast(shape_of(f"CompressorTree: terms[{k}]", t)) for k, t in enumerate(terms)
        )
        if shifts and len(shifts) != len(terms):
            raise SpecError(
                "CompressorTree: shifts", found=f"{len(shifts)} shifts",
                wanted=f"none, or one for each of {len(terms)} terms", fix="give as many as terms",
            )  # fmt: skip
        self._shifts = tuple(
            check_whole(f"CompressorTree: shifts[{k}]", shift, least=0)
            for k, shift in enumerate(shifts or [0] * len(terms))
        )
        rows = check_choice("CompressorTree: compressor", compressor, ("3:2", "4:2"))
        self._group = int(rows[0])
        self._final = bool(final)
        least, most = 0, 0
        for term, shift in zip(self._terms, self._shifts):
            least -= (1 << (term.width - 1) if term.signed else 0) << shift
            most += ((1 << (term.width - term.signed)) - 1) << shift
        self._total = Shape(
            max(most.bit_length(), (-least - 1).bit_length() if least else 0) + (least < 0),
            signed=least < 0,
        )
        self._rows = self._first_rows()
        self._levels = _levels(len(self._rows), self._group) + self._final
        registers = self._registers = check_whole(
            "CompressorTree: registers", registers, least=0, most=self._levels
        )
        width = self._total.width
        members = {f"term{k}": In(term) for k, term in enumerate(self._terms)}
        members |= (
            {"total": Out(self._total)} if final else {"save": Out(width), "carry": Out(width)}
        )
        members |= {"enable": In(1, init=1)} if registers else {}
        super().__init__(
            members,
            title=f"compressor_tree_{len(terms)}_{self._kind()}",
            parameters={
                "terms": ",".join(map(shape_text, self._terms)),
                "shifts": ",".join(map(str, self._shifts)),
                "compressor": compressor, "final": self._final, "registers": registers,
            },
            timing=pipeline_timing(registers, "the sum"),
            summary=f"Adds {len(terms)} terms by {compressor} compressors"
            + (" and one adder." if final else " to two rows."),
            meanings={f"term{k}": f"term {k}" for k in range(len(terms))}
            | {
                "total": "the exact sum",
                "save": f"one row; save + carry modulo 2**{width} is the sum",
                "carry": "the other row",
                "enable": "1: the registers move",
            },
        )  # fmt: skip

    @property
    def terms(self) -> tuple[Any, ...]:
        """The ports of the terms, in order."""
        return tuple(getattr(self, f"term{k}") for k in range(len(self._terms)))

    @property
    def total_shape(self) -> Shape:
        """Shape of the exact sum."""
        return self._total

    def _kind(self) -> str:
        """Return what tells this tree from others with as many terms, for the module's name."""
        plain = len(set(self._terms)) == 1 and not any(self._shifts)
        kind = (
            f"of_{shape_name(self._terms[0])}"
            if plain
            else digest(repr([*self._terms, *self._shifts]))
        )
        kind += "_by_4" if self._group == 4 else ""
        kind += "" if self._final else "_rows"
        return kind + (f"_r{self._registers}" if self._registers else "")

    def _first_rows(self) -> list[list[tuple[int, int] | int]]:
        """Return the rows before the first level: for each bit 0, 1, (term, bit) or ~(…) of it.

        An inverted bit is written (term, -1 - bit).
        """
        width = self._total.width
        signed = [k for k, term in enumerate(self._terms) if term.signed]
        options = []
        for extended in (None, *signed):  # a term may also be extended by copies of its sign
            rows: list[list[tuple[int, int] | int]] = []
            constant = 0
            for k, (term, shift) in enumerate(zip(self._terms, self._shifts)):
                row: list[tuple[int, int] | int] = [0] * width
                for bit in range(term.width):
                    row[shift + bit] = (k, bit)
                top = shift + term.width - 1
                if k == extended:
                    row[top:] = [(k, term.width - 1)] * (width - top)
                elif term.signed:
                    row[top] = (k, -term.width)
                    constant -= 1 << top
                rows.append(row)
            for bit in range(width):
                if constant >> bit & 1:
                    free = next((row for row in rows if row[bit] == 0), None)
                    if free is None:
                        rows.append([0] * width)
                        free = rows[-1]
                    free[bit] = 1
            options.append(rows)
        return min(options, key=len)

    def elaborate(self, platform: object) -> Module:
        """Replace groups of rows by their sums and carries until two are left."""
        m = Module()
        width = self._total.width
        stages = self.stages(m, self._levels, self._registers)
        rows: list[Value] = []
        for number, bits in enumerate(self._rows):
            row = Signal(width, name=f"row_{number}")
            m.d.comb += row.eq(Cat(self._bit(bit) for bit in bits))
            rows.append(row)
        level = 0
        while len(rows) > 2:
            level += 1
            after: list[Value] = []
            for start in range(0, len(rows), self._group):
                group = rows[start : start + self._group]
                if len(group) > 2:
                    after += self._compress(m, group, f"{level}_{start // self._group}")
                else:
                    after += group
            rows = [stages.end(level, f"row_{level}_{k}", row) for k, row in enumerate(after)]
        if self._final:
            m.d.comb += self.total.eq(stages.end(self._levels, "sum", (rows[0] + rows[1])[:width]))
        else:
            m.d.comb += [self.save.eq(rows[0]), self.carry.eq(rows[1])]
        return m

    def _bit(self, bit: tuple[int, int] | int) -> Value:
        if isinstance(bit, int):
            return C(bit, 1)
        term, place = bit
        return self.terms[term][place] if place >= 0 else ~self.terms[term][-1 - place]

    def _compress(self, m: Module, rows: list[Value], name: str) -> list[Value]:
        """Return two rows of the same sum, modulo 2**width, as three or four."""
        width = self._total.width
        a, b, c = rows[:3]
        save = Signal(width, name=f"save_{name}")
        carry = Signal(width, name=f"carry_{name}")
        m.d.comb += [
            save.eq(a ^ b ^ c),
            carry.eq(Cat(C(0, 1), ((a & b) | (a & c) | (b & c))[: width - 1])),
        ]
        if len(rows) == 3:
            return [save, carry]
        return self._compress(m, [save, carry, rows[3]], f"{name}_b")


def _levels(rows: int, group: int) -> int:
    """Return how many levels bring this many rows to two."""
    levels = 0
    while rows > 2:
        whole, rest = divmod(rows, group)
        rows, levels = 2 * whole + min(rest, 2), levels + 1
    return levels
