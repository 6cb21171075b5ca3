"""What every choice and every message of a search over sets takes in joules.

Models:  the dynamic energy of `orrery.cost.price` for split plans: shards by their cost models;
         every message by the links it crosses and the memories it is read from and written to;
         results on their way to the host. Idle power of the devices that a mapping uses, over its
         whole makespan.
Ignores: states that return to where they lie; contention (a replay may last longer, and idle power
         with it).
Judge:   `orrery.cost.price` of random mappings (tests).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from orrery.cost import CostModel, Refusal, Strategy, combining, shard, shard_region
from orrery.errors import SpecError
from orrery.graph import Region
from orrery.hardware import Device
from orrery.progress import SILENT, Progress
from orrery.timeline import PS_PER_S

from .._tables import Tables
from ..sets._mapping import SetMapping, evaluate, places_of
from ..sets._problem import Problem
from ..sets._routes import NEVER, Links

Floats = NDArray[np.float64]


class EnergyUnknownError(SpecError):
    """The energy of something is not known, so that no search can make it small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joules:
    """Energies beside the times of a problem; the same shapes.

    Attributes
    ----------
    step_j : per unit and class, designs × choices: shards, rings, sums, results sent to the host
    idle_w : per device
    """

    problem: Problem
    step_j: tuple[tuple[Floats, ...], ...]
    idle_w: tuple[float, ...]
    #: joules per byte between some ends -> a problem whose messages take a picosecond per such byte
    _counted: tuple[tuple[float, Problem], ...]
    _known: dict[tuple[object, ...], Floats] = field(default_factory=dict)

    def move_j(self, tensor: int, set_class: int) -> Floats:
        """Return layouts × layouts within a set."""
        return self._sum(("move", tensor, set_class), "move_ps", tensor, set_class)

    def hand_j(self, tensor: int, before: int, after: int) -> Floats:
        """Return layouts × layouts between sets."""
        return self._sum(("hand", tensor, before, after), "hand_ps", tensor, before, after)

    def start_j(self, tensor: int, set_class: int) -> Floats:
        """Return per layout what fetching a network input from the host takes."""
        return self._sum(("start", tensor, set_class), "start_ps", tensor, set_class)

    def _sum(self, key: tuple[object, ...], table: str, *of: int) -> Floats:
        if key not in self._known:
            shape = getattr(self.problem, table)(*of).shape
            parts = (rate * np.maximum(getattr(bytes_, table)(*of), 0)
                     for rate, bytes_ in self._counted)  # fmt: skip
            self._known[key] = sum(parts, np.zeros(shape))
        return self._known[key]

    def power_w(self, taken: Sequence[int]) -> float:
        """Return the idle power of so many devices of each group.

        A set that shares nothing uses one device only. Where no set of one may stand for it, this
        is the least that any of the devices draws, so that bounds hold.
        """
        one = {c.counts for c in self.problem.classes if c.parties == 1}
        watts = [self.idle_w[group[0]] for group, n in zip(self.problem.groups, taken) if n]
        if len(one) < len(self.problem.groups):
            return min(watts, default=0.0)
        return sum(n * self.idle_w[g[0]] for n, g in zip(taken, self.problem.groups))

    def dynamic_j(self, mapping: SetMapping) -> float:
        """Return what work and messages take, whatever time they do."""
        where = places_of(self.problem, mapping)
        total = 0.0
        lies: dict[int, tuple[tuple[int, ...], int, int]] = {}
        for number, unit in enumerate(self.problem.units):
            placed, chosen = where[number], mapping.choices[number]
            k = placed.set_class
            choice = self.problem.choices[number][len(placed.devices)][chosen]
            total += float(self.step_j[number][k][placed.design, chosen])
            for (tensor, _), need in zip(unit.uses, choice.needs):
                if tensor not in lies:
                    total += float(self.start_j(tensor, k)[need])
                else:
                    devices, there, layout = lies[tensor]
                    if devices == placed.devices:
                        moved = int(self.problem.move_ps(tensor, k)[layout, need])
                        joules = self.move_j(tensor, k)
                    else:
                        moved = int(self.problem.hand_ps(tensor, there, k)[layout, need])
                        joules = self.hand_j(tensor, there, k)
                    if moved < 0:
                        continue
                    total += float(joules[layout, need])
                lies[tensor] = (placed.devices, k, need)
            for (tensor, _), layout in zip(unit.outputs, choice.outputs):
                lies[tensor] = (placed.devices, k, layout)
        return total

    def idle_of(self, mapping: SetMapping) -> float:
        """Return the idle power of the devices that a mapping uses.

        Of a set that shares nothing only the first device does anything.
        """
        used: set[int] = set()
        for number, placed in enumerate(places_of(self.problem, mapping)):
            choices = self.problem.choices[number][len(placed.devices)]
            alone = choices[mapping.choices[number]].strategies[0] is None
            used.update(placed.devices[:1] if alone else placed.devices)
        return sum(self.idle_w[device] for device in used)

    def energy_j(self, mapping: SetMapping) -> float:
        """Return the energy of a mapping, idle power included."""
        seconds = evaluate(self.problem, mapping).makespan_ps / PS_PER_S
        return self.dynamic_j(mapping) + self.idle_of(mapping) * seconds


