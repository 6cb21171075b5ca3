"""A machine whose times we say, and records of choices with known numbers."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from orrery.api.choosing import PLACED, Choice, Found, Ways
from orrery.graph import Graph, Node, TensorType
from orrery.mapping.phases import (
    Placed,
    PlacementProblem,
    Worker,
    best_placement,
    bounds_of,
    flows_of,
    losses_of,
    partition,
    standing,
)
from orrery.runtime import ReferenceBackend, together
from orrery.runtime._machine import allowed_processors
from orrery.runtime.processes import ProcessNetwork
from orrery.runtime.together import Comparison, LocalWorker, PlacedNetwork, Profile

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
class Virtual:
    """A machine on which requests really run, and take the time that we say.

    Attributes
    ----------
    timed : seconds of each subgraph on all processors and on each half, as a profile finds them
    whole_s : of the network in one piece, per worker
    truth : of a placement; none: what is predicted from `timed`
    noise : share by which times vary
    drift : share by which the machine gets slower and quicker again
    apart : what a placement takes on processes, as a share of what it takes on threads, whose
        hand-overs take 0.1 ms then; None: there are none
    """

    timed: Sequence[Sequence[float]]
    whole_s: Mapping[str, float]
    truth: Callable[[tuple[int, ...]], float] | None = None
    noise: float = 0.0
    drift: float = 0.0
    apart: float | None = None
    seed: int = 0
    now: float = 0.0

    def __post_init__(self) -> None:
        self.random, self.problem = random.Random(self.seed), problem(self.timed)

    def true_s(self, placement: Sequence[int]) -> float:
        own = tuple(placement)
        return self.truth(own) if self.truth else self.problem.timing(own).makespan_s

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Have everything that is timed take its time from here."""
        placed, whole = Ways.placed, Ways.whole
        patch.setattr(Ways, "placed", self.placing(placed))
        if self.apart is None:
            patch.setattr("orrery.api.choosing._search.race_kinds", lambda *_, **__: False)
        patch.setattr(Ways, "whole", lambda ways, name: _Timed(
            self, whole(ways, name), self.whole_s[name]))  # fmt: skip
        for name in ("race", "compare"):
            original = getattr(together, name)
            patch.setattr(together, name, partial(original, clock=lambda: self.now))
        patch.setattr(together, "profile_subgraphs", lambda *_, **__: self.profile())
        links = [SimpleNamespace(source=a, target=b, fixed_s=1e-4, s_per_byte=0.0)
                 for a, b in permutations(("all", "half0", "half1"), 2)]  # fmt: skip
        patch.setattr(together, "measure_links", lambda *_, **__: links if self.apart else ())
        patch.setattr("orrery.api.placing._choose.node_work",
                      lambda *_: (dict.fromkeys("lrs", 1.0), ""))  # fmt: skip

    def placing(self, placed: Callable[..., PlacedNetwork]) -> Callable[..., _Timed]:
        """Return `Ways.placed` with times of ours."""

        def made(ways: Ways, placement: tuple[int, ...], processes: bool | None = None) -> _Timed:
            network = placed(ways, placement, processes=processes)
            share = self.apart or 1.0 if isinstance(network, ProcessNetwork) else 1.0
            return _Timed(self, network, self.true_s(placement) * share)

        return made

    def profile(self) -> Profile:
        seconds = self.problem.seconds
        return Profile(
            workers=("all", "half0", "half1"), regions=("p0a", "p0b", "p1"), median_s=seconds,
            interval_s=np.stack([seconds] * 2, axis=-1), passes=9, refusals={}, confidence=0.95,
        )  # fmt: skip


class _Timed:
    """A network whose requests let virtual time pass."""

    def __init__(self, machine: Virtual, network: PlacedNetwork, seconds: float) -> None:
        self._machine, self._network, self._seconds = machine, network, seconds

    def run(self, *args: Any, **kwargs: Any) -> Any:
        machine = self._machine
        slow = 1 + machine.drift * (1 + math.sin(machine.now / 0.1))
        machine.now += self._seconds * slow * machine.random.lognormvariate(0, machine.noise)
        return self._network.run(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "_network":  # a copy that is not filled yet
            raise AttributeError(name)
        return getattr(self._network, name)


class Failing:
    """Fails with graphs that hold one node, once it is told so, unless they are the whole."""

    name, fails = "reference", ""

    def refuses(self, graph: Graph) -> str | None:
        return ReferenceBackend().refuses(graph)

    def prepare(self, graph: Graph) -> Any:
        ready, names = ReferenceBackend().prepare(graph), {n.name for n in graph.nodes}

        class Prepared:
            def run(_self, inputs: Any) -> dict[str, Any]:  # `self` is the back end
                if self.fails in names and len(names) < 3:
                    raise RuntimeError("made up")
                return ready.run(inputs)

        return Prepared()


def workers(half0: Any = None) -> list[LocalWorker]:
    """One worker with all processors and one with each half."""
    cut = len(OWN) // 2
    return [
        LocalWorker(name=name, processors=processors, backend=backend, label=name)
        for name, processors, backend in (
            ("all", OWN, ReferenceBackend()), ("half0", OWN[:cut], half0 or ReferenceBackend()),
            ("half1", OWN[cut:], ReferenceBackend()))
    ]  # fmt: skip


def reference_workers() -> list[LocalWorker]:
    return [LocalWorker(name="all", processors=OWN, backend=ReferenceBackend(), label="all")]


def problem(seconds: Sequence[Sequence[float]], company: float = 1.0) -> PlacementProblem:
    """Towers on all processors and on each half; in company so many times as long on halves."""
    slower = np.ones((3, 3))
    slower[:, 1:] = company
    cut = partition(towers(), {"l": 1.0, "r": 1.0, "s": 1.0}, least=0.5)
    both = frozenset({"0", "1"})
    return PlacementProblem(
        partition=cut, seconds=np.array(seconds, dtype=float), flows=flows_of(cut), passages={},
        slower=slower,
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
    profile = Virtual(made.seconds.tolist(), {}).profile()
    found = Choice(
        problem=made, profile=profile, networks={}, alone=tuple(n for n in times if n != PLACED),
        placed=Placed(placement=placement, seconds=predicted, predicted_s=predicted),
        comparison=comparison,
    )  # fmt: skip
    bound_s = best_placement(replace(made, slower=None)).predicted_s
    losses = losses_of(
        made, measured, alone, whole_s=comparison.median_s(found.single),
        whole_on=0, bound_s=bound_s,
        limit_s=None if made.factors is None else where.best.predicted_s,
        compared_s=comparison.median_s(PLACED),
    )  # fmt: skip
    return Choice(
        problem=made, profile=profile, placed=found.placed, networks={}, alone=found.alone,
        comparison=comparison,
        found=Found(measured=measured, alone_s=tuple(alone), losses=losses, bounds=bounds,
                    greedy=where, kept=where,
                    company=None if made.factors is None else bounds_of(made.apart)),
    )  # fmt: skip
