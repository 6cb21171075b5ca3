"""Timings obey every rule of the model, by rules written anew; bounds hold."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.errors import ModelError, SpecError
from orrery.graph import Graph, Node, TensorType
from orrery.mapping.phases import Passage, PlacementProblem, Worker, flows_of, partition

from ..cases import graph
from .problems import problem_of, problems


def any_placement(problem: PlacementProblem, seed: int) -> tuple[int, ...]:
    rng = np.random.default_rng(seed)
    return tuple(int(rng.choice(np.flatnonzero(np.isfinite(row)))) for row in problem.seconds)


@given(problems(), st.integers(0, 99))
def test_a_timing_can_be_run(problem: PlacementProblem, seed: int) -> None:
    placement = any_placement(problem, seed)
    found = problem.timing(placement)
    count = len(placement)
    for k in range(count):
        assert found.end[k] == found.begin[k] + problem.seconds[k, placement[k]]
        for need in problem.partition.subgraphs[k].needs:
            assert found.begin[k] >= found.end[need]
        for other in range(k):
            a, b = (problem.workers[placement[x]].processors for x in (k, other))
            if a & b:
                first, then = sorted((k, other), key=lambda x: (found.begin[x], found.end[x]))
                assert found.end[first] <= found.begin[then]
    for flow in problem.flows:
        source = "host" if flow.producer < 0 else (
            problem.workers[placement[flow.producer]].memory)  # fmt: skip
        ready = 0.0 if flow.producer < 0 else found.end[flow.producer]
        for reader in flow.consumers:
            target = problem.workers[placement[reader]].memory
            if source != target:
                takes = problem.passages[source, target].seconds(flow.size_bytes)
                assert found.begin[reader] >= ready + takes - 1e-9
        if flow.returned:
            assert found.makespan_s >= ready
    assert found.makespan_s >= max(problem.bounds()) - 1e-9


@given(problems(), st.integers(0, 99))
def test_makespans_alone(problem: PlacementProblem, seed: int) -> None:
    placement = any_placement(problem, seed)
    whole = problem.timing(placement).makespan_s
    assert problem.makespan_s(placement) == whole
    assert problem.makespan_s(placement, whole * 1.001) == whole
    assert problem.makespan_s(placement, whole) == problem.makespan_s(placement, 0) == np.inf


@given(problems())
def test_stretches_follow_each_other(problem: PlacementProblem) -> None:
    subgraphs, stretches = problem.partition.subgraphs, problem.stretches
    assert sorted(k for s in stretches for k in s) == list(range(len(subgraphs)))
    for first, then in itertools.pairwise(stretches):
        for k in then:
            reach, todo = set(), [k]
            while todo:
                for need in subgraphs[todo.pop()].needs:
                    if need not in reach:
                        reach.add(need)
                        todo.append(need)
            assert set(first) <= reach


@given(problems(), st.integers(0, 99))
def test_nothing_waits_without_a_reason(problem: PlacementProblem, seed: int) -> None:
    found = problem.timing(any_placement(problem, seed))
    path = found.critical_path()
    assert path[-1] == found.last
    assert found.because[path[0]] == -1
    for k, why in enumerate(found.because):
        assert why >= 0 or found.begin[k] <= sum(
            p.seconds(f.size_bytes) for f in problem.flows for p in problem.passages.values()
        )  # fmt: skip


def towers() -> PlacementProblem:
    network = graph(
        [("a", ["x"], 1, 8), ("b", ["x"], 1, 8), ("c", ["a", "b"], 1, 8)],
        inputs={"x": 4}, outputs=["c"],
    )  # fmt: skip
    seconds = np.array([[3, 4, 4, 1.0], [3, 4, 4, 1.0], [1, 2, 2, 1.0]])
    return problem_of(network, seconds, Passage(fixed_s=0.5, s_per_byte=0.25))


def test_a_timing_by_hand() -> None:
    # a and b on a core each end at 4, c on both cores at 5.
    assert towers().timing((1, 2, 0)).makespan_s == 5.0
    # All on both cores: one after the other.
    assert towers().timing((0, 0, 0)).makespan_s == 7.0
    # a on the GPU: x there at 1.5, a at 2.5, back at 5; b is done at 4; c on both cores at 6.
    found = towers().timing((3, 1, 0))
    assert found.makespan_s == 6.0
    assert found.critical_path() == (0, 2)
    # All on the GPU: x at 1.5, then 3 s of work, the result back after 2.5.
    assert towers().timing((3, 3, 3)).makespan_s == 7.0


def test_flows_by_hand() -> None:
    found = [(f.tensor, f.size_bytes, f.producer, f.consumers, f.returned)
             for f in towers().flows]  # fmt: skip
    assert found == [("x", 4, -1, (0, 1), False), ("a", 8, 0, (2,), False),
                     ("b", 8, 1, (2,), False), ("c", 8, 2, (), True)]  # fmt: skip


def test_texts_count_as_no_bytes_and_unknown_sizes_are_refused() -> None:
    texts = TensorType(dtype="string", shape=(2,))
    nodes = [Node(name="e", op="Equal", inputs=("t", "t"), outputs=("same",)),
             Node(name="n", op="NonZero", inputs=("same",), outputs=("where",))]  # fmt: skip
    for count in (1, 2):
        network = Graph(name="texts", nodes=tuple(nodes[:count]), inputs=("t",),
                        outputs=("same", "where")[:count], types={"t": texts}).infer()  # fmt: skip
        cut = partition(network, {"e": 1.0, "n": 1.0}, least=0)
        if count == 1:
            assert [(f.tensor, f.size_bytes) for f in flows_of(cut)] == [("t", 0), ("same", 2)]
        else:
            with pytest.raises(ModelError, match="'where': found 'a size that only running tells'"):
                flows_of(cut)


def test_phases_of_a_timing() -> None:
    problem = towers()
    begun = [(p.phase, p.begin_s, p.end_s) for p in problem.phases(problem.timing((1, 2, 0)))]
    assert begun == [(0, 0.0, 4.0), (1, 4.0, 5.0)]


def test_bounds_by_hand() -> None:
    path, area = towers().bounds()
    assert path == 2.0  # 1 on the GPU, then 1
    assert area == pytest.approx((1 + 1 + 1) / 3)


def test_bad_problems_are_refused() -> None:
    good = towers()
    network = good.partition.graph
    found = partition(network, {}, least=0)
    parts = {"partition": found, "workers": good.workers, "flows": flows_of(found),
             "passages": good.passages}  # fmt: skip
    for wrong, match in (
        ({"seconds": good.seconds[:2]}, "shape"),
        ({"seconds": np.full((3, 4), np.nan)}, "NaN"),
        ({"seconds": np.full((3, 4), np.inf)}, "no worker"),
        ({"seconds": good.seconds, "passages": {}}, "transfers"),
        ({"seconds": good.seconds[:, :0], "workers": ()}, "workers"),
    ):
        with pytest.raises(SpecError, match=match):
            PlacementProblem(**{**parts, **wrong})
    alone = PlacementProblem(
        **{**parts, "workers": (Worker(name="w", processors=frozenset({"c"})),)},
        seconds=np.array([[1.0], [np.inf], [1.0]][:1] * 3),
    )
    assert alone.timing((0, 0, 0)).makespan_s == 3.0
