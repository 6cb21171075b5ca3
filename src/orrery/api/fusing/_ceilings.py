"""Ceilings over all loop nests of a network."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orrery.errors import SpecError
from orrery.report import parse_need

if TYPE_CHECKING:
    from orrery.hardware import Architecture

__all__ = ["ceilings"]

#: ``cycles<=4e6`` and the like; a scorecard has no such figure
_CYCLES = re.compile(r"\s*cycles\s*(<=|>=|<|>|≤|≥)\s*(\d[\d,_]*(?:\.\d*)?(?:[eE]\+?\d+)?)\s*")


def ceilings(
    need: Sequence[str], architecture: Architecture
) -> tuple[int | None, float | None]:  # fmt: skip
    """Read ``cycles<=N``, ``latency<T`` and ``energy<E``; the strictest of each counts."""
    cycles: list[int] = []
    joules: list[float] = []
    for text in need:
        plain = _CYCLES.fullmatch(text)
        if plain:
            figure, relation, most = "cycles", plain[1], float(re.sub("[,_]", "", plain[2]))
        else:
            one = parse_need(text)
            figure, relation, most = one.figure, one.relation, one.limit
        if figure not in ("cycles", "latency", "energy") or relation[0] not in "<≤":
            raise SpecError(f"need {text!r}", found=f"{figure} {relation}",
                            wanted="a ceiling of cycles, latency or energy",
                            fix="write e.g. 'cycles<=4e6' or 'energy<2mJ'")  # fmt: skip
        if figure == "energy":
            joules.append(most)
            continue
        if figure == "latency":
            most *= architecture.clock_hz * (1 + 1e-12)
        most = min(most, 2.0**62)
        cycles.append(math.floor(most) - (relation == "<" and most % 1 < 1e-6))
    return min(cycles, default=None), min(joules, default=None)
