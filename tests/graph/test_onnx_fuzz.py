"""Damaged files give a clear error: never another exception, a hang or a large allocation."""

from __future__ import annotations

import functools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from onnx.parser import parse_model

from orrery.errors import ModelError, UnsupportedOperatorsError
from orrery.graph import graph_from_bytes, onnx_bytes, read_onnx

NETWORK = """<ir_version: 10, opset_import: ["" : 21, "f" : 1]>
g (float[2,N,8,8] x, bool c) => (float[a,b] y) <float[3,2,3,3] w = {WEIGHTS}> {
  k = Conv <pads = [1,1,1,1], group = 1> (x, w)
  r = f.act <alpha = 0.5> (k)
  p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (r)
  s = Constant <value = int64[2] {2, -1}> ()
  v = Reshape(p, s)
  y = If (c) <then_branch = t () => (float[2,M] q) { q = Neg(v) },
              else_branch = e () => (float[2,M] o) { o = Softmax <axis = -1> (v) }>
}
<domain: "f", opset_import: ["" : 21]>
act <alpha: float = 1.0> (a) => (b) { b = Elu <alpha: float = @alpha> (a) }
""".replace("WEIGHTS", ", ".join(str(i / 9) for i in range(54)))

SHAPES = """<ir_version: 8, opset_import: ["" : 12]>
g (float[2,3,4] x) => (float[a,b] y) {
  n = Shape(x)  i = Constant <value_ints = [0]> ()  one = Gather(n, i)
  m = Constant <value_ints = [-1]> ()  t = Concat <axis = 0> (one, m)  r = Reshape(x, t)
  u = Unsqueeze <axes = [0]> (r)  q = Squeeze <axes = [0]> (u)
  h = Softmax <axis = 1> (q)  z = ConstantOfShape <value = float[1] {2}> (n)
  l, o = Split <axis = 1> (h)  k = ReduceMean <axes = [1]> (l)  y = Tile(k, t2)
  t2 = Constant <value_ints = [1, 2]> ()  e = Expand(k, t2)  w = Range(b0, b1, b2)
  b0 = Constant <value_int = 0> ()  b1 = Constant <value_int = 9> ()
  b2 = Constant <value_int = 2> ()
}"""


@functools.cache
def seeds() -> tuple[bytes, ...]:
    return tuple(parse_model(text).SerializeToString() for text in (NETWORK, SHAPES))


def attempt(data: bytes) -> None:
    """Read; only the errors that a reader may give are accepted."""
    try:
        graph_from_bytes(data, "fuzzed")
    except (ModelError, UnsupportedOperatorsError) as error:
        assert str(error)


def test_the_seeds_are_good() -> None:
    for data in seeds():
        graph = graph_from_bytes(data, "seed")
        assert graph_from_bytes(onnx_bytes(graph), "seed") == graph


FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


