"""OpenVINO: ONNX's node tests and the NumPy reference judge it; what it lacks is refused."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from orrery.errors import MissingExtraError, ModelError, OrreryError, SpecError
from orrery.graph import (
    MODELS,
    ArrayConstant,
    Graph,
    Node,
    TensorType,
    build_model,
    example_inputs,
)
from orrery.runtime import BACKENDS
from orrery.runtime.libraries._openvino import OpenVinoBackend

from .graphs import diamond, image
from .node_judge import chosen_cases, judge

pytestmark = pytest.mark.openvino
needs_openvino = pytest.mark.needs("openvino")

#: Cases that release 2026.4 gets wrong, and why they stand: nobody can tell from the graph.
KNOWN: dict[str, str] = {
    "test_reduce_max_empty_set": "the largest of nothing is the lowest number, not -inf",
}


def one_node(op: str, *shapes: tuple[int, ...], outputs: int = 1, dtype: str = "float32",
             **attributes: object) -> Graph:  # fmt: skip
    names = tuple(f"x{i}" for i in range(len(shapes)))
    node = Node(name="the node", op=op, inputs=names, attributes=attributes,
                outputs=tuple(f"y{i}" for i in range(outputs)))  # fmt: skip
    types = {n: TensorType(dtype=dtype, shape=s) for n, s in zip(names, shapes)}
    return Graph(name="one", nodes=(node,), inputs=names, outputs=node.outputs, types=types).infer()


@needs_openvino
def test_node_cases_that_are_not_refused() -> None:
    wrong = judge(OpenVinoBackend(threads=1), chosen_cases(1), KNOWN)
    assert wrong.pop("") > 90
    assert wrong == {}


@needs_openvino
@pytest.mark.parametrize("name", ["resnet18", "googlenet", "minilm-l6", "siamese-lstm", "memn2n"])
def test_networks_equal_the_reference(name: str) -> None:
    graph = build_model(name, **MODELS[name].small)
    inputs = example_inputs(graph)
    found = OpenVinoBackend(threads=1).prepare(graph).run(inputs)
    for tensor, want in graph.evaluate(inputs).items():
        assert found[tensor].dtype == want.dtype
        np.testing.assert_allclose(found[tensor], want, rtol=2e-5, atol=2e-5)


@needs_openvino
@pytest.mark.parametrize("shape", [(2, 3), ()])
@pytest.mark.parametrize("kind", [np.int64, np.longlong])
def test_both_of_numpys_types_of_64_bits_are_taken(
    kind: type[np.signedinteger], shape: tuple[int, ...]
) -> None:
    """They are equal, and ONNX Runtime returns the other one; the library knows but one."""
    graph = one_node("Identity", shape, dtype="int64")
    given = np.arange(np.prod(shape), dtype=kind).reshape(shape)
    given.flags.writeable = False
    found = OpenVinoBackend(threads=1).prepare(graph).run({"x0": given})["y0"]
    np.testing.assert_array_equal(found, given)


@needs_openvino
def test_threads_may_share_an_executable() -> None:
    """Runs at once do not disturb each other, and outputs are nobody else's memory."""
    graph = diamond(size=64)
    executable = OpenVinoBackend(threads=1).prepare(graph)
    random = np.random.default_rng(0)
    given = [{"x": random.standard_normal((3, 64)).astype(np.float32)} for _ in range(8)]
    wanted = [graph.evaluate(inputs) for inputs in given]
    found: list[dict[str, np.ndarray]] = [{} for _ in given]

    def work(index: int) -> None:
        for _ in range(20):
            found[index] = executable.run(given[index])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(given))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for made, want in zip(found, wanted):
        for name, value in want.items():
            np.testing.assert_allclose(made[name], value, rtol=1e-5, atol=1e-5)


@needs_openvino
def test_outputs_stay_when_the_executable_runs_again() -> None:
    graph = diamond()
    executable = OpenVinoBackend(threads=1).prepare(graph)
    first = executable.run(image(graph))
    kept = {name: value.copy() for name, value in first.items()}
    executable.run({"x": np.full((3, 6), 7, np.float32)})
    assert all(np.array_equal(first[name], kept[name]) for name in kept)


@needs_openvino
def test_a_model_beyond_the_limit_goes_through_a_file() -> None:
    graph = diamond()
    inputs = image(graph)
    small = OpenVinoBackend(threads=1).prepare(graph).run(inputs)
    large = OpenVinoBackend(threads=1, largest_in_memory_bytes=0).prepare(graph).run(inputs)
    assert all(np.array_equal(small[name], large[name]) for name in small)


@needs_openvino
def test_inputs_that_lose_their_name_or_their_port() -> None:
    """Dropout hands its input on under another name; an input that nobody reads has no port."""
    graph = one_node("Dropout", (2, 3), outputs=2)
    types = {**graph.types, "unread": TensorType(dtype="int64", shape=(4,))}
    graph = replace(graph, inputs=("unread", "x0"), types=types)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = OpenVinoBackend(threads=1).prepare(graph).run({"x0": x, "unread": np.arange(4)})
    assert np.array_equal(found["y0"], x) and found["y1"].all()


