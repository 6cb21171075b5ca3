"""The best plan of sets in series: exact search, then what exact search leaves out.

Models:  the optimum of `chain_optimum` for every network, devices shared among networks; memories
         as limits: where the optimum does not fit, the best that a price on resident bytes, a local
         search and the two-level search find; for throughput, the least time after which the
         next input can follow, sets working on different inputs at once.
Ignores: see `_exact`; early results, where there are too many states to know where all lies. Where
         memories are too small the plan is not proved best; its bound still holds.
Judge:   `_exact`'s; plans that fit by `orrery.cost.price` (tests).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from orrery.plan import Infeasible, Plan
from orrery.progress import SILENT, Progress
from orrery.timeline import PS_PER_S

from ._exact import ChainOptimum, TooManyStatesError, chain_optimum
from ._fast import Evaluator
from ._mapping import Placed, SetMapping, evaluate, fits, plan_of
from ._problem import Problem
from ._routes import NEVER

#: what the bound of `best_mapping` says
PROOF = (
    "no plan is faster in which sets of like devices take over from each other, each once, layers "
    "in this order, element-wise layers split with the layer that they follow unless they run "
    "faster where it runs slower"
)

#: what the bound of a plan for throughput says
_PERIOD_PROOF = (
    "no plan of these sets in series, units in this order, lets inputs follow each other sooner"
)

#: searches at most, where results that are made early come home last
_PASSES = 8

#: states between two units of the search that knows where all lies that was left behind
_EXACT = 1_000_000

#: on resident bytes, that are tried where memories are too small for the fastest mapping
_PRICES = 8

#: how finely the period of a pipeline is searched
_FINENESS = 0.005


def combine_networks(
    problem: Problem, optima: list[ChainOptimum], *, most_devices: int | None = None
) -> tuple[int, SetMapping] | None:
    """Share the devices among networks so that the last is done earliest; None without a way.

    Parameters
    ----------
    most_devices : that all networks together may take; all of them by default
    """
    found = _share(problem, optima, most_devices)
    return None if found is None else (found[0], found[2])


def _share(
    problem: Problem, optima: list[ChainOptimum], most_devices: int | None
) -> tuple[int, int, SetMapping] | None:
    """Return the least time until all end, when all is home at that mapping, and the mapping."""
    sizes = tuple(len(group) for group in problem.groups)
    most = sum(sizes) if most_devices is None else most_devices
    best: dict[tuple[int, ...], tuple[int, list[tuple[int, ...]]]] = {(0,) * len(sizes): (0, [])}
    for optimum in optima:
        following: dict[tuple[int, ...], tuple[int, list[tuple[int, ...]]]] = {}
        for gone, (value, parts) in best.items():
            for taken, own in optimum.value_ps.items():
                total = tuple(a + b for a, b in zip(gone, taken))
                if sum(total) > most or any(a > n for a, n in zip(total, sizes)):
                    continue
                worst = max(value, own)
                if total not in following or worst < following[total][0]:
                    following[total] = (worst, [*parts, taken])
        best = following
    if not best:
        return None
    value, parts = min(best.values(), key=lambda entry: entry[0])
    home = 0
    sets: list[Placed] = []
    choices = [0] * len(problem.units)
    offset = (0,) * len(sizes)
    for optimum, taken in zip(optima, parts):
        placed, chosen, ends = optimum.mapping(taken, offset)
        home = max(home, ends)
        sets += placed
        for unit, choice in chosen.items():
            choices[unit] = choice
        offset = tuple(a + b for a, b in zip(offset, taken))
    return value, home, SetMapping(sets=tuple(sets), choices=tuple(choices))


def series_optimum(
    problem: Problem, *, behind: str = "exact", period_ps: int | None = None, passes: int = 100,
    most_states: int = 20_000_000, forget: int | None = None, progress: Progress = SILENT,
) -> tuple[int, SetMapping] | None:  # fmt: skip
    """Return the least time after which all networks' results are home, and how; None without way.

    With `behind` ``relaxed`` or with `forget` the time is a lower bound, the mapping takes longer.

    Parameters
    ----------
    passes : searches at most; where results made early would need more, the time is a lower bound
    others : see `chain_optimum`

    Raises
    ------
    TooManyStatesError : see `chain_optimum`
    CancelledError : the user asked to stop
    """

    def within(upper_ps: int) -> tuple[tuple[int, int, SetMapping] | None, int]:
        optima = [
            chain_optimum(problem, n, behind=behind, period_ps=period_ps, upper_ps=upper_ps,
                          most_states=most_states, forget=forget, progress=progress)
            for n in range(len(problem.tables.workload.references))
        ]  # fmt: skip
        return _share(problem, optima, None), min(one.next_ps for one in optima)

    found, _ = within(NEVER)
    if found is None:
        return None
    low, high, mapping = found
    trial = low
    while low < high and passes > 1:
        passes -= 1
        found, following = within(trial)
        if found is None:  # nor at any time before it leaves fewer states out
            low = min(high, max(trial + 1, following))
        else:  # whoever is home by then ends no earlier than this one
            low, high, mapping = max(low, found[0]), found[1], found[2]
        trial = (low + high) // 2
    return low, mapping


def best_series(
    problem: Problem, *, objective: str = "latency", progress: Progress = SILENT
) -> Plan | Infeasible:
    """Return the best plan of sets in series.

    Raises
    ------
    TooManyStatesError : too many tensors are needed later at some place
    CancelledError : the user asked to stop
    """
    if objective == "throughput":
        refused = refused_by_all(problem)
        return _pipeline(problem, progress) if refused is None else refused
    found = best_mapping(problem, progress=progress)
    if isinstance(found, Infeasible):
        return found
    bound, mapping = found
    return plan_of(problem, mapping, searcher="exact-sets", lower_bound_ps=bound, bound=PROOF)


def best_mapping(
    problem: Problem, *, progress: Progress = SILENT
) -> tuple[int, SetMapping] | Infeasible:
    """Return a lower bound (ps) and the best mapping onto sets in series that fits.

    Raises
    ------
    TooManyStatesError : too many tensors are needed later at some place
    CancelledError : the user asked to stop
    """
    refused = refused_by_all(problem)
    if refused is not None:
        return refused
    found = _solve(problem, progress)
    if found is None:
        return _too_few(problem)
    bound, mapping = found
    if not fits(problem, mapping):
        fitting = _within_memory(problem, bound, progress)
        if isinstance(fitting, Infeasible):
            return fitting
        mapping = fitting
    return bound, mapping


def _solve(
    problem: Problem, progress: Progress, period_ps: int | None = None, passes: int = _PASSES
) -> tuple[int, SetMapping] | None:
    """Return a bound and the best mapping found: the bound's own, wherever that takes no longer."""
    networks = range(len(problem.tables.workload.references))
    relaxed = series_optimum(problem, behind="relaxed", period_ps=period_ps, progress=progress)
    if relaxed is None:
        return None
    bound, mapping = relaxed
    took = evaluate(problem, mapping).makespan_ps
    if period_ps is None and took > bound and passes > 1:
        try:
            exact = series_optimum(problem, passes=passes, most_states=_EXACT, progress=progress)
        except TooManyStatesError:
            exact = None
        if exact is not None:
            known = evaluate(problem, exact[1]).makespan_ps
            bound, mapping, took = max(bound, exact[0]), *min(
                ((mapping, took), (exact[1], known)), key=lambda one: one[1])  # fmt: skip
    if period_ps is None and took > bound:
        other = combine_networks(problem, [
            chain_optimum(problem, n, behind="never", progress=progress) for n in networks
        ])  # fmt: skip
        if other is not None and evaluate(problem, other[1]).makespan_ps < took:
            mapping = other[1]
    return bound, mapping


