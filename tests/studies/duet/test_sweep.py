"""Placements whose times are planted: ranks, gaps and sums by counting."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from orrery.graph import Graph, Node, TensorType
from orrery.mapping.phases import PlacementProblem, Worker, flows_of, partition
from orrery.progress import SILENT
from orrery.runtime import ReferenceBackend
from orrery.runtime.together import LocalWorker, core_sets
from orrery.studies.duet import Effort
from orrery.studies.duet._operators import operators_of, summed_seconds, with_sums
from orrery.studies.duet._rounds import Way
from orrery.studies.duet._sweep import survey

EFFORT = replace(Effort.at(0.01), sweep_rounds=6, sweep_s=2.0)
Placement = tuple[int, ...]


def forked() -> Graph:
    ops = [("a", "Relu", ["x"]), ("b", "Neg", ["ya"]), ("c", "Exp", ["ya"]),
           ("d", "Add", ["yb", "yc"])]  # fmt: skip
    return Graph(
        name="forked", inputs=("x",), outputs=("yd",),
        nodes=tuple(Node(name=n, op=op, inputs=tuple(i), outputs=(f"y{n}",)) for n, op, i in ops),
        types={"x": TensorType(dtype="float32", shape=(3, 4))},
    ).infer()  # fmt: skip


def problem(*rows: list[float]) -> PlacementProblem:
    """Return a, then b beside c, then d, on all processors or one of two; rows in ms."""
    cut = partition(forked(), {}, least=0)
    assert [s.region.nodes for s in cut.subgraphs] == [("a",), ("b",), ("c",), ("d",)]
    return PlacementProblem(
        partition=cut, flows=flows_of(cut), passages={}, seconds=np.array(rows) / 1000,
        workers=(Worker(name="all", processors=frozenset({"0", "1"})),
                 Worker(name="one", processors=frozenset({"0"})),
                 Worker(name="two", processors=frozenset({"1"}))),
    )  # fmt: skip


USUAL = problem([1, 2, 2], [4, 5, 5], [4, 5, 5], [1, 2, 2])  # b and c side by side: 7 and not 10
BEST = (0, 1, 2, 0)


def truthful(p: PlacementProblem, **other: float) -> Callable[[Placement], Way]:
    """Return ways that take what is predicted, but for some, by their digits, in ms."""
    planted = {tuple(map(int, name.removeprefix("p"))): ms / 1000 for name, ms in other.items()}
    return lambda one: lambda: planted.get(one, p.timing(one).makespan_s)


def in_turn(p: PlacementProblem, pace: float = 1.0) -> Callable[[Placement], Way]:
    """Return ways that run subgraphs one at a time, each so many times as long as it was timed."""
    return lambda one: lambda: pace * sum(float(p.seconds[k, w]) for k, w in enumerate(one))


def test_the_best_of_all_has_rank_one_and_no_gap() -> None:
    found = survey(USUAL, BEST, truthful(USUAL), in_turn(USUAL), EFFORT, SILENT)
    every = [USUAL.timing(p).makespan_s for p in itertools.product(range(3), repeat=4)]
    assert found.total == len(every) == 81
    assert found.exact_s == found.corrected_s == min(every) == pytest.approx(0.007)
    assert (found.rank, found.measured_rank) == (1, 1)
    assert found.gap <= 0
    assert found.points[0].placement == BEST
    assert found.points[0].measured_s == pytest.approx(0.007)
    assert {p.what for p in found.points} >= {"ours", "all on all", "all on one", "all on two"}


def test_a_better_one_that_was_measured_shows_as_a_gap() -> None:
    # Predicted 7 and measured 6: (0, 2, 1, 0), which is as good as ours on paper.
    found = survey(USUAL, BEST, truthful(USUAL, p0210=6.0), in_turn(USUAL), EFFORT, SILENT)
    assert found.measured_rank == 2
    assert found.gap == pytest.approx(7 / 6 - 1)
    assert found.interval == (pytest.approx(7 / 6 - 1), pytest.approx(7 / 6 - 1))


def test_a_poor_placement_has_its_rank_and_its_gap() -> None:
    found = survey(USUAL, (0, 0, 0, 0), truthful(USUAL), in_turn(USUAL), EFFORT, SILENT)
    every = [USUAL.timing(p).makespan_s for p in itertools.product(range(3), repeat=4)]
    assert found.rank == 1 + sum(seconds < 0.010 - 1e-12 for seconds in every)
    assert found.corrected_s == pytest.approx(0.007)
    assert found.gap == pytest.approx(10 / 7 - 1)


def test_errors_are_medians_over_what_was_measured() -> None:
    found = survey(USUAL, BEST, lambda one: lambda: 2 * USUAL.timing(one).makespan_s,
                   in_turn(USUAL, 1.5), EFFORT, SILENT)  # fmt: skip
    assert found.error == pytest.approx(0.5)
    assert found.pace == pytest.approx(1.5)  # a request has costs of its own, which are no pace
    assert found.summed_error is None


def test_what_cannot_be_searched_through_is_not_called_exact() -> None:
    # Both paths want the same processor, so that no bound is reached.
    contended = problem([1, 2, 2], [9, 5, 9], [9, 5, 9], [1, 2, 2])
    whole = survey(contended, (0, 0, 0, 0), truthful(contended), in_turn(contended), EFFORT, SILENT)
    assert whole.exact_s == pytest.approx(0.011)
    assert whole.rank is not None and whole.rank > 1
    found = survey(
        contended,
        (0, 0, 0, 0),
        truthful(contended),
        in_turn(contended),
        replace(EFFORT, looked=3),
        SILENT,
    )
    assert (found.exact_s, found.rank) == (None, None)
    assert found.points[0].what == "ours"


def test_sums_of_operators_predict_and_place() -> None:
    # By its single operators "one" seems so quick that everything goes there.
    sums = np.array([[1.0, 0.1, 9], [4, 0.1, 9], [4, 0.1, 9], [1, 0.1, 9]]) / 1000
    found = survey(USUAL, BEST, truthful(USUAL), in_turn(USUAL), EFFORT, SILENT)
    points = with_sums(USUAL, sums, found.points)
    assert points[0].summed_s == pytest.approx(0.011)
    assert [p.measured_s for p in points] == [p.measured_s for p in found.points]
    made = operators_of(USUAL, sums, truthful(USUAL), EFFORT, SILENT)
    assert not made.same
    assert made.slower == pytest.approx(14 / 7)
    assert operators_of(USUAL, USUAL.seconds, truthful(USUAL), EFFORT, SILENT).same


def test_a_worker_that_lacks_an_operator_has_no_sum() -> None:
    sums = USUAL.seconds.copy()
    sums[1, 1] = np.inf
    found = survey(USUAL, BEST, truthful(USUAL), in_turn(USUAL), EFFORT, SILENT)
    points = with_sums(USUAL, sums, found.points)
    assert points[0].summed_s is None  # ours has b there
    assert replace(found, points=points).summed_error is None
    assert operators_of(USUAL, sums, truthful(USUAL), EFFORT, SILENT).slower >= 1


def test_operators_are_timed_one_by_one_on_every_worker() -> None:
    workers = [
        LocalWorker(name=name, processors=cores, backend=ReferenceBackend(), label="reference")
        for name, cores in core_sets().items()
    ]
    graph = forked()
    cut = partition(graph, {}, least=1.0)  # all in one subgraph
    whole = PlacementProblem(
        partition=cut, flows=flows_of(cut), passages={}, seconds=np.ones((1, len(workers))),
        workers=tuple(Worker(name=w.name, processors=frozenset(map(str, w.processors)))
                      for w in workers),
    )  # fmt: skip
    inputs = {"x": np.ones((3, 4), np.float32)}
    sums = summed_seconds(graph, whole, workers, inputs, 0.1, SILENT)
    assert sums.shape == (1, len(workers))
    assert (sums > 0).all() and np.isfinite(sums).all()
