"""What the reader makes of files as they come: names, order, functions, bodies, bad input."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.parser import parse_model

from orrery.errors import ModelError, UnsupportedOperatorsError
from orrery.graph import ArrayConstant, FileConstant, Graph, graph_from_bytes, onnx_bytes, read_onnx


def text(source: str) -> bytes:
    """Serialise a model written in ONNX's text form."""
    return parse_model(source).SerializeToString()


def model(body: str, opset: int = 21) -> Graph:
    return graph_from_bytes(text(f'<ir_version: 10, opset_import: ["" : {opset}]>\n{body}'), "m")


def runtime(data: bytes, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Run ONNX Runtime, the judge."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return list(onnxruntime.InferenceSession(data, options).run(None, inputs))


# -- names and order ------------------------------------------------------------------------------


def test_nameless_and_repeated_names_become_unique() -> None:
    graph = model("g (float[2] x) => (float[2] y) { a = Relu(x)  b = Neg(a)  y = Abs(b) }")
    assert [node.name for node in graph.nodes] == ["Relu_a", "Neg_b", "Abs_y"]
    proto = onnx.ModelProto.FromString(onnx_bytes(graph))
    for node in proto.graph.node:
        node.name = "same"
    again = graph_from_bytes(proto.SerializeToString(), "m")
    assert [node.name for node in again.nodes] == ["same", "same_2", "same_3"]


def test_unsorted_nodes_are_sorted() -> None:
    graph = model("g (float[2] x) => (float[2] y) { y = Abs(b)  b = Neg(a)  a = Relu(x) }")
    assert [node.op for node in graph.nodes] == ["Relu", "Neg", "Abs"]


def test_constant_nodes_become_constants() -> None:
    graph = model(
        """g (float[2] x) => (float[2] y, int64[2] i, float f, int64 n) {
           c = Constant <value = float[2] {1.5, -2}> ()
           i = Constant <value_ints = [3, 4]> ()
           f = Constant <value_float = 0.1> ()
           n = Constant <value_int = 7> ()
           y = Add(x, c) }"""
    )
    assert [node.op for node in graph.nodes] == ["Add"]
    assert graph.constants["i"].array().tolist() == [3, 4]
    assert graph.constants["f"].array() == np.float32(0.1)
    assert graph.constants["n"].array().dtype == np.int64
    assert graph.evaluate({"x": np.ones(2, np.float32)})["y"].tolist() == [2.5, -1]


def test_initializers_that_are_inputs_are_constants() -> None:
    graph = model("g (float[2] x, float[2] w = {1, 2}) => (float[2] y) { y = Add(x, w) }")
    assert graph.inputs == ("x",)
    assert graph.constants["w"].array().tolist() == [1, 2]


def test_sparse_initializers_become_dense() -> None:
    proto = parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> '
        "g (float[2,3] x) => (float[2,3] y) { y = Add(x, w) }"
    )
    values = helper.make_tensor("w", TensorProto.FLOAT, [2], [5.0, 6.0])
    for indices in ([1, 5], [[0, 1], [1, 2]]):
        array = np.array(indices, np.int64)
        stored = helper.make_tensor("i", TensorProto.INT64, array.shape, array.ravel())
        del proto.graph.sparse_initializer[:]
        proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, stored, [2, 3]))
        graph = graph_from_bytes(proto.SerializeToString(), "m")
        assert graph.constants["w"].array().tolist() == [[0, 5, 0], [0, 0, 6]]


def test_unknown_dimensions_are_named_by_their_place() -> None:
    proto = parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[?, 3] x) => (float[?, 3] y) '
        "{ y = Relu(x) }"
    )
    assert graph_from_bytes(proto.SerializeToString(), "m").symbols == ("x.0",)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    assert graph_from_bytes(proto.SerializeToString(), "m").symbols == ("x.0",)


