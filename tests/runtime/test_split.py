"""Plans with split regions, executed by processes: equal to the whole, messages as announced."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from orrery.accel import plan_evaluators
from orrery.cost import expand
from orrery.errors import CancelledError, PlanMismatchError, SpecError, UnknownNameError
from orrery.graph import (
    MODELS,
    ArrayConstant,
    Graph,
    Node,
    Region,
    TensorType,
    build_model,
    numpy_dtype,
)
from orrery.graph.models import example_inputs
from orrery.plan import Assignment, ModelReference, Plan, Split, SystemReference, Transfer
from orrery.progress import Progress, Step
from orrery.provenance import Basis
from orrery.runtime import (
    DeviceFailedError,
    Evaluator,
    OnnxRuntimeBackend,
    PartyPool,
    Tensors,
    execute,
    reference_evaluator,
    region_evaluator,
)

from ..mapping.random_graphs import TOPOLOGIES, random_system
from .split_plans import announced, counted, random_inputs, residual, split_plan, whole


@pytest.fixture(scope="module")
def pool() -> Iterator[PartyPool]:
    with PartyPool(6, timeout_s=300) as opened:
        yield opened


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_random_plans_equal_the_whole_and_send_what_is_announced(
    topology: str, pool: PartyPool
) -> None:
    kinds: set[str] = set()
    for seed in range(25):
        graphs = [residual(100 * len(topology) + seed)]
        if seed % 5 == 4:
            graphs.append(residual(1000 + seed))
        system = random_system(seed, least=2, most=5, designs=False, topology=topology)
        plan = split_plan(graphs, system, seed)
        if not plan.is_split:
            continue
        inputs = random_inputs(graphs, plan, seed)
        evaluators = dict.fromkeys((d.name for d in system.devices), reference_evaluator)
        done = execute(plan, graphs, inputs, evaluators, system=system, pool=pool)
        want = whole(graphs, plan, inputs)
        assert list(done.outputs) == list(want), seed
        for name, value in want.items():
            assert done.outputs[name].dtype == value.dtype
            assert done.outputs[name].tobytes() == value.tobytes(), (seed, name)
        table = announced(expand(plan, graphs, system))
        assert counted(done) == table, seed
        assert done.sent_bytes == sum(size for _, size in table.values())
        kinds |= {kind for kind, _, _ in table}
    assert kinds == {"exchange", "all-gather", "reduce-scatter", "rotate"}


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("mobilenet_v2", {}), ("minilm-l6", {}), ("siamese-lstm", {}), ("mocap", {}),
     ("llama-7b", {"phase": "decode"})],
)  # fmt: skip
def test_networks_of_the_library_stay_close(
    name: str, sizes: dict[str, str], pool: PartyPool
) -> None:
    """Floats: parts are summed in another order, and NumPy's own order follows shapes."""
    graph = build_model(name, **MODELS[name].small | sizes)
    system = random_system(1, least=3, most=4, designs=False, topology="full")
    plan = split_plan([graph], system, 1)
    inputs = example_inputs(graph)
    evaluators = dict.fromkeys((d.name for d in system.devices), reference_evaluator)
    done = execute(plan, [graph], inputs, evaluators, system=system, pool=pool)
    for tensor, value in graph.evaluate(inputs).items():
        gap = np.abs(done.outputs[tensor] - value) / (1 + np.abs(value))
        assert gap.max() < 1e-5
    assert counted(done) == announced(expand(plan, [graph], system))


# -- closed cases ---------------------------------------------------------------------------------


def _chain(dtype: str = "int64", size: int = 8) -> Graph:
    """conv → relu → conv, added to the first."""
    rng = np.random.default_rng(2)
    shape = (size, size, 3, 3)
    weights = {n: rng.integers(-5, 6, shape).astype(dtype) for n in ("w1", "w2")}
    pads = {"pads": (1, 1, 1, 1)}
    nodes = (
        Node(name="c1", op="Conv", inputs=("x", "w1"), outputs=("a",), attributes=pads),
        Node(name="r", op="Relu", inputs=("a",), outputs=("b",)),
        Node(name="c2", op="Conv", inputs=("b", "w2"), outputs=("c",), attributes=pads),
        Node(name="sum", op="Add", inputs=("c", "a"), outputs=("y",)),
    )
    return Graph(
        name="chain", nodes=nodes, inputs=("x",), outputs=("y",),
        types={"x": TensorType(dtype=dtype, shape=(1, size, 8, 8))},
        constants={n: ArrayConstant(v) for n, v in weights.items()},
    ).infer()  # fmt: skip


