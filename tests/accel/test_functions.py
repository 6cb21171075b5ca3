"""Bits against scalar loops in the same order, integers and the transform's identity."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orrery.accel import resolve
from orrery.accel._formats import quantise, quantum, tree_sum
from orrery.accel.winograd._transform import TRANSFORMS, pieces
from orrery.errors import SpecError
from tests.conformance.kit import conv_region

F = np.float32


def _padded(region: Any, image: np.ndarray) -> np.ndarray:
    top, left, bottom, right = region.members[0].attributes["pads"]
    return np.pad(image, ((0, 0), (0, 0), (top, bottom), (left, right)))


def _adder_tree(values: list[np.float32]) -> np.float32:
    while len(values) > 1:
        paired = [values[i] + values[i + 1] for i in range(0, len(values) - 1, 2)]
        values = paired + ([values[-1]] if len(values) % 2 else [])
    return values[0]


def _scalar(region: Any, image: np.ndarray, order: str, lanes: int) -> np.ndarray:
    """One output at a time in float32; `order` is channels-outside (tiled) or taps-outside."""
    weights, bias = (region.graph.constants[n].array() for n in "wb")
    data, (stride, _) = _padded(region, image), region.members[0].attributes["strides"]
    out = np.zeros(region.graph.type("y").sizes, F)
    channels, height, width = weights.shape[1:]
    taps = [(r, c) for r in range(height) for c in range(width)]
    firsts = range(0, channels, lanes)
    if order == "tiled":
        walk = [(f, t) for f in firsts for t in taps]
    else:
        walk = [(f, t) for t in taps for f in firsts]
    for b, m, y, x in np.ndindex(*out.shape):
        total = bias[m]
        for first, (r, c) in walk:
            products = [
                weights[m, n, r, c] * data[b, n, y * stride + r, x * stride + c]
                if n < channels else F(0) for n in range(first, first + lanes)
            ]  # fmt: skip
            total = total + _adder_tree(products)
        out[b, m, y, x] = total
    return out


@pytest.mark.parametrize(
    "text", ["tiled(tm=3, tn=3)", "systolic(vector=3, rows=4, cols=4, precision='float32')"]
)
def test_float32_bits_follow_the_order_of_the_array(text: str) -> None:
    region = conv_region(channels=7, filters=4, height=5, width=5, stride=(2, 2))
    image = np.random.default_rng(3).standard_normal((1, 7, 5, 5)).astype(F)
    design = resolve(text)
    got = design.evaluate(region, {"x": image})["y"]
    want = _scalar(region, image, text.split("(")[0], 3)
    assert got.tobytes() == want.tobytes()


@pytest.mark.parametrize("text", ["systolic", "tiled(precision='fixed16')"])
def test_fixed16_equals_python_integers(text: str) -> None:
    region = conv_region(channels=3, filters=2, height=4, width=4)
    image = np.random.default_rng(4).standard_normal((1, 3, 4, 4)).astype(F)
    weights, bias = (region.graph.constants[n].array() for n in "wb")

    def grid(values: np.ndarray) -> Fraction:
        step = Fraction(1, 2**60)
        while round(Fraction(float(np.abs(values).max())) / step) > 32767:
            step *= 2
        return step

    x_step, data = grid(image), _padded(region, image)
    got = resolve(text).evaluate(region, {"x": image})["y"]
    for m, y, x in np.ndindex(2, 4, 4):
        w_step = grid(weights[m])
        total = sum(
            round(Fraction(float(weights[m, n, r, c])) / w_step)
            * round(Fraction(float(data[0, n, y + r, x + c])) / x_step)
            for n, r, c in np.ndindex(3, 3, 3)
        )
        assert got[0, m, y, x] == F(float(total * w_step * x_step)) + bias[m]


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=9))
def test_the_adder_tree_adds_neighbours_first(values: list[float]) -> None:
    given_values = [F(v) for v in values]
    with np.errstate(over="ignore", invalid="ignore"):
        assert tree_sum(np.array(given_values)).tobytes() == _adder_tree(given_values).tobytes()


@example([1 - 2.0**-17])  # rounds up to 2¹⁵ on the finer grid
@example([2.0**-149])
@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=9))
def test_the_grid_holds_every_value_and_is_no_coarser_than_needed(values: list[float]) -> None:
    array = np.array(values, F)
    step = quantum(array, what="test")
    largest = np.abs(quantise(array, step)).max()
    assert largest <= 32767
    assert largest >= 16383 or not array.any()
    assert np.all(np.abs(quantise(array, step) * step - array) <= step / 2)


@pytest.mark.parametrize("text", ["systolic", "winograd", "tiled(precision='fixed16')"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_fixed16_refuses_what_it_cannot_hold(text: str, bad: float) -> None:
    image = np.full((1, 4, 8, 8), bad, F)
    with pytest.raises(SpecError, match="not finite"):
        resolve(text).evaluate(conv_region(), {"x": image})


@pytest.mark.parametrize("m", [2, 4])
def test_the_transform_is_a_correlation_in_exact_arithmetic(m: int) -> None:
    """Σ_e at[i,e]·g[e,j]·bt[e,k] must be 1 where k = i + j and 0 elsewhere."""
    t = TRANSFORMS[m]
    exact = [[[Fraction(float(v)).limit_denominator(1000) for v in row] for row in matrix]
             for matrix in (t.at, t.g, t.bt)]  # fmt: skip
    at, g, bt = exact
    for i, j, k in np.ndindex(m, 3, t.n):
        total = sum(at[i][e] * g[e][j] * bt[e][k] for e in range(t.n))
        assert total == (k == i + j)


def _line(row: np.ndarray, values: list[np.float32]) -> np.float32:
    """Multiply and add in float32, in index order, zeros left out."""
    terms = [v * F(f) for f, v in zip(row, values) if f]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _both_sides(matrix: np.ndarray, tile: np.ndarray) -> np.ndarray:
    rows, size = matrix.shape
    half = [[_line(matrix[i], [tile[k, j] for k in range(size)]) for j in range(size)]
            for i in range(rows)]  # fmt: skip
    return np.array([[_line(matrix[j], half[i]) for j in range(rows)] for i in range(rows)], F)


@pytest.mark.parametrize("m", [2, 4])
def test_winograd_float32_bits_follow_the_order_of_the_array(m: int) -> None:
    lanes, channels, size = 3, 7, 6
    region = conv_region(channels=channels, filters=2, height=size, width=size)
    image = np.random.default_rng(6).standard_normal((1, channels, size, size)).astype(F)
    design = resolve(f"winograd(tile={m}, pm=1, pn={lanes}, precision='float32')")
    got = design.evaluate(region, {"x": image})["y"]
    weights, bias = (region.graph.constants[n].array() for n in "wb")
    t = TRANSFORMS[m]
    tiles = -(-size // m)
    reach = tiles * m + 2
    data = np.zeros((channels, reach, reach), F)
    data[:, 1 : size + 1, 1 : size + 1] = image[0]
    u = np.array([[(t.g @ w.astype(float) @ t.g.T).astype(F) for w in f] for f in weights])
    for f, top, left in np.ndindex(2, tiles, tiles):
        corner = data[:, top * m : top * m + t.n, left * m : left * m + t.n]
        v = [_both_sides(t.bt, tile) for tile in corner]
        total = np.zeros((t.n, t.n), F)
        for e in np.ndindex(t.n, t.n):
            for first in range(0, channels, lanes):
                total[e] += _adder_tree(
                    [u[f, n][e] * v[n][e] if n < channels else F(0)
                     for n in range(first, first + lanes)]
                )  # fmt: skip
        tile = _both_sides(t.at, total)
        for y, x in np.ndindex(m, m):
            if top * m + y < size and left * m + x < size:
                assert got[0, f, top * m + y, left * m + x] == tile[y, x] + bias[f]


@given(kernel=st.integers(1, 12), stride=st.integers(1, 5))
def test_pieces_hold_every_tap_once(kernel: int, stride: int) -> None:
    cut = pieces(kernel, stride)
    taps = sorted(p.first + j * p.step for p in cut for j in range(p.taps))
    assert taps == list(range(kernel))
    assert all(1 <= p.taps <= 3 and p.step == stride for p in cut)


def test_winograd_differs_from_the_plain_sum_but_little() -> None:
    region = conv_region(channels=16, height=12, width=12)
    image = np.random.default_rng(5).standard_normal((1, 16, 12, 12)).astype(F)
    design = resolve("winograd(tile=4, pm=4, pn=8, precision='float32')")
    got, want = design.evaluate(region, {"x": image})["y"], region.graph.evaluate({"x": image})["y"]
    error = np.abs(got - want).max()
    assert 0 < error < 1e-3


def test_weights_may_be_an_input() -> None:
    plain = conv_region(bias=False)
    weights = plain.graph.constants["w"].array()
    from dataclasses import replace

    from orrery.graph import Region

    graph = replace(plain.graph, inputs=("x", "w"), constants={}).infer()
    image = np.ones((1, 4, 8, 8), F)
    for text in ("tiled", "systolic", "winograd"):
        evaluate = resolve(text).evaluate
        got = evaluate(Region(graph=graph, nodes=("conv",)), {"x": image, "w": weights})["y"]
        assert np.array_equal(got, evaluate(plain, {"x": image})["y"])
