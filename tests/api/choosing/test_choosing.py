"""From a network to a way of running it, on workers that rest for known times."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from orrery.api import choosing
from orrery.api.choosing import PLACED, Choice, Effort, Ways, _search, node_work
from orrery.api.keeping import plan_of, worker_of
from orrery.api.placing import choose
from orrery.errors import MissingExtraError
from orrery.plan import read_plan, write_plan
from orrery.progress import SILENT
from orrery.report import Table, Text
from orrery.runtime import together
from orrery.runtime.processes import why_not
from orrery.runtime.processes._children import children_of
from orrery.runtime.together import LocalWorker, WorkerPool

from .made_up import INPUT, OWN, Failing, Virtual, reference_workers, towers, workers

pytestmark = pytest.mark.skipif(len(OWN) < 2, reason="two sets of processors are needed")

EFFORT = Effort(race_s=5.0, races_s=20.0, observed_s=0.1)
#: Together 13 ms on all processors, side by side 9 ms.
TIMED = [[0.006, 0.008, 0.008], [0.006, 0.008, 0.008], [0.001, 0.002, 0.002]]
WHOLE = {"all": 0.013, "half0": 0.018, "half1": 0.018}


def chosen(machine: Virtual, patch: pytest.MonkeyPatch, made: list[LocalWorker] | None = None,
           repeats: int = 20, effort: Effort = EFFORT) -> Choice:  # fmt: skip
    machine.install(patch)
    with WorkerPool(made or workers()) as pool:
        return choose(towers(), INPUT, pool, repeats=repeats, cache=None, progress=SILENT,
                      effort=effort)  # fmt: skip


def page(choice: Choice) -> str:
    text = next(s for s in choosing.placing_sections(choice, None) if isinstance(s, Text))
    return " ".join(text.paragraphs)


def test_towers_that_gain_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    found = chosen(Virtual(TIMED, WHOLE, noise=0.1, drift=1.0), monkeypatch)
    assert found.best == PLACED
    assert set(found.placed.placement[:2]) == {1, 2}
    assert found.found is not None
    assert found.found.kept.best.proved
    assert found.found.greedy.gap == 0
    assert "So it is run on several workers" in page(found)
    assert found.alone == ("all",)
    assert found.pace is not None  # the plan is at the pace of the page
    plan = plan_of(found, PLACED, seed=0)
    assert plan.predicted_latency_s == pytest.approx(found.pace * found.placed.predicted_s)
    assert plan.lower_bound_s == pytest.approx(found.pace * max(found.problem.bounds()))


def test_a_half_that_is_quicker_is_a_way_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks lose more than they gain on all processors."""
    timed = [[0.009, 0.004, 0.0041], [0.009, 0.004, 0.0041], [0.001, 0.001, 0.001]]
    found = chosen(Virtual(timed, {"all": 0.019, "half0": 0.005, "half1": 0.0091}), monkeypatch)
    assert found.alone == ("all", "half0")
    assert found.best == "half0"


BRIEF = replace(EFFORT, race_s=0.2, races_s=0.5, most_raced=2)
#: The half's subgraphs are the quicker ones, so that the whole on it is a way too.
HALF = [[0.009, 0.004, 0.0041], [0.009, 0.004, 0.0041], [0.001, 0.001, 0.001]]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("quicker", ["all", "half0"])
def test_ways_in_one_piece_race_until_they_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, seed: int, quicker: str
) -> None:
    """They are 4 % apart, times vary by 5 %, and the comparison of all has six rounds."""
    whole = {"all": 0.0104, "half0": 0.0104, "half1": 0.02, quicker: 0.01}
    machine = Virtual(HALF, whole, lambda _: 0.02, noise=0.05, drift=0.2, seed=seed)
    found = chosen(machine, monkeypatch, repeats=6, effort=BRIEF)
    assert found.alone == ("all", "half0")
    assert found.best == quicker
    assert f"on {quicker} it was 1.0" in page(found)
    assert "does not tell them apart" not in page(found)


