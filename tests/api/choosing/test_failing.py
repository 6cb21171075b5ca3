"""Back ends that fail, or compute otherwise, while a way is chosen: out, and the others go on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from orrery.api.choosing import PLACED, Choice, Effort, deviating
from orrery.api.placing import choose
from orrery.api.placing._again import timed_again
from orrery.api.placing._even import told_apart
from orrery.errors import OrreryError
from orrery.graph import Graph, Node, Region, TensorType
from orrery.progress import SILENT
from orrery.runtime import ReferenceBackend, together
from orrery.runtime.together import (
    Fallback,
    PlacedNetwork,
    Step,
    WorkerHungError,
    WorkerPool,
)

from .made_up import INPUT, OWN, Virtual, towers, workers
from .test_choosing import BRIEF, HALF, TIMED, WHOLE, page

pytestmark = pytest.mark.skipif(len(OWN) < 2, reason="two sets of processors are needed")

LITTLE = Effort(profile_s=0.05, race_s=0.05, races_s=0.1, most_raced=4, observed_s=0.02,
                alone_s=0.05)  # fmt: skip


@dataclass
class Bad:
    """Computes as the reference, and fails or makes something else of it after so many runs."""

    fault: Exception | None = None
    makes: str = ""
    after: int = 0
    in_parts: bool = False
    whole: bool = False
    name: str = "bad"
    runs: int = field(default=0, compare=False)
    goes_on: threading.Event = field(default_factory=threading.Event, compare=False)

    def refuses(self, graph: Graph) -> str | None:
        return None

    def prepare(self, graph: Graph) -> Any:
        ready, own = ReferenceBackend().prepare(graph), self
        whole = len(graph.nodes) == len(towers().nodes)
        good = self.in_parts if whole else self.whole

        class Prepared:
            def run(self, inputs: Any) -> dict[str, Any]:
                own.runs += 1
                made = ready.run(inputs)
                if own.runs <= own.after or good:
                    return made
                if own.fault is not None:
                    raise own.fault
                if own.makes == "nothing for a long time":
                    own.goes_on.wait(120)
                    return made
                if own.makes in ("gone", "renamed"):
                    return {f"{name}:0": v for name, v in made.items() if own.makes == "renamed"}
                changed: Callable[[Any], Any] = {
                    "": lambda v: v, "double": lambda v: v * 2, "nan": lambda v: v * np.nan,
                    "half": lambda v: v[:1], "wide": lambda v: v.astype(np.float64),
                }[own.makes]  # fmt: skip
                return {name: changed(value) for name, value in made.items()}

        return Prepared()


def chosen(patch: pytest.MonkeyPatch, bad: Bad) -> Choice:
    patch.setattr("orrery.api.choosing._search.race_kinds", lambda *_, **__: False)
    patch.setattr("orrery.api.placing._choose.node_work",
                  lambda *_: (dict.fromkeys("lrs", 1.0), ""))  # fmt: skip
    with WorkerPool(workers(bad)) as pool:
        found = choose(towers(), INPUT, pool, repeats=2, cache=None, progress=SILENT, effort=LITTLE)
        outputs = found.networks[found.best].run(INPUT).outputs
    np.testing.assert_allclose(outputs["ys"], towers().evaluate(INPUT)["ys"], rtol=1e-6)
    return found


@pytest.mark.parametrize("fault", [
    RuntimeError("device lost"), ValueError("made up"), OrreryError("made up"), MemoryError(),
])  # fmt: skip
def test_a_back_end_that_fails_while_it_is_timed_is_out(
    monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    found = chosen(monkeypatch, Bad(fault))
    assert "half0" not in (*found.used, *found.alone)
    assert "Not everywhere: " in page(found)
    assert "half0" in page(found)


@pytest.mark.parametrize("after", [3, 30, 60])
def test_a_back_end_that_fails_later_is_out(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """After some passes, or many."""
    found = chosen(monkeypatch, Bad(RuntimeError("device lost"), after=after))
    assert "half0" not in found.alone
    assert found.best != "half0"


def test_it_is_out_though_its_profile_was_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a profile that was kept: what is quick on paper fails at every request."""
    bad = Bad(RuntimeError("device lost"))
    Virtual(TIMED, WHOLE).install(monkeypatch)
    with WorkerPool(workers(bad)) as pool:
        found = choose(towers(), INPUT, pool, repeats=8, cache=None, progress=SILENT)
    assert "half0" not in (*found.used, *found.alone)
    assert "half0" in page(found)
    assert "device lost" in page(found)


