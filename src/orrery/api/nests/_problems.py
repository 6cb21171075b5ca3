"""The loop nests that a network's layers are."""

from __future__ import annotations

from orrery.cost import Refusal
from orrery.cost.nest import NestProblem, nest_problem
from orrery.graph import Graph


def nest_problems(graph: Graph) -> tuple[dict[str, NestProblem], dict[str, str]]:
    """Return the nests of all layers, and why others have none."""
    problems: dict[str, NestProblem] = {}
    left_out: dict[str, str] = {}
    for region in graph.regions():
        found = nest_problem(region)
        if isinstance(found, Refusal):
            left_out[region.name] = found.reason
            continue
        for number, problem in enumerate(found, 1):
            name = region.name if len(found) == 1 else f"{region.name} ({number})"
            problems[name] = problem
    return problems, left_out
