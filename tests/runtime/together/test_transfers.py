"""Copies of random placements: every tensor is where it is read, and none is copied for nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orrery.graph import Graph, Node, Region, TensorType
from orrery.runtime.together import HOST
from orrery.runtime.together._transfers import Transfers, key, transfers_of

from .test_executor import diamond


def placed(graph: Graph, memories: list[str]) -> Transfers:
    regions = [Region(graph=graph, nodes=(node.name,)) for node in graph.nodes]
    owner = {node.name: number for number, node in enumerate(graph.nodes)}
    return transfers_of(graph, regions, memories, owner)


def said(found: Transfers) -> list[str]:
    return [f"{c.tensor}: {c.lane}" for c in found.copies]


def test_nothing_is_copied_within_the_host() -> None:
    found = placed(diamond(), [HOST] * 4)
    assert found.copies == ()
    assert found.needs == (frozenset(), {0}, {0}, {1, 2})
    assert found.reads[3] == (("yb", "yb"), ("yc", "yc"))


def test_each_tensor_once_per_memory() -> None:
    found = placed(diamond(), [HOST, "m", "m", "m"])
    assert said(found) == ["ya: host to m", "yd: m to host"]
    assert found.needs == (frozenset(), {4}, {4}, {1, 2}, {0}, {3})
    assert [c.lasting for c in found.copies] == [False, True]
    assert found.copies[0].size_bytes == 48
    assert (found.copies[0].step, found.copies[1].step) == (1, 3)


def test_from_one_memory_to_another_it_goes_through_the_host() -> None:
    found = placed(diamond(), ["m", "n", "m", "m"])
    assert said(found) == ["x: host to m", "ya: m to host", "ya: host to n", "yb: n to host",
                           "yb: host to m", "yd: m to host"]  # fmt: skip
    assert found.needs[0] == {4}
    assert found.needs[4] == frozenset()  # inputs are there from the start
    assert found.needs[6] == {5}


@st.composite
def random_cases(draw: st.DrawFn) -> tuple[Graph, list[str]]:
    names, nodes = ["x", "z"], []
    for number in range(draw(st.integers(1, 8))):
        read = draw(st.lists(st.sampled_from(names), min_size=2, max_size=2))
        nodes.append(Node(name=f"n{number}", op="Add", inputs=tuple(read),
                          outputs=(f"y{number}",)))  # fmt: skip
        names.append(f"y{number}")
    outputs = draw(st.lists(st.sampled_from(names[2:]), min_size=1, unique=True))
    kind = TensorType(dtype="float32", shape=(2,))
    graph = Graph(name="random", inputs=("x", "z"), outputs=tuple(outputs), nodes=tuple(nodes),
                  types={"x": kind, "z": kind}).infer()  # fmt: skip
    where = draw(st.lists(st.sampled_from([HOST, "m", "n"]), min_size=len(nodes),
                          max_size=len(nodes)))  # fmt: skip
    return graph, where


@given(random_cases())
def test_by_playing_it(case: tuple[Graph, list[str]]) -> None:
    graph, memories = case
    found = placed(graph, memories)
    steps = len(graph.nodes)
    there = {"x", "z"}
    done: set[int] = set()
    read = set(graph.outputs)
    while len(done) < len(found.needs):
        free = [n for n, need in enumerate(found.needs) if n not in done and need <= done]
        assert free, "steps and copies wait for each other"
        for number in free:
            done.add(number)
            if number < steps:
                wanted = {at for _, at in found.reads[number]}
                made = key(graph.nodes[number].outputs[0], memories[number])
            else:
                copy = found.copies[number - steps]
                wanted, made = {copy.read}, copy.written
                assert HOST in (copy.source, copy.target)
                assert made not in there, "copied twice"
                assert copy.lasting == (copy.target == HOST and copy.tensor in graph.outputs)
            assert wanted <= there
            read |= wanted
            there.add(made)
    assert set(graph.outputs) <= there
    assert {c.written for c in found.copies} <= read, "copied for nothing"
