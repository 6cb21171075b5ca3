"""Split plans replayed: alone as priced, to the picosecond; never faster; phases slowed alike."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.cost import expand, moves_cost, price
from orrery.errors import SpecError
from orrery.graph import Graph
from orrery.hardware import System
from orrery.plan import Plan
from orrery.sim import SplitReplay, fair_paces, replay, replay_certified, replay_split
from orrery.timeline import PS_PER_S
from tests.certify.cases import machine, network, on, party_seconds, plan_of, split_case
from tests.certify.plans import small_case
from tests.mapping.random_graphs import MODELS


def played(graph: Graph, system: System, plan: Plan) -> tuple[SplitReplay, int]:
    """Return a plan's replay, and its makespan by the price."""
    cost = price(plan, [graph], system, MODELS)
    assert cost.expansion is not None
    found = replay_split(plan, system, cost.expansion,
                         lambda a, p, r: party_seconds(cost, a, p, r) or 0.0)  # fmt: skip
    return found, round(cost.total.latency_s * PS_PER_S)


def test_alone_as_priced_and_never_faster() -> None:
    alone = 0
    for seed in range(150):
        graph, system, plan = small_case(seed)
        if not plan.is_split:
            continue
        found, priced = played(graph, system, plan)
        makespan = found.timeline.makespan_ps
        spans = sorted((m.start_ps, m.end_ps) for m in found.moved if m.end_ps > m.start_ps)
        assert makespan >= priced, seed
        if all(a[1] <= b[0] for a, b in itertools.pairwise(spans)):
            assert makespan == priced, seed
            alone += 1
    assert alone > 20


def test_no_device_does_two_things_at_once() -> None:
    found, _ = played(*small_case(7))
    devices = {span.resource for span in found.timeline.spans if span.kind == "compute"}
    for device in devices:
        mine = [s for s in found.timeline.spans if s.resource == device]
        assert {s.kind for s in mine} <= {"compute", "fetch", "combine"}
        for a, b in itertools.pairwise(sorted(mine, key=lambda s: (s.start_ps, s.end_ps))):
            assert a.end_ps <= b.start_ps


def test_two_sets_that_meet_on_a_link_are_slowed_alike() -> None:
    """Both fetch and return the same bytes at once over one bus: flowing takes twice as long."""
    graph = network()
    system = machine()
    bus = replace(system.links[0], name="bus", ends=("d0", "d1", "d2", "d3", "host"), duplex=False)
    shared = replace(system, links=(bus,))
    nodes = (
        graph.nodes[0],
        replace(graph.nodes[0], name="c9", inputs=("y", "w0"), outputs=("c9",)),
    )
    graph = Graph(name="two", nodes=nodes, inputs=("x", "y"), outputs=("c0", "c9"),
                  types={"x": graph.types["x"], "y": graph.types["x"], "w0": graph.types["w0"]},
                  constants={"w0": graph.constants["w0"]}).infer()  # fmt: skip
    half = {"exclusive": (("Cout", 2),)}
    plan = plan_of(graph, shared, [on("c0", "d0", "d1", **half), on("c9", "d2", "d3", **half)])
    found, priced = played(graph, shared, plan)
    assert found.timeline.makespan_ps >= priced
    meet = [
        (a, b) for a, b in itertools.combinations(found.moved, 2)
        if (a.start_ps, a.end_ps) == (b.start_ps, b.end_ps) and a.wire == b.wire
    ]  # fmt: skip
    assert meet
    for a, _ in meet:
        flows = a.wire.alone_ps - a.wire.latency_ps
        assert a.end_ps - a.start_ps == a.wire.latency_ps + 2 * flows


def test_a_phase_alone_takes_what_it_costs() -> None:
    case = split_case()
    written = expand(case.plan, [case.graph], case.system)
    found, _ = played(case.graph, case.system, case.plan)
    for moved in found.moved:
        moves = [(written.ends[m.source], written.ends[m.target], m.size_bytes)
                 for m in moved.phase.messages]  # fmt: skip
        alone = round(moves_cost(case.system, moves).latency_s * PS_PER_S)
        assert moved.wire.alone_ps == alone
        assert moved.end_ps - moved.start_ps >= alone


def test_memory_shows_what_lies_where() -> None:
    case = split_case()
    found, _ = played(case.graph, case.system, case.plan)
    first = {s.memory: s.used_bytes for s in reversed(found.timeline.memory) if s.time_ps == 0}
    assert first["d0"] >= case.plan.resident_bytes["d0"]
    last = {s.memory: s.used_bytes for s in found.timeline.memory}
    assert last == {f"d{i}": case.plan.resident_bytes.get(f"d{i}", 0) for i in range(4)}


def test_what_cannot_be_replayed_is_refused() -> None:
    case = split_case()
    with pytest.raises(SpecError, match="replay_split"):
        replay(case.plan, case.system, lambda a: 0.0)
    with pytest.raises(SpecError, match="duration of region 'c0'"):
        replay_certified(case.plan, [case.graph], case.system, lambda a, p, r: -1.0)


@st.composite
def phases(draw: st.DrawFn) -> list[Mapping[int, float]]:
    part = st.dictionaries(st.integers(0, 4), st.floats(0.05, 1.0), min_size=1, max_size=4)
    return draw(st.lists(part, min_size=1, max_size=6))


@given(phases())
def test_paces_are_max_min_fair(shares: list[Mapping[int, float]]) -> None:
    """Nobody can be faster without a channel overfull or another, no faster one, slower."""
    paces = fair_paces(shares)
    load = {c: sum(p * s.get(c, 0.0) for p, s in zip(paces, shares)) for s in shares for c in s}
    assert all(total <= 1 + 1e-9 for total in load.values())
    for pace, share in zip(paces, shares):
        assert 0 < pace <= 1
        if pace < 1:
            assert any(
                load[c] >= 1 - 1e-9
                and pace >= max(p for p, s in zip(paces, shares) if c in s) - 1e-9
                for c in share
            )
