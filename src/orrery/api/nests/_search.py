"""The loop nests of a network's layers, and the search over them: on all cores, kept on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from orrery.cost import Refusal
from orrery.cost.nest import NestProblem, Zeros, nest_problem
from orrery.graph import Graph
from orrery.hardware import Architecture
from orrery.mapping.nest import NestFound, nest_network
from orrery.plan import Infeasible
from orrery.progress import Progress
from orrery.store import Cache


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


def search_layers(
    problems: Mapping[str, NestProblem], architecture: Architecture, objective: str,
    zeros: Mapping[str, Zeros], progress: Progress, most: int | None = None,
) -> dict[str, NestFound | Infeasible]:  # fmt: skip
    """Return the best nest of every layer; of equally good ones the best by the other measure.

    Parameters
    ----------
    zeros : region -> its zeros; regions that are not named are dense
    most : evaluations per layer before the search gives up the proof; None: plenty
    """
    dense, alike = Zeros(), dict[str, tuple["Zeros", dict[str, "NestProblem"]]]()
    for name, problem in problems.items():
        mine = zeros.get(name, zeros.get(name.rpartition(" (")[0], dense))
        alike.setdefault(repr(mine), (mine, {}))[1][name] = problem
    found: dict[str, NestFound | Infeasible] = {}
    budget = {} if most is None else {"most": most}
    # Threads: the search proper is compiled and lets others run beside it.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for mine, layers in alike.values():
            found |= nest_network(layers, architecture, objective, zeros=mine, settle=True,
                                  cache=Cache("nests"), executor=threads,
                                  progress=progress, **budget)  # fmt: skip
    return {name: found[name] for name in problems}