def fill_joules(
    problem: Problem, models: Mapping[str, CostModel], *, progress: Progress = SILENT
) -> Joules:
    """Price everything of a problem in joules.

    Raises
    ------
    EnergyUnknownError : names the device, link or layer, and what to add
    CancelledError : the user asked to stop
    """
    tables = problem.tables
    rates = _rates(tables)
    counted = tuple(_counted(problem, rates))
    idle = tuple(idle_w(device) for device in tables.system.devices)
    if tables.unpriced:
        name = tables.workload.names[tables.unpriced[0]]
        raise EnergyUnknownError(f"energy of {name!r}", found="a layer that nobody can price",
                                 wanted="a price for every layer",
                                 fix="search for latency, or replace its operator")  # fmt: skip
    meter = _Meter(problem, models, rates)
    steps = []
    for number, unit in enumerate(problem.units):
        progress.step("energy of choices", number, len(problem.units))
        per_class = []
        for k, one in enumerate(problem.classes):
            table = np.full(problem.step_ps[number][k].shape, np.inf)
            home = [
                sum((rate * bytes_.finish_ps(t, k) for rate, bytes_ in counted), np.zeros(1))
                if t in tables.workload.results else None
                for t, _ in unit.outputs
            ]  # fmt: skip
            for c, choice in enumerate(problem.choices[number][one.parties]):
                sent = sum(
                    float(table_[layout]) for table_, layout in zip(home, choice.outputs)
                    if table_ is not None and problem.host >= 0
                )  # fmt: skip
                for d, design in enumerate(problem.designs[k]):
                    if problem.step_ps[number][k][d, c] < NEVER:
                        joules = meter.choice_j(number, choice.strategies, one.devices, design)
                        table[d, c] = joules + sent
            per_class.append(table)
        steps.append(tuple(per_class))
    progress.step("energy of choices", len(problem.units), len(problem.units))
    return Joules(problem=problem, step_j=tuple(steps), idle_w=idle, _counted=counted)


def idle_w(device: Device) -> float:
    """Return a device's idle power, or raise."""
    if device.idle_power_w is None:
        raise EnergyUnknownError(f"energy on {device.name!r}", found="no idle power",
                                 wanted="what the device draws when it does nothing",
                                 fix="add `idle_power` to it, e.g. \"5 W\"")  # fmt: skip
    return device.idle_power_w


def energy_known(region: Region, device: Device, joules: float | None) -> float:
    """Return what a cost model said, or raise where it knows no energy."""
    if joules is None:
        raise EnergyUnknownError(
            f"energy of {region.name!r} on {device.name!r}", found="none",
            wanted="joules per operation and per byte off-chip",
            fix=f"add `mac_energy` and `other_energy` to the compute of {device.name!r} "
            "for the element types of the network, or search for latency",
        )  # fmt: skip
    return joules


def _rates(tables: Tables) -> Floats:
    """Return ends × ends joules per byte: links of the route, memories of both ends."""
    count, devices = len(tables.ends), tables.system.devices
    memory = np.zeros(count)
    for number, device in enumerate(devices):
        price = device.offchip.energy_j_per_byte
        if price is None:
            raise EnergyUnknownError(
                f"energy on {device.name!r}", found=f"no energy of memory {device.offchip.name!r}",
                wanted="joules per byte", fix="add `energy` to this memory, e.g. \"100 pJ/B\"",
            )  # fmt: skip
        memory[number] = price
    links = {link.name: link.energy_j_per_byte for link in tables.system.links}
    rates = np.zeros((count, count))
    for i, j in product(range(count), repeat=2):
        route = tables.route_links[i][j]
        if i == j or route is None:
            continue
        rates[i, j] = memory[i] + memory[j]
        for name in route:
            price = links[name]
            if price is None:
                raise EnergyUnknownError(
                    f"energy of link {name!r}", found="none", wanted="joules per byte",
                    fix="add `energy` to this link, e.g. \"5 pJ/bit\"",
                )  # fmt: skip
            rates[i, j] += price
    return rates