@needs_openvino
def test_constants_and_inputs_as_outputs() -> None:
    graph = Graph(
        name="constant", nodes=(Node(name="n", op="Relu", inputs=("x",), outputs=("y",)),),
        inputs=("x",), outputs=("y", "c", "x"),
        types={"x": TensorType(dtype="float32", shape=(2,))},
        constants={"c": ArrayConstant(np.arange(3, dtype=np.float32))},
    ).infer()  # fmt: skip
    x = np.array([-1, 2], np.float32)
    found = OpenVinoBackend(threads=1).prepare(graph).run({"x": x})
    assert [found[n].tolist() for n in ("y", "c", "x")] == [[0, 2], [0, 1, 2], [-1, 2]]


@needs_openvino
@pytest.mark.parametrize("dtype", ["float32", "bool", "int64"])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_what_another_part_made_may_be_read_only(dtype: str, shape: tuple[int, ...]) -> None:
    """As arrays arrive that other parts of a network read too; those without axes among them."""
    network = one_node("Equal", shape, (3,), dtype=dtype)
    scalar, row = np.ones(shape, dtype), np.array([1, 0, 1], dtype)
    for array in (scalar, row):
        array.flags.writeable = False
    executable = OpenVinoBackend(threads=1).prepare(network)
    for _ in range(2):
        found = executable.run({"x0": scalar, "x1": row})
        assert found["y0"].tolist() == [True, False, True]


@needs_openvino
def test_an_error_while_preparing_names_the_node() -> None:
    graph = diamond()
    nodes = (*graph.nodes[:-1], replace(graph.nodes[-1], op="Foo", domain="com.example"))
    with pytest.raises(ModelError, match=r"diamond: node 'scale': found .OpenVINO, preparing"):
        OpenVinoBackend().prepare(replace(graph, nodes=nodes))


@needs_openvino
def test_whole_numbers_beyond_32_bits_are_refused_when_given() -> None:
    executable = OpenVinoBackend(threads=1).prepare(one_node("Neg", (2,), dtype="int64"))
    assert executable.run({"x0": np.array([5, -6])})["y0"].tolist() == [-5, 6]
    with pytest.raises(SpecError, match="found 8589934592, wanted whole numbers of at most"):
        executable.run({"x0": np.array([1, 1 << 33])})


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (one_node("Det", (3, 3)), "Det"),
        (one_node("LSTM", (2, 3, 4), (1, 20, 4), (1, 20, 5), outputs=3, layout=1), "batches first"),
        (one_node("MaxPool", (1, 1, 2, 2), kernel_shape=(1, 1), strides=(2, 2), ceil_mode=1,
                  pads=(0, 0, 1, 1)), "start in the padding"),
        (one_node("Neg", (3,), dtype="float64"), "float64"),
        (one_node("Mod", (3,), (3,)), "divisor's sign"),
        (Graph(name="g", nodes=(Node(name="n", op="Step", domain="orrery.training", inputs=("x",),
                                     outputs=("y",)),), inputs=("x",), outputs=("y",),
               types={"x": TensorType(dtype="float32", shape=(1,))}), "orrery.training.Step"),
    ],
)  # fmt: skip
def test_what_it_lacks_is_refused_with_a_reason(graph: Graph, message: str) -> None:
    reason = OpenVinoBackend().refuses(graph)
    assert reason is not None and message in reason


def test_every_refused_operator_is_named() -> None:
    nodes = (
        Node(name="a", op="Det", inputs=("x",), outputs=("y",)),
        Node(name="b", op="CumProd", inputs=("y", "axis"), outputs=("z",)),
    )
    graph = Graph(
        name="g", nodes=nodes, inputs=("x", "axis"), outputs=("z",),
        types={"x": TensorType(dtype="float32", shape=(2, 3, 3)),
               "axis": TensorType(dtype="int64", shape=())},
    ).infer()  # fmt: skip
    reason = OpenVinoBackend().refuses(graph)
    assert reason is not None and "CumProd, Det" in reason


def test_overhanging_windows_that_start_inside_are_not_refused() -> None:
    graph = one_node("MaxPool", (1, 1, 7, 7), kernel_shape=(3, 3), strides=(2, 2), ceil_mode=1)
    assert OpenVinoBackend().refuses(graph) is None


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'orrery\[openvino\]'"):
        BACKENDS["openvino"]().prepare(diamond())


def test_a_broken_package_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "openvino":
                raise ImportError("half an installation", name="openvino._pyopenvino")

    monkeypatch.delitem(sys.modules, "openvino", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(OrreryError, match=r"does not load .half an installation") as caught:
        OpenVinoBackend().prepare(diamond())
    assert not isinstance(caught.value, MissingExtraError)


def test_a_negative_number_of_threads_is_refused() -> None:
    with pytest.raises(SpecError, match="openvino: threads: found -1"):
        OpenVinoBackend(threads=-1).prepare(diamond())
