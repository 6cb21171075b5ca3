"""How much of a network was priced, and what was not, by name."""

from __future__ import annotations

from dataclasses import dataclass

from orrery.errors import OrreryError
from orrery.units import counted, format_quantity, format_si


class UnpricedError(OrreryError):
    """A complete price was demanded and something has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpriced:
    """A region without a price; `macs` and `size_bytes` are None when they cannot be counted."""

    region: str
    operators: tuple[str, ...]
    reason: str
    macs: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What the figures of an estimate cover.

    Attributes
    ----------
    operators : nodes priced, of `total_operators`
    macs, size_bytes : of the priced regions (bytes: compulsory off-chip traffic)
    unpriced : everything else, by name with its reason
    """

    operators: int
    total_operators: int
    macs: int
    size_bytes: int
    unpriced: tuple[Unpriced, ...] = ()

    @property
    def complete(self) -> bool:
        return not self.unpriced

    def require_complete(self, where: str) -> None:
        """Refuse anything unpriced (``--strict``).

        Raises
        ------
        UnpricedError : names every region without a price
        """
        if self.unpriced:
            listed = "; ".join(f"{row.region}: {row.reason}" for row in self.unpriced)
            raise UnpricedError(
                f"{where}: found {counted(len(self.unpriced), 'region')} without a price "
                f"({listed}), wanted all priced; use a system that runs them, or leave out --strict"
            )

    def __str__(self) -> str:
        text = (
            f"priced {self.operators} of {self.total_operators} operators, "
            f"{format_si(self.macs, 'MAC')}, "
            f"{format_quantity(self.size_bytes, 'bytes')} moved by them"
        )
        if not self.unpriced:
            return text
        macs = [row.macs for row in self.unpriced]
        known = format_si(sum(m for m in macs if m is not None), "MAC")
        more = " and more that cannot be counted" if None in macs else ""
        names = ", ".join(f"{row.region} ({row.reason})" for row in self.unpriced)
        return f"{text}; not priced, {known}{more}: {names}"
