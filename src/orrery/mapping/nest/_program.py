"""What the search needs to know of a layer, an architecture and an objective, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orrery.cost.nest import NestCost, Zeros
from orrery.errors import SpecError
from orrery.hardware import Architecture

from ._formula import Formula
from ._terms import Space, Term

#: What of a group that is not decided enters a bound.
ENTERS = ("least", "most", "one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What the engine needs to know of a layer, an architecture and an objective.

    Attributes
    ----------
    terms : inputs of the formula
    tape : the formula, see `Tape.cut`
    enters : what a bound takes of each term, a place in `ENTERS`
    compared : of each term between choices: 1: less is better, -1: more, 0: it does not matter
    matters : boundaries whose traffic the objective depends on
    """

    terms: list[Term]
    tape: tuple[Any, ...]
    enters: NDArray[np.int64]
    compared: NDArray[np.int64]
    matters: frozenset[int]


def worth_of(cost: NestCost, objective: str) -> float:
    """Return the objective of a priced nest: cycles, joules, or joules times seconds."""
    if objective == "latency":
        return float(cost.cycles)
    energy = cost.energy_j
    if energy is None:
        raise SpecError("objective", found=f"no price of {', '.join(cost.unpriced)}",
                        wanted="a price for every action",
                        fix="add it or seek latency")  # fmt: skip
    return energy if objective == "energy" else energy * cost.latency_s


def program_of(
    space: Space, objective: str, zeros: Zeros, most_cycles: int | None,
    most_energy_j: float | None = None,
) -> Program:  # fmt: skip
    """Write the value of a nest of a layer on an architecture down as a formula.

    Parameters
    ----------
    most_cycles, most_energy_j : of all runs: nests above either count as not fitting

    Raises
    ------
    SpecError : an energy is sought and a price is missing; sums narrower than results
    """
    architecture = space.architecture
    if architecture.partial_sum_bits < architecture.bits["output"]:
        raise SpecError(f"architecture {architecture.name!r}: partial_sum_bits",
                        found=architecture.partial_sum_bits,
                        wanted=f"at least the {architecture.bits['output']} bits of a result",
                        fix="widen the partial sums")  # fmt: skip
    missing = unpriced(architecture)
    if missing and (objective != "latency" or most_energy_j is not None):
        raise SpecError(f"architecture {architecture.name!r}", found=f"no {', '.join(missing)}",
                        wanted="a price for every action, zero included",
                        fix="add it with its source, or seek latency")  # fmt: skip
    formula = Formula(space, zeros)
    result = formula.value(objective, most_cycles, most_energy_j)
    inputs, tape = formula.tape.cut(result)
    every = list(formula.inputs)
    terms = [every[n] for n in inputs]
    enters = np.array([ENTERS.index(term.enters) for term in terms], np.int64)
    compared = np.array([
        0 if t.what == "work" or t.enters == "one" else -1 if t.enters == "most" else 1
        for t in terms
    ], np.int64)  # fmt: skip
    matters = frozenset(t.boundary for t in terms if t.what == "moved")
    return Program(terms=terms, tape=tape, enters=enters, compared=compared, matters=matters)


def unpriced(architecture: Architecture) -> list[str]:
    """Return the prices that energy needs and that are not known."""
    missing = [
        f"{level.name}: {name}"
        for level in architecture.levels if level.holds
        for name in ("read_energy_j", "write_energy_j")  # the chip has a static figure
        if getattr(level, name) is None
    ]  # fmt: skip
    names = ["mac_energy_j", "idle_mac_energy_j", "static_power_w"]
    names += ["hop_energy_j_per_bit"] if architecture.axes else []
    return missing + [name for name in names if getattr(architecture, name) is None]
