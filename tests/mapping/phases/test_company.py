"""Subgraphs that slow each other down, against a simulation from moment to moment."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import SpecError
from orrery.mapping.phases import (
    Passage,
    PlacementProblem,
    best_placement,
    bounds_of,
    greedy_correction,
    quickest_placements,
    standing,
)
from orrery.mapping.phases._search import greedy
from orrery.mapping.phases._state import State
from orrery.mapping.phases._tree import Tree
from orrery.progress import SILENT

from .problems import problems
from .test_bounds import cores
from .test_exact import every
from .test_problem import any_placement


def simulated(problem: PlacementProblem, placement: tuple[int, ...]) -> tuple[list[float], float]:
    """Return when each subgraph ends, and everything, looking at all of them at each moment."""
    p, count = problem, len(placement)
    assert p.slower is not None
    begun, ended, left = [False] * count, [math.inf] * count, [1.0] * count
    turns = {k: turn for turn, k in enumerate(p.order)}

    def made(flow: int) -> float:
        producer = p.flows[flow].producer
        return 0.0 if producer < 0 else ended[producer]

    def arrivals() -> dict[tuple[int, int | str], float]:
        """Return when each tensor is where it is wanted, as far as that is known."""
        found: dict[tuple[int, int | str], float] = {}
        free: dict[tuple[str, str], float] = {}
        wanted = [(f, placement[k]) for k in p.order for f in p.incoming[k]]
        wanted += [
            (f, -1) for f, flow in enumerate(p.flows) if flow.returned and flow.producer >= 0
        ]
        for f, target in wanted:
            producer = p.flows[f].producer
            source = -1 if producer < 0 else placement[producer]
            fixed, per_byte, to, wire = p.sending[source + 1][target + 1]
            takes, key = fixed + per_byte * p.flows[f].size_bytes, (f, to)
            if takes == 0:
                found[f, target] = made(f)
                continue
            if key not in free_of:
                begins = made(f) if wire is None else max(made(f), free.get(wire, 0.0))
                free_of[key] = begins + takes
                if wire is not None:
                    free[wire] = begins + takes
            found[f, target] = free_of[key]
        return found

    now = 0.0
    while True:
        free_of: dict[tuple[int, int | str], float] = {}
        there = arrivals()
        for k in p.order:
            own = p.workers[placement[k]].processors
            before = [j for j in range(count) if turns[j] < turns[k]
                      and own & p.workers[placement[j]].processors]  # fmt: skip
            if not begun[k] and all(ended[j] <= now + 1e-12 for j in before) and all(
                there[f, placement[k]] <= now + 1e-12 for f in p.incoming[k]
            ):  # fmt: skip
                begun[k] = True
        running = [k for k in range(count) if begun[k] and ended[k] > now]
        running = [k for k in running if math.isinf(ended[k])]
        if all(not math.isinf(e) for e in ended):
            back = [there[f, -1] for f, flow in enumerate(p.flows)
                    if flow.returned and flow.producer >= 0]  # fmt: skip
            return ended, max([*ended, *back])
        takes = {}
        for k in running:
            w = placement[k]
            company = any(
                j != k and p.workers[placement[j]].memory == p.workers[w].memory for j in running
            )
            takes[k] = p.seconds[k, w] * (p.slower[k, w] if company else 1.0)
        moments = [now + left[k] * takes[k] for k in running]
        moments += [t for t in there.values() if now + 1e-12 < t < math.inf]
        then = min(moments)
        for k in running:
            left[k] -= (then - now) / takes[k]
            if left[k] < 1e-12:
                ended[k] = then
        now = then


#: With a GPU there are transfers; without, stretches that were worked out are kept.
either = st.booleans().flatmap(lambda gpu: problems(most=7, company=True, gpu=gpu))


@settings(max_examples=160)
@given(either, st.integers(0, 99))
def test_timings_are_what_a_simulation_finds(problem: PlacementProblem, seed: int) -> None:
    placement = any_placement(problem, seed)
    ends, makespan = simulated(problem, placement)
    found = problem.timing(placement)
    assert found.end == pytest.approx(ends)
    assert found.makespan_s == pytest.approx(makespan)
    alone = replace(problem, slower=None).timing(placement)
    assert all(a <= b + 1e-9 for a, b in zip(alone.end, found.end))
    path = found.critical_path()
    assert path[-1] == found.last
    assert found.because[path[0]] == -1
    assert problem.makespan_s(placement) == found.makespan_s


@settings(max_examples=30)
@given(problems(most=6, company=True), st.integers(0, 99))
def test_who_has_no_company_is_not_slowed_down(problem: PlacementProblem, seed: int) -> None:
    """A single worker in a memory of its own takes as long as ever, by the way of the others."""
    placement = any_placement(problem, seed)
    slower = np.ones(problem.seconds.shape)
    slower[:, 3] = 9.0
    found = replace(problem, slower=slower).timing(placement)
    plain = replace(problem, slower=None).timing(placement)
    assert found.end == pytest.approx(plain.end)
    assert found.makespan_s == pytest.approx(plain.makespan_s)


@settings(max_examples=60)
@given(problems(most=6, company=True), st.integers(0, 999))
def test_what_is_taken_back_leaves_nothing(problem: PlacementProblem, seed: int) -> None:
    """Subgraphs put at random, taken back now and then, end as if they had been put once."""
    rng, order = np.random.default_rng(seed), problem.order
    placement = list(any_placement(problem, seed))
    state, depth = State(problem), 0
    for _ in range(40):
        if depth and rng.random() < 0.45:
            depth -= 1
            state.take_back(order[depth])
        elif depth < len(order):
            number = order[depth]
            placement[number] = int(
                rng.choice(np.flatnonzero(np.isfinite(problem.seconds[number])))
            )
            state.put(number, placement[number])
            state.ended_s(order[: depth + 1])
            depth += 1
            if depth == len(order):
                assert state.timing() == problem.timing(placement)
    while depth < len(order):
        state.put(order[depth], placement[order[depth]])
        depth += 1
    assert state.timing() == problem.timing(placement)


@settings(max_examples=50)
@given(
    st.booleans().flatmap(lambda gpu: problems(most=5, company=True, gpu=gpu)),
    st.integers(0, 99), st.integers(1, 5),
)  # fmt: skip
def test_exact_searches_find_what_trying_all_finds(
    problem: PlacementProblem, seed: int, count: int
) -> None:
    known = every(replace(problem))  # nothing that is kept there helps the search
    least = min(known.values())
    found = best_placement(problem)
    assert found.proved
    assert found.seconds == pytest.approx(least)
    ours = any_placement(problem, seed)
    stands = standing(problem, ours, best=found)
    assert stands.rank_proved
    assert stands.rank == 1 + sum(s < known[ours] * (1 - 1e-9) for s in known.values())
    assert stands.considered == len(known)
    quickest = quickest_placements(problem, count)
    assert [known[p] for p in quickest] == pytest.approx(sorted(known.values())[:count])
    assert Tree(problem, 10**6, SILENT).least_s <= least + 1e-9


@settings(max_examples=60)
@given(problems(most=5, company=True))
def test_no_placement_undercuts_what_company_allows(problem: PlacementProblem) -> None:
    least = min(every(problem).values())
    alone, company = bounds_of(problem), bounds_of(problem.apart)
    for one in (alone, company):
        assert one.best_s <= least + 1e-9
    assert company.best_s >= alone.best_s - 1e-9
    assert max(problem.bounds()) <= least + 1e-9


def pair(factor: float, whole: float = 7.0) -> PlacementProblem:
    """Return two towers of 4 s on a core each, and a join; alone on both cores 7 s a tower."""
    problem = cores([[whole, 4, 4], [whole, 4, 4], [1, 1, 1]],
                    [("a", ["x"]), ("b", ["x"]), ("s", ["a", "b"])])  # fmt: skip
    slower = np.ones((3, 3))
    slower[:, 1:] = factor
    return replace(problem, slower=slower)


@settings(max_examples=25)
@given(st.lists(st.sampled_from([1.0, 2.0, 5.0]), min_size=2, max_size=4))
def test_what_is_kept_of_a_stretch_is_of_nobody_else(towers: list[float]) -> None:
    """The search puts the longest tower first, a timing the first: both keep what they find."""
    names = "abcd"[: len(towers)]
    problem = cores([[7.0, t, t] for t in towers] + [[1.0, 1.0, 1.0]],
                    [*((name, ["x"]) for name in names), ("s", list(names))])  # fmt: skip
    slower = np.full(problem.seconds.shape, 1.5)
    problem = replace(problem, slower=slower)
    greedy(problem)
    assert every(problem) == {p: replace(problem).timing(p).makespan_s for p in every(problem)}


def test_what_processors_wait_is_not_counted_twice() -> None:
    """A waits for what X hands over, and a processor with it: both placements below 9.6 are seen.

    Their waiting is in when processors are free again, and with company in what is left to do.
    """
    names = ["X", "A", "B", "C", "D"]
    problem = cores([[0.0] * 3] * 6, [*((n, ["x"]) for n in names), ("s", names)])
    cut = problem.partition
    at = {part.region.nodes[0]: k for k, part in enumerate(cut.subgraphs)}
    parts, flows = list(cut.subgraphs), list(problem.flows)
    parts[at["A"]] = replace(parts[at["A"]], needs=(at["X"],))
    sent = next(k for k, flow in enumerate(flows) if flow.producer == at["X"])
    flows[sent] = replace(flows[sent], consumers=(*flows[sent].consumers, at["A"]))
    seconds, slower = np.zeros((6, 2)), np.ones((6, 2))
    for name, row in {"X": (3, 5), "A": (9, 3), "B": (2, 2), "C": (1.5, 1.5), "D": (1.5, 1.5),
                      "s": (0.5, 0.5)}.items():  # fmt: skip
        seconds[at[name]] = row
    slower[at["B"]] = 3.0
    problem = replace(
        problem, partition=replace(cut, subgraphs=tuple(parts)), workers=problem.workers[1:],
        seconds=seconds, slower=slower, flows=tuple(flows),
        passages={("cpu0", "cpu1"): Passage(fixed_s=2.0)},
    )  # fmt: skip
    known = every(replace(problem))
    for ours in sorted(known, key=lambda p: known[p])[:8]:
        stands = standing(problem, ours)
        assert stands.rank == 1 + sum(s < known[ours] * (1 - 1e-9) for s in known.values())


def test_company_by_hand() -> None:
    assert pair(1.5).timing((1, 2, 0)).end == (6.0, 6.0, 7.0)
    # On one core one after the other nothing runs beside them.
    assert pair(1.5).timing((1, 1, 0)).makespan_s == 9.0
    uneven = pair(1.5)
    seconds = uneven.seconds.copy()
    seconds[1, 2] = 2.0
    # b ends at 3; a has done 2 of its 4 s by then and goes on alone.
    assert replace(uneven, seconds=seconds).timing((1, 2, 0)).end == (5.0, 3.0, 6.0)


def test_what_company_forbids_by_hand() -> None:
    """On both cores 3 s a tower; side by side 4 s, which company makes 8: as long as in turn."""
    problem = pair(2.0, whole=3.0)
    assert bounds_of(problem).best_s == pytest.approx(5.0)
    assert bounds_of(problem.apart).best_s == pytest.approx(7.0)
    assert best_placement(problem).placement[:2] == (0, 0)
    assert greedy_correction(problem).seconds == best_placement(problem).seconds == 7.0
    # Without company the same towers go side by side.
    assert best_placement(replace(problem, slower=None)).seconds == 5.0


def test_a_worker_that_cannot_run_its_subgraph_is_refused() -> None:
    problem = pair(1.5)
    seconds = problem.seconds.copy()
    seconds[0, 1] = np.inf
    unable = replace(problem, seconds=seconds)
    with pytest.raises(SpecError, match="cannot run its subgraph"):
        unable.timing((1, 2, 0))
    assert best_placement(unable).placement[0] != 1


def test_factors_that_make_no_sense_are_refused() -> None:
    problem = pair(1.5)
    for wrong in (np.ones((2, 3)), np.full((3, 3), 0.9), np.full((3, 3), np.nan),
                  np.full((3, 3), np.inf)):  # fmt: skip
        with pytest.raises(SpecError, match="slower"):
            replace(problem, slower=wrong)
