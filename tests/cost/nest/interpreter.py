"""A naive interpreter of loop nests: every operation in turn, a set of elements per memory.

Written from the definition, in no way like the closed forms it judges: it knows no tiles, only
which operation touches which element, when and in which instance.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from orrery.cost.nest import NestMapping, NestProblem, NestTensor
from orrery.hardware import Architecture


@dataclass
class Traffic:
    """What went over one boundary: totals, and sums per instance of the levels at both ends."""

    outer: int = 0
    inner: int = 0
    back: int = 0
    per_outer: dict = field(default_factory=dict)
    per_inner: dict = field(default_factory=dict)
    largest_tile: int = 0
    final_outer: int = 0
    final_inner: int = 0
    first_outer: int = 0
    first_inner: int = 0

    def at_outer(self, instance: object, count: int) -> None:
        self.outer += count
        self.per_outer[instance] = self.per_outer.get(instance, 0) + count

    def at_inner(self, instance: object, count: int) -> None:
        self.inner += count
        self.per_inner[instance] = self.per_inner.get(instance, 0) + count


class Interpreter:
    """Runs a nest; `steps`, `active` and `traffic[tensor, parent, child]` say what happened."""

    def __init__(
        self, problem: NestProblem, mapping: NestMapping, architecture: Architecture
    ) -> None:
        self.problem, self.architecture = problem, architecture
        self.depth = len(architecture.levels)
        self.time: list[tuple[str, int, int]] = []  # loop, factor, place
        self.space: list[tuple[str, int, int, str]] = []  # loop, factor, place, axis
        order: list[tuple[str, bool, int]] = []
        below = architecture.fans_out_below()
        for place in range(self.depth):
            for loop, factor in mapping.temporal[place]:
                order.append((loop, True, len(self.time)))
                self.time.append((loop, factor, place))
            for axis in (a.name for a in architecture.axes if below[a.name] == place):
                for loop, factor in mapping.spatial.get(axis, ()):
                    order.append((loop, False, len(self.space)))
                    self.space.append((loop, factor, place, axis))
        weights = dict.fromkeys(dict(problem.loops), 1)
        self.time_weight, self.space_weight = [0] * len(self.time), [0] * len(self.space)
        for loop, temporal, at in reversed(order):
            (self.time_weight if temporal else self.space_weight)[at] = weights[loop]
            weights[loop] *= (self.time[at] if temporal else self.space[at])[1]
        self._operations()
        self.traffic: dict[tuple[str, int, int], Traffic] = {}
        for tensor in problem.tensors:
            chain = [i for i, level in enumerate(architecture.levels) if tensor.role in level.holds]
            ends = list(itertools.pairwise([*chain, self.depth]))
            if tensor.role == "output":
                self._results(tensor, ends)
            else:
                for parent, child in ends:
                    self._operands(tensor, parent, child)

    def _operations(self) -> None:
        """List (time, position, index) of every operation, in the order of time."""
        names = [name for name, _ in self.problem.loops]
        extents = [extent for _, extent in self.problem.loops]
        slot = {name: i for i, name in enumerate(names)}
        self.steps: dict[tuple[int, ...], list] = {}
        positions = list(itertools.product(*(range(f) for _, f, _, _ in self.space)))
        busy = set()
        for time in itertools.product(*(range(f) for _, f, _ in self.time)):
            start = [0] * len(names)
            for digit, weight, (loop, _, _) in zip(time, self.time_weight, self.time, strict=True):
                start[slot[loop]] += digit * weight
            found = []
            for position in positions:
                index = list(start)
                for digit, weight, (loop, _, _, _) in zip(
                    position, self.space_weight, self.space, strict=True
                ):
                    index[slot[loop]] += digit * weight
                if all(i < n for i, n in zip(index, extents, strict=True)):
                    found.append((position, dict(zip(names, index, strict=True))))
                    busy.add(position)
            if found:
                self.steps[time] = found
        self.active = len(busy)
        self.operations = sum(map(len, self.steps.values()))

    @staticmethod
    def element(tensor: NestTensor, index: dict[str, int]) -> tuple[int, ...] | None:
        at = []
        for axis in tensor.axes:
            place = axis.offset + sum(stride * index[loop] for loop, stride in axis.terms)
            if not 0 <= place < axis.size:
                return None
            at.append(place)
        return tuple(at)

    def _key(self, tensor: NestTensor, child: int) -> tuple[list[int], int | None]:
        """Return the places in time that name a stay of a tile, and the one that may slide."""
        outside = [i for i, (_, _, place) in enumerate(self.time) if place < child]
        if child == self.depth:
            return outside, None
        while outside:
            loop, factor, _ = self.time[outside[-1]]
            if factor > 1 and loop in tensor.loops:
                return outside, outside[-1]
            outside.pop()
        return outside, None

    def _instance(self, position: tuple[int, ...], level: int) -> tuple[int, ...]:
        return tuple(d for d, (_, _, p, _) in zip(position, self.space, strict=True) if p < level)

    def _group(
        self, position: tuple[int, ...], parent: int, child: int, joins: tuple[str, ...]
    ) -> tuple[int, ...]:
        """Return who shares what moves over a boundary: positions but for the joined axes."""
        return tuple(
            d for d, (_, _, p, axis) in zip(position, self.space, strict=True)
            if p < parent or (p < child and axis not in joins)
        )  # fmt: skip

    def _stays(self, tensor: NestTensor, parent: int, child: int, joins: tuple[str, ...]):
        """Return stay -> instance of the child -> (owner, group, elements), in order of time."""
        key, slide = self._key(tensor, child)
        stays: dict[tuple[int, ...], dict] = {}
        for time, found in self.steps.items():
            stay = stays.setdefault(tuple(time[i] for i in key), {})
            for position, index in found:
                _, _, elements = stay.setdefault(
                    self._instance(position, child),
                    (self._instance(position, parent),
                     self._group(position, parent, child, joins), set()),
                )  # fmt: skip
                element = self.element(tensor, index)
                if element is not None:
                    elements.add(element)
        return stays, None if slide is None else key.index(slide)

    def _operands(self, tensor: NestTensor, parent: int, child: int) -> None:
        traffic = self.traffic[tensor.name, parent, child] = Traffic()
        joins = self.architecture.levels[parent].multicast
        stays, slide = self._stays(tensor, parent, child, joins)
        self._first(traffic, stays)
        keeps = child < self.depth and tensor.role in self.architecture.levels[child].slides
        for key, stay in stays.items():
            before: dict = {}
            if keeps and slide is not None and key[slide] > 0:
                before = stays[(*key[:slide], key[slide] - 1, *key[slide + 1 :])]
            groups: dict = {}
            for instance, (owner, group, elements) in stay.items():
                traffic.largest_tile = max(traffic.largest_tile, len(elements))
                new = elements - before[instance][2] if instance in before else elements
                if child < self.depth:
                    traffic.at_inner(instance, len(new))
                groups.setdefault((owner, group), set()).update(new)
            for (owner, _), elements in groups.items():
                traffic.at_outer(owner, len(elements))

    @staticmethod
    def _first(traffic: Traffic, stays: dict) -> None:
        """Note what moves at the first stay, at the busiest instance of either end."""
        owners: dict = {}
        for owner, group, elements in stays[min(stays)].values():
            owners.setdefault(owner, {}).setdefault(group, set()).update(elements)
            traffic.first_inner = max(traffic.first_inner, len(elements))
        traffic.first_outer = max(sum(map(len, groups.values())) for groups in owners.values())

    def _results(self, tensor: NestTensor, ends: list[tuple[int, int]]) -> None:
        """Follow partial sums: who holds a part of which element, from when to when."""
        levels = self.architecture.levels
        stays, keys = {}, {}
        for parent, child in ends:
            keys[child] = self._key(tensor, child)[0]
            stays[child], _ = self._stays(tensor, parent, child, levels[parent].reduces)
        holds: dict[int, dict] = {
            level: {} for level, _ in ends
        }  # instance -> elements with a part
        now: dict[int, tuple | None] = dict.fromkeys(keys)
        flows = {child: self.traffic.setdefault((tensor.name, parent, child), Traffic())
                 for parent, child in ends}  # fmt: skip

        def leave(parent: int, child: int) -> None:
            """Every instance hands its tile out; groups are added up on the way."""
            flow, groups = flows[child], {}
            for instance, (owner, group, elements) in stays[child][now[child]].items():
                if child < self.depth:
                    flow.at_inner(instance, len(elements))
                    flow.largest_tile = max(flow.largest_tile, len(elements))
                    holds[child][instance] = set()
                groups.setdefault((owner, group), set()).update(elements)
            for (owner, _), elements in groups.items():
                flow.at_outer(owner, len(elements))
                holds[parent].setdefault(owner, set()).update(elements)

        def enter(parent: int, child: int) -> None:
            """What the parent has a part of comes back, into one instance of each group."""
            there, groups = {}, {}
            for instance, (owner, group, elements) in stays[child][now[child]].items():
                groups.setdefault((owner, group), []).append((instance, elements))
            for (owner, _), members in groups.items():
                has = there.setdefault(owner, set(holds[parent].get(owner, ())))
                for instance, elements in members:
                    taken = set().union(*(e for i, e in members if i < instance))
                    coming = (elements & has) - taken
                    flows[child].back += len(coming)
                    if child < self.depth:
                        holds[child].setdefault(instance, set()).update(coming)
                for _, elements in members:
                    has |= elements  # one group after the other

        for time in self.steps:
            changed = [(p, c) for p, c in ends if tuple(time[i] for i in keys[c]) != now[c]]
            for parent, child in reversed(changed):
                if now[child] is not None:
                    leave(parent, child)
            for parent, child in changed:
                now[child] = tuple(time[i] for i in keys[child])
                enter(parent, child)
        for parent, child in reversed(ends):
            leave(parent, child)
        for _, child in ends:
            self._first(flows[child], stays[child])
        whole = len({e for stay in stays[ends[-1][1]].values() for _, _, es in stay.values()
                     for e in es})  # fmt: skip
        for parent, child in ends:
            flows[child].final_outer = whole * self._sole(tensor, parent)
            flows[child].final_inner = whole * (child < self.depth and self._sole(tensor, child))

    def _sole(self, tensor: NestTensor, level: int) -> bool:
        """Return whether no element is touched in two instances of a level."""
        homes: dict = {}
        for found in self.steps.values():
            for position, index in found:
                element = self.element(tensor, index)
                if element is not None:
                    homes.setdefault(element, set()).add(self._instance(position, level))
        return all(len(home) == 1 for home in homes.values())
