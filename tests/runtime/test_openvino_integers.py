"""Whole numbers on OpenVINO: refused, or as ONNX Runtime computes them up to the last one taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from orrery.errors import SpecError
from orrery.graph import ArrayConstant, Graph, Node, TensorType, build_model
from orrery.runtime import BACKENDS
from orrery.runtime.libraries._openvino import OpenVinoBackend
from orrery.runtime.refusals import SMALL

pytestmark = pytest.mark.openvino
needs_openvino = pytest.mark.needs("openvino", "onnxruntime")

FULL = 2**31 - 1


def network(
    op: str, types: Sequence[str], constants: Sequence[Any] = (), *, shape: tuple[int, ...] = (4,),
    **attributes: object,
) -> Graph:  # fmt: skip
    """One node on inputs of these types and one shape, then constants."""
    names = [f"x{k}" for k in range(len(types))]
    held = {f"c{k}": ArrayConstant(np.asarray(value)) for k, value in enumerate(constants)}
    return Graph(
        name=op, inputs=tuple(names), outputs=("y",), constants=held,
        nodes=(Node(name="n", op=op, inputs=(*names, *held), outputs=("y",),
                    attributes=attributes),),
        types={n: TensorType(dtype=t, shape=shape) for n, t in zip(names, types, strict=True)},
    ).infer()  # fmt: skip


def edges(dtype: str, limit: int, shape: tuple[int, ...], turn: int) -> np.ndarray:
    """Numbers where floats, 32 bits and 8 bits end; other ones in each turn."""
    if dtype == "bool":
        return np.resize([True, False, True], shape)
    if dtype.startswith("float"):
        return np.resize(np.array([1e10, -0.3, 300.0, 2.7, -1e12, 0.0], dtype), shape)
    info = np.iinfo(dtype)
    some = [SMALL, SMALL - 1, -SMALL, 5, 4099, 0, -7, 255, 127, SMALL + 1, FULL, -128, 1]
    fitting = [n for n in some if abs(n) <= limit and info.min <= n <= info.max]
    return np.resize(np.roll(np.array(fitting, dtype), turn), shape)


#: ONNX's numbers of element types
CODES = {"float32": 1, "uint8": 2, "int32": 6, "int64": 7, "bool": 9}

CASES = [
    *(network(op, [t, t]) for op in ("Add", "Sub", "Mul", "Max", "Min", "Equal", "Greater", "Less",
                                     "Div", "Mod", "Pow")
      for t in ("int64", "uint8")),
    *(network(op, [t], [np.array([5, 1, 2, 3], t)]) for op in ("Add", "Sub", "Mul", "Equal", "Less",
                                                              "Greater", "Div", "Mod")
      for t in ("int64", "uint8")),
    *(network(op, [t], **given) for t in ("int64",) for op, given in (
        ("Neg", {}), ("Abs", {}), ("Sign", {}), ("ArgMax", {"axis": 0}), ("ReduceSum", {}),
        ("ReduceMax", {}), ("ReduceMin", {}), ("ReduceProd", {}), ("ReduceMean", {}),
        ("Identity", {}))),
    *(network("CumSum", [t], [np.int64(0)]) for t in ("int32", "int64")),
    *(network("MatMul", [t, t], shape=(3, 3)) for t in ("int32", "int64")),
    network("MatMulInteger", ["uint8", "int8"], shape=(3, 3)),
    network("MatMulInteger", ["uint8", "int8"], shape=(600, 600)),
    *(network("Cast", [a], to=CODES[b]) for a in ("float32", "int64", "bool")
      for b in ("int64", "int32", "uint8", "float32", "bool") if a != b),
    network("Add", ["int64"], [np.array([2**40, 1, 2, 3])]),
    network("Where", ["bool"], [np.array([2**40, 1, 2, 3]), np.array([-(2**40), 1, 2, 3])]),
    network("Where", ["bool"], [np.array([FULL, 1, 2, 3]), np.arange(4)]),
    network("Concat", ["int64", "int64"], axis=0),
    network("Gather", ["int64"], [np.array([2, 0])]),
    network("Slice", ["int64"], [np.array([1]), np.array([2**63 - 1])]),
    network("Shape", ["float32"], shape=(3, 5)),
    network("Trilu", ["int64"], shape=(3, 3)),
    network("Expand", ["int64"], [np.array([2, 4])]),
    network("Tile", ["int64"], [np.array([2])]),
]  # fmt: skip


@needs_openvino
def test_what_is_not_refused_is_what_onnxruntime_computes() -> None:
    ours, judge = OpenVinoBackend(threads=1), BACKENDS["onnxruntime"](threads=1)
    ran, wrong = 0, []
    for graph in CASES:
        if ours.refuses(graph) is not None or judge.refuses(graph) is not None:
            continue
        ready, wanted = ours.prepare(graph), judge.prepare(graph)
        for turn in range(4):
            types = [(name, graph.types[name]) for name in graph.inputs]
            given = {
                name: edges(type_.dtype, ready.limit, type_.sizes, turn + k)  # type: ignore[attr-defined]
                for k, (name, type_) in enumerate(types)
            }
            if graph.nodes[0].op in ("Div", "Mod") and "x1" in given:
                given["x1"] = np.maximum(given["x1"], 1)
            # ONNX Runtime adds pairs of products of 8 bits up in 16 where there is no VNNI.
            whose = graph.evaluate if graph.name == "MatMulInteger" else wanted.run
            found, want = ready.run(given)["y"], whose(given)["y"]
            ran += 1
            if found.dtype != want.dtype or not np.array_equal(found, want):
                wrong.append((graph.name, [str(t) for t in graph.types.values()], found, want))
    assert wrong == []
    assert ran > 60


@pytest.mark.parametrize("graph", [
    network("Mul", ["int64", "int64"]), network("Pow", ["int64", "int64"]),
    network("ReduceSum", ["int64"]), network("MatMul", ["int64", "int64"], shape=(3, 3)),
    network("Add", ["uint8", "uint8"]), network("Sub", ["int8", "int8"]),
    network("Cast", ["float32"], to=CODES["int64"]), network("Add", ["int64"], [np.array([2**40])]),
    network("CumSum", ["int64"], [np.int64(0)]),
    network("Where", ["bool"], [np.array([2**40]), np.array([1])]),
])  # fmt: skip
def test_what_may_leave_its_range_is_refused_with_the_operator(graph: Graph) -> None:
    why = OpenVinoBackend().refuses(graph)
    assert why is not None and f"{graph.nodes[0].op} (" in why


@needs_openvino
@pytest.mark.parametrize(("graph", "limit"), [
    (network("Gather", ["int64"], [np.array([1])]), FULL),
    (network("Greater", ["int64"], [np.array([0])]), FULL),
    (network("Add", ["int64"], [np.arange(4)]), SMALL),
    (network("Equal", ["int64", "int64"]), SMALL),
])  # fmt: skip
def test_inputs_are_taken_up_to_where_it_is_exact(graph: Graph, limit: int) -> None:
    ready = OpenVinoBackend(threads=1).prepare(graph)
    for name in graph.inputs:
        given = {n: np.array([3, 1, limit, 2]) for n in graph.inputs}
        ready.run(given)
        with pytest.raises(SpecError, match=rf"input '{name}': found {limit + 1}, wanted"):
            ready.run({**given, name: np.array([3, 1, limit + 1, 2])})


@pytest.mark.parametrize("name", ["wide-deep", "siamese-lstm", "minilm-l6", "memn2n"])
def test_networks_that_look_up_words_stay(name: str) -> None:
    assert OpenVinoBackend().refuses(build_model(name)) is None


def test_bodies_see_the_ranges_around_them() -> None:
    """A branch that adds to what it finds outside, and to what may be anything."""

    def body(add: int, name: str) -> Graph:
        return Graph(
            name=name, inputs=("x",), outputs=(f"{name}.y",),
            types={"x": TensorType(dtype="int64", shape=(1,))},
            nodes=(Node(name=f"{name}.n", op="Add", inputs=("x", f"{name}.c"),
                        outputs=(f"{name}.y",)),),
            constants={f"{name}.c": ArrayConstant(np.array([add]))},
        )  # fmt: skip

    def branching(add: int) -> Graph:
        node = Node(name="if", op="If", inputs=("c", "x"), outputs=("y",), attributes={
            "captured": 1,
            "then_branch": body(1, "then"), "else_branch": body(add, "else")})  # fmt: skip
        return Graph(
            name="branching", inputs=("c", "x"), outputs=("y",), nodes=(node,),
            types={"c": TensorType(dtype="bool", shape=()),
                   "x": TensorType(dtype="int64", shape=(1,))},
        ).infer()  # fmt: skip

    assert OpenVinoBackend().refuses(branching(7)) is None
    why = OpenVinoBackend().refuses(branching(2**31 - 1))
    assert why is not None and "Add (int64 that may pass 32 bits)" in why
