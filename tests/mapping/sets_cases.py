"""Problems over sets of devices for tests, and a search that tries everything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from random import Random

from orrery.graph import Graph
from orrery.hardware import System
from orrery.mapping._tables import fill_tables, number_workload
from orrery.mapping.sets import Placed, Problem, SetMapping, evaluate, fill_problem

from .random_graphs import MODELS


def problem_of(graphs: Sequence[Graph], system: System, **options: object) -> Problem:
    tables = fill_tables(number_workload(graphs), system, MODELS)
    return fill_problem(tables, MODELS, tables.capacity_bytes, **options)  # type: ignore[arg-type]


def all_sets(problem: Problem) -> list[tuple[int, tuple[int, ...]]]:
    """Every set of devices, by names and not by counts, with the number of its class."""
    found = []
    devices = range(len(problem.tables.of_device))
    for size in range(1, len(devices) + 1):
        for chosen in combinations(devices, size):
            counts = tuple(sum(d in group for d in chosen) for group in problem.groups)
            for number, one in enumerate(problem.classes):
                if one.counts == counts:
                    found.append((number, chosen))
    return found


class Everything:
    """The fastest mapping of one network, by trying every mapping; written from the definition."""

    def __init__(self, problem: Problem) -> None:
        self.p, self.sets = problem, all_sets(problem)
        self.best = 2**60
        self.tried = 0

    def begin(self, set_class: int, design: int, devices: tuple[int, ...]) -> Placed:
        return Placed(set_class=set_class, design=design, devices=devices, first=0, last=0)

    def run(self) -> int:
        self._go(0, None, frozenset(), {}, 0, 0)
        return self.best

    def _go(self, number, placed, taken, lies, now, ends) -> None:
        if now >= self.best:
            return
        if number == len(self.p.units):
            self.tried += 1
            self.best = min(self.best, max(now, ends))
            return
        options = [] if placed is None else [(placed, taken)]
        for set_class, devices in self.sets if placed is None or self.p.cuts[number] else ():
            if not taken & set(devices):
                for design in range(len(self.p.designs[set_class])):
                    one = self.begin(set_class, design, devices)
                    options.append((one, taken | set(devices)))
        unit = self.p.units[number]
        for one, used in options:
            for c, choice in enumerate(self.p.choices[number][len(one.devices)]):
                after, clock = dict(lies), now
                for (tensor, _), need in zip(unit.uses, choice.needs, strict=True):
                    clock += self._fetch(after, tensor, one, need)
                clock += int(self.p.step_ps[number][one.set_class][one.design, c])
                end = ends
                for (tensor, _), layout in zip(unit.outputs, choice.outputs, strict=True):
                    after[tensor] = (one, layout)
                    if tensor in self.p.tables.workload.results:
                        back = int(self.p.finish_ps(tensor, one.set_class)[layout])
                        end = max(end, clock + back)
                self._go(number + 1, one, used, after, clock, end)

    def _fetch(self, lies, tensor, one, need) -> int:
        if tensor not in lies:
            lies[tensor] = (one, need)
            return int(self.p.start_ps(tensor, one.set_class)[need])
        there, layout = lies[tensor]
        if there.devices == one.devices:
            took = int(self.p.move_ps(tensor, one.set_class)[layout, need])
        else:
            took = int(self.p.hand_ps(tensor, there.set_class, one.set_class)[layout, need])
        if took < 0:
            return 0
        lies[tensor] = (one, need)
        return took


def random_mapping(problem: Problem, random: Random) -> SetMapping:
    """Networks one after the other on random disjoint sets, with random choices.

    Of like devices those with low numbers are taken first, as every search does.
    """
    free = set(range(len(problem.tables.of_device)))
    sets, choices = [], []
    units = problem.units
    networks = len(problem.tables.workload.references)
    options = all_sets(problem)
    for network in range(networks):
        mine = [i for i, unit in enumerate(units) if unit.network == network]
        first = mine[0]
        while first <= mine[-1]:
            fitting = [
                (k, d) for k, d in options if set(d) <= free
                and d == problem.classes[k].placed(
                    problem.groups, [sum(x not in free for x in g) for g in problem.groups]
                )
            ]  # fmt: skip
            left = networks - network - 1
            fitting = [(k, d) for k, d in fitting if len(free) - len(d) >= left]
            if not fitting and sets and sets[-1].last == first and first > mine[0]:
                sets[-1] = Placed(set_class=sets[-1].set_class, design=sets[-1].design,
                                  devices=sets[-1].devices, first=sets[-1].first,
                                  last=mine[-1] + 1)  # fmt: skip
                break
            set_class, devices = random.choice(fitting)
            ends = [u for u in range(first + 1, mine[-1] + 1) if problem.cuts[u]]
            last = random.choice([*ends, mine[-1] + 1])
            design = random.randrange(len(problem.designs[set_class]))
            sets.append(Placed(set_class=set_class, design=design, devices=devices, first=first,
                               last=last))  # fmt: skip
            free -= set(devices)
            first = last
    for placed in sets:
        for unit in range(placed.first, placed.last):
            choices.append(random.randrange(len(problem.choices[unit][len(placed.devices)])))
    return SetMapping(sets=tuple(sets), choices=tuple(choices))


def needs_of(problem: Problem, mapping: SetMapping) -> list[int]:
    """What every device needs, by giving it no memory."""
    none = replace(problem, capacity_bytes=(-1,) * len(problem.capacity_bytes))
    return [size for _, size in sorted(evaluate(none, mapping).overfull.items())]


def seeds(count: int) -> Iterator[int]:
    return iter(range(count))
