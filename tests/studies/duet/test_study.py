"""The whole study on made-up workers that rest for known times, and PyTorch in another process."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import re
import sys
import time
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from orrery.api.choosing import PLACED, Choice, Ways, problem_of
from orrery.errors import ModelError
from orrery.graph import Graph, Node, TensorType
from orrery.mapping.phases import greedy_correction, partition
from orrery.progress import SILENT, Progress
from orrery.report import Table, Text
from orrery.runtime.together import Comparison, LocalWorker, Profile, WorkerPool
from orrery.studies import CATALOGUE, StudyResult, conduct, duet
from orrery.studies.duet import IN_TURN, SERVED, Effort, conduct_on, measure_case
from orrery.studies.duet._pytorch import pytorch_ways
from orrery.studies.duet._records import network_records
from orrery.studies.duet._sections import sections_of
from orrery.studies.duet._study import _busy

from .cases import case

OWN = tuple(sorted(os.sched_getaffinity(0)))

TINY = replace(
    Effort.at(0.01), rounds=8, rounds_s=1.0, tail_runs=10, tail_s=0.2, sweep_rounds=3,
    sweep_s=0.2, most_operators=10, torch="off",
)  # fmt: skip


@dataclass(frozen=True)
class Resting:
    """Rests for each node of a graph, then runs it on the reference."""

    rest_s: float
    name: str = "resting"

    def refuses(self, graph: Graph) -> str | None:
        return None

    def prepare(self, graph: Graph) -> Any:
        return _Prepared(self, graph)


@dataclass(frozen=True)
class _Prepared:
    owner: Resting
    graph: Graph

    def run(self, inputs: Any) -> dict[str, Any]:
        time.sleep(self.owner.rest_s * len(self.graph.nodes))
        return self.graph.evaluate(inputs)


class Weighed(Resting):
    """Counts the nodes that are ready at once, of all that it prepared."""

    alive: ClassVar[weakref.WeakSet[Any]] = weakref.WeakSet()
    most: ClassVar[int] = 0

    def prepare(self, graph: Graph) -> Any:
        made = _Weighed(self, graph)
        Weighed.alive.add(made)
        Weighed.most = max(Weighed.most, sum(len(one.graph.nodes) for one in Weighed.alive))
        return made


@dataclass(frozen=True, eq=False)
class _Weighed(_Prepared):
    pass


def towers(*lengths: int) -> Graph:
    """Return chains side by side, joined by a maximum."""
    nodes, ends = [], []
    for tower, length in enumerate(lengths):
        before = "x"
        for k in range(length):
            nodes.append(Node(name=f"t{tower}n{k}", op="Relu", inputs=(before,),
                              outputs=(f"t{tower}y{k}",)))  # fmt: skip
            before = f"t{tower}y{k}"
        ends.append(before)
    nodes.append(Node(name="join", op="Max", inputs=tuple(ends), outputs=("y",)))
    return Graph(name=f"towers{len(lengths)}", inputs=("x",), outputs=("y",), nodes=tuple(nodes),
                 types={"x": TensorType(dtype="float32", shape=(3, 4))}).infer()  # fmt: skip


def workers() -> list[LocalWorker]:
    """Return two halves, and all processors that are a third quicker together than each half."""
    half = len(OWN) // 2
    return [
        LocalWorker(name="all", processors=OWN, backend=Resting(0.002), label="rest x2"),
        LocalWorker(name="left", processors=OWN[:half], backend=Resting(0.003), label="rest x1"),
        LocalWorker(name="right", processors=OWN[half:], backend=Resting(0.003), label="rest x1"),
    ]  # fmt: skip


def planned(
    graph: Graph,
    inputs: Any,
    pool: WorkerPool,
    *,
    repeats: int,
    cache: None,
    progress: Progress,
    effort: object,
) -> Choice:
    """Choose as the command does, by what the workers are known to take instead of by timing."""
    cut = partition(graph, {}, least=0)
    regions = [part.region for part in cut.subgraphs]
    seconds = np.array([
        [len(region.nodes) * w.backend.rest_s for w in pool.workers.values()] for region in regions
    ])  # fmt: skip
    profile = Profile(
        workers=tuple(pool.workers), regions=tuple(r.name for r in regions), median_s=seconds,
        interval_s=np.stack([seconds, seconds], axis=-1), passes=1, refusals={}, confidence=1.0,
    )  # fmt: skip
    problem = problem_of(cut, profile, pool)
    ways, placed = Ways(problem, pool, inputs), greedy_correction(problem)
    networks = {PLACED: ways.placed(placed.placement), "all": ways.whole("all")}
    whole_s = len(graph.nodes) * pool.workers["all"].backend.rest_s
    known_s = {PLACED: placed.predicted_s, "all": whole_s}
    comparison = Comparison(times_s={n: (max(known_s[n], 1e-9),) * 8 for n in networks})
    return Choice(problem=problem, profile=profile, placed=placed, networks=networks,
                  alone=("all",), comparison=comparison)  # fmt: skip


@pytest.mark.skipif(len(OWN) < 2, reason="two sets of processors that share nothing")
def test_what_is_over_keeps_no_weights() -> None:
    """The placement and the whole on each of three workers at once, and never more."""
    graph = towers(4, 4)
    Weighed.most = 0
    own = [replace(w, backend=Weighed(0.0)) for w in workers()]
    found = measure_case(graph, own, TINY, SILENT, choose=planned)
    assert found.operators is not None and len(found.sweep.points) > 3
    gc.collect()
    assert not Weighed.alive
    assert 3 * len(graph.nodes) <= Weighed.most <= 4 * len(graph.nodes)


@pytest.mark.skipif(len(OWN) < 2, reason="two sets of processors that share nothing")
def test_two_towers_are_placed_and_a_single_path_is_not() -> None:
    graphs = [towers(4, 4), towers(2)]
    result = conduct_on(graphs, workers(), TINY, SILENT, choose=planned)
    records = {r.name: r for r in result.records}
    gain = records["towers2: gain over the best alone"]
    # Planted, one by one: 9 x 2 ms; two towers side by side: 4 x 3 ms, and the join 2. All at this
    # machine's pace while it was measured: on a busy one rests are longer.
    predicted = records["towers2: predicted makespan"]
    pace = re.search(r"took (\d+\.\d+) times", predicted.note)
    assert pace is not None and float(pace[1]) >= 1
    assert predicted.ours == pytest.approx(0.014 * float(pace[1]), rel=0.01)
    assert gain.ours is not None
    assert gain.judge_value is not None
    assert "against all" in gain.note
    assert records["towers2: error of outputs"].ours == 0.0
    search = records["towers2: greedy-correction, predicted"]
    assert (search.status, search.judge) == ("match", "exact")
    assert records["least gain over the CPU alone"].ours == gain.ours  # the single path left out
    assert records["least gain over the GPU alone"].status == "not reproducible"
    assert records["towers1: as the command runs it"].note.endswith("of all alone")
    assert "towers2: error of prediction" in records
    titles = {s.title for s in result.sections}
    assert {"Every way to run them", "Slow tails", "Who runs what"} <= titles
    ways = next(s for s in result.sections if s.title == "Every way to run them")
    assert isinstance(ways, Table)
    assert {row[1] for row in ways.rows if row[0] == "towers2"} == {
        "placed", SERVED, IN_TURN, "all", "left", "right"
    }  # fmt: skip
    how = next(s for s in result.sections if s.title == "How to read this")
    assert isinstance(how, Text) and any("PyTorch" in p for p in how.paragraphs)


@pytest.mark.torch
@pytest.mark.needs("torch")
def test_pytorch_runs_in_a_process_of_its_own() -> None:
    graph, inputs = towers(2, 1), {"x": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)}
    with pytorch_ways(graph, inputs, 1, compiled=False) as found:
        name = "torch, node by node, cpu"
        assert found.kinds[name] == "cpu"
        assert all(found.ways[name]() > 0 for _ in range(2))
        np.testing.assert_array_equal(found.outputs[name]["y"], graph.evaluate(inputs)["y"])


@pytest.mark.torch
@pytest.mark.needs("torch")
def test_what_pytorch_refuses_is_left_out_and_said() -> None:
    graph = Graph(
        name="drawn", inputs=(), outputs=("y",), types={},
        nodes=(Node(name="n", op="RandomNormal", inputs=(), outputs=("y",),
                    attributes={"shape": (2,)}),),
    ).infer()  # fmt: skip
    with pytorch_ways(graph, {}, 1, compiled=False) as found:
        assert not found.ways
        assert any("left out: ModelError" in note for note in found.notes)


@pytest.mark.skipif(len(OWN) < 2, reason="two sets of processors that share nothing")
def test_a_network_that_cannot_be_measured_does_not_lose_the_others() -> None:
    def picky(graph: Graph, *rest: Any, **named: Any) -> Choice:
        if graph.name == "towers2":
            raise ModelError("made up", found="x", wanted="y", fix="z")
        return planned(graph, *rest, **named)

    result = conduct_on([towers(1, 1), towers(2)], workers(), TINY, SILENT, choose=picky)
    assert not [r for r in result.records if r.name.startswith("towers2")]
    how = next(s for s in result.sections if s.title == "How to read this")
    assert isinstance(how, Text) and how.paragraphs[-1].startswith("towers2 is left out: made up")
    with pytest.raises(ModelError, match="made up"):
        conduct_on([towers(1, 1)], workers(), TINY, SILENT, choose=picky)


@pytest.mark.parametrize(("load", "warned"), [(0.1, False), (50.0, True)])
def test_a_busy_machine_is_said(load: float, warned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    assert bool(_busy()) is warned
    monkeypatch.delattr(os, "getloadavg")  # not on every operating system
    assert _busy() is None


def test_without_a_scale_the_usual_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    (study,) = [s for s in CATALOGUE if s.name == "duet"]
    assert study.usual < 1
    asked: list[float] = []

    def fake(scale: float, progress: Progress) -> StudyResult:
        asked.append(scale)
        return StudyResult(records=())

    monkeypatch.setattr(duet, "duet_study", fake)
    assert conduct("duet").scale == study.usual
    assert conduct("duet", scale=1.0).scale == 1.0
    assert asked == [study.usual, 1.0]


def test_tables_are_kept_with_a_full_size_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = Path(__file__).parents[3] / "scripts" / "full_size.py"
    spec = importlib.util.spec_from_file_location("full_size", path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "full_size", script)
    spec.loader.exec_module(script)
    monkeypatch.setattr("bench._record.RESULTS", tmp_path)
    asked: list[float] = []

    def fake(scale: float, progress: Progress) -> StudyResult:
        asked.append(scale)
        return StudyResult(records=tuple(network_records(case())), sections=tuple(
            sections_of([case()], Effort.at(1), "a machine")
        ))  # fmt: skip

    monkeypatch.setattr(duet, "duet_study", fake)
    assert script.main(["duet"]) == 0
    assert asked == [1.0]
    (written,) = tmp_path.iterdir()
    body = json.loads(written.read_text())
    assert {"date", "machine", "study", "scale", "seconds", "records", "tables"} == set(body)
    ways = next(t for t in body["tables"] if t["title"] == "Every way to run them")
    assert ways["columns"][3] == "median (s)"
    assert ways["rows"][0][:2] == ["made-up", "placed"]
