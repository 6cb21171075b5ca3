"""Random networks, systems and splits: every element is there when somebody sends or reads it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from orrery.cost import Box, Expansion, Layout, PlanCost, expand, phases_cost, price, strategies
from orrery.graph import ArrayConstant, Graph, Node, Region, TensorType
from orrery.hardware import System
from orrery.plan import Plan, Split
from orrery.sim import replay_split
from orrery.timeline import PS_PER_S

from ..mapping.random_graphs import MODELS, TOPOLOGIES, Scaled, random_system, residual_graph
from .splits import random_split_plan, split, split_plan

_SEEDS = st.integers(0, 10**6)
_ROUND_S = 1e-11  # times in seconds are sums of whole picoseconds


def _case(seed: int, topology: str | None = None) -> tuple[Graph, System, Plan]:
    graph = residual_graph(seed, most=7)
    system = random_system(seed, least=2, most=4, designs=False, topology=topology)
    return graph, system, random_split_plan(seed, graph, system)


class _There:
    """Since when each element of each tensor is at each end."""

    def __init__(self, ends: int) -> None:
        self.ends = ends
        self.since: dict[str, NDArray[np.float64]] = {}

    def of(self, tensor: str, layout: Layout) -> NDArray[np.float64]:
        if tensor not in self.since:
            self.since[tensor] = np.full((self.ends, *layout.type.sizes), np.inf)
        return self.since[tensor]

    def put(self, tensor: str, layout: Layout, end: int, box: Box, when: float) -> None:
        part = self.of(tensor, layout)[(end, *box.slices)]
        np.minimum(part, when, out=part)

    def check(self, tensor: str, layout: Layout, end: int, box: Box, when: float) -> None:
        part = self.of(tensor, layout)[(end, *box.slices)]
        assert part.size == 0 or part.max() <= when + _ROUND_S, (tensor, end, str(box))

    def send(self, phases, layout: Layout, start: float, system: System, names) -> float:  # type: ignore[no-untyped-def]
        """Let phases run one after the other; return when the last ends."""
        for phase in phases:
            end = start + phases_cost(system, names, [phase]).latency_s
            if not phase.adds:
                for message in phase.messages:
                    self.check(phase.tensor, layout, message.source, message.box, start)
                for message in phase.messages:
                    self.put(phase.tensor, layout, message.target, message.box, end)
            start = end
        return start


def _play(plan: Plan, graph: Graph, system: System, found: Expansion, cost: PlanCost) -> float:
    """Follow every element through a plan at the times of its price; return when all has ended."""
    there, names = _There(len(found.ends)), found.ends
    host = names.index(system.host) if system.host else None
    for holding in found.holdings:
        for end, box in enumerate(holding.layout.boxes if holding.first < 0 else ()):
            there.put(holding.tensor, holding.layout, end, box, 0.0)
    free = dict.fromkeys(range(len(names)), 0.0)
    ends: list[float] = []
    for step in found.steps:
        name = step.assignment.region
        terms, start = cost.steps[name], cost.starts_s[name]
        assert all(free[party] <= start + _ROUND_S for party in step.parties)
        now = start
        for change in step.arrivals:
            now = there.send(change.phases, change.after, now, system, names)
        assert now == pytest.approx(start + terms.arrival_s, abs=_ROUND_S)
        for tensor, layout in step.needs.items():
            if tensor in graph.constants:
                continue
            if step.sharding is not None and step.sharding.rotating is not None:
                continue  # every round is looked at below
            for end, box in enumerate(layout.boxes):
                there.check(tensor, layout, end, box, now)
        now = _rounds(step, terms, there, now, system, names, graph.constants)
        now += terms.combine_s
        for tensor, layout in step.outputs.items():
            for end, box in enumerate(layout.boxes):
                there.put(tensor, layout, end, box, now)
        free |= dict.fromkeys(step.parties, now)
        ends.append(now)
    last = max(ends)
    for number, change in found.returns:
        end = there.send(change.phases, change.after, ends[number], system, names)
        last = max(last, end)
    for tensor in graph.outputs:
        layout = Layout.replicated(graph.type(tensor), len(names))
        if host is not None:
            there.check(tensor, layout, host, Box.whole(layout.type.sizes), last)
    return last


def _rounds(step, terms, there, now, system, names, constants):  # type: ignore[no-untyped-def]
    sharding = step.sharding
    if sharding is None or sharding.rotating is None:
        return now + sum(map(max, zip(terms.compute_s, terms.rotate_s)))
    for turn, row in enumerate(sharding.shards):
        for position, operand in enumerate(sharding.nest.operands):
            if operand.tensor in constants and turn == 0:
                layout = sharding.needs[position].placed(step.parties, len(names))
                for end, box in enumerate(layout.boxes):
                    there.put(operand.tensor, layout, end, box, 0.0)
            layout = step.needs[operand.tensor]
            for party, part in zip(step.parties, row):
                box = part.operands[position]
                if box is not None:
                    there.check(operand.tensor, layout, party, box, now)
        phases = step.rotation[turn : turn + 1]
        layout = step.needs[sharding.nest.operands[sharding.rotating].tensor]
        there.send(phases, layout, now, system, names)
        now += max(terms.compute_s[turn], terms.rotate_s[turn])
    return now


@given(seed=_SEEDS)
@settings(max_examples=80, deadline=None)
def test_every_element_is_there_in_time(seed: int) -> None:
    graph, system, plan = _case(seed)
    cost = price(plan, [graph], system, MODELS)
    found = expand(plan, [graph], system)
    assert cost.coverage.complete
    last = _play(plan, graph, system, found, cost)
    assert cost.total.latency_s == pytest.approx(last, abs=_ROUND_S)


@given(seed=_SEEDS)
@settings(max_examples=40, deadline=None)
def test_nothing_waits_without_a_reason(seed: int) -> None:
    """A step starts when its last device, producer or bringer has ended, and not later."""
    graph, system, plan = _case(seed)
    cost = price(plan, [graph], system, MODELS)
    steps = expand(plan, [graph], system).steps
    ends = {s.assignment.region: cost.starts_s[s.assignment.region]
            + cost.steps[s.assignment.region].duration_s for s in steps}  # fmt: skip
    free: dict[str, float] = {}
    for step in steps:
        name = step.assignment.region
        reasons = [0.0, *(free.get(device, 0.0) for device in step.assignment.devices)]
        reasons += [ends[region] for region in step.assignment.after]
        brought = [ends[steps[i].assignment.region] for i in step.after]
        assert cost.starts_s[name] == pytest.approx(max(*reasons, *brought), abs=_ROUND_S)
        assert {steps[i].assignment.region for i in step.after} >= set(step.assignment.after)
        free |= dict.fromkeys(step.assignment.devices, ends[name])
    busy = {device: sum(cost.steps[s.assignment.region].duration_s for s in steps
                        if device in s.assignment.devices) for device in free}  # fmt: skip
    assert cost.busy_s == pytest.approx(busy, abs=_ROUND_S)


def _naive_peaks(found: Expansion, cost: PlanCost) -> Mapping[str, int]:
    """Count, at every start of a step, what the steps before and after still need."""
    regions = [step.assignment.region for step in found.steps]
    starts = [cost.starts_s[name] for name in regions]
    ends = [s + cost.steps[n].duration_s for s, n in zip(starts, regions)]
    peaks = {}
    for party, name in enumerate(found.ends):
        fixed = sum(found.residents[party].values())
        most = fixed
        for now in [*starts, *ends]:
            held = fixed
            for holding in found.holdings:
                begin = 0.0 if holding.first < 0 else starts[holding.first]
                until = [ends[i] for i in holding.users if i >= 0]
                until += [ends[holding.first]] if holding.first >= 0 else []
                stays = holding.last == len(regions)
                if begin <= now + _ROUND_S and (stays or max(until, default=0) > now + _ROUND_S):
                    held += holding.layout.held_bytes(party)
            most = max(most, held)
        peaks[name] = most
    return peaks


@given(seed=_SEEDS)
@settings(max_examples=40, deadline=None)
def test_memory_holds_what_every_step_needs(seed: int) -> None:
    graph, system, plan = _case(seed)
    cost = price(plan, [graph], system, MODELS)
    found = expand(plan, [graph], system)
    naive = _naive_peaks(found, cost)
    for name, peak in cost.peak_bytes.items():
        assert peak >= naive[name] or any(found.returns)
    for step in found.steps:
        for place, name in enumerate(step.assignment.devices):
            if step.sharding is not None:
                assert cost.peak_bytes[name] >= step.sharding.resident_bytes(place)
    plain = not any(s.combines or s.rotation for s in found.steps) and not found.returns
    if plain:
        assert cost.peak_bytes == {name: naive[name] for name in cost.peak_bytes}


def _strided() -> Graph:
    """A block whose shortcut steps over every other row and column, as in residual networks."""
    shapes = {"w0": (8, 4, 1, 1), "w1": (8, 4, 3, 3), "w2": (8, 8, 1, 1)}
    constants = {n: ArrayConstant(np.ones(shape, np.float32)) for n, shape in shapes.items()}
    two = {"strides": [2, 2]}
    nodes = (
        Node(name="first", op="Relu", inputs=("x",), outputs=("r",)),
        Node(name="shortcut", op="Conv", inputs=("r", "w0"), outputs=("s",), attributes=two),
        Node(name="main", op="Conv", inputs=("r", "w1"), outputs=("m",),
             attributes={**two, "pads": [1, 1, 1, 1]}),
        Node(name="sum", op="Add", inputs=("s", "m"), outputs=("a",)),
        Node(name="last", op="Conv", inputs=("a", "w2"), outputs=("y",),
             attributes={"strides": [3, 3]}),
        Node(name="pool", op="MaxPool", inputs=("a",), outputs=("z",),
             attributes={"kernel_shape": [2, 2], "strides": [3, 3]}),
    )  # fmt: skip
    types = {"x": TensorType(dtype="float32", shape=(1, 4, 16, 14))}
    return Graph(name="strided", nodes=nodes, inputs=("x",), outputs=("y", "z"),
                 types=types | {n: c.type for n, c in constants.items()},
                 constants=constants).infer()  # fmt: skip


@given(seed=_SEEDS)
@settings(max_examples=50, deadline=None)
def test_what_strides_step_over_is_not_lost(seed: int) -> None:
    graph = _strided()
    system = random_system(seed, least=2, most=4, designs=False)
    slow = {"": Scaled(name="all", factor=1.0)}
    devices = tuple(replace(device, operators=None) for device in system.devices)
    system = replace(system, devices=devices)
    plan = random_split_plan(seed, graph, system)
    cost, found = price(plan, [graph], system, slow), expand(plan, [graph], system)
    _play(plan, graph, system, found, cost)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_every_topology(topology: str) -> None:
    for seed in range(8):
        graph, system, plan = _case(seed, topology)
        cost = price(plan, [graph], system, MODELS)
        found = expand(plan, [graph], system)
        assert cost.total.latency_s == pytest.approx(
            _play(plan, graph, system, found, cost), abs=_ROUND_S)  # fmt: skip


def _replayed_ps(plan: Plan, system: System, found: Expansion, cost: PlanCost) -> int:
    parts = {region: step.party_s for region, step in cost.steps.items()}
    played = replay_split(plan, system, found, lambda a, who, turn: parts[a.region][turn][who])
    return played.timeline.makespan_ps


@given(seed=_SEEDS)
@settings(max_examples=40, deadline=None)
def test_replay_is_never_faster(seed: int) -> None:
    graph, system, plan = _case(seed)
    cost, found = price(plan, [graph], system, MODELS), expand(plan, [graph], system)
    replayed = _replayed_ps(plan, system, found, cost)
    assert replayed >= round(cost.total.latency_s * PS_PER_S)
    assert cost.at_makespan(replayed / PS_PER_S).total.latency_s == replayed / PS_PER_S


@given(seed=_SEEDS)
@settings(max_examples=40, deadline=None)
def test_one_set_of_all_devices_replays_to_the_picosecond(seed: int) -> None:
    graph = residual_graph(seed, most=7)
    graph = replace(graph, outputs=graph.outputs[-1:])  # returns of two would meet on links
    system = random_system(seed, least=2, most=4, designs=False)
    system = replace(system, devices=tuple(replace(d, operators=None) for d in system.devices))
    names, rng = [device.name for device in system.devices], random.Random(seed)

    def choose(region: Region) -> tuple[Split | None, str]:
        found = strategies(region, len(names))
        assert isinstance(found, tuple)
        order = rng.sample(names, len(names))
        return split(order, rng.choice(found)), order[0]

    plan = split_plan([graph], system, choose)
    cost, found = price(plan, [graph], system, MODELS), expand(plan, [graph], system)
    returned = [number for number, _ in found.returns]
    # A return that goes on beside later steps may meet their messages.
    assume(returned in ([], [len(plan.assignments) - 1]))
    assert _replayed_ps(plan, system, found, cost) == round(cost.total.latency_s * PS_PER_S)
