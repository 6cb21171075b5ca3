"""Plans for every number of devices against trying all; fronts and ceilings by definition."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.cost import price
from orrery.errors import CancelledError
from orrery.mapping.sets._routes import NEVER
from orrery.mapping.trade import Budget, conflict, front_plans, non_dominated
from orrery.mapping.trade._afford import affordable, among
from orrery.progress import Progress, Step

from .random_graphs import MODELS, random_system, residual_graph
from .sets_cases import Everything, problem_of


class AtMost(Everything):
    """Everything on so many devices at most."""

    def __init__(self, problem, most: int) -> None:
        super().__init__(problem)
        self.most = most

    def _go(self, number, placed, taken, lies, now, ends) -> None:
        if len(taken) <= self.most:
            super()._go(number, placed, taken, lies, now, ends)


@pytest.mark.parametrize("seed", range(12))
def test_devices_within_a_budget_are_all_largest_ones_and_a_problem_of_their_own(seed: int) -> None:
    graph, system = residual_graph(seed, most=3), random_system(seed, least=2)
    problem = problem_of([graph], system, dimensions=1, shared=False)
    devices = range(len(system.devices))
    cost = [float(1 + (seed * (d + 3)) % 4) for d in devices]
    limit = float(max(cost) + seed % 3)
    budget = Budget(allowed=lambda some: sum(cost[d] for d in some) <= limit, cost=cost)
    found = affordable(problem, budget)
    most = max(len(s) for n in devices for s in combinations(devices, n + 1) if budget.allowed(s))
    assert found and all(budget.allowed(some) for some in found)
    assert len(found) == 6 or max(map(len, found)) == most
    for some in found:
        for plan in front_plans(among(problem, some), MODELS):
            used = {device for a in plan.assignments for device in a.devices}
            assert used <= {system.devices[d].name for d in some}
            took = price(plan, [graph], system, MODELS).total.latency_s
            if plan.searcher == "front: latency" and plan.lower_bound_s is not None:
                assert plan.lower_bound_s <= took * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(24))
def test_latency_per_number_of_devices_is_proved_and_reached(seed: int) -> None:
    graph, system = residual_graph(seed, most=4), random_system(seed, least=2)
    problem = problem_of([graph], system, dimensions=1, shared=False)
    plans = list(front_plans(problem, MODELS))
    best = {n: AtMost(problem, n).run() for n in range(1, len(system.devices) + 1)}
    early = len(problem.tables.workload.results) > 1
    for plan in plans:
        cost = price(plan, [graph], system, MODELS)
        took = round(cost.total.latency_s * 1e12)
        used = len({device for a in plan.assignments for device in a.devices})
        assert not cost.infeasible
        assert took >= best[used]
        if plan.lower_bound_s is not None:
            most = int(plan.bound.split("at most ")[1].split()[0])
            assert used <= most
            bound = round(plan.lower_bound_s * 1e12)
            assert bound <= best[most] or early
    fastest = {n: min((p.predicted_latency_s for p in plans if p.predicted_latency_s is not None
                       and len({d for a in p.assignments for d in a.devices}) <= n), default=None)
               for n in best}  # fmt: skip
    for n, value in best.items():
        if value < NEVER and not early:
            reached = fastest[n]
            assert reached is not None
            # what stays behind on earlier sets may be relaxed; then the bound is below
            assert round(reached * 1e12) >= value


def test_a_stopped_search_has_yielded_what_it_found() -> None:
    problem = problem_of([residual_graph(5, least=4)], random_system(5, least=2))
    seen: list[Step] = []
    stop = Progress(report=seen.append, cancelled=lambda: len(seen) > len(problem.units) + 1)
    found = []
    with pytest.raises(CancelledError):
        for plan in front_plans(problem, MODELS, progress=stop):
            found.append(plan)
    assert found


_ROWS = st.lists(
    st.tuples(*[st.one_of(st.integers(0, 3), st.none())] * 2, st.integers(0, 3)), max_size=8
)


@given(_ROWS)
def test_the_front_is_what_nothing_beats(rows: list[tuple[int | None, ...]]) -> None:
    known = [c for c in range(3) if all(row[c] is not None for row in rows)]
    plain = [tuple(row[c] or 0 for c in known) for row in rows]
    expected = []
    for i, row in enumerate(plain):
        beaten = any(
            all(a <= b for a, b in zip(other, row, strict=True)) and other != row for other in plain
        )
        expected.append(not beaten and row not in plain[:i])
    assert non_dominated(rows) == expected


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), max_size=6))
def test_a_conflict_is_the_fewest_that_nobody_keeps_together(met: list[list[bool]]) -> None:
    found = conflict(met)
    if any(all(row) for row in met) or not met:
        assert found == ()
        return
    assert found and not any(all(row[n] for n in found) for row in met)
    for some in combinations(range(3), len(found) - 1):
        assert any(all(row[n] for n in some) for row in met)