def _within_memory(problem: Problem, bound_ps: int, progress: Progress) -> SetMapping | Infeasible:
    """Search on where the fastest mapping does not fit, and keep the fastest that does.

    A price on resident bytes, from each mapping a local search, then the two-level search.
    """
    from ..genetic import TwoLevelSearch, local_search, two_level  # these search sets themselves

    evaluator, total = Evaluator(problem), sum(problem.tables.workload.weight_bytes) or 1
    price, cheap, dear = bound_ps / total, 0.0, 0.0
    ends: dict[SetMapping, None] = {}
    for _ in range(_PRICES):
        found = _solve(_priced(problem, price), progress, passes=1)
        if found is None:
            break
        ends[local_search(evaluator, found[1])] = None
        if evaluate(problem, found[1]).overfull:
            cheap = price
        else:
            dear = price
        price = 8 * price if not dear else (cheap + dear) / 2
    outcome = two_level(problem, TwoLevelSearch(), bound_ps=bound_ps, progress=progress)
    if not isinstance(outcome, Infeasible):
        ends[outcome.mapping] = None
    fitting = [(times.makespan_ps, n, mapping) for n, mapping in enumerate(ends)
               if fits(problem, mapping, times := evaluate(problem, mapping))]  # fmt: skip
    if fitting:
        return min(fitting)[2]
    return outcome if isinstance(outcome, Infeasible) else _too_few(problem)


