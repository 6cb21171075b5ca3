"""Least energy and ceilings against trying every mapping."""

from __future__ import annotations

import math

import pytest

from orrery.cost import price
from orrery.mapping import balanced, single_device
from orrery.mapping._tables import fill_tables, number_workload
from orrery.mapping.sets import fill_problem
from orrery.mapping.sets._routes import NEVER
from orrery.mapping.trade import (
    Ceilings,
    Joules,
    Trader,
    fill_joules,
    layers_bound_j,
    sets_bound_j,
)
from orrery.plan import Plan

from .energy_cases import METERED, powered
from .random_graphs import random_system, residual_graph
from .sets_cases import Everything


class Tally(Everything):
    """Seconds, joules of all mappings; energies are added up step by step, as times are."""

    def __init__(self, joules: Joules) -> None:
        super().__init__(joules.problem)
        self.j = joules
        self.all: list[tuple[float, float]] = []

    def _go(self, number, placed, taken, lies, now, ends) -> None:
        self._walk(number, placed, taken, frozenset(), lies, now, ends, 0.0)

    def _walk(self, number, placed, taken, used, lies, now, ends, spent) -> None:
        if now >= NEVER:
            return
        if number == len(self.p.units):
            seconds = max(now, ends) / 1e12
            idle = sum(self.j.idle_w[d] for d in used)
            self.all.append((seconds, spent + idle * seconds))
            return
        options = [] if placed is None else [(placed, taken)]
        for set_class, devices in self.sets if placed is None or self.p.cuts[number] else ():
            if not taken & set(devices):
                for design in range(len(self.p.designs[set_class])):
                    options.append((self.begin(set_class, design, devices), taken | set(devices)))
        unit = self.p.units[number]
        for one, gone in options:
            k = one.set_class
            for c, choice in enumerate(self.p.choices[number][len(one.devices)]):
                after, clock, joules = dict(lies), now, spent
                for (tensor, _), need in zip(unit.uses, choice.needs, strict=True):
                    joules += self._paid(after, tensor, one, need)
                    clock += self._fetch(after, tensor, one, need)
                clock += int(self.p.step_ps[number][k][one.design, c])
                joules += float(self.j.step_j[number][k][one.design, c])
                end = ends
                for (tensor, _), layout in zip(unit.outputs, choice.outputs, strict=True):
                    after[tensor] = (one, layout)
                    if tensor in self.p.tables.workload.results:
                        end = max(end, clock + int(self.p.finish_ps(tensor, k)[layout]))
                alone = choice.strategies[0] is None
                works = used | set(one.devices[:1] if alone else one.devices)
                self._walk(number + 1, one, gone, works, after, clock, end, joules)

    def _paid(self, lies, tensor, one, need) -> float:
        if tensor not in lies:
            return float(self.j.start_j(tensor, one.set_class)[need])
        there, layout = lies[tensor]
        if there.devices == one.devices:
            moved, joules = self.p.move_ps(tensor, one.set_class), self.j.move_j
            table = joules(tensor, one.set_class)
        else:
            moved = self.p.hand_ps(tensor, there.set_class, one.set_class)
            table = self.j.hand_j(tensor, there.set_class, one.set_class)
        return 0.0 if moved[layout, need] < 0 else float(table[layout, need])


def _case(seed: int) -> Joules:
    graph = residual_graph(seed, most=3)
    system = powered(random_system(seed), seed)
    tables = fill_tables(number_workload([graph]), system, METERED)
    problem = fill_problem(tables, METERED, tables.capacity_bytes, dimensions=1, shared=False)
    return fill_joules(problem, METERED)


@pytest.mark.parametrize("seed", range(14))
def test_least_energy_and_ceilings_are_bounded_and_reached(seed: int) -> None:
    joules = _case(seed)
    tally = Tally(joules)
    tally.run()
    if not tally.all:
        return
    trader = Trader(joules)
    early = len(joules.problem.tables.workload.results) > 1
    least = min(e for _, e in tally.all)
    found = trader.least("energy")
    assert found.best is not None
    assert found.bound <= least * (1 + 1e-6)
    assert found.best.energy_j >= least * (1 - 1e-9)
    if not early:
        assert found.best.energy_j <= least * (1 + 1e-5)
        assert found.bound >= least * (1 - 1e-5)
    fastest, dear = min(tally.all)
    for share in (0.1, 0.4, 0.8, 1.0):
        ceiling = least + share * (dear - least)
        best = min(s for s, e in tally.all if e <= ceiling * (1 + 1e-12))
        under = trader.least("latency", Ceilings(energy_j=ceiling * (1 + 1e-9)))
        assert under.bound <= best * (1 + 1e-6)
        if under.best is not None:
            assert under.best.energy_j <= ceiling * (1 + 1e-8)
            assert under.best.seconds >= best * (1 - 1e-9)
        quick = fastest + share * (max(s for s, _ in tally.all) - fastest) / 4
        cheap = min(e for s, e in tally.all if s <= quick * (1 + 1e-12))
        slow = trader.least("energy", Ceilings(latency_s=quick * (1 + 1e-9)))
        assert slow.bound <= cheap * (1 + 1e-6)
        if slow.best is not None:
            assert slow.best.energy_j >= cheap * (1 - 1e-9)
    if not early:
        assert math.isinf(trader.least("latency", Ceilings(energy_j=least * 0.99)).bound)


@pytest.mark.parametrize("seed", range(5))
def test_bounds_of_layers_undercut_every_mapping(seed: int) -> None:
    joules = _case(seed)
    tally = Tally(joules)
    tally.run()
    least = min((e for _, e in tally.all), default=math.inf)
    assert sets_bound_j(joules) <= least * (1 + 1e-9)
    tables = joules.problem.tables
    whole = layers_bound_j(tables, METERED)
    for plan in (single_device(tables), balanced(tables)):
        if isinstance(plan, Plan):
            graph = tables.workload.regions[0].graph
            cost = price(plan, [graph], tables.system, METERED)
            assert cost.total.energy_j is not None
            assert whole <= cost.total.energy_j * (1 + 1e-9)
