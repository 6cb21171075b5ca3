"""Phases: judged by networkx' post-dominators, by reachability, and on networks one can see."""

from __future__ import annotations

import tracemalloc

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.errors import SpecError
from orrery.graph import Graph, build_model
from orrery.mapping.phases import Partition, partition

from ..cases import chain, dags, graph


def work_of(network: Graph) -> dict[str, float]:
    return {node.name: float(node.attributes["work"]) for node in network.nodes}


def edges(network: Graph) -> nx.DiGraph:
    found = nx.DiGraph()
    found.add_nodes_from(node.name for node in network.nodes)
    for node in network.nodes:
        for tensor in node.outputs:
            found.add_edges_from((node.name, c.name) for c in network.consumers(tensor))
    return found


def check(network: Graph, found: Partition) -> None:
    """Every node once, an order that can be run, independent paths, convex subgraphs."""
    whole = edges(network)
    owner = {n: k for k, s in enumerate(found.subgraphs) for n in s.region.nodes}
    assert sorted(owner) == sorted(whole.nodes)
    assert sum(len(s.region.nodes) for s in found.subgraphs) == len(owner)
    for a, b in whole.edges:
        assert owner[a] == owner[b] or owner[a] in found.subgraphs[owner[b]].needs
    for number, subgraph in enumerate(found.subgraphs):
        assert all(need < number for need in subgraph.needs)
        assert number in found.phases[subgraph.phase].subgraphs
    quotient = nx.DiGraph((n, k) for k, s in enumerate(found.subgraphs) for n in s.needs)
    for phase in found.phases:
        if phase.kind == "sequential":
            assert len(phase.subgraphs) == 1
        for a in phase.subgraphs:
            for b in phase.subgraphs:
                if a != b and a in quotient and b in quotient:
                    assert not nx.has_path(quotient, a, b)


@given(dags(most=12), st.floats(0, 12), st.floats(0, 1))
def test_any_network_is_cut_into_subgraphs_that_can_run(
    network: Graph, least: float, dominance: float
) -> None:
    check(network, partition(network, work_of(network), least=least, dominance=dominance))


@given(dags(most=12))
def test_what_everything_passes_ends_a_phase(network: Graph) -> None:
    """With no threshold and no nesting, no multi-path phase holds such a node."""
    found = partition(network, work_of(network), least=0, dominance=1)
    whole = edges(network)
    starts = [n for n in whole if whole.in_degree(n) == 0]
    ends = [n for n in whole if whole.out_degree(n) == 0]
    whole.add_edges_from(("source", n) for n in starts)
    whole.add_edges_from((n, "sink") for n in ends)
    after = nx.immediate_dominators(whole.reverse(), "sink")
    passed, node = set(), "source"
    while node != "sink":
        node = after[node]
        passed.add(node)
    for subgraph in found.subgraphs:
        if found.phases[subgraph.phase].kind == "multi-path":
            assert not passed & set(subgraph.region.nodes)


def fork(left: float, right: float) -> Graph:
    return graph(
        [("top", ["x"], 1, 1), ("l1", ["top"], left, 1), ("l2", ["l1"], left, 1),
         ("r", ["top"], right, 1), ("join", ["l2", "r"], 1, 1), ("end", ["join"], 1, 1)],
        inputs={"x": 1}, outputs=["end"],
    )  # fmt: skip


def nodes(found: Partition) -> list[tuple[str, ...]]:
    return [s.region.nodes for s in found.subgraphs]


def test_a_fork_and_its_join() -> None:
    found = partition(fork(5, 5), work_of(fork(5, 5)), least=4)
    assert [p.kind for p in found.phases] == ["sequential", "multi-path", "sequential"]
    assert nodes(found) == [("top",), ("l1", "l2"), ("r",), ("join", "end")]
    assert [s.needs for s in found.subgraphs] == [(), (0,), (0,), (1, 2)]
    assert [s.region.name for s in found.subgraphs] == ["p0", "p1a", "p1b", "p2"]


def test_a_path_that_is_not_worth_it_stays() -> None:
    found = partition(fork(5, 1), work_of(fork(5, 1)), least=4)
    assert found.is_single_path
    assert len(found.subgraphs) == 1


def test_a_chain_is_one_subgraph() -> None:
    network = chain([1.0, 2.0, 3.0], [4, 4, 4, 4])
    assert len(partition(network, work_of(network), least=0).subgraphs) == 1


def test_a_path_that_dominates_is_cut_in_turn() -> None:
    network = graph(
        [("a", ["x"], 1, 1), ("b1", ["a"], 9, 1), ("b2", ["a"], 9, 1), ("c", ["b1", "b2"], 1, 1),
         ("side", ["x"], 3, 1), ("end", ["c", "side"], 1, 1)],
        inputs={"x": 1}, outputs=["end"],
    )  # fmt: skip
    found = partition(network, work_of(network), least=2, dominance=0.5)
    assert ("b1",) in nodes(found)
    assert ("b2",) in nodes(found)
    inner = next(p for p in found.phases if p.within is not None and p.kind == "multi-path")
    assert {found.subgraphs[k].region.nodes for k in inner.subgraphs} == {("b1",), ("b2",)}
    coarse = partition(network, work_of(network), least=2, dominance=1)
    assert ("a", "b1", "b2", "c") in nodes(coarse)


