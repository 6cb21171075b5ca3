"""Stages of networks: every node once, read and written what the graph says."""

from __future__ import annotations

import numpy as np
import pytest

from orrery.cost.nest import NestProblem, nest_problem, row_tiles, stages_of
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


def inside(problem: NestProblem) -> int:
    """Return the operations whose operand is not padding, one by one."""
    extents = dict(problem.loops)
    (x,) = [t for t in problem.tensors if t.role == "input"]
    grid = np.indices(tuple(extents.values())).reshape(len(extents), -1)
    index = dict(zip(extents, grid, strict=True))
    there = np.ones(grid.shape[1], bool)
    for axis in x.axes:
        place = axis.offset + sum(index[loop] * stride for loop, stride in axis.terms)
        there &= (place >= 0) & (place < axis.size)
    return int(there.sum()) * problem.times


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_tiles_of_rows_do_all_that_the_chain_does(rows: int) -> None:
    graph = build_model("vgg16", image=32, width=0.05)
    stages = stages_of(graph)
    tiles = row_tiles(stages, 0, 2, rows)
    assert [s.operator for s in stages.stages[:3]] == ["Conv", "Conv", "MaxPool"]
    last = [tile for tile in tiles if tile.stage == 2]
    assert sum(tile.rows * tile.problem.times for tile in last) == 16
    assert sum(inside(tile.problem) for tile in last) == inside(stages.stages[2].problems[0])
    for place in (0, 1):  # halves that two tiles share are made twice, nothing is left out
        own = [tile for tile in tiles if tile.stage == place]
        made = sum(tile.rows * tile.problem.times for tile in own)
        overlap = (2 if place == 0 else 0) * (len(range(0, 16, rows)) - 1)
        assert made == 32 + overlap
        assert all(tile.makes == stages.sizes[stages.stages[place].writes[0]] // 32 * tile.rows
                   for tile in own)  # fmt: skip
    assert row_tiles(stages, 0, len(stages.stages) - 1, rows) == ()  # a product has no rows


def test_what_others_read_is_not_cut() -> None:
    graph = made(("a", "Conv", ("image", "w")), ("c", "Conv", ("a", "w")),
                 ("d", "Conv", ("c", "w")), ("f", "Add", ("d", "a")), outputs=("f",))  # fmt: skip
    stages = stages_of(graph)
    assert row_tiles(stages, 0, 1, 2) == ()
    assert row_tiles(stages, 1, 2, 2) == ()  # the tail reads another tensor
    alone = made(("a", "Conv", ("image", "w")), ("c", "Conv", ("a", "w")), outputs=("c", "a"))
    assert row_tiles(stages_of(alone), 0, 1, 2) == ()


def test_constants_that_a_copy_gathers_are_not_on_chip() -> None:
    table = ArrayConstant(np.zeros((5, 3), np.float32))
    graph = Graph(
        name="picked", inputs=("ids",), outputs=("m",), constants={"table": table},
        types={"ids": TensorType(dtype="int64", shape=(4,)), "table": table.type},
        nodes=(Node(name="n", op="Abs", inputs=("ids",), outputs=("n",)),
               Node(name="g", op="Gather", inputs=("table", "n"), outputs=("g",)),
               Node(name="c", op="Concat", inputs=("g", "table"), outputs=("c",),
                    attributes={"axis": 0}),
               Node(name="d", op="Concat", inputs=("c", "g"), outputs=("d",),
                    attributes={"axis": 0}),
               Node(name="m", op="ReduceMax", inputs=("d",), outputs=("m",))),
    ).infer()  # fmt: skip
    told = {s.name: s.reads_kept for s in stages_of(graph).stages}
    # Two tensors that are joined are one operand of the copy: they do not stay.
    assert told == {"n": True, "g": False, "c": False, "d": False, "m": True}