@pytest.mark.parametrize("size", [2**31, 2**40, 2**62])
def test_dimensions_that_no_network_has_are_refused(size: int) -> None:
    proto = parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[2, 3] x) => (float[2, 3] y) '
        "{ y = Relu(x) }"
    )
    axis = proto.graph.input[0].type.tensor_type.shape.dim[0]
    axis.dim_value = size
    with pytest.raises(ModelError, match=f"tensor 'x': found 'dimension {size}', wanted zero to"):
        graph_from_bytes(proto.SerializeToString(), "m")
    axis.dim_value = 2**31 - 1
    del proto.graph.output[0].type.tensor_type.shape.dim[:]
    proto.graph.output[0].type.tensor_type.shape.dim.add().dim_param = "n"
    proto.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 3
    assert graph_from_bytes(proto.SerializeToString(), "m").type("y").shape == (2**31 - 1, 3)


def test_attributes_are_the_shortest_decimals() -> None:
    graph = model("g (float[2] x) => (float[2] y) { y = Elu <alpha = 0.1> (x) }")
    assert graph.nodes[0].attributes["alpha"] == 0.1


# -- functions ------------------------------------------------------------------------------------

FUNCTIONS = """<ir_version: 10, opset_import: ["" : 21, "f" : 1]>
g (float[2,2] x) => (float[2,2] y) { h = f.twice <alpha = 0.25> (x)  y = f.twice (h) }
<domain: "f", opset_import: ["" : 21, "f" : 1]>
twice <alpha: float = 0.5> (a) => (c) { b = f.once <alpha: float = @alpha> (a)
  c = f.once <alpha: float = @alpha> (b) }
<domain: "f", opset_import: ["" : 11]>
once <alpha> (p) => (r) { q = LeakyRelu <alpha: float = @alpha> (p)  r = Softmax <axis = 0> (q) }
"""


def test_functions_are_inlined_with_their_own_opset() -> None:
    data = text(FUNCTIONS)
    graph = graph_from_bytes(data, "m")
    assert all(node.domain == "" for node in graph.nodes)
    slopes = [n.attributes["alpha"] for n in graph.nodes if n.op == "LeakyRelu"]
    assert slopes == [0.25, 0.25, 0.5, 0.5]
    x = np.random.default_rng(0).standard_normal((2, 2)).astype(np.float32)
    leaky = np.where(x > 0, x, np.float32(0.25) * x)
    # Opset 11's Softmax with axis 0 normalises over the whole matrix.
    whole = np.exp(leaky) / np.exp(leaky).sum()
    once = graph_from_bytes(
        text(FUNCTIONS.replace("h = f.twice <alpha = 0.25> (x)  y = f.twice (h)",
                               "y = f.once <alpha = 0.25> (x)")), "m")  # fmt: skip
    np.testing.assert_allclose(once.evaluate({"x": x})["y"], whole, rtol=1e-6)
    assert graph_from_bytes(onnx_bytes(graph), "m") == graph


def test_recursive_functions_are_refused() -> None:
    data = text(FUNCTIONS.replace("r = Softmax <axis = 0> (q)", "r = f.twice(q)").replace(
        'opset_import: ["" : 11]', 'opset_import: ["" : 11, "f" : 1]'))  # fmt: skip
    with pytest.raises(ModelError, match="recursive call: twice -> once -> twice"):
        graph_from_bytes(data, "m")


def test_functions_that_multiply_are_refused() -> None:
    parts = ["<ir_version: 10, opset_import: [\"\" : 21, \"f\" : 1]>\n"
             "g (float[2] x) => (float[2] y) { y = f.f0(x) }"]  # fmt: skip
    for level in range(30):
        inner = f"f.f{level + 1}" if level < 29 else "Relu"
        parts.append(f'<domain: "f", opset_import: ["" : 21, "f" : 1]>\n'
                     f"f{level} (a) => (c) {{ b = {inner}(a)  c = {inner}(b) }}")  # fmt: skip
    with pytest.raises(ModelError, match="more nodes than a network has"):
        graph_from_bytes(text("\n".join(parts)), "m")


