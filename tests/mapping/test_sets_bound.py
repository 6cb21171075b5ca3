"""Bounds of paths against plans of single regions, each wherever and split however it likes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from orrery.cost import Refusal, price, strategies
from orrery.graph import ArrayConstant, Graph, Node, TensorType
from orrery.hardware import System
from orrery.mapping.sets import Problem, best_series, path_bound_ps, series_bound_ps
from orrery.plan import Assignment, Plan, Split, SystemReference
from tests.certify.plans import placed

from .random_graphs import MODELS, random_system, residual_graph
from .sets_cases import problem_of


def _ways(problem: Problem, system: System, region: int) -> Iterator[tuple[str | None, Split]]:
    """Every device set of like devices, design and split of a region, asked of `orrery.cost`."""
    w = problem.tables.workload
    for count in range(1, len(system.devices) + 1):
        for devices in itertools.combinations(range(len(system.devices)), count):
            if len({problem.tables.kind[d] for d in devices}) > 1:
                continue
            names = tuple(system.devices[d].name for d in devices)
            device = system.devices[devices[0]]
            for design in (None, *device.designs):
                own = design is None and device.operators is not None
                if own and not w.regions[region].operators <= set(device.operators or ()):
                    continue
                if MODELS[design or ""].refuses(w.regions[region], device):
                    continue
                if count == 1:
                    yield design, Split(devices=names, weights=(1.0,))
                    continue
                found = strategies(w.regions[region], count, dimensions=2)
                for s in () if isinstance(found, Refusal) else found:
                    shared = None if s.shared is None else (s.shared.loop, s.shared.operand)
                    yield design, Split(devices=names, weights=(1.0,) * count, shared=shared,
                                        exclusive=s.exclusive, combine=s.combine)  # fmt: skip


def _plan(problem: Problem, system: System, ways: list[tuple[str | None, Split]]) -> Plan:
    w = problem.tables.workload
    return Plan(
        models=w.references, system=SystemReference(name=system.name, digest=system.digest),
        assignments=tuple(
            Assignment(region=name, device=split.devices[0], design=design, split=split,
                       nodes=tuple(w.regions[r].nodes), after=tuple(w.names[n] for n in w.needs[r]))
            for r, (name, (design, split)) in enumerate(zip(w.names, ways, strict=True))
        ),
        transfers=(), objective="latency", searcher="test", predicted_latency_s=0.0,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(16))
def test_no_plan_of_single_regions_is_faster_than_the_path(seed: int) -> None:
    """Messages cost next to nothing; region after region gets the way that is best as yet."""
    graph, random = residual_graph(seed, least=3, most=5), Random(seed)
    system = random_system(7 * seed + 3, least=2, designs=seed % 3 > 0)
    links = tuple(replace(link, bandwidth_bytes_per_s=1e15, latency_s=0.0) for link in system.links)
    system = replace(system, links=links)
    problem = problem_of([graph], system)
    bound = path_bound_ps(problem)
    ways = [list(_ways(problem, system, r)) for r in range(len(problem.tables.workload.regions))]
    design_of = {d.name: random.choice([*d.designs, None]) for d in system.devices}
    allowed = [
        [(d, split) for d, split in listed
         if d is None or all(design_of[name] == d for name in split.devices)]
        for listed in ways
    ]  # fmt: skip
    if not all(allowed):
        return
    best = [random.choice(listed) for listed in allowed]

    def makespan(ways: list[tuple[str | None, Split]]) -> int:
        plan = placed(_plan(problem, system, ways), graph, system)
        return round(price(plan, [graph], system, MODELS).total.latency_s * 1e12)

    for region, listed in enumerate(allowed):
        tried = [[*best[:region], way, *best[region + 1 :]] for way in
                 random.sample(listed, min(12, len(listed)))]  # fmt: skip
        best = min([best, *tried], key=makespan)
    assert bound <= makespan(best)


def _followed() -> tuple[Graph, System]:
    """A product that only one device does fast, then an activation that only another does."""
    weight = ArrayConstant(np.ones((64, 64), np.float32))
    graph = Graph(
        name="followed", inputs=("x",), outputs=("y",),
        nodes=(Node(name="product", op="MatMul", inputs=("x", "w"), outputs=("m",)),
               Node(name="follower", op="Relu", inputs=("m",), outputs=("y",))),
        types={"x": TensorType(dtype="float32", shape=(64, 64)), "w": weight.type},
        constants={"w": weight},
    ).infer()  # fmt: skip
    made = random_system(0, least=2, most=2, topology="full", designs=False)
    one, other = made.devices
    rates = [({"float32": 1e12}, 1e5), ({"float32": 1e6}, 1e12)]
    devices = tuple(
        replace(device, name=f"d{i}", designs=(), operators=None, compute=replace(
            device.compute, macs_per_s=macs, others_per_s=others,
        )) for i, (device, (macs, others)) in enumerate(zip((one, other), rates, strict=True))
    )  # fmt: skip
    return graph, replace(made, devices=devices)


def test_the_path_heeds_that_a_follower_may_be_computed_elsewhere() -> None:
    """Each on its best device takes less than both on either."""
    graph, system = _followed()
    problem = problem_of([graph], system)
    alone = [(None, Split(devices=(name,), weights=(1.0,))) for name in ("d0", "d1")]
    times = {}
    for one, other in itertools.product(range(2), repeat=2):
        plan = placed(_plan(problem, system, [alone[one], alone[other]]), graph, system)
        times[one, other] = round(price(plan, [graph], system, MODELS).total.latency_s * 1e12)
    assert min(times, key=times.__getitem__) == (0, 1)
    assert path_bound_ps(problem) <= times[0, 1] < min(times[0, 0], times[1, 1])


def test_a_follower_that_is_faster_elsewhere_may_be_computed_there() -> None:
    graph, system = _followed()
    problem = problem_of([graph], system)
    assert len(problem.units) == 2
    plan = best_series(problem)
    assert isinstance(plan, Plan)
    assert [a.device for a in plan.assignments] == ["d0", "d1"]
    series, _ = series_bound_ps(problem)
    assert path_bound_ps(problem) <= series <= round(plan.predicted_latency_s * 1e12)
