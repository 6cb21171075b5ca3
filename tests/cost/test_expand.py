"""Plans written out: scalars, states, results, bodies; who must wait for whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orrery.cost import Box, Expansion, Strategy, check_flow, expand, price, roofline
from orrery.errors import SpecError
from orrery.graph import ArrayConstant, Graph, Node, TensorType
from orrery.hardware import System
from orrery.plan import Plan

from .small import full, link
from .splits import Choice, split, split_plan

_ROWS = Strategy(exclusive=(("axis0", 2),))


def _graph(nodes: list[Node], inputs: dict[str, tuple[int, ...]], outputs: tuple[str, ...],
           constants: dict[str, np.ndarray] | None = None, **more: object) -> Graph:  # fmt: skip
    kept = {name: ArrayConstant(value) for name, value in (constants or {}).items()}
    types = {name: TensorType(dtype="float32", shape=shape) for name, shape in inputs.items()}
    types |= {name: constant.type for name, constant in kept.items()}
    return Graph(name="g", nodes=tuple(nodes), inputs=tuple(inputs), outputs=outputs, types=types,
                 constants=kept, **more).infer()  # type: ignore[arg-type]  # fmt: skip


def _plan(graph: Graph, system: System, where: dict[str, Choice]) -> tuple[Plan, Expansion]:
    plan = split_plan([graph], system, lambda region: where[region.name])
    check_flow(plan, [graph], system)
    price(plan, [graph], system, {"": roofline})
    return plan, expand(plan, [graph], system)


def test_scalars_cost_nothing_but_their_bytes_where_they_are_read() -> None:
    graph = _graph([Node(name="mul", op="Mul", inputs=("x", "half"), outputs=("y",))],
                   {"x": (4, 4)}, ("y",), {"half": np.float32(0.5)})  # fmt: skip
    system = full(3)
    plan, found = _plan(graph, system, {"mul": (split(["d2", "d0"], _ROWS), "d2")})
    assert plan.resident_bytes == {"d0": 4, "d2": 4}
    assert not found.steps[0].arrivals
    assert found.residents[1] == {}


def test_a_reader_waits_for_who_brought_the_tensor() -> None:
    nodes = [
        Node(name="a", op="Relu", inputs=("x",), outputs=("r",)),
        Node(name="slow", op="MatMul", inputs=("x", "w"), outputs=("m",)),
        Node(name="b", op="Add", inputs=("r", "r2"), outputs=("s",)),
        Node(name="c", op="Sigmoid", inputs=("r",), outputs=("t",)),
    ]
    graph = _graph(nodes, {"x": (16, 16), "r2": (16, 16)}, ("m", "s", "t"),
                   {"w": np.ones((16, 16), np.float32)})  # fmt: skip
    where = {"a": (None, "d0"), "slow": (None, "d1"), "b": (split(["d1", "d2"], _ROWS), "d1"),
             "c": (None, "d3")}  # fmt: skip
    _, found = _plan(graph, full(4), where)
    brought = found.steps[3]
    assert brought.after == (0, 2)  # made by the first, fetched from the devices of the third
    assert {m.source for m in brought.arrivals[0].phases[0].messages} == {1, 2}
    held = [(h.layout.held_bytes(0), h.first, h.last) for h in found.holdings if h.tensor == "r"]
    assert held == [(1024, 0, 2), (0, 2, 3), (0, 3, 3)]


def test_the_next_value_of_a_state_goes_wherever_the_state_is_read() -> None:
    nodes = [
        Node(name="first", op="Add", inputs=("x", "state"), outputs=("a",)),
        Node(name="second", op="Mul", inputs=("a", "state"), outputs=("next",)),
    ]
    graph = _graph(nodes, {"x": (8, 4), "state": (8, 4)}, ("next",), states={"state": "next"})
    where = {"first": (split(["d0", "d1"], _ROWS), "d0"), "second": (None, "d2")}
    plan, found = _plan(graph, full(3), where)
    assert plan.resident_bytes == {"d0": 64, "d1": 64, "d2": 128}
    ((step, change),) = found.returns
    assert step == 1 and change.after.boxes[:2] == (
        Box(spans=((0, 4), (0, 4))), Box(spans=((4, 8), (0, 4))))  # fmt: skip
    assert change.moved_bytes == 128


def test_a_cache_that_grows_keeps_its_parts() -> None:
    nodes = [
        Node(name="append", op="Concat", inputs=("cache", "x"), outputs=("next",),
             attributes={"axis": 1}),
        Node(name="use", op="Relu", inputs=("next",), outputs=("y",)),
    ]  # fmt: skip
    graph = _graph(nodes, {"x": (4, 1), "cache": (4, 7)}, ("y", "next"),
                   states={"cache": "next"})  # fmt: skip
    where = {"append": (split(["d0", "d1"], _ROWS), "d0"), "use": (None, "d0")}
    plan, found = _plan(graph, full(2), where)
    assert plan.resident_bytes == {"d0": 56, "d1": 56}
    assert not found.returns  # each half of the rows stays where it was
    cost = price(plan, [graph], full(2), {"": roofline})
    # The cache, a new column, what is fetched of the other half, and what is made.
    assert cost.peak_bytes["d0"] <= 56 + 8 + 2 * 128


def test_results_without_a_host_stay_and_outlive_their_readers() -> None:
    nodes = [Node(name="a", op="Relu", inputs=("x",), outputs=("r",)),
             Node(name="b", op="Relu", inputs=("r",), outputs=("y",)),
             Node(name="c", op="Relu", inputs=("y",), outputs=("z",))]  # fmt: skip
    graph = _graph(nodes, {"x": (8, 8)}, ("r", "z"))
    where = {"a": (None, "d0"), "b": (split(["d1", "d2"], _ROWS), "d1"), "c": (None, "d2")}
    _, found = _plan(graph, full(3), where)
    assert not found.returns
    kept = [holding for holding in found.holdings if holding.tensor == "r"]
    assert kept[-1].last == len(found.steps)
    assert [h.last for h in found.holdings if h.tensor == "y"] == [2, 2]


@pytest.mark.parametrize("host", ["host", "d0"])
def test_inputs_come_from_the_host_and_results_go_there(host: str) -> None:
    base = full(2)
    links = (*base.links, link("host", "d0"), link("host", "d1")) if host == "host" else base.links
    system = System(name="hosted", devices=base.devices, links=links, host=host)
    graph = _graph([Node(name="a", op="Relu", inputs=("x",), outputs=("y",))], {"x": (8, 8)},
                   ("y",))  # fmt: skip
    _, found = _plan(graph, system, {"a": (split(["d1", "d0"], _ROWS), "d1")})
    moved = 256 if host == "host" else 128  # half of it is there already
    assert found.steps[0].arrivals[0].moved_bytes == moved
    assert [change.moved_bytes for _, change in found.returns] == [moved]
    assert found.ends == (("d0", "d1", "host") if host == "host" else ("d0", "d1"))


def test_one_operand_read_twice_in_different_parts() -> None:
    graph = _graph([Node(name="square", op="MatMul", inputs=("x", "x"), outputs=("y",))],
                   {"x": (8, 8)}, ("y",))  # fmt: skip
    strategy = Strategy(exclusive=(("K", 2),), combine="reduce_scatter")
    base = full(2)
    system = System(name="hosted", devices=base.devices, host="host",
                    links=(*base.links, link("host", "d0"), link("host", "d1")))  # fmt: skip
    plan, found = _plan(graph, system, {"square": (split(["d0", "d1"], strategy), "d0")})
    assert [change.moved_bytes for change in found.steps[0].arrivals] == [256, 128]
    cost = price(plan, [graph], system, {"": roofline})
    # Columns, rows and the whole partial sum, at once.
    assert cost.peak_bytes["d1"] == 128 + 128 + 256


def test_regions_in_the_right_order_only() -> None:
    graph = _graph([Node(name="a", op="Relu", inputs=("x",), outputs=("r",)),
                    Node(name="b", op="Relu", inputs=("r",), outputs=("y",))],
                   {"x": (8, 8)}, ("y",))  # fmt: skip
    system = full(2)
    plan, _ = _plan(graph, system, {"a": (split(["d0", "d1"], _ROWS), "d0"), "b": (None, "d1")})
    with pytest.raises(SpecError, match="producers before consumers"):
        expand(replace(plan, assignments=plan.assignments[::-1]), [graph], system)
