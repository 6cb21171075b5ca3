"""Networks that were measured are measured once; what else decides a case has another one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orrery.errors import ModelError
from orrery.graph import Graph
from orrery.progress import SILENT
from orrery.report import Text
from orrery.runtime.together import Comparison, LocalWorker
from orrery.store import Cache
from orrery.studies import StudyResult
from orrery.studies.duet import Case, Effort, _study, conduct_on
from orrery.studies.duet._keep import kept_or_measured

from .cases import block, case, sweep
from .test_study import TINY, towers, workers


class Counted:
    """Hands out one case and counts how often it is asked."""

    def __init__(self, found: Case) -> None:
        self.found, self.asked = found, 0

    def __call__(self) -> Case:
        self.asked += 1
        return self.found


def full(**changes: Any) -> Case:
    """Return a case with everything that a case may hold."""
    usual = {"tails": block(), "errors": {"placed": math.inf}, "date": "2026-11-22"}
    return case(**(usual | changes))


def test_what_was_measured_is_read_as_it_was(tmp_path: Path) -> None:
    cache, measure = Cache("duet", folder=tmp_path), Counted(full())
    assert kept_or_measured(towers(1), workers(), TINY, cache, measure) == (full(), False)
    assert kept_or_measured(towers(1), workers(), TINY, cache, measure) == (full(), True)
    assert measure.asked == 1
    assert kept_or_measured(towers(1), workers(), TINY, None, measure) == (full(), False)
    assert measure.asked == 2


@pytest.mark.parametrize("change", [
    lambda graph, own, effort: (towers(2), own, effort),
    lambda graph, own, effort: (graph, own[:2], effort),
    lambda graph, own, effort: (graph, [replace(own[0], label="newer"), *own[1:]], effort),
    lambda graph, own, effort: (graph, own, replace(effort, rounds=effort.rounds + 1)),
])  # fmt: skip
def test_what_decides_a_case_is_another_case(
    change: Callable[[Graph, list[LocalWorker], Effort],
                     tuple[Graph, list[LocalWorker], Effort]],
    tmp_path: Path,
) -> None:  # fmt: skip
    cache, measure = Cache("duet", folder=tmp_path), Counted(full())
    kept_or_measured(towers(1), workers(), TINY, cache, measure)
    assert kept_or_measured(*change(towers(1), workers(), TINY), cache, measure)[1] is False
    # Which other networks are measured decides nothing.
    others = replace(TINY, networks=("another",))
    assert kept_or_measured(towers(1), workers(), others, cache, measure)[1] is True


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 10**5, b"{}", b'{"name": "x", "more": 1}'])
def test_what_cannot_be_read_is_measured_again(text: bytes, tmp_path: Path) -> None:
    cache, measure = Cache("duet", folder=tmp_path), Counted(full())
    kept_or_measured(towers(1), workers(), TINY, cache, measure)
    (path,) = (p for p in tmp_path.rglob("*") if p.is_file())
    cache.put(path.name, text)
    assert kept_or_measured(towers(1), workers(), TINY, cache, measure) == (full(), False)
    assert kept_or_measured(towers(1), workers(), TINY, cache, measure) == (full(), True)


@pytest.mark.parametrize("changes", [
    {"blocks": ()}, {"sweep": sweep(points=())}, {"bound_s": 0.0}, {"bound_s": math.nan},
    {"kinds": {}}, {"errors": {}}, {"blocks": (Comparison(times_s={"placed": ()}),)},
])  # fmt: skip
def test_what_holds_nothing_is_measured_again(changes: dict[str, Any], tmp_path: Path) -> None:
    cache, empty = Cache("duet", folder=tmp_path), Counted(full(**changes))
    kept_or_measured(towers(1), workers(), TINY, cache, empty)
    assert kept_or_measured(towers(1), workers(), TINY, cache, Counted(full())) == (full(), False)


def test_a_network_measured_on_a_busy_machine_says_so_when_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_study, "measure_case", lambda g, *_, **__: full(
        name=g.name, errors={"placed": 0.0}))  # fmt: skip
    cache, warned = Cache("duet", folder=tmp_path), []
    for load, graphs in ((9.0, [towers(1)]), (0.0, [towers(1), towers(2, 1)])):
        monkeypatch.setattr("os.getloadavg", lambda load=load: (load, load, load))
        found = conduct_on(graphs, workers(), TINY, SILENT, cache=cache)
        warned.append([s for s in found.sections if s.title == "The machine was busy"])
    for sections in warned:
        (text,) = sections
        assert isinstance(text, Text)
        (said,) = text.paragraphs  # of the second network nothing is said
        assert said.startswith("towers1 on 2026-11-22: when the run began 9.0 programs wanted")


def test_a_study_that_was_interrupted_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    broken = {"towers1"}

    def measure(graph: Graph, *_: object, **__: object) -> Case:
        if graph.name in broken:
            raise KeyboardInterrupt
        measured.append(graph.name)
        return full(name=graph.name)

    monkeypatch.setattr(_study, "measure_case", measure)
    cache, graphs = Cache("duet", folder=tmp_path), [towers(1, 1), towers(2)]

    def run() -> StudyResult:
        return conduct_on(graphs, workers(), TINY, SILENT, cache=cache)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert measured == ["towers2"]
    broken.clear()
    how = next(s for s in run().sections if s.title == "How to read this")
    assert measured == ["towers2", "towers1"]
    assert isinstance(how, Text)
    (said,) = (p for p in how.paragraphs if "earlier run" in p)
    assert said.startswith("towers2 was measured in an earlier run, on 2026-11-22")
    assert str(cache.folder) in said


def test_a_network_that_failed_is_not_kept(tmp_path: Path) -> None:
    def fail() -> Case:
        raise ModelError("made up", found="x", wanted="y", fix="z")

    cache, measure = Cache("duet", folder=tmp_path), Counted(full())
    with pytest.raises(ModelError):
        kept_or_measured(towers(1), workers(), TINY, cache, fail)
    assert kept_or_measured(towers(1), workers(), TINY, cache, measure)[1] is False
