"""Tables against the models they were filled from; memory and links against the definition."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.cost import roofline
from orrery.graph import Graph, Region, build_model
from orrery.hardware import System, load_system
from orrery.mapping._greedy import _by_rank, _choices
from orrery.mapping._memory import Occupancy, Shortage
from orrery.mapping._schedule import Schedule, Scheduler, Trial
from orrery.mapping._tables import Tables, fill_tables, number_workload

from .cases import Rate, dags, device, full_system, graph, systems


def peaks_by_definition(schedule: Schedule, tables: Tables, g: Graph) -> list[int]:
    """Look at every instant: which weights and tensors are on which device then?"""
    w, system = tables.workload, tables.system
    number = {name: i for i, name in enumerate(w.names)}
    sent = [
        (w.tensors[s.tensor], tables.ends[s.source], tables.ends[s.target], s.start_s, s.arrival_s)
        for s in schedule.sent
    ]
    where = {name: tables.ends[schedule.device[i]] for name, i in number.items()}
    peaks = []
    for d in system.devices:
        weights = {t for n in g.nodes if where[n.name] == d.name for t in n.inputs
                   if t in g.constants}  # fmt: skip
        lives = []
        for tensor in w.tensors:
            producer = g.producer(tensor)
            if producer is not None and where[producer.name] == d.name:
                begin = schedule.start_s[number[producer.name]]
                until = schedule.end_s[number[producer.name]]
            else:
                arrivals = [s for s in sent if s[0] == tensor and s[2] == d.name]
                homeless = producer is None and not system.host
                used = any(where[c.name] == d.name for c in g.consumers(tensor))
                local = homeless and used and not arrivals
                if not arrivals and not local:
                    continue
                begin, until = (arrivals[0][3], arrivals[0][4]) if arrivals else (0.0, 0.0)
            users = [schedule.end_s[number[c.name]] for c in g.consumers(tensor)
                     if where[c.name] == d.name]  # fmt: skip
            leaving = [s[4] for s in sent if s[0] == tensor and s[1] == d.name]
            until = max([until, *users, *leaving])
            made_here = producer is not None and where[producer.name] == d.name
            if tensor in g.outputs and not system.host and made_here:
                until = math.inf  # a result stays where it was made, not where it was also read
            lives.append((begin, until, g.type(tensor).size_bytes))
        base = sum(g.type(t).size_bytes for t in weights)
        instants = {begin for begin, _, _ in lives} | {0.0}
        peaks.append(
            base + max(sum(s for b, e, s in lives if b <= instant < e) for instant in instants)
        )
    return peaks


@settings(max_examples=120, deadline=None)
@given(dags(), systems(), st.integers(10, 60))
def test_memory_of_a_schedule_by_definition(g: Graph, system: System, capacity: int) -> None:
    tables = fill_tables(number_workload([g]), system, {"": Rate()})
    choice = next(iter(_choices(tables)))
    order = _by_rank(tables, tables.seconds[list(choice)])
    devices = len(system.devices)
    for trial in (
        Trial(configuration=choice, order=order),
        Trial(configuration=choice, order=order, fill=range(devices)),
    ):
        try:
            schedule = Scheduler(tables, [capacity] * devices).schedule(trial)
        except Shortage as short:
            assert short.need > short.have == capacity
            continue
        for peak in peaks_by_definition(schedule, tables, g):
            assert peak <= capacity


@settings(max_examples=80, deadline=None)
@given(dags(), systems())
def test_nothing_does_two_things_at_once(g: Graph, system: System) -> None:
    tables = fill_tables(number_workload([g]), system, {"": Rate()})
    choice = next(iter(_choices(tables)))
    order = _by_rank(tables, tables.seconds[list(choice)])
    schedule = Scheduler(tables, tables.capacity_bytes).schedule(
        Trial(configuration=choice, order=order)
    )
    w = tables.workload
    busy: dict[object, list[tuple[float, float]]] = {}
    for r, where in enumerate(schedule.device):
        busy.setdefault(where, []).append((schedule.start_s[r], schedule.end_s[r]))
        for need in w.needs[r]:
            assert schedule.end_s[need] <= schedule.start_s[r] + 1e-12
    for sent in schedule.sent:
        width = tables.width_bytes_per_s[sent.source, sent.target]
        duration = w.size_bytes[sent.tensor] / width
        for channel in tables.route_channels[sent.source][sent.target]:
            busy.setdefault(("channel", channel), []).append(
                (sent.start_s, sent.start_s + duration)
            )
        latency = tables.route_s[sent.source, sent.target]
        assert sent.arrival_s == pytest.approx(sent.start_s + duration + latency)
        for r in sent.consumers:
            assert sent.arrival_s <= schedule.start_s[r]
    for spans in busy.values():
        taken = sorted(span for span in spans if span[1] > span[0])
        assert all(a[1] <= b[0] + 1e-12 for a, b in itertools.pairwise(taken))


def test_tables_hold_what_the_models_say() -> None:
    g = build_model("resnet18")
    fpga, cpu = load_system("aws-f1").devices[0], load_system("desktop-cpu").devices[0]
    plain = [replace(one, name=name, designs=()) for name, one in zip("abc", [fpga, cpu, fpga])]
    system = full_system(plain, bandwidth=1e9)
    tables = fill_tables(number_workload([g]), system, {"": roofline})
    assert tables.kind == (0, 1, 0)
    assert tables.seconds.shape == (3, len(g.nodes))
    for r, node in list(enumerate(g.nodes))[::7]:
        region = Region(graph=g, nodes=(node.name,))
        for d, one in enumerate(system.devices):
            assert tables.seconds[d, r] == roofline.cost(region, one).latency_s


def test_equal_regions_are_priced_once() -> None:
    class Counting(Rate):
        asked = 0

        def cost(self, region, device, schedule=None, statistics=None):  # type: ignore[no-untyped-def]
            Counting.asked += 1
            return super().cost(region, device)

    g = graph(
        [(f"n{i}", [f"n{i - 1}" if i else "x"], 3.0, 5) for i in range(50)],
        inputs={"x": 5}, outputs=["n49"],
    )  # fmt: skip
    fill_tables(number_workload([g]), full_system([device("a"), device("b")]), {"": Counting()})
    # The last one is different: its output is a result. Both devices are of one kind.
    assert Counting.asked <= 2


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9), st.integers(1, 9)), max_size=15))
def test_occupancy_by_definition(pieces: list[tuple[int, int, int]]) -> None:
    memory = Occupancy(0)  # nothing fits, so the exact peak is asked for
    for begin, length, size in pieces:
        memory.allocate(begin, size)
        memory.free(begin + length, size)
    expected = max((sum(s for b, n, s in pieces if b <= t < b + n) for t in range(40)), default=0)
    assert memory.peak() == expected
    assert memory.peak(resident=7, allocations=[(100.0, 3)]) == 7 + max(expected, 3)
