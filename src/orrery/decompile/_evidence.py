"""What a recovered graph rests on, as plain records."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredNode:
    """One node of a recovered graph and why it is there.

    Attributes
    ----------
    address : of the store that computes it, 0 where none is known
    addresses : of all stores that are part of it
    function : name of the function as linked, a hint for people and no evidence
    evidence : what it was concluded from, in words
    confidence : 1 where the addresses and loops allow nothing else, less where another operator
        computes the same numbers or values were compared
    """

    name: str
    operator: str
    address: int
    addresses: tuple[int, ...] = ()
    function: str = ""
    evidence: tuple[str, ...] = ()
    confidence: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredWeight:
    """One constant tensor and where its bytes stand.

    Attributes
    ----------
    origin : section and offset, or address; empty for a number that stands in the code
    present : whether its bytes were in what was given
    """

    tensor: str
    origin: str
    size_bytes: int
    present: bool = True
