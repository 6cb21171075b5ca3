"""Gather and scatter against loops written from the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orrery.errors import ModelError
from orrery.graph import Operations, TensorType

from .operator_kit import apply, count, infer

EXAMPLES = settings(max_examples=40, deadline=None)
SHAPE = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4)
REDUCTIONS = {
    "none": lambda old, new: new,
    "add": lambda old, new: old + new,
    "mul": lambda old, new: old * new,
    "min": min,
    "max": max,
}


def numbered(shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@EXAMPLES
@given(SHAPE, hnp.array_shapes(min_dims=0, max_dims=2, max_side=3), st.data())
def test_gather_is_take(shape, index_shape, data):
    x = numbered(shape)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    size = x.shape[axis]
    indices = data.draw(hnp.arrays(np.int64, index_shape, elements=st.integers(-size, size - 1)))
    np.testing.assert_array_equal(apply("Gather", x, indices, axis=axis), x.take(indices, axis))


def test_an_index_outside_is_refused():
    for op in ("Gather", "GatherElements"):
        with pytest.raises(ModelError, match=r"index 3.*-3 to 2"):
            apply(op, numbered((3,)), np.array([3]))


@EXAMPLES
@given(SHAPE, st.sampled_from(sorted(REDUCTIONS)), st.data())
def test_elements_are_gathered_and_scattered(shape, reduction, data):
    x = numbered(shape)
    axis = data.draw(st.integers(0, x.ndim - 1))
    picked = tuple(data.draw(st.integers(1, n)) for n in shape)
    size = shape[axis]
    elements = st.integers(-size, size - 1)
    indices = data.draw(hnp.arrays(np.int64, picked, elements=elements))
    updates = numbered(picked) + 100
    want, gathered = x.copy(), np.empty(picked, np.float32)
    for place in np.ndindex(picked):
        at = (*place[:axis], indices[place], *place[axis + 1 :])
        gathered[place] = x[at]
        want[at] = REDUCTIONS[reduction](want[at], updates[place])
    np.testing.assert_array_equal(apply("GatherElements", x, indices, axis=axis), gathered)
    got = apply("ScatterElements", x, indices, updates, axis=axis, reduction=reduction)
    np.testing.assert_array_equal(got, want)


@EXAMPLES
@given(st.integers(0, 2), st.integers(1, 2), st.sampled_from(sorted(REDUCTIONS)), st.data())
def test_slices_are_gathered_and_scattered(batch_dims, depth, reduction, data):
    shape = (2, 3, 4, 2)[: max(batch_dims + depth, 3)]
    x = numbered(shape)
    outer = (*shape[:batch_dims], 3)
    columns = [
        data.draw(hnp.arrays(np.int64, outer, elements=st.integers(-shape[a], shape[a] - 1)))
        for a in range(batch_dims, batch_dims + depth)
    ]
    indices = np.stack(columns, -1)
    gathered = np.empty((*outer, *shape[batch_dims + depth :]), np.float32)
    for place in np.ndindex(outer):
        gathered[place] = x[(*place[:batch_dims], *indices[place])]
    got = apply("GatherND", x, indices, batch_dims=batch_dims)
    np.testing.assert_array_equal(got, gathered)
    if batch_dims == 0:
        want, updates = x.copy(), gathered + 50
        for place in np.ndindex(outer):
            at = tuple(indices[place])
            want[at] = np.frompyfunc(REDUCTIONS[reduction], 2, 1)(want[at], updates[place])
        got = apply("ScatterND", x, indices, updates, reduction=reduction)
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("mode", ["linear", "circular"])
def test_a_cache_is_written_per_sample(mode):
    cache, update = np.zeros((2, 1, 5, 2), np.float32), numbered((2, 1, 2, 2)) + 1
    start = np.array([1, 4 if mode == "circular" else 3], np.int64)
    got = apply("TensorScatter", cache, update, start, mode=mode)
    want = cache.copy()
    for b in range(2):
        for s in range(2):
            want[b, :, (start[b] + s) % 5] = update[b, :, s]
    np.testing.assert_array_equal(got, want)
    if mode == "linear":
        with pytest.raises(ModelError, match="index 5"):
            apply("TensorScatter", cache, update, np.array([0, 4]))


@EXAMPLES
@given(st.integers(-3, 2), st.integers(1, 5))
def test_one_hot(axis, depth):
    indices = np.array([[0, -1], [depth, 1]], np.int64)
    got = apply("OneHot", indices, np.array(depth), np.array([2.0, 7.0]), axis=axis)
    assert got.shape[axis] == depth
    lines = np.moveaxis(got, axis, -1)
    for place in np.ndindex(2, 2):
        hot = indices[place]
        want = [7.0 if -depth <= hot < depth and i == hot % depth else 2.0 for i in range(depth)]
        assert lines[place].tolist() == want


def test_selections():
    x = numbered((3, 2))
    keep = np.array([False, True])
    assert apply("Compress", x, keep, axis=0).tolist() == [[2, 3]]
    assert apply("Compress", x, keep).tolist() == [1]
    np.testing.assert_array_equal(apply("NonZero", x), np.array(np.nonzero(x)))
    assert apply("NonZero", np.float32(3)).tolist() == [[0]]
    assert apply("NonZero", np.zeros((2, 0))).shape == (2, 0)
    named = infer("NonZero", TensorType(dtype="bool", shape=("n", 4)))[0]
    assert named.shape == (2, "node.nonzero")


def test_runs_of_items_are_counted_and_weighted():
    x = np.array([[1, 2, 3, 1, 2]], np.int64)
    pool = {
        "ngram_counts": (0, 2),
        "ngram_indexes": (0, 1, 2, 3),
        "pool_int64s": (1, 9, 1, 2, 1, 3),
    }
    lengths = {"min_gram_length": 1, "max_gram_length": 2, "max_skip_count": 1}
    # 1 twice, 9 never, (1, 2) twice side by side, (1, 3) once with an item between
    assert apply("TfIdfVectorizer", x, mode="TF", **lengths, **pool).tolist() == [[2, 0, 2, 1]]
    weights = (0.5, 1.0, 2.0, 4.0)
    got = apply("TfIdfVectorizer", x, mode="TFIDF", weights=weights, **lengths, **pool)
    assert got.tolist() == [[1, 0, 4, 4]]
    # 5 items, 4 pairs side by side and 3 pairs with one item between
    assert count("TfIdfVectorizer", x, mode="TF", **lengths, **pool) == Operations(others=12)


def test_only_reducing_updates_count():
    x, where, new = numbered((3, 2)), np.array([[0], [2]]), numbered((2, 2))
    assert count("ScatterND", x, where, new) == Operations()
    assert count("ScatterND", x, where, new, reduction="add") == Operations(others=4)
    assert count("Gather", x, where) == Operations()
