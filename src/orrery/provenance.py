"""Where a number comes from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

__all__ = ["PROGRAM_VERSION", "Basis", "Source", "weakest"]

PROGRAM_VERSION = "0.1.0"  #: goes into every file we write


class Basis(Enum):
    """How a number came to be, from the strongest ground to the weakest."""

    MEASURED = "measured"  # by us, on a named machine
    SIMULATED = "simulated"  # by us, event by event
    ESTIMATED = "estimated"  # by us, from a formula or a trained model
    PUBLISHED = "published"  # by others: paper, table, data sheet
    ASSUMED = "assumed"  # by nobody: the note says why it is plausible


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The birth certificate of a number.

    Attributes
    ----------
    basis : how the number came to be
    where : document and table, or machine and driver, or the formula's name
    note : scaling or derivation, in one sentence
    """

    basis: Basis
    where: str
    note: str = ""

    def __str__(self) -> str:
        return f"{self.basis.value}: {self.where}" + (f" ({self.note})" if self.note else "")


_ORDER = {basis: rank for rank, basis in enumerate(Basis)}


def weakest(bases: Iterable[Basis]) -> Basis:
    """Return the weakest of several bases: a result is no better than what it rests on.

    A figure computed from published constants is *estimated* by us, so callers combine the basis
    of the method with this one for the inputs, and report ``assumed`` whenever any input is.
    """
    return max(bases, key=_ORDER.__getitem__)
