"""Plans that trade latency, throughput, energy and devices against each other.

Models:  the fastest mapping for every number of devices, whose value is a bound for that number;
         for a ladder of periods, mappings in which no set works longer on one input; where energies
         are known, the mapping of least energy (links and idle power included), the fastest under
         the caller's ceilings, and for a ladder of ceilings between least energy and least time the
         fastest under each. Under a budget of price or area the same on the devices it allows.
Ignores: whatever lies between the rungs of a ladder. Latency per number of devices, the least
         energy and the fastest under the caller's ceilings have bounds, the rest has not.
Judge:   brute force over sets of each size; `orrery.cost.price` of every plan (tests).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from orrery.cost import CostModel
from orrery.plan import Plan
from orrery.progress import SILENT, Progress

from ..sets import (
    ChainOptimum,
    Problem,
    SetMapping,
    TooManyStatesError,
    chain_optimum,
    combine_networks,
    evaluate,
    feasible,
    plan_of,
    refused_by_all,
)
from ..sets._routes import NEVER
from ._afford import Budget, affordable, among
from ._joules import EnergyUnknownError, fill_joules
from ._plans import traded_plan
from ._search import NO_CEILINGS, Ceilings, Trader

#: Rungs of the ladders: periods, and ceilings of energy.
_PERIODS = 5
_CEILINGS = 4
_RUNS = 3  #: directions that are tried for a rung

_PROOF = "no plan of these sets in series, units in this order, on at most {} devices is faster"


def front_plans(
    problem: Problem, models: Mapping[str, CostModel], *, ceilings: Ceilings = NO_CEILINGS,
    budget: Budget | None = None, progress: Progress = SILENT,
) -> Iterator[Plan]:  # fmt: skip
    """Yield plans that may be on the front, different ones only; it ends early when stopped.

    Parameters
    ----------
    ceilings : that the caller's choice must keep; the fastest plan that does is among those yielded
    budget : what devices may be used together; plans on those come first

    Raises
    ------
    CancelledError : the user asked to stop; plans until then have been yielded
    """
    if budget is not None:
        for some in affordable(problem, budget):
            names = " and ".join(problem.tables.ends[device] for device in some)
            fewer = among(problem, some)
            for plan in front_plans(fewer, models, ceilings=ceilings, progress=progress):
                yield _kept_to(plan, names)
    if refused_by_all(problem) is not None:
        return
    seen: set[SetMapping] = set()

    def fresh(mapping: SetMapping) -> bool:
        new = mapping not in seen and feasible(evaluate(problem, mapping))
        seen.add(mapping)
        return new

    try:
        whole = 0
        for devices, bound_ps, mapping in _by_devices(problem, progress):
            whole = bound_ps
            if fresh(mapping):
                yield plan_of(problem, mapping, searcher="front: latency", lower_bound_ps=bound_ps,
                              bound=_PROOF.format(devices))  # fmt: skip
        if not whole:
            return
        for mapping in _by_period(problem, whole, progress):
            if fresh(mapping):
                yield plan_of(problem, mapping, searcher="front: period", objective="throughput")
        trader = Trader(fill_joules(problem, models, progress=progress), progress=progress)
        least = trader.least("energy")
        if least.best is None:
            return
        if fresh(least.best.mapping):
            yield traded_plan(problem, least, "energy", searcher="front: energy")
        if ceilings:
            under = trader.least("latency", ceilings)
            if under.best is not None and fresh(under.best.mapping):
                yield traded_plan(problem, under, "latency", ceilings, searcher="front: ceilings")
        fastest = min(trader.points, key=lambda p: p.seconds)
        if least.best.energy_j < fastest.energy_j:
            rungs = np.geomspace(least.best.energy_j, fastest.energy_j, _CEILINGS + 2)[1:-1]
            trader.most_runs = _RUNS
            for rung in rungs:
                trader.least("latency", Ceilings(energy_j=float(rung)))
        figures = [(p.seconds, p.energy_j, p.devices) for p in trader.points]
        for point, mark in zip(trader.points, non_dominated(figures)):
            if mark and fresh(point.mapping):
                yield plan_of(problem, point.mapping, searcher="front: energy")
    except (TooManyStatesError, EnergyUnknownError):
        return


def _kept_to(plan: Plan, names: str) -> Plan:
    """Return a plan whose search kept to some devices, its bound said of plans on these alone."""
    if " that keeps " in plan.bound:
        bound = plan.bound.replace(" that keeps ", f" that keeps to {names} and ", 1)
    elif " on at most " in plan.bound:
        most = r",? on at most (\d+) devices"
        bound = re.sub(most, lambda m: f", that keeps to {m[1]} of {names},", plan.bound)
    else:
        order = "units in this order"
        bound = plan.bound.replace(order, f"{order}, that keeps to {names},", 1)
    return replace(plan, bound=bound, searcher=f"{plan.searcher}, within budget")


def _by_devices(priced: Problem, progress: Progress) -> Iterator[tuple[int, int, SetMapping]]:
    """Yield for every number of devices that gains a bound and the best mapping."""
    networks = range(len(priced.tables.workload.references))
    relaxed = [chain_optimum(priced, n, behind="relaxed", progress=progress) for n in networks]
    never: list[ChainOptimum] = []
    before = NEVER
    for most in range(1, len(priced.tables.of_device) + 1):
        found = combine_networks(priced, relaxed, most_devices=most)
        if found is None or found[0] >= before:
            continue
        before, mapping = found
        took = evaluate(priced, mapping).makespan_ps
        if took > before:
            never = never or [
                chain_optimum(priced, n, behind="never", progress=progress) for n in networks
            ]
            other = combine_networks(priced, never, most_devices=most)
            if other is not None and evaluate(priced, other[1]).makespan_ps < took:
                mapping = other[1]
        yield most, before, mapping


def _by_period(problem: Problem, whole_ps: int, progress: Progress) -> Iterator[SetMapping]:
    """Yield, for periods from the whole latency down, mappings on as few devices as keep them."""
    low = max(min(int(table.min()) for table in tables) for tables in problem.step_ps)
    networks = range(len(problem.tables.workload.references))
    for period in np.geomspace(whole_ps, max(low, 1), _PERIODS + 1)[1:-1]:
        optima = [
            chain_optimum(problem, n, behind="relaxed", period_ps=int(period), progress=progress)
            for n in networks
        ]
        for most in range(1, len(problem.tables.of_device) + 1):
            found = combine_networks(problem, optima, most_devices=most)
            if found is not None:
                yield found[1]
                break
        else:
            return  # a shorter period is no easier


def non_dominated(rows: Sequence[Sequence[float | None]]) -> list[bool]:
    """Return which rows no other row beats: nowhere larger and somewhere smaller.

    Columns with anything unknown are left out; of equal rows the first counts.
    """
    known = (
        [c for c in range(len(rows[0])) if all(row[c] is not None for row in rows)] if rows else []
    )
    front = [False] * len(rows)
    if not known:
        return [number == 0 for number in range(len(rows))]
    table = np.array([[row[c] for c in known] for row in rows], np.float64)
    kept, size = np.empty_like(table), 0
    # In this order nothing beats a row before it, and what beats it has been kept.
    for number in np.lexsort(table.T[::-1]):
        if not (kept[:size] <= table[number]).all(axis=1).any():
            kept[size], front[number] = table[number], True
            size += 1
    return front


def conflict(met: Sequence[Sequence[bool]]) -> tuple[int, ...]:
    """Return the fewest ceilings that no candidate keeps together; none when one keeps all.

    Parameters
    ----------
    met : candidates × ceilings
    """
    table = np.array(met, np.bool_)
    if table.size == 0 or table.all(axis=1).any():
        return ()
    ceilings = range(table.shape[1])
    for size in range(1, len(ceilings) + 1):
        for some in combinations(ceilings, size):
            if not table[:, some].all(axis=1).any():
                return some
    return ()
