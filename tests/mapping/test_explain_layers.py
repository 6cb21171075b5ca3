"""The next best place of a whole layer, against every changed mapping scheduled anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orrery.errors import SpecError
from orrery.mapping import explain_layers, greedy
from orrery.mapping._build import build_plan
from orrery.mapping._memory import Shortage
from orrery.mapping._schedule import Scheduler, Trial
from orrery.mapping._tables import fill_tables, number_workload
from orrery.plan import Infeasible

from .random_graphs import MODELS, random_system, residual_graph


def _case(seed: int):
    graph, system = residual_graph(seed, least=3), random_system(seed, least=2)
    plan = greedy([graph], system, MODELS)
    return fill_tables(number_workload([graph]), system, MODELS), plan


@pytest.mark.parametrize("seed", range(12))
def test_nothing_else_is_cheaper_than_the_next_best(seed: int) -> None:
    tables, plan = _case(seed)
    if isinstance(plan, Infeasible):
        return
    found = explain_layers(tables, plan)
    w, scheduler = tables.workload, Scheduler(tables, tables.capacity_bytes)
    order = [w.names.index(a.region) for a in plan.assignments]
    design = {a.device: a.design for a in plan.assignments if a.design is not None}
    home = {a.region: a.device for a in plan.assignments}
    assert [reason.region for reason in found.reasons] == [a.region for a in plan.assignments]
    for reason in found.reasons:
        best = float("inf")
        for number, row in enumerate(tables.configurations):
            name = tables.ends[row.device]
            mine = {r for r, d in home.items() if d == name} - {reason.region}
            if mine and row.design != design.get(name):
                continue  # others there keep their design
            same = home[reason.region] == name and row.design == design.get(name)
            if same or tables.seconds[number, w.names.index(reason.region)] == float("inf"):
                continue
            moved = {**home, reason.region: name}
            rows = [next(c for c in mine_ if tables.configurations[c].design ==
                         design.get(tables.ends[d])) for d, mine_ in
                    enumerate(tables.of_device)]  # fmt: skip
            rows[row.device] = number
            trial = Trial(configuration=tuple(rows), order=order,
                          mapping=[tables.ends.index(moved[r]) for r in w.names])  # fmt: skip
            try:
                best = min(best, scheduler.schedule(trial).makespan_s)
            except Shortage:
                continue
        assert reason.makespan_s == best, reason.region
        assert (reason.device is None) == (best == float("inf"))


def test_the_plan_itself_takes_what_its_schedule_says() -> None:
    tables, _ = _case(3)
    scheduler = Scheduler(tables, tables.capacity_bytes)
    regions = range(len(tables.workload.regions))
    trial = Trial(configuration=tuple(rows[0] for rows in tables.of_device), order=regions)
    schedule = scheduler.schedule(trial)
    plan = build_plan(schedule, tables, searcher="test", settings={})
    found = explain_layers(tables, plan)
    assert found.makespan_s <= schedule.makespan_s * (1 + 1e-9)


def test_a_plan_of_something_else_is_refused() -> None:
    tables, plan = _case(3)
    with pytest.raises(SpecError, match="whole regions of these networks"):
        explain_layers(tables, replace(plan, assignments=plan.assignments[1:]))
    far = tuple(replace(a, device="elsewhere") for a in plan.assignments)
    with pytest.raises(SpecError, match="devices of this system"):
        explain_layers(tables, replace(plan, assignments=far))
