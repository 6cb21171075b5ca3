"""What zeros save: operations that need not be done, words that need not be stored.

Models:  zeros of different operands fall independently. A multiplier that *gates* on an operand
         spends its cycle without working when that operand is zero, and leaves the others and the
         sum unread, which saves energy and no time: the cycle is that of a multiplication. One
         that *skips* it spends no cycle either. Only a product is zero with an operand: sums and
         passes over data are neither gated nor skipped. A stored operand without its
         zeros takes its nonzero elements, each with the bits that say where it stands.
Ignores: uneven work among multipliers that skip (the time is what perfect balance takes: a lower
         bound), zeros that padding and results hold, patterns of zeros.
Judge:   counting the products of random operands with zeros (tests).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from orrery.errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """Operations told apart.

    Attributes
    ----------
    nominal : what the layer asks for when nobody looks at values
    performed : what takes a multiplier's cycle
    worked : of these, what the multiplier was not gated for
    effectual : without a zero operand: what no machine can do without
    """

    nominal: int
    performed: int
    worked: int
    effectual: int

    @property
    def ineffectual(self) -> int:
        """Operations with a zero operand."""
        return self.nominal - self.effectual


@dataclass(frozen=True, slots=True, kw_only=True)
class Zeros:
    """The operands' densities and what the machine makes of zeros.

    Attributes
    ----------
    density : role -> share of elements that are not zero, in [0, 1]; not named: 1
    gates, skips : roles whose zeros multipliers gate on, or skip
    compressed : role -> bits that each stored nonzero element carries to say where it stands
    """

    density: Mapping[str, float] = field(default_factory=dict)
    gates: tuple[str, ...] = ()
    skips: tuple[str, ...] = ()
    compressed: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for role in (*self.density, *self.gates, *self.skips, *self.compressed):
            if role not in ("input", "weight"):
                raise SpecError("zeros", found=role, wanted="input or weight",
                                fix="name an operand")  # fmt: skip
        for role, share in self.density.items():
            if not 0 <= share <= 1:
                raise SpecError(f"zeros: density of {role}", found=share,
                                wanted="a share between 0 and 1",
                                fix="give the share of elements that are not zero")  # fmt: skip

    def share(self, role: str) -> Fraction:
        """Return the share of a role's elements that are not zero."""
        return Fraction(self.density.get(role, 1)).limit_denominator(10**6)

    @property
    def performed(self) -> Fraction:
        """Share of operations that take a cycle."""
        return self._product(self.skips)

    def at_multipliers(self, role: str) -> Fraction:
        """Return the share of a role's traffic to and from multipliers that is left.

        An operand that is gated on is read to be seen; what is skipped is never read.
        """
        if role in self.gates or not (self.gates or self.skips):
            return self.performed
        return self._product(tuple({*self.skips, *self.gates}))

    def stored(self, role: str, bits: int, *, read: bool = False) -> int | Fraction:
        """Return the bits that an element of a role takes on average where it is stored.

        With `read`, those that one operation reads: what skips zeros reads nothing but others.
        """
        if role not in self.compressed:
            return bits
        if read and role in self.skips:
            return bits + self.compressed[role]
        return self.share(role) * (bits + self.compressed[role])

    def of(self, products: bool) -> Zeros:
        """Return what is made of zeros in a layer of products, or in one of sums or passes."""
        return self if products else replace(self, gates=(), skips=())

    @property
    def timed(self) -> Zeros:
        """What counts for time: gates save none."""
        return replace(self, gates=())

    def operations(self, nominal: int, *, products: bool = True) -> Operations:
        """Tell a layer's operations apart; shares are rounded up to whole operations."""
        if not products:
            return Operations(nominal=nominal, performed=nominal, worked=nominal,
                              effectual=nominal)  # fmt: skip
        performed = self._product(self.skips)
        worked = self._product(tuple({*self.skips, *self.gates}))
        effectual = self._product(("input", "weight"))
        return Operations(nominal=nominal, performed=-(-nominal * performed // 1),
                          worked=-(-nominal * worked // 1),
                          effectual=-(-nominal * effectual // 1))  # fmt: skip

    def _product(self, roles: tuple[str, ...]) -> Fraction:
        found = Fraction(1)
        for role in roles:
            found *= self.share(role)
        return found


DENSE = Zeros()
