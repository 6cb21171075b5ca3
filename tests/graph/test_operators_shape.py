"""Shape operators: the rule must say what evaluation does, with sizes and with names."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orrery.errors import ModelError
from orrery.graph import Operations, TensorType

from .operator_kit import apply, count, infer

EXAMPLES = settings(max_examples=50, deadline=None)
SHAPE = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5)


def numbered(shape, dtype=np.float32):
    return np.arange(math.prod(shape), dtype=dtype).reshape(shape)


def ints(*values):
    return np.array(values, np.int64)


# -- new shapes -------------------------------------------------------------------------------


@EXAMPLES
@given(SHAPE, st.data())
def test_reshape_fills_the_hole(shape, data):
    x = numbered(shape)
    factors = data.draw(st.permutations(shape))
    split = data.draw(st.integers(0, len(factors)))
    target = [math.prod(factors[:split]), *factors[split:]]
    hole = data.draw(st.integers(0, len(target) - 1))
    wanted = list(target)
    target[hole] = -1
    np.testing.assert_array_equal(apply("Reshape", x, ints(*target)), x.reshape(wanted))


@pytest.mark.parametrize(
    ("shape", "target", "allowzero", "result"),
    [
        (("n", 6, 4), (0, 3, -1), 0, ("n", 3, 8)),
        (("n", "s", 12), (0, 0, 3, 4), 0, ("n", "s", 3, 4)),
        (("n", "s", 12), (-1, 12), 0, ("n*s", 12)),
        (("n", 2, 3), (-1, 2), 0, ("3*n", 2)),
        (("n", 3, "n"), (0, -1), 0, ("n", "3*n")),
        (("n",), (4, 5), 0, (4, 5)),
        ((0, 3, 4), (0, -1), 0, (0, 12)),
        ((0, 3), (3, 0), 1, (3, 0)),
        ((2, 0, 4), (0, -1), 0, (2, 0)),
    ],
)
def test_reshape_with_names_and_zeros(shape, target, allowzero, result):
    type_ = TensorType(dtype="float32", shape=shape)
    target_type = TensorType(dtype="int64", shape=(len(target),))
    values = (None, ints(*target))
    (found,) = infer("Reshape", type_, target_type, values=values, allowzero=allowzero)
    assert found.shape == result
    if type_.is_bound:
        x = np.zeros(shape, np.float32)
        assert apply("Reshape", x, ints(*target), allowzero=allowzero).shape == result


@pytest.mark.parametrize("target", [(5, -1), (-1, -1), (7,), (2, 3, 4, 0), (-2, 12)])
def test_reshape_refuses_what_cannot_be(target):
    with pytest.raises(ModelError):
        apply("Reshape", numbered((2, 3, 4)), ints(*target))


@EXAMPLES
@given(SHAPE, st.data())
def test_flatten_squeeze_unsqueeze_transpose(shape, data):
    x = numbered(shape)
    axis = data.draw(st.integers(-x.ndim, x.ndim))
    cut = axis if axis >= 0 else axis + x.ndim
    assert apply("Flatten", x, axis=axis).shape == (
        math.prod(shape[:cut]),
        math.prod(shape[cut:]),
    )
    new = data.draw(st.lists(st.integers(-x.ndim - 2, x.ndim + 1), min_size=2, max_size=2))
    assume(new[0] % (x.ndim + 2) != new[1] % (x.ndim + 2))
    wide = apply("Unsqueeze", x, ints(*new))
    np.testing.assert_array_equal(wide, np.expand_dims(x, tuple(new)))
    np.testing.assert_array_equal(apply("Squeeze", wide, ints(*new)), x)
    order = data.draw(st.permutations(range(x.ndim)))
    turned = apply("Transpose", x, perm=tuple(order))
    np.testing.assert_array_equal(turned, np.transpose(x, order))
    back = tuple(int(i) for i in np.argsort(order))
    np.testing.assert_array_equal(apply("Transpose", turned, perm=back), x)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_space_and_depth_are_inverse(mode):
    x = numbered((2, 3, 4, 6))
    deep = apply("SpaceToDepth", x, blocksize=2, mode=mode)
    assert deep.shape == (2, 12, 2, 3)
    np.testing.assert_array_equal(apply("DepthToSpace", deep, blocksize=2, mode=mode), x)


# -- cutting and joining ----------------------------------------------------------------------


def _slice_by_definition(size, start, end, step):
    """ONNX's text: add the size to negatives, clamp, then walk."""
    start = start + size if start < 0 else start
    end = end + size if end < 0 else end
    if step > 0:
        start, end = min(max(start, 0), size), min(max(end, 0), size)
        return [i for i in range(size) if start <= i < end and (i - start) % step == 0]
    start, end = min(max(start, 0), size - 1), min(max(end, -1), size - 1)
    walk, i = [], start
    while i > end:
        walk.append(i)
        i += step
    return walk


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_slice_follows_the_definition(data):
    x = numbered((data.draw(st.integers(1, 7)), 3))
    bound = st.one_of(st.integers(-9, 9), st.sampled_from([2**31 - 1, 2**63 - 1, -(2**31)]))
    start, end = data.draw(bound), data.draw(bound)
    step = data.draw(st.sampled_from([-3, -2, -1, 1, 2, 3]))
    got = apply("Slice", x, ints(start), ints(end), ints(0), ints(step))
    want = x[_slice_by_definition(x.shape[0], start, end, step)]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("start", "end", "result"),
    [
        (0, 2**63 - 1, "n"),
        (-1, 2**63 - 1, 1),
        (0, 1, 1),
        (3, 4, "(n)[3:4:1]"),  # nothing at all where n is 3
        (1, 2**31 - 1, "(n)[1:]"),
    ],
)
def test_slices_of_a_named_size(start, end, result):
    one = TensorType(dtype="int64", shape=(1,))
    data = TensorType(dtype="float32", shape=("n", 8))
    (found,) = infer("Slice", data, one, one, values=(None, ints(start), ints(end)))
    assert found.shape == (result, 8)


