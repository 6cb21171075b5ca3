"""Plans obeyed on threads: equal to the whole graph, clean when something fails."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import CancelledError, PlanMismatchError, SpecError, UnknownNameError
from orrery.graph import ArrayConstant, Graph, Node, Region, TensorType
from orrery.hardware import Compute, Device, Memory, System
from orrery.plan import Plan
from orrery.progress import Progress
from orrery.provenance import Basis, Source
from orrery.runtime import (
    DeviceFailedError,
    OnnxRuntimeBackend,
    Tensors,
    execute,
    reference_evaluator,
    region_evaluator,
)

from .graphs import diamond, image, ladder
from .plans import spread

DEVICES = ("cpu", "gpu", "fpga")
EVALUATORS = dict.fromkeys(DEVICES, reference_evaluator)


@pytest.fixture(autouse=True)
def _no_thread_left_behind() -> object:
    before = set(threading.enumerate())
    yield
    assert {t for t in set(threading.enumerate()) - before if t.name.startswith("orrery")} == set()


def _three(index: int) -> str:
    return DEVICES[index % 3]


def _equal(graph: Graph, outputs: Tensors, inputs: Tensors) -> None:
    want = graph.evaluate(inputs)
    assert list(outputs) == list(graph.outputs)
    for name in want:
        assert outputs[name].tobytes() == want[name].tobytes()


@pytest.mark.parametrize("place", [_three, lambda index: "cpu", lambda index: DEVICES[-index % 3]])
@pytest.mark.parametrize("host", ["host", "cpu", None])
def test_a_plan_equals_the_whole_graph_bit_for_bit(place, host) -> None:
    graph = diamond()
    inputs = image(graph)
    result = execute(spread([graph], place, host=host), [graph], inputs, EVALUATORS)
    _equal(graph, result.outputs, inputs)


@settings(max_examples=30, deadline=None)
@given(
    choices=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=12),
    places=st.lists(st.integers(0, 2), min_size=12, max_size=12),
)
def test_any_graph_on_any_placement(choices: list[tuple[int, int]], places: list[int]) -> None:
    graph = ladder(choices)
    inputs = image(graph)
    plan = spread([graph], lambda index: DEVICES[places[index]])
    _equal(graph, execute(plan, [graph], inputs, EVALUATORS).outputs, inputs)


def test_two_networks_keep_their_prefixes() -> None:
    graphs = [diamond("one"), diamond("two", size=4)]
    plan = spread(graphs, _three)
    prefixes = [model.prefix for model in plan.models]
    given_ = {p + "x": image(g)["x"] for p, g in zip(prefixes, graphs)}
    outputs = execute(plan, graphs, given_, EVALUATORS).outputs
    assert list(outputs) == ["one0/e", "one0/c", "two1/e", "two1/c"]
    for prefix, graph in zip(prefixes, graphs):
        want = graph.evaluate(image(graph))
        assert all(np.array_equal(outputs[prefix + n], want[n]) for n in want)


@pytest.mark.needs("onnxruntime")
def test_regions_on_onnx_runtime_stay_close() -> None:
    graph = diamond()
    inputs = image(graph)
    evaluator = region_evaluator(OnnxRuntimeBackend(threads=1))
    plan = spread([graph], _three)
    outputs = execute(plan, [graph], inputs, dict.fromkeys(DEVICES, evaluator), warmup=1).outputs
    for name, want in graph.evaluate(inputs).items():
        np.testing.assert_allclose(outputs[name], want, rtol=1e-5, atol=1e-6)


def test_the_timeline_is_measured_and_ordered() -> None:
    graph = diamond()
    plan = spread([graph], _three)
    result = execute(plan, [graph], image(graph), EVALUATORS)
    spans = {span.name: span for span in result.timeline.spans if span.kind == "compute"}
    assert result.source.basis is Basis.MEASURED
    assert set(spans) == {node.name for node in graph.nodes}
    for assignment in plan.assignments:
        assert spans[assignment.region].resource == assignment.device
        for before in assignment.after:
            assert spans[before].end_ps <= spans[assignment.region].start_ps
    copies = [span for span in result.timeline.spans if span.kind == "transfer"]
    assert sum(int(span.details["bytes"]) for span in copies) == sum(
        transfer.size_bytes for transfer in plan.transfers
    )
    # What nobody reads any more is let go: only the two outputs remain, 72 bytes each.
    last = {sample.memory: sample.used_bytes for sample in result.timeline.memory}
    assert sum(last.values()) == 2 * graph.type("e").size_bytes


def test_a_network_without_nodes_gives_its_inputs_and_constants() -> None:
    graph = Graph(
        name="through", nodes=(), inputs=("x",), outputs=("x", "c"),
        types={"x": TensorType(dtype="float32", shape=(2,))},
        constants={"c": ArrayConstant(np.arange(3))},
    ).infer()  # fmt: skip
    outputs = execute(spread([graph], _three), [graph], image(graph), EVALUATORS).outputs
    assert np.array_equal(outputs["x"], image(graph)["x"])
    assert np.array_equal(outputs["c"], np.arange(3))


def test_sequences_cross_devices() -> None:
    nodes = (
        Node(name="pair", op="SequenceConstruct", inputs=("x", "x"), outputs=("s",)),
        Node(name="first", op="SequenceAt", inputs=("s", "i"), outputs=("y",)),
    )
    graph = Graph(
        name="sequence", nodes=nodes, inputs=("x",), outputs=("y",),
        types={"x": TensorType(dtype="float32", shape=(2,))},
        constants={"i": ArrayConstant(np.array(1))},
    )  # fmt: skip

    def pair(region: Region, inputs: Tensors) -> dict[str, object]:
        return {"s": [inputs["x"], 2 * inputs["x"]]}

    def second(region: Region, inputs: Tensors) -> dict[str, object]:
        return {"y": inputs["s"][1]}

    plan = spread([graph], lambda index: DEVICES[index], sizes={"s": 16})
    outputs = execute(plan, [graph], image(graph), {"cpu": pair, "gpu": second}).outputs
    assert np.array_equal(outputs["y"], 2 * image(graph)["x"])


def test_of_two_failures_the_first_is_named() -> None:
    graph = ladder([(0, 0), (0, 0)])
    late = threading.Event()

    def first(region: Region, inputs: Tensors) -> Tensors:
        try:
            raise KeyError("the first")
        finally:
            threading.Timer(0.2, late.set).start()

    def second(region: Region, inputs: Tensors) -> Tensors:
        late.wait(5)
        raise IndexError("the second")

    plan = spread([graph], lambda index: DEVICES[index])
    for order in ({"cpu": first, "gpu": second}, {"cpu": second, "gpu": first}):
        late.clear()
        with pytest.raises(DeviceFailedError, match="KeyError: 'the first'"):
            execute(plan, [graph], image(graph), order)


def test_each_device_keeps_its_order() -> None:
    graph = ladder([(0, 0)] * 6)  # six nodes that only need the input
    plan = spread([graph], lambda index: "cpu")
    turned = replace(plan, assignments=plan.assignments[::-1])
    spans = execute(turned, [graph], image(graph), EVALUATORS).timeline.spans
    order = [span.name for span in spans if span.kind == "compute"]
    assert order == [a.region for a in turned.assignments]


def test_a_copy_is_a_copy() -> None:
    graph = diamond()
    seen: list[int] = []

    def watching(region: Region, inputs: Tensors) -> Tensors:
        seen.extend(v.__array_interface__["data"][0] for v in inputs.values())
        with pytest.raises(ValueError, match="read-only"):
            next(iter(inputs.values()))[...] = 0
        return reference_evaluator(region, inputs)

    inputs = image(graph)
    execute(spread([graph], _three), [graph], inputs, dict.fromkeys(DEVICES, watching))
    assert inputs["x"].__array_interface__["data"][0] not in seen


def test_a_failing_device_is_named_and_stops_the_others() -> None:
    graph = diamond()
    ran: list[str] = []

    def failing(region: Region, inputs: Tensors) -> Tensors:
        raise ZeroDivisionError("no such number")

    def noting(region: Region, inputs: Tensors) -> Tensors:
        ran.append(region.name)
        return reference_evaluator(region, inputs)

    plan = spread([graph], lambda index: "gpu" if index == 1 else "cpu")
    with pytest.raises(DeviceFailedError) as caught:
        execute(plan, [graph], image(graph), {"cpu": noting, "gpu": failing})
    assert str(caught.value).startswith(
        "device 'gpu': region 'matmul': found ZeroDivisionError: no such number"
    )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "add" not in ran


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "found 'nothing', wanted every output"),
        (np.zeros((3, 6)), "float64"),
        (np.zeros((2, 6), np.float32), r"wanted float32\[3×6\]"),
    ],
)
def test_wrong_outputs_are_refused(value: np.ndarray | None, message: str) -> None:
    graph = diamond()

    def wrong(region: Region, inputs: Tensors) -> Tensors:
        return {} if value is None else dict.fromkeys(region.outputs, value)

    with pytest.raises(DeviceFailedError, match=message):
        execute(spread([graph], lambda i: "cpu"), [graph], image(graph), {"cpu": wrong})


def test_the_user_may_stop() -> None:
    graph, asked = diamond(), []

    def slow(region: Region, inputs: Tensors) -> Tensors:
        threading.Event().wait(0.25)
        return reference_evaluator(region, inputs)

    def enough() -> bool:
        asked.append(1)
        return len(asked) > 1

    with pytest.raises(CancelledError):
        execute(spread([graph], _three), [graph], image(graph), dict.fromkeys(DEVICES, slow),
                progress=Progress(cancelled=enough))  # fmt: skip


# -- plans that cannot be obeyed ------------------------------------------------------------------


def _run(plan: Plan, graph: Graph, **more: object) -> None:
    execute(plan, [graph], image(graph), EVALUATORS, **more)  # type: ignore[arg-type]


def test_another_model_is_refused() -> None:
    graph = diamond()
    other = diamond(size=4)
    with pytest.raises(PlanMismatchError, match="model 'diamond'"):
        _run(spread([graph], _three), other)


def test_another_system_is_refused() -> None:
    source = Source(basis=Basis.ASSUMED, where="test", note="any number")
    memory = Memory(name="dram", size_bytes=1, offchip=True, sources={"size_bytes": source})
    cpu = Device(name="cpu", kind="cpu", memories=(memory,),
                 compute=Compute(macs_per_s={}, sources={}))  # fmt: skip
    graph = diamond()
    with pytest.raises(PlanMismatchError, match="system 'desk'"):
        _run(spread([graph], _three), graph, system=System(name="desk", devices=(cpu,)))


def test_a_device_without_evaluator_is_refused() -> None:
    graph = diamond()
    with pytest.raises(UnknownNameError, match="'cpus', did you mean 'cpu'"):
        _run(spread([graph], lambda index: "cpus"), graph)


def test_a_forgotten_node_is_refused() -> None:
    graph = diamond()
    plan = spread([graph], _three)
    with pytest.raises(SpecError, match="1 nodes nobody runs: scale"):
        _run(replace(plan, assignments=plan.assignments[:-1]), graph)


def test_a_node_run_twice_is_refused() -> None:
    graph = diamond()
    plan = spread([graph], _three)
    twice = replace(plan.assignments[0], region="again")
    with pytest.raises(SpecError, match="node 'relu'"):
        _run(replace(plan, assignments=(*plan.assignments, twice)), graph)


def test_a_forgotten_transfer_is_refused() -> None:
    graph = diamond()
    plan = spread([graph], _three)
    less = tuple(t for t in plan.transfers if t.tensor != "b")
    with pytest.raises(SpecError, match="tensor 'b', which nothing brings to cpu"):
        _run(replace(plan, transfers=less), graph)


def test_an_order_that_waits_for_itself_is_refused() -> None:
    graph = diamond()
    plan = spread([graph], lambda index: "cpu")
    with pytest.raises(SpecError, match="wait for each other: scale on cpu"):
        _run(replace(plan, assignments=plan.assignments[::-1]), graph)


def test_an_unknown_predecessor_is_refused() -> None:
    graph = diamond()
    plan = spread([graph], _three)
    first = replace(plan.assignments[0], after=("scales",))
    with pytest.raises(SpecError, match="did you mean 'scale'"):
        _run(replace(plan, assignments=(first, *plan.assignments[1:])), graph)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "input 'x'"),
        ({"x": np.zeros((3, 5), np.float32)}, "input 'x'"),
        ({"x": np.zeros((3, 6), np.float32), "X": np.zeros(1)}, "did you mean 'x'"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: Tensors, message: str) -> None:
    graph = diamond()
    with pytest.raises(SpecError, match=message):
        execute(spread([graph], _three), [graph], inputs, EVALUATORS)