def _priced(problem: Problem, ps_per_byte: float) -> Problem:
    steps = []
    for tables, choices in zip(problem.step_ps, problem.choices):
        dearer = []
        for one, table in zip(problem.classes, tables):
            extra = [int(ps_per_byte * c.resident_bytes) for c in choices[one.parties]]
            dearer.append(np.minimum(table + np.array(extra, np.int64), NEVER))
        steps.append(tuple(dearer))
    return replace(problem, step_ps=tuple(steps), _moves=problem._moves)


def _pipeline(problem: Problem, progress: Progress) -> Plan | Infeasible:
    """Search the least period by halving; every period is decided exactly."""
    whole = _solve(problem, progress)
    if whole is None:
        return _too_few(problem)
    high, best = whole[0], whole[1]
    low = max(min(int(table.min()) for table in tables) for tables in problem.step_ps)
    while high - low > _FINENESS * high:
        middle = (low + high) // 2
        found = _solve(problem, progress, middle)
        if found is None:
            low = middle
        else:
            high, best = period_ps(problem, found[1]), found[1]
            low = min(low, high)
    plan = plan_of(problem, best, searcher="exact-sets", objective="throughput")
    plan = replace(plan, lower_bound_period_s=low / PS_PER_S, bound=_PERIOD_PROOF)
    every = period_ps(problem, best) / PS_PER_S
    note = (
        f"When inputs follow each other, one can start every {every:.6g} s; no plan of these sets "
        f"in series lets them follow in less than {low / PS_PER_S:.6g} s."
    )
    return replace(plan, notes=(*plan.notes, note))


def period_ps(problem: Problem, mapping: SetMapping) -> int:
    """Return after how long the next input can follow: what the busiest set takes for one."""
    times = evaluate(problem, mapping)
    if times.makespan_ps >= NEVER:
        return NEVER
    return max(
        sum(times.fetch_ps[placed.first : placed.last])
        + sum(times.step_ps[placed.first : placed.last])
        for placed in mapping.sets
    )


def refused_by_all(problem: Problem) -> Infeasible | None:
    """Say that there are no sets, or which unit no set can do; None where all is well."""
    if not problem.classes:
        return Infeasible(
            what=f"sets of a size that is allowed among {len(problem.tables.of_device)} devices",
            need=1.0, have=0.0, unit="sets",
            remedies=("allow smaller sets (--set-sizes)", "add devices of one kind"),
        )  # fmt: skip
    w = problem.tables.workload
    for unit, tables in zip(problem.units, problem.step_ps):
        if all((table >= NEVER).all() for table in tables):
            names = ", ".join(w.names[region] for region in unit.regions)
            return Infeasible(
                what=f"no set of devices, whatever its design, does {names}", need=1.0, have=0.0,
                unit="sets",
                remedies=("add a design or a device that runs these operators",
                          "list them under the device's operators if its own units can do them"),
            )  # fmt: skip
    return _never_held(problem)


def _never_held(problem: Problem) -> Infeasible | None:
    """Say which constants no set can hold however they are split; None where that is not proved."""
    w, have = problem.tables.workload, problem.capacity_bytes
    remedies = ("use devices with more memory", "allow larger sets (--set-sizes)",
                "split more loops at once (--loops 3)",
                "reduce the context or the element size")  # fmt: skip
    for unit, choices, tables in zip(problem.units, problem.choices, problem.step_ps):
        least = [
            (choice.resident_bytes - most, choice.resident_bytes, most)
            for one, table in zip(problem.classes, tables)
            for most in [max(have[d] for g, n in zip(problem.groups, one.counts) if n for d in g)]
            for c, choice in enumerate(choices[one.parties]) if (table[:, c] < NEVER).any()
        ]  # fmt: skip
        if least and min(least)[0] > 0:
            names = ", ".join(w.names[region] for region in unit.regions)
            return Infeasible(
                what=f"constants and states of {names} on one device, split as far as sets allow",
                need=float(min(least)[1]), have=float(min(least)[2]), unit="bytes",
                remedies=remedies,
            )  # fmt: skip
    if sum(w.weight_bytes) > sum(have):
        return Infeasible(
            what="constants of all layers in the memories of all devices together",
            need=float(sum(w.weight_bytes)), have=float(sum(have)), unit="bytes",
            remedies=("add devices, or use some with more memory", "reduce the element size"),
        )  # fmt: skip
    return None


def _too_few(problem: Problem) -> Infeasible:
    networks = len(problem.tables.workload.references)
    devices = len(problem.tables.of_device)
    return Infeasible(
        what="sets in series that do every layer: one design per set, one set at least per "
        "network, and ways between them", need=float(networks), have=float(devices),
        unit="devices", remedies=("add devices or links", "allow other sizes of sets",
                                  "map fewer networks at once"),
    )  # fmt: skip
