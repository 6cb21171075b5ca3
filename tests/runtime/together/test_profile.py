"""Profiles of back ends that rest for known times: never less than they rest, each pair asked."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from orrery.errors import ModelError, SpecError
from orrery.graph import Graph, Region
from orrery.runtime.together import (
    LocalWorker,
    WorkerPool,
    _profile,
    profile_subgraphs,
)
from orrery.store import Cache

from .test_executor import INPUT, OWN, diamond


@dataclass
class Resting:
    """Rests before it runs; refuses or cannot prepare graphs that hold a node."""

    rest_s: float = 0.0
    refused: str = ""
    unprepared: str = ""
    name: str = "resting"
    ran: list[str] = field(default_factory=list)

    def refuses(self, graph: Graph) -> str | None:
        return "made up" if any(n.name == self.refused for n in graph.nodes) else None

    def prepare(self, graph: Graph) -> Any:
        if any(n.name == self.unprepared for n in graph.nodes):
            raise ModelError("made up", found="x", wanted="y", fix="z")
        return _Prepared(self, graph)


@dataclass
class _Prepared:
    owner: Resting
    graph: Graph

    def run(self, inputs: Any) -> dict[str, Any]:
        time.sleep(self.owner.rest_s)
        if len(self.graph.nodes) < len(diamond().nodes):  # else: the network in one piece
            self.owner.ran.append(self.graph.nodes[0].name)
        return self.graph.evaluate(inputs)


@dataclass
class Clock:
    """Time that passes while a back end rests, and never else; for one that rests at a time."""

    now_s: float = 0.0

    def install(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(_profile, "time", SimpleNamespace(perf_counter=lambda: self.now_s))

    def rest(self, seconds: float) -> None:
        self.now_s += seconds


def regions() -> list[Region]:
    graph = diamond()
    return [Region(graph=graph, nodes=nodes) for nodes in (("a",), ("b",), ("c", "d"))]


def pool_of(**backends: Resting) -> WorkerPool:
    return WorkerPool([
        LocalWorker(name=name, processors=(OWN[k % len(OWN)],), backend=one, label=name)
        for k, (name, one) in enumerate(backends.items())
    ])  # fmt: skip


def test_every_pair_is_timed() -> None:
    quick, slow = Resting(), Resting(rest_s=0.004)
    with pool_of(quick=quick, slow=slow) as pool:
        found = profile_subgraphs(diamond(), regions(), pool, INPUT, least_passes=7, width=100)
    assert found.workers == ("quick", "slow")
    assert found.median_s.shape == (3, 2)
    assert (found.median_s[:, 1] >= 0.004).all()
    low, high = found.interval_s[..., 0], found.interval_s[..., 1]
    assert (low <= found.median_s).all()
    assert (found.median_s <= high).all()
    assert found.confidence >= 0.95
    assert found.passes == 7
    assert slow.ran[:9] == ["a", "b", "c"] * 3  # two to warm up
    if len(OWN) < 2:
        assert found.beside_s is None


def test_short_passes_are_made_twice_and_the_second_is_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every other run rests, as after a pause; what is timed is the run that follows."""
    clock = Clock()
    clock.install(monkeypatch)

    class Cold(Resting):
        def prepare(self, graph: Graph) -> Any:
            made = _Prepared(self, graph)
            run, state = made.run, {"runs": 0}

            def cold_first(inputs: Any) -> dict[str, Any]:
                state["runs"] += 1
                # One to feed the others and two to warm up: even runs are first ones after that.
                if state["runs"] > 3 and state["runs"] % 2 == 0:
                    clock.rest(50e-3)
                clock.rest(1e-3)
                return run(inputs)

            made.run = cold_first  # type: ignore[method-assign]
            return made

    quick = Cold()
    with pool_of(quick=quick) as pool:
        found = profile_subgraphs(diamond(), regions(), pool, INPUT, least_passes=3, width=100)
    assert quick.ran == ["a", "b", "c"] * (3 + 2 * 3)
    assert found.beside_s is None
    assert found.slower is None
    np.testing.assert_allclose(found.median_s, 1e-3)


def test_what_cannot_run_is_infinite_and_said() -> None:
    with pool_of(most=Resting(refused="b", unprepared="c"), rest=Resting()) as pool:
        found = profile_subgraphs(diamond(), regions(), pool, INPUT, least_passes=1, width=100)
        assert np.isinf(found.median_s[1:, 0]).all()
        assert np.isfinite(found.median_s[:, 1]).all()
        assert found.refusals[regions()[1].name, "most"] == "made up"
        assert "found 'x'" in found.refusals[regions()[2].name, "most"]
    with (
        pool_of(most=Resting(refused="b")) as pool,
        pytest.raises(ModelError, match=r"'b'.*no worker"),
    ):
        profile_subgraphs(diamond(), regions(), pool, INPUT)