@FUZZ
@given(st.binary(max_size=400))
@example(b"")
@example(b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")  # a graph of 2**64 - 1 bytes
@example(b"\x08" + b"\x80" * 11)  # a number that does not end
@example(b"\x3b\x3c")  # groups, which ONNX does not have
@example(b"\x00")  # field number 0
def test_any_bytes(data: bytes) -> None:
    attempt(data)


@FUZZ
@given(st.sampled_from([0, 1]), st.data())
def test_truncated(which: int, data: st.DataObject) -> None:
    whole = seeds()[which]
    attempt(whole[: data.draw(st.integers(0, len(whole) - 1))])


@FUZZ
@given(
    st.sampled_from([0, 1]),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_changed_bytes(which: int, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(seeds()[which])
    for place, byte in changes:
        damaged[place % len(damaged)] ^= byte
    attempt(bytes(damaged))


NUMBERS = [-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 7, 16, 30, 100_000, 2**31 - 1, 2**40, 2**62]
WORDS = ["", "x", "y", "s", "v", "batch", "axis", "Conv", "If", "Loop", "Reshape", "Expand",
         "ConstantOfShape", "Pad", "Tile", "Range", "Split", "f", "act", "é"]  # fmt: skip
REALS = [0.0, -1.0, 1e30, 1e-30, float("nan"), float("inf")]


def messages(message: Any) -> Iterator[Any]:
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in value if field.is_repeated else [value]:
                yield from messages(inner)


def mutate(message: Any, draw: Any) -> None:
    """Change one field of one message inside to something that still is well-formed protobuf."""
    target = draw(st.sampled_from(list(messages(message))))
    fields = target.ListFields()
    if not fields:
        return
    field, value = draw(st.sampled_from(fields))
    choices: list[Any] = NUMBERS
    if field.type == field.TYPE_STRING:
        choices = WORDS
    elif field.type == field.TYPE_BYTES:
        choices = [b"", b"\xff\xfe", b"\0" * 8, b"linear", b"NOTSET", b"\x7f" * 216]
    elif field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        choices = REALS
    if field.type == field.TYPE_MESSAGE:
        if not field.is_repeated or draw(st.booleans()):
            target.ClearField(field.name)
        else:
            value.append(draw(st.sampled_from(list(value))))
        return
    new = draw(st.sampled_from(choices))
    if not field.is_repeated:
        if field.type == field.TYPE_INT32 or field.enum_type is not None:
            new = max(-(2**31), min(new, 2**31 - 1)) if isinstance(new, int) else new
        try:
            setattr(target, field.name, new)
        except ValueError:  # a closed enumeration refuses the number itself
            return
    elif draw(st.booleans()):
        del value[draw(st.integers(0, len(value) - 1))]
    else:
        value[draw(st.integers(0, len(value) - 1))] = new


@settings(FUZZ, max_examples=400)
@given(st.sampled_from([0, 1]), st.integers(1, 3), st.data())
def test_well_formed_nonsense(which: int, times: int, data: st.DataObject) -> None:
    message = onnx.ModelProto.FromString(seeds()[which])
    for _ in range(times):
        mutate(message, data.draw)
    attempt(message.SerializeToString())


# -- found by earlier fuzzing ---------------------------------------------------------------------


def small(body: str, opset: int = 25) -> Any:
    return parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]>\n{body}')


def test_a_name_that_is_no_text() -> None:
    """Protobuf hands such names out as bytes."""
    for place in (b"Neg", b"uniq", b"outp", b"alph"):
        body = "g (float[2] uniq) => (float[2] outp) { a = Elu <alpha=1.0> (uniq) outp = Neg(a) }"
        data = small(body).SerializeToString()
        with pytest.raises((ModelError, UnsupportedOperatorsError), match="wanted names in UTF-8"):
            graph_from_bytes(data.replace(place, b"\xff\xfe\x80" + place[3:]), "m")


@pytest.mark.parametrize(
    "body",
    [
        "g (float[2,3] x, int64[1099511627776] s) => (float[a] y) { y = Reshape(x, s) }",
        "g (float[2,3] x, int64[4611686018427387904] s) => (float[a] y) { y = Unsqueeze(x, s) }",
        "g (int64[4611686018427387904] s) => (float[a] y) { y = ConstantOfShape(s) }",
        "g (float[2,4611686018427387904,3] x, int64[4] s) => (float[a] y) { y = AffineGrid(x, s) }",
    ],
)
def test_a_rank_of_billions(body: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=r"dimension|theta|axes"):
            graph_from_bytes(small(body).SerializeToString(), "m")
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("parts", [-1, 0, 1, 3, 100_000, 2**40])
def test_a_split_into_billions(parts: int) -> None:
    message = small(
        "g (float[4] x) => (float[2] y, float[2] z) { y, z = Split <num_outputs = 2> (x) }"
    )
    message.graph.node[0].attribute[0].i = parts
    with pytest.raises(ModelError, match=rf"num_outputs {parts}', wanted 2"):
        graph_from_bytes(message.SerializeToString(), "m")


def test_a_shape_of_a_tensor_that_no_memory_holds() -> None:
    body = "g (float[2147483647,2147483647] x) => (int64[2] y) { y = Shape(x) }"
    graph = graph_from_bytes(small(body).SerializeToString(), "m")
    assert graph.type("y").shape == (2,)


@pytest.mark.parametrize(
    "dims", [[1 << 62], [1 << 40, 1 << 40], [0, 1 << 62, 1 << 62], [-1], [2] * 70]
)
@pytest.mark.parametrize("dtype", [1, 8, 9, 22, 0, 99])
def test_constants_that_declare_too_much(dims: list[int], dtype: int) -> None:
    message = small("g (float[2] x) => (float[2] y) { y = Add(x, w) }")
    weight = message.graph.initializer.add()
    weight.name, weight.data_type, weight.raw_data = "w", dtype, b"\1\2\3\4"
    weight.dims.extend(dims)
    with pytest.raises(ModelError, match="constant 'w'"):
        graph_from_bytes(message.SerializeToString(), "m")


def test_a_sparse_constant_that_declares_too_much() -> None:
    message = small("g (float[2] x) => (float[2] y) { y = Add(x, w) }")
    sparse = message.graph.sparse_initializer.add()
    sparse.values.CopyFrom(onnx.numpy_helper.from_array(np.ones(1, np.float32), "w"))
    sparse.indices.CopyFrom(onnx.numpy_helper.from_array(np.zeros(1, np.int64), "i"))
    sparse.dims.append(1 << 50)
    with pytest.raises(ModelError, match="sparse constant 'w'"):
        graph_from_bytes(message.SerializeToString(), "m")


def nested(depth: int) -> bytes:
    """Encode If in If in If … by hand: protobuf's own builder would be slow."""

    def field(number: int, body: bytes) -> bytes:
        size, out = len(body), bytearray([number << 3 | 2])
        while size > 0x7F:
            out.append(size & 0x7F | 0x80)
            size >>= 7
        return bytes([*out, size]) + body

    graph = field(2, b"g")
    for _ in range(depth):
        attribute = field(1, b"then_branch") + field(6, graph) + b"\xa0\x01\x05"
        graph = field(1, field(4, b"If") + field(5, attribute)) + field(2, b"g")
    return b"\x08\x0a" + field(8, b"\x10\x15") + field(7, graph)


@pytest.mark.parametrize("depth", [3, 20, 40, 200, 5000])
def test_bodies_in_bodies(depth: int, tmp_path: Path) -> None:
    data = nested(depth)
    with pytest.raises(ModelError):
        graph_from_bytes(data, "m")
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ModelError):
        read_onnx(tmp_path / "m.onnx")