@EXAMPLES
@given(SHAPE, st.data())
def test_split_and_concat_are_inverse(shape, data):
    x = numbered(shape)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    parts = data.draw(st.integers(1, shape[axis]))
    pieces = apply("Split", x, outputs=parts + 1, axis=axis, num_outputs=parts + 1)
    assert [p.shape[axis] for p in pieces[:-2]] == [-(-shape[axis] // (parts + 1))] * (parts - 1)
    np.testing.assert_array_equal(apply("Concat", *pieces, axis=axis), x)
    cuts = sorted(data.draw(st.lists(st.integers(0, shape[axis]), min_size=1, max_size=3)))
    sizes = np.diff([0, *cuts, shape[axis]])
    pieces = apply("Split", x, ints(*sizes), outputs=len(sizes), axis=axis)
    assert [p.shape[axis] for p in pieces] == sizes.tolist()
    np.testing.assert_array_equal(apply("Concat", *pieces, axis=axis), x)


def test_concat_adds_names_in_one_order():
    one, two = (TensorType(dtype="float32", shape=("b", s, 4)) for s in ("past", "seq"))
    assert infer("Concat", one, two, axis=1)[0].shape == ("b", "past+seq", 4)
    assert infer("Concat", two, one, axis=1)[0].shape == ("b", "past+seq", 4)
    with pytest.raises(ModelError, match="axis 2"):
        infer("Concat", one, TensorType(dtype="float32", shape=("b", 1, 5)), axis=1)


# -- growing ----------------------------------------------------------------------------------


@EXAMPLES
@given(SHAPE, st.sampled_from(["constant", "edge", "reflect", "wrap"]), st.data())
def test_pad_is_numpys_and_negative_pads_cut(shape, mode, data):
    x = numbered(shape)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    before, after = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 4))
    cut = data.draw(st.integers(0, shape[axis] - 1))
    pairs = [(0, 0)] * x.ndim
    pairs[axis] = (before, after)
    extra = {"constant_values": 7} if mode == "constant" else {}
    fill = np.float32(7) if mode == "constant" else None
    got = apply("Pad", x, ints(before, after), fill, ints(axis), mode=mode)
    np.testing.assert_array_equal(got, np.pad(x, pairs, mode=mode, **extra))
    pairs[axis] = (0, after)
    kept = np.take(x, range(cut, shape[axis]), axis)
    got = apply("Pad", x, ints(-cut, after), fill, ints(axis), mode=mode)
    np.testing.assert_array_equal(got, np.pad(kept, pairs, mode=mode, **extra))


@EXAMPLES
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4), st.data())
def test_expand_and_tile(shapes, data):
    first, second = shapes.input_shapes
    x = numbered(first)
    assert apply("Expand", x, ints(*second)).shape == shapes.result_shape
    repeats = data.draw(st.lists(st.integers(0, 3), min_size=x.ndim, max_size=x.ndim))
    np.testing.assert_array_equal(apply("Tile", x, ints(*repeats)), np.tile(x, repeats))


def test_shape_of_a_window_of_axes():
    x = np.zeros((2, 3, 4), np.float32)
    assert apply("Shape", x, start=-2).tolist() == [3, 4]
    assert apply("Shape", x, start=1, end=-1).tolist() == [3]
    assert apply("Shape", x, start=2, end=1).tolist() == []
    assert apply("Size", x) == 24


def test_reverse_sequence_keeps_the_tail():
    x = numbered((2, 4))
    got = apply("ReverseSequence", x, ints(3, 1), batch_axis=0, time_axis=1)
    assert got.tolist() == [[2, 1, 0, 3], [4, 5, 6, 7]]


def test_moving_counts_nothing():
    x = numbered((2, 4))
    assert count("Transpose", x) == Operations()
    assert count("Concat", x, x, axis=0) == Operations()
    assert count("Pad", x, ints(1, 1, 1, 1)) == Operations()
