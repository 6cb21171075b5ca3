"""Which points of a space are taken: all, some, or one parameter at a time."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from itertools import product

from orrery.errors import SpecError

from ._parameters import Parameter

#: points up to which a subset is drawn by shuffling all
_SHUFFLED = 1_000_000
MOST_POINTS = 1_000_000

#: per parameter the place of its value
Point = tuple[int, ...]


def grid_size(parameters: Sequence[Parameter]) -> int:
    """Return how many points the full grid has."""
    return math.prod(len(parameter.values) for parameter in parameters)


def points_of(
    parameters: Sequence[Parameter], *, samples: int | None = None, seed: int = 0
) -> list[Point]:
    """Return the full grid, the first parameter slowest, or a random subset in that order.

    A subset of more samples holds every subset of fewer under the same seed.

    Raises
    ------
    SpecError : more points than anybody can wait for
    """
    total = grid_size(parameters)
    if samples is None or samples >= total:
        if total > MOST_POINTS:
            raise SpecError("--vary", found=f"{total:,} points", wanted=f"at most {MOST_POINTS:,}",
                            fix="give --samples, or fewer values")  # fmt: skip
        return list(product(*(range(len(p.values)) for p in parameters)))
    if samples < 1:
        raise SpecError("--samples", found=samples, wanted="1 or more", fix="correct it")
    return [_point(number, parameters) for number in sorted(_drawn(total, samples, seed))]


def one_at_a_time(parameters: Sequence[Parameter], base: Point) -> list[Point]:
    """Return the base, then every point that differs from it in one parameter."""
    return list(dict.fromkeys([base, *_steps(parameters, base)]))


def _steps(parameters: Sequence[Parameter], base: Point) -> Iterator[Point]:
    for axis, parameter in enumerate(parameters):
        for place in range(len(parameter.values)):
            yield (*base[:axis], place, *base[axis + 1 :])


def _drawn(total: int, samples: int, seed: int) -> list[int]:
    if samples > MOST_POINTS:
        raise SpecError("--samples", found=samples, wanted=f"at most {MOST_POINTS:,}",
                        fix="draw fewer")  # fmt: skip
    draw = random.Random(seed)
    if total <= _SHUFFLED:
        numbers = list(range(total))
        draw.shuffle(numbers)
        return numbers[:samples]
    found: dict[int, None] = {}
    while len(found) < samples:
        found[draw.randrange(total)] = None
    return list(found)


def _point(number: int, parameters: Sequence[Parameter]) -> Point:
    places = []
    for parameter in reversed(parameters):
        number, place = divmod(number, len(parameter.values))
        places.append(place)
    return tuple(reversed(places))
