"""Everything a search over sets of devices reads: units, sets, choices and what they take.

Models:  a network's units run one after the other; each on one set of devices, all configured with
         one design; sets take over from each other where nothing could run beside; a tensor is
         fetched in the layout that the unit's choice needs and lies there from then on
         (`orrery.cost.expand`). Times are whole picoseconds without contention.
Ignores: energy; the return of states; sets of unequal devices.
Judge:   `orrery.cost.price` of whole plans, equal to the picosecond (tests).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import TypedDict, Unpack

import numpy as np

from orrery.cost import CostModel
from orrery.errors import SpecError, UnknownNameError
from orrery.progress import SILENT, Progress

from .._tables import LONGEST_S, Tables, Workload
from .._workers import Shared, run_all
from ._choices import Choice, Filler, Pricer, fill, to_ps
from ._classes import SetClass, like_devices, set_classes
from ._routes import NEVER, Ints, Links, links_of, reshard_ps
from ._units import Unit, case_of, local_name, units_of

#: times of a region that differ by less are no reason to compute it elsewhere
_ALIKE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A workload on a system, as a search over sets sees it.

    Attributes
    ----------
    groups : of like devices; classes : of sets (see `SetClass`)
    designs : per class, what its devices can be configured with; None for as they are
    choices : per unit, number of parties -> ways to share it
    step_ps : per unit and class, designs × choices; `NEVER` where refused
    least_ps : per region, what it takes at least: whole anywhere, or shared in any listed way
    cuts : per unit, whether another set may take over before it: where it reads what the one
        before it ends with, so that sets never overlap and times simply add up
    layouts : per tensor, number of parties -> layouts × parties × axes × 2, bounds of boxes; those
        that some choice needs or leaves
    element_bytes : per tensor
    host : end of the host, -1 without one
    """

    tables: Tables
    links: Links
    units: tuple[Unit, ...]
    groups: tuple[tuple[int, ...], ...]
    classes: tuple[SetClass, ...]
    designs: tuple[tuple[str | None, ...], ...]
    choices: tuple[Mapping[int, tuple[Choice, ...]], ...]
    step_ps: tuple[tuple[Ints, ...], ...]
    least_ps: tuple[int, ...]
    cuts: tuple[bool, ...]
    layouts: Mapping[int, Mapping[int, Ints]]
    element_bytes: Mapping[int, int]
    capacity_bytes: tuple[int, ...]
    host: int
    pricer: Pricer
    _moves: dict[tuple[object, ...], Ints] = field(default_factory=dict)

    def move_ps(self, tensor: int, set_class: int) -> Ints:
        """Return layouts × layouts within a set: what a change takes, -1 where nothing moves."""
        one = self.classes[set_class]
        boxes = self.layouts[tensor][one.parties]
        return self._table(("move", set_class), tensor, boxes, boxes, one.devices, one.devices)

    def hand_ps(self, tensor: int, before: int, after: int) -> Ints:
        """Return layouts × layouts from a set of one class to another set of another."""
        one, other = self.classes[before], self.classes[after]
        return self._table(
            ("hand", before, after), tensor, self.layouts[tensor][one.parties],
            self.layouts[tensor][other.parties], one.devices,
            other.placed(self.groups, one.counts),
        )  # fmt: skip

    def start_ps(self, tensor: int, set_class: int) -> Ints:
        """Return per layout what fetching a network input from the host takes; 0 without a host."""
        one = self.classes[set_class]
        boxes = self.layouts[tensor][one.parties]
        if self.host < 0:
            return np.zeros(len(boxes), np.int64)
        whole = self._whole(boxes)
        table = self._table(("start", set_class), tensor, whole, boxes, (self.host,), one.devices)
        paid: Ints = np.maximum(table[0], 0)
        return paid

    def finish_ps(self, tensor: int, set_class: int) -> Ints:
        """Return per layout what bringing a result to the host takes; 0 without a host."""
        one = self.classes[set_class]
        boxes = self.layouts[tensor][one.parties]
        if self.host < 0:
            return np.zeros(len(boxes), np.int64)
        whole = self._whole(boxes)
        table = self._table(("finish", set_class), tensor, boxes, whole, one.devices, (self.host,))
        paid: Ints = np.maximum(table[:, 0], 0)
        return paid

    def _whole(self, boxes: Ints) -> Ints:
        whole: Ints = np.stack([boxes[..., 0].min(axis=(0, 1)), boxes[..., 1].max(axis=(0, 1))], -1)
        return whole[None, None]

    def _table(
        self, kind: tuple[object, ...], tensor: int, befores: Ints, afters: Ints,
        sources: Sequence[int], targets: Sequence[int],
    ) -> Ints:  # fmt: skip
        size = self.element_bytes[tensor]
        key = (*kind, size, befores.shape, befores.tobytes(), afters.shape, afters.tobytes())
        if key not in self._moves:
            ends = sorted({*sources, *targets})
            self._moves[key] = reshard_ps(
                self.links, _placed(befores, sources, ends), _placed(afters, targets, ends),
                np.array(ends, np.int64), size,
            )  # fmt: skip
        return self._moves[key]


