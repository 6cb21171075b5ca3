"""The greatest or least of several values, and which it was.

Judge: Python's max and min (`tests/rtl/test_parts_bits.py`).
"""

from __future__ import annotations

from typing import Any

from amaranth import C, Cat, Module, Mux, Shape, Signal, Value
from amaranth.lib.wiring import In, Out

from orrery.errors import check_choice

from ._part import (
    Part,
    check_whole,
    log2_ceil,
    pipeline_timing,
    shape_name,
    shape_of,
    shape_text,
)


class ComparatorTree(Part):
    """Compares values pair by pair; of equal ones the first counts.

    Parameters
    ----------
    shape : of a value, signed or not
    inputs : how many, 2 or more
    find : "max" or "min"
    masked : add the ports `present` (a bit for each value: it takes part) and `none`
    registers : pipeline registers, spread over the log2(inputs) levels

    Ports
    -----
    value0, value1, … : in
    best : out, the greatest or least of them; index : out, its number
    present : in, none : out, where `masked`; where none takes part, `best` and `index` are those
        of value 0
    enable : in, where there are registers: they move in cycles in which it is 1

    Timing
    ------
    `registers` cycles, new values in every cycle.

    Ignores
    -------
    Floating point: its patterns order as signed magnitudes, not as these numbers.

    Raises
    ------
    SpecError : fewer than two values, more registers than levels, an unknown choice
    """

    def __init__(
        self, shape: Any, *, inputs: int, find: str = "max", masked: bool = False,
        registers: int = 0,
    ) -> None:  # fmt: skip
        self._shape = Shape.cast(shape_of("ComparatorTree: shape", shape))
        inputs = self._inputs = check_whole("ComparatorTree: inputs", inputs, least=2)
        self._find = check_choice("ComparatorTree: find", find, ("max", "min"))
        self._masked = bool(masked)
        self._levels = log2_ceil(inputs)
        registers = self._registers = check_whole(
            "ComparatorTree: registers", registers, least=0, most=self._levels
        )
        members = {f"value{k}": In(self._shape) for k in range(inputs)}
        members |= {"best": Out(self._shape), "index": Out(range(inputs))}
        members |= {"present": In(inputs), "none": Out(1)} if masked else {}
        members |= {"enable": In(1, init=1)} if registers else {}
        greatest = "greatest" if find == "max" else "least"
        super().__init__(
            members,
            title=f"{find}_of_{inputs}_{shape_name(self._shape)}"
            + ("_masked" if self._masked else "")
            + (f"_r{registers}" if registers else ""),
            parameters={
                "shape": shape_text(self._shape), "inputs": inputs, "find": find,
                "masked": self._masked, "registers": registers,
            },
            timing=pipeline_timing(registers, f"the {greatest}"),
            summary=f"The {greatest} of {inputs} values and its number; the first of equal ones.",
            meanings={f"value{k}": f"value {k}" for k in range(inputs)}
            | {
                "best": f"the {greatest} value", "index": "its number",
                "present": "bit k: value k takes part", "none": "no value takes part",
                "enable": "1: the registers move",
            },
        )  # fmt: skip

    @property
    def values(self) -> tuple[Any, ...]:
        """The ports of the values, in order."""
        return tuple(getattr(self, f"value{k}") for k in range(self._inputs))

    def elaborate(self, platform: object) -> Module:
        """Halve the number of candidates in each level."""
        m = Module()
        stages = self.stages(m, self._levels, self._registers)
        candidates: list[tuple[Value, Value, Value]] = [
            (value, C(0, 0), self.present[k] if self._masked else C(1, 1))
            for k, value in enumerate(self.values)
        ]
        for level in range(1, self._levels + 1):
            winners = []
            for pair in range(0, len(candidates), 2):
                first = candidates[pair]
                number = f"{level}_{pair // 2}"
                second = candidates[pair + 1] if pair + 1 < len(candidates) else None
                winner = first if second is None else self._winner(m, first, second, number)
                index = winner[1] if second is not None else Cat(winner[1], C(0, 1))
                winners.append(
                    (
                        stages.end(level, f"best_{number}", winner[0]),
                        stages.end(level, f"index_{number}", index),
                        stages.end(level, f"present_{number}", winner[2])
                        if self._masked
                        else C(1, 1),
                    )
                )
            candidates = winners
        best, index, present = candidates[0]
        m.d.comb += [self.best.eq(best), self.index.eq(index)]
        if self._masked:
            m.d.comb += self.none.eq(~present)
        return m

    def _winner(
        self, m: Module, first: tuple[Value, Value, Value], second: tuple[Value, Value, Value],
        number: str,
    ) -> tuple[Value, Value, Value]:  # fmt: skip
        """Return (value, index, present) of the better of two, the first unless it loses."""
        beaten = second[0] > first[0] if self._find == "max" else second[0] < first[0]
        if self._masked:
            beaten = second[2] & (~first[2] | beaten)
        choice = Signal(name=f"second_{number}")
        m.d.comb += choice.eq(beaten)
        lower = Mux(choice, second[1], first[1]) if len(first[1]) else C(0, 0)
        index = Cat(lower, choice)
        return Mux(choice, second[0], first[0]), index, first[2] | second[2]
