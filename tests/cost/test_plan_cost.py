"""Judges: plans whose times, bytes and joules can be worked out by hand; a naive memory count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orrery.cost import (
    Cost,
    Coverage,
    ImplausibleCostError,
    Refusal,
    UnpricedError,
    price,
    roofline,
)
from orrery.errors import SpecError, UnknownNameError
from orrery.graph import ArrayConstant, Graph, Node, Region, Statistics, TensorType
from orrery.hardware import Device, System
from orrery.plan import Assignment, KernelSchedule, ModelReference, Plan, SystemReference, Transfer

from .small import HAND, chain, device, link

SIZE = 64 * 64 * 4  # bytes of each tensor and weight of the chain
MATMUL_S, RELU_S = 3 * SIZE / 1e11, 2 * SIZE / 1e11  # both limited by bandwidth
LINK_S = SIZE / 1e9


def pair(**settings: object) -> System:
    return System(
        name="pair", devices=(device("d0", **settings), device("d1", **settings)),
        links=(link("d0", "d1"), link("host", "d0"), link("host", "d1")), host="host",
    )  # fmt: skip


def plan_of(graph: Graph, system: System, devices: list[str], *, prefix: str = "",
            model: str = "", design: str | None = None) -> Plan:  # fmt: skip
    """A chain spread over devices in order; inputs come from the host, the result goes there."""
    where = dict(zip([node.name for node in graph.nodes], devices))
    made = {tensor: node for node in graph.nodes for tensor in node.outputs}
    assignments, transfers = [], []

    def send(tensor: str, source: str, target: str, producer: str | None, users: tuple[str, ...]):
        route = tuple(x.name for x in system.route(source, target))
        transfers.append(Transfer(tensor=prefix + tensor, size_bytes=SIZE, source=source,
                                  targets=(target,), producer=producer, consumers=users,
                                  links=(route,)))  # fmt: skip

    for node in graph.nodes:
        before = [made[t] for t in node.inputs if t in made]
        assignments.append(Assignment(
            region=prefix + node.name, nodes=(prefix + node.name,), device=where[node.name],
            design=design, after=tuple(prefix + b.name for b in before)))  # fmt: skip
        for tensor in node.inputs:
            if tensor in graph.inputs:
                send(tensor, "host", where[node.name], None, (prefix + node.name,))
            elif tensor in made and where[made[tensor].name] != where[node.name]:
                send(tensor, where[made[tensor].name], where[node.name],
                     prefix + made[tensor].name, (prefix + node.name,))  # fmt: skip
    for tensor in graph.outputs:
        send(tensor, where[made[tensor].name], "host", prefix + made[tensor].name, ())
    held = {(where[n.name], t) for n in graph.nodes for t in n.inputs
            if t in graph.constants or t in graph.states}  # fmt: skip
    return Plan(
        models=(ModelReference(name=model or graph.name, digest="", prefix=prefix),),
        system=SystemReference(name=system.name, digest=system.digest),
        assignments=tuple(assignments), transfers=tuple(transfers), objective="latency",
        searcher="hand", resident_bytes={d: SIZE * [e for e, _ in held].count(d) for d, _ in held},
    )  # fmt: skip


def test_a_chain_on_one_device() -> None:
    graph, system = chain(), pair()
    result = price(plan_of(graph, system, ["d0"] * 6), [graph], system, {"": roofline})
    assert result.feasible and result.coverage.complete
    assert result.total.latency_s == pytest.approx(2 * LINK_S + 3 * (MATMUL_S + RELU_S))
    # Regions move 15 tensors; the input is written to d0 and the result read from it.
    assert result.total.offchip_bytes == 15 * SIZE + 2 * SIZE
    joules = 3 * 64**3 * 1e-12 + 3 * 64**2 * 2e-12 + 17 * SIZE * 1e-11 + 2 * SIZE * 1e-10
    assert result.total.energy_j == pytest.approx(joules)
    assert result.total.energy_j == pytest.approx(sum(c.energy_j for c in result.total.charges))
    # Three weights stay; beside them a region's input and output.
    assert result.peak_bytes == {"d0": 5 * SIZE}
    assert result.total.peak_bytes == {"d0.dram": 5 * SIZE}
    assert result.busy_s["d0"] == pytest.approx(3 * (MATMUL_S + RELU_S))
    assert result.total.macs_nominal == 3 * 64**3
    assert set(result.priced_by.values()) == {"roofline"}
    assert any("idle power not known" in note for note in result.notes)


def test_a_cut_costs_a_transfer() -> None:
    graph, system = chain(), pair()
    plan = plan_of(graph, system, ["d0"] * 3 + ["d1"] * 3)
    result = price(plan, [graph], system, {"": roofline})
    assert result.total.latency_s == pytest.approx(3 * LINK_S + 3 * (MATMUL_S + RELU_S))
    assert result.total.offchip_bytes == 15 * SIZE + 2 * SIZE + 2 * SIZE
    assert result.peak_bytes == {"d0": 4 * SIZE, "d1": 3 * SIZE}
    assert [movement.link_bytes for _, movement in result.transfers] == [
        {"host--d0": SIZE}, {"d0--d1": SIZE}, {"host--d1": SIZE}]  # fmt: skip


def test_idle_power_counts_for_the_whole_time_where_it_is_known() -> None:
    graph, system = chain(), pair(idle_power_w=5.0)
    plan = plan_of(graph, system, ["d0"] * 3 + ["d1"] * 3)
    bare = price(plan, [graph], pair(), {"": roofline}).total
    total = price(plan, [graph], system, {"": roofline}).total
    assert total.energy_j - bare.energy_j == pytest.approx(2 * 5.0 * total.latency_s, rel=1e-6)


def test_two_networks_run_side_by_side() -> None:
    graph, system = chain(), pair()
    a = plan_of(graph, system, ["d0"] * 6, prefix="a/", model="a")
    b = plan_of(graph, system, ["d1"] * 6, prefix="b/", model="b")
    both = replace(a, models=a.models + b.models, assignments=a.assignments + b.assignments,
                   transfers=a.transfers + b.transfers,
                   resident_bytes={"d0": 3 * SIZE, "d1": 3 * SIZE})  # fmt: skip
    alone = price(a, [graph], system, {"": roofline})
    result = price(both, [graph, graph], system, {"": roofline})
    assert result.total.latency_s == pytest.approx(alone.total.latency_s)
    assert result.total.energy_j == pytest.approx(2 * alone.total.energy_j)
    assert result.coverage.operators == result.coverage.total_operators == 12
    assert result.peak_bytes == {"d0": 5 * SIZE, "d1": 5 * SIZE}
    # Two copies on one device keep their weights apart and wait for each other.
    b = plan_of(graph, system, ["d0"] * 6, prefix="b/", model="b")
    same = replace(both, assignments=a.assignments + b.assignments,
                   transfers=a.transfers + b.transfers,
                   resident_bytes={"d0": 6 * SIZE})  # fmt: skip
    crowded = price(same, [graph, graph], system, {"": roofline})
    assert crowded.peak_bytes["d0"] >= 6 * SIZE + 2 * SIZE
    assert crowded.busy_s["d0"] == pytest.approx(6 * (MATMUL_S + RELU_S))


def test_branches_overlap_on_two_devices() -> None:
    types = {"x": TensorType(dtype="float32", shape=(64, 64))}
    nodes = (Node(name="left", op="Relu", inputs=("x",), outputs=("l",)),
             Node(name="right", op="Relu", inputs=("x",), outputs=("r",)),
             Node(name="join", op="Add", inputs=("l", "r"), outputs=("y",)))  # fmt: skip
    graph = Graph(name="b", nodes=nodes, inputs=("x",), outputs=("y",), types=types).infer()
    system = pair()
    result = price(plan_of(graph, system, ["d0", "d1", "d0"]), [graph], system, {"": roofline})
    expected = LINK_S + RELU_S + LINK_S + 3 * SIZE / 1e11 + LINK_S
    assert result.total.latency_s == pytest.approx(expected)


def test_what_does_not_fit_is_said_with_need_and_have() -> None:
    graph = chain()
    system = pair(size_bytes=4 * SIZE)
    result = price(plan_of(graph, system, ["d0"] * 6), [graph], system, {"": roofline})
    (short,) = result.infeasible
    assert (short.need, short.have, short.unit) == (5 * SIZE, 4 * SIZE, "bytes")
    assert "d0.dram" in short.what and short.remedies
    assert price(plan_of(graph, system, ["d0"] * 3 + ["d1"] * 3), [graph], system,
                 {"": roofline}).feasible  # fmt: skip


def test_nothing_unpriced_counts_as_zero_in_silence() -> None:
    graph, system = chain(), pair(operators=("MatMul",))
    result = price(plan_of(graph, system, ["d0"] * 6), [graph], system, {"": roofline})
    assert not result.coverage.complete
    assert [row.region for row in result.coverage.unpriced] == ["relu0", "relu1", "relu2"]
    assert all("does not run Relu" in row.reason for row in result.coverage.unpriced)
    assert result.total.energy_j is None and result.total.offchip_bytes is None
    assert any(
        note.startswith("Lower bounds of time, energy and memory: 3") for note in result.notes
    )
    assert "not priced" in str(result.coverage)
    with pytest.raises(UnpricedError, match="relu0: roofline: d0 does not run Relu"):
        result.coverage.require_complete("chain on pair")


class OnlyMatMul:
    """A design that takes matrix products alone, ten times as fast in arithmetic."""

    name = "matmul-only"
    asked = 0

    def refuses(self, region, device):
        OnlyMatMul.asked += 1
        if {n.op for n in region.members} == {"MatMul"}:
            return None
        return Refusal(reason="only MatMul")

    def cost(self, region, device, schedule=None, statistics=None):
        return replace(roofline.cost(region, device), energy_j=None, charges=())


def test_what_a_design_refuses_runs_on_the_devices_own_units() -> None:
    graph, system = chain(), pair(designs=("only",))
    plan = plan_of(graph, system, ["d0"] * 6, design="only")
    OnlyMatMul.asked = 0
    result = price(plan, [graph], system, {"": roofline, "only": OnlyMatMul()})
    assert result.priced_by["matmul1"] == "matmul-only"
    assert result.priced_by["relu1"] == "roofline"
    assert OnlyMatMul.asked == 2  # equal regions are asked about once
    assert result.total.energy_j is None
    assert any("no price for matmul0" in note for note in result.notes)


def test_mistakes_are_named() -> None:
    graph, system = chain(), pair()
    plan = plan_of(graph, system, ["d0"] * 6)
    with pytest.raises(SpecError, match="0 as given"):
        price(plan, [], system, {"": roofline})
    with pytest.raises(SpecError, match="cost model for this design"):
        price(plan_of(graph, system, ["d0"] * 6, design="x"), [graph], pair(designs=("x",)),
              {"": roofline})  # fmt: skip
    backwards = replace(plan, assignments=plan.assignments[::-1])
    with pytest.raises(SpecError, match="wait for each other"):
        price(backwards, [graph], system, {"": roofline})
    with pytest.raises(UnknownNameError, match="did you mean 'd0'"):
        price(replace(plan, assignments=tuple(replace(a, device="d00") for a in plan.assignments)),
              [graph], system, {"": roofline})  # fmt: skip
    cut = plan_of(graph, system, ["d0"] * 3 + ["d1"] * 3)
    lost = replace(cut, transfers=(cut.transfers[0], cut.transfers[2]))
    with pytest.raises(SpecError, match="no transfer of 'm1', which is on 'd0'"):
        price(lost, [graph], system, {"": roofline})


def test_a_tensor_may_be_passed_on_by_who_was_sent_it() -> None:
    graph, system = chain(layers=1), pair()
    plan = plan_of(graph, system, ["d0", "d1"])
    up, over = plan.transfers[:2]
    # The product goes to d1 by way of the host: two transfers of one tensor.
    first = replace(over, targets=("host",), links=(("host--d0",),), consumers=())
    second = replace(over, source="host", links=(("host--d1",),))
    relayed = replace(plan, transfers=(up, first, second, plan.transfers[2]))
    result = price(relayed, [graph], system, {"": roofline})
    assert result.total.latency_s == pytest.approx(4 * LINK_S + MATMUL_S + RELU_S)
    with pytest.raises(SpecError, match="the device that makes it, 'd0'"):
        price(replace(plan, transfers=(up, second, plan.transfers[2])), [graph], system,
              {"": roofline})  # fmt: skip
    with pytest.raises(SpecError, match="0 routes"):
        price(replace(plan, transfers=(replace(up, links=()), *plan.transfers[1:])), [graph],
              system, {"": roofline})  # fmt: skip


def test_states_stay_resident() -> None:
    graph, system = chain(layers=1), pair()
    types = {"c": TensorType(dtype="float32", shape=(64, 64))}
    node = Node(name="grow", op="Add", inputs=("c", "r0"), outputs=("c2",))
    graph = Graph(name="s", nodes=(*graph.nodes, node), inputs=("x", "c"), outputs=("c2",),
                  types={**graph.types, **types}, constants=graph.constants,
                  states={"c": "c2"}).infer()  # fmt: skip
    plan = plan_of(graph, system, ["d0"] * 3)
    # A state starts where it is used, not on the host.
    plan = replace(plan, transfers=tuple(t for t in plan.transfers if t.tensor != "c"))
    result = price(plan, [graph], system, {"": roofline})
    # Weight and state stay; the most beside them is a region's input and output.
    assert result.peak_bytes == {"d0": 2 * SIZE + 2 * SIZE}


def test_coverage_reads_well() -> None:
    text = str(Coverage(operators=3, total_operators=3, macs=2 * 10**9, size_bytes=2**20))
    assert text == "priced 3 of 3 operators, 2.00 GMAC, 1 MiB moved by them"


def test_idle_power_is_charged_for_the_makespan_of_a_replay() -> None:
    graph, system = chain(), pair(idle_power_w=5.0)
    result = price(plan_of(graph, system, ["d0"] * 3 + ["d1"] * 3), [graph], system, {"": roofline})
    assert result.idle_unknown == ()
    alone_s = result.total.latency_s
    longer = result.at_makespan(10 * alone_s)
    assert longer.total.latency_s == 10 * alone_s
    assert longer.dynamic_energy_j == result.dynamic_energy_j
    assert longer.total.energy_j == pytest.approx(result.dynamic_energy_j + 100 * alone_s, rel=1e-9)
    assert longer.total.energy_j == pytest.approx(sum(c.energy_j for c in longer.total.charges))
    # However long it takes, the power never falls below that of doing nothing.
    for factor in (1, 2, 1e3, 1e6):
        total = result.at_makespan(factor * alone_s).total
        assert total.energy_j / total.latency_s >= 2 * 5.0 * (1 - 1e-9)
    assert result.at_makespan(alone_s).total.energy_j == pytest.approx(result.total.energy_j)
    for wrong in (-1.0, float("nan"), float("inf"), 0.5 * max(result.busy_s.values())):
        with pytest.raises(SpecError, match="makespan"):
            result.at_makespan(wrong)


def test_unknown_idle_power_is_named() -> None:
    graph = chain()
    system = System(
        name="mixed", devices=(device("d0", idle_power_w=5.0), device("d1")),
        links=(link("d0", "d1"), link("host", "d0"), link("host", "d1")), host="host",
    )  # fmt: skip
    result = price(plan_of(graph, system, ["d0"] * 3 + ["d1"] * 3), [graph], system, {"": roofline})
    assert result.idle_unknown == ("d1",)
    assert (
        price(plan_of(graph, system, ["d0"] * 6), [graph], system, {"": roofline}).idle_unknown
        == ()
    )
    assert any("dynamic only on d1" in note for note in result.notes)
    assert result.at_makespan(1.0).total.energy_j == pytest.approx(result.dynamic_energy_j + 5.0)


@pytest.mark.parametrize(
    ("powers", "row"),
    [
        ({"idle_power_w": 1e12}, "device d0: idle power: found 1e\\+12 W, wanted at most 100000 W"),
        ({"max_power_w": 1e6}, "device d0: maximum power"),
        (
            {"idle_power_w": 9.0, "max_power_w": 8.0},
            "idle power: found 9 W, wanted at most its max",
        ),
        ({"max_power_w": 1e-3}, "total of d0: found .* J in .* s, wanted at most 0.001 W"),
    ],
)
def test_powers_that_no_board_has_are_refused(powers: dict[str, float], row: str) -> None:
    graph, plain = chain(), pair()
    sources = dict.fromkeys(powers, HAND)
    devices = tuple(replace(d, **powers, sources=sources) for d in plain.devices)
    system = replace(plain, devices=devices)
    with pytest.raises(ImplausibleCostError, match=row):
        price(plan_of(graph, system, ["d0"] * 6), [graph], system, {"": roofline})


def test_a_replay_cannot_draw_more_than_the_boards_may() -> None:
    graph, plain = chain(), pair(idle_power_w=5.0)
    watts = {"idle_power_w": 5.0, "max_power_w": 100.0}
    devices = tuple(replace(d, **watts, sources=dict.fromkeys(watts, HAND)) for d in plain.devices)
    system = replace(plain, devices=devices)
    result = price(plan_of(graph, system, ["d0"] * 6), [graph], system, {"": roofline})
    busy = max(result.busy_s.values())
    assert result.at_makespan(busy).total.energy_j
    over = replace(result, total=replace(result.total, energy_j=1e9), dynamic_energy_j=1e9)
    with pytest.raises(ImplausibleCostError, match="total of d0: found 1e\\+09 J"):
        over.at_makespan(busy)
    less = replace(result, total=replace(result.total, energy_j=1e-12), dynamic_energy_j=-1.0)
    with pytest.raises(ImplausibleCostError, match="a finite energy"):
        less.at_makespan(busy)


@pytest.mark.parametrize("bandwidth", [1e-10, 1e-200, 1e-310])
def test_what_ends_after_every_clock_is_refused(bandwidth: float) -> None:
    graph, plain = chain(), pair()
    slow = System(name="slow", devices=plain.devices, host="host",
                  links=tuple(link(*x.ends, bandwidth=bandwidth) for x in plain.links))  # fmt: skip
    with pytest.raises(SpecError, match=r"s to the end .*wanted at most 4\.61e\+06 s"):
        price(plan_of(graph, slow, ["d0"] * 6), [graph], slow, {"": roofline})


class Ones:
    """Takes a microsecond for each one among the weights."""

    name = "ones"
    reads_values = True

    def refuses(self, region: Region, device: Device) -> Refusal | None:
        return None

    def cost(
        self, region: Region, device: Device, schedule: KernelSchedule | None = None,
        statistics: Statistics | None = None,
    ) -> Cost:  # fmt: skip
        [weights] = [region.graph.constants[name] for name in region.weights]
        return Cost(latency_s=1e-3 * float(weights.array().sum()))


def test_layers_of_one_shape_are_priced_by_their_own_weights() -> None:
    values = [np.zeros((64, 64), np.float32) for _ in range(3)]
    for ones, value in zip((1, 40, 1), values):
        value.flat[:ones] = 1
    names = [f"w{i}" for i in range(3)]
    nodes = tuple(
        Node(name=f"n{i}", op="MatMul", inputs=(f"t{i}", name), outputs=(f"t{i + 1}",))
        for i, name in enumerate(names)
    )
    graph = Graph(
        name="m", nodes=nodes, inputs=("t0",), outputs=("t3",),
        types={"t0": TensorType(dtype="float32", shape=(64, 64))},
        constants={name: ArrayConstant(value) for name, value in zip(names, values)},
    ).infer()  # fmt: skip
    system = pair()
    found = price(plan_of(graph, system, ["d0"] * 3), [graph], system, {"": Ones()})
    assert [found.per_region[f"n{i}"].latency_s for i in range(3)] == [1e-3, 40e-3, 1e-3]
    assert found.total.latency_s == pytest.approx(42e-3 + 2 * LINK_S)
