"""Measuring: medians and intervals against their definition."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orrery.errors import ModelError, SpecError
from orrery.graph import Graph, Node, TensorType
from orrery.provenance import Basis
from orrery.runtime import BACKENDS, Tensors, measure
from orrery.runtime._backend import least_bytes, median_interval, memory_guard, memory_problem

from .graphs import diamond


class Counting:
    def __init__(self) -> None:
        self.runs = 0

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        self.runs += 1
        return {}


class Ticking:
    """A clock whose k-th run takes k seconds."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, 0

    def __call__(self) -> float:
        self.calls += 1
        if self.calls % 2 == 0:
            self.now += self.calls // 2
        return self.now


def test_runs_are_counted_and_timed() -> None:
    executable = Counting()
    result = measure(executable, {}, warmup=3, repeats=9, clock=Ticking())
    assert executable.runs == 12
    assert result.times_s == tuple(float(k) for k in range(1, 10))
    assert result.median_s == 5
    # n = 9: P(fewer than 2 below the median) = 10/512, so [2nd, 8th] holds with 1 − 20/512.
    assert result.interval_s == (2, 8)
    assert result.confidence == pytest.approx(1 - 20 / 512)


def test_one_run_gives_no_interval() -> None:
    result = measure(Counting(), {}, repeats=1, clock=Ticking())
    assert result.confidence == 0  # 1 − 2·(1/2): the run lies on either side of the median
    evidence = result.evidence("net on cpu", {"batch": "1"})
    assert (evidence.value, evidence.interval) == (1.0, None)
    assert dict(evidence.context) == {"batch": "1"} and "one run after 2" in evidence.source.note
    two = measure(Counting(), {}, repeats=2, clock=Ticking()).evidence("net on cpu", {})
    assert two.interval == (1.0, 2.0) and two.context["confidence"] == "50.0%"


def test_evidence_says_measured_and_how() -> None:
    evidence = measure(Counting(), {}, repeats=7).evidence("net on cpu", {"batch": "1"})
    assert evidence.source.basis is Basis.MEASURED
    assert "median of 7 runs after 2" in evidence.source.note
    assert evidence.context["batch"] == "1" and evidence.interval is not None
    assert evidence.interval[0] <= (evidence.value or 0) <= evidence.interval[1]


@given(st.lists(st.floats(0, 10), min_size=1, max_size=40), st.floats(0.5, 0.99))
def test_the_interval_holds_the_median_and_keeps_its_promise(
    values: list[float], wanted: float
) -> None:
    (low, high), reached = median_interval(values, wanted)
    assert low <= statistics.median(values) <= high
    n = len(values)
    best = max(0.0, 1 - 2 / 2**n)
    assert reached >= wanted or math.isclose(reached, best, abs_tol=1e-12)


def test_the_interval_of_thousands_of_values_is_narrow_around_the_median() -> None:
    # More than 1023: ways to draw them are beyond any float. Near n/2 ± 0.98 √n.
    (low, high), reached = median_interval([float(k) for k in range(5000)], 0.95)
    assert (low, high) == (2430.0, 2569.0)
    assert 0.95 <= reached < 0.96


@pytest.mark.parametrize(
    "wrong", [{"repeats": 0}, {"warmup": -1}, {"confidence": 1.0}, {"confidence": 0.0}]
)
def test_measuring_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError, match=next(iter(wrong))):
        measure(Counting(), {}, **wrong)  # type: ignore[arg-type]


def test_more_than_the_machine_holds_is_refused_with_the_need() -> None:
    graph = Graph(
        name="big", nodes=(Node(name="n", op="Neg", inputs=("x",), outputs=("y",)),),
        inputs=("x",), outputs=("y",), types={"x": TensorType(dtype="float32", shape=(1 << 28,))},
    ).infer()  # fmt: skip
    assert least_bytes(graph) == 2 << 30
    assert memory_problem(graph, lambda: 2 << 30) is None
    assert memory_problem(graph, lambda: 1 << 30) == (
        "its tensors take at least 2 GiB and this machine has 1 GiB of memory"
    )
    huge = replace(graph, types={"x": TensorType(dtype="float32", shape=(1 << 40, 1 << 40))})
    for name in ("reference", "onnxruntime"):
        reason = BACKENDS[name]().refuses(huge.infer())
        assert reason is not None and "its tensors take at least" in reason


def test_a_lack_of_memory_while_running_is_a_clear_error() -> None:
    with (
        pytest.raises(ModelError, match="diamond: found 'too little memory: no room'"),
        memory_guard(diamond()),
    ):
        raise MemoryError("no room")
