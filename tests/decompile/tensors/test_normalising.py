"""Padding is taken into a window only where the numbers stay the same."""

from __future__ import annotations

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