def test_a_back_end_that_fails_while_it_is_compared_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raced it was good, and then its device is lost; all is placed anew without it."""
    bad = Bad()
    Virtual(TIMED, {**WHOLE, "half0": 0.002}).install(monkeypatch)
    compare = together.compare

    def lost(*args: Any, **kwargs: Any) -> Any:
        bad.fault = RuntimeError("device lost")
        return compare(*args, **kwargs)

    monkeypatch.setattr(together, "compare", lost)
    with WorkerPool(workers(bad)) as pool:
        found = choose(towers(), INPUT, pool, repeats=8, cache=None, progress=SILENT)
    assert "half0" not in (*found.used, *found.alone)
    assert "Went on without a worker that failed: worker 'half0'" in page(found)


def test_a_way_that_fails_while_near_ways_race_on_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Bad(whole=True)

    def failing(*args: Any) -> Choice:
        bad.fault = RuntimeError("device lost")
        return told_apart(*args)

    monkeypatch.setattr("orrery.api.placing._compared.told_apart", failing)
    near = {"all": 0.01, "half0": 0.01, "half1": 0.02}
    Virtual(HALF, near, lambda _: 0.02, noise=0.05).install(monkeypatch)
    with WorkerPool(workers(bad)) as pool:
        found = choose(towers(), INPUT, pool, repeats=8, cache=None, progress=SILENT, effort=BRIEF)
    assert found.best == "all"
    assert "On half0 it failed while near ways raced on: worker 'half0'" in page(found)


@pytest.mark.parametrize("when", ["race", "compare", "observe"])
def test_a_back_end_that_hangs_once_it_has_answered_is_out(
    monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Whoever asks is then in its library for ever, and is left there."""
    monkeypatch.setattr("orrery.api.choosing._requests._PATIENCE_S", 2.0)
    bad = Bad()
    Virtual(TIMED, {**WHOLE, "half0": 0.002}).install(monkeypatch)
    original = getattr(together, when)

    def hanging(*args: Any, **kwargs: Any) -> Any:
        bad.makes = "nothing for a long time"
        return original(*args, **kwargs)

    monkeypatch.setattr(together, when, hanging)
    with WorkerPool(workers(bad)) as pool:
        try:
            found = choose(towers(), INPUT, pool, repeats=8, cache=None, progress=SILENT)
            assert list(pool.lost) == ["half0"]
        finally:
            bad.goes_on.set()
    assert "half0" not in (*found.used, *found.alone)
    assert "Went on without a worker that failed: worker 'half0'" in page(found)
    assert "found no answer after 2." in page(found)


@pytest.mark.parametrize("other", [True, False])
def test_a_kept_placement_whose_worker_hangs_is_run_otherwise(other: bool) -> None:
    bad, graph = Bad(makes="nothing for a long time", after=3), towers()
    region = Region(graph=graph, nodes=tuple("lrs"))
    with WorkerPool(workers(bad)) as pool:
        served = Fallback({
            name: PlacedNetwork(graph, [Step(region=region, worker=worker)], pool)
            for name, worker in (("kept", "half0"), ("whole", "all"))[: 1 + other]
        })  # fmt: skip
        try:
            if other:
                found, _ = timed_again(served, pool, INPUT, 5, SILENT, limit_s=2)
                assert list(found.times_s) == ["whole"]
                assert "'half0'" in served.notes[0]
                assert "went on with whole" in served.notes[0]
            else:
                with pytest.raises(WorkerHungError, match="'half0'"):
                    timed_again(served, pool, INPUT, 5, SILENT, limit_s=2)
        finally:
            bad.goes_on.set()


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("makes", ["gone", "renamed", "half", "wide", "nan"])
def test_who_answers_wrongly_in_parts_alone_is_out(
    monkeypatch: pytest.MonkeyPatch, makes: str, timed: bool
) -> None:
    """Whole it is right: so it is a way, but no part of the placement, whoever timed its parts."""
    bad = Bad(makes=makes, in_parts=True)
    found = chosen(monkeypatch, bad) if timed else chosen_by_times(monkeypatch, bad)
    assert "half0" not in found.used
    assert not found.deviates
    if makes != "nan" and not timed:
        said = [page(found), *(tried.note for tried in found.placed.log)]
        assert any("worker 'half0'" in one and "its answer for 'y" in one for one in said)


