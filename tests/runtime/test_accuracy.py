"""Scores, intervals and chains of regions, judged by SciPy, scikit-learn, enumeration, identity."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orrery.errors import SpecError
from orrery.graph import Graph
from orrery.runtime import (
    TASK_METRICS,
    ReferenceBackend,
    chained,
    paired,
    reference_evaluator,
    usual_backend,
)
from orrery.runtime.accuracy import exact_share, mean_interval, wilson

from .graphs import diamond, image, ladder


@pytest.mark.needs("scipy")
@pytest.mark.parametrize(("hits", "samples"), [(0, 7), (7, 7), (1, 30), (163, 200), (1627, 2000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.975])
def test_intervals_of_shares_are_scipy_s(hits: int, samples: int, confidence: float) -> None:
    from scipy.stats import binomtest

    tested = binomtest(hits, samples)
    for ours, method in ((wilson, "wilson"), (exact_share, "exact")):
        found = ours(hits, samples, confidence)
        low, high = tested.proportion_ci(confidence, method=method)
        np.testing.assert_allclose(found, (low, high), atol=1e-9)


@pytest.mark.needs("scipy")
@settings(max_examples=30)
@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_exact_intervals_are_scipy_s_everywhere(drawn: tuple[int, int]) -> None:
    from scipy.stats import binomtest

    samples, hits = drawn
    low, high = binomtest(hits, samples).proportion_ci(0.95, method="exact")
    np.testing.assert_allclose(exact_share(hits, samples), (low, high), atol=1e-9)


@pytest.mark.parametrize(("lost", "gained"), [(0.0, 0.0), (0.05, 0.05), (0.3, 0.1), (0.02, 0.5)])
def test_the_paired_interval_covers_as_often_as_it_says(lost: float, gained: float) -> None:
    """All outcomes of 12 pairs, weighed by their probability."""
    pairs, covered = 12, 0.0
    for b in range(pairs + 1):
        for c in range(pairs + 1 - b):
            first = np.arange(pairs) < b
            second = np.arange(pairs) >= pairs - c
            found = paired(first, second)
            assert (found.lost, found.gained) == (b, c)
            ways = math.comb(pairs, b) * math.comb(pairs - b, c)
            chance = ways * lost**b * gained**c * (1 - lost - gained) ** (pairs - b - c)
            low, high = found.interval
            covered += chance * (low <= gained - lost <= high)
    assert covered >= 0.95


@pytest.mark.needs("scipy")
def test_mcnemar_s_test_is_the_binomial_one() -> None:
    from scipy.stats import binomtest

    for lost, gained in ((0, 0), (1, 0), (3, 9), (20, 20), (40, 11)):
        first = np.arange(100) < lost
        second = (np.arange(100) >= 50) & (np.arange(100) < 50 + gained)
        found = paired(first, second)
        wanted = binomtest(lost, lost + gained).pvalue if lost + gained else 1.0
        assert found.p_value == pytest.approx(wanted)
        assert found.change == pytest.approx((gained - lost) / 100)


def test_means_of_few_samples_have_no_interval() -> None:
    values = np.random.default_rng(0).standard_normal(400)
    assert mean_interval(values[:29]) is None
    low, high = mean_interval(values) or (0.0, 0.0)
    assert high - low == pytest.approx(2 * 1.959964 * values.std(ddof=1) / 20)
    assert (low + high) / 2 == pytest.approx(values.mean())


@pytest.mark.needs("sklearn")
@pytest.mark.parametrize(("name", "k"), [("top1", 1), ("top5", 5)])
def test_shares_of_right_answers_are_scikit_learn_s(name: str, k: int) -> None:
    from sklearn.metrics import top_k_accuracy_score

    drawn = np.random.default_rng(k)
    outputs, labels = drawn.standard_normal((300, 9)), drawn.integers(0, 9, 300)
    scores = TASK_METRICS[name].score(outputs, labels)
    assert scores.mean() == pytest.approx(
        top_k_accuracy_score(labels, outputs, k=k, labels=range(9))
    )


def test_ties_go_to_the_first_class_as_argmax_does_and_nan_is_wrong() -> None:
    outputs = np.array([[1.0, 1.0, 0.0], [np.nan, 0.0, 1.0], [0.0, 0.0, np.inf]])
    score = TASK_METRICS["top1"].score
    assert score(outputs, np.array([0, 2, 2])).tolist() == [True, False, True]
    assert score(outputs, np.array([1, 0, 0])).tolist() == [False, False, False]
    plain = np.random.default_rng(0).integers(0, 3, (200, 4)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 4, 200)
    np.testing.assert_array_equal(score(plain, labels), plain.argmax(1) == labels)


def test_errors_and_perplexity_are_their_definitions() -> None:
    drawn = np.random.default_rng(0)
    outputs, labels = drawn.standard_normal((40, 3, 2)), drawn.standard_normal((40, 3, 2))
    value, between = TASK_METRICS["mse"].figures(TASK_METRICS["mse"].score(outputs, labels))
    assert value == pytest.approx(((outputs - labels) ** 2).mean())
    assert between is not None and between[0] < value < between[1]
    logits, tokens = drawn.standard_normal((40, 5, 7)) * 50, drawn.integers(0, 7, (40, 5))
    metric = TASK_METRICS["perplexity"]
    wanted = 0.0
    for row, right in zip(logits.reshape(-1, 7), tokens.ravel(), strict=True):
        shifted = row - row.max()
        wanted -= shifted[right] - math.log(sum(math.exp(v) for v in shifted))
    assert metric.figures(metric.score(logits, tokens))[0] == pytest.approx(
        math.exp(wanted / tokens.size)
    )
    uniform = metric.figures(metric.score(np.zeros((40, 5, 7)), tokens))[0]
    assert uniform == pytest.approx(7)


def _parts(graph: Graph, cuts: list[bool], evaluated: list[bool]) -> list[Any]:
    names = [node.name for node in graph.nodes]
    borders = [0, *(i for i in range(1, len(names)) if cuts[i % len(cuts)]), len(names)]
    return [
        (tuple(names[a:b]), reference_evaluator if evaluated[a % len(evaluated)] else None)
        for a, b in pairwise(borders)
    ]


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9),
    st.lists(st.booleans(), min_size=1, max_size=5),
    st.lists(st.booleans(), min_size=1, max_size=5),
)
def test_a_chain_of_regions_is_the_network_bit_for_bit(
    choices: list[tuple[int, int]], cuts: list[bool], evaluated: list[bool]
) -> None:
    graph = ladder(choices)
    run = chained(graph, _parts(graph, cuts, evaluated), ReferenceBackend())
    inputs = image(graph)
    for _ in range(2):
        made = run(inputs)
        for name, value in graph.evaluate(inputs).items():
            np.testing.assert_array_equal(made[name], value)


def test_a_chain_asks_evaluators_for_their_regions_alone() -> None:
    graph, asked = diamond(), list[str]()

    def twice(region: Any, inputs: Any) -> Any:
        asked.append(region.name)
        return {name: 2 * value for name, value in reference_evaluator(region, inputs).items()}

    parts = [((n.name,), twice if n.name == "matmul" else None) for n in graph.nodes]
    inputs = image(graph)
    made = chained(graph, parts, ReferenceBackend())(inputs)
    relu = np.maximum(inputs["x"], 0)
    wanted = (2 * (relu @ graph.constants["w"].array()) + 1 / (1 + np.exp(-relu))) * inputs["x"]
    np.testing.assert_allclose(made["e"], wanted, rtol=1e-5)
    assert asked == ["matmul"]


def test_a_chain_without_a_node_is_refused() -> None:
    graph = diamond()
    parts = [((node.name,), None) for node in graph.nodes if node.name != "relu"]
    with pytest.raises(SpecError, match="nothing makes"):
        chained(graph, parts, ReferenceBackend())


@pytest.mark.needs("onnxruntime")
def test_the_usual_back_end_is_the_fast_one_that_takes_the_network() -> None:
    assert usual_backend(diamond()).name == "onnxruntime"
