"""One case: a workload at one link bandwidth, mapped in every way, each result checked."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from orrery.errors import SpecError
from orrery.mapping import (
    LocalityBound,
    LocalityProblem,
    LocalitySchedule,
    LocalitySearch,
    anneal_locality,
    branch_bound,
    check_locality,
    critical_path_s,
    four_steps,
    locality_bound,
    one_per_kind,
    random_locality,
    safe_four_steps,
)
from orrery.plan import Infeasible
from orrery.progress import SILENT, Progress

from ._workloads import WORKLOADS, build_problem

#: The link bandwidths of the sweep.
BANDWIDTHS_GB_PER_S = (0.125, 0.25, 0.5, 1.25)

#: Share of an accelerator's memory that may hold bound weights, as the released driver sets it.
RESERVED = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How hard to search and to bound."""

    steps: int = 1_600_000
    rounds: int = 60
    cases: int = 100

    @classmethod
    def at(cls, scale: float) -> Effort:
        """Return the effort of a study at a scale; 1 is the full one."""
        return cls(
            steps=max(2_000, round(1_600_000 * scale)),
            rounds=max(4, round(60 * min(scale, 4.0))),
            cases=max(10, round(100 * scale)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What came out of one case.

    Attributes
    ----------
    published : the schedules that the published flow claims after each of its steps
    faults : rules that its last schedule breaks, with how often
    repaired, one, chance, found : valid schedules: the flow made safe, one accelerator per kind,
        the best of random mappings, ours
    bound : no valid schedule is faster
    path_s : compute-only critical path on the fastest accelerators
    seconds : search, bound and checks of ours; the others' are not in it
    """

    model: str
    gb_per_s: float
    published: tuple[LocalitySchedule, ...]
    faults: Counter[str]
    repaired: LocalitySchedule
    one: LocalitySchedule
    chance: LocalitySchedule
    found: LocalitySchedule
    bound: LocalityBound
    path_s: float
    energies_j: tuple[float, ...]
    seconds: float

    @property
    def label(self) -> str:
        """Workload and bandwidth as text."""
        return f"{WORKLOADS[self.model]} at {self.gb_per_s:g} GB/s"

    @property
    def gap(self) -> float:
        """By how much ours may be above the best there is, as a share of the bound."""
        return self.found.makespan_s / self.bound.value_s - 1

    @property
    def reduction(self) -> float:
        """Ours against the makespan that the published flow claims, as a share of the latter."""
        return 1 - self.found.makespan_s / self.published[-1].makespan_s


def run_case(
    model: str, gb_per_s: float, effort: Effort, *, start: LocalitySchedule | None = None,
    progress: Progress = SILENT,
) -> Case:  # fmt: skip
    """Map one workload at one bandwidth in every way.

    Parameters
    ----------
    start : a schedule of the same workload, e.g. from another bandwidth, to set out from
    """
    problem = build_problem(model, link_bytes_per_s=gb_per_s * 1e9, reserved=RESERVED)
    published = four_steps(problem, progress=progress)
    first, repaired = safe_four_steps(problem, progress=progress)
    one, chance = one_per_kind(problem), random_locality(problem, trials=300)
    began = time.perf_counter()
    bound = locality_bound(problem, rounds=effort.rounds, progress=progress)
    found = anneal_locality(problem, LocalitySearch(steps=effort.steps), bound_s=bound.value_s,
                            start=start, progress=progress)  # fmt: skip
    if isinstance(found, Infeasible):
        raise SpecError(f"h2h study: {model}", found=str(found), wanted="a mapping",
                        fix="correct the tables")  # fmt: skip
    bound = branch_bound(problem, bound, makespan_s=found.makespan_s, cases=effort.cases,
                         progress=progress)  # fmt: skip
    _refuse_faults(problem, model, (first, repaired, one, chance, found))
    return Case(
        model=model, gb_per_s=gb_per_s, published=published,
        faults=Counter(fault.rule for fault in check_locality(problem, published[-1])),
        repaired=repaired, one=one, chance=chance, found=found, bound=bound,
        path_s=critical_path_s(problem),
        energies_j=tuple(s.energy_j(problem) for s in (*published, repaired, found)),
        seconds=time.perf_counter() - began,
    )  # fmt: skip


def compile_seconds() -> float:
    """Compile the inner loops on the smallest problem there is; return how long that took."""
    began = time.perf_counter()
    problem = build_problem("cnn-lstm", link_bytes_per_s=1e9)
    locality_bound(problem, rounds=1, steps=1)
    anneal_locality(problem, LocalitySearch(steps=1))
    return time.perf_counter() - began


def _refuse_faults(
    problem: LocalityProblem, model: str, schedules: tuple[LocalitySchedule, ...]
) -> None:
    for schedule in schedules:
        faults = check_locality(problem, schedule)
        if faults:
            raise SpecError(f"h2h study: {model}", found=faults[0].what, wanted="a valid schedule",
                            fix="report this: a searcher wrote an invalid schedule")  # fmt: skip
