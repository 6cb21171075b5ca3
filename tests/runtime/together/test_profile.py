"""Profiles of back ends that rest for known times: never less than they rest, each pair asked."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orrery.errors import ModelError, SpecError
from orrery.graph import Graph, Region
from orrery.runtime.together import LocalWorker, WorkerPool, _profile, profile_subgraphs
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
        self.owner.ran.append(self.graph.nodes[0].name)
        return self.graph.evaluate(inputs)


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
    assert slow.ran == ["a", "b", "c"] * 9  # two to warm up


def test_short_passes_are_made_twice_and_the_second_is_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every other run rests, as after a pause; what is timed is the run that follows."""
    monkeypatch.setattr(_profile, "_SHORT_S", 10.0)

    class Cold(Resting):
        def prepare(self, graph: Graph) -> Any:
            made = _Prepared(self, graph)
            run, state = made.run, {"runs": 0}

            def cold_first(inputs: Any) -> dict[str, Any]:
                state["runs"] += 1
                # One to feed the others and two to warm up: even runs are first ones after that.
                if state["runs"] > 3 and state["runs"] % 2 == 0:
                    time.sleep(0.05)
                return run(inputs)

            made.run = cold_first  # type: ignore[method-assign]
            return made

    quick = Cold()
    with pool_of(quick=quick) as pool:
        found = profile_subgraphs(diamond(), regions(), pool, INPUT, least_passes=3, width=100)
    assert quick.ran == ["a", "b", "c"] * (3 + 2 * 3)
    assert (found.median_s < 0.05).all()


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
