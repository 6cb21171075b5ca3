"""ONNX's node tests as the judge of a back end: some of each operator, compared as ONNX says."""

from __future__ import annotations

import functools
import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any

from orrery.graph import Graph, graph_from_bytes
from orrery.runtime import Backend
from tests.graph.known_node_failures import KNOWN_FAILURES
from tests.graph.node_cases import Case, _array, _restamped, compare, included_cases


@functools.cache
def chosen_cases(of_each: int) -> tuple[Case, ...]:
    """Return so many cases of each operator, none of those written out as other operators."""
    seen: Counter[str] = Counter()
    chosen = []
    for case in included_cases():
        if "_expanded" in case.name or case.name in KNOWN_FAILURES:
            continue
        operator = ",".join(sorted({node.op_type for node in case.model.graph.node}))
        seen[operator] += 1
        if seen[operator] <= of_each:
            chosen.append(case)
    return tuple(chosen)


def graph_of(case: Case) -> Graph:
    return graph_from_bytes(_restamped(case.model).SerializeToString(), case.name)


def judge(backend: Backend, cases: tuple[Case, ...], known: Mapping[str, str]) -> dict[str, Any]:
    """Return what went wrong by case; refused cases and those known to differ are passed over.

    A known one that is right by now is wrong, too: its entry must go. The key ``""`` holds how
    many cases ran.
    """
    wrong: dict[str, Any] = {}
    ran = 0
    for case in cases:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = graph_of(case)
        if backend.refuses(graph) is not None:
            continue
        ran += 1
        try:
            executable = backend.prepare(graph)
            for given, expected in case.data_sets:
                names = [info.name for info in case.model.graph.input]
                inputs = {n: _array(a) for n, a in zip(names, given) if n in graph.inputs}
                results = executable.run(inputs)
                for info, want in zip(case.model.graph.output, expected, strict=True):
                    compare(results[info.name], _array(want), rtol=case.rtol, atol=case.atol)
        # Whatever a case raises is its failure.
        except Exception as error:
            if case.name not in known:
                wrong[case.name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        else:
            if case.name in known:
                wrong[case.name] = "is right now; take it off the list"
    wrong[""] = ran
    return wrong