@dataclass
class Crowd:
    """How many run at this moment."""

    running: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class Crowded(Resting):
    """Rests three times as long while another one of the crowd runs."""

    crowd: Crowd = field(default_factory=Crowd)

    def prepare(self, graph: Graph) -> Any:
        made = _Prepared(self, graph)
        run = made.run

        def crowded(inputs: Any) -> dict[str, Any]:
            with self.crowd.lock:
                self.crowd.running += 1
                self.crowd.most = max(self.crowd.most, self.crowd.running)
            try:
                found = run(inputs)
                if self.crowd.running > 1:
                    time.sleep(2 * self.rest_s)
                return found
            finally:
                with self.crowd.lock:
                    self.crowd.running -= 1

        made.run = crowded  # type: ignore[method-assign]
        return made


@pytest.mark.skipif(len(OWN) < 2, reason="two sets of processors that share nothing")
def test_company_is_timed_beside_a_busy_neighbour() -> None:
    """Alone nobody else runs; side by side both are slowed down, the quicker one no less."""
    crowd = Crowd()
    pool = pool_of(quick=Crowded(rest_s=0.008, crowd=crowd), slow=Crowded(rest_s=0.02, crowd=crowd))
    with pool:
        found = profile_subgraphs(diamond(), regions(), pool, INPUT, least_passes=5, width=100)
    assert crowd.most == 2
    assert found.beside_s is not None
    assert found.slower is not None
    rests = np.array([0.008, 0.02])
    assert (found.median_s >= rests).all()
    met = np.ones((3, 2), bool)  # who begins may be done before a busy machine lets the other begin
    met[[0, 1], [0, 1]] = False
    assert (found.beside_s >= np.where(met, 3, 1) * rests).all()
    np.testing.assert_allclose(found.slower, np.maximum(1, found.beside_s / found.median_s))


@pytest.mark.skipif(len(OWN) < 2, reason="two sets of processors that share nothing")
def test_who_is_warm_in_company_is_warm_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker is short, so that both are run twice in company: else its warmth would count."""
    clock = Clock()
    clock.install(monkeypatch)

    class Long(Resting):
        def prepare(self, graph: Graph) -> Any:
            made = _Prepared(self, graph)
            run = made.run

            def rests(inputs: Any) -> dict[str, Any]:
                clock.rest(0.01)
                return run(inputs)

            made.run = rests  # type: ignore[method-assign]
            return made

    slow = Long()
    with pool_of(quick=Resting(), slow=slow) as pool:
        profile_subgraphs(diamond(), regions(), pool, INPUT, least_passes=1, width=100)
    # Two to warm up and two alone; in company it begins elsewhere.
    assert slow.ran[:13] == [*["a", "b", "c"] * 4, "b"]


def test_changes_of_the_back_end_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs after the other one has to wake up first; after itself it is awake."""
    clock, last = Clock(), list[str]()
    clock.install(monkeypatch)

    class Sleepy(Resting):
        def prepare(self, graph: Graph) -> Any:
            made = _Prepared(self, graph)
            run = made.run

            def wakes(inputs: Any) -> dict[str, Any]:
                if last and last[-1] != self.name:
                    clock.rest(0.03)
                clock.rest(0.01)
                last.append(self.name)
                return run(inputs)

            made.run = wakes  # type: ignore[method-assign]
            return made

    own = [LocalWorker(name=name, processors=OWN[:1], backend=Sleepy(name=name), label=name)
           for name in ("one", "other")]  # fmt: skip
    with WorkerPool(own) as pool:
        found = profile_subgraphs(diamond(), regions(), pool, INPUT, least_passes=3, width=100)
    assert set(found.changes_s) == {("one", "other"), ("other", "one")}
    # Subgraphs alone follow one of their own worker, save the first of a pass.
    assert list(found.changes_s.values()) == pytest.approx([0.03, 0.03])


def test_a_worker_without_a_neighbour_has_no_company() -> None:
    own = [
        LocalWorker(name=name, processors=processors, backend=Resting(), label=label)
        for name, processors, label in (
            ("all", OWN, "x2"), ("left", OWN[:1], "x1"), ("right", OWN[1:], "x1"),
            ("other", OWN[:1], "y1"),
        )
        if processors
    ]  # fmt: skip
    with WorkerPool(own) as pool:
        found = profile_subgraphs(diamond(), regions(), pool, INPUT, least_passes=2, width=100)
    if len(OWN) > 1:
        assert found.beside_s is not None
        # Two of the same back end are company; who is left over has none.
        assert np.isfinite(found.beside_s).all(axis=0).tolist() == [False, True, True, False]
        assert found.slower is not None
        assert (found.slower[:, [0, 3]] == 1).all()


@pytest.mark.skipif(len(OWN) < 2, reason="two sets of processors that share nothing")
def test_a_neighbour_that_fails_is_waited_for_by_nobody() -> None:
    class Failing(Resting):
        def prepare(self, graph: Graph) -> Any:
            made, state = _Prepared(self, graph), {"runs": 0}
            run = made.run

            def fails(inputs: Any) -> dict[str, Any]:
                state["runs"] += 1
                if state["runs"] > 4:  # two to warm up, two alone
                    raise RuntimeError("made up")
                return run(inputs)

            made.run = fails  # type: ignore[method-assign]
            return made

    with pool_of(good=Resting(rest_s=0.001), bad=Failing()) as pool:
        found = profile_subgraphs(diamond(), regions(), pool, INPUT, least_passes=3, width=100)
    assert np.isfinite(found.median_s[:, 0]).all()
    assert np.isinf(found.median_s[:, 1]).all()
    assert all("RuntimeError: made up" in found.refusals[r.name, "bad"] for r in regions())