SYSTEM = random_system(1, least=4, most=4, designs=False, topology="full")
DEVICES = tuple(device.name for device in SYSTEM.devices)
EVALUATORS = dict.fromkeys(DEVICES, reference_evaluator)


def _rows(graph: Graph, devices: Sequence[str] = DEVICES[:2], design: str | None = None) -> Plan:
    """Every layer split by rows over one set."""
    parts = len(devices)
    return Plan(
        models=(ModelReference(name=graph.name, digest=graph.digest),),
        system=SystemReference(name=SYSTEM.name, digest=SYSTEM.digest),
        assignments=tuple(
            Assignment(
                region=node.name, nodes=(node.name,), device=devices[0],
                design=design if node.op == "Conv" else None,
                split=Split(
                    devices=tuple(devices), weights=(1.0,) * parts,
                    exclusive=(("H" if node.op == "Conv" else "axis2", parts),),
                ),
            )
            for node in graph.nodes
        ),
        transfers=(), objective="latency", searcher="by hand",
    )  # fmt: skip


def _image(graph: Graph) -> dict[str, np.ndarray]:
    type_ = graph.type("x")
    return {"x": np.random.default_rng(4).integers(-9, 10, type_.sizes).astype(type_.dtype)}


def test_rows_exchange_their_borders_once_and_results_go_home() -> None:
    graph = _chain()
    inputs = _image(graph)
    done = execute(_rows(graph), [graph], inputs, EVALUATORS, system=SYSTEM, warmup=2)
    assert done.outputs["y"].tobytes() == graph.evaluate(inputs)["y"].tobytes()
    row, image = 8 * 8 * 8, 8 * 8 * 8 * 8
    to_devices = image + 2 * row  # each half of the image with one row of the other
    borders = 2 * row  # of c2's input; relu and sum read what is there
    assert done.sent_bytes == to_devices + borders + image
    assert done.messages == 2 + 2 + 2
    assert done.ends == (*DEVICES[:2], "host")
    assert done.source.basis is Basis.MEASURED
    assert "3 processes" in done.source.note
    spans = [(s.resource, s.name) for s in done.timeline.spans if s.kind == "compute"]
    assert sorted(spans) == sorted((d, n.name) for d in DEVICES[:2] for n in graph.nodes)
    moved = [int(s.details["sent bytes"]) for s in done.timeline.spans if s.kind == "transfer"]
    assert sum(moved) == done.sent_bytes
    by_device: dict[str, list[tuple[int, int]]] = {}
    for span in done.timeline.spans:
        by_device.setdefault(span.resource, []).append((span.start_ps, span.end_ps))
    for mine in by_device.values():
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(mine))


def test_a_reader_that_moved_a_tensor_leaves_it_there(pool: PartyPool) -> None:
    """Made by rows on two, then read whole on a third, twice: it moves once."""
    graph = _chain()
    plan = _rows(graph)
    alone = {
        "r": replace(plan.assignments[1], device=DEVICES[2], split=None),
        "sum": replace(plan.assignments[3], device=DEVICES[2], split=None),
    }
    plan = replace(plan, assignments=tuple(alone.get(a.region, a) for a in plan.assignments))
    inputs = _image(graph)
    done = execute(plan, [graph], inputs, EVALUATORS, system=SYSTEM, pool=pool)
    assert done.outputs["y"].tobytes() == graph.evaluate(inputs)["y"].tobytes()
    row, image = 8 * 8 * 8, 8 * 8 * 8 * 8
    # x to both, a to the third (once), b back to both with a border each, c to the third, y home.
    assert done.sent_bytes == (image + 2 * row) + image + (image + 2 * row) + image + image


