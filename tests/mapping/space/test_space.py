"""Parameters, points and effects against what a person would count by hand."""

from __future__ import annotations

import math
import random
from itertools import product
from statistics import geometric_mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.errors import SpecError
from orrery.mapping.space import (
    Parameter,
    grid_size,
    main_effects,
    one_at_a_time,
    points_of,
    read_parameter,
)


@pytest.mark.parametrize(
    ("text", "labels", "numbers"),
    [
        ("array.rows=16,32", ("16", "32"), (16, 32)),
        ("s=512KiB..2MiB*2", ("512 KiB", "1024 KiB", "2048 KiB"), (2**19, 2**20, 2**21)),
        ("s=512KiB,1 MiB", ("512KiB", "1 MiB"), (2**19, 2**20)),
        ("batch=1..9+4", ("1", "5", "9"), (1, 5, 9)),
        ("batch=1..10+4", ("1", "5", "9"), (1, 5, 9)),
        ("n=8..64*2", ("8", "16", "32", "64"), (8, 16, 32, 64)),
        ("c=0.5 GHz..1 GHz+250 MHz", ("0.5 GHz", "0.75 GHz", "1 GHz"), (5e8, 7.5e8, 1e9)),
        ("z=0..2+1", ("0", "1", "2"), (0, 1, 2)),
        ("m=[rows, cols],[rows]", ("[rows, cols]", "[rows]"), None),
        ("model=a..b.onnx,resnet18", ("a..b.onnx", "resnet18"), None),
        ("a&b=16,32", ("16", "32"), (16, 32)),
        ("a&b=16:1MiB,32:2MiB", ("16:1MiB", "32:2MiB"), (16, 32)),
    ],
)
def test_values_are_read(
    text: str, labels: tuple[str, ...], numbers: tuple[float, ...] | None
) -> None:
    parameter = read_parameter(text)
    assert parameter.labels == labels
    assert parameter.numbers == (None if numbers is None else pytest.approx(numbers))
    assert parameter.name == text.partition("=")[0]
    assert all(len(value) == len(parameter.paths) for value in parameter.values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows", "PATH=VALUE"),
        ("rows=", "PATH=VALUE"),
        ("=3", "PATH=VALUE"),
        ("a=1,,2", "an empty value"),
        ("a=1,1.0", "1.0 twice"),
        ("s=1 MiB,1024KiB", "1024KiB twice"),
        ("a=1..4", r"write 1..4\*2 or 1..4\+1"),
        ("a=4..1*2", "a range that rises"),
        ("a=1..4*1", "a range that rises"),
        ("a=0..4*2", "from above zero"),
        ("a=1 MHz..2 KiB*2", "two numbers of one unit"),
        ("a=1..1e9+1", "over 10000 values"),
        ("a&a=1", "different paths"),
        ("a&b=1:2:3", "one value, or 2"),
    ],
)
def test_slips_are_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_parameter(text)


def space(*sizes: int) -> list[Parameter]:
    return [
        Parameter(paths=(f"p{n}",), values=tuple((str(2**v),) for v in range(size)))
        for n, size in enumerate(sizes)
    ]


def test_the_grid_is_every_combination_and_a_subset_is_kept_by_its_seed() -> None:
    parameters = space(3, 2, 4)
    every = points_of(parameters)
    assert every == list(product(range(3), range(2), range(4)))
    assert grid_size(parameters) == len(every)
    some = points_of(parameters, samples=7, seed=3)
    assert (
        some == points_of(parameters, samples=7, seed=3) != points_of(parameters, samples=7, seed=4)
    )
    assert len(set(some)) == 7 and set(some) < set(every) and some == sorted(some)
    assert set(some) < set(points_of(parameters, samples=12, seed=3))
    assert points_of(parameters, samples=99) == every
    huge = [*space(*[20] * 12)]
    drawn = points_of(huge, samples=50, seed=1)
    assert len(set(drawn)) == 50 and set(drawn) < set(points_of(huge, samples=60, seed=1))
    with pytest.raises(SpecError, match="--samples"):
        points_of(huge)
    with pytest.raises(SpecError, match="1 or more"):
        points_of(parameters, samples=0)


