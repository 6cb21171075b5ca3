"""Types of whole graphs: sizes that exporters compute, with names and with numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orrery.errors import ModelError, SpecError, UnsupportedOperatorsError
from orrery.graph import (
    ArrayConstant,
    Graph,
    Node,
    Operations,
    TensorType,
    build_model,
    example_inputs,
)
from orrery.graph.operators._rules import divide_out, plus, times


def chain(*steps, inputs, constants=None, outputs=None, name="chain"):
    """A graph from (op, inputs, output, attributes) steps."""
    nodes = tuple(
        Node(
            name=f"{op}_{target}", op=op, inputs=tuple(sources), outputs=(target,), attributes=attrs
        )
        for op, sources, target, attrs in steps
    )
    held = {k: ArrayConstant(np.asarray(v)) for k, v in (constants or {}).items()}
    types = {k: TensorType(dtype="float32", shape=s) for k, s in inputs.items()}
    return Graph(
        name=name, nodes=nodes, inputs=tuple(inputs), outputs=outputs or (steps[-1][2],),
        types=types, constants=held,
    )  # fmt: skip


@pytest.fixture
def heads():
    """Split into heads as exporters write it: Shape, Gather, Concat, Reshape, Transpose."""
    return chain(
        ("Shape", ["x"], "dims", {}),
        ("Gather", ["dims", "zero"], "batch", {}),
        ("Gather", ["dims", "one"], "length", {}),
        ("Gather", ["dims", "two"], "width", {}),
        ("Div", ["width", "four"], "depth", {}),
        ("Unsqueeze", ["batch", "front"], "batch1", {}),
        ("Unsqueeze", ["length", "front"], "length1", {}),
        ("Unsqueeze", ["depth", "front"], "depth1", {}),
        ("Concat", ["batch1", "length1", "heads", "depth1"], "target", {"axis": 0}),
        ("Reshape", ["x", "target"], "split", {}),
        ("Transpose", ["split"], "y", {"perm": (0, 2, 1, 3)}),
        inputs={"x": ("batch", "seq", 64)},
        constants={
            "zero": np.int64(0), "one": np.int64(1), "two": np.int64(2), "four": np.int64(4),
            "front": np.array([0]), "heads": np.array([4]),
        },
    )  # fmt: skip


def test_names_travel_through_computed_shapes(heads):
    assert heads.infer().type("y").shape == ("batch", 4, "seq", 16)


def test_binding_gives_what_evaluation_gives(heads):
    bound = heads.bind(batch=2, seq=5)
    x = np.arange(640, dtype=np.float32).reshape(2, 5, 64)
    y = bound.evaluate({"x": x})["y"]
    assert bound.type("y").shape == y.shape == (2, 4, 5, 16)
    np.testing.assert_array_equal(y, x.reshape(2, 5, 4, 16).transpose(0, 2, 1, 3))


def test_a_causal_mask_has_the_sequence_length():
    graph = chain(
        ("Shape", ["x"], "dims", {"start": 1, "end": 2}),
        ("Squeeze", ["dims"], "length", {}),
        ("Range", ["zero", "length", "one"], "steps", {}),
        ("Unsqueeze", ["steps", "back"], "rows", {}),
        ("LessOrEqual", ["steps", "rows"], "mask", {}),
        inputs={"x": ("batch", "seq", 8)},
        constants={"zero": np.int64(0), "one": np.int64(1), "back": np.array([1])},
    )
    assert graph.infer().type("mask") == TensorType(dtype="bool", shape=("seq", "seq"))
    bound = graph.bind(seq=3, batch=1)
    mask = bound.evaluate({"x": np.zeros((1, 3, 8), np.float32)})["mask"]
    np.testing.assert_array_equal(mask, np.tri(3, dtype=bool))
    node = bound.node("LessOrEqual_mask")
    assert bound.operations(node) == Operations(others=9)


def test_a_hole_takes_what_names_leave():
    graph = chain(
        ("Shape", ["x"], "dims", {"end": 2}),
        ("Concat", ["dims", "hole"], "target", {"axis": 0}),
        ("Reshape", ["x", "target"], "flat", {}),
        ("Size", ["x"], "count", {}),
        ("Reshape", ["count", "hole"], "line", {}),
        ("ConstantOfShape", ["line"], "zeros", {}),
        ("Slice", ["dims", "from1", "far"], "tail", {}),
        ("Mul", ["tail", "two"], "twice", {}),
        ("ConstantOfShape", ["twice"], "wide", {}),
        inputs={"x": ("n", "m", 3, 4)},
        constants={"hole": np.array([-1]), "from1": np.array([1]), "far": np.array([99]),
                   "two": np.array([2])},
        outputs=("flat", "zeros", "wide"),
    )  # fmt: skip
    types = graph.infer().types
    assert types["flat"].shape == ("n", "m", 12)
    assert types["zeros"].shape == ("12*m*n",)
    assert types["wide"].shape == ("2*m",)
    bound = graph.bind(n=2, m=5)
    got = bound.evaluate({"x": np.zeros((2, 5, 3, 4), np.float32)})
    assert {k: v.shape for k, v in got.items()} == {k: bound.type(k).shape for k in got}


def test_the_known_part_of_a_shape_is_a_value():
    graph = chain(
        ("Shape", ["x"], "dims", {"start": 1}),
        ("ConstantOfShape", ["dims"], "zeros", {}),
        inputs={"x": ("n", 3, 4)},
    )
    assert graph.infer().type("zeros").shape == (3, 4)


def test_mistakes_are_told():
    graph = chain(("Relu", ["x"], "y", {}), inputs={"x": ("batch", 3)})
    with pytest.raises(SpecError, match="did you mean 'batch'"):
        graph.bind(bacth=2)
    with pytest.raises(ModelError, match="unbound dimension 'batch'"):
        graph.infer().operations(graph.nodes[0])
    strange = chain(("Frobnicate", ["x"], "y", {}), inputs={"x": (3,)})
    with pytest.raises(UnsupportedOperatorsError, match="Frobnicate"):
        strange.infer()


def test_dimension_names():
    assert plus("s", "past", 0) == "past+s" and plus(2, 3) == 5
    assert plus("n", 1, 1) == "n+2" and plus("n+2", -2) == "n" and plus("n", -1) == "n-1"
    assert plus("past+seq", 1) == "past+seq+1" and plus("seq+1", "past") == "past+seq+1"
    assert times("n", 2, 3) == "6*n" and times("n", 0) == 0 and times("n+1", 2) == "2*(n+1)"
    assert times("2*n", "m", 3) == "6*m*n"
    assert (
        divide_out(("n", 6, "m"), ("n", 3)) == "2*m" and divide_out(("6*m*n",), ("m", 2)) == "3*n"
    )
    assert divide_out(("n", 6), ("m",)) is None and divide_out((6,), (4,)) is None


def test_what_only_running_tells_stays_unknown():
    graph = chain(
        ("Compress", ["x", "mask"], "some", {"axis": 0}),
        ("Squeeze", ["some"], "thin", {}),
        ("Relu", ["thin"], "y", {}),
        ("Relu", ["some"], "z", {}),
        inputs={"x": (4, 3), "mask": (4,)},
        outputs=("y", "z"),
    )
    graph = graph.with_types({**graph.types, "mask": TensorType(dtype="bool", shape=(4,))}).infer()
    assert graph.type("z").shape == ("Compress_some.kept", 3)
    with pytest.raises(ModelError, match="no known type"):
        graph.type("y")  # one row left or several: nobody knows the rank
    x = np.ones((4, 3), np.float32)
    got = graph.evaluate({"x": x, "mask": np.array([False, True, False, False])})
    assert got["y"].shape == (3,)


def test_names_that_a_shell_would_split_are_quoted():
    graph = chain(("Relu", ["x"], "y", {}), inputs={"x": ("b=c d", 3)})
    assert graph.bind(**{"b=c d": 8}).type("y").shape == (8, 3)
    with pytest.raises(SpecError, match="one of: 'b=c d'"):
        graph.bind(b=8)
    with pytest.raises(SpecError, match=r"--shape 'b=c d=0'"):
        graph.bind(**{"b=c d": 0})


@pytest.mark.parametrize("size", [2**31, 99999999999999999999])
def test_sizes_that_no_axis_has_are_refused(size):
    graph = chain(("Relu", ["x"], "y", {}), inputs={"x": ("batch", 3)})
    assert graph.bind(batch=2**31 - 1).type("y").shape == (2**31 - 1, 3)
    with pytest.raises(SpecError, match="1 to 2147483647"):
        graph.bind(batch=size)
    with pytest.raises(SpecError, match="1 to 2147483647"):
        build_model("resnet18", batch=size)


def test_what_no_array_can_hold_is_said_with_its_size():
    graph = chain(("Relu", ["x"], "y", {}), inputs={"x": (1 << 40, 1 << 40)})
    with pytest.raises(ModelError, match=r"input 'x': found 'float32\[.*4.84e\+24 B'"):
        example_inputs(graph)
    for bound in ("0", "-3", "many", "9" * 30):
        noted = replace(graph, metadata={"below.x": bound})
        with pytest.raises(ModelError, match="a whole number above zero"):
            example_inputs(noted)