def test_a_scalar_reaches_other_sets_and_is_counted_apart(pool: PartyPool) -> None:
    nodes = (
        Node(name="most", op="ReduceMax", inputs=("x",), outputs=("m",),
             attributes={"keepdims": 0}),
        Node(name="scale", op="Mul", inputs=("x", "m"), outputs=("y",)),
    )  # fmt: skip
    graph = Graph(name="scaled", nodes=nodes, inputs=("x",), outputs=("y", "m"),
                  types={"x": TensorType(dtype="int64", shape=(1, 8, 8, 8))}).infer()  # fmt: skip
    plan = _rows(graph, DEVICES[1:3])
    whole_first = replace(plan.assignments[0], device=DEVICES[0], split=None)
    plan = replace(plan, assignments=(whole_first, plan.assignments[1]))
    inputs = _image(graph)
    done = execute(plan, [graph], inputs, EVALUATORS, system=SYSTEM, pool=pool)
    for name, value in graph.evaluate(inputs).items():
        assert done.outputs[name].shape == value.shape
        assert done.outputs[name].tobytes() == value.tobytes()
    free = [t for t in done.traffic if t.is_free]
    assert sum(t.size_bytes for t in free) == 2 * 8
    assert done.sent_bytes == 3 * 8 * 8 * 8 * 8  # x there, its halves on, y home


@pytest.mark.needs("onnxruntime")
def test_floats_on_onnx_runtime_stay_close(pool: PartyPool) -> None:
    graph = _chain("float32")
    inputs = _image(graph)
    evaluator = region_evaluator(OnnxRuntimeBackend())
    done = execute(_rows(graph), [graph], inputs, dict.fromkeys(DEVICES, evaluator), system=SYSTEM,
                   warmup=1, pool=pool)  # fmt: skip
    np.testing.assert_allclose(done.outputs["y"], graph.evaluate(inputs)["y"], rtol=1e-5, atol=1e-3)


def test_parts_compute_as_their_design_would(pool: PartyPool) -> None:
    """Rows are summed alone: a part on a 16-bit design gives the bits of the whole on it."""
    graph = _chain("float32")
    inputs = {"x": np.random.default_rng(4).standard_normal((1, 8, 8, 8)).astype(np.float32)}
    design = "tiled(tm=64, tn=7, tr=13, tc=13)"
    plan = _rows(graph, design=design)
    done = execute(plan, [graph], inputs, plan_evaluators(plan, reference_evaluator), system=SYSTEM,
                   pool=pool)  # fmt: skip
    exact = graph.evaluate(inputs)["y"]
    gap = np.abs(done.outputs["y"] - exact).max() / np.abs(exact).max()
    assert 0 < gap < 1e-2


# -- what goes wrong ------------------------------------------------------------------------------


def refuse(region: Region, inputs: Tensors) -> Tensors:
    raise ZeroDivisionError("no such number")


def vanish(region: Region, inputs: Tensors) -> Tensors:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def linger(region: Region, inputs: Tensors) -> Tensors:
    time.sleep(60)
    return reference_evaluator(region, inputs)


def mistaken(region: Region, inputs: Tensors) -> Tensors:
    return {name: np.zeros((1, 1)) for name in region.outputs}


def _fails(evaluator: Evaluator, **more: object) -> None:
    graph = _chain()
    evaluators = EVALUATORS | {DEVICES[1]: evaluator}
    execute(_rows(graph), [graph], _image(graph), evaluators, system=SYSTEM, **more)  # type: ignore[arg-type]


def _children() -> set[int]:
    """Processes below this one, helpers of `multiprocessing` that live as long as it left out."""
    from multiprocessing import forkserver, resource_tracker

    helpers = {forkserver._forkserver._forkserver_pid, resource_tracker._resource_tracker._pid}
    living = (p for p in psutil.Process().children(recursive=True)
              if p.status() != psutil.STATUS_ZOMBIE)  # fmt: skip
    return {process.pid for process in living} - helpers


@pytest.fixture
def nobody_left() -> Iterator[None]:
    before = _children()
    yield
    assert not _children() - before


@pytest.mark.parametrize(
    ("evaluator", "message"),
    [
        (refuse, "device 'd1': region 'c1': found ZeroDivisionError: no such number"),
        (vanish, "device 'd1': found the process has ended by signal 9"),
        (mistaken, r"device 'd1': region 'c1': .* found 'float64\(1, 1\)', wanted int64"),
    ],
)
def test_a_party_that_fails_is_named(evaluator: Evaluator, message: str, nobody_left: None) -> None:
    with pytest.raises(DeviceFailedError, match=message) as caught:
        _fails(evaluator)
    assert caught.value.device == "d1"


def test_a_party_that_takes_too_long_is_ended(nobody_left: None) -> None:
    with pytest.raises(DeviceFailedError, match=r"no answer in 0\.5 s"):
        _fails(linger, timeout_s=0.5)


