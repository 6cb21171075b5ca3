"""The annealing search, the baselines and the bounds, judged by trying everything."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import SpecError
from orrery.mapping.locality import (
    LocalitySearch,
    anneal_locality,
    bind_weights,
    branch_bound,
    check_locality,
    critical_path_s,
    four_steps,
    locality_bound,
    one_per_kind,
    random_locality,
    retime,
    safe_four_steps,
    sequence_of,
)
from orrery.mapping.locality._kernel import compiled
from orrery.plan import Infeasible
from orrery.progress import Progress, Step

from .locality_cases import best_of_all, draw_problem, naive_makespan

SMALL = LocalitySearch(steps=20_000)


@pytest.mark.parametrize("seed", range(12))
def test_annealing_finds_the_optimum_and_no_bound_is_above_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    problem = draw_problem(rng, layers=4 + seed % 2, accelerators=2 + seed % 2)
    best = best_of_all(problem)
    found = anneal_locality(problem, SMALL)
    assert not isinstance(found, Infeasible)
    assert check_locality(problem, found) == ()
    assert found.makespan_s == pytest.approx(best, rel=1e-12)
    bound = locality_bound(problem, rounds=8, steps=100)
    assert max(bound.path_s, bound.load_s, bound.weighed_s) == bound.value_s <= best * (1 + 1e-12)
    assert critical_path_s(problem) <= bound.value_s
    proven = branch_bound(problem, bound, makespan_s=best, cases=60)
    loose = branch_bound(problem, bound, makespan_s=2 * best, cases=60)
    assert bound.value_s <= loose.value_s <= best * (1 + 1e-12)
    assert bound.value_s <= proven.value_s <= best * (1 + 1e-12)


@settings(max_examples=60)
@given(seed=st.integers(0, 10**9), layers=st.integers(1, 14), accelerators=st.integers(1, 5))
def test_compiled_evaluator_equals_the_naive_one(seed: int, layers: int, accelerators: int) -> None:
    rng = np.random.default_rng(seed)
    problem = draw_problem(rng, layers=layers, accelerators=accelerators)
    if not all(problem.runs_on):
        return
    device = [int(rng.choice(options)) for options in problem.runs_on]
    order = sorted(range(layers), key=lambda n: (rng.random() * 0, n))
    for _ in range(layers):  # neighbours that do not wait for each other may change places
        k = int(rng.integers(0, layers))
        if k + 1 < layers and (order[k], order[k + 1]) not in problem.edges:
            order[k], order[k + 1] = order[k + 1], order[k]
    bound = [bool(flag) for flag in rng.random(layers) < 0.5]
    queues = [[n for n in order if device[n] == a] for a in range(accelerators)]
    timed = retime(problem, queues, bound)
    assert timed is not None
    assert timed.makespan_s == pytest.approx(naive_makespan(problem, queues, tuple(bound)))
    makespan, _ = compiled()
    producers = problem.producers()
    end = np.zeros(layers)
    value, mean = makespan(
        np.array(order), np.array(device), np.array(bound, np.int8), problem.compute_s,
        problem.weight_s, problem.input_s, problem.output_s, np.array(problem.before),
        np.array(problem.after), np.cumsum([0, *map(len, producers)]),
        np.array([p for row in producers for p in row], np.int64), end, np.zeros(accelerators),
        np.zeros(accelerators, np.int64), np.zeros(layers, np.int8),
    )  # fmt: skip
    assert value == pytest.approx(timed.makespan_s)
    assert end == pytest.approx(np.array(timed.end_s))
    assert mean == pytest.approx(float(np.mean(timed.end_s)))


@settings(max_examples=25)
@given(seed=st.integers(0, 10**9), memory=st.sampled_from([0.0, 0.2, 0.5, 2.0]))
def test_every_mapping_is_valid_and_above_the_bound(seed: int, memory: float) -> None:
    problem = draw_problem(np.random.default_rng(seed), layers=12, accelerators=4, memory=memory)
    bound = locality_bound(problem, rounds=4, steps=60).value_s
    found = anneal_locality(problem, LocalitySearch(steps=500))
    assert not isinstance(found, Infeasible)
    first, safe = safe_four_steps(problem)
    others = (first, safe, one_per_kind(problem), random_locality(problem, trials=20))
    for schedule in (found, *others):
        assert check_locality(problem, schedule) == ()
        assert bound <= schedule.makespan_s
    assert safe.makespan_s <= first.makespan_s
    assert found.makespan_s <= min(safe.makespan_s, one_per_kind(problem).makespan_s)


def test_same_seed_same_schedule_and_another_seed_still_valid() -> None:
    problem = draw_problem(np.random.default_rng(5), layers=14, accelerators=4)
    one, two = (anneal_locality(problem, LocalitySearch(steps=4000, seed=3)) for _ in range(2))
    assert one == two
    other = anneal_locality(problem, LocalitySearch(steps=4000, seed=4))
    assert not isinstance(other, Infeasible)
    assert check_locality(problem, other) == ()


def test_search_reports_and_an_interrupted_one_keeps_its_best() -> None:
    problem = draw_problem(np.random.default_rng(8), layers=14, accelerators=4)
    seen: list[Step] = []
    progress = Progress(report=seen.append, cancelled=lambda: len(seen) >= 40)
    stopped = anneal_locality(
        problem, LocalitySearch(steps=10_000_000), bound_s=1.0, progress=progress
    )
    assert not isinstance(stopped, Infeasible)
    assert check_locality(problem, stopped) == ()
    annealing = [step for step in seen if step.task == "annealing"]
    assert annealing
    assert stopped.makespan_s == annealing[-1].best or stopped.makespan_s < annealing[-1].best
    assert all(step.bound == 1.0 for step in annealing)


def test_search_ends_at_the_bound_and_takes_a_start() -> None:
    problem = draw_problem(np.random.default_rng(1), layers=5, accelerators=2)
    best = anneal_locality(problem, SMALL)
    assert not isinstance(best, Infeasible)
    seen: list[Step] = []
    again = anneal_locality(problem, SMALL, start=best, bound_s=best.makespan_s,
                            progress=Progress(report=seen.append))  # fmt: skip
    assert not isinstance(again, Infeasible)
    assert again.makespan_s == best.makespan_s
    assert not [step for step in seen if step.task == "annealing"]


def test_layer_without_accelerator_is_infeasible_with_a_remedy() -> None:
    problem = draw_problem(np.random.default_rng(0), layers=3, accelerators=2)
    nowhere = problem.compute_s.copy()
    nowhere[1] = np.inf
    found = anneal_locality(dataclasses.replace(problem, compute_s=nowhere))
    assert isinstance(found, Infeasible)
    assert problem.layers[1] in found.what
    assert found.remedies


def test_branching_proves_optima_that_weighing_alone_does_not() -> None:
    proven = better = 0
    for seed in range(40):
        problem = draw_problem(np.random.default_rng(seed), layers=6, accelerators=3, memory=2.0)
        found = anneal_locality(problem, SMALL)
        assert not isinstance(found, Infeasible)
        root = locality_bound(problem, rounds=8, steps=100)
        bound = branch_bound(problem, root, makespan_s=found.makespan_s, cases=200)
        assert bound.value_s <= found.makespan_s
        better += bound.value_s > root.value_s
        proven += bound.value_s >= found.makespan_s * (1 - 1e-8)
    assert better > 10
    assert proven > 20


def test_branching_stopped_at_once_keeps_the_bound() -> None:
    problem = draw_problem(np.random.default_rng(4), layers=8, accelerators=3)
    root = locality_bound(problem, rounds=4, steps=50)
    rounds = iter([False] * 2)
    progress = Progress(cancelled=lambda: next(rounds, True))
    kept = branch_bound(problem, root, makespan_s=1e9, rounds=1, progress=progress)
    assert kept.value_s >= root.value_s


def test_memory_that_cannot_hold_the_heaviest_raises_the_bound() -> None:
    """Three weights of 10 s, two memories for one each: one must be sent, on its own chain."""
    problem = draw_problem(np.random.default_rng(2), layers=3, accelerators=2)
    heavy = dataclasses.replace(
        problem, chain=(0, 1, 2), place=(1, 1, 1), edges=(),
        compute_s=np.ones((3, 2)), weight_s=np.full((3, 2), 10.0), input_s=np.zeros((3, 2)),
        output_s=np.zeros((3, 2)), weight_words=np.full(3, 1000, np.int64),
        capacity_words=np.full(2, 1000, np.int64), kinds=("CNN", "CNN"),
    )  # fmt: skip
    assert 10.9 <= locality_bound(heavy, rounds=20, steps=300).value_s <= 11.0
    found = anneal_locality(heavy, SMALL)
    assert not isinstance(found, Infeasible)
    assert found.makespan_s == best_of_all(heavy) == 12.0


@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=9), room=st.integers(0, 120)
)  # fmt: skip
def test_knapsack_fills_a_memory_as_well_as_any_choice(sizes: list[int], room: int) -> None:
    problem = draw_problem(np.random.default_rng(0), layers=len(sizes), accelerators=1)
    problem = dataclasses.replace(
        problem, weight_words=np.array(sizes, np.int64) * 1000,
        capacity_words=np.array([room * 1000], np.int64),
    )  # fmt: skip
    taken = bind_weights(problem, [list(range(len(sizes)))])
    held = sum(size for size, flag in zip(sizes, taken) if flag)
    best = 0
    for bits in range(1 << len(sizes)):
        total = sum(size for k, size in enumerate(sizes) if bits >> k & 1)
        best = max(best, total if total <= room else 0)
    assert held == best


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": -1}, "steps"), ({"rounds": 0}, "rounds"), ({"hot": 0.0}, "cold ≤ hot"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(change: dict[str, float], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        LocalitySearch(**change)  # type: ignore[arg-type]


def test_start_whose_queues_wait_for_each_other_is_refused() -> None:
    problem = draw_problem(np.random.default_rng(0), layers=4, accelerators=1)
    problem = dataclasses.replace(problem, chain=(0,) * 4, place=(1, 2, 3, 4),
                                  edges=((0, 1), (1, 2), (2, 3)))  # fmt: skip
    good = one_per_kind(problem)
    assert sequence_of(good, problem) == (0, 1, 2, 3)
    crossed = dataclasses.replace(good, queues=((1, 0, 2, 3),))
    assert retime(problem, crossed.queues, crossed.bound) is None
    with pytest.raises(SpecError, match="wait for each other"):
        anneal_locality(problem, SMALL, start=crossed)


def test_published_flow_is_what_its_faults_make_of_it() -> None:
    """A move lengthens its own accelerator only: the consumer elsewhere then starts too early."""
    broken = 0
    for seed in range(60):
        problem = draw_problem(np.random.default_rng(seed), layers=10, accelerators=3)
        steps = four_steps(problem)
        assert check_locality(problem, steps[0]) == ()
        broken += bool(check_locality(problem, steps[3]))
        assert steps[3].makespan_s <= steps[2].makespan_s
    assert 0 < broken < 60
