"""Ceilings over all loop nests of a network."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from orrery.errors import SpecError
from orrery.hardware import Architecture
from orrery.plan import Infeasible
from orrery.report import parse_need
from orrery.units import format_si

#: ``cycles<=4e6`` and the like; a scorecard has no such figure
_CYCLES = re.compile(r"\s*cycles\s*(<=|>=|<|>|≤|≥)\s*(\d[\d,_]*(?:\.\d*)?(?:[eE]\+?\d+)?)\s*")


def ceilings(need: Sequence[str], architecture: Architecture) -> tuple[float | None, float | None]:
    """Read ``cycles<=N``, ``latency<T`` and ``energy<E``; the strictest of each counts.

    Returns
    -------
    the most cycles, where runs take something beside theirs that included; the most joules
    """
    cycles: list[float] = []
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
        beside = architecture.overhead_s
        if figure == "cycles" and beside:
            raise SpecError(f"need {text!r}", found=f"an array whose runs take "
                            f"{format_si(beside, 's')} each beside their cycles",
                            wanted="a ceiling of latency, which counts both",
                            fix="write e.g. 'latency<5ms'")  # fmt: skip
        if figure == "energy":
            joules.append(most)
            continue
        if figure == "latency":
            most *= architecture.clock_hz * (1 + 1e-12)
        most = min(most, 2.0**62)
        whole = math.floor(most) - (relation == "<" and most % 1 < 1e-6)
        cycles.append(most if beside else whole)
    return min(cycles, default=None), min(joules, default=None)


def shortfall(missed: Infeasible, need: Sequence[str], architecture: Architecture) -> str:
    """Say what is not within the ceilings: cycles to the last one, seconds for a latency."""
    if missed.unit != "cycles":
        return str(missed)
    if any(_CYCLES.fullmatch(text) for text in need):
        asked = f"need {missed.need:,.0f} cycles, have {missed.have:,.0f}"
        return f"{missed.what}: {asked}; remedies: {'; '.join(missed.remedies)}"
    hertz = architecture.clock_hz
    return str(replace(missed, what="latency of all loop nests", unit="s",
                       need=missed.need / hertz, have=missed.have / hertz,
                       remedies=("allow more time", *missed.remedies[1:])))  # fmt: skip