def test_the_user_may_stop(nobody_left: None) -> None:
    asked: list[int] = []

    def enough() -> bool:
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(CancelledError):
        _fails(linger, progress=Progress(cancelled=enough))


def test_an_interrupt_closes_the_pool(nobody_left: None) -> None:
    def interrupted(step: Step) -> None:
        raise KeyboardInterrupt

    with PartyPool(5) as five:
        with pytest.raises(KeyboardInterrupt):
            _fails(linger, progress=Progress(report=interrupted), pool=five)
        with pytest.raises(SpecError, match="closed pool"):
            _fails(reference_evaluator, pool=five)


def test_control_c_ends_all_processes_quietly(tmp_path: Path) -> None:
    """The signal reaches the whole foreground group, as from a terminal."""
    script = tmp_path / "script.py"
    script.write_text(
        "from tests.runtime.test_split import _fails, linger\n"
        "from orrery.progress import Progress\n"
        "if __name__ == '__main__':\n"
        "    _fails(linger, progress=Progress(report=lambda step: print(step.done, flush=True)))\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, str(script)], cwd=root, env=os.environ | {"PYTHONPATH": str(root)},
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for _ in range(10):  # a report every tenth of a second, once all processes run
            assert process.stdout.readline(), process.stderr.read() if process.stderr else ""
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=300)
    assert process.returncode != 0
    assert said.count("Traceback") == 1
    assert said.rstrip().endswith("KeyboardInterrupt")


def test_an_evaluator_that_cannot_travel_is_refused_and_the_pool_kept(pool: PartyPool) -> None:
    with pytest.raises(SpecError, match="another process can import"):
        _fails(lambda region, inputs: {}, pool=pool)
    _fails(reference_evaluator, pool=pool)


def test_parties_without_a_pipe_are_refused() -> None:
    with (
        PartyPool(3, pairs=[(0, 1), (0, 2)]) as star,
        pytest.raises(SpecError, match=r"no pipe between \(1, 2\)"),
    ):
        _fails(reference_evaluator, pool=star)


def _refused(message: str, plan: Plan, graph: Graph, **more: object) -> None:
    given = {"system": SYSTEM, **more}
    with pytest.raises((SpecError, UnknownNameError, PlanMismatchError), match=message):
        execute(plan, [graph], _image(graph), EVALUATORS, **given)  # type: ignore[arg-type]


def test_plans_that_do_not_fit_are_refused_before_anything_runs() -> None:
    graph = _chain()
    plan = _rows(graph)
    first = plan.assignments[0]
    split = first.split
    assert split is not None

    def changed(assignment: Assignment) -> Plan:
        return replace(plan, assignments=(assignment, *plan.assignments[1:]))

    wire = Transfer(tensor="a", size_bytes=4096, source="d0", targets=("d1",), producer="c1",
                    consumers=("r",), links=(("d0-d1",),))  # fmt: skip
    _refused("found 'no system'", plan, graph, system=None)
    _refused("model 'chain'", plan, _chain(size=4))
    _refused("found '1 beside split regions'", replace(plan, transfers=(wire,)), graph)
    _refused("nodes nobody runs: sum", replace(plan, assignments=plan.assignments[:-1]), graph)
    _refused("not made before it", replace(plan, assignments=plan.assignments[::-1]), graph)
    nobody = replace(first, split=replace(split, devices=("d0", "d9")))
    _refused("'d9'", changed(nobody), graph)
    _refused("did you mean 'sum'", changed(replace(first, after=("sums",))), graph)
    uneven = replace(first, split=replace(split, weights=(1.0,)))
    _refused("a weight for each", changed(uneven), graph)
    wrong = replace(first, split=replace(split, exclusive=(("Q", 2),)))
    _refused("no loop 'Q'", changed(wrong), graph)


def test_packed_elements_do_not_travel() -> None:
    node = Node(name="same", op="Identity", inputs=("x",), outputs=("y",))
    graph = Graph(name="packed", nodes=(node,), inputs=("x",), outputs=("y",),
                  types={"x": TensorType(dtype="int4", shape=(1, 1, 8, 8))}).infer()  # fmt: skip
    dtype = numpy_dtype("int4")
    with pytest.raises(SpecError, match="numbers of whole bytes"):
        execute(_rows(graph), [graph], {"x": np.zeros((1, 1, 8, 8), dtype)}, EVALUATORS,
                system=SYSTEM)  # fmt: skip
