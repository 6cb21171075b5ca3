"""Plans of least energy, or of least latency or energy under ceilings, with what is proved.

Models:  see `_search`.
Ignores: contention: a replay may last longer, and take more idle energy, than the search expects.
Judge:   `orrery.cost.price` of the plan; brute force (tests).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from orrery.cost import CostModel
from orrery.plan import Infeasible, Plan
from orrery.progress import SILENT, Progress
from orrery.timeline import PS_PER_S
from orrery.units import format_quantity

from .._tables import Tables
from ..sets._mapping import plan_of
from ..sets._problem import Problem
from ._joules import Joules, energy_known, idle_w
from ._search import NO_CEILINGS, Ceilings, Traded, Trader

#: of which plans bounds are proved
_FORM = "no plan of these sets in series, units in this order"
_WORDS = {"latency": "is faster", "energy": "takes less energy"}


def best_traded(
    joules: Joules, objective: Literal["latency", "energy"], ceilings: Ceilings = NO_CEILINGS, *,
    progress: Progress = SILENT,
) -> Plan | Infeasible:  # fmt: skip
    """Return the plan of least energy or latency that keeps ceilings.

    Raises
    ------
    TooManyStatesError : so many tensors are live that no bound can be computed
    CancelledError : the user asked to stop
    """
    trader = Trader(joules, progress=progress)
    found = trader.least(objective, ceilings)
    if found.best is None:
        return _infeasible(trader, ceilings, found)
    return traded_plan(joules.problem, found, objective, ceilings, searcher="exact-sets")


def traded_plan(
    problem: Problem, found: Traded, objective: Literal["latency", "energy"],
    ceilings: Ceilings = NO_CEILINGS, *, searcher: str,
) -> Plan:  # fmt: skip
    """Write what a search found as a plan, with its bound in seconds or joules."""
    if found.best is None:
        raise AssertionError("a plan of nothing")  # callers look first
    kept = " and ".join(_texts(ceilings))
    bound = f"{_FORM}{f', that keeps {kept},' if kept else ''} {_WORDS[objective]}"
    if objective == "latency":
        # Rounded down to whole picoseconds, so that a bound stays one.
        return plan_of(problem, found.best.mapping, searcher=searcher, bound=bound,
                       lower_bound_ps=math.floor(found.bound * PS_PER_S))  # fmt: skip
    plan = plan_of(problem, found.best.mapping, searcher=searcher, objective="energy")
    return replace(plan, lower_bound_j=found.bound, bound=bound)


def sets_bound_j(joules: Joules) -> float:
    """Return joules that no plan undercuts whose units are shared in one of their choices.

    Every device that a plan uses idles for all of it, so at least while it works.
    """
    problem, total = joules.problem, 0.0
    for number, tables in enumerate(joules.step_j):
        least = math.inf
        for k, (table, one) in enumerate(zip(tables, problem.classes)):
            watts = [
                sum(joules.idle_w[d] for d in (
                    one.devices[:1] if choice.strategies[0] is None else one.devices))
                for choice in problem.choices[number][one.parties]
            ]  # fmt: skip
            idle = np.array(watts) * problem.step_ps[number][k] / PS_PER_S
            least = min(least, float((table + idle).min()))
        total += least
    return total


def layers_bound_j(tables: Tables, models: Mapping[str, CostModel]) -> float:
    """Return joules that no plan of whole layers undercuts.

    Every layer computed where that takes least, idle power while it does included.

    Raises
    ------
    EnergyUnknownError : of something the energy is not known; names what to add
    """
    known: dict[tuple[str, str, int], float] = {}
    total = 0.0
    for number, region in enumerate(tables.workload.regions):
        if number in tables.unpriced:
            continue
        text, least = tables.signatures[number], math.inf
        for row, way in enumerate(tables.configurations):
            seconds = float(tables.seconds[row, number])
            if not math.isfinite(seconds):
                continue
            device = tables.system.devices[way.device]
            design = "" if tables.own_units[row, number] else way.design or ""
            key = (text, design, tables.kind[way.device])
            if key not in known:
                joules = energy_known(region, device, models[design].cost(region, device).energy_j)
                known[key] = joules + idle_w(device) * seconds
            least = min(least, known[key])
        total += least
    return total


def _texts(ceilings: Ceilings) -> list[str]:
    return [
        *([] if ceilings.latency_s is None else
          [f"latency at most {format_quantity(ceilings.latency_s, 's')}"]),
        *([] if ceilings.energy_j is None else
          [f"energy at most {format_quantity(ceilings.energy_j, 'J')}"]),
        *([] if ceilings.devices is None else [f"at most {ceilings.devices} devices"]),
    ]  # fmt: skip


def _infeasible(trader: Trader, ceilings: Ceilings, found: Traded) -> Infeasible:
    """Say how near one comes to the ceiling that the others leave out of reach."""
    if not ceilings or not trader.points:
        return Infeasible(
            what="mappings onto sets that fit into memories", need=1.0, have=0.0, unit="mappings",
            remedies=("allow larger sets (--set-sizes)", "use devices with more memory"),
        )  # fmt: skip
    energy = ceilings.energy_j is not None
    rest = replace(ceilings, energy_j=None) if energy else replace(ceilings, latency_s=None)
    figure, limit, unit = (
        ("energy", ceilings.energy_j, "J") if energy else ("latency", ceilings.latency_s, "s")
    )
    if limit is None:
        figure, limit, unit = "devices", float(ceilings.devices or 0), "devices"
    near = trader.least("energy" if energy else "latency", rest)
    have = near.bound
    if near.best is not None and not math.isinf(found.bound):
        have = near.best.energy_j if energy else near.best.seconds
    others = " and ".join(_texts(rest))
    proved = math.isinf(found.bound)
    return Infeasible(
        what=f"{figure} of plans of sets in series" + (f" that keep {others}" if others else "")
        + (f": no such plan takes less than what there is, so {limit:.6g} {unit} is out of reach"
           if proved else ": none that keeps the ceiling was found"),
        need=limit, have=have if math.isfinite(have) else 0.0, unit=unit,
        remedies=(*(f"relax the ceiling: {text}" for text in _texts(ceilings)),
                  "use faster, thriftier, more, or other devices"),
    )  # fmt: skip
