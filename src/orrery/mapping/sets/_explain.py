"""Why a mapping is as it is: what every other choice would cost, and which design suits whom.

Models:  everything else held, one unit at a time is shared in every other way, or given to the set
         before or after where that only moves a cut; one set at a time is configured with every
         other design, its choices held or found anew by descent. Every makespan is complete:
         later fetches change with what a unit leaves behind. Memories are limits.
Ignores: changes of several things at once (but for the descent after a change of design);
         contention.
Judge:   `evaluate` of each changed mapping; in an optimal one, nothing is faster (tests).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from orrery.cost import Strategy
from orrery.errors import SpecError
from orrery.graph import Node, Region
from orrery.plan import Assignment, Plan
from orrery.progress import SILENT, Progress

from .._tables import Tables
from ._choices import Choice
from ._fast import Evaluator, Running
from ._mapping import Placed, SetMapping
from ._problem import Problem
from ._routes import NEVER, Ints

#: Sweeps over a set's units when its choices are found anew for another design.
_SWEEPS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another choice, and what all takes with it.

    Attributes
    ----------
    what : the choice: ``strategy`` of the unit on its set, another ``set``, another ``design``
    choice : the unit's choice, or -1 where all of the set are chosen anew
    set_number : the set that has the unit then
    design : number of the design that this set has then
    """

    what: str
    choice: int
    set_number: int
    design: int
    makespan_ps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitReason:
    """The best other choice for a unit; None where there is none that works.

    Attributes
    ----------
    worst_ps : what all takes with the worst of its choices that works
    """

    unit: int
    set_number: int
    other: Other | None
    worst_ps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReason:
    """What other designs for a set would cost, the cheapest first.

    Attributes
    ----------
    held, anew : choices as they are, and chosen anew; only what works
    """

    set_number: int
    held: tuple[Other, ...]
    anew: tuple[Other, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Units and sets of a mapping with what else could be done.

    Attributes
    ----------
    makespan_ps : of the mapping as it is, without contention
    """

    mapping: SetMapping
    makespan_ps: int
    units: tuple[UnitReason, ...]
    sets: tuple[SetReason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerClass:
    """Layers of one operator, kernel and stride on one device, under each design.

    Attributes
    ----------
    name : e.g. ``Conv 3×3 /2``
    layers : how many there are
    seconds : (kind of device, design) -> all of them together; None where the design refuses one
    prefers : (kind of device, design) -> how many layers are fastest so, of all kinds of devices
    """

    name: str
    layers: int
    seconds: dict[tuple[str, str | None], float | None]
    prefers: dict[tuple[str, str | None], int]


def explain_sets(
    problem: Problem, mapping: SetMapping, *, progress: Progress = SILENT
) -> Explanation:
    """Return what every other choice would cost.

    Raises
    ------
    CancelledError : the user asked to stop
    """
    running = Evaluator(problem).start(mapping)
    return _Explainer(problem, mapping, running, progress).run()


class _Explainer:
    def __init__(
        self, problem: Problem, mapping: SetMapping, running: Running, progress: Progress
    ) -> None:
        self.p, self.m, self.r, self.progress = problem, mapping, running, progress
        self.now = running.makespan_ps
        self.set_of = [
            next(s for s, placed in enumerate(mapping.sets) if placed.first <= u < placed.last)
            for u in range(len(problem.units))
        ]

    def run(self) -> Explanation:
        units = []
        for unit in range(len(self.p.units)):
            self.progress.step("what other choices cost", unit, len(self.p.units))
            units.append(self._unit(unit))
        sets = tuple(self._set(number) for number in range(len(self.m.sets)))
        return Explanation(mapping=self.m, makespan_ps=self.now, units=tuple(units), sets=sets)

    def _unit(self, unit: int) -> UnitReason:
        home = self.set_of[unit]
        tried: list[Other] = []
        for number in (home, *self._neighbours(unit)):
            placed = self.m.sets[number]
            steps = self.p.step_ps[unit][placed.set_class][placed.design]
            choices = [
                int(c) for c in np.flatnonzero(steps < NEVER)
                if number != home or c != self.m.choices[unit]
            ]  # fmt: skip
            what = "strategy" if number == home else "set"
            for choice, makespan in zip(choices, self._makespans(unit, number, choices)):
                tried.append(Other(what=what, choice=choice, set_number=number,
                                   design=placed.design, makespan_ps=makespan))  # fmt: skip
        self._restore(unit)
        tried.sort(key=lambda other: other.makespan_ps)
        best = next((other for other in tried if self._fits(unit, other)), None)
        self._restore(unit)
        worst = max((o.makespan_ps for o in tried if o.makespan_ps < NEVER), default=self.now)
        return UnitReason(unit=unit, set_number=home, other=best, worst_ps=max(worst, self.now))

    def _makespans(self, unit: int, number: int, choices: Sequence[int]) -> list[int]:
        if not choices:
            return []
        self.r.move_unit(unit, number, choices[0])
        units: Ints = np.full(len(choices), unit, np.int64)
        return [int(x) for x in self.r.explore(units, np.array(choices, np.int64))]

    def _fits(self, unit: int, other: Other) -> bool:
        makespan = self.r.move_unit(unit, other.set_number, other.choice)
        return makespan < NEVER and not self.r.excess_bytes

    def _restore(self, unit: int) -> None:
        self.r.move_unit(unit, self.set_of[unit], self.m.choices[unit])

    def _neighbours(self, unit: int) -> Iterator[int]:
        """Yield the sets that could take a unit by a shift of one cut."""
        home = self.set_of[unit]
        placed, network = self.m.sets[home], self.p.units[unit].network
        if placed.last - placed.first < 2:
            return
        if unit == placed.first and unit and self.p.cuts[unit + 1]:
            before = self.set_of[unit - 1]
            if self.p.units[unit - 1].network == network:
                yield before
        if unit == placed.last - 1 and unit + 1 < len(self.p.units) and self.p.cuts[unit]:
            after = self.set_of[unit + 1]
            if self.p.units[unit + 1].network == network:
                yield after

    def _set(self, number: int) -> SetReason:
        placed = self.m.sets[number]
        units: Ints = np.arange(placed.first, placed.last, dtype=np.int64)
        chosen: Ints = np.array(self.m.choices[placed.first : placed.last], np.int64)
        held, anew = [], []
        for design in range(len(self.p.designs[placed.set_class])):
            if design == placed.design:
                continue
            other = Other(what="design", choice=-1, set_number=number, design=design,
                          makespan_ps=self.r.configure(number, design))  # fmt: skip
            if other.makespan_ps < NEVER and not self.r.excess_bytes:
                held.append(other)
            self._able(number, design, units, chosen)
            makespan = self.r.descend(units, _SWEEPS, 1)
            if makespan < NEVER and not self.r.excess_bytes:
                anew.append(replace(other, makespan_ps=makespan))
            self.r.reset(units, chosen)
        self.r.configure(number, placed.design)

        def cost(other: Other) -> int:
            return other.makespan_ps

        return SetReason(set_number=number, held=tuple(sorted(held, key=cost)),
                         anew=tuple(sorted(anew, key=cost)))  # fmt: skip

    def _able(self, number: int, design: int, units: Ints, chosen: Ints) -> None:
        """Let units whose choice the design refuses begin with the fastest that it does not."""
        placed = self.m.sets[number]
        begin = chosen.copy()
        for place, unit in enumerate(units):
            steps = self.p.step_ps[unit][placed.set_class][design]
            if steps[begin[place]] >= NEVER:
                begin[place] = int(np.argmin(steps))
        self.r.reset(units, begin)


def mapping_of(problem: Problem, plan: Plan) -> SetMapping:
    """Return the mapping that a plan is of: what `plan_of` has written.

    A set whose first device alone does some units is read as one set; where it alone does all of
    them, as a set of one, which takes as long.

    Raises
    ------
    SpecError : the plan is not one of sets in series, or not of this problem
    """
    regions = {assignment.region: assignment for assignment in plan.assignments}
    names = problem.tables.workload.names
    if set(regions) != set(names):
        raise _foreign(f"{len(regions)} regions", f"the {len(names)} of its networks")
    number_of = {name: number for number, name in enumerate(problem.tables.ends)}
    rows: list[list[Assignment]] = []
    devices: list[tuple[int, ...]] = []
    for unit in problem.units:
        mine = [regions[names[region]] for region in unit.regions]
        if len({a.devices for a in mine}) != 1 or mine[0].split is None:
            raise _foreign(f"{mine[0].region!r} and what follows it apart, or not split",
                           "one set of devices for both")  # fmt: skip
        if any(name not in number_of for name in mine[0].devices):
            raise _foreign(", ".join(mine[0].devices), "devices of its system")
        rows.append(mine)
        devices.append(tuple(number_of[name] for name in mine[0].devices))
    sets: list[Placed] = []
    choices: list[int] = []
    for first, last, own in _ranges(problem, devices):
        placed = _placed(problem, own, first, last, rows[first:last])
        sets.append(placed)
        choices += [_choice(problem.choices[u][len(own)], rows[u]) for u in range(first, last)]
    return SetMapping(sets=tuple(sets), choices=tuple(choices))


def _ranges(
    problem: Problem, devices: Sequence[tuple[int, ...]]
) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Yield first and last unit and devices of every set."""
    first, own = 0, devices[0]
    for unit, now in enumerate(devices):
        same = problem.units[unit].network == problem.units[first].network
        if same and (now in (own, own[:1]) or own == now[:1]):
            own = max(own, now, key=len)
            continue
        yield first, unit, own
        first, own = unit, now
    yield first, len(devices), own


def _placed(
    problem: Problem, own: tuple[int, ...], first: int, last: int, rows: Sequence[list[Assignment]]
) -> Placed:
    names = ", ".join(problem.tables.ends[device] for device in own)
    counts = tuple(sum(device in group for device in own) for group in problem.groups)
    found = [k for k, one in enumerate(problem.classes) if one.counts == counts]
    if not found or own != tuple(sorted(own)):
        raise _foreign(f"a set of {names}", "sets that the problem lists (--set-sizes)")
    set_class = found[0]
    w, kind = problem.tables.workload, problem.tables.kind[own[0]]
    alike, pricer = problem.tables.signatures, problem.pricer
    device = problem.tables.system.devices[own[0]]
    for number, design in enumerate(problem.designs[set_class]):
        if all(
            assignment.design
            == (design if pricer.by_design(w.regions[region], alike[region], design, device, kind)
                else None)
            for unit, row in zip(range(first, last), rows)
            for region, assignment in zip(problem.units[unit].regions, row)
        ):  # fmt: skip
            return Placed(set_class=set_class, design=number, devices=own, first=first, last=last)
    said = dict.fromkeys(a.design or "as it is" for row in rows for a in row)
    raise _foreign(f"{names} as {', '.join(said)}", "one of its designs for all that a set does")


def _choice(choices: Sequence[Choice], row: Sequence[Assignment]) -> int:
    for number, choice in enumerate(choices):
        if all(_same(strategy, a) for strategy, a in zip(choice.strategies, row)):
            return number
    raise _foreign(f"{row[0].region!r} split as {row[0].split}", "a split that the problem lists "
                   "(--loops, --rings)")  # fmt: skip


def _same(strategy: Strategy | None, assignment: Assignment) -> bool:
    split = assignment.split
    if split is None or strategy is None:
        return split is not None and len(split.devices) == 1
    shared = strategy.shared
    given = None if shared is None else (shared.loop, shared.operand)
    here = (split.exclusive, split.shared, split.combine)
    return (
        len(split.devices) > 1
        and here == (strategy.exclusive, given, strategy.combine)
        and len(set(split.weights)) == 1
    )


def _foreign(found: str, wanted: str) -> SpecError:
    return SpecError("plan of sets", found=found, wanted=wanted,
                     fix="explain a plan with the settings it was made with")  # fmt: skip


def layer_classes(tables: Tables) -> tuple[LayerClass, ...]:
    """Return what each class of layers takes under each design, the most frequent class first."""
    members: dict[str, list[int]] = {}
    for number, region in enumerate(tables.workload.regions):
        members.setdefault(_class_name(region), []).append(number)
    columns: dict[tuple[str, str | None], int] = {}
    seen: set[tuple[int, str | None]] = set()
    for row, configuration in enumerate(tables.configurations):
        key = (tables.kind[configuration.device], configuration.design)
        if key not in seen:
            seen.add(key)
            device = tables.system.devices[configuration.device]
            name = device.kind
            while (name, configuration.design) in columns:
                name = f"{name}, as {device.name}"
            columns[name, configuration.design] = row
    found = []
    for name, regions in members.items():
        seconds: dict[tuple[str, str | None], float | None] = {}
        prefers = dict.fromkeys(columns, 0)
        table = np.array([
            np.where(tables.own_units[row, regions], np.inf, tables.seconds[row, regions])
            for row in columns.values()
        ])  # fmt: skip
        for column, times in zip(columns, table):
            seconds[column] = float(times.sum()) if np.isfinite(times).all() else None
        for times in table.T:
            if np.isfinite(times).any():
                prefers[list(columns)[int(np.argmin(times))]] += 1
        found.append(LayerClass(name=name, layers=len(regions), seconds=seconds, prefers=prefers))
    return tuple(sorted(found, key=lambda one: -one.layers))


def _class_name(region: Region) -> str:
    node = region.members[0]
    if len(region.members) > 1:
        return "+".join(dict.fromkeys(member.operator for member in region.members))
    return " ".join([node.operator, *_shape_of(node, region)])


def _shape_of(node: Node, region: Region) -> Iterator[str]:
    """Yield kernel, stride and what kind of groups, where an operator has them."""
    kernel = node.attributes.get("kernel_shape")
    if kernel is None and node.op in ("Conv", "ConvTranspose") and len(node.inputs) > 1:
        kernel = region.graph.type(node.inputs[1]).sizes[2:]
    if isinstance(kernel, list | tuple):
        yield "×".join(map(str, kernel))
    strides = node.attributes.get("strides")
    if isinstance(strides, list | tuple) and any(int(str(s)) > 1 for s in strides):
        yield "/" + "×".join(map(str, dict.fromkeys(strides)))
    groups = node.attributes.get("group", 1)
    if isinstance(groups, int) and groups > 1:
        yield f"in {groups} groups"
