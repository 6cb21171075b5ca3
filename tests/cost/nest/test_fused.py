"""Stages of networks: every node once, read and written what the graph says."""

from __future__ import annotations

import numpy as np
import pytest

from orrery.cost.nest import nest_problem, stages_of
from orrery.graph import ArrayConstant, Graph, Node, Region, TensorType, build_model


def made(*nodes: tuple[str, str, tuple[str, ...]], outputs: tuple[str, ...]) -> Graph:
    """Return a graph of (result, operator, operands); `w` and `b` are constants."""
    rng = np.random.default_rng(0)
    constants = {"w": ArrayConstant(rng.random((3, 3, 1, 1), np.float32)),
                 "b": ArrayConstant(rng.random((3, 1, 1), np.float32))}  # fmt: skip
    types = {"image": TensorType(dtype="float32", shape=(1, 3, 4, 4)),
             **{name: constant.type for name, constant in constants.items()}}  # fmt: skip
    made = tuple(Node(name=out, op=op, inputs=reads, outputs=(out,)) for out, op, reads in nodes)
    return Graph(name="made", inputs=("image",), outputs=outputs, types=types, constants=constants,
                 nodes=made).infer()  # fmt: skip


def told(graph: Graph) -> list[tuple]:
    return [(s.name, [o for _, o, _ in s.tail.operators], s.tail.reads, s.tail.also, s.writes)
            for s in stages_of(graph).stages]  # fmt: skip


def test_unary_tails_and_constants_join() -> None:
    graph = made(("c", "Conv", ("image", "w")), ("s", "Add", ("c", "b")), ("r", "Relu", ("s",)),
                 outputs=("r",))  # fmt: skip
    (stage,) = stages_of(graph).stages
    assert told(graph) == [("c", ["Add", "Relu"], (), (), ("r",))]
    assert (stage.tail.constants, stage.tail.operations) == (3, 2 * 48)
    assert stage.problems == nest_problem(graph.regions()[0])


def test_a_result_that_others_read_too_is_written_as_well() -> None:
    graph = made(("c", "Conv", ("image", "w")), ("d", "Conv", ("c", "w")), ("r", "Relu", ("c",)),
                 ("e", "Conv", ("r", "w")), ("f", "Add", ("e", "d")),
                 outputs=("f", "r"))  # fmt: skip
    assert told(graph) == [
        ("c", ["Relu"], (), ("c",), ("r", "c")),
        ("d", [], (), (), ("d",)),
        ("e", ["Add"], ("d",), (), ("f",)),
    ]


def test_an_addition_joins_the_later_of_its_operands_through_views() -> None:
    graph = made(("a", "Conv", ("image", "w")), ("v", "Identity", ("a",)),
                 ("c", "Conv", ("v", "w")), ("f", "Add", ("v", "c")), outputs=("f",))  # fmt: skip
    found = stages_of(graph)
    assert told(graph) == [("a", [], (), (), ("a",)), ("c", ["Add"], ("a",), (), ("f",))]
    assert found.readers() == {"image": (0,), "a": (1,)}
    twice = made(("a", "Conv", ("image", "w")), ("f", "Mul", ("a", "a")), outputs=("f",))
    assert [name for name, *_ in told(twice)] == ["a", "f"]


@pytest.mark.parametrize("model", ["resnet18", "mobilenet_v2", "squeezenet1_1"])
def test_stages_are_regions_of_the_graph(model: str) -> None:
    """What a stage reads and writes is what the region of its nodes does, views aside."""
    graph = build_model(model)
    for tails in (True, False):
        found = stages_of(graph, tails=tails)
        seen = [name for s in found.stages
                for name in (s.name, *(node for node, _, _ in s.tail.operators))]  # fmt: skip
        views = {
            n.name for n in graph.nodes if nest_problem(Region(graph=graph, nodes=(n.name,))) == ()
        }
        assert sorted((*seen, *views)) == sorted(node.name for node in graph.nodes)
        aliases = {
            out: graph.node(name).inputs[0] for name in views for out in graph.node(name).outputs
        }
        for s in found.stages:
            region = Region(graph=graph, nodes=(s.name, *(node for node, _, _ in s.tail.operators)))
            outside = {aliases.get(name, name) for name in region.inputs}
            assert outside == {*s.reads, *s.tail.reads}
            assert set(region.outputs) == set(s.writes)
    assert len(stages_of(graph).stages) < len(found.stages)


def test_passes_can_be_left_to_another_unit() -> None:
    graph = build_model("resnet18")
    found = stages_of(graph, passes=False)
    assert [s.name for s in found.stages if not s.problems] == ["maxpool", "avgpool"]
    assert all("another unit" in s.reason for s in found.stages if not s.problems)
