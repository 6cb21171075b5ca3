"""Workers that rest for known times, and records of choices with known numbers."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from orrery.api.choosing import PLACED, Choice, Found
from orrery.graph import Graph, Node, TensorType
from orrery.mapping.phases import (
    Placed,
    PlacementProblem,
    Worker,
    bounds_of,
    flows_of,
    losses_of,
    partition,
    standing,
)
from orrery.runtime import ReferenceBackend
from orrery.runtime._machine import allowed_processors
from orrery.runtime.together import Comparison, LocalWorker, Profile

OWN = tuple(allowed_processors())
INPUT = {"x": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)}


def towers() -> Graph:
    """Two nodes side by side and one that joins them."""
    ops = [("l", "Neg", ["x"]), ("r", "Exp", ["x"]), ("s", "Add", ["yl", "yr"])]
    return Graph(
        name="towers", inputs=("x",), outputs=("ys",),
        nodes=tuple(Node(name=n, op=op, inputs=tuple(i), outputs=(f"y{n}",)) for n, op, i in ops),
        types={"x": TensorType(dtype="float32", shape=(3, 4))},
    ).infer()  # fmt: skip


@dataclass
class Resting:
    """Rests for the time of its nodes, then computes.

    Attributes
    ----------
    rest_s : per node
    whole : of that, what all nodes in one piece take
    company : how many times longer while another rests
    fails : a node whose graphs fail, from the first run
    """

    rest_s: Mapping[str, float]
    whole: float = 1.0
    company: float = 1.0
    fails: str = ""
    name: str = "resting"
    lock: threading.Lock = field(default_factory=threading.Lock)
    resting: list[int] = field(default_factory=lambda: [0])

    def refuses(self, graph: Graph) -> str | None:
        return None

    def prepare(self, graph: Graph) -> Any:
        return _Prepared(self, graph)


@dataclass
class _Prepared:
    owner: Resting
    graph: Graph

    def run(self, inputs: Any) -> dict[str, Any]:
        owner, names = self.owner, [n.name for n in self.graph.nodes]
        if owner.fails in names and len(names) < len(owner.rest_s):
            raise RuntimeError("made up")
        rest = sum(owner.rest_s[n] for n in names)
        rest *= owner.whole if len(names) == len(owner.rest_s) else 1.0
        with owner.lock:
            owner.resting[0] += 1
        time.sleep(rest / 2)
        crowded = owner.resting[0] > 1
        time.sleep(rest / 2 + (rest * (owner.company - 1) if crowded else 0))
        with owner.lock:
            owner.resting[0] -= 1
        return self.graph.evaluate(inputs)


def workers(all_: Resting, half: Resting) -> list[LocalWorker]:
    """One worker with all processors and one with each half; halves know of each other."""
    cut = len(OWN) // 2
    return [
        LocalWorker(name=name, processors=processors, backend=backend, label=label)
        for name, processors, backend, label in (
            ("all", OWN, all_, "whole"), ("half0", OWN[:cut], half, "half"),
            ("half1", OWN[cut:], half, "half"))
    ]  # fmt: skip


def reference_workers() -> list[LocalWorker]:
    return [LocalWorker(name="all", processors=OWN, backend=ReferenceBackend(), label="all")]


def problem(seconds: Sequence[Sequence[float]]) -> PlacementProblem:
    """Towers on all processors and on each half."""
    cut = partition(towers(), {"l": 1.0, "r": 1.0, "s": 1.0}, least=0.5)
    both = frozenset({"0", "1"})
    return PlacementProblem(
        partition=cut, seconds=np.array(seconds, dtype=float), flows=flows_of(cut), passages={},
        workers=(Worker(name="all", processors=both),
                 *(Worker(name=f"half{k}", processors=frozenset({f"{k}"})) for k in range(2))),
    )  # fmt: skip


def choice(
    made: PlacementProblem, placement: tuple[int, ...], times: Mapping[str, Sequence[float]], *,
    slower: float = 1.0, gap: float = 0.0,
) -> Choice:  # fmt: skip
    """Return what would be found of towers side by side.

    Parameters
    ----------
    times : way -> seconds of each round; ``placed`` and ``all``
    slower : how many times longer towers take than alone
    gap : seconds before each begin
    """
    alone = [float(made.seconds[k, w]) for k, w in enumerate(placement)]
    ends = [gap + alone[k] * slower for k in (0, 1)]
    begin = [gap, gap, max(ends) + gap]
    end = [*ends, begin[2] + alone[2]]
    measured = made.observed(placement, begin, end, end[2])
    predicted = made.timing(placement).makespan_s
    comparison = Comparison(times_s={name: tuple(values) for name, values in times.items()})
    where, bounds = standing(made, placement), bounds_of(made)
    profile = Profile(
        workers=("all", "half0", "half1"), regions=("p0a", "p0b", "p1"), median_s=made.seconds,
        interval_s=np.stack([made.seconds] * 2, axis=-1), passes=9, refusals={}, confidence=0.95,
    )  # fmt: skip
    found = Choice(
        problem=made, profile=profile, networks={}, alone=tuple(n for n in times if n != PLACED),
        placed=Placed(placement=placement, seconds=predicted, predicted_s=predicted),
        comparison=comparison,
    )  # fmt: skip
    losses = losses_of(
        made, measured, alone, whole_s=comparison.median_s(found.single),
        whole_on=0, bound_s=where.best.predicted_s,
    )  # fmt: skip
    return Choice(
        problem=made, profile=profile, placed=found.placed, networks={}, alone=found.alone,
        comparison=comparison,
        found=Found(measured=measured, alone_s=tuple(alone), losses=losses, bounds=bounds,
                    greedy=where, kept=where),
    )  # fmt: skip
