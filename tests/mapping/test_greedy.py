"""Greedy plans against exhaustive search, the definition of a valid plan, and replay."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.cost import check_flow
from orrery.errors import CancelledError, SpecError, UnknownNameError
from orrery.graph import Graph
from orrery.hardware import System
from orrery.mapping import GreedySearch, greedy
from orrery.plan import Infeasible, Plan, check_plan
from orrery.progress import Progress, Step
from orrery.sim import replay
from orrery.timeline import MOST_PS, PS_PER_S

from .cases import (
    Rate,
    best_single_s,
    chain,
    check_valid,
    dags,
    device,
    full_system,
    graph,
    link,
    optimum,
    systems,
)

MODELS = {"": Rate()}
TWO = full_system([device("a", 1.0), device("b", 2.0)])


def plan_for(*graphs: Graph, on: System = TWO, **settings_: object) -> Plan:
    plan = greedy(graphs, on, MODELS, GreedySearch(**settings_))  # type: ignore[arg-type]
    assert isinstance(plan, Plan), plan
    return plan


@settings(max_examples=40, deadline=None)
@given(dags(most=4), st.sampled_from([0.5, 4.0]), st.sampled_from([0.0, 0.25]))
def test_never_below_the_optimum_nor_above_one_device(
    g: Graph, bandwidth: float, latency: float
) -> None:
    """Judge: all mappings and orders of two devices, links free (so the true optimum or less)."""
    system = full_system([device("a", 1.0), device("b", 2.0)], bandwidth=bandwidth, latency=latency)
    plan = plan_for(g, on=system)
    check_valid(plan, [g], system)
    assert plan.predicted_latency_s is not None
    assert plan.predicted_latency_s >= optimum(g, system) - 1e-9
    # Several results of one device share its way to the host; alone each is a lower bound.
    if len(g.outputs) == 1:
        assert plan.predicted_latency_s <= best_single_s(g, system) + 1e-9


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_chains_are_mapped_optimally(data: st.DataObject) -> None:
    """Judge: all mappings of a chain; nothing contends for anything there."""
    works = data.draw(st.lists(st.integers(0, 9).map(float), min_size=1, max_size=4))
    sizes = data.draw(st.lists(st.integers(0, 9), min_size=len(works) + 1, max_size=len(works) + 1))
    rates = data.draw(st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=1, max_size=3))
    system = full_system(
        [device(f"d{i}", rate) for i, rate in enumerate(rates)],
        bandwidth=data.draw(st.sampled_from([0.5, 4.0, 50.0])),
    )
    g = chain(works, sizes)
    plan = plan_for(g, on=system)
    assert plan.predicted_latency_s == pytest.approx(optimum(g, system))
    assert check_valid(plan, [g], system).makespan_s == pytest.approx(optimum(g, system), abs=1e-9)


@settings(max_examples=80, deadline=None)
@given(dags(), systems())
def test_plans_are_valid_on_any_system(g: Graph, system: System) -> None:
    plan = plan_for(g, on=system)
    timeline = check_valid(plan, [g], system)
    check_plan(plan, [g], system)
    work = sum(float(node.attributes["work"]) for node in g.nodes)
    rate = sum(d.compute.macs_per_s["float32"] for d in system.devices)
    assert timeline.makespan_s >= work / rate - 1e-9
    assert plan == plan_for(g, on=system)  # the same again


@settings(max_examples=30, deadline=None)
@given(dags(most=5), dags(most=5), systems())
def test_several_networks_keep_apart(first: Graph, second: Graph, system: System) -> None:
    plan = plan_for(first, second, on=system)
    assert [m.prefix for m in plan.models] == ["net/", "net#2/"]
    check_valid(plan, [first, second], system)


def test_two_networks_run_side_by_side() -> None:
    system = full_system([device("a"), device("b")], bandwidth=1e6)
    plan = plan_for(chain([5.0], [1, 1]), chain([5.0], [1, 1]), on=system)
    assert len(set(plan.device_of().values())) == 2


def test_branches_run_side_by_side_when_that_pays() -> None:
    """Two branches of 10 on two equal devices: 1 + 10 + 1, and x, s and j travel 0.01 each."""
    diamond = graph(
        [("s", ["x"], 1, 1), ("l", ["s"], 10, 1), ("r", ["s"], 10, 1), ("j", ["l", "r"], 1, 1)],
        inputs={"x": 1}, outputs=["j"],
    )  # fmt: skip
    system = full_system([device("a"), device("b")], bandwidth=100.0)
    plan = plan_for(diamond, on=system)
    assert plan.predicted_latency_s == pytest.approx(12.03)
    assert plan.device_of()["l"] != plan.device_of()["r"]


def test_a_fan_out_is_one_transfer_with_several_targets() -> None:
    wide = graph(
        [("s", ["x"], 1, 1), *((f"b{i}", ["s"], 50, 1) for i in range(3))],
        inputs={"x": 1}, outputs=["b0", "b1", "b2"],
    )  # fmt: skip
    system = full_system([device(name) for name in "abc"], bandwidth=100.0)
    plan = plan_for(wide, on=system)
    (fan,) = [t for t in plan.transfers if t.tensor == "s"]
    assert len(fan.targets) == len(fan.links) == len(fan.consumers) == 2


def test_a_state_stays_where_it_is_used() -> None:
    step = graph(
        [("k", ["x"], 1, 4), ("next", ["past", "k"], 1, 1000), ("y", ["next"], 1, 4)],
        inputs={"x": 4, "past": 996}, outputs=["y", "next"], states={"past": "next"},
    )  # fmt: skip
    plan = plan_for(step)
    assert not [t for t in plan.transfers if t.tensor in ("past", "next")]
    (where,) = {plan.device_of()["next"]}
    assert plan.resident_bytes[where] == 996
    assert any("state" in note for note in plan.notes)


def test_the_next_value_of_a_state_returns_to_its_home() -> None:
    """The device that can update the state is not the one that first reads it."""
    step = graph(
        [("read", ["past"], 1, 4), ("next", ["read"], 1, 8)],
        inputs={"past": 8}, outputs=["next"], states={"past": "next"}, ops={"next": "Add"},
    )  # fmt: skip
    system = full_system([device("a", operators=("Relu",)), device("b", operators=("Add",))])
    plan = plan_for(step, on=system)
    (back,) = [t for t in plan.transfers if t.tensor == "next"]
    assert (back.source, back.targets, back.consumers) == ("b", ("a",), ())


def test_a_state_that_two_devices_read_is_resident_on_both() -> None:
    step = graph(
        [("read", ["past"], 1, 4), ("next", ["read", "past"], 1, 8)],
        inputs={"past": 8}, outputs=["next"], states={"past": "next"}, ops={"next": "Add"},
    )  # fmt: skip
    system = full_system([device("a", operators=("Relu",)), device("b", operators=("Add",))])
    plan = plan_for(step, on=system)
    assert plan.resident_bytes == {"a": 8, "b": 8}
    tensors = {t.tensor: (t.source, t.targets) for t in plan.transfers}
    assert tensors == {"past": ("a", ("b",)), "read": ("a", ("b",)), "next": ("b", ("a",))}


def test_without_a_host_inputs_start_where_they_are_needed() -> None:
    system = full_system([device("a"), device("b")], host=False)
    plan = plan_for(chain([3.0, 3.0], [9, 9, 9]), on=system)
    assert not plan.transfers
    assert any("no host" in note for note in plan.notes)


# -- designs --------------------------------------------------------------------------------

FAST_RELU = Rate(name="fast relu", accepts=frozenset({"Relu"}), speedup=10.0)
FAST_ADD = Rate(name="fast add", accepts=frozenset({"Add"}), speedup=10.0)
DESIGNS = {"": Rate(), "relu(n=1)": FAST_RELU, "add(n=1)": FAST_ADD}


def mixed(relu: float, add: float) -> Graph:
    return graph(
        [("r", ["x"], relu, 1), ("a", ["r"], add, 1)],
        inputs={"x": 1}, outputs=["a"], ops={"a": "Add"},
    )  # fmt: skip


def test_a_device_gets_the_design_that_helps_most_and_does_the_rest_itself() -> None:
    alone = full_system([device("a", designs=("relu(n=1)", "add(n=1)"))], bandwidth=1e6)
    for relu, add, wanted in [(100, 10, ("relu(n=1)", None)), (10, 100, (None, "add(n=1)"))]:
        plan = greedy([mixed(relu, add)], alone, DESIGNS)
        assert isinstance(plan, Plan)
        assert tuple(a.design for a in plan.assignments) == wanted
        assert plan.predicted_latency_s == pytest.approx(20.0, rel=1e-3)


def test_equal_devices_may_get_different_designs_but_each_only_one() -> None:
    pair = full_system([device(n, designs=("relu(n=1)", "add(n=1)")) for n in "ab"], bandwidth=1e6)
    plan = greedy([mixed(100, 100)], pair, DESIGNS)
    assert isinstance(plan, Plan)
    assert [a.design for a in plan.assignments] == ["relu(n=1)", "add(n=1)"]
    assert len({a.device for a in plan.assignments}) == 2


def test_operators_limit_what_a_device_does_by_itself() -> None:
    only = full_system([device("a", designs=("relu(n=1)",), operators=()), device("b")])
    plan = greedy([mixed(1000, 1000)], only, DESIGNS)
    assert isinstance(plan, Plan)
    assert [(a.device, a.design) for a in plan.assignments] == [("a", "relu(n=1)"), ("b", None)]


def test_operators_that_run_nowhere_are_named_with_every_reason() -> None:
    only = full_system([device("a", designs=("relu(n=1)",), operators=("Relu",))])
    found = greedy([mixed(1, 1)], only, DESIGNS)
    assert isinstance(found, Infeasible)
    assert "Add (1×: a)" in found.what
    assert "relu(n=1) on asic: cannot do Add" in found.what
    assert "no unit for Add" in found.what
    assert (found.need, found.have, found.unit) == (2, 1, "regions")


def test_one_design_per_device_may_not_be_enough() -> None:
    only = full_system([device("a", designs=("relu(n=1)", "add(n=1)"), operators=())])
    found = greedy([mixed(1, 1)], only, DESIGNS)
    assert isinstance(found, Infeasible)
    assert "one design per device" in found.what and found.remedies


def test_a_design_without_a_cost_model_is_refused() -> None:
    only = full_system([device("a", designs=("relu(n=2)",))])
    with pytest.raises(UnknownNameError, match=r"did you mean 'relu\(n=1\)'"):
        greedy([mixed(1, 1)], only, DESIGNS)


# -- memory -----------------------------------------------------------------------------------


def heavy(layers: int, weight: int) -> Graph:
    nodes = [(f"n{i}", [f"n{i - 1}" if i else "x", f"w{i}"], 1.0, 1) for i in range(layers)]
    return graph(
        nodes, inputs={"x": 1}, outputs=[f"n{layers - 1}"],
        weights={f"w{i}": weight for i in range(layers)},
    )  # fmt: skip


def test_weights_that_fit_on_no_device_are_spread() -> None:
    g = heavy(4, 100)
    system = full_system([device("a", size_bytes=220), device("b", size_bytes=220)])
    plan = plan_for(g, on=system)
    check_valid(plan, [g], system)
    assert plan.resident_bytes == {"a": 200, "b": 200}
    # Contiguous halves: one crossing.
    assert sum(len(t.targets) for t in plan.transfers if t.consumers and t.producer) == 1


def test_too_many_weights_say_how_many() -> None:
    system = full_system([device("a", size_bytes=220), device("b", size_bytes=120)])
    found = greedy([heavy(4, 100)], system, MODELS)
    assert isinstance(found, Infeasible)
    assert (found.need, found.have, found.unit) == (400, 340, "bytes")
    assert "reduce the batch" in str(found)


def test_one_region_that_is_too_large_is_named() -> None:
    system = full_system([device("a", size_bytes=90), device("b", size_bytes=99)])
    found = greedy([heavy(1, 100)], system, MODELS)
    assert isinstance(found, Infeasible)
    assert found.need > found.have
    activations = greedy([chain([1.0, 1.0], [1, 200, 1])], system, MODELS)
    assert isinstance(activations, Infeasible)
    assert "'n0'" in activations.what and activations.need > activations.have == 99


def test_activations_are_freed_after_their_last_use() -> None:
    """Three live tensors of a long chain never exist at once: two fit, so the chain fits."""
    g = chain([1.0] * 6, [10] * 7)
    assert isinstance(greedy([g], full_system([device("a", size_bytes=20)]), MODELS), Plan)
    assert isinstance(greedy([g], full_system([device("a", size_bytes=19)]), MODELS), Infeasible)
    share = GreedySearch(memory_share=0.5)
    found = greedy([g], full_system([device("a", size_bytes=39)]), MODELS, share)
    assert isinstance(found, Infeasible)
    assert found.have == 19


# -- settings, judge, mistakes -------------------------------------------------------------------


def test_a_judge_decides_among_the_candidates() -> None:
    g = chain([4.0, 4.0], [1, 1, 1])
    plan = greedy([g], TWO, MODELS, judge=lambda p: float(p.device_of()["n0"] != "a"))
    assert isinstance(plan, Plan)
    assert plan.device_of()["n0"] == "a"
    free = plan_for(g)
    assert free.device_of()["n0"] == "b"


@settings(max_examples=30, deadline=None)
@given(dags(), systems())
def test_judged_by_replay_no_single_device_is_faster(g: Graph, system: System) -> None:
    """Contention included: the judge sees what the scheduler's bookings only approximate."""
    judged: dict[tuple[str, ...], float] = {}

    def judge(plan: Plan) -> float:
        seconds = check_valid(plan, [g], system).makespan_s
        judged[tuple(a.device for a in plan.assignments)] = seconds
        return seconds

    plan = greedy([g], system, MODELS, judge=judge)
    assert isinstance(plan, Plan)
    mine = check_valid(plan, [g], system).makespan_s
    alone = [seconds for devices, seconds in judged.items() if len(set(devices)) == 1]
    assert alone
    assert mine <= min(alone)