def test_ways_that_are_as_quick_are_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within what there is time for."""
    whole = {"all": 0.01, "half0": 0.01, "half1": 0.02}
    machine = Virtual(HALF, whole, lambda _: 0.02, noise=0.1)
    found = chosen(machine, monkeypatch, effort=replace(BRIEF, alone_s=0.5))
    assert "does not tell them apart, and the quicker one then is taken" in page(found)


def test_ways_that_are_surely_apart_do_not_race_on(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {"all": 0.012, "half0": 0.01, "half1": 0.02}
    machine = Virtual(HALF, whole, lambda _: 0.02, noise=0.01)
    found = chosen(machine, monkeypatch, effort=BRIEF)
    assert found.best == "half0"
    assert "Ways in one piece" not in page(found)


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_processes_are_taken_where_they_are_surely_quicker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = chosen(Virtual(TIMED, WHOLE, apart=0.8), monkeypatch)
    assert found.processes
    assert found.best == PLACED
    assert "Workers are processes" in page(found)
    path = tmp_path / "plan.json"
    write_plan(path, plan_of(found, PLACED, seed=0))
    plan = read_plan(path)
    kinds = {a.device: worker_of(a).get("kind", "thread") for a in plan.assignments}
    assert set(kinds.values()) == {"process", "thread"}
    assert all((kind == "process") == name.endswith(" process") for name, kind in kinds.items())


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_processes_are_tried_where_threads_would_not_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Virtual(TIMED, WHOLE, apart=0.8)
    machine.install(monkeypatch)
    names = [worker.name for worker in workers()]
    links = [SimpleNamespace(source=a, target=b, fixed_s=5e-3, s_per_byte=0.0)
             for a in names for b in names if a != b]  # fmt: skip
    monkeypatch.setattr(machine, "install", lambda _: None)
    monkeypatch.setattr(together, "measure_links", lambda *_, **__: links)
    found = chosen(machine, monkeypatch)
    assert found.processes
    assert found.best == PLACED


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_threads_go_on_where_processes_end_after_they_were_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = _search.race_kinds

    def killed(ways: Ways, placement: tuple[int, ...], *, most_s: float) -> bool:
        found = taken(ways, placement, most_s=most_s)
        for child in children_of(ways.pool).running if found else ():
            child.kill()
            while child.ended is None:
                time.sleep(0.01)
        return found

    monkeypatch.setattr(_search, "race_kinds", killed)
    found = chosen(Virtual(TIMED, WHOLE, apart=0.8), monkeypatch)
    assert not found.processes
    assert found.best == PLACED
    assert {step.worker for step in found.networks[PLACED].steps} >= {"half0", "half1"}
    assert "Went on with workers that are threads" in page(found)


def test_threads_stay_where_processes_gain_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = chosen(Virtual(TIMED, WHOLE, apart=1.001), monkeypatch)
    assert not found.processes
    assert not any(s.worker.endswith("process") for s in found.networks[PLACED].steps)
    assert found.best == PLACED


@pytest.mark.parametrize("seed", range(4))
def test_never_worse(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Predictions are wrong, times vary and drift: what is chosen is as quick as the best whole."""
    random = np.random.default_rng(seed)
    error = {}

    def truth(placement: tuple[int, ...]) -> float:
        wrong = error.setdefault(placement, random.lognormal(0.2, 0.3))
        return float(machine.problem.timing(placement).makespan_s * wrong)

    machine = Virtual(TIMED, WHOLE, truth, noise=0.1, drift=1.0, seed=seed)
    found = chosen(machine, monkeypatch)
    took = machine.true_s(found.placed.placement) if found.best == PLACED else WHOLE[found.best]
    assert took <= min(WHOLE.values()) * 1.001
    # Races left nothing behind that was surely quicker than what they kept.
    raced = [c for c in found.placed.log if c.by == "measured"]
    assert sum(c.kept for c in raced) >= 1


@pytest.mark.parametrize("cost", [1.5, 1.02])
def test_what_does_not_gain_is_run_whole(monkeypatch: pytest.MonkeyPatch, cost: float) -> None:
    """Every cut costs: much, or so little that only many rounds tell."""

    def truth(_: tuple[int, ...]) -> float:
        return 0.013 * cost

    found = chosen(Virtual(TIMED, WHOLE, truth, noise=0.02), monkeypatch)
    assert found.best == "all"
    assert "So it is run whole, on all" in page(found)


def test_a_placement_that_fails_is_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once everything is timed, a half fails with the left tower: all else is still tried."""
    half, search = Failing(), choosing.search

    def failing_from_now(*args: Any) -> Any:
        half.fails = "l"
        return search(*args)

    monkeypatch.setattr("orrery.api.placing._compared.search", failing_from_now)
    found = chosen(Virtual(TIMED, WHOLE), monkeypatch, workers(half))
    failed = [c for c in found.placed.log if c.note]
    assert failed
    assert all("half0" in c.note and "made up" in c.note and not c.kept for c in failed)
    assert found.placed.placement[0] != 1
    tried = next(s for s in choosing.placing_sections(found, None)
                 if isinstance(s, Table) and s.title == "What was tried")  # fmt: skip
    assert tried.columns[-1].name == "could not run"
    assert any("half0" in str(row[-1]) for row in tried.rows)


def test_node_times_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = towers()

    def missing(*_: object, **__: object) -> None:
        raise MissingExtraError("onnxruntime", "run", purpose="running a graph")

    monkeypatch.setattr("orrery.runtime.layer_times", missing)
    with WorkerPool(reference_workers()) as pool:
        work, said = node_work(graph, INPUT, pool, SILENT)
    assert set(work) <= {n.name for n in graph.nodes}
    assert sum(work.values()) > 0
    assert "ONNX Runtime is not installed" in said
    assert "scaled to what the whole takes on all" in said
    assert np.isfinite(list(work.values())).all()


def test_a_busy_machine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (3.2, 0, 0))
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert "load 3.2 on 4 processors" in choosing.load_note()
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert choosing.load_note() == ""
