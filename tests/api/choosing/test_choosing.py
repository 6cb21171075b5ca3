"""From a network to a way of running it, on workers that rest for known times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from orrery.api import choosing
from orrery.api.choosing import PLACED, Choice, Effort, Ways, measured_standing, node_work
from orrery.api.placing import choose
from orrery.errors import MissingExtraError
from orrery.progress import SILENT
from orrery.report import Table, Text
from orrery.runtime.together import LocalWorker, WorkerPool

from .made_up import INPUT, OWN, Resting, reference_workers, towers, workers

pytestmark = pytest.mark.skipif(len(OWN) < 2, reason="two sets of processors are needed")

QUICK = Effort(profile_s=0.0, race_s=0.6, races_s=0.6, most_raced=4, observed_s=0.2)
#: Far apart, so that a busy machine changes nothing: 24 ms whole, 12 on a half, 6 on both halves.
ALL = {"l": 0.012, "r": 0.012, "s": 0.0002}
HALF = {"l": 0.006, "r": 0.006, "s": 0.0002}


@pytest.fixture(autouse=True)
def _worth_a_subgraph_each(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The nodes of made-up workers are not timed, they are all said to be worth it."""
    monkeypatch.setattr(
        "orrery.api.placing._choose.node_work", lambda *_: (dict.fromkeys("lrs", 1.0), "")
    )
    yield


def chosen(made: list[LocalWorker], repeats: int = 9) -> Choice:
    with WorkerPool(made) as pool:
        return choose(towers(), INPUT, pool, repeats=repeats, cache=None, progress=SILENT,
                      effort=QUICK)  # fmt: skip


def page(choice: Choice) -> str:
    text = next(s for s in choosing.placing_sections(choice, None) if isinstance(s, Text))
    return " ".join(text.paragraphs)


def test_towers_that_gain_are_split() -> None:
    found = chosen(workers(Resting(ALL), Resting(HALF)))
    assert found.best == PLACED
    assert set(found.placed.placement[:2]) == {1, 2}
    assert found.found is not None
    assert found.found.kept.best.proved
    assert found.found.greedy.gap <= 0.02
    assert "So it is run on several workers" in page(found)


@pytest.mark.parametrize(
    ("all_", "half", "words"),
    [
        (Resting(ALL, whole=0.1), Resting(HALF), "The cuts cost"),
        (Resting(ALL), Resting({**HALF, "l": 0.04, "r": 0.04}), ""),
        (Resting(ALL), Resting({**HALF, "l": 0.02, "r": 0.02}, company=3), ""),
    ],
)
def test_what_does_not_gain_is_run_whole(all_: Resting, half: Resting, words: str) -> None:
    """In pieces fused work is lost; halves are slow; halves in company are slow."""
    found = chosen(workers(all_, half))
    assert found.best == "all"
    assert words in page(found)


def test_a_placement_that_fails_is_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once everything is timed, a half fails with the left tower: all else is still tried."""
    half, made = Resting(HALF), workers(Resting(ALL), Resting(HALF))
    made[1] = LocalWorker(name="half0", processors=made[1].processors, backend=half, label="late")
    search = choosing.search

    def failing_from_now(*args: Any) -> Any:
        half.fails = "l"
        return search(*args)

    monkeypatch.setattr("orrery.api.placing._choose.search", failing_from_now)
    found = chosen(made)
    failed = [c for c in found.placed.log if c.note]
    assert failed
    assert all("half0" in c.note and "made up" in c.note and not c.kept for c in failed)
    assert found.placed.placement[0] != 1
    tried = next(s for s in choosing.placing_sections(found, None)
                 if isinstance(s, Table) and s.title == "What was tried")  # fmt: skip
    assert tried.columns[-1].name == "could not run"
    assert any("half0" in str(row[-1]) for row in tried.rows)


def test_standing_among_placements_that_run() -> None:
    with WorkerPool(workers(Resting(ALL), Resting(HALF))) as pool:
        choice = choose(towers(), INPUT, pool, repeats=3, cache=None, progress=SILENT,
                        effort=QUICK)  # fmt: skip
        ways = Ways(choice.problem, pool, INPUT)
        one = measured_standing(ways, (0, 0, 0), most=3, rounds=9)
        best = measured_standing(ways, (1, 2, 0), most=100, rounds=1)
    assert len(one.placements) == 4
    assert not one.every
    assert one.rank > 1
    assert one.gap > 0.2
    assert one.gap_interval[0] <= one.gap <= one.gap_interval[1]
    assert best.every
    assert best.rank == 1
    assert one.comparison.rounds == 9


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
