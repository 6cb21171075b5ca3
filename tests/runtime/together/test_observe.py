"""Steps of back ends that slow each other down: seen in company, not alone."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from orrery.errors import SpecError
from orrery.graph import Graph
from orrery.runtime.together import LocalWorker, Outcome, PlacedNetwork, WorkerPool, observe

from .test_executor import INPUT, OWN, diamond, steps

#: What a step takes alone, and the least that it takes in company; all between is the machine's.
ALONE_S, CROWDED_S, BETWEEN_S = 0.005, 0.12, 0.1


class Crowd:
    """Rests for a time; far longer where another one runs meanwhile.

    Requests as they are and one step at a time come in turn. In the first, b and c wait for each
    other, however late a busy machine begins one of them.
    """

    name = "crowd"

    def __init__(self) -> None:
        self.requests, self.running, self.lock = 0, 0, threading.Lock()
        self.both = threading.Barrier(2, timeout=60)

    def refuses(self, graph: Graph) -> str | None:
        return None

    def prepare(self, graph: Graph) -> Any:
        return _Prepared(self, graph)


class _Prepared:
    def __init__(self, owner: Crowd, graph: Graph) -> None:
        self.owner, self.graph = owner, graph

    def run(self, inputs: Any) -> dict[str, Any]:
        owner, name = self.owner, self.graph.nodes[0].name
        with owner.lock:
            owner.requests += name == "a"
            owner.running += 1
            crowded = owner.running > 1
        if name in "bc" and owner.requests % 2:
            owner.both.wait()
            crowded = True
        time.sleep(CROWDED_S if crowded else ALONE_S)
        with owner.lock:
            owner.running -= 1
        return self.graph.evaluate(inputs)


class Cooling:
    """A network of one step that takes longer after another one has run."""

    steps, last = (None,), list[object]()

    def __init__(self, seconds: float, alone: Cooling | None = None) -> None:
        self.seconds, self.alone, self.runs = seconds, alone, 0

    def one_after_another(self) -> Cooling | None:
        return self.alone

    def run(self, inputs: Any, *, timeout_s: float | None) -> Outcome:
        took = self.seconds * (1 if self.last[-1:] == [self] else 3)
        self.last.append(self)
        self.runs += 1
        return Outcome(outputs={}, began_s=(0.0,), ended_s=(took,), asked_s=0.0, answered_s=took)


@pytest.mark.parametrize(("seconds", "runs", "factor"), [(1e-3, 9, 1), (0.1, 5, 3)])
def test_short_steps_are_timed_warm_as_the_profile_does(
    seconds: float, runs: int, factor: int
) -> None:
    alone = Cooling(seconds)
    network: Any = Cooling(seconds, alone)
    found = observe(network, {}, rounds=4)
    assert found.alone_s == pytest.approx((factor * seconds,))
    assert alone.runs == runs


@pytest.mark.skipif(len(OWN) < 2, reason="one processor: nothing can run beside anything else")
def test_company_is_seen_and_alone_is_alone() -> None:
    graph, backend = diamond(), Crowd()
    workers = [LocalWorker(name=name, processors=(OWN[k % len(OWN)],), backend=backend, label=name)
               for k, name in enumerate(("w0", "w1"))]  # fmt: skip
    with WorkerPool(workers) as pool:
        made = PlacedNetwork(
            graph, steps(graph, [("a", "w0"), ("b", "w0"), ("c", "w1"), ("d", "w0")]), pool
        )
        found = observe(made, INPUT, rounds=5)
        again = observe(made, INPUT, rounds=3, most_s=0)
    assert found.rounds == 5
    assert again.rounds == 1
    took = [b - a for a, b in zip(found.began_s, found.ended_s)]
    # b and c run side by side; a and d never have company.
    assert min(took[1], took[2]) >= CROWDED_S
    for k in range(4):
        assert ALONE_S <= found.alone_s[k] < BETWEEN_S
    assert max(took[0], took[3]) < BETWEEN_S
    assert found.latency_s >= max(found.ended_s)
    assert all(a <= b for a, b in zip(found.began_s, found.ended_s))
    with pytest.raises(SpecError):
        observe(made, INPUT, rounds=0)
