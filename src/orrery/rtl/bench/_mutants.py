"""How good is a bench? Designs with one operator changed, and how many of them it catches."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Mutant", "MutationReport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A design with one change.

    Attributes
    ----------
    number : from 1
    module, cell : where
    kind : of change, e.g. ``add to sub``
    choice : which change of this kind at this cell, e.g. the bit that is flipped
    said : the change in a sentence
    """

    number: int
    module: str
    cell: str
    kind: str
    choice: int
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MutationReport:
    """Which mutants a bench caught.

    Attributes
    ----------
    circuit : its name
    caught : the bench ended otherwise than with PASS
    equivalent : passed, and proved to be the same circuit: they count on neither side
    survivors : passed, and not proved to be the same circuit
    tool : simulator that ran the bench
    """

    circuit: str
    caught: tuple[Mutant, ...]
    equivalent: tuple[Mutant, ...]
    survivors: tuple[Mutant, ...]
    tool: str

    @property
    def score(self) -> float:
        """Share of the mutants that are no equivalents and were caught; 1 where there is none."""
        wrong = len(self.caught) + len(self.survivors)
        return len(self.caught) / wrong if wrong else 1.0

    @property
    def sentence(self) -> str:
        """The result in a sentence, for the README."""
        wrong = len(self.caught) + len(self.survivors)
        same = f", {len(self.equivalent)} more are proved to change nothing" * bool(self.equivalent)
        return (
            f"Of {wrong} designs with one operator changed the bench catches {len(self.caught)} "
            f"({100 * self.score:.1f} %){same}; run by {self.tool}."
        )
