"""Spoil a valid schedule on purpose; the checker must say which rule is broken."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from orrery.errors import SpecError
from orrery.mapping.locality import (
    LocalityProblem,
    LocalitySchedule,
    LocalitySearch,
    anneal_locality,
    check_locality,
)

from .locality_cases import draw_problem


@pytest.fixture(scope="module")
def problem() -> LocalityProblem:
    return dataclasses.replace(
        draw_problem(np.random.default_rng(3), layers=6, accelerators=3, memory=9.0),
        chain=(0, 0, 0, 1, 1, 1), place=(1, 2, 3, 1, 2, 3),
        edges=((0, 1), (1, 2), (3, 4), (4, 5), (4, 2)), kinds=("CNN", "CNN", "FC"),
        compute_s=np.array([[5.0, 6.0, np.inf]] * 5 + [[np.inf, np.inf, 3.0]]),
        input_s=np.ones((6, 3)), output_s=np.ones((6, 3)),
    )  # fmt: skip


@pytest.fixture(scope="module")
def valid(problem: LocalityProblem) -> LocalitySchedule:
    found = anneal_locality(problem, LocalitySearch(steps=2000))
    assert isinstance(found, LocalitySchedule)
    assert check_locality(problem, found) == ()
    return found


def _times(schedule: LocalitySchedule, layer: int, start: float, end: float) -> LocalitySchedule:
    starts, ends = list(schedule.start_s), list(schedule.end_s)
    starts[layer] += start
    ends[layer] += end
    return dataclasses.replace(schedule, start_s=tuple(starts), end_s=tuple(ends))


SPOILT: dict[str, tuple[Callable[[LocalitySchedule], LocalitySchedule], str]] = {
    "consumer too early": (lambda s: _times(s, 1, -1.0, -1.0), "order"),
    "across chains too early": (
        lambda s: _times(s, 4, 0.0, s.start_s[2] - s.end_s[4] + 1e-3), "order",
    ),
    "too short": (lambda s: _times(s, 5, 0.5, 0.0), "duration"),
    "backwards": (lambda s: _times(s, 5, 0.0, -100.0), "time"),
    "before time began": (lambda s: _times(s, 0, -1.0, 0.0), "time"),
    "forgotten": (
        lambda s: dataclasses.replace(
            s, queues=tuple(tuple(n for n in q if n != 3) for q in s.queues)
        ), "placement",
    ),
    "twice": (
        lambda s: dataclasses.replace(s, queues=(s.queues[0], s.queues[1], (*s.queues[2], 0))),
        "placement",
    ),
    "wrong kind": (
        lambda s: dataclasses.replace(
            s, queues=((*s.queues[0], *s.queues[2]), s.queues[1], ()),
        ), "placement",
    ),
    "not a time": (lambda s: _times(s, 5, float("nan"), 0.0), "time"),
    "no times": (lambda s: dataclasses.replace(s, start_s=()), "time"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_spoilt_schedule_is_refused(
    problem: LocalityProblem, valid: LocalitySchedule, name: str
) -> None:
    spoil, rule = SPOILT[name]
    assert rule in {fault.rule for fault in check_locality(problem, spoil(valid))}


def test_two_layers_at_once_on_one_accelerator_are_refused(
    problem: LocalityProblem, valid: LocalitySchedule
) -> None:
    together = dataclasses.replace(problem, edges=())
    queue = max(valid.queues, key=len)
    spoilt = _times(valid, queue[1], -1.0, 0.0)
    assert {fault.rule for fault in check_locality(together, spoilt)} == {"overlap"}


def test_more_bound_words_than_a_memory_holds_are_refused(
    problem: LocalityProblem, valid: LocalitySchedule
) -> None:
    small = dataclasses.replace(problem, capacity_words=np.zeros(3, np.int64))
    assert {fault.rule for fault in check_locality(small, valid)} == {"capacity"}
    sent = dataclasses.replace(valid, bound=(False,) * 6)
    assert {fault.rule for fault in check_locality(problem, sent)} == {"duration"}


def test_transfers_between_chain_neighbours_count_unless_they_are_neighbours_in_time(
    problem: LocalityProblem,
) -> None:
    alone = dataclasses.replace(problem, edges=((0, 1), (1, 2), (3, 4), (4, 5)))
    ends = (6.0, 11.0, 17.0, 0.0, 0.0, 0.0)
    starts = (0.0, 6.0, 11.0, 0.0, 0.0, 0.0)
    schedule = LocalitySchedule(
        queues=((0, 1, 2), (3, 4), (5,)), bound=(True,) * 6,
        start_s=(*starts[:3], 0.0, 7.0, 14.0), end_s=(*ends[:3], 7.0, 14.0, 19.0),
    )  # fmt: skip
    assert check_locality(alone, schedule) == ()
    apart = dataclasses.replace(schedule, queues=((0, 2, 1), (3, 4), (5,)))
    complaints = [fault.what for fault in check_locality(alone, apart) if fault.rule == "duration"]
    assert len(complaints) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"edges": ((0, 1), (1, 0))}, "cycle"),
        ({"edges": ((0, 9),)}, "no layer"),
        ({"place": (1, 1, 3, 1, 2, 3)}, "two layers"),
        ({"power_w": np.ones(2)}, "2 entries"),
        ({"input_s": np.ones((2, 2))}, "shape"),
        ({"weight_s": np.full((6, 3), np.inf)}, "bandwidth"),
        ({"output_s": np.full((6, 3), -1.0)}, "negative"),
    ],
)
def test_tables_that_contradict_themselves_are_refused(
    problem: LocalityProblem, change: dict[str, object], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        dataclasses.replace(problem, **change)
