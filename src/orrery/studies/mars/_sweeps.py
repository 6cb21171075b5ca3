"""What the conclusions hang on: bandwidths of links, and parameters of designs.

Models:  nothing of its own; latencies without contention.
Ignores: latencies of links; designs changed two at a time.
Judge:   every latency of sets is the exact optimum or comes with its bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from orrery.mapping import Tables, balanced, fill_tables, number_workload, with_links
from orrery.mapping.genetic import FoundSets, TwoLevelSearch, two_level, uniform_sets
from orrery.mapping.sets import (
    Problem,
    Sensitivity,
    SetMapping,
    best_mapping,
    compare_cases,
    evaluate,
    fill_problem,
    fill_problems,
    restrict,
    scale_links,
)
from orrery.plan import Infeasible, Plan
from orrery.progress import Progress
from orrery.timeline import PS_PER_S

from ._case import Case
from ._platform import DESIGN_SWEEP, DESIGNS, SIZES, models_of, with_designs

#: links that are scaled
Which = Literal["all", "host", "devices"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSweep:
    """One network under scaled links.

    Attributes
    ----------
    which : links that were scaled: ``all``, ``host`` or ``devices``
    found : every mapping at every factor, and which regrets least
    baseline_s : baseline -> latency per factor, None where it has no plan
    """

    network: str
    which: str
    found: Sensitivity
    baseline_s: dict[str, tuple[float | None, ...]]

    def reductions(self, baseline: str) -> tuple[float | None, ...]:
        """Return per factor by which fraction the best known is below a baseline."""
        best = self.found.best_ps / PS_PER_S
        return tuple(
            None if other is None else 1 - float(ours) / other
            for ours, other in zip(best, self.baseline_s[baseline], strict=True)
        )


def sweep_links(
    case: Case, kinds: Mapping[Which, tuple[float, ...]], progress: Progress
) -> list[LinkSweep]:
    """Map a network in each case of its links' bandwidths, and every mapping in every case.

    Parameters
    ----------
    kinds : links to scale -> factors, rising; two-level results compete where all are scaled
    """
    cases = [(which, factor) for which, factors in kinds.items() for factor in factors]
    links = case.tables.system
    variants = [with_links(case.tables, scale_links(links, f, which)) for which, f in cases]
    filled = fill_problems(
        variants, case.models, case.tables.capacity_bytes, sizes=SIZES, progress=progress
    )
    swept: list[LinkSweep] = []
    for which, factors in kinds.items():
        problems = [p for p, (own, _) in zip(filled, cases, strict=True) if own == which]
        also: dict[str, SetMapping] = {}
        for factor, problem in zip(factors, problems, strict=True):
            found = two_level(problem, TwoLevelSearch(), progress=progress) \
                if which == "all" else None  # fmt: skip
            if isinstance(found, FoundSets):
                also[f"two-level at {factor:g}"] = found.mapping
        compared = compare_cases(problems, factors, also=also, progress=progress)
        if isinstance(compared, Infeasible):
            continue
        swept.append(LinkSweep(
            network=case.network, which=which, found=compared, baseline_s={
                "greedy by layers": tuple(_balanced_s(problem.tables) for problem in problems),
                "uniform split": tuple(_uniform_s(problem, progress) for problem in problems),
            },
        ))  # fmt: skip
    return swept


def _balanced_s(tables: Tables) -> float | None:
    found = balanced(tables)
    return found.predicted_latency_s if isinstance(found, Plan) else None


def _uniform_s(problem: Problem, progress: Progress) -> float | None:
    found = uniform_sets(problem, progress=progress)
    return None if isinstance(found, Infeasible) else found.makespan_ps / PS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignRow:
    """One network where one design is another.

    Attributes
    ----------
    instead : the design that takes the place of the platform's of that kind; empty for none
    best_s, greedy_s : best of sets; the layer-by-layer baseline
    used : designs that the best mapping uses
    """

    network: str
    kind: str
    instead: str
    best_s: float | None
    greedy_s: float | None
    used: tuple[str, ...]

    @property
    def reduction(self) -> float | None:
        """By which fraction the best is below the baseline."""
        if self.best_s is None or self.greedy_s is None:
            return None
        return 1 - self.best_s / self.greedy_s


def sweep_designs(case: Case, count: int, progress: Progress) -> list[DesignRow]:
    """Put another design in the place of one, one at a time; the first row changes nothing."""
    swept = DESIGN_SWEEP[:count]
    every = tuple(dict.fromkeys((*DESIGNS.values(), *(text for _, text in swept))))
    system, models = with_designs(case.system, every), models_of(every)
    workload = number_workload([case.graph])
    tables = fill_tables(workload, system, models, progress=progress)
    union = fill_problem(tables, models, tables.capacity_bytes, sizes=SIZES, progress=progress)
    rows = []
    for kind, text in (("", ""), *swept):
        offered = tuple(text if name == kind else own for name, own in DESIGNS.items())
        problem = restrict(union, designs=[None, *offered])
        best = best_mapping(problem, progress=progress)
        best_s: float | None = None
        used: tuple[str, ...] = ()
        if not isinstance(best, Infeasible):
            best_s = evaluate(problem, best[1]).makespan_ps / PS_PER_S
            used = _used(problem, best[1])
        alone = fill_tables(workload, with_designs(case.system, offered), models)
        rows.append(DesignRow(
            network=case.network, kind=kind, instead=text, greedy_s=_balanced_s(alone),
            best_s=best_s, used=used,
        ))  # fmt: skip
    return rows


def _used(problem: Problem, mapping: SetMapping) -> tuple[str, ...]:
    """Return the designs of a mapping's sets, each once."""
    names = (problem.designs[s.set_class][s.design] or "as they are" for s in mapping.sets)
    return tuple(dict.fromkeys(names))