# -- bodies ---------------------------------------------------------------------------------------

BRANCHES = """g (bool c, float[2] x) => (float[2] z) {
    y = Abs(x)
    w = Constant <value = float[2] {10, 20}> ()
    z = If (c) <
      then_branch = g1 () => (float[2] t) { u = Add(y, w)  t = Neg(u) },
      else_branch = g2 () => (float[2] e) { e = Mul(x, w) }
    > }"""

NESTED = """g (bool c, bool d, float[2] x) => (float[2] z) {
    z = If (c) <
      then_branch = g1 () => (float[2] t) {
        t = If (d) <then_branch = g2 () => (float[2] p) { p = Neg(x) },
                    else_branch = g3 () => (float[2] q) { q = Abs(x) }> },
      else_branch = g4 () => (float[2] e) { e = Identity(x) }
    > }"""

COUNTING = """g (int64 n, bool go, float[2] x) => (float[2] last, float[n, 2] all) {
    last, all = Loop (n, go, x) <
      body = b (int64 i, bool was, float[2] s) => (bool on, float[2] next, float[2] out) {
        on = Identity(was)  one = Constant <value_float = 1.0> ()
        k = Cast <to = 1> (i)  f = Add(k, one)  m = Mul(x, f)  next = Add(s, m)
        out = Identity(next) }
    > }"""


def test_bodies_list_what_they_capture() -> None:
    node = model(BRANCHES).nodes[-1]
    assert node.inputs == ("c", "y", "x")
    assert node.attributes["captured"] == 2
    for branch in ("then_branch", "else_branch"):
        assert node.attributes[branch].inputs == ("y", "x")
        # Small constants are copied into bodies: shape rules there must see them.
        assert list(node.attributes[branch].constants) == ["w"]
    assert model(COUNTING).nodes[-1].inputs == ("n", "go", "x", "x")
    assert model(COUNTING).nodes[-1].attributes["body"].inputs == ("i", "was", "s", "x")
    assert model(NESTED).nodes[-1].inputs == ("c", "d", "x")


@pytest.mark.needs("onnxruntime")
@pytest.mark.parametrize("source", [BRANCHES, NESTED, COUNTING])
def test_bodies_round_trip_and_agree_with_onnx_runtime(source: str) -> None:
    data = text(f'<ir_version: 10, opset_import: ["" : 21]>\n{source}')
    graph = graph_from_bytes(data, "m")
    written = onnx_bytes(graph)
    onnx.checker.check_model(written)
    assert graph_from_bytes(written, "m") == graph
    x = np.array([-3, 4], np.float32)
    for flags in ((True, True), (True, False), (False, True)):
        inputs: dict[str, Any] = {"x": x, "n": np.array(3), "go": np.array(True)}
        inputs |= {"c": np.array(flags[0]), "d": np.array(flags[1])}
        inputs = {name: inputs[name] for name in graph.inputs}
        judged = runtime(data, inputs)
        for found in (list(graph.evaluate(inputs).values()), runtime(written, inputs)):
            for got, want in zip(found, judged, strict=True):
                np.testing.assert_array_equal(got, want)


def test_bodies_are_renamed_where_the_outside_has_the_name() -> None:
    """Graphs made by hand may use a name inside and outside; ONNX forbids it."""
    graph = model(BRANCHES)
    *first, last = graph.nodes
    body = last.attributes["then_branch"]
    renamed = {"u": "z", "y": "a", "x": "b"}
    body = replace(
        body,
        inputs=tuple(renamed.get(t, t) for t in body.inputs),
        nodes=tuple(
            replace(n, inputs=tuple(renamed.get(t, t) for t in n.inputs),
                    outputs=tuple(renamed.get(t, t) for t in n.outputs)) for n in body.nodes
        ),
        types={},
    )  # fmt: skip
    last = replace(last, attributes={**last.attributes, "then_branch": body})
    changed = replace(graph, nodes=(*first, last))
    written = onnx_bytes(changed)
    onnx.checker.check_model(written)
    again = graph_from_bytes(written, "m")
    inputs = {"c": np.array(True), "x": np.array([-3, 4], np.float32)}
    assert again.evaluate(inputs)["z"].tolist() == graph.evaluate(inputs)["z"].tolist()


