"""What nests of layers take on one array: searched within a budget, added up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from orrery.cost.nest import NestProblem
from orrery.hardware import Architecture
from orrery.mapping.nest import NestFound, nest_network
from orrery.plan import Infeasible
from orrery.progress import SILENT, Progress
from orrery.store import Cache

from .._options import BeyondOptions

#: evaluations per layer: about a second; the best nest so far stands, with its gap
BUDGET = BeyondOptions().budget

Problems = Mapping[str, "tuple[NestProblem, ...]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A layer on an array: all its nests, one after the other.

    Attributes
    ----------
    reason : why it has none; the rest is None then
    utilisation : operations for every one that the array could do in the time
    gap : share of the cycles by which better nests could take less
    """

    found: tuple[NestFound, ...] = ()
    reason: str = ""

    @property
    def cycles(self) -> int:
        return sum(one.cost.cycles for one in self.found)

    @property
    def operations(self) -> int:
        return sum(one.cost.operations.performed for one in self.found)

    @property
    def energy_j(self) -> float | None:
        joules = [one.cost.energy_j for one in self.found]
        return None if None in joules else sum(j for j in joules if j is not None)

    @property
    def utilisation(self) -> float | None:
        if not self.found:
            return None
        peak = self.found[0].cost.elements * self.found[0].cost.macs_per_cycle
        return self.operations / (self.cycles * peak)

    @property
    def gap(self) -> float:
        least = sum(one.cost.cycles * (1 - one.gap) for one in self.found)
        return 1 - least / self.cycles if self.cycles else 0.0


def run_layers(
    problems: Problems, architecture: Architecture, *, most: int = BUDGET,
    progress: Progress = SILENT,
) -> dict[str, Run]:  # fmt: skip
    """Return the fastest runs of layers, of these the most frugal, in the order of `problems`."""
    single = {(name, n): problem for name, parts in problems.items()
              for n, problem in enumerate(parts)}  # fmt: skip
    keyed = {f"{name} ({n})": problem for (name, n), problem in single.items()}
    # Threads: the search proper is compiled and lets others run beside it.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = nest_network(keyed, architecture, "latency", most=most, settle=True,
                             cache=Cache("nests"), executor=threads,
                             progress=progress)  # fmt: skip
    runs = {}
    for name, parts in problems.items():
        results = [found[f"{name} ({n})"] for n in range(len(parts))]
        failed = next((one for one in results if isinstance(one, Infeasible)), None)
        mapped = tuple(one for one in results if not isinstance(one, Infeasible))
        runs[name] = Run(reason=str(failed)) if failed else Run(found=mapped)
    return runs