def _placed(boxes: Ints, places: Sequence[int], ends: Sequence[int]) -> Ints:
    """Put parties' boxes among more ends; the others hold nothing."""
    if tuple(places) == tuple(ends):
        return boxes
    out = np.zeros((len(boxes), len(ends), *boxes.shape[2:]), np.int64)
    out[:, [ends.index(place) for place in places]] = boxes
    return out


class Freedoms(TypedDict, total=False):
    """What a problem may use, and how it is filled; `fill_problem` says what each is."""

    sizes: Sequence[int] | None
    shared: bool
    dimensions: int
    kernel: bool
    designs: Sequence[str | None] | None
    most_classes: int
    executor: Executor | None
    progress: Progress


_USUAL: Freedoms = {
    "sizes": None, "shared": True, "dimensions": 2, "kernel": False, "designs": None,
    "most_classes": 64, "executor": None, "progress": SILENT,
}  # fmt: skip


def fill_problem(
    tables: Tables,
    models: Mapping[str, CostModel],
    capacity_bytes: Sequence[int],
    **freedoms: Unpack[Freedoms],
) -> Problem:
    """List all ways to share every unit, and price them.

    Parameters
    ----------
    capacity_bytes : per device
    sizes : numbers of devices that a set may have; any when None
    shared, dimensions, kernel : which strategies (rotating operands; loops at once, 2 unless said
        otherwise; kernel loops, none unless asked for)
    designs : the only ones to use; all when None
    most_classes : see `set_classes`; 64
    executor : fills units side by side; the problem is the same as without
    progress : told which unit is filled
    """
    return fill_problems([tables], models, capacity_bytes, **freedoms)[0]