# -- bad input ------------------------------------------------------------------------------------

BAD = {
    "cycle": ("g (float[2] x) => (float[2] y) { a = Add(x, b)  b = Neg(a)  y = Abs(b) }", "cycle"),
    "undefined": ("g (float[2] x) => (float[2] y) { y = Add(x, nobody) }", "nobody defines"),
    "undefined output": ("g (float[2] x) => (float[2] z) { y = Abs(x) }", "'z', which nobody"),
    "two producers": ("g (float[2] x) => (float[2] y) { y = Abs(x)  y = Neg(x) }", "defined twice"),
    "input produced": ("g (float[2] x) => (float[2] x) { x = Abs(x) }", "defined twice"),
    "two outputs": ("g (float[2] x) => (float[2] y, float[2] y) { y = Abs(x) }", "a tensor twice"),
    "two inputs": ("g (float[2] x, float[2] x) => (float[2] y) { y = Abs(x) }", "a second one"),
    "attribute": ("g (float[2] x) => (float[2] y) { y = Elu <alhpa = 1.0> (x) }", "mean 'alpha'"),
    "kind": ('g (float[2] x) => (float[2] y) { y = Elu <alpha = "a"> (x) }', "wanted a number"),
    "required": ("g (float[2] x) => (float[2] y) { y = Concat (x) }", "no attribute 'axis'"),
    "too many": ("g (float[2] x) => (float[2] y) { y = Abs(x, x) }", "2 inputs"),
    "missing": ("g (float[2] x) => (float[2] y) { y = Add(, x) }", "no input 'A'"),
    "no rank": ("g (float x) => (float y) { y = Softmax <axis = 3> (x) }", "Softmax"),
    "sequence": ("g (seq(float[2]) x) => (float[2] y) { y = SequenceAt (x, x) }", "sequence"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_graphs_are_refused_with_a_reason(name: str) -> None:
    body, message = BAD[name]
    with pytest.raises(ModelError, match=message):
        model(body)


def test_unknown_operators_are_listed_at_once() -> None:
    with pytest.raises(UnsupportedOperatorsError) as caught:
        model("g (float[2] x) => (float[2] y) { a = Magic(x)  b = Abs(a)  y = Trick(b) }")
    assert dict(caught.value.operators) == {"Magic": ["Magic_a"], "Trick": ["Trick_y"]}


@pytest.mark.parametrize(("opset", "fix"), [(10, "opset 17"), (29, "opset 28"), (1 << 40, "opset")])
def test_opsets_out_of_range_are_refused(opset: int, fix: str) -> None:
    with pytest.raises(ModelError, match=f"wanted 11 to 28; export the model with {fix}"):
        model("g (float[2] x) => (float[2] y) { y = Abs(x) }", opset)


def test_operators_of_another_opset_are_refused() -> None:
    with pytest.raises(ModelError, match=r"found 'an operator of opset 20', wanted operators"):
        model("g (float[2] x) => (float[2] y) { y = Gelu(x) }", 13)


@pytest.mark.parametrize("content", [b"", b"\x08", b"PK\x03\x04" + bytes(50), b"not a model" * 9])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.onnx.*wanted"):
        read_onnx(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.onnx", tmp_path):
        with pytest.raises(ModelError, match="wanted an ONNX file"):
            read_onnx(path)


# -- external data --------------------------------------------------------------------------------


def external(folder: Path, location: str, **entries: str) -> Path:
    """Write a model whose one constant of 8 bytes lies in another file."""
    proto = parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[2] x) => (float[2] y) { y = Add(x, w) }'
    )
    weight = proto.graph.initializer.add()
    weight.name, weight.data_type, weight.data_location = "w", TensorProto.FLOAT, 1
    weight.dims.append(2)
    for key, value in {"location": location, **entries}.items():
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_external_data_in_a_subfolder_is_mapped(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(b"junk" + np.array([1, 2], np.float32).tobytes())
    graph = read_onnx(external(tmp_path, "sub/w.bin", offset="4"))
    assert isinstance(graph.constants["w"], FileConstant)
    assert graph.constants["w"].array().tolist() == [1, 2]


@pytest.mark.parametrize(
    ("location", "entries", "message"),
    [
        ("../w.bin", {}, "leaves the folder"),
        ("sub/../../w.bin", {}, "leaves the folder"),
        ("/etc/passwd", {}, "leaves the folder"),
        ("C:\\w.bin", {}, "leaves the folder"),
        ("..\\w.bin", {}, "leaves the folder"),
        ("", {}, "leaves the folder"),
        (".", {}, "leaves the folder"),
        ("link.bin", {}, "symbolic link"),
        ("linked/w.bin", {}, "symbolic link"),
        ("sub", {}, "no plain file"),
        ("w.bin/x", {}, "no plain file"),
        ("absent.bin", {}, "No such file"),
        ("x" * 5000, {}, "too long"),
        ("w.bin", {"offset": "4"}, "found '8 bytes', wanted 12 bytes"),
        ("w.bin", {"offset": "-4"}, "found '-4', wanted a whole number"),
        ("w.bin", {"offset": "9" * 400}, "wanted a whole number"),
        ("w.bin", {"length": "-8"}, "found '-8', wanted a whole number"),
        ("w.bin", {"length": "4"}, "found '4 bytes', wanted 8 bytes"),
        ("w.bin", {"length": "99"}, "found '99 bytes', wanted 8 bytes"),
    ],
)
def test_external_data_outside_or_short_is_refused(
    tmp_path: Path, location: str, entries: dict[str, str], message: str
) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "w.bin").write_bytes(bytes(8))
    (tmp_path / "w.bin").write_bytes(bytes(8))
    (folder / "link.bin").symlink_to(folder / "w.bin")
    (folder / "linked").symlink_to(folder)
    with pytest.raises(ModelError, match=message):
        read_onnx(external(folder, location, **entries))


def test_a_file_that_changed_after_reading_is_named(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(8))
    graph = read_onnx(external(tmp_path, "w.bin"))
    (tmp_path / "w.bin").write_bytes(bytes(4))
    with pytest.raises(ModelError, match=r"w\.bin.*as it was when the model was read"):
        graph.constants["w"].array()
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ModelError, match=r"w\.bin.*as it was when the model was read"):
        graph.constants["w"].array()


