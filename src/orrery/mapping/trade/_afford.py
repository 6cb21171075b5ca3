"""Which devices a ceiling of price or area leaves, and the problem of sets among them alone.

Models:  devices that may be exchanged count by number, the cheapest first; of all numbers that a
         ceiling allows those to which no device can be added, fastest first, a few of them.
Ignores: the slower ones where there are many: what is found among a few is not proved best.
Judge:   enumeration of all subsets of small systems (tests).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from .._tables import Tables
from ..sets._problem import Problem

#: choices of devices that are searched at most, and that are looked at
_MOST, _LOOKED = 6, 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What devices may be used together.

    Attributes
    ----------
    allowed : of devices by number; fewer of them always may if more may
    cost : per device; of devices that may be exchanged the cheaper ones come first
    """

    allowed: Callable[[Sequence[int]], bool]
    cost: Sequence[float]


def affordable(problem: Problem, budget: Budget) -> list[tuple[int, ...]]:
    """Return sets of devices, by number and rising, that a budget allows, fastest first."""
    groups = [sorted(group, key=lambda d: (budget.cost[d], d)) for group in problem.groups]
    ranges = [range(len(group) + 1) for group in groups]
    found: list[tuple[int, ...]] = []
    for looked, counts in enumerate(product(*(reversed(r) for r in ranges))):
        if looked == _LOOKED:
            break
        inside = any(all(a <= b for a, b in zip(counts, larger)) for larger in found)
        if any(counts) and not inside and budget.allowed(_taken(groups, counts)):
            found.append(counts)
    speed = _speeds(problem.tables)
    sets = [_taken(groups, counts) for counts in found]
    return sorted(sets, key=lambda some: -sum(speed[d] for d in some))[:_MOST]


def _taken(groups: Sequence[Sequence[int]], counts: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(d for group, count in zip(groups, counts) for d in group[:count]))


def _speeds(tables: Tables) -> list[float]:
    """Return how many networks a second each device alone would do, by what it can do of them."""
    speeds = []
    for rows in tables.of_device:
        best = tables.seconds[list(rows)].min(axis=0)
        able = np.isfinite(best)
        total = float(best[able].sum())
        speeds.append(float(able.mean()) / total if total else 0.0)
    return speeds


def among(problem: Problem, devices: Sequence[int]) -> Problem:
    """Return the problem of sets among some devices alone; times and choices stay as they are."""
    left = [tuple(d for d in group if d in devices) for group in problem.groups]
    groups = tuple(group for group in left if group)
    kept, classes = [], []
    for k, one in enumerate(problem.classes):
        if all(count <= len(group) for count, group in zip(one.counts, left)):
            counts = tuple(count for count, group in zip(one.counts, left) if group)
            fewer = replace(one, counts=counts)
            kept.append(k)
            classes.append(replace(fewer, devices=fewer.placed(groups, (0,) * len(groups))))
    return replace(
        problem, groups=groups, classes=tuple(classes), _moves={},
        designs=tuple(problem.designs[k] for k in kept),
        step_ps=tuple(tuple(tables[k] for k in kept) for tables in problem.step_ps),
    )  # fmt: skip
