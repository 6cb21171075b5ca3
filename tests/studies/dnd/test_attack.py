"""What a recovered network is good for: its twin does as it does, a stranger does not."""

from __future__ import annotations

import numpy as np
import pytest

from orrery.graph import Graph, graph_from_bytes, onnx_bytes
from orrery.studies.dnd._attack import SIZE, Used, _descended, _Runner, attacked, interval
from orrery.studies.dnd._digits import Images, digit_network, read_images, taught
from orrery.studies.dnd._records import attack_records


@pytest.fixture(scope="module")
def data() -> Images:
    return read_images()


@pytest.fixture(scope="module")
def learnt(data: Images) -> Graph:
    return taught(data, epochs=1)


def test_a_twin_misleads_as_the_original_does_and_a_stranger_does_not(
    data: Images, learnt: Graph
) -> None:
    twin = graph_from_bytes(onnx_bytes(learnt), "twin")
    some = slice(0, 12)
    images, labels = data.test_images[some], data.test_labels[some].tolist()
    close = attacked(learnt, twin, images, labels, binary=_Runner(learnt).answer)
    assert close.own == close.recovered == close.binary and close.tried > 6
    assert close.own > 2 * close.drawn + 1
    far = attacked(learnt, digit_network(), images, labels)
    assert far.own == close.own and far.recovered < close.own


def test_changes_stay_within_their_size(data: Images, learnt: Graph) -> None:
    image = data.test_images[3]
    changed = _descended(image, int(data.test_labels[3]), _Runner(learnt).slope, 3)
    assert np.abs(changed - image).max() <= SIZE + 1e-6
    assert changed.min() >= 0 and changed.max() <= 1 and not np.array_equal(changed, image)


def test_the_gradient_is_that_of_the_loss(data: Images, learnt: Graph) -> None:
    """Judge: central differences."""
    runner, image, label = _Runner(learnt), data.test_images[0].astype(np.float64), 3
    slope = runner.slope(image, label)

    def loss(changed: np.ndarray) -> float:  # type: ignore[type-arg]
        scores = runner.scores(changed).astype(np.float64)
        return float(np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[label])

    for place in ((0, 2, 3), (0, 4, 4), (0, 6, 2)):
        step = np.zeros_like(image)
        step[place] = 0.001
        told = (loss(image + step) - loss(image - step)) / 0.002
        assert slope[place] == pytest.approx(told, abs=1e-3 + 1e-3 * abs(told))


def test_intervals_are_wilsons() -> None:
    """Judge: the example of Newcombe (1998), 81 of 263: 0.2553…0.3662."""
    low, high = interval(81, 263)
    assert (low, high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    assert interval(0, 0) == (0.0, 1.0)


def test_a_network_that_did_not_come_back_says_why() -> None:
    lost = Used(compiler="gcc", target="thumb", options="-O1", data="digits", right=0.9, images=5,
                reason="conv at 0x40 was not read")  # fmt: skip
    (record,) = attack_records([lost])
    assert record.status == "not reproducible" and "0x40" in record.note
