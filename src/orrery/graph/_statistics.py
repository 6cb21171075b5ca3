"""Statistics of a tensor's data that sparse and bit-serial machines depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orrery.provenance import Source

__all__ = ["Statistics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What is known of the values in one or more tensors.

    Attributes
    ----------
    density : tensor name -> share of elements that are not zero, 0 to 1
    bit_density : tensor name -> share of one-bits per bit position, most significant first
    source : measured on which data, or assumed
    """

    source: Source
    density: Mapping[str, float] = field(default_factory=dict)
    bit_density: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
