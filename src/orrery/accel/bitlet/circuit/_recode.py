"""Between alignment and lanes: the kept bits of one weight become signed digits.

Judge: `_digits.recoded` (`tests/accel/bitlet/test_digits_circuit.py`).
"""

from __future__ import annotations

from amaranth import Cat, Module, Signal
from amaranth.lib.wiring import In, Out

from orrery.rtl import Timing
from orrery.rtl.parts import Part


class Recode(Part):
    """Writes a magnitude in non-adjacent form with one carry chain.

    Parameters
    ----------
    kept : bits of the magnitude

    Ports
    -----
    value : in, the magnitude
    some : out, the places whose digit is not zero, one more than bits
    minus : out, the places whose digit is -1; the highest never is

    Timing
    ------
    Combinational.
    """

    def __init__(self, kept: int) -> None:
        self.kept = kept
        super().__init__(
            {"value": In(kept), "some": Out(kept + 1), "minus": Out(kept + 1)},
            title=f"recode_{kept}",
            parameters={"kept": kept},
            timing=Timing(latency=0, interval=1, rule="combinational"),
            summary="A magnitude as signed digits, no two side by side.",
            meanings={
                "value": "the magnitude",
                "some": "places whose digit is not zero",
                "minus": "places whose digit is -1",
            },
        )

    def elaborate(self, platform: object) -> Module:
        """With half the value and one and a half of it, the digits are their difference."""
        m = Module()
        half, total = Signal(self.kept + 1), Signal(self.kept + 1)
        m.d.comb += [
            half.eq(self.value >> 1),
            total.eq(self.value + half),
            self.some.eq(total ^ half),
            self.minus.eq(Cat((half & ~total)[: self.kept], 0)),
        ]
        return m