def test_the_plan_says_how_it_was_made() -> None:
    g = chain([1.0], [1, 1])
    plan = plan_for(g, configurations=3)
    assert (plan.searcher, plan.objective) == ("greedy", "latency")
    assert plan.settings == {"configurations": 3, "serial": True, "memory_share": 1.0}
    assert (plan.models[0].digest, plan.system.digest) == (g.digest, TWO.digest)
    assert "Weights are on their devices before the clock starts." in plan.notes


def test_progress_is_told_and_may_cancel() -> None:
    tasks = []
    greedy([chain([1.0], [1, 1])], TWO, MODELS, progress=Progress(report=tasks.append))
    assert {step.task for step in tasks} == {"pricing regions", "greedy mapping"}
    with pytest.raises(CancelledError):
        greedy([chain([1.0], [1, 1])], TWO, MODELS, progress=Progress(cancelled=lambda: True))


@pytest.mark.parametrize("wrong", [{"configurations": 0}, {"memory_share": 0.0}])
def test_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="correct the setting"):
        GreedySearch(**wrong)  # type: ignore[arg-type]


def test_nothing_to_map_is_refused() -> None:
    with pytest.raises(SpecError, match="give a network"):
        greedy([], TWO, MODELS)


def test_a_model_that_answers_nonsense_is_refused() -> None:
    with pytest.raises(SpecError, match="cost model 'rate': region 'n0'"):
        greedy([chain([float("nan")], [1, 1])], TWO, MODELS)


