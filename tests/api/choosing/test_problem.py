"""From times to a problem: company, changes of the back end and hand-overs are all in it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from orrery.api.choosing import problem_of
from orrery.api.choosing._kind import if_processes
from orrery.runtime.together import Link

from .made_up import Virtual, workers

SECONDS = [[6, 8, 8], [6, 8, 8], [1, 2, 2]]


def made(**changes: Any) -> Any:
    """Return the problem of a made-up profile."""
    machine = Virtual(SECONDS, {})
    pool: Any = SimpleNamespace(workers={w.name: w for w in workers()})
    links = [Link(source="half0", target="all", fixed_s=3.0, s_per_byte=0.0,
                  fixed_interval_s=(0.0, 0.0), per_byte_interval_s=(0.0, 0.0))]  # fmt: skip
    profile = replace(machine.profile(), **changes)
    return problem_of(machine.problem.partition, profile, pool, links)


def test_company_is_a_factor_of_what_was_timed_alone() -> None:
    beside = np.array([[np.inf, 12, 8], [np.inf, 7, 8], [np.inf, 2, 3.0]])
    found = made(beside_s=beside)
    # Nobody is quicker in company, and who has none is as quick as ever.
    np.testing.assert_allclose(found.slower, [[1, 1.5, 1], [1, 1, 1], [1, 1, 1.5]])
    assert made().slower is None


def test_changes_of_the_back_end_are_added_to_hand_overs() -> None:
    found = made(changes_s={("half0", "all"): 0.5, ("all", "half0"): 0.25})
    assert found.passage_s(0, 1, 0) == pytest.approx(3.5)
    assert found.passage_s(0, 0, 1) == pytest.approx(0.25)
    assert found.passage_s(0, 2, 0) == 0.0


def test_between_processes_a_change_takes_as_long_as_between_threads() -> None:
    pool = SimpleNamespace(workers={w.name: w for w in workers()})
    problem = made(changes_s={("half0", "all"): 5e-5})
    quick = replace(problem, seconds=problem.seconds * 1e-4)
    ways: Any = SimpleNamespace(problem=quick, pool=pool, may_part=True)
    found = if_processes(ways)
    assert found is not None
    assert found.passage_s(0, 1, 0) == pytest.approx(1e-5 + 5e-5)
