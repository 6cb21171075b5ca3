"""Counts of loop nests: equal to those of an interpreter that runs every operation."""

from __future__ import annotations

from random import Random

import pytest

from orrery.cost.nest import count_nest
from tests.cost.nest import draws
from tests.cost.nest.interpreter import Interpreter


def compare(layer, mapping, architecture) -> None:
    counts = count_nest(layer, mapping, architecture)
    judge = Interpreter(layer, mapping, architecture)
    assert counts.steps == len(judge.steps)
    assert counts.operations == judge.operations
    assert counts.active == judge.active
    assert len(counts.flows) == len(judge.traffic)
    for flow in counts.flows:
        seen = judge.traffic[flow.tensor.name, flow.parent, flow.child]
        said = (flow.tensor.name, flow.parent, flow.child)
        assert (said, flow.outer.total, flow.inner.total, flow.back) == (
            said, seen.outer, seen.inner, seen.back)  # fmt: skip
        assert (said, flow.outer.busiest, flow.inner.busiest) == (
            said, max(seen.per_outer.values(), default=0),
            max(seen.per_inner.values(), default=0))  # fmt: skip
        if flow.child < len(architecture.levels):
            assert (said, flow.first_outer, flow.first_inner) == (
                said, seen.first_outer, seen.first_inner)  # fmt: skip
            assert (said, counts.tiles[flow.child][flow.tensor.name]) == (said, seen.largest_tile)
        if flow.tensor.role == "output":
            assert (said, flow.final_outer, flow.final_inner) == (
                said, seen.final_outer, seen.final_inner)  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_counts_equal_the_interpreter_s(seed: int) -> None:
    draw = Random(seed)
    for _ in range(260):
        layer = draws.problem(draw)
        mapping, architecture = draws.nest(draw, layer)
        compare(layer, mapping, architecture)
