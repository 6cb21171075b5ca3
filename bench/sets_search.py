"""Searches over sets of devices: makespans per second, two-level against exact."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache

import numpy as np

from orrery.accel import resolve
from orrery.cost import CostModel, roofline
from orrery.graph import build_model
from orrery.hardware import load_system
from orrery.mapping._tables import fill_tables, number_workload
from orrery.mapping.genetic import FoundSets, TwoLevelSearch, two_level
from orrery.mapping.sets import (
    Evaluator,
    Placed,
    Problem,
    SetMapping,
    chain_optimum,
    evaluate,
    fill_problem,
)

from ._record import Figure, repeated

NETWORKS = ("alexnet", "vgg16", "resnet34", "resnet101", "wide_resnet50_2")
CHANGES = 500_000
CHECKED = 500


def figures(networks: tuple[str, ...] = NETWORKS, system: str = "aws-f1") -> list[Figure]:
    """Evaluate ResNet-101 after changes of one gene; search every network both ways."""
    found = [_speed("resnet101", system)]
    for network in networks:
        found += _search(network, system)
    return found


@cache
def _problem(network: str, system: str) -> tuple[Problem, float]:
    """Return the problem and the CPU seconds that filling it took."""
    graph, machine = build_model(network), load_system(system)
    designs = dict.fromkeys(design for device in machine.devices for design in device.designs)
    models: dict[str, CostModel] = {"": roofline}
    models |= {design: resolve(design).cost for design in designs}
    start = time.process_time()
    tables = fill_tables(number_workload([graph]), machine, models)
    # The sizes that the mapper allows by itself: powers of two, and all.
    sizes = {2**n for n in range(10) if 2**n <= len(machine.devices)} | {len(machine.devices)}
    problem = fill_problem(tables, models, tables.capacity_bytes, sizes=sorted(sizes))
    return problem, time.process_time() - start


def _speed(network: str, system: str) -> Figure:
    problem, _ = _problem(network, system)
    last = len(problem.classes) - 1
    whole = Placed(set_class=last, design=len(problem.designs[last]) - 1, first=0,
                   last=len(problem.units), devices=problem.classes[last].devices)  # fmt: skip
    random = np.random.default_rng(0)
    options = [len(choices[len(whole.devices)]) for choices in problem.choices]
    mapping = SetMapping(sets=(whole,), choices=tuple(map(int, random.integers(0, options))))
    running = Evaluator(problem).start(mapping)
    units = random.integers(0, len(options), CHANGES)
    choices = (random.random(CHANGES) * np.array(options)[units]).astype(np.int64)
    for unit, choice in zip(units[:CHECKED], choices[:CHECKED], strict=True):
        changed = list(mapping.choices)
        changed[unit] = int(choice)
        wanted = evaluate(problem, SetMapping(sets=mapping.sets, choices=tuple(changed)))
        if running.explore(np.array([unit]), np.array([choice]))[0] != wanted.makespan_ps:
            raise RuntimeError(f"unit {unit}, choice {choice}: not what the definition says")

    def measure() -> float:
        start = time.process_time()
        running.explore(units, choices)
        return CHANGES / (time.process_time() - start)

    return repeated(
        f"makespans after one changed gene, {network} on {system}", "1/s", measure,
        target=200_000, better="higher",
        note=f"one core, CPU seconds; every change is undone again; {CHECKED} of them equal to "
        "the full evaluation",
    )  # fmt: skip


def _search(network: str, system: str) -> list[Figure]:
    problem, filling_s = _problem(network, system)
    settings = TwoLevelSearch()
    makespans: list[int] = []

    def measure() -> float:
        # A fresh copy: tables that an earlier run filled would shorten this one.
        fresh = replace(problem, _moves={})
        start = time.process_time()
        found = two_level(fresh, settings)
        seconds = time.process_time() - start
        if not isinstance(found, FoundSets):
            raise TypeError(str(found))
        makespans.append(found.makespan_ps)
        return seconds

    search = repeated(
        f"two-level search, {network} on {system}", "s", measure, runs=3, target=10.0,
        note=f"CPU seconds of one core; filling the tables took {filling_s:.3g} s before",
    )  # fmt: skip
    start = time.process_time()
    optimum = chain_optimum(problem, 0, behind="relaxed")
    exact_s = time.process_time() - start
    best = min(optimum.value_ps.values())
    gap = 100 * (makespans[-1] / best - 1)
    return [
        search,
        Figure(name="… above the exact bound", value=gap, unit="%", runs=(gap,), target=1.0,
               note=f"{makespans[-1] / 1e9:.6g} ms, bound {best / 1e9:.6g} ms"),
        Figure(name="… the exact search", value=exact_s, unit="s", runs=(exact_s,), target=30.0,
               note="CPU seconds; what stays behind on a set is bounded from below"),
    ]  # fmt: skip