def _counted(problem: Problem, rates: Floats) -> list[tuple[float, Problem]]:
    """Return per different price of a byte a problem whose clock counts such bytes.

    A link that takes a picosecond per byte, alone on every way of that price, makes the clock of
    messages a counter of bytes: one account of who sends what serves time and energy.
    """
    rounded = np.array([float(f"{rate:.12g}") for rate in rates.ravel()]).reshape(rates.shape)
    found = []
    for rate in np.unique(rounded[rounded > 0]):
        hops = (rounded == rate).astype(np.int64)
        links = Links(
            latency_s=np.zeros_like(rates), first=np.zeros_like(hops), hops=hops,
            channels=np.zeros(1, np.int64), bandwidth=np.array([float(PS_PER_S)]),
        )  # fmt: skip
        found.append((float(rate), replace(problem, links=links, _moves={})))
    return found


class _Meter:
    """Energies of regions split some way, each asked for once."""

    def __init__(self, problem: Problem, models: Mapping[str, CostModel], rates: Floats) -> None:
        self.p, self.models, self.rates = problem, models, rates
        self.names = problem.tables.signatures
        self.known: dict[object, float] = {}
        self.parts: dict[object, float] = {}
        self.sent: dict[object, Floats] = {}

    def choice_j(
        self, unit: int, strategies: Sequence[Strategy | None], devices: Sequence[int],
        design: str | None,
    ) -> float:  # fmt: skip
        total = 0.0
        for region, strategy in zip(self.p.units[unit].regions, strategies):
            total += self._region_j(region, strategy, devices, design)
            if strategy is not None:
                sent = self.sent[self.names[region], strategy, len(devices)]
                total += float((sent * self.rates[np.ix_(devices, devices)]).sum())
        return total

    def _region_j(
        self, number: int, strategy: Strategy | None, devices: Sequence[int], design: str | None
    ) -> float:
        tables = self.p.tables
        region, text = tables.workload.regions[number], self.names[number]
        kind, device = tables.kind[devices[0]], tables.system.devices[devices[0]]
        key = (text, strategy, len(devices), design, kind)
        if key not in self.known:
            used = design if self.p.pricer.by_design(region, text, design, device, kind) else ""
            model = self.models[used or ""]
            if strategy is None:
                self.known[key] = self._part_j(text, region, model, device, used, kind)
            else:
                self.known[key] = self._split_j(region, text, strategy, len(devices), model,
                                                device, used, kind)  # fmt: skip
        return self.known[key]

    def _split_j(
        self, region: Region, text: str, strategy: Strategy, parties: int, model: CostModel,
        device: Device, used: str | None, kind: int,
    ) -> float:  # fmt: skip
        sharding = shard(region, strategy, parties)
        if isinstance(sharding, Refusal):
            raise AssertionError(sharding.reason)  # listed as a choice, so it can be split
        sent = np.zeros((parties, parties))
        phases = [*sharding.rotation, *(p for c in combining(sharding) for p in c.phases)]
        for phase in phases:
            for message in phase.messages:
                sent[message.source, message.target] += message.size_bytes
        self.sent[text, strategy, parties] = sent
        total, by_value = 0.0, self.p.pricer.by_value
        for turn, row in enumerate(sharding.shards):
            for party, part in enumerate(row):
                name = sharding.holding(turn, party) if by_value else part.signature
                name = f"{text} {name}"
                if (name, used, kind) not in self.parts:
                    piece = shard_region(sharding, party, turn)
                    self._part_j(name, piece, model, device, used, kind)
                total += self.parts[name, used, kind]
        return total

    def _part_j(
        self, text: str, region: Region, model: CostModel, device: Device, used: str | None,
        kind: int,
    ) -> float:  # fmt: skip
        key = (text, used, kind)
        if key not in self.parts:
            if model.refuses(region, device) is not None:
                raise EnergyUnknownError(
                    f"energy of {region.name!r} on {device.name!r}", found="no price",
                    wanted="a cost model that prices it",
                    fix="search for latency, or use another device")  # fmt: skip
            joules = model.cost(region, device).energy_j
            self.parts[key] = energy_known(region, device, joules)
        return self.parts[key]
