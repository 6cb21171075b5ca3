"""Plans that a searcher makes, priced: judges are replay and a memory count from the definition."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.accel import resolve
from orrery.cost import PlanCost, price, roofline
from orrery.graph import Graph, Node, TensorType, build_model
from orrery.hardware import System, load_system
from orrery.mapping import greedy
from orrery.plan import Plan
from orrery.sim import replay

from .small import device, link, ring

MODELS = {"": roofline}


@st.composite
def graphs(draw) -> Graph:
    """Random acyclic networks of products, additions and views on 8 × 8 tensors."""
    made, nodes = ["x"], []
    for i in range(draw(st.integers(1, 12))):
        op = draw(st.sampled_from(["MatMul", "Add", "Relu", "Identity"]))
        count = 2 if op in ("MatMul", "Add") else 1
        inputs = tuple(draw(st.sampled_from(made)) for _ in range(count))
        nodes.append(Node(name=f"n{i}", op=op, inputs=inputs, outputs=(f"t{i}",)))
        made.append(f"t{i}")
    read = {tensor for node in nodes for tensor in node.inputs}
    return Graph(
        name="random", nodes=tuple(nodes), inputs=("x",),
        outputs=tuple(t for t in made[1:] if t not in read),
        types={"x": TensorType(dtype="float32", shape=(8, 8))},
    ).infer()  # fmt: skip


def systems() -> list[System]:
    hosted = System(
        name="hosted", devices=(device("d0"), device("d1")), host="host",
        links=(link("host", "d0", bandwidth=1e10), link("host", "d1", bandwidth=1e10)),
    )  # fmt: skip
    return [ring(3, bandwidth=1e11), hosted]


def naive_peaks(plan: Plan, graph: Graph, result: PlanCost) -> dict[str, int]:
    """Look at every instant: what has been made or sent there, and is still to be read there."""
    ends = {
        a.region: result.starts_s[a.region] + result.per_region[a.region].latency_s
        for a in plan.assignments
    }
    where = plan.device_of()
    views = {n.outputs[0]: n.inputs[0] for n in graph.nodes if n.op == "Identity"}

    def root(tensor: str) -> str:
        return root(views[tensor]) if tensor in views else tensor

    uses: dict[tuple[str, str], list[tuple[float, float]]] = {}
    senders = {t.producer for t in plan.transfers}
    for node in graph.nodes:
        span = (result.starts_s[node.name], ends[node.name])
        for tensor in (*node.inputs, *node.outputs):
            uses.setdefault((where[node.name], root(tensor)), []).append(span)
        if node.outputs[0] in graph.outputs and node.name not in senders:
            key = (where[node.name], root(node.outputs[0]))
            uses[key].append((span[0], result.total.latency_s))
    for transfer, movement in result.transfers:
        start = ends[transfer.producer] if transfer.producer else 0.0
        for target in transfer.targets:
            span = (start, start + movement.latency_s)
            uses.setdefault((transfer.source, root(transfer.tensor)), []).append(span)
            uses.setdefault((target, root(transfer.tensor)), []).append(span)
    lives = {key: (min(s for s, _ in spans), max(e for _, e in spans))
             for key, spans in uses.items()}  # fmt: skip
    instants = sorted({t for life in lives.values() for t in life})
    peaks = {}
    for name in set(where.values()):
        mine = [life for (end, _), life in lives.items() if end == name]
        peaks[name] = max(sum(s <= t < e for s, e in mine) for t in instants) * 8 * 8 * 4
    return peaks


@settings(max_examples=60, deadline=None)
@given(graphs(), st.sampled_from(systems()))
def test_prices_of_random_plans(graph: Graph, system: System) -> None:
    plan = greedy([graph], system, MODELS)
    assert isinstance(plan, Plan)
    result = price(plan, [graph], system, MODELS)
    assert result.feasible and result.coverage.complete
    assert result.coverage.operators == len(graph.nodes)
    # Replay adds contention, so it can only be slower (it rounds to whole picoseconds).
    timeline = replay(plan, system, lambda a: result.per_region[a.region].latency_s)
    slack = (len(plan.assignments) + len(plan.transfers)) * 1e-12
    assert timeline.makespan_s >= result.total.latency_s - slack
    assert result.total.latency_s >= max(result.busy_s.values()) * (1 - 1e-9)
    if all(len(transfer.targets) == 1 for transfer in plan.transfers):
        naive = naive_peaks(plan, graph, result)
        assert {name: result.peak_bytes[name] for name in naive} == naive


@pytest.mark.parametrize("name", ["desktop-cpu", "v100", "h2h", "aws-f1"])
def test_a_real_network_on_catalogue_systems(name: str) -> None:
    graph, system = build_model("resnet18"), load_system(name)
    designs = {design for d in system.devices for design in d.designs}
    models = MODELS | {design: resolve(design).cost for design in designs}
    plan = greedy([graph], system, models)
    assert isinstance(plan, Plan)
    result = price(plan, [graph], system, models)
    assert result.feasible and result.coverage.complete
    # The published count of the network, whatever the machine.
    assert bool(designs) or result.total.macs_nominal == result.total.macs_performed
    assert result.total.macs_nominal == pytest.approx(1.814e9, rel=0.001)
    weights = sum(c.type.size_bytes for c in graph.constants.values())
    assert sum(result.peak_bytes.values()) >= weights * 0.999
    busiest = max(result.busy_s.values())
    assert busiest <= result.total.latency_s * (1 + 1e-9)
    if result.total.energy_j is not None:
        watts = result.total.energy_j / result.total.latency_s
        assert watts <= sum(d.max_power_w or 0 for d in system.devices)
