"""Batches of training data: shuffled, whole, and refused where they make no sense."""

from __future__ import annotations

import numpy as np
import pytest

from orrery.accel.bitlet import draw_batches
from orrery.errors import SpecError

from .digits import digits


def test_bad_data_makes_no_batches() -> None:
    images, labels, *_ = digits()
    for data, size, epochs, match in (
        ({"x": images, "labels": labels[:5]}, 4, 1, "as many samples of every input"),
        ({}, 4, 1, "as many samples"),
        ({"x": images[:3]}, 4, 1, "samples of a batch: found 4, wanted a whole number, 1 to 3"),
        ({"x": images}, 0, 1, "wanted a whole number, 1 to 1437"),
        ({"x": images}, 4, 0, "epochs"),
        ({"x": images}, 4.0, 1, "samples of a batch: found 4.0, wanted a whole number"),
        ({"x": images}, 4, 1.5, "epochs: found 1.5"),
        ({"x": images.tolist()}, 4, 1, "'x': found 'list', wanted an array"),
        ({"x": np.ma.masked_invalid(images)}, 4, 1, "'x': found 'an array with a mask'"),
        ({"x": np.float32(3)}, 4, 1, "'x': found 'a single number'"),
        ([images], 4, 1, "found 'list', wanted inputs: a mapping"),
    ):
        with pytest.raises(SpecError, match=match):
            draw_batches(data, size, epochs=epochs)
    with pytest.raises(SpecError, match="seed: found -1"):
        draw_batches({"x": images}, 4, seed=-1)


def test_batches_are_shuffled_and_a_rest_is_left_out() -> None:
    data = {"x": np.arange(10), "labels": np.arange(10) * 2}
    found = list(draw_batches(data, 4, epochs=3, seed=5))
    assert len(found) == 6
    assert all(np.array_equal(b["labels"], 2 * b["x"]) for b in found)
    epochs = [np.concatenate([found[i]["x"], found[i + 1]["x"]]) for i in (0, 2, 4)]
    assert all(len(set(e.tolist())) == 8 for e in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