def fill_problems(
    variants: Sequence[Tables],
    models: Mapping[str, CostModel],
    capacity_bytes: Sequence[int],
    **freedoms: Unpack[Freedoms],
) -> tuple[Problem, ...]:
    """Fill problems that differ in their links alone; shares are listed and priced once.

    Classes, choices and layouts have the same numbers in all of them, so that a mapping of one
    means the same in each.

    Parameters
    ----------
    variants : tables of one workload on the same devices (see `with_links`)
    freedoms : see `fill_problem`

    Raises
    ------
    SpecError : devices that are alike in one variant are not in another
    """
    given: Freedoms = {**_USUAL, **freedoms}
    tables = variants[0]
    links = [links_of(variant) for variant in variants]
    groups = like_devices(tables)
    for variant in variants[1:]:
        if like_devices(variant) != groups:
            raise SpecError(
                f"system {variant.system.name!r}: links", found="devices alike that were not, or "
                "the other way round", wanted="links whose change keeps devices alike",
                fix="change the links of like devices alike",
            )  # fmt: skip
    classes = set_classes(tables, groups, given["sizes"], given["most_classes"])
    offered = tuple(_designs(tables, one, given["designs"]) for one in classes)
    units = units_of(tables.workload, _apart(tables, given["designs"]))
    names = tables.signatures
    pricer = Pricer(models, frozenset(names[r] for r in tables.unpriced))
    numbers: dict[object, int] = {}
    like = [numbers.setdefault(_likeness(tables, unit, names), len(numbers)) for unit in units]
    first_of = [units[like.index(number)] for number in numbers.values()]
    filler = Filler(
        cases=tuple(case_of(tables.workload, unit, names) for unit in first_of),
        classes=classes, offered=offered, kinds=tuple(tables.kind[c.devices[0]] for c in classes),
        devices=tuple(tables.system.devices[c.devices[0]] for c in classes), links=tuple(links),
        pricer=pricer, shared=given["shared"], dimensions=given["dimensions"],
        kernel=given["kernel"],
    )  # fmt: skip
    known = run_all(
        given["executor"], fill, Shared(filler), range(len(numbers)),
        lambda done: given["progress"].step("listing ways to share", done, len(numbers)),
    )  # fmt: skip
    universe, weights = _Universe(), _Weights(tables.workload)
    choices: list[Mapping[int, tuple[Choice, ...]]] = []
    for unit, number in zip(units, like):
        choices.append({
            parties: tuple(
                Choice(
                    strategies=way.strategies,
                    needs=tuple(universe.number(tensor, parties, boxes) for (tensor, _), boxes
                                in zip(unit.uses, way.needs)),
                    outputs=tuple(universe.number(tensor, parties, boxes) for (tensor, _), boxes
                                  in zip(unit.outputs, way.outputs)),
                    resident_bytes=way.resident_bytes, extra_bytes=way.extra_bytes,
                    shared=weights.shared(unit, parties, way.weights),
                )
                for way in ways
            )
            for parties, ways in known[number].ways.items()
        })  # fmt: skip
    element_bytes = {}
    for unit in units:
        for tensor, place in (*unit.uses, *unit.outputs):
            region = unit.regions[place]
            graph = tables.workload.regions[region].graph
            type_ = graph.type(local_name(tables.workload, region, tensor))
            element_bytes[tensor] = replace(type_, shape=(1,)).size_bytes
    steps = [tuple(known[number].step_ps[v] for number in like) for v in range(len(variants))]
    least = []
    for v in range(len(variants)):
        mine = [to_ps(float(row.min())) for row in tables.seconds.T]
        for unit, number in zip(units, like):
            for region, ps in zip(unit.regions, known[number].least_ps[v]):
                mine[region] = min(mine[region], ps)
        least.append(tuple(mine))
    first = Problem(
        tables=tables, links=links[0], units=units, groups=groups, classes=classes,
        designs=offered, choices=tuple(choices), step_ps=steps[0],
        least_ps=least[0], cuts=_cuts(tables, units), layouts=universe.arrays(),
        element_bytes=element_bytes, capacity_bytes=tuple(capacity_bytes), host=tables.host,
        pricer=pricer,
    )  # fmt: skip
    others = zip(variants[1:], links[1:], steps[1:], least[1:])
    return (first, *(
        replace(first, tables=variant, links=own, step_ps=table, least_ps=ps, _moves={})
        for variant, own, table, ps in others
    ))  # fmt: skip


def restrict(
    problem: Problem, *, designs: Collection[str | None] | None = None, rings: bool = True,
    loops: int | None = None, one_set: bool = False,
) -> Problem:  # fmt: skip
    """Return a problem with fewer freedoms; nothing is priced again.

    Parameters
    ----------
    designs : the only ones that devices may be configured with (None in it: as they are). Designs
        are numbered anew; choices keep their numbers
    rings : whether operands may rotate round a set
    loops : most loops of a layer that are split at once
    one_set : whether one set takes over all units of a network

    Raises
    ------
    UnknownNameError : no device offers such a design; offers the nearest
    """
    steps = problem.step_ps
    offered = problem.designs
    if designs is not None:
        known = dict.fromkeys(name for names in offered for name in names)
        for name in designs:
            if name not in known:
                raise UnknownNameError("design", str(name), [n for n in known if n is not None])
        kept = [[d for d, name in enumerate(names) if name in designs] for names in offered]
        steps = tuple(tuple(table[rows] for table, rows in zip(tables, kept)) for tables in steps)
        offered = tuple(tuple(names[d] for d in rows) for names, rows in zip(offered, kept))
    if not rings or loops is not None:
        masked = []
        for choices, tables in zip(problem.choices, steps):
            forbidden = {
                parties: np.array([not _allowed(c, rings, loops) for c in listed])
                for parties, listed in choices.items()
            }
            masked.append(tuple(
                np.where(forbidden[one.parties], NEVER, table)
                for one, table in zip(problem.classes, tables)
            ))  # fmt: skip
        steps = tuple(masked)
    cuts = (False,) * len(problem.cuts) if one_set else problem.cuts
    return replace(problem, designs=offered, step_ps=steps, cuts=cuts)