@pytest.mark.parametrize("makes", ["double", "nan", "half", "wide"])
def test_who_computes_otherwise_is_not_taken(monkeypatch: pytest.MonkeyPatch, makes: str) -> None:
    """It would be the quickest; what it gives is not what the reference gives."""
    found = chosen_by_times(monkeypatch, Bad(makes=makes))
    assert "half0" not in (*found.used, *found.alone)
    said = page(found)
    if makes in ("half", "wide"):  # which is seen at once
        assert "The whole on half0 was left out: worker 'half0'" in said
        assert "its answer for 'ys'" in said
    else:
        assert "The whole on half0 was left out: its output 'ys' is" in said
        assert "Went on without workers whose back end is another one than that of all" in said


def chosen_by_times(patch: pytest.MonkeyPatch, bad: Bad) -> Choice:
    Virtual(TIMED, {**WHOLE, "half0": 0.002}).install(patch)
    with WorkerPool(workers(bad)) as pool:
        return choose(towers(), INPUT, pool, repeats=8, cache=None, progress=SILENT)


def test_who_computes_the_same_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """And where it is taken, the page says what it may lose."""
    monkeypatch.setattr(Bad, "caveat", "Bad loses NaN.", raising=False)
    found = chosen_by_times(monkeypatch, Bad())
    assert "half0" in found.alone
    assert "left out" not in page(found)
    assert found.best == "half0"
    assert "Bad loses NaN." in page(found)


def network(op: str) -> Graph:
    return Graph(
        name="one", inputs=("x",), outputs=("y",),
        nodes=(Node(name="n", op=op, inputs=("x",), outputs=("y",)),),
        types={"x": TensorType(dtype="float32", shape=(2,))},
    ).infer()  # fmt: skip


def test_most_ways_are_right_where_no_back_end_is_trusted() -> None:
    one, two = ({"y": np.array([v, 1], np.float32)} for v in (1, 2))
    ways = {PLACED: one, "a": two, "b": one}
    wrong, right = deviating(network("Neg"), ways, {"a": "x", "b": "y"})
    assert list(wrong) == ["a"]
    assert right in (PLACED, "b")
    wrong, said = deviating(network("Neg"), {"a": two, "b": one}, {"a": "x", "b": "y"})
    assert not wrong
    assert "nobody can tell" in said
    assert deviating(network("RandomNormalLike"), ways, {"a": "x", "b": "onnxruntime"})[0] == {}
    close = {"y": np.nextafter(one["y"], 2)}
    assert (
        deviating(network("Neg"), {"a": close, "b": one}, {"b": "onnxruntime", "a": "x"})[0] == {}
    )


def test_what_runs_nowhere_by_itself_runs_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its paths lie tensors whose size only running tells."""
    graph = Graph(
        name="sizes", inputs=("x", "z"), outputs=("ys",),
        nodes=(Node(name="l", op="NonZero", inputs=("x",), outputs=("yl",)),
               Node(name="r", op="NonZero", inputs=("z",), outputs=("yr",)),
               Node(name="c", op="Concat", inputs=("yl", "yr"), outputs=("yc",),
                    attributes={"axis": 1}),
               Node(name="s", op="Size", inputs=("yc",), outputs=("ys",))),
        types={n: TensorType(dtype="float32", shape=(4,)) for n in ("x", "z")},
    ).infer()  # fmt: skip
    given = {"x": np.array([1, 0, 2, 0], np.float32), "z": np.ones(4, np.float32)}
    monkeypatch.setattr("orrery.api.placing._choose.node_work",
                        lambda *_: (dict.fromkeys(["l", "r", "c", "s"], 1.0), ""))  # fmt: skip
    with WorkerPool(workers()) as pool:
        found = choose(graph, given, pool, repeats=2, cache=None, progress=SILENT, effort=LITTLE)
        outputs = found.networks[found.best].run(given).outputs
    assert outputs["ys"].tolist() == 6
    assert "It was not cut into paths side by side: " in page(found)