def test_a_mask_that_every_layer_reads_hides_nothing() -> None:
    layers = [("mask", ["m"], 0.1, 1)]
    before = "x"
    for k in range(3):
        layers += [(f"q{k}", [before], 5, 1), (f"k{k}", [before], 5, 1),
                   (f"s{k}", [f"q{k}", f"k{k}", "mask"], 1, 1)]  # fmt: skip
        before = f"s{k}"
    network = graph(layers, inputs={"x": 1, "m": 1}, outputs=[before])
    found = partition(network, work_of(network), least=2)
    assert [p.kind for p in found.phases] == ["sequential"] + ["multi-path", "sequential"] * 3
    assert nodes(found)[0] == ("mask",)
    assert "masks" in found.notes[0]


def towers(heads: float, aside: float) -> Graph:
    """Three towers that one node joins; each with an output and an input of its own."""
    layers = [("stem", ["x"], 3, 1)] if aside else []
    for k in range(3):
        layers += [(f"aside{k}", [f"x{k}"], aside, 1)] if aside else []
        start = ["stem", f"aside{k}"] if aside else [f"x{k}"]
        layers += [(f"t{k}", start, 9, 1), (f"f{k}", [f"t{k}"], 9, 1)]
        layers += [(f"h{k}", [f"f{k}"], heads, 1)] if heads else []
    layers += [("join", ["f0", "f1", "f2"], 1, 1), ("fused", ["join"], 6, 1)]
    outputs = ["fused", *(f"h{k}" for k in range(3) if heads)]
    return graph(layers, inputs={"x": 1, "x0": 1, "x1": 1, "x2": 1}, outputs=outputs)


@pytest.mark.parametrize(("heads", "aside"), [(0, 0), (1, 0), (5, 0), (0, 1), (0, 5), (1, 1)])
def test_outputs_and_inputs_of_their_own_do_not_hide_towers(heads: float, aside: float) -> None:
    network = towers(heads, aside)
    found = partition(network, work_of(network), least=4)
    check(network, found)
    beside = [[found.subgraphs[s].region.nodes for s in p.subgraphs] for p in found.phases]
    assert any(
        len(paths) == 3 and all(f"t{k}" in path for k, path in enumerate(paths)) for paths in beside
    )
    last = {"join", "fused", *(f"h{k}" for k in range(3))}
    assert any({"join", "fused"} <= set(one) <= last for one in nodes(found))


def gradients(levels: int) -> Graph:
    """A chain and its gradients: shortcuts within shortcuts, with an output at each."""
    layers = [("d0", ["x"], 1, 1)]
    layers += [(f"d{k}", [f"d{k - 1}"], 1, 1) for k in range(1, levels)]
    before = f"d{levels - 1}"
    for k in reversed(range(levels)):
        layers += [(f"u{k}", list(dict.fromkeys([before, f"d{k}"])), 1, 1),
                   (f"g{k}", [f"u{k}", f"d{k}"], 1, 1)]  # fmt: skip
        before = f"u{k}"
    return graph(layers, inputs={"x": 1}, outputs=[before, *(f"g{k}" for k in range(levels))])


def test_shortcuts_are_nested_deeper_than_functions_may_call_each_other() -> None:
    network = gradients(300)
    found = partition(network, work_of(network), least=0.01 * 3 * 300)
    check(network, found)
    assert found.is_single_path


def test_many_light_nodes_take_little_memory() -> None:
    """Of a chain that nobody wants to cut, each node needs all before it."""
    network = chain([1.0] * 4000, [4] * 4001)
    tracemalloc.start()
    try:
        found = partition(network, work_of(network), least=float("inf"))
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found.subgraphs) == 1
    assert most_bytes < 50e6


def test_what_many_need_is_counted_once() -> None:
    """A light node that two light ones read, which a third one joins: 3 and 1 are 4, not 5."""
    layers = [("base", ["m"], 1, 1), ("left", ["base"], 1, 1), ("right", ["base"], 1, 1),
              ("mask", ["left", "right"], 1, 1)]  # fmt: skip
    before = "x"
    for k in range(3):
        layers += [(f"q{k}", [before], 9, 1), (f"k{k}", [before], 9, 1),
                   (f"s{k}", [f"q{k}", f"k{k}", "mask"], 1, 1)]  # fmt: skip
        before = f"s{k}"
    network = graph(layers, inputs={"x": 1, "m": 1}, outputs=[before])
    found = partition(network, work_of(network), least=4.5)
    assert nodes(found)[0] == ("base", "left", "right", "mask")
    check(network, found)


@pytest.mark.parametrize(
    "name", ["siamese-lstm", "casia-surf", "googlenet", "resnet50", "minilm-l6"]
)
def test_networks_of_the_library(name: str) -> None:
    network = build_model(name)
    work = {n.name: float(network.operations(n).macs) for n in network.nodes}
    found = partition(network, work, least=0.02 * sum(work.values()))
    check(network, found)
    towers = {"siamese-lstm": 2, "casia-surf": 3}
    if name in towers:
        assert len(found.phases[0].subgraphs) == towers[name]


def test_bad_input_is_refused() -> None:
    network = fork(1, 1)
    for wrong in ({"least": -1.0}, {"least": 1.0, "dominance": 2.0}):
        with pytest.raises(SpecError):
            partition(network, {}, **wrong)
    with pytest.raises(SpecError, match="'r'"):
        partition(network, {"r": float("nan")}, least=1)
