"""Workers fail or hang in the middle; the request is answered all the same, and it is said."""

from __future__ import annotations

import pytest

from orrery.errors import SpecError
from orrery.runtime.together import (
    Fallback,
    LocalWorker,
    PlacedNetwork,
    WorkerFailedError,
    WorkerHungError,
    WorkerPool,
)

from .test_executor import INPUT, OWN, Fake, diamond, same, steps


def ways(pool: WorkerPool) -> dict[str, PlacedNetwork]:
    graph = diamond()
    placed = {
        "both": [("a", "good"), ("b", "bad"), ("c d", "good")], "bad alone": [("a b c d", "bad")],
        "good alone": [("a b c d", "good")],
    }  # fmt: skip
    return {name: PlacedNetwork(graph, steps(graph, one), pool) for name, one in placed.items()}


def pool_of(bad: Fake) -> WorkerPool:
    return WorkerPool([
        LocalWorker(name="good", processors=OWN[:1], backend=Fake(), label="good"),
        LocalWorker(name="bad", processors=OWN[-1:], backend=bad, label="bad"),
    ])  # fmt: skip


@pytest.mark.parametrize("fault", ["fails", "waits"])
def test_the_next_way_without_the_worker_answers(fault: str) -> None:
    bad = Fake()
    with pool_of(bad) as pool:
        served = Fallback(ways(pool))
        same(served.run(INPUT, timeout_s=20).outputs, diamond(), INPUT)
        assert served.current == "both"
        setattr(bad, fault, "b")
        same(served.run(INPUT, timeout_s=1).outputs, diamond(), INPUT)
        assert served.current == "good alone"
        assert served.gone == {"bad"}
        assert "'b'" in served.notes[0]
        assert "went on with good alone" in served.notes[0]
        same(served.run(INPUT, timeout_s=20).outputs, diamond(), INPUT)
        assert len(served.notes) == 1
    bad.release.set()


def test_when_nothing_is_left_it_is_said() -> None:
    bad = Fake(fails="b")
    with pool_of(bad) as pool:
        served = Fallback({"bad alone": ways(pool)["bad alone"]})
        with pytest.raises(WorkerFailedError, match="made up"):
            served.run(INPUT, timeout_s=20)
        assert "nothing is left" in served.notes[0]
        bad.fails, bad.waits = "", "b"
        with pytest.raises(WorkerHungError, match="bad"):
            served.run(INPUT, timeout_s=0.5)
        assert served.current is None
        with pytest.raises(WorkerFailedError, match="bad"):
            served.run(INPUT, timeout_s=20)
        with pytest.raises(WorkerFailedError, match="all ways before"):
            served.submit(INPUT).result(20)
    bad.release.set()
    with pytest.raises(SpecError):
        Fallback({})


def test_wrong_inputs_are_nobodys_failure() -> None:
    with pool_of(Fake()) as pool:
        served = Fallback(ways(pool))
        with pytest.raises(SpecError):
            served.run({})
        assert not served.gone


def test_what_every_way_fails_at_takes_nobody_out() -> None:
    bad = Fake(fails="b")
    with pool_of(bad) as pool:
        good = pool.workers["good"].backend
        assert isinstance(good, Fake)
        good.fails = "b"
        served = Fallback(ways(pool))
        with pytest.raises(WorkerFailedError, match="made up"):
            served.run(INPUT, timeout_s=20)
        assert served.current == "both"
        assert not served.gone
        bad.fails = good.fails = ""
        same(served.run(INPUT, timeout_s=20).outputs, diamond(), INPUT)


def test_submitted_requests_go_on_too() -> None:
    bad = Fake()
    with pool_of(bad) as pool:
        served = Fallback(ways(pool))
        bad.fails = "b"
        answers = [served.submit(INPUT) for _ in range(4)]
        for answer in answers:
            assert not answer.cancel()
            same(answer.result(20).outputs, diamond(), INPUT)
        assert served.current == "good alone"
        assert all("went on with good alone" in note for note in served.notes)
        with pytest.raises(SpecError):
            served.submit({})