def test_a_search_stopped_at_any_report_ends_there_and_leaves_nothing_behind() -> None:
    g = graph(
        [("a", ["x"], 3, 4), ("b", ["a"], 5, 4), ("c", ["a"], 4, 4), ("d", ["b", "c"], 1, 4)],
        inputs={"x": 4}, outputs=["d"],
    )  # fmt: skip
    whole = plan_for(g)
    reports: list[Step] = []
    greedy([g], TWO, MODELS, progress=Progress(report=reports.append))
    for stop in range(len(reports)):
        seen: list[Step] = []
        progress = Progress(report=seen.append, cancelled=lambda s=seen, n=stop: len(s) >= n)
        with pytest.raises(CancelledError, match="stopped at"):
            greedy([g], TWO, MODELS, progress=progress)
        assert seen == reports[:stop]
        assert plan_for(g) == whole


EXTREME = st.one_of(
    st.floats(5e-324, 1e308), st.sampled_from([5e-324, 1e-300, 1e-12, 1.0, 1e12, 1e300, 1.7e308])
)


@settings(max_examples=150, deadline=None)
@given(dags(most=5), st.data())
def test_extreme_systems_are_mapped_or_refused(g: Graph, data: st.DataObject) -> None:
    draw = data.draw
    devices = [
        device(f"d{i}", draw(EXTREME), size_bytes=draw(st.sampled_from([1, 20, 2**40, 10**300])))
        for i in range(draw(st.integers(1, 3)))
    ]
    names = [d.name for d in devices] + ["host"]
    links = tuple(
        link(f"{a}-{b}", a, b, bandwidth=draw(EXTREME), latency=draw(st.just(0.0) | EXTREME))
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    )
    system = System(name="x", devices=tuple(devices), links=links,
                    host=draw(st.sampled_from(["", "host"])))  # fmt: skip
    share = draw(st.sampled_from([1.0, 0.3]))
    try:
        plan = greedy([g], system, MODELS, GreedySearch(memory_share=share))
    except SpecError as error:
        assert "correct" in error.fix
        return
    if isinstance(plan, Infeasible):
        assert plan.need > plan.have
        assert str(plan)
        return
    check_flow(plan, [g], system)
    seconds = {n.name: float(n.attributes["work"]) for n in g.nodes}
    rate = {d.name: d.compute.macs_per_s["float32"] for d in devices}
    try:
        timeline = replay(plan, system, lambda a: seconds[a.region] / rate[a.device])
    except SpecError as error:  # sharing may bring it beyond the clock
        assert "to the end" in str(error)
    else:
        assert timeline.makespan_ps <= MOST_PS
        assert plan.predicted_latency_s is not None
        assert plan.predicted_latency_s <= MOST_PS / PS_PER_S
