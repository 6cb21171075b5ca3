"""Padding is taken into a window only where the numbers stay the same."""

from __future__ import annotations

import numpy as np
import pytest

from orrery.decompile.tensors import NORMALISING, Tensor, Tensors, rewritten


def pooled(bounds: tuple[float, float] | None, fill: float = 0.0) -> Tensor:
    """Return the maximum of 3×3 windows over a padded copy of what was cut off at bounds."""
    tensors = Tensors()
    x = tensors.input("x", (1, 2, 6, 6))
    cut = (
        tensors.apply("Relu", x) if bounds is None
        else tensors.apply("Clip", x, *(tensors.scalar(b) for b in bounds))
    )  # fmt: skip
    padded = tensors.pad(cut, (0, 0, 1, 1), (0, 0, 1, 1), fill)
    one = (1, 1, 1, 0, 0)
    window = tensors.node(
        "WindowMax", (padded,), (1, 2, 6, 6), windows=(one, one, (3, 1, 1, 0, 0), (3, 1, 1, 0, 0))
    )
    return rewritten(tensors, {"y": window}, NORMALISING)["y"]


@pytest.mark.parametrize("bounds", [None, (0.0, 6.0), (1.0, 6.0)])
def test_zeros_around_what_is_never_negative_are_padding(
    bounds: tuple[float, float] | None,
) -> None:
    found = pooled(bounds)
    assert found.op == "WindowMax"
    assert found.inputs[0].op in ("Relu", "Clip")
    assert found.attribute("windows")[2] == (3, 1, 1, 1, 1)


@pytest.mark.parametrize("bounds", [(-1.0, 6.0), (-1e-6, 0.0)])
def test_zeros_around_what_may_be_negative_are_numbers(bounds: tuple[float, float]) -> None:
    assert pooled(bounds).inputs[0].op == "Pad"


def test_another_number_around_it_is_no_padding() -> None:
    assert pooled(None, fill=0.5).inputs[0].op == "Pad"


@pytest.mark.parametrize("swapped", [False, True])
def test_a_batch_normalisation_whose_root_was_folded(swapped: bool) -> None:
    """The variance that is written has the folded deviation as its root, bit for bit."""
    draw = np.random.default_rng(1)
    mean, scale, shift = draw.standard_normal((3, 5)).astype(np.float32)
    deviation = draw.uniform(1e-3, 9, 5).astype(np.float32)
    tensors = Tensors()
    x = tensors.input("x", (1, 5, 4, 6))
    parts = [tensors.constant(v.reshape(1, 5, 1, 1)) for v in (mean, deviation, scale, shift)]
    y = tensors.apply("Div", tensors.apply("Sub", x, parts[0]), parts[1])
    for op, part in (("Mul", parts[2]), ("Add", parts[3])):
        y = tensors.apply(op, *((part, y) if swapped else (y, part)))
    found = rewritten(tensors, {"y": y}, NORMALISING)["y"]
    assert found.op == "BatchNormalization"
    assert found.attribute("epsilon") == 0
    values = [t.value for t in found.inputs[1:]]
    for have, want in zip(values, (scale, shift, mean), strict=False):
        np.testing.assert_array_equal(have, want)
    np.testing.assert_array_equal(np.sqrt(values[3]), deviation)


@pytest.mark.parametrize("axes", [(1, 2), ()])
def test_numbers_of_several_axes_are_no_batch_normalisation(axes: tuple[int, ...]) -> None:
    tensors = Tensors()
    shape = [5 if k in axes else 1 for k in range(3)]
    part = tensors.constant(np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape))
    y = tensors.input("x", (1, 5, 5))
    for op in ("Sub", "Div", "Mul", "Add"):
        y = tensors.apply(op, y, part)
    assert rewritten(tensors, {"y": y}, NORMALISING)["y"].op != "BatchNormalization"


def test_an_operator_of_a_tensor_and_the_same_one_turned_is_written() -> None:
    """Neither side may be turned for the other for ever."""
    tensors = Tensors()
    x = tensors.input("x", (4, 4))
    turned = tensors.rearrange(tensors.apply("Exp", x), (4, 4), (1, 0), (4, 4))
    y = tensors.apply("Div", x, turned)
    assert y.op == "Div"
    assert y.inputs == (x, turned)