@pytest.mark.parametrize("after", [0, 2, 4])
def test_who_hangs_is_named_and_out_of_everything(
    monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """At its first run, warming up, alone, in company or in turns; nobody hangs with it."""
    monkeypatch.setattr(_profile, "_HANGS_S", 2.0)
    release = threading.Event()

    class Hanging(Resting):
        def prepare(self, graph: Graph) -> Any:
            made, state = _Prepared(self, graph), {"runs": 0}
            run = made.run

            def hangs(inputs: Any) -> dict[str, Any]:
                state["runs"] += 1
                if state["runs"] > after and graph.nodes[0].name == "b":
                    release.wait(60)
                return run(inputs)

            made.run = hangs  # type: ignore[method-assign]
            return made

    try:
        with pool_of(bad=Hanging(), good=Resting(rest_s=0.001)) as pool:
            found = profile_subgraphs(diamond(), regions(), pool, INPUT, least_passes=3, width=100)
            assert list(pool.lost) == ["bad"]
            release.set()
    finally:
        release.set()
    assert np.isfinite(found.median_s[:, 1]).all()
    assert np.isinf(found.median_s[:, 0]).all()
    said = "worker 'bad': subgraph 'b': found no answer after 2 s"
    assert all(said in found.refusals[r.name, "bad"] for r in regions())


@pytest.mark.parametrize("fault", [
    RuntimeError("device lost"), ValueError("made up"), SpecError("x", found="1", wanted="2",
                                                                  fix="z"),
    MemoryError("too little at this moment"),
])  # fmt: skip
@pytest.mark.parametrize("when", ["prepared", "run"])
def test_what_fails_is_out_and_not_kept(fault: Exception, when: str, tmp_path: Path) -> None:
    """Whatever is raised; another time, or with other inputs, it may run."""

    class Failing(Resting):
        def prepare(self, graph: Graph) -> Any:
            made = _Prepared(self, graph)

            def fails(inputs: Any) -> dict[str, Any]:
                raise fault

            if when == "prepared":
                raise fault
            made.run = fails  # type: ignore[method-assign]
            return made

    cache = Cache("profiles", folder=tmp_path)
    with pool_of(bad=Failing(), good=Resting()) as pool:
        found = profile_subgraphs(diamond(), regions(), pool, INPUT, least_passes=1, width=100,
                                  cache=cache)  # fmt: skip
    assert np.isinf(found.median_s[:, 0]).all()
    assert np.isfinite(found.median_s[:, 1]).all()
    short = isinstance(fault, MemoryError) and when == "run"
    said = "as the library says" if short else str(fault)
    assert all(said in found.refusals[r.name, "bad"] for r in regions())
    assert not list(tmp_path.rglob("*.*"))
    with pool_of(bad=Failing()) as pool, pytest.raises(ModelError, match="no worker that runs it"):
        profile_subgraphs(diamond(), regions(), pool, INPUT)


def test_a_profile_is_kept(tmp_path: Path) -> None:
    cache, backend = Cache("profiles", folder=tmp_path), Resting(refused="b")
    options = {"least_passes": 2, "width": 100, "cache": cache}
    with pool_of(some=backend, all=Resting()) as pool:
        first = profile_subgraphs(diamond(), regions(), pool, INPUT, **options)
        ran = len(backend.ran)
        again = profile_subgraphs(diamond(), regions(), pool, INPUT, **options)
        assert len(backend.ran) == ran
        np.testing.assert_array_equal(first.median_s, again.median_s)
        np.testing.assert_array_equal(first.interval_s, again.interval_s)
        assert again.refusals == first.refusals
        assert again.passes == 0
        assert again.changes_s == first.changes_s
        if len(OWN) > 1:
            assert first.beside_s is not None
            np.testing.assert_array_equal(first.beside_s, again.beside_s)
    with pool_of(other=backend, all=Resting()) as pool:
        profile_subgraphs(diamond(), regions(), pool, INPUT, **options)
        assert len(backend.ran) > ran


def test_time_that_is_up_ends_it() -> None:
    with pool_of(one=Resting()) as pool:
        found = profile_subgraphs(diamond(), regions(), pool, INPUT, width=1e-9, most_s=0,
                                  least_passes=3)  # fmt: skip
    assert found.passes == 3
    assert found.widest > 1e-9


def test_bad_settings_are_refused() -> None:
    with pool_of(one=Resting()) as pool:
        for wrong in ({"width": 0.0}, {"least_passes": 0}, {"warmup": -1}):
            with pytest.raises(SpecError):
                profile_subgraphs(diamond(), regions(), pool, INPUT, **wrong)
