"""Exact plans against exhaustive search, the checkers of whole plans, and replay."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.cost import CostModel, check_flow, price
from orrery.errors import MissingExtraError, SpecError
from orrery.graph import Graph
from orrery.hardware import System
from orrery.mapping import Certified, DagSearch, exact_dag, greedy
from orrery.mapping._dag_model import interchangeable
from orrery.mapping._tables import Tables, fill_tables, number_workload
from orrery.plan import Infeasible, Plan
from orrery.progress import Progress, Step
from orrery.sim import replay

from .brute import durations, fastest
from .cases import Rate, chain, check_valid, dags, device, full_system, graph, link, systems
from .random_graphs import MODELS, random_system, residual_graph

pytestmark = pytest.mark.needs("ortools")
RATE: Mapping[str, CostModel] = {"": Rate()}
CLOSE = 1 + 1e-9


def tables_of(*graphs: Graph, on: System, models: Mapping[str, CostModel] = RATE) -> Tables:
    return fill_tables(number_workload(graphs), on, models)


def exact(*graphs: Graph, on: System, models: Mapping[str, CostModel] = RATE,
          **changes: object) -> Certified:  # fmt: skip
    found = exact_dag(tables_of(*graphs, on=on, models=models), DagSearch(**changes))  # type: ignore[arg-type]
    assert isinstance(found, Certified), found
    return found


def replayed_s(plan: Plan, g: Graph, system: System, models: Mapping[str, CostModel]) -> float:
    seconds = durations(g, system, models)
    return replay(plan, system, lambda a: seconds[a.nodes[0], a.device, a.design or ""]).makespan_s


def judged(g: Graph, system: System, models: Mapping[str, CostModel], **changes: object) -> (
    Certified
):  # fmt: skip
    tables = tables_of(g, on=system, models=models)
    found = exact_dag(tables, DagSearch(**changes),  # type: ignore[arg-type]
                      judge=lambda plan: replayed_s(plan, g, system, models))  # fmt: skip
    assert isinstance(found, Certified), found
    return found


@pytest.mark.parametrize("first", range(0, 32, 8))
def test_no_replay_of_any_plan_is_below_the_bound_and_most_are_proved(first: int) -> None:
    """Judge: the replay of every plan of whole layers, whose clock is the only one that counts."""
    proved = 0
    for seed in range(first, first + 8):
        g, system = residual_graph(seed, most=4), random_system(seed)
        found = judged(g, system, MODELS)
        best = fastest(g, system, MODELS)
        assert found.lower_bound_s <= best <= found.makespan_s * CLOSE, seed
        assert found.makespan_s <= best * 1.01, seed  # good orders, though of another clock
        if found.status == "optimal":
            assert found.makespan_s == pytest.approx(best, rel=1e-4), seed
            proved += 1
        check_flow(found.plan, [g], system)
        assert price(found.plan, [g], system, MODELS).feasible
    assert proved >= 5


@settings(max_examples=15)
@given(dags(most=4), systems())
def test_bounds_hold_where_work_and_sizes_may_be_zero(g: Graph, s: System) -> None:
    s = replace(s, devices=s.devices[:3]) if s.name in ("full", "star") else s
    if len(s.devices) > 3:
        return
    found = judged(g, s, RATE)
    best = fastest(g, s, RATE)
    assert found.lower_bound_s <= best <= found.makespan_s * CLOSE + 1e-12
    check_valid(found.plan, [g], s)


def test_two_transfers_that_share_a_link_are_not_held_to_its_order() -> None:
    """One after the other they end after 7 s; beside each other after less than 6.5."""
    g = graph([("near", ["a"], 3, 1), ("far", ["b"], 1, 1)], inputs={"a": 8, "b": 4},
              outputs=["near", "far"], ops={"near": "Conv"})  # fmt: skip
    s = System(
        name="line", host="host",
        devices=(device("n", operators=("Conv",)), device("f", operators=("Relu",))),
        links=(link("h-n", "host", "n", bandwidth=4.0), link("n-f", "n", "f", bandwidth=1.0)),
    )  # fmt: skip
    found = judged(g, s, RATE)
    assert found.lower_bound_s <= fastest(g, s, RATE) <= found.makespan_s * CLOSE
    assert 5.0 < found.lower_bound_s <= found.makespan_s < 6.5


def test_windows_hold_where_many_share_a_link() -> None:
    """Transfers that begin and are due at different times, all through one link."""
    names = [f"n{i}" for i in range(4)]
    g = graph([(n, [f"x{i}"], float(1 + i % 3), 3 + i) for i, n in enumerate(names)],
              inputs={f"x{i}": 2 + 3 * i for i in range(4)}, outputs=names)  # fmt: skip
    s = full_system([device("a"), device("b", 2.0)], bandwidth=4.0, latency=0.5)
    found = judged(g, s, RATE)
    assert found.lower_bound_s <= fastest(g, s, RATE) <= found.makespan_s * CLOSE


def test_weights_that_fit_on_no_single_device() -> None:
    """Judge: all placements whose weights fit; nothing else lies in memory."""
    for seed in range(6):
        nodes = [(f"n{i}", ["x" if i == 0 else f"n{i - 1 - (seed >> i & 1 and i > 1)}", f"w{i}"],
                  float(1 + (7 * i + seed) % 5), 0) for i in range(5)]  # fmt: skip
        read = {name for _, inputs, _, _ in nodes for name in inputs}
        g = graph(nodes, inputs={"x": 0}, outputs=[n for n, *_ in nodes if n not in read],
                  weights={f"w{i}": 2 + (3 * i + seed) % 4 for i in range(5)})  # fmt: skip
        sizes = [8, 9, 7]
        s = full_system(
            [device(f"d{i}", 1.0 + i, size_bytes=size) for i, size in enumerate(sizes)],
            latency=1.5,
        )
        found = judged(g, s, RATE)
        if seed < 2:
            best = fastest(g, s, RATE, fits={f"d{i}": size for i, size in enumerate(sizes)})
            assert found.lower_bound_s <= best == pytest.approx(found.makespan_s, rel=1e-8)
        assert all(found.plan.resident_bytes.get(f"d{i}", 0) <= sizes[i] for i in range(3))


def test_activations_count_against_memory() -> None:
    """Two branches of 60 bytes each do not fit beside each other in 100; in a row they do."""
    g = graph(
        [("a", ["x"], 4, 60), ("b", ["a"], 4, 1), ("c", ["x"], 4, 60), ("d", ["c"], 4, 1),
         ("e", ["b", "d"], 1, 1)],
        inputs={"x": 1}, outputs=["e"],
    )  # fmt: skip
    s = full_system([device("p", size_bytes=100), device("q", size_bytes=20)], bandwidth=1000.0)
    found = exact(g, on=s)
    assert price(found.plan, [g], s, RATE).feasible
    assert found.status == "optimal"
    for size in (60, 61):  # of a itself with its input; then x must outlive a, for c
        tight = full_system([device("p", size_bytes=size), device("q", size_bytes=20)],
                            bandwidth=1000.0)  # fmt: skip
        refused = exact_dag(tables_of(g, on=tight))
        assert isinstance(refused, Infeasible)
        assert "(proved" in refused.what


@settings(max_examples=15)
@given(dags(most=4), st.integers(12, 40), systems())
def test_tight_memory_never_yields_a_plan_below_the_bound(g: Graph, size: int, s: System) -> None:
    tight = replace(
        s, devices=tuple(replace(d, memories=(replace(d.offchip, size_bytes=size),))
                         for d in s.devices)
    )  # fmt: skip
    found = exact_dag(tables_of(g, on=tight))
    wide = exact(g, on=s)
    baseline = greedy([g], tight, RATE)
    if isinstance(found, Infeasible):
        assert isinstance(baseline, Infeasible)
        return
    assert found.makespan_s >= wide.lower_bound_s * (1 - 1e-9)
    # Coarser units of time are rounded down further.
    assert found.lower_bound_s >= wide.lower_bound_s * (1 - 1e-4)
    if isinstance(baseline, Plan):
        assert baseline.predicted_latency_s is not None
        assert found.lower_bound_s - 1e-12 <= found.makespan_s <= baseline.predicted_latency_s
    check_flow(found.plan, [g], tight)


def test_states_start_where_they_are_needed_and_next_values_return() -> None:
    step = graph(
        [("k", ["x"], 5, 4), ("other", ["x"], 9, 4), ("next", ["past", "k"], 2, 40),
         ("y", ["next", "other"], 1, 4)],
        inputs={"x": 4, "past": 36}, outputs=["y", "next"], states={"past": "next"},
    )  # fmt: skip
    s = full_system([device("a"), device("b", 2.0)], bandwidth=8.0)
    found = exact(step, on=s)
    check_flow(found.plan, [step], s)
    baseline = greedy([step], s, RATE)
    assert isinstance(baseline, Plan)
    assert baseline.predicted_latency_s is not None
    assert found.makespan_s <= baseline.predicted_latency_s


def test_several_networks_are_mapped_together() -> None:
    first, second = chain([4, 4, 4], [1] * 4), chain([3, 3], [1] * 3)
    s = full_system([device("a"), device("b")], bandwidth=1000.0)
    found = exact(first, second, on=s)
    check_valid(found.plan, [first, second], s)
    assert found.makespan_s == pytest.approx(12.002, abs=1e-3)


def test_interchangeable_devices_are_found_and_kept_apart_by_their_links() -> None:
    devices = [device(name) for name in "abcd"]
    ring = System(
        name="ring", devices=tuple(devices), host="",
        links=tuple(link(x + y, x, y) for x, y in itertools.pairwise("abcda")),
    )  # fmt: skip
    g = chain([1], [1, 1])
    assert interchangeable(tables_of(g, on=full_system(devices)), [1] * 4) == [[0, 1, 2, 3]]
    assert interchangeable(tables_of(g, on=full_system(devices)), [1, 2, 1, 2]) == [[0, 2], [1, 3]]
    # Routes round a ring go either way; whatever is claimed must hold for every pair of routes.
    for members in interchangeable(tables_of(g, on=ring), [1] * 4):
        assert len(members) == 2
    star = System(name="star", devices=tuple(devices), host="a",
                  links=tuple(link("a" + y, "a", y) for y in "bcd"))  # fmt: skip
    assert interchangeable(tables_of(g, on=star), [1] * 4) == [[1, 2, 3]]


def _large() -> tuple[Graph, System]:
    return residual_graph(7, least=30, most=30), random_system(7, least=3)


def test_an_interrupted_search_gives_its_best_plan() -> None:
    g, system = _large()
    stop: list[Step] = []

    def report(step: Step) -> None:
        if step.task == "exact mapping":
            stop.append(step)

    found = exact_dag(
        tables_of(g, on=system, models=MODELS), DagSearch(work=1e6),
        progress=Progress(report=report, cancelled=lambda: bool(stop)),
    )  # fmt: skip
    assert isinstance(found, Certified)
    assert found.status == "interrupted"
    assert 0.0 <= found.gap < 1.0
    check_flow(found.plan, [g], system)
    assert found.plan.lower_bound_s == found.lower_bound_s


def test_a_limit_repeats_and_tells_its_gap() -> None:
    g, system = _large()
    one, two = (exact(g, on=system, models=MODELS, work=0.01, seed=7) for _ in range(2))
    assert one == two
    assert one.plan.seed == 7
    assert one.status == "feasible"
    assert one.lower_bound_s <= one.makespan_s
    baseline = greedy([g], system, MODELS)
    assert isinstance(baseline, Plan)
    assert baseline.predicted_latency_s is not None
    assert one.makespan_s <= baseline.predicted_latency_s


def test_the_judge_decides_among_solutions() -> None:
    g, system = residual_graph(6), random_system(6, least=3)
    asked: list[Plan] = []

    def judge(plan: Plan) -> float:
        asked.append(plan)
        return 1e6 - len(asked)  # the last one asked about

    found = exact_dag(tables_of(g, on=system, models=MODELS), judge=judge)
    assert isinstance(found, Certified)
    assert found.plan == replace(asked[-1], predicted_latency_s=found.makespan_s)
    assert found.lower_bound_s <= found.makespan_s


def test_without_the_solver_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'orrery\[solve\]'"):
        exact_dag(tables_of(chain([1], [1, 1]), on=full_system([device("a")])))


@pytest.mark.parametrize(
    ("name", "value"),
    [("work", 0.0), ("limit_s", -1.0), ("workers", 0), ("memory_share", 0.0), ("seed", -1)],
)
def test_settings_are_checked(name: str, value: float) -> None:
    with pytest.raises(SpecError, match=f"exact mapper: {name}"):
        DagSearch(**{name: value})  # type: ignore[arg-type]


def test_what_nobody_runs_is_an_infeasible_with_reasons() -> None:
    g = chain([1, 1], [1, 1, 1])
    s = full_system([device("a", operators=("Conv",))])
    found = exact_dag(tables_of(g, on=s))
    assert isinstance(found, Infeasible)
    assert "Relu" in found.what