def test_one_at_a_time_moves_one_parameter() -> None:
    parameters = space(3, 2)
    points = one_at_a_time(parameters, (1, 0))
    assert points == [(1, 0), (0, 0), (2, 0), (1, 1)]
    wider, place = parameters[0].around(("16",))
    assert (wider.labels, place) == (("16", "1", "2", "4"), 0)
    assert parameters[0].around(("2.0",)) == (parameters[0], 1)


@given(st.lists(st.integers(2, 4), min_size=1, max_size=3), st.integers(0, 10**6))
def test_effects_on_a_grid_are_ratios_of_plain_means(sizes: list[int], seed: int) -> None:
    parameters, draw = space(*sizes), random.Random(seed)
    points = points_of(parameters)
    figures = [draw.uniform(0.1, 10) for _ in points]
    found = main_effects(parameters, points, figures)
    assert found is not None and found.points == len(points) and 0 <= found.unexplained <= 1
    for axis, (parameter, effect) in enumerate(zip(parameters, found.effects, strict=True)):
        means = [
            geometric_mean(f for p, f in zip(points, figures, strict=True) if p[axis] == value)
            for value in range(len(parameter.values))
        ]
        assert effect is not None
        assert effect.means == pytest.approx([mean / min(means) for mean in means])
        assert effect.ratio == pytest.approx(max(means) / min(means))
        assert means[effect.best] == min(means)
        # the slope of a straight line, by its textbook formula
        x = [value * math.log(2) for value in range(len(means))]
        y = [math.log(mean) for mean in means]
        mx, my = sum(x) / len(x), sum(y) / len(y)
        slope = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
        assert effect.elasticity == pytest.approx(
            slope / sum((a - mx) ** 2 for a in x), rel=1e-6, abs=1e-9
        )


@given(st.integers(0, 10**6))
def test_a_product_is_explained_wholly_from_any_subset(seed: int) -> None:
    """figure = 3 * p0^2 / p1, p2 without effect: also from a random half, and step by step."""
    parameters = space(4, 3, 2)

    def figure(point: tuple[int, ...]) -> float:
        return 3 * 4.0 ** point[0] / 2.0 ** point[1]

    for points in (
        points_of(parameters, samples=18, seed=seed),
        one_at_a_time(parameters, (1, 1, 0)),
    ):
        found = main_effects(parameters, points, [figure(p) for p in points])
        assert found is not None and found.unexplained == pytest.approx(0, abs=1e-9)
        first, second, third = found.effects
        if first is not None and first.means.count(None) == 0:
            assert first.ratio == pytest.approx(64) and first.elasticity == pytest.approx(2)
            assert first.best == 0
        if second is not None and second.means.count(None) == 0:
            assert second.ratio == pytest.approx(4) and second.elasticity == pytest.approx(-1)
            assert second.best == 2
        if third is not None:
            assert third.ratio == 1 and third.elasticity == 0


def test_what_never_moves_alone_has_no_effect_of_its_own() -> None:
    parameters = space(2, 2, 1)
    found = main_effects(parameters, [(0, 0, 0), (1, 1, 0)], [1.0, 2.0])
    assert found is not None and found.effects == (None, None, None)
    assert main_effects(parameters, [(0, 0, 0), (1, 1, 0)], [None, 2.0]) is None
    left = main_effects(parameters, [(0, 0, 0), (1, 0, 0), (1, 1, 0)], [1.0, 4.0, None])
    assert left is not None and left.points == 2
    assert left.effects[0] is not None and left.effects[0].ratio == pytest.approx(4)
    assert left.effects[1] is None