def _allowed(choice: Choice, rings: bool, loops: int | None) -> bool:
    strategies = [s for s in choice.strategies if s is not None]
    if not rings and any(s.shared is not None for s in strategies):
        return False
    first = choice.strategies[0]
    return loops is None or first is None or len(first.exclusive) <= loops


def _apart(tables: Tables, allowed: Sequence[str | None] | None) -> Callable[[int, int], bool]:
    """Return whether a follower is faster where the region it follows is slower."""
    rows = [
        number for number, one in enumerate(tables.configurations)
        if allowed is None or one.design in allowed
    ]  # fmt: skip
    distinct = np.unique(np.minimum(tables.seconds[rows], LONGEST_S), axis=0)

    def apart(first: int, follower: int) -> bool:
        one, other = distinct[:, first], distinct[:, follower]
        better = other[:, None] < other[None, :] * (1 - _ALIKE)
        return bool((better & (one[:, None] > one[None, :] * (1 + _ALIKE))).any())

    return apart


def _cuts(tables: Tables, units: Sequence[Unit]) -> tuple[bool, ...]:
    needs = tables.workload.needs
    return tuple(
        number > 0
        and units[number - 1].network == unit.network
        and units[number - 1].regions[-1] in needs[unit.regions[0]]
        for number, unit in enumerate(units)
    )


class _Universe:
    """Numbers the layouts of every tensor for every number of parties."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], dict[bytes, tuple[int, Ints]]] = {}

    def number(self, tensor: int, parties: int, boxes: Ints) -> int:
        seen = self._known.setdefault((tensor, parties), {})
        return seen.setdefault(boxes.tobytes(), (len(seen), boxes))[0]

    def arrays(self) -> dict[int, dict[int, Ints]]:
        found: dict[int, dict[int, Ints]] = {}
        for (tensor, parties), seen in self._known.items():
            found.setdefault(tensor, {})[parties] = np.stack([boxes for _, boxes in seen.values()])
        return found


class _Weights:
    """Numbers the parts of constants that several regions have."""

    def __init__(self, workload: Workload) -> None:
        self._weights = workload.weights
        self._count = Counter(weight for listed in workload.weights for weight in listed)
        self._known: dict[tuple[int, int, bytes], int] = {}

    def shared(
        self, unit: Unit, parties: int, parts: Sequence[Sequence[tuple[bytes, int]]]
    ) -> tuple[tuple[int, int], ...]:
        return tuple(
            (self._known.setdefault((weight, parties, text), len(self._known)), size)
            for region, listed in zip(unit.regions, parts)
            for weight, (text, size) in zip(self._weights[region], listed)
            if self._count[weight] > 1
        )


def _designs(
    tables: Tables, one: SetClass, allowed: Sequence[str | None] | None
) -> tuple[str | None, ...]:
    device = tables.system.devices[one.devices[0]]
    every: list[str | None] = [None, *dict.fromkeys(device.designs)]
    return tuple(d for d in every if allowed is None or d in allowed)


def _likeness(tables: Tables, unit: Unit, names: Sequence[str]) -> object:
    """Return what units share that can be filled once: work, and how tensors run through it."""
    w = tables.workload
    numbers: dict[int, int] = {}

    def local(tensor: int) -> int:
        return numbers.setdefault(tensor, len(numbers))

    return (
        tuple(names[region] for region in unit.regions),
        tuple((local(t), place) for t, place in unit.uses), tuple(map(local, unit.main)),
        tuple((local(t), place) for t, place in unit.outputs),
        tuple(tuple(map(local, w.inputs[region])) for region in unit.regions),
        tuple(tuple(map(str, (w.regions[region].graph.type(local_name(w, region, t))
                              for t in (*w.inputs[region], *w.outputs[region]))))
              for region in unit.regions),
    )  # fmt: skip
