"""Bounds against every placement: never above the best, and by hand."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from orrery.mapping.phases import Passage, PlacementProblem, Worker, bounds_of, flows_of, partition

from ..cases import graph
from .problems import problems
from .test_exact import every
from .test_problem import towers


@settings(max_examples=60)
@given(problems(most=5))
def test_no_placement_undercuts_a_bound(problem: PlacementProblem) -> None:
    best, found = min(every(problem).values()), bounds_of(problem)
    for bound in (found.path_s, found.area_s, found.shared_s):
        assert bound is not None
        assert bound <= best + 1e-9
    # What is worked out ahead is contained.
    path, area = problem.bounds()
    assert found.path_s >= path - 1e-9
    assert found.area_s == area
    assert found.best_s == max(found.path_s, found.area_s, found.shared_s or 0)


def cores(seconds: list[list[float]], nodes: list[tuple[str, list[str]]]) -> PlacementProblem:
    network = graph([(name, reads, 1, 8) for name, reads in nodes], inputs={"x": 4},
                    outputs=[nodes[-1][0]])  # fmt: skip
    found = partition(network, {}, least=0)
    both = frozenset({"c0", "c1"})
    return PlacementProblem(
        partition=found, seconds=np.array(seconds, dtype=float), flows=flows_of(found),
        passages={},
        workers=(Worker(name="cpu", processors=both),
                 *(Worker(name=f"cpu{k}", processors=frozenset({f"c{k}"})) for k in range(2))),
    )  # fmt: skip


def test_stretches_follow_each_other() -> None:
    """A head that one core must run, then three towers: neither path nor area sees the sum."""
    inf = float("inf")
    problem = cores([[inf, 10, 10]] + [[7, 10, 10]] * 3 + [[0, 0, 0]],
                    [("h", ["x"]), ("a", ["h"]), ("b", ["h"]), ("c", ["h"]),
                     ("s", ["a", "b", "c"])])  # fmt: skip
    found = bounds_of(problem)
    assert found.path_s == 17
    assert found.area_s == 20
    # Towers: 5 s of both cores each, however they are shared out.
    assert found.shared_s == pytest.approx(25)
    assert found.stretches == 3
    assert min(every(problem).values()) == 27
    assert "3 stretches" in found.reason


def test_reasons() -> None:
    chain = cores([[6, 8, 8]], [("a", ["x"]), ("b", ["a"])])
    assert bounds_of(chain).best_s == pytest.approx(6)
    assert "longest path" in bounds_of(chain).reason
    wide = cores([[4, 4, 4]] * 4 + [[0, 0, 0]],
                 [(n, ["x"]) for n in "abcd"] + [("s", list("abcd"))])  # fmt: skip
    assert bounds_of(wide).best_s == pytest.approx(8)
    assert "busy" in bounds_of(wide).reason


def test_transfers_that_cannot_be_avoided_count() -> None:
    problem = towers()
    only = np.full((3, 4), np.inf)
    only[:, 3] = 1.0  # everything on the GPU: there 1.5 s, back 2.5 s
    found = bounds_of(replace(problem, seconds=only))
    assert found.path_s == pytest.approx(1.5 + 2 + 2.5)
    # The towers take turns, so that 7 is the best; carrying and taking turns are not added up.
    assert found.best_s == found.path_s < min(every(replace(problem, seconds=only)).values()) == 7
    split = only.copy()
    split[2] = [1.0, np.inf, np.inf, np.inf]  # the end on the CPU: a and b must be carried back
    found = bounds_of(replace(problem, seconds=split))
    assert found.path_s == pytest.approx(1.5 + 1 + 2.5 + 1)
    assert found.best_s <= min(every(replace(problem, seconds=split)).values())


def test_without_a_solver_the_others_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    found = bounds_of(towers())
    assert found.shared_s is None
    assert found.best_s == max(found.path_s, found.area_s) > 0


def test_scale_does_not_matter() -> None:
    for scale in (1e-6, 1e3):
        problem = replace(
            towers(), seconds=towers().seconds * scale,
            passages={pair: Passage(fixed_s=p.fixed_s * scale, s_per_byte=p.s_per_byte * scale)
                      for pair, p in towers().passages.items()},
        )  # fmt: skip
        assert bounds_of(problem).best_s == pytest.approx(bounds_of(towers()).best_s * scale)
