"""A mapping of units onto sets, evaluated from its definition, and written as a plan.

Models:  the clock of `orrery.cost.expand`: networks side by side, each one unit after the other;
         every fetch, round, sum and return in whole picoseconds; what each device holds.
Ignores: contention; the return of states.
Judge:   `orrery.cost.price` of the plan (tests).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from orrery.cost import expand, price
from orrery.graph import Graph
from orrery.plan import Assignment, Plan, Split, SystemReference
from orrery.timeline import PS_PER_S

from .._build import plan_notes
from ._choices import Choice
from ._memory import needs_bytes
from ._problem import Problem
from ._routes import NEVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A set and the units it takes over.

    Attributes
    ----------
    set_class, design : number of the class, and number among the designs of that class
    devices : by number, rising
    first, last : units, from the first to before the last
    """

    set_class: int
    design: int
    devices: tuple[int, ...]
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMapping:
    """Which set takes over which units, and the choice of every unit."""

    sets: tuple[Placed, ...]
    choices: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What a mapping takes.

    Attributes
    ----------
    makespan_ps : `NEVER` or more where something is refused
    fetch_ps, step_ps : per unit
    ends_ps : per network
    resident_bytes : per device, constants and states (`needs_bytes`)
    overfull : device -> bytes at once, where they do not fit
    """

    makespan_ps: int
    fetch_ps: tuple[int, ...]
    step_ps: tuple[int, ...]
    ends_ps: tuple[int, ...]
    resident_bytes: tuple[int, ...]
    overfull: Mapping[int, int]


def evaluate(problem: Problem, mapping: SetMapping) -> Times:
    """Return what a mapping takes, from the definition."""
    return _Clock(problem, mapping).run()


def places_of(problem: Problem, mapping: SetMapping) -> list[Placed]:
    """Return the set of every unit."""
    found = [mapping.sets[0]] * len(problem.units)
    for placed in mapping.sets:
        found[placed.first : placed.last] = [placed] * (placed.last - placed.first)
    return found


class _Clock:
    def __init__(self, problem: Problem, mapping: SetMapping) -> None:
        self.p, self.m = problem, mapping
        self.set_of = places_of(problem, mapping)
        #: tensor -> where it lies: the set, and the number of its layout there
        self.lies: dict[int, tuple[Placed, int]] = {}
        self.moved: list[list[bool]] = []
        self.starts: list[int] = []
        self.home: dict[int, int] = {}  # results

    def choice(self, unit: int) -> Choice:
        parties = len(self.set_of[unit].devices)
        return self.p.choices[unit][parties][self.m.choices[unit]]

    def run(self) -> Times:
        fetches, steps = [], []
        clock: dict[int, int] = {}
        ends: dict[int, int] = {}
        w = self.p.tables.workload
        for number, unit in enumerate(self.p.units):
            placed, choice = self.set_of[number], self.choice(number)
            self.moved.append([])
            self.starts.append(clock.get(unit.network, 0))
            fetch = sum(
                self._fetch(tensor, placed, need)
                for (tensor, _), need in zip(unit.uses, choice.needs)
            )
            table = self.p.step_ps[number][placed.set_class]
            step = int(table[placed.design, self.m.choices[number]])
            clock[unit.network] = clock.get(unit.network, 0) + fetch + step
            now = clock[unit.network]
            ends[unit.network] = max(ends.get(unit.network, 0), now)
            for (tensor, _), layout in zip(unit.outputs, choice.outputs):
                self.lies[tensor] = (placed, layout)
                if tensor in w.results:
                    back = int(self.p.finish_ps(tensor, placed.set_class)[layout])
                    self.home[tensor] = now + back
                    ends[unit.network] = max(ends[unit.network], now + back)
            fetches.append(fetch)
            steps.append(step)
        resident, overfull = self._memory()
        networks = range(len(w.references))
        return Times(
            makespan_ps=max(ends.values()), fetch_ps=tuple(fetches), step_ps=tuple(steps),
            ends_ps=tuple(ends.get(n, 0) for n in networks), resident_bytes=tuple(resident),
            overfull=overfull,
        )  # fmt: skip

    def _fetch(self, tensor: int, placed: Placed, need: int) -> int:
        here = self.lies.get(tensor)
        if here is None:
            took = int(self.p.start_ps(tensor, placed.set_class)[need])
            self.lies[tensor] = (placed, need)
            self.moved[-1].append(self.p.host >= 0)
            return took
        there, layout = here
        if there.devices == placed.devices:
            took = int(self.p.move_ps(tensor, placed.set_class)[layout, need])
        else:
            took = int(self.p.hand_ps(tensor, there.set_class, placed.set_class)[layout, need])
        self.moved[-1].append(took >= 0)
        if took < 0:
            return 0
        self.lies[tensor] = (placed, need)
        return took

    def _memory(self) -> tuple[list[int], dict[int, int]]:
        """Return constants per device, and what devices need that is too much for them."""
        units = range(len(self.p.units))
        resident, needs = needs_bytes(
            self.p, [one.devices for one in self.set_of], [self.choice(u) for u in units],
            self.moved, self.starts, self.home,
        )  # fmt: skip
        return resident, {d: n for d, n in enumerate(needs) if n > self.p.capacity_bytes[d]}


def plan_of(
    problem: Problem, mapping: SetMapping, *, searcher: str, objective: str = "latency",
    settings: Mapping[str, str | int | float | bool] | None = None, seed: int = 0,
    lower_bound_ps: int | None = None, bound: str = "", notes: Sequence[str] = (),
) -> Plan:  # fmt: skip
    """Write a mapping as a plan."""
    tables, clock = problem.tables, _Clock(problem, mapping)
    w, times = tables.workload, evaluate(problem, mapping)
    assignments = []
    for number, unit in enumerate(problem.units):
        placed, choice = clock.set_of[number], clock.choice(number)
        design = problem.designs[placed.set_class][placed.design]
        names = tuple(tables.ends[device] for device in placed.devices)
        device = tables.system.devices[placed.devices[0]]
        kind = tables.kind[placed.devices[0]]
        for region, strategy in zip(unit.regions, choice.strategies):
            prefix = w.names[region][: len(w.names[region]) - len(w.regions[region].name)]
            # A set of one is a split too: so all messages of the plan are derived, none listed.
            split = Split(devices=names[:1], weights=(1.0,))
            if strategy is not None and len(names) > 1:
                shared = strategy.shared
                split = Split(
                    devices=names, weights=(1.0,) * len(names), exclusive=strategy.exclusive,
                    shared=None if shared is None else (shared.loop, shared.operand),
                    combine=strategy.combine,
                )  # fmt: skip
            by_design = problem.pricer.by_design(
                w.regions[region], problem.tables.signatures[region], design, device, kind
            )
            assignments.append(Assignment(
                region=w.names[region], device=names[0], design=design if by_design else None,
                nodes=tuple(prefix + node for node in w.regions[region].nodes),
                after=tuple(w.names[need] for need in w.needs[region]), split=split,
            ))  # fmt: skip
    plan = Plan(
        models=w.references,
        system=SystemReference(name=tables.system.name, digest=tables.system.digest),
        assignments=tuple(assignments), transfers=(), objective=objective, searcher=searcher,
        settings=settings or {}, seed=seed, predicted_latency_s=times.makespan_ps / PS_PER_S,
        notes=(*plan_notes(tables), *notes),
        lower_bound_s=None if lower_bound_ps is None else lower_bound_ps / PS_PER_S, bound=bound,
    )  # fmt: skip
    graphs: dict[int, Graph] = {}
    for unit in problem.units:
        graphs[unit.network] = w.regions[unit.regions[0]].graph
    kept = expand(plan, [graphs[n] for n in sorted(graphs)], tables.system)
    resident = {end: sum(held.values()) for end, held in zip(kept.ends, kept.residents)}
    return replace(plan, resident_bytes={end: size for end, size in resident.items() if size})


def feasible(times: Times) -> bool:
    """Whether nothing is refused and everything fits."""
    return times.makespan_ps < NEVER and not times.overfull


def fits(problem: Problem, mapping: SetMapping, times: Times | None = None) -> bool:
    """Whether nothing is refused and the plan fits, by its own price where `evaluate` doubts it."""
    times = evaluate(problem, mapping) if times is None else times
    if feasible(times) or times.makespan_ps >= NEVER:
        return feasible(times)
    w, system = problem.tables.workload, problem.tables.system
    graphs = {unit.network: w.regions[unit.regions[0]].graph for unit in problem.units}
    plan = plan_of(problem, mapping, searcher="")
    cost = price(plan, [graphs[n] for n in sorted(graphs)], system, problem.pricer.models)
    peaks = cost.total.peak_bytes
    return all(
        peaks.get(f"{device.name}.{device.offchip.name}", 0) <= have
        for device, have in zip(system.devices, problem.capacity_bytes)
    )
