"""A back end that answers something else is named itself, and not whoever reads its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from orrery.errors import ModelError
from orrery.graph import Graph
from orrery.runtime import ReferenceBackend
from orrery.runtime._backend import check_answer
from orrery.runtime.processes import ProcessNetwork, why_not
from orrery.runtime.together import (
    PROCESS,
    Fallback,
    LocalWorker,
    PlacedNetwork,
    WorkerFailedError,
    WorkerPool,
    profile_subgraphs,
)

from .test_executor import INPUT, OWN, PLACED, Fake, diamond, same, steps

#: fault -> what becomes of an answer
FAULTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "leaves out": lambda made: {},
    "renames": lambda made: {f"{name}:0": value for name, value in made.items()},
    "widens": lambda made: {name: value.astype(np.float64) for name, value in made.items()},
    "cuts": lambda made: {name: value[:1] for name, value in made.items()},
    "flattens": lambda made: {name: value.ravel() for name, value in made.items()},
    "lists": lambda made: list(made.values()),
}


@dataclass
class Wrong:
    """The reference, with something else made of the answers of graphs that hold one node."""

    node: str
    fault: str = "leaves out"
    name: str = "wrong"

    def refuses(self, graph: Graph) -> str | None:
        return None

    def prepare(self, graph: Graph) -> Any:
        ready, own = ReferenceBackend().prepare(graph), self
        hit = self.node in {node.name for node in graph.nodes}

        class Prepared:
            def run(self, inputs: Any) -> Any:
                made = ready.run(inputs)
                return FAULTS[own.fault](made) if hit and own.fault else made

        return Prepared()


def workers(wrong: Wrong) -> list[LocalWorker]:
    """The one in the middle of `PLACED` is wrong."""
    return [
        LocalWorker(name=name, processors=own, backend=backend, label=name)
        for name, own, backend in (
            ("all", OWN, ReferenceBackend()), ("w0", OWN[:1], wrong),
            ("w1", OWN[-1:], ReferenceBackend()))
    ]  # fmt: skip


@pytest.mark.parametrize("timeout_s", [60, None])
@pytest.mark.parametrize("fault", FAULTS)
def test_who_answers_wrongly_is_named(fault: str, timeout_s: float | None) -> None:
    graph = diamond()
    with WorkerPool(workers(Wrong("b", fault))) as pool:
        network = PlacedNetwork(graph, steps(graph, PLACED), pool)
        with pytest.raises(WorkerFailedError, match="worker 'w0': subgraph") as told:
            network.run(INPUT, timeout_s=timeout_s)
        assert (told.value.worker, told.value.region) == ("w0", network.steps[1].region.name)
        if fault != "lists":
            assert "its answer for 'yb'" in str(told.value)
        served = Fallback({
            "placed": network,
            "whole": PlacedNetwork(graph, steps(graph, [("a b c d", "all")]), pool),
        })  # fmt: skip
        same(served.run(INPUT, timeout_s=timeout_s).outputs, graph, INPUT)
        assert served.gone == {"w0"}


@pytest.mark.parametrize("fault", FAULTS)
def test_where_all_is_on_one_worker_too(fault: str) -> None:
    graph = diamond()
    with WorkerPool(workers(Wrong("b", fault))) as pool:
        network = PlacedNetwork(
            graph, steps(graph, [("a", "w0"), ("b", "w0"), ("c d", "w0")]), pool
        )
        assert network.straight is not None
        with pytest.raises(WorkerFailedError) as told:
            network.run(INPUT)
        assert told.value.region == network.steps[1].region.name


@pytest.mark.parametrize("fault", ["leaves out", "renames", "flattens", "lists"])
@pytest.mark.parametrize("node", ["b", "d"])
@pytest.mark.parametrize("how", ["watched", "here", "on one"])
def test_who_was_right_at_first_is_named_too(fault: str, node: str, how: str) -> None:
    """One that somebody reads, and one that goes to whoever asked."""
    if (fault, node) == ("flattens", "d"):
        pytest.skip("what nobody fails at is not looked at")
    graph, wrong = diamond(), Wrong(node, "")
    placed = [(nodes, {"b": "w0", "d": "w0"}.get(nodes, where)) for nodes, where in PLACED]
    if how == "on one":
        placed = [(nodes, "w0") for nodes, _ in PLACED]
    timeout_s = 60 if how == "watched" else None
    with WorkerPool(workers(wrong)) as pool:
        network = PlacedNetwork(graph, steps(graph, placed), pool)
        same(network.run(INPUT, timeout_s=timeout_s).outputs, graph, INPUT)
        wrong.fault = fault
        with pytest.raises(WorkerFailedError) as told:
            network.run(INPUT, timeout_s=timeout_s)
        assert (told.value.worker, told.value.region) == ("w0", node)
        if fault != "lists":
            assert f"its answer for 'y{node}'" in str(told.value)
        wrong.fault = ""
        same(network.run(INPUT, timeout_s=timeout_s).outputs, graph, INPUT)


def test_who_fails_by_itself_is_not_taken_for_another() -> None:
    graph, fake = diamond(), Fake()
    with WorkerPool([replace(w, backend=fake) for w in workers(Wrong("", ""))]) as pool:
        network = PlacedNetwork(graph, steps(graph, PLACED), pool)
        same(network.run(INPUT).outputs, graph, INPUT)
        fake.fails = "d"
        with pytest.raises(WorkerFailedError, match=r"'all'.*made up") as told:
            network.run(INPUT)
        assert told.value.region == "d"


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
@pytest.mark.parametrize("fault", ["leaves out", "widens"])
def test_whoever_asks_processes_is_named_too(fault: str) -> None:
    graph = diamond()
    with WorkerPool(workers(Wrong("d", fault))) as pool:
        placed = [
            ("a", f"all{PROCESS}"),
            ("b", f"w1{PROCESS}"),
            ("c", f"all{PROCESS}"),
            ("d", "w0"),
        ]
        network = ProcessNetwork(graph, steps(graph, placed), pool)
        with pytest.raises(WorkerFailedError) as told:
            network.run(INPUT)
        assert told.value.worker == "w0"


@pytest.mark.parametrize("together", [False, True])
def test_it_is_looked_at_until_it_was_right_once(
    monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    """What comes later costs nothing; a wrong answer first does not end the looking."""
    looked: list[str] = []

    def counted(graph: Graph, names: Any, made: Any) -> None:
        looked.extend(names)
        check_answer(graph, names, made)

    monkeypatch.setattr("orrery.runtime._backend.check_answer", counted)
    graph, wrong = diamond(), Wrong("b")
    placed = PLACED if together else [(nodes, "w0") for nodes, _ in PLACED]
    with WorkerPool(workers(wrong)) as pool:
        network = PlacedNetwork(graph, steps(graph, placed), pool)
        for _ in range(2):
            with pytest.raises(WorkerFailedError):
                network.run(INPUT)
        assert looked.count("yb") == 2
        wrong.fault = ""
        for _ in range(4):
            same(network.run(INPUT).outputs, graph, INPUT)
        assert sorted(set(looked)) == ["ya", "yb", "yc", "yd"]
        assert looked.count("yb") == 3
        assert looked.count("yd") == 1


def test_a_profile_leaves_it_to_the_others() -> None:
    graph = diamond()
    regions = [step.region for step in steps(graph, PLACED)]
    wrong = Wrong("b", "renames")
    with WorkerPool(list(reversed(workers(wrong)))[1:]) as pool:  # the wrong one comes first
        found = profile_subgraphs(graph, regions, pool, INPUT, least_passes=2, most_s=0.01)
    ((pair, why),) = found.refusals.items()
    assert pair == (regions[1].name, "w0")
    assert "its answer for 'yb': found" in why
    assert "none, but 'yb:0'" in why


def test_what_is_not_known_is_not_refused() -> None:
    graph = diamond()
    with pytest.raises(ModelError, match=r"'ya': found 'float64.3, 4.', wanted float32"):
        check_answer(graph, ["", "ya"], {"ya": np.zeros((3, 4))})
    check_answer(graph, ["ya"], {"ya": [1, 2], "more": 1})  # no array: whoever made it knows
    check_answer(graph, [], {})