def test_a_model_in_memory_has_no_folder(tmp_path: Path) -> None:
    path = external(tmp_path, "w.bin")
    (tmp_path / "w.bin").write_bytes(bytes(8))
    with pytest.raises(ModelError, match="without a folder"):
        graph_from_bytes(path.read_bytes(), "m")
    assert isinstance(graph_from_bytes(path.read_bytes(), "m", tmp_path).constants["w"],
                      FileConstant)  # fmt: skip


def test_the_structure_of_a_huge_model_is_read_alone(tmp_path: Path) -> None:
    """A sparse data file of 6 GB: only a reader that maps it finishes in this test's memory."""
    path = external(tmp_path, "w.bin")
    proto = onnx.load(path, load_external_data=False)
    size = 6 << 30
    with (tmp_path / "w.bin").open("wb") as handle:
        handle.truncate(size)
    weight = proto.graph.initializer[0]
    del weight.dims[:]
    weight.dims.extend([size // 4])
    for info in (proto.graph.input[0], proto.graph.output[0]):
        info.type.tensor_type.shape.dim[0].dim_value = size // 4
    path.write_bytes(proto.SerializeToString())
    graph = read_onnx(path)
    assert graph.constants["w"].type.size_bytes == size
    assert graph.type("y").size_bytes == size
    assert graph.constants["w"].array()[-1] == 0


def test_typed_data_equals_raw_data() -> None:
    """Judge: the same values through `onnx.numpy_helper`."""
    kinds = {
        TensorProto.FLOAT: [1.5, float("nan")], TensorProto.DOUBLE: [1.5, -2.0],
        TensorProto.INT64: [1, -(2**63)], TensorProto.UINT64: [1, 2**64 - 1],
        TensorProto.UINT32: [1, 2**32 - 1], TensorProto.INT8: [-128, 127],
        TensorProto.BOOL: [0, 1], TensorProto.FLOAT16: [1.5, -2.0],
        TensorProto.BFLOAT16: [1.5, -2.0], TensorProto.FLOAT8E5M2: [1.5, -2.0],
        TensorProto.INT4: [-8, 7], TensorProto.UINT4: [0, 15], TensorProto.FLOAT4E2M1: [1.5, -2.0],
        TensorProto.COMPLEX64: [1 + 2j, -1j], TensorProto.STRING: [b"a", b"b"],
    }  # fmt: skip
    for kind, values in kinds.items():
        proto = parse_model(
            '<ir_version: 11, opset_import: ["" : 23]> g () => (float[2] w) { y = Shape(w) }'
        )
        proto.graph.initializer.append(helper.make_tensor("w", kind, [2], values))
        assert not proto.graph.initializer[0].HasField("raw_data")
        graph = graph_from_bytes(proto.SerializeToString(), "m", infer=False)
        want = onnx.numpy_helper.to_array(proto.graph.initializer[0])
        assert isinstance(graph.constants["w"], ArrayConstant)
        np.testing.assert_array_equal(graph.constants["w"].array(), want)


# -- what a message says --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "node"),
    [
        ("y = Conv <strides = [0, 0]> (x, w)", "Conv"),
        ("y = AveragePool <kernel_shape = [0, 0]> (x)", "AveragePool"),
        ("i = Constant <value_int = 9> () y = Gather(w, i)", "Gather"),
        ("s = Constant <value_ints = [0, -1, -1]> () y = Reshape(x, s)", "Reshape"),
    ],
)
def test_an_error_starts_with_the_file_and_names_the_node(
    tmp_path: Path, body: str, node: str
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(text(
        '<ir_version: 10, opset_import: ["" : 21]>\n'
        "g (float[1,1,4,4] x) => (float y) <float[1,1,2,2] w = {1, 2, 3, 4}> {" + body + "}"
    ))  # fmt: skip
    with pytest.raises(ModelError) as caught:
        read_onnx(path)
    assert str(caught.value).startswith(f"{path}: node '{node}_y' ({node})")


def test_a_damaged_length_among_large_constants_is_a_clear_error(tmp_path: Path) -> None:
    """An error is raised while parts of the mapped file are in use."""
    net = onnx.load_from_string(text(
        '<ir_version: 10, opset_import: ["" : 21]>\n'
        "g (float[400] x) => (float[400] y) { y = Add(x, w) z = Add(x, v) }"
    ))  # fmt: skip
    for name in ("w", "v"):
        value = np.zeros(400, np.float32)
        net.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    path = tmp_path / "net.onnx"
    path.write_bytes(net.SerializeToString() + b"\x00\x00")
    with pytest.raises(ModelError, match="field number 0"):
        read_onnx(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in this system's folders")
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "net.onnx"
    os.mkfifo(pipe)
    for path in (pipe, Path(os.devnull), tmp_path):
        with pytest.raises(ModelError, match="not a regular file"):
            read_onnx(path)


def test_an_output_without_a_name_is_refused() -> None:
    proto = parse_model('<ir_version: 10, opset_import: ["" : 21]>\n'
                        "g (float[2] x) => (float[2] y) { y = Relu(x) }")  # fmt: skip
    proto.graph.output.append(helper.make_tensor_value_info("", TensorProto.FLOAT, [2]))
    with pytest.raises(ModelError, match="outputs: found 'a tensor without a name'"):
        graph_from_bytes(proto.SerializeToString(), "m")
    good = model("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    for change in ({"outputs": ("y", "")}, {"inputs": ("x", "")}):
        with pytest.raises(ModelError, match="a tensor without a name"):
            replace(good, **change)


@pytest.mark.parametrize("declared", ["int64[2,3]", "float[9,9]", "float[6]", "float[N,4]"])
def test_a_declared_output_that_nodes_contradict_is_refused(declared: str) -> None:
    with pytest.raises(ModelError, match=r"output 'y': found 'float32.2×3. as its nodes make it'"):
        model(f"g (float[2,3] x) => ({declared} y) {{ y = Relu(x) }}")


@pytest.mark.parametrize("declared", ["float[2,3]", "float[N,M]", "float[?,3]", "float"])
def test_a_declared_output_may_leave_sizes_open(declared: str) -> None:
    proto = parse_model('<ir_version: 10, opset_import: ["" : 21]>\n'
                        f"g (float[2,3] x) => ({declared} y) {{ y = Relu(x) }}")  # fmt: skip
    if declared == "float":  # the text form means a scalar; here the shape is left out
        proto.graph.output[0].type.tensor_type.ClearField("shape")
    assert graph_from_bytes(proto.SerializeToString(), "m").type("y").shape == (2, 3)


# -- what lies in bodies ---------------------------------------------------------------------------


def test_macs_and_constants_of_bodies_are_the_graphs() -> None:
    """The judge is the same network unrolled by hand."""
    loop = model("""g (float[4,4] x, uint8[4,4] q) => (float[4,4] y, int32[4,4] z)
        <float[4,4] w = {1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1}, int64 n = {3}, bool c = {1}> {
          y, z0 = Loop(n, c, x, z1) <body = b (int64 i, bool going, float[4,4] s, int32[4,4] t)
            => (bool g2, float[4,4] s2, int32[4,4] t2)
            <float[4,4] own = {1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1}> {
              g2 = Identity(going)  h = MatMul(s, w)  s2 = MatMul(h, own)
              t2 = MatMulInteger(q, q) }>
          z1 = MatMulInteger(q, q)  z = Identity(z0) }""")
    node = loop.node("Loop_y")
    assert loop.macs_by_type(node) == {"float32": 3 * 2 * 64, "uint8": 3 * 64}
    assert sum(loop.macs_by_type(node).values()) == loop.operations(node).macs
    sizes = sorted(c.type.size_bytes for c in loop.all_constants())
    assert sizes == [1, 8, 64, 64]  # w, which the body copies, once; the body's own as well
    again = graph_from_bytes(onnx_bytes(loop), "m")
    assert sorted(c.type.size_bytes for c in again.all_constants()) == sizes


def test_the_costlier_branch_counts_under_its_own_types() -> None:
    branch = model("""g (bool c, float[2,8] x) => (float[2,8] y) {
        y = If(c) <then_branch = t () => (float[2,8] a) <float[8,8] w = {WEIGHTS}>
                    { a = MatMul(x, w) },
                  else_branch = e () => (float[2,8] b) { b = Neg(x) }> }""".replace(
        "WEIGHTS", ", ".join("1" * 64)))  # fmt: skip
    assert branch.macs_by_type(branch.node("If_y")) == {"float32": 2 * 8 * 8}
    (region,) = branch.regions()
    assert [c.type.size_bytes for c in region.inner_constants] == [256]
