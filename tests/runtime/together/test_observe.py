"""Steps of back ends that slow each other down: seen in company, not alone."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from orrery.errors import SpecError
from orrery.graph import Graph
from orrery.runtime.together import LocalWorker, PlacedNetwork, WorkerPool, observe

from .test_executor import INPUT, OWN, diamond, steps

REST_S = 0.01


class Crowd:
    """Rests for a time; three times as long where another begins or runs meanwhile."""

    name = "crowd"

    def __init__(self) -> None:
        self.running, self.lock = 0, threading.Lock()

    def refuses(self, graph: Graph) -> str | None:
        return None

    def prepare(self, graph: Graph) -> Any:
        return _Prepared(self, graph)


class _Prepared:
    def __init__(self, owner: Crowd, graph: Graph) -> None:
        self.owner, self.graph = owner, graph

    def run(self, inputs: Any) -> dict[str, Any]:
        owner, crowded = self.owner, False
        with owner.lock:
            owner.running += 1
        for _ in range(4):
            time.sleep(REST_S / 4)
            crowded |= owner.running > 1
        if crowded:
            time.sleep(2 * REST_S)
        with owner.lock:
            owner.running -= 1
        return self.graph.evaluate(inputs)


def test_company_is_seen_and_alone_is_alone() -> None:
    graph, backend = diamond(), Crowd()
    workers = [LocalWorker(name=name, processors=(OWN[k % len(OWN)],), backend=backend, label=name)
               for k, name in enumerate(("w0", "w1"))]  # fmt: skip
    if len(OWN) < 2:
        pytest.skip("one processor: nothing can run beside anything else")
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
    assert min(took[1], took[2]) > 2.5 * REST_S
    for k in range(4):
        assert REST_S <= found.alone_s[k] < 2.5 * REST_S
    assert max(took[0], took[3]) < 2.5 * REST_S
    assert found.latency_s >= max(found.ended_s) - 1e-3
    assert all(a <= b for a, b in zip(found.began_s, found.ended_s))
    with pytest.raises(SpecError):
        observe(made, INPUT, rounds=0)
