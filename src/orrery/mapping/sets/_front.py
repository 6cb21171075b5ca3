"""Plans that trade latency, throughput, energy and devices against each other.

Models:  the fastest mapping for every number of devices, whose value is a bound for that number;
         for a ladder of periods, mappings in which no set works longer on one input; where energies
         are known, for a ladder of prices of a joule, the mapping that makes time plus price times
         energy of computing least.
Ignores: in the search for little energy, that of messages and idle power (the price of a plan
         counts both); whatever lies between the rungs of a ladder. So latency per number of devices
         is proved best of its form, the rest is not.
Judge:   brute force over sets of each size; `orrery.cost.price` of every plan (tests).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from orrery.cost import CostModel, Refusal, Strategy, shard, shard_region, signature
from orrery.graph import Region
from orrery.hardware import Device
from orrery.plan import Plan
from orrery.progress import SILENT, Progress

from ._exact import ChainOptimum, TooManyStatesError, chain_optimum
from ._mapping import SetMapping, evaluate, feasible, plan_of
from ._problem import Problem
from ._routes import NEVER
from ._series import combine_networks, refused_by_all

__all__ = ["choice_energies_j", "conflict", "front_plans", "non_dominated"]

#: Rungs of the ladders: periods, and prices of a joule (in whole makespans per whole energy).
_PERIODS = 5
_PRICES = (0.3, 1.0, 3.0, 30.0)

_PROOF = "no plan of these sets in series, units in this order, on at most {} devices is faster"


def front_plans(
    problem: Problem, models: Mapping[str, CostModel], *, progress: Progress = SILENT
) -> Iterator[Plan]:
    """Yield plans that may be on the front, different ones only; it ends early when stopped.

    Raises
    ------
    CancelledError : the user asked to stop; plans until then have been yielded
    """
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
        energies = choice_energies_j(problem, models, progress=progress)
        if energies is None:
            return
        least = sum(min(float(t.min()) for t in tables) for tables in energies)
        if least <= 0:
            return
        for price in _PRICES:
            dearer = _priced(problem, energies, price * whole / least)
            for _, _, mapping in _by_devices(dearer, progress):
                if fresh(mapping):
                    yield plan_of(problem, mapping, searcher="front: energy", objective="energy")
    except TooManyStatesError:
        return


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


def _priced(problem: Problem, energies: Sequence[Sequence[np.ndarray]], ps_per_j: float) -> Problem:
    """Return a problem in which every joule of computing takes time as well."""
    steps = tuple(
        tuple(
            np.minimum(table + np.where(np.isfinite(joules), joules * ps_per_j, 0).astype(np.int64),
                       NEVER)
            for table, joules in zip(tables, given)
        )
        for tables, given in zip(problem.step_ps, energies)
    )  # fmt: skip
    return replace(problem, step_ps=steps, _moves=problem._moves)


def choice_energies_j(
    problem: Problem, models: Mapping[str, CostModel], *, progress: Progress = SILENT
) -> list[list[np.ndarray]] | None:
    """Return per unit and class joules of computing, designs × choices; None where not known.

    A choice that a design refuses takes infinite energy.
    """
    meter = _Meter(problem, models)
    found: list[list[np.ndarray]] = []
    for number in range(len(problem.units)):
        progress.step("energy of choices", number, len(problem.units))
        per_class = []
        for k, one in enumerate(problem.classes):
            table = np.full(problem.step_ps[number][k].shape, np.inf)
            for d, design in enumerate(problem.designs[k]):
                for c, choice in enumerate(problem.choices[number][one.parties]):
                    if problem.step_ps[number][k][d, c] >= NEVER:
                        continue
                    joules = meter.choice_j(number, choice.strategies, one.devices, design)
                    if joules is None:
                        return None
                    table[d, c] = joules
            per_class.append(table)
        found.append(per_class)
    return found


class _Meter:
    """Energies of regions split some way, each asked for once."""

    def __init__(self, problem: Problem, models: Mapping[str, CostModel]) -> None:
        self.p, self.models = problem, models
        self.known: dict[object, float | None] = {}
        self.parts: dict[object, float | None] = {}

    def choice_j(
        self, unit: int, strategies: Sequence[Strategy | None], devices: Sequence[int],
        design: str | None,
    ) -> float | None:  # fmt: skip
        total = 0.0
        for region, strategy in zip(self.p.units[unit].regions, strategies):
            joules = self._region_j(region, strategy, devices, design)
            if joules is None:
                return None
            total += joules
        return total

    def _region_j(
        self, number: int, strategy: Strategy | None, devices: Sequence[int], design: str | None
    ) -> float | None:
        tables = self.p.tables
        if number in tables.unpriced:
            return 0.0
        region = tables.workload.regions[number]
        kind, device = tables.kind[devices[0]], tables.system.devices[devices[0]]
        key = (signature(region), strategy, len(devices), design, kind)
        if key not in self.known:
            used = design if self.p.pricer.by_design(region, design, device, kind) else ""
            model = self.models[used or ""]
            if strategy is None:
                self.known[key] = self._part_j(key[0], region, model, device, used, kind)
            else:
                self.known[key] = self._split_j(region, strategy, len(devices), model, device,
                                                used, kind)  # fmt: skip
        return self.known[key]

    def _split_j(
        self, region: Region, strategy: Strategy, parties: int, model: CostModel, device: Device,
        used: str | None, kind: int,
    ) -> float | None:  # fmt: skip
        sharding = shard(region, strategy, parties)
        if isinstance(sharding, Refusal):
            return None
        total = 0.0
        for turn, row in enumerate(sharding.shards):
            for party, part in enumerate(row):
                text = f"{signature(region)} {part.signature}"
                known = (text, used, kind)
                if known not in self.parts:
                    piece = shard_region(sharding, party, turn)
                    self._part_j(text, piece, model, device, used, kind)
                joules = self.parts[known]
                if joules is None:
                    return None
                total += joules
        return total

    def _part_j(
        self, text: str, region: Region, model: CostModel, device: Device, used: str | None,
        kind: int,
    ) -> float | None:  # fmt: skip
        key = (text, used, kind)
        if key not in self.parts:
            refused = model.refuses(region, device) is not None
            self.parts[key] = None if refused else model.cost(region, device).energy_j
        return self.parts[key]


def non_dominated(rows: Sequence[Sequence[float | None]]) -> list[bool]:
    """Return which rows no other row beats: nowhere larger and somewhere smaller.

    Columns with anything unknown are left out; of equal rows the first counts.
    """
    known = (
        [c for c in range(len(rows[0])) if all(row[c] is not None for row in rows)] if rows else []
    )
    table = np.array([[row[c] for c in known] for row in rows], np.float64)
    front = []
    for number, row in enumerate(table):
        no_worse = (table <= row).all(axis=1)
        better = no_worse & (table < row).any(axis=1)
        equal = no_worse & ~better
        front.append(not better.any() and not equal[:number].any())
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
