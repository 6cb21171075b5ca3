"""A network that is placed once and asked often; and what cannot be placed, said in full."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import orrery
from orrery import api
from orrery.api.choosing import PLACED, Choice, Effort
from orrery.api.placing import _ready
from orrery.api.placing._choose import choose, local_workers
from orrery.cli import main
from orrery.errors import (
    CancelledError,
    MissingExtraError,
    OrreryError,
    SpecError,
    UnknownNameError,
)
from orrery.graph import ArrayConstant, Graph, Node, TensorType, write_onnx
from orrery.plan import read_plan, write_plan
from orrery.progress import SILENT, Progress, Step
from orrery.report import Text
from orrery.runtime import BACKENDS, together

from .test_placement_kept import SETS, on, plan_for
from .test_run_here import towers

pytestmark = pytest.mark.needs("onnxruntime")

FLOATS = TensorType(dtype="float32", shape=(4,))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    graph = towers(layers=2, size=32)
    write_plan(tmp_path / "plan.json", plan_for(graph))
    return tmp_path / "plan.json"


def placed(kept: Path) -> api.PlacedModel:
    return orrery.place(kept, plan_models=(towers(layers=2, size=32),), repeats=1)


def drawn(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((64, 32)).astype(np.float32)}


def workers_alive() -> set[str]:
    return {t.name for t in threading.enumerate() if "onnxruntime" in t.name}


def ended() -> bool:
    """Whether all workers end; one that is busy with what it began may take a while."""
    until = time.monotonic() + 30
    while workers_alive() and time.monotonic() < until:
        time.sleep(0.01)
    return not workers_alive()


def test_requests_of_many_threads_are_answered_each_with_its_own(kept: Path) -> None:
    graph = towers(layers=2, size=32)
    wanted = [graph.evaluate(drawn(seed))["y"] for seed in range(12)]
    with placed(kept) as network:
        assert network.way == "as planned"
        assert network.plan.device_of() == read_plan(kept).device_of()
        with ThreadPoolExecutor(4) as callers:
            answers = list(callers.map(lambda seed: network.run(drawn(seed))["y"], range(12)))
        later = [network.submit(drawn(seed)) for seed in range(12)]
        for seed, want in enumerate(wanted):
            np.testing.assert_allclose(answers[seed], want, atol=1e-4)
            np.testing.assert_allclose(later[seed].result(30)["y"], want, atol=1e-4)
        assert network.notes == ()
        assert workers_alive()
    assert ended()


def test_what_was_asked_before_it_is_closed_is_answered(kept: Path) -> None:
    network = placed(kept)
    asked = [network.submit(drawn(seed)) for seed in range(16)]
    network.close()
    assert all(answer.done() for answer in asked)
    graph = towers(layers=2, size=32)
    for seed, answer in enumerate(asked):
        np.testing.assert_allclose(
            answer.result()["y"], graph.evaluate(drawn(seed))["y"], atol=1e-4
        )
    assert ended()


class Flaky:
    """A back end whose graphs fail from some moment on, or after so many runs."""

    def __init__(self, real: Any, runs: int = 1_000_000) -> None:
        self.real, self.broken, self.name, self.runs = real, False, real.name, runs

    def refuses(self, graph: Graph) -> str | None:
        said: str | None = self.real.refuses(graph)
        return said

    def prepare(self, graph: Graph) -> Any:
        return _Flaky(self, self.real.prepare(graph))


class _Flaky:
    def __init__(self, owner: Flaky, real: Any) -> None:
        self.owner, self.real = owner, real

    def run(self, inputs: Any) -> dict[str, Any]:
        self.owner.runs -= 1
        if self.owner.broken or self.owner.runs < 0:
            raise RuntimeError("the device fell off the bus")
        made: dict[str, Any] = self.real.run(inputs)
        return made


def test_when_a_worker_fails_the_whole_on_another_answers_and_it_is_said(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flaky: list[Flaky] = []

    def workers(wanted: Any) -> list[together.LocalWorker]:
        found = together._devices.workers_here(wanted)
        for number, worker in enumerate(found):
            if worker.name == read_plan(kept).assignments[0].device:
                flaky.append(Flaky(worker.backend))
                found[number] = replace(worker, backend=flaky[-1])
        return found

    monkeypatch.setattr(together, "workers_here", workers)
    wanted = towers(layers=2, size=32).evaluate(drawn(1))["y"]
    with placed(kept) as network:
        np.testing.assert_allclose(network.run(drawn(1))["y"], wanted, atol=1e-4)
        assert (network.way, network.notes) == ("as planned", ())
        for one in flaky:
            one.broken = True
        if len(SETS) > 1:
            answer = network.submit(drawn(1)).result(30)
            np.testing.assert_allclose(answer["y"], wanted, atol=1e-4)
            assert network.way == f"{SETS[0]} onnxruntime"
            np.testing.assert_allclose(network.run(drawn(1))["y"], wanted, atol=1e-4)
            (note,) = network.notes
            assert note.endswith(f"went on with {SETS[0]} onnxruntime")
        else:  # nobody else is here
            with pytest.raises(OrreryError, match="fell off the bus"):
                network.run(drawn(1))
            (note,) = network.notes
        assert "the device fell off the bus" in note


@pytest.mark.skipif(len(SETS) < 2, reason="nobody else is here")
def test_a_worker_that_fails_while_a_kept_plan_is_timed_is_left_out(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def workers(wanted: Any) -> list[together.LocalWorker]:
        return [
            replace(worker, backend=Flaky(worker.backend, runs=3))
            if worker.name == read_plan(kept).assignments[0].device else worker
            for worker in together._devices.workers_here(wanted)
        ]  # fmt: skip

    monkeypatch.setattr(together, "workers_here", workers)
    found = orrery.run(kept, plan_models=(towers(layers=2, size=32),), repeats=6, check=True)
    assert found.agrees
    assert found.evidence[0].context["backend"] == f"{SETS[0]} onnxruntime"
    said = " ".join(p for s in found.page.sections if isinstance(s, Text) for p in s.paragraphs)
    assert "the device fell off the bus" in said
    assert f"So the whole network runs on {SETS[0]} onnxruntime" in said


def test_what_does_not_fit_is_refused_and_harms_nobody(kept: Path) -> None:
    with placed(kept) as network:
        for ask in (network.run, network.submit):
            with pytest.raises(SpecError) as refusal:
                ask({"x": np.zeros((64, 31), np.float32)})
            assert str(refusal.value) == (
                "towers: input 'x': found 'float32(64, 31)', wanted float32[64×32]; convert or "
                "reshape the array"
            )
        assert network.way == "as planned"
    network.close()
    for ask in (network.run, network.submit):
        with pytest.raises(SpecError) as refusal:
            ask(drawn(1))
        assert str(refusal.value) == (
            "towers on this machine: found 'closed', wanted 'open'; ask inside its block"
        ).replace("'open'", "open")


def test_a_network_is_placed_kept_and_run_again(hasty: None, tmp_path: Path) -> None:
    graph = towers(layers=2, size=128)
    with orrery.place(graph, backends=("onnxruntime",), repeats=1, fresh=True) as network:
        plan = network.plan
        network.export(tmp_path / "placed.onnx")
        assert {s.title for s in network.page.sections} >= {"Does it pay?", "Who runs what"}
    assert sorted(n for a in plan.assignments for n in a.nodes) == sorted(
        n.name for n in graph.nodes
    )
    for transfer in plan.transfers:
        at = plan.device_of()
        assert at[transfer.producer or ""] == transfer.source
        assert {at[c] for c in transfer.consumers} == set(transfer.targets)
    weights = sum(c.type.size_bytes for c in graph.constants.values())
    assert sum(plan.resident_bytes.values()) == weights
    write_plan(tmp_path / "plan.json", plan)
    # The exported file is the same network: its plan takes it.
    found = api.run(tmp_path / "plan.json", plan_models=(tmp_path / "placed.onnx",), repeats=1,
                    check=True)  # fmt: skip
    assert found.agrees


@pytest.mark.openvino
@pytest.mark.needs("openvino")
def test_what_a_back_end_lacks_falls_to_another_subgraph_by_subgraph(
    hasty: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = towers(layers=3, size=256)
    square = ArrayConstant(np.array([-1, 2, 2]))
    back = ArrayConstant(np.array([64, 64]))
    narrow = ArrayConstant(np.eye(256, 64, dtype=np.float32))
    nodes = [n for n in plain.nodes if n.name != "sum"]
    more = [("shaped", "Reshape", ("ry2", "square"), "s"), ("det", "Det", ("s",), "d"),
            ("flat", "Reshape", ("d", "back"), "f"), ("narrow", "MatMul", ("ly2", "narrow"), "n"),
            ("sum", "Add", ("n", "f"), "y")]  # fmt: skip
    nodes += [Node(name=a, op=op, inputs=i, outputs=(o,)) for a, op, i, o in more]
    constants = {**plain.constants, "square": square, "back": back, "narrow": narrow}
    graph = Graph(name="towers", nodes=tuple(nodes), inputs=("x",), outputs=("y",),
                  types={"x": plain.types["x"]}, constants=constants).infer()  # fmt: skip
    given = {"x": np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32)}
    chosen: list[Choice] = []
    quick = _ready.choose

    def noted(*arguments: Any, **options: Any) -> Choice:
        chosen.append(quick(*arguments, **options))
        return chosen[-1]

    monkeypatch.setattr(_ready, "choose", noted)
    found = api.run(graph, on="this-machine", backends=("openvino", "onnxruntime"), inputs=given,
                    repeats=1, check=True)  # fmt: skip
    assert found.agrees
    text = "\n".join(p for s in found.page.sections if isinstance(s, Text) for p in s.paragraphs)
    assert "Not everywhere: operators that OpenVINO lacks or computes otherwise: Det" in text
    (choice,) = chosen
    with_det = {s.region.name for s in choice.problem.partition.subgraphs
                if "det" in s.region.nodes}  # fmt: skip
    refused = {region for region, _ in choice.profile.refusals}
    assert refused == with_det
    assert all("openvino" in worker for _, worker in choice.profile.refusals)
    assert len(choice.problem.partition.subgraphs) > len(with_det)
    # OpenVINO runs one tower, ONNX Runtime what it lacks, in one request.
    left = tuple(n.name for n in graph.nodes if n.name[0] in "ln")
    right = tuple(n.name for n in graph.nodes if n.name not in (*left, "sum"))
    by = [on(SETS[-1], backend="openvino"), *[on(SETS[0])] * 2]
    cut = zip(plan_for(graph).assignments, (left, right, ("sum",)), by, strict=True)
    parts = [replace(a, nodes=nodes, device=name, schedule=schedule)
             for a, nodes, (name, schedule) in cut]  # fmt: skip
    write_plan(tmp_path / "plan.json", replace(plan_for(graph), assignments=tuple(parts)))
    mixed = api.run(tmp_path / "plan.json", plan_models=(graph,), repeats=1, check=True)
    assert mixed.agrees
    assert mixed.evidence[0].context["backend"] == "a kept placement"


def network(**other: Any) -> Graph:
    given: dict[str, Any] = {
        "name": "net", "inputs": ("x",), "outputs": ("y",), "types": {"x": FLOATS},
        "nodes": (Node(name="n", op="Relu", inputs=("x",), outputs=("y",)),), **other,
    }  # fmt: skip
    return Graph(**given).infer()


ONES = ArrayConstant(np.ones(4, np.float32))


@pytest.mark.parametrize(
    ("graph", "other", "error", "message"),
    [
        (network(types={"x": TensorType(dtype="float32", shape=("batch", 4))}), {}, SpecError,
         "net: inputs: found \"unbound dimensions 'batch'\", wanted a size for each; add --shape "
         "batch=8"),
        (network(nodes=(), outputs=("x",)), {}, SpecError,
         "net: nodes: found 'none: its outputs are inputs or constants', wanted one or more to "
         "place; run it without --on, or give another network"),
        (network(nodes=(), inputs=(), outputs=("c",), types={}, constants={"c": ONES}), {},
         SpecError, "net: nodes: found 'none: its outputs are inputs or constants', wanted one or "
         "more to place; run it without --on, or give another network"),
        (network(nodes=(Node(name="n", op="NonZero", inputs=("x",), outputs=("y",)),)), {},
         SpecError, "net: output 'y': found 'int64[1×n.nonzero], whose size only running tells', "
         "wanted sizes that are known before it runs; run it without --on, or end the network "
         "before that"),
        (network(), {"inputs": {"x": np.zeros(5, np.float32)}}, SpecError,
         "net: input 'x': found 'float32(5,)', wanted float32[4]; convert or reshape the array"),
        (network(), {"inputs": {"X": np.zeros(4, np.float32)}}, SpecError,
         "net: inputs: found \"no input 'X'\", wanted one of x; rename it, did you mean 'x'?"),
        (network(), {"backends": ("openvin",)}, UnknownNameError,
         "no back end or device here named 'openvin', did you mean 'openvino'?; known: "
         + ", ".join(sorted((*BACKENDS.names(), *together.devices_here().names)))),
        (network(), {"repeats": 0}, SpecError,
         "run: repeats: found 0, wanted 1 or more; correct the number"),
    ],
    ids=["unbound", "empty", "constants", "unknown size", "shape", "name", "back end", "repeats"],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["run", "place"])
def test_what_cannot_be_placed_is_said_before_anything_runs(
    graph: Graph, other: dict[str, Any], error: type[OrreryError], message: str, verb: str
) -> None:
    ask: dict[str, Callable[..., object]] = {
        "run": partial(api.run, on="this-machine"), "place": orrery.place,
    }  # fmt: skip
    with pytest.raises(error) as refusal:
        ask[verb](graph, **{"repeats": 1, **other})
    assert str(refusal.value) == message
    assert ended()


def test_a_network_of_constants_that_computes_is_placed(hasty: None) -> None:
    graph = network(inputs=(), types={}, constants={"c": ONES},
                    nodes=(Node(name="n", op="Neg", inputs=("c",), outputs=("y",)),))  # fmt: skip
    found = api.run(graph, on="this-machine", backends=("reference",), repeats=1)
    np.testing.assert_array_equal(found.outputs["y"], -np.ones(4))


@pytest.mark.parametrize("task", ["measure layers", "timing subgraphs", "comparing"])
def test_asked_to_stop_the_workers_end(task: str, hasty: None) -> None:
    seen: list[str] = []

    def report(step: Step) -> None:
        seen.append(step.task)

    stop = Progress(report=report, cancelled=lambda: bool(seen) and task in seen)
    with pytest.raises(CancelledError):
        orrery.place(towers(layers=1, size=64), backends=("onnxruntime",), repeats=9, fresh=True,
                     progress=stop)  # fmt: skip
    assert ended()


def test_ctrl_c_midway_leaves_no_worker_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def struck(*_: object, **__: object) -> None:
        assert workers_alive()
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(together, "profile_subgraphs", struck)
    write_onnx(towers(layers=1, size=64), tmp_path / "t.onnx")
    out = tmp_path / "out"
    arguments = ["run", str(tmp_path / "t.onnx"), "--on", "this-machine", "--workers",
                 "onnxruntime", "--out", str(out)]  # fmt: skip
    assert main(arguments) == 130
    assert capsys.readouterr().err.strip().endswith("interrupted; no file was left half written")
    assert not out.exists()
    assert ended()


def test_a_profile_of_another_machine_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orrery.graph import Region
    from orrery.runtime import describe_machine
    from orrery.runtime.together import _profile
    from orrery.store import Cache

    graph, cache = towers(layers=1, size=16), Cache("profiles", folder=tmp_path)
    region = Region(graph=graph, nodes=tuple(n.name for n in graph.nodes))
    given = {"x": np.ones((64, 16), np.float32)}
    with together.WorkerPool(local_workers(("reference",))[:1]) as pool:

        def passes() -> int:
            return together.profile_subgraphs(
                graph, [region], pool, given, most_s=0.1, least_passes=1, cache=cache
            ).passes  # fmt: skip

        assert passes() > 0
        assert passes() == 0
        for other in ({"host": "far"}, {"cpu": "another"}):
            machine = replace(describe_machine(), **other)
            monkeypatch.setattr(_profile, "describe_machine", lambda machine=machine: machine)
            assert passes() > 0


def test_a_back_end_that_is_named_and_not_installed_is_said(
    hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError) as refusal:
        orrery.place(towers(layers=1, size=16), backends=("openvino",), repeats=1, fresh=True)
    assert str(refusal.value) == (
        "running a graph: found no package 'openvino', wanted it installed; run: pip install "
        "'orrery[openvino]'"
    )
    assert not {t.name for t in threading.enumerate() if "openvino" in t.name}


def test_a_block_left_by_an_interrupt_waits_for_nobody(kept: Path) -> None:
    release, network = threading.Event(), placed(kept)
    with pytest.raises(KeyboardInterrupt), network:
        pool = network._ready.served.ways["as planned"].pool
        for worker in pool.workers:
            pool.post(worker, lambda: release.wait(20) and None)
        asked = network.submit(drawn(1))
        threading.Timer(0.5, release.set).start()
        raise KeyboardInterrupt
    with pytest.raises(OrreryError, match="closed"):
        asked.result(1)
    assert ended()


def test_a_network_in_one_subgraph_is_not_compared_with_itself() -> None:
    graph = Graph(
        name="chain", inputs=("x",), outputs=("z",), types={"x": FLOATS},
        nodes=(Node(name="a", op="Relu", inputs=("x",), outputs=("y",)),
               Node(name="b", op="Neg", inputs=("y",), outputs=("z",))),
    ).infer()  # fmt: skip
    worker = together.LocalWorker(name="w", processors=next(iter(together.core_sets().values())),
                                  backend=BACKENDS["reference"](), label="reference")  # fmt: skip
    inputs = {"x": np.ones(4, np.float32)}
    with together.WorkerPool([worker]) as pool:
        choice = choose(graph, inputs, pool, repeats=6, cache=None, progress=SILENT,
                        effort=Effort(profile_s=0.1, race_s=0.1, races_s=0.1))  # fmt: skip
        assert choice.networks[PLACED] is choice.networks["w"]
        assert choice.comparison.times_s[PLACED] == choice.comparison.times_s["w"]
        assert choice.best == "w"


@pytest.mark.parametrize("wrong", [0, -1, float("inf"), float("nan"), "5", True, 1e300])
def test_what_cannot_be_asked_names_the_argument(kept: Path, wrong: Any) -> None:
    with placed(kept) as network:
        with pytest.raises(SpecError, match=r"request: timeout_s: found .* wanted seconds"):
            network.run(drawn(1), timeout_s=wrong)
        if wrong == 0:
            for asked in (network.run, network.submit):
                with pytest.raises(SpecError, match="request: inputs: found 'NoneType'"):
                    asked(None)  # type: ignore[operator]
            assert network.way == "as planned"
            assert network.run(drawn(1), timeout_s=np.float32(60))["y"].shape  # type: ignore[arg-type]


def test_closing_in_a_callback_is_refused_at_once(kept: Path) -> None:
    told: list[BaseException] = []

    def closing(_: object) -> None:
        try:
            network.close()
        except BaseException as error:
            told.append(error)

    with placed(kept) as network:
        answer = network.submit(drawn(1))
        answer.add_done_callback(closing)
        answer.result(60)
        while not told:  # the callback may come just after
            time.sleep(1e-3)
            network.submit(drawn(1)).add_done_callback(closing)
    assert "a callback of `submit`" in str(told[0])


def test_names_and_repeats_are_looked_at_first() -> None:
    with pytest.raises(SpecError, match="run: backends: found 'onnxruntime', wanted a list"):
        orrery.place(towers(layers=2, size=32), backends="onnxruntime")
    with pytest.raises(SpecError, match=r"run: repeats: found 1\.5"):
        orrery.place(towers(layers=2, size=32), repeats=1.5)  # type: ignore[arg-type]
